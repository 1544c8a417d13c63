"""ViECap's decoder: mapper and entities against golden vectors, words before captions, and quirks of the release."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path

import pytest
import torch
from causal_folders import write_folder
from golden_files import golden_file
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn.functional import normalize

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, RegionkitError
from regionkit.core.features import Caption, GenerateOptions, RegionTokens
from regionkit.core.language.generation import Request
from regionkit.core.testing import GridBackbone, Sentences
from regionkit.core.weights import WeightFile, write_weights
from regionkit.plugins.zeroshot.entities import entity_prompt
from regionkit.plugins.zeroshot.mappers import TransformerMapper
from regionkit.plugins.zeroshot.sentence_beams import search
from regionkit.plugins.zeroshot.viecap import (
    TEMPLATES,
    Viecap,
    embed_vocabulary,
    entity_probabilities,
    top_entities,
)
from regionkit.plugins.zeroshot.viecap_config import ViecapConfig
from regionkit.plugins.zeroshot.vocabularies import COCO, MINI

param = pytest.param
UPSTREAM = Path(__file__).parents[4] / "shared" / "data" / "upstream"
TINY = {"hidden": 32, "layers": 2, "heads": 4, "intermediate": 48, "positions": 128}
TINY |= {"mapper_layers": 1, "mapper_heads": 4, "prefix": 2}


def build(start: str = "", backbone: GridBackbone | None = None, **options: object) -> Viecap:
    """An untrained decoder behind the kit's backbone; of a language model with byte pairs where ``start`` names one."""
    backbone = backbone or GridBackbone()
    given = {"weights": "none", **TINY, **options}
    if start:
        given = {name: value for name, value in given.items() if name not in ("hidden", "layers", "heads")}
        given = {name: value for name, value in given.items() if name not in ("intermediate", "positions")}
    context = BuildContext(reads=backbone.text_space, backbone=backbone, parts={"corpus": Sentences()})
    return Viecap.build(ViecapConfig(start=start, **given), context)


def regions(decoder: Viecap, texts: list[str]) -> RegionTokens:
    return RegionTokens.single(GridBackbone().encode_text(texts), decoder.space)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny GPT-2 of byte tokens, in which a full stop is a token and id 0 is an exclamation mark."""
    return f"file:{write_folder(tmp_path_factory.mktemp('gpt2') / 'gpt2', 'gpt2')}"


def test_the_mapper_is_the_released_one() -> None:
    stored = load_file(golden_file("viecap.safetensors"))
    weights = {name.removeprefix("map.w."): one for name, one in stored.items() if name.startswith("map.w.")}
    prefix, hidden = weights["prefix_const"].shape
    whole, dim = weights["linear.weight"].shape
    layers = len({name.split(".")[2] for name in weights if name.startswith("transformer.")})
    differences = []
    for heads in [number for number in range(1, hidden + 1) if hidden % number == 0]:  # no shape says their number
        mapper = TransformerMapper(dim, hidden, prefix, whole // hidden, layers, heads)
        mapper.load_state_dict(weights)
        differences.append(float((mapper(stored["map.in"]) - stored["map.out"]).abs().max().detach()))
    assert sorted(differences)[0] < 1e-5 < sorted(differences)[1]


def test_entities_and_prompts_are_the_released_ones() -> None:
    path = UPSTREAM / "coco_embeddings_ViT-B16_t2d__with_ensemble.pickle"
    if not path.is_file():
        pytest.skip(f"the official vectors of COCO's words are not here: {path}")
    from regionkit.core.unpickling import read_pickle

    stored, said = (
        load_file(golden_file("viecap.safetensors")),
        json.loads(golden_file("viecap_entities.json").read_text()),
    )
    found = entity_probabilities(stored["ret.query"], read_pickle(path), 0.01)
    assert (found - stored["ret.probs"]).abs().max() < 1e-5
    assert top_entities(found, COCO, 3, 0.4) == said["top3_th0.4"]


def test_the_vocabulary_is_that_of_the_release() -> None:
    assert list(COCO) == json.loads(golden_file("viecap_entities.json").read_text())["vocab_sorted"]


def test_golden_probabilities_give_the_golden_prompts() -> None:
    probabilities = load_file(golden_file("viecap.safetensors"))["ret.probs"]
    said = json.loads(golden_file("viecap_entities.json").read_text())
    settings_of = {name: name.removeprefix("top").split("_th") for name in said if name.startswith("top")}
    assert len(settings_of) >= 3
    for name, (top_k, threshold) in settings_of.items():
        found = top_entities(probabilities, said["vocab_sorted"], int(top_k), float(threshold))
        assert found == said[name]
        prompts = said.get(f"prompt_{name}", [])
        assert [entity_prompt("There are {} in image.", one) for one in found] == prompts


@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(0.0, 0.6))
@settings(max_examples=30, deadline=None)
def test_entities_follow_the_formula(seed: int, top_k: int, threshold: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    vectors, entries = torch.randn(3, 8, generator=generator), torch.randn(5, 8, generator=generator)
    found = top_entities(entity_probabilities(3 * vectors, 2 * entries, 0.2), "abcde", top_k, threshold)
    for row, own in zip(found, vectors.double(), strict=True):
        cosines = [float(own @ other / own.norm() / other.norm()) for other in entries.double()]
        shares = (torch.tensor(cosines, dtype=torch.float64) / 0.2).softmax(0).tolist()
        wanted = sorted(range(5), key=lambda at: -shares[at])[:top_k]
        assert row == ["abcde"[at] for at in wanted if shares[at] >= threshold]


def test_vectors_of_words_are_means_over_the_templates() -> None:
    encode = GridBackbone().encode_text
    found = embed_vocabulary(encode, ["dog", "hot dog"], TEMPLATES)
    for row, word in zip(found, ["dog", "hot dog"], strict=True):
        mean = torch.stack([normalize(encode([one.format(word)])[0], dim=0) for one in TEMPLATES]).mean(0)
        torch.testing.assert_close(row, mean / mean.norm())
    plain = embed_vocabulary(encode, ["dog", "owl"], ())
    torch.testing.assert_close(plain, encode(["A photo of a dog.", "A photo of an owl."]))


def test_with_each_the_nearest_sentence_speaks_for_its_word() -> None:
    """One of two sentences of the first word is exactly the region; their mean is not."""
    entries = torch.tensor([[[1.0, 0.0], [-1.0, 0.1]], [[0.8, 0.6], [0.8, 0.6]]])
    region = torch.tensor([[1.0, 0.0]])
    found = entity_probabilities(region, entries, 0.1)
    torch.testing.assert_close(found, (torch.tensor([[1.0, 0.8]]) / 0.1).softmax(-1))
    mean = entity_probabilities(region, entries.mean(1), 0.1)
    assert (int(found.argmax()), int(mean.argmax())) == (0, 1)


def test_vectors_kept_apart_are_unit_and_their_mean_is_the_ensemble() -> None:
    words, encode = ["dog", "sports ball"], GridBackbone().encode_text
    apart = embed_vocabulary(encode, words, TEMPLATES, each=True)
    assert apart.shape[:2] == (2, len(TEMPLATES))
    torch.testing.assert_close(apart.norm(dim=-1), torch.ones(2, len(TEMPLATES)))
    torch.testing.assert_close(normalize(apart.mean(1), dim=-1), embed_vocabulary(encode, words, TEMPLATES))


def test_a_decoder_with_each_says_the_words_of_the_nearest_sentences() -> None:
    decoder = build(vocabulary="mini", threshold=0.0, top_k=2, each=True)
    tokens = regions(decoder, ["a origami dog.", "art of the boat."])
    words, vectors = decoder.entries()
    cosines = torch.einsum("rd,ntd->rnt", normalize(tokens.vectors(), dim=-1), vectors).amax(-1)
    assert decoder.entities(tokens) == [[words[at] for at in row.topk(2).indices.tolist()] for row in cosines]
    assert [row[0] for row in decoder.entities(tokens)] == ["dog", "boat"]
    assert not any(name.startswith("entries.") for name in decoder.artifact().tensors)
    with pytest.raises(ValueError, match="each: true needs ensemble: true"):
        ViecapConfig(each=True, ensemble=False)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        param(["dog", "frisbee"], "There are dog, frisbee in image.", id="two"),
        param([], "There are something in image.", id="none"),
    ],
)
def test_the_sentence_of_entities(found: list[str], said: str) -> None:
    assert entity_prompt("There are {} in image.", found) == said


def test_a_region_is_told_its_own_words() -> None:
    decoder = build(vocabulary="mini", threshold=0.2)
    tokens = regions(decoder, [one.format("dog") for one in TEMPLATES[:1]] + ["itap of a boat."])
    words = decoder.words(tokens, None)
    assert words == [entity_prompt("There are {} in image.", one) for one in decoder.entities(tokens)]
    assert decoder.words(tokens, "look at it:") == ["look at it:"] * 2
    assert decoder.words(tokens, "with {}") == [entity_prompt("with {}", one) for one in decoder.entities(tokens)]


@pytest.mark.parametrize("soft_first", [True, False])
def test_soft_tokens_and_words_stand_in_the_order_asked_for(soft_first: bool) -> None:
    decoder = build(soft_first=soft_first)
    tokens = regions(decoder, ["a dog"])
    embeddings, valid = decoder.spliced(tokens, "a cat")
    soft = decoder.soft(tokens.vectors())[0]
    words = decoder.model.get_input_embeddings()(torch.tensor(decoder.tokenizer.encode("a cat")))
    parts = [soft, words] if soft_first else [words, soft]
    assert bool(valid.all())
    torch.testing.assert_close(embeddings[0], torch.cat(parts))


def test_words_of_the_prompt_and_of_the_vocabulary_are_known_to_a_fresh_tokenizer() -> None:
    tokenizer = build(vocabulary="mini").tokenizer
    unknown = tokenizer.id_of("<unk>")
    assert unknown not in tokenizer.encode("There are something, flamingo in image.")


def test_a_caption_ends_at_its_full_stop(gpt2: str) -> None:
    decoder = build(gpt2)
    tokens = regions(decoder, ["a dog", "a cat"])
    assert decoder.tokenizer.decode([decoder._end]) == "."
    scores = decoder.score(tokens, ["A dog", "a cat. on it"])
    torch.testing.assert_close(scores, decoder.score(tokens, ["A dog.", "a cat. on it."]))
    assert float(scores[0]) != pytest.approx(float(build(gpt2, full_stop=False).score(tokens, ["A dog", ""])[0]))
    ids, lengths = decoder._targets(["ab", "ab.", "ab ."], None)
    assert lengths.tolist() == [3, 3, 4]
    assert ids[0].tolist() == ids[1].tolist()


def varied(decoder: Viecap) -> RegionTokens:
    """Regions of which some have long words and some have none."""
    return regions(decoder, ["itap of a sports ball.", "zzz", "itap of a dog.", "qqq"])


@pytest.mark.parametrize("compat", ["paper", "reference"])
def test_only_the_reference_lets_captions_depend_on_their_batch_mates(gpt2: str, compat: str) -> None:
    decoder = build(gpt2, compat=compat, threshold=0.0, top_k=2, temperature=0.05)
    tokens = varied(decoder)
    lengths = {len(decoder.tokenizer.encode(words)) for words in decoder.words(tokens, None)}
    assert len(lengths) > 1, "nothing is padded, so nothing is shown"
    options = GenerateOptions(max_tokens=8)
    together = decoder.score(tokens, ["abc"] * 4)
    alone = torch.cat(
        [decoder.score(RegionTokens.single(row[None], decoder.space), ["abc"]) for row in tokens.vectors()]
    )
    assert bool(((together - alone).abs() < 1e-4).all()) == (compat == "paper")
    if compat == "paper":
        split = decoder.generate(tokens, options=dataclasses.replace(options, batch_size=1))
        assert [one.tokens for one in split] == [one.tokens for one in decoder.generate(tokens, options=options)]


def test_the_reference_fills_up_with_exclamation_marks(gpt2: str) -> None:
    decoder = build(gpt2, compat="reference")
    short, long = decoder.tokenizer.encode("ab"), decoder.tokenizer.encode("abcd")
    assert decoder.tokenizer.decode([0]) == "!"
    tokens = regions(decoder, ["a dog", "a cat"])
    embeddings, valid = decoder._placed(tokens, ["ab", "abcd"], blind=True)
    assert bool(valid.all())
    pad = decoder.model.get_input_embeddings()(torch.tensor([0, 0]))
    torch.testing.assert_close(embeddings[0, 2 + len(short) :], pad[: len(long) - len(short)])


def released_beams(decoder: Viecap, before: torch.Tensor, options: GenerateOptions, ends: set[int]) -> list[int]:
    """The ids of the best beam, every beam made anew, without a cache."""
    beams: list[tuple[float, list[int]]] = [(0.0, [])]
    for _ in range(options.max_tokens):
        longer: list[tuple[float, list[int]]] = []
        for total, ids in beams:
            if ids and ids[-1] in ends:
                longer.append((total, ids))
                continue
            words = decoder.model.get_input_embeddings()(torch.tensor(ids, dtype=torch.long))
            with torch.inference_mode():
                whole = torch.cat([before, words])[None]
                likely = decoder.model(inputs_embeds=whole).logits[0, -1].log_softmax(-1).tolist()
            longer += [(total + value, [*ids, at]) for at, value in enumerate(likely)]
        beams = sorted(longer, key=lambda beam: -beam[0] / len(beam[1]))[: options.beams]
    return beams[0][1]


def test_the_reference_searches_as_the_release_does(gpt2: str) -> None:
    decoder, options = build(gpt2, compat="reference", threshold=1.0), GenerateOptions(max_tokens=4, beams=3)
    found = decoder.generate(varied(decoder), options=options)
    embeddings, valid = decoder.spliced(varied(decoder))
    assert bool(valid.all())
    for caption, before in zip(found, embeddings, strict=True):
        ids = released_beams(decoder, before, options, {decoder._end})
        assert list(caption.tokens) == [token for token in ids if token != decoder._end]


def test_the_released_beams_end_at_a_full_stop_with_a_space_before_it_too(gpt2: str) -> None:
    decoder, options = build(gpt2, compat="reference", threshold=1.0), GenerateOptions(max_tokens=5, beams=3)
    embeddings = decoder.spliced(varied(decoder))[0].detach()
    request = Request(options, decoder.tokenizer, decoder._end)
    ended = 0
    for before in embeddings:
        plain, _ = search(decoder.model, before, request)
        for spaced in sorted(set(plain)):  # any token can be the second that ends
            found, finished = search(decoder.model, before, request, spaced)
            assert found == released_beams(decoder, before, options, {decoder._end, spaced})
            assert finished == (found[-1] == spaced)
            ended += finished
    assert ended


def test_the_reference_calls_the_perplexity_of_a_caption_its_score(gpt2: str) -> None:
    decoder = build(gpt2, compat="reference")
    for caption in decoder.generate(varied(decoder), options=GenerateOptions(max_tokens=6)):
        ids = torch.tensor([decoder.tokenizer.encode(caption.text + "." * caption.finished)])
        short = torch.tensor(float(decoder.tokenizer.size))
        wanted = decoder.model(input_ids=ids, labels=ids).loss.exp() if ids.shape[1] > 1 else short
        assert caption.score == pytest.approx(float(wanted.detach()), rel=1e-4)
        assert caption.score > 0


def test_captions_of_no_word_have_a_score_that_json_can_hold(gpt2: str) -> None:
    decoder = build(gpt2, compat="reference")
    for caption in (Caption("", 0.0, (), True), Caption("", 0.0, (), False)):
        assert decoder.perplexity(caption) == decoder.tokenizer.size
    with torch.no_grad():
        decoder.model.get_input_embeddings().weight.mul_(500)  # far beyond what exp of float32 can hold
    assert math.isfinite(decoder.perplexity(Caption("abcdefgh", 0.0, (), False)))


def test_the_reference_does_not_learn_id_0(gpt2: str) -> None:
    paper, reference = build(gpt2), build(gpt2, compat="reference")
    assert paper.loss_terms(["a!b."]) == reference.loss_terms(["a!b."]) + 1
    assert paper.loss_terms(["a!b"]) == reference.loss_terms(["a!b"]) + 2  # it learns no full stop that is not there
    tokens = regions(paper, ["a dog"])
    likely = [one.log_probability for one in paper.token_scores(tokens, ["a!b."], prompt="")[0]]
    kept = [value for at, value in enumerate(likely) if at != 1]
    assert float(reference.loss(tokens, ["a!b."], prompt="").detach()) == pytest.approx(-sum(kept) / 3, rel=1e-4)
    assert float(reference.loss(tokens, ["a!b"], prompt="").detach()) == pytest.approx(-sum(kept[:2]) / 2, rel=1e-4)


def test_entities_are_left_out_in_training_alone() -> None:
    decoder = build(vocabulary="mini", mask=0.4)
    tokens = regions(decoder, ["a dog"] * 300)
    texts = ["a dog and two cats on grass"] * 300
    assert set(decoder.training_words(tokens, texts, None)) == {"There are dog, cat in image."}
    decoder.train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        words = decoder.training_words(tokens, texts, None)
    share = {one: words.count(one) / 300 for one in set(words)}
    assert share["There are something in image."] == pytest.approx(0.16, abs=0.06)
    assert share["There are dog, cat in image."] == pytest.approx(0.36, abs=0.08)
    assert len(share) == 4


def test_a_training_sentence_has_only_so_many_entities() -> None:
    decoder = build(vocabulary="mini", max_entities=2)
    tokens = regions(decoder, ["a dog"])
    assert decoder.text_entities(tokens, ["a dog, a cat, an owl"]) == [["dog", "cat"]]


def test_without_a_text_tower_it_says_what_to_do() -> None:
    decoder = Viecap.build(
        ViecapConfig(weights="none", **TINY), BuildContext("a/text[8]", parts={"corpus": Sentences()})
    )
    with pytest.raises(FeatureError) as caught:
        decoder.generate(RegionTokens.single(torch.ones(1, 8), "a/text[8]"))
    assert caught.value.message == (
        "decoder 'viecap' compares regions with words, and cannot embed those of its vocabulary: it was built without "
        "a backbone"
    )
    assert "choose a backbone with a text tower" in caught.value.hints[0]


def test_a_vocabulary_without_its_file_says_which_it_is() -> None:
    with pytest.raises(RegionkitError) as caught:
        build(vocabulary="visual_genome")
    assert caught.value.message == "the words of vocabulary 'visual_genome' do not come with the toolkit"
    assert caught.value.hints == (
        "name their file: vocabulary: file:PATH (all_objects_attributes_relationships.pickle, of ViECap's release)",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"prompt": "look"}, "prompt: 'look' must say with {} where the entities stand", id="prompt"),
        param({"mask": 1.5}, "mask: 1.5 must be a probability, from 0 to 1", id="mask"),
        param({"threshold": -1.0}, "threshold: -1.0 must be a probability, from 0 to 1", id="threshold"),
        param({"temperature": 0.0}, "temperature: 0.0 must be more than 0", id="temperature"),
        param({"top_k": 0}, "top_k: 0 must be 1 or more", id="top_k"),
        param({"objects": "words"}, "objects: 'words' must be file:PATH, a vocabulary", id="objects"),
        param(
            {"vocabulary": "cocoa"},
            "vocabulary: 'cocoa' must be one of auto, coco, mini, visual_genome, open_image, vinvl_vg, vinvl_vgoi, or "
            "file:PATH",
            id="vocabulary",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ViecapConfig(**options)  # type: ignore[arg-type]


def test_the_vocabulary_of_training_stands_in_the_header_by_name_alone(tmp_path: Path) -> None:
    assert build(vocabulary="mini").artifact().header.config["vocabulary"] == "mini"
    (tmp_path / "words.txt").write_text("dog\n")
    assert "vocabulary" not in build(vocabulary=f"file:{tmp_path / 'words.txt'}").artifact().header.config


def test_weights_bring_the_vectors_of_their_vocabulary(tmp_path: Path) -> None:
    decoder = build(vocabulary="mini")
    made = decoder.artifact()
    path = tmp_path / "own.safetensors"
    write_weights(path, made.tensors, made.header)
    context = BuildContext(reads=decoder.space, weights=WeightFile(path, made.header))
    again = Viecap.build(ViecapConfig(vocabulary="mini"), context)
    assert again.entries()[0] == MINI
    assert torch.equal(again.entries()[1], decoder.entries()[1])
    tokens = regions(decoder, ["itap of a dog."])
    assert again.generate(tokens) == decoder.generate(tokens)
    for options in ({"vocabulary": "coco"}, {"vocabulary": "mini", "ensemble": False}):
        with pytest.raises(FeatureError, match="cannot embed those of its vocabulary"):
            Viecap.build(ViecapConfig(**options), context).entries()  # type: ignore[arg-type]
    other = dataclasses.replace(context, backbone=GridBackbone())
    assert Viecap.build(ViecapConfig(vocabulary="coco"), other).entries()[0] == COCO
