"""The decap decoder: golden vectors of the released procedure, batching, scores, tokenizers, errors."""

from __future__ import annotations

import dataclasses
import gzip
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from golden import golden_file
from safetensors.torch import load_file
from torch.nn.functional import normalize

import regionkit.plugins.patchioner.greedy as greedy_module
from regionkit.core.contracts import BuildContext, Corpus
from regionkit.core.errors import DataError, FeatureError, RegionkitError, WeightsError
from regionkit.core.features import GenerateOptions, RegionTokens, RegionViews
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.patchioner.decap import Decap
from regionkit.plugins.patchioner.decap_config import DecapConfig
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer, WordTokenizer, split_words, tokenizer_from

#: The end token of CLIP's tokenizer, as the released decoder has it.
END = 49407
SPACE = "tiny/text[8]"
WORDS = [f"word{number}" for number in range(12)]
TINY = DecapConfig(hidden=16, layers=2, heads=2, positions=32)


class Numbers:
    """The 49408 ids of CLIP's tokenizer, written as numbers: the golden vectors need no merges file."""

    size = 49408
    end = 49407

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(map(str, ids))


class Sentences(Corpus):
    def __init__(self, *texts: str) -> None:
        self._texts = texts

    def texts(self) -> tuple[str, ...]:
        return self._texts


def tiny(config: DecapConfig = TINY, seed: int = 0, loud: float = 12.0) -> Decap:
    """A random decoder whose captions differ, in length too: weights speak louder than at initialisation."""
    torch.manual_seed(seed)
    decoder = Decap(config, SPACE, WordTokenizer(WORDS)).eval()
    with torch.no_grad():
        decoder.clip_project.model[0].weight.mul_(loud)
        decoder.decoder.transformer.wte.weight.mul_(loud)
        decoder.decoder.transformer.wpe.weight.mul_(loud * 2)
    return decoder


def vectors(count: int, seed: int = 0) -> RegionTokens:
    drawn = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
    return RegionTokens.single(normalize(drawn, dim=-1), SPACE)


@pytest.fixture(scope="module")
def trained() -> Decap:
    """A decoder that writes many different captions of many lengths, with the margins of a trained one."""
    with torch.random.fork_rng(devices=[]):
        decoder = tiny(loud=1.0).train()
        draw = random.Random(0)
        texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 12))) for _ in range(64)]
        optimizer = torch.optim.Adam(decoder.parameters(), 1e-2)
        for _ in range(150):
            optimizer.zero_grad()
            decoder.loss(vectors(64), texts).backward()
            optimizer.step()
    return decoder.eval()


# ---------------------------------------------------------------- golden vectors


def before_end(row: list[int]) -> list[int]:
    return row[: row.index(END)] if END in row else row


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(golden_file("decap_greedy.safetensors"))


@pytest.fixture(scope="module")
def released(golden: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Decap:
    weights = {name[2:]: value.float() for name, value in golden.items() if name.startswith("w.")}
    positions, hidden = weights["decoder.transformer.wpe.weight"].shape
    layers = sum(name.endswith("ln_1.weight") for name in weights)
    config = DecapConfig(hidden=hidden, layers=layers, heads=4, positions=positions, compat="reference")
    dim = weights["clip_project.model.0.weight"].shape[1]
    decoder = Decap(config, f"released[{dim}]", Numbers())  # type: ignore[arg-type]
    decoder.load_state_dict(weights | {"decoder.lm_head.weight": weights["decoder.transformer.wte.weight"]})
    return decoder.eval()


def test_reference_tokens_and_scores_are_the_released_ones(released: Decap, golden: dict[str, torch.Tensor]) -> None:
    with torch.inference_mode():
        generated = released.decode(golden["prefix"], 30)
    assert generated.ids.tolist() == golden["tokens"].tolist()
    captions = released.generate(RegionTokens.single(golden["prefix"], released.space))
    scores = torch.tensor([caption.score for caption in captions])
    assert torch.allclose(scores / golden["scores"], torch.ones(len(captions)), atol=1e-4)
    rows = golden["tokens"].tolist()
    assert [caption.finished for caption in captions] == [END in row for row in rows]
    assert [list(caption.tokens) for caption in captions] == [before_end(row) for row in rows]


def test_first_logits_are_the_released_ones(released: Decap, golden: dict[str, torch.Tensor]) -> None:
    with torch.inference_mode():
        logits = released._logits(golden["prefix"], golden["tokens"])
    assert torch.allclose(logits[:, 0, :64], golden["first_logits64"], atol=1e-5)


def test_training_loss_is_the_released_one(released: Decap, golden: dict[str, torch.Tensor]) -> None:
    loss = released.token_loss(golden["prefix"], golden["tokens"][:, :20], torch.full((len(golden["prefix"]),), 20))
    assert loss.item() == pytest.approx(golden["train_loss"].item(), abs=1e-5)


def test_paper_tokens_agree_with_reference_up_to_the_end(released: Decap, golden: dict[str, torch.Tensor]) -> None:
    config = dataclasses.replace(released.config, compat="paper")
    paper = Decap(config, released.space, Numbers())  # type: ignore[arg-type]
    paper.load_state_dict(released.state_dict())
    captions = paper.eval().generate(RegionTokens.single(golden["prefix"], released.space))
    for caption, row in zip(captions, golden["tokens"].tolist(), strict=True):
        assert list(caption.tokens) == before_end(row)


# ---------------------------------------------------------------- generation


@pytest.mark.parametrize("size", [pytest.param(1, id="one"), pytest.param(7, id="seven"), pytest.param(256, id="all")])
def test_batch_of_fifty_is_fifty_singles(size: int, trained: Decap) -> None:
    decoder = trained
    inputs = vectors(50)
    together = decoder.generate(inputs, options=GenerateOptions(batch_size=size))
    alone = [decoder.generate(RegionTokens.single(row, SPACE))[0] for row in inputs.tokens]
    assert [caption.tokens for caption in together] == [caption.tokens for caption in alone]
    assert [c.score for c in together] == pytest.approx([c.score for c in alone], abs=1e-4)
    # The comparison says something only if captions differ, in length too, and rows leave the batch early.
    assert len({caption.tokens for caption in together}) >= 10
    assert len({len(caption.tokens) for caption in together}) >= 5
    assert any(caption.finished for caption in together)


def test_checking_now_and_then_changes_nothing(trained: Decap, monkeypatch: pytest.MonkeyPatch) -> None:
    every_step = trained.generate(vectors(50))
    monkeypatch.setattr(greedy_module, "_steps_between_checks", lambda device: 8)  # as on a GPU
    now_and_then = trained.generate(vectors(50))
    assert [caption.tokens for caption in now_and_then] == [caption.tokens for caption in every_step]
    assert [c.score for c in now_and_then] == pytest.approx([c.score for c in every_step], abs=1e-4)


def test_cached_steps_agree_with_the_whole_forward_of_transformers() -> None:
    decoder = tiny()
    inputs = vectors(9)
    with torch.inference_mode():
        generated = decoder.decode(inputs.vectors(), 12)
        prefix = decoder.clip_project(inputs.vectors()).unsqueeze(1)
        embeddings = torch.cat([prefix, decoder.decoder.transformer.wte(generated.ids[:, :-1])], dim=1)
        logits = decoder.decoder(inputs_embeds=embeddings).logits
    for row, tokens in enumerate(generated.ids.tolist()):
        stop = tokens.index(0) + 1 if 0 in tokens else len(tokens)
        assert logits[row, :stop].argmax(-1).tolist() == tokens[:stop]
        said = logits[row].log_softmax(-1)[range(stop), tokens[:stop]].sum()
        assert generated.log_likelihood[row].item() == pytest.approx(said.item(), abs=1e-4)


def test_score_of_its_own_caption_is_the_captions_score(trained: Decap) -> None:
    decoder = trained
    inputs = vectors(80)
    captions = decoder.generate(inputs)
    done = [row for row, caption in enumerate(captions) if caption.finished]
    assert len(done) >= 70
    chosen = RegionTokens.single(inputs.vectors()[done], SPACE)
    scores = decoder.score(chosen, [captions[row].text for row in done])
    assert scores.tolist() == pytest.approx([captions[row].score for row in done], abs=1e-4)


def test_scores_do_not_depend_on_the_padding_of_others() -> None:
    decoder = tiny()
    inputs = vectors(3)
    texts = ["word1", "word2 word3 word4 word5 word6", ""]
    together = decoder.score(inputs, texts)
    alone = [decoder.score(RegionTokens.single(inputs.tokens[row], SPACE), [texts[row]]) for row in range(3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert bool((together < 0).all())


def test_ids_that_the_tokenizer_does_not_know_are_never_written() -> None:
    config = DecapConfig(hidden=16, layers=2, heads=2, positions=32, vocabulary=30)
    decoder = tiny(config)
    with torch.no_grad():
        decoder.decoder.transformer.wte.weight[20:] *= 50
    captions = decoder.generate(vectors(20))
    assert all(max(caption.tokens, default=0) <= len(WORDS) for caption in captions)


def test_length_limits() -> None:
    decoder = tiny()
    row = next(row for row, caption in enumerate(decoder.generate(vectors(20))) if not caption.finished)
    endless = RegionTokens.single(vectors(20).tokens[row], SPACE)
    (short,) = decoder.generate(endless, options=GenerateOptions(max_tokens=3))
    assert (len(short.tokens), short.finished) == (3, False)
    # Positions end the caption where the limit asked for more.
    (capped,) = decoder.generate(endless, options=GenerateOptions(max_tokens=500))
    assert (len(capped.tokens), capped.finished) == (32, False)
    assert decoder.generate(vectors(0)) == []


def test_loss_falls_when_a_caption_is_learned() -> None:
    torch.manual_seed(0)
    decoder = Decap(TINY, SPACE, WordTokenizer(WORDS)).train()
    optimizer = torch.optim.Adam(decoder.parameters(), 1e-2)
    inputs, texts = vectors(4), ["word1 word2", "word3", "word4 word5 word6", "word7 word7"]
    for _ in range(60):
        optimizer.zero_grad()
        decoder.loss(inputs, texts).backward()
        optimizer.step()
    assert [caption.text for caption in decoder.eval().generate(inputs)] == texts


def test_loss_ignores_padding_and_cuts_long_captions() -> None:
    config = DecapConfig(hidden=16, layers=1, heads=2, positions=32, max_length=4, dropout=0.0, label_smoothing=0.0)
    decoder = tiny(config)
    pair, long = vectors(2), " ".join(WORDS[:9])
    alone = [
        decoder.loss(RegionTokens.single(pair.tokens[row], SPACE), [text]) for row, text in enumerate(["word1", long])
    ]
    # "word1" counts 2 tokens (the word and the end), the long one its first four words.
    expected = (2 * alone[0] + 4 * alone[1]) / 6
    assert decoder.loss(pair, ["word1", long]).item() == pytest.approx(expected.item(), abs=1e-5)
    cut = decoder.loss(RegionTokens.single(pair.tokens[1], SPACE), [" ".join(WORDS[:4])])
    assert cut.item() == pytest.approx(alone[1].item(), abs=1e-6)


# ---------------------------------------------------------------- building and files


def test_weights_survive_the_file_and_decide_the_architecture(tmp_path: Path) -> None:
    decoder = tiny()
    artifact = decoder.artifact()
    assert "decoder.lm_head.weight" not in artifact.tensors  # tied: stored once
    path = tmp_path / "tiny.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    header = read_header(path)
    assert header is not None
    state = torch.get_rng_state()
    again = Decap.build(DecapConfig(), BuildContext(reads=SPACE, weights=WeightFile(path, header)))
    assert torch.equal(torch.get_rng_state(), state)
    assert again.config.hidden == 16
    assert again.generate(vectors(5)) == decoder.generate(vectors(5))


def test_official_checkpoints_with_mask_buffers_load(tmp_path: Path) -> None:
    decoder = tiny()
    artifact = decoder.artifact()
    old = dict(artifact.tensors) | {
        "decoder.lm_head.weight": decoder.decoder.lm_head.weight,
        "decoder.transformer.h.0.attn.bias": torch.ones(1, 1, 32, 32),
        "decoder.transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
    }
    path = tmp_path / "old.safetensors"
    write_weights(path, old, artifact.header)
    again = Decap.build(DecapConfig(), BuildContext(weights=WeightFile(path, artifact.header)))
    assert again.generate(vectors(3)) == decoder.generate(vectors(3))


def test_untrained_takes_words_and_seed_from_the_context() -> None:
    context = BuildContext(reads=SPACE, parts={"corpus": Sentences("a dog", "a cat, a dog")}, seed=3)
    first, second = Decap.build(TINY, context), Decap.build(TINY, context)
    assert first.tokenizer.to_extra() == {"type": "words", "words": [",", "a", "cat", "dog"]}
    assert torch.equal(first.clip_project.model[0].weight, second.clip_project.model[0].weight)


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        pytest.param(
            RegionTokens.single(torch.full((1, 8), float("nan")), SPACE),
            "NaN or infinite values for region 0",
            id="nan",
        ),
        pytest.param(
            RegionTokens.single(torch.ones(1, 5), "other[5]"),
            r"reads tiny/text\[8\] and got vectors of width 5 in other\[5\]",
            id="width",
        ),
        pytest.param(
            RegionTokens(torch.ones(1, 2, 8), torch.ones(1, 2, dtype=torch.bool), SPACE),
            "one token a region and got 2",
            id="tokens",
        ),
        pytest.param(RegionViews(()), "reads vectors and got pictures", id="views"),
    ],
)
def test_unusable_inputs_are_named(inputs: RegionTokens | RegionViews, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        tiny().generate(inputs)


def test_a_prompt_is_refused() -> None:
    with pytest.raises(RegionkitError, match="decoder 'decap' takes no prompt, it got \"a photo of\""):
        tiny().generate(vectors(1), prompt="a photo of")


def test_an_unknown_word_is_named_with_close_ones() -> None:
    with pytest.raises(DataError, match=r"does not know the word 'wrd1' of .*\n  did you mean: word1"):
        tiny().score(vectors(1), ["wrd1 word2"])


def test_a_text_beyond_the_positions_is_refused() -> None:
    with pytest.raises(RegionkitError, match="a text has 37 tokens, decoder 'decap' has 32 positions"):
        tiny().score(vectors(1), [" ".join(WORDS * 3)])


def test_untrained_without_a_corpus_says_what_to_type() -> None:
    with pytest.raises(WeightsError, match=r"no weights, and no corpus.*\n.*toolkit train RECIPE.yaml"):
        Decap.build(TINY, BuildContext(reads=SPACE))


def test_a_size_that_the_weights_do_not_have_is_refused(tmp_path: Path) -> None:
    artifact = tiny().artifact()
    path = tmp_path / "tiny.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    with pytest.raises(
        WeightsError, match=r"decoder\.hidden: 32 was asked for, the weights .*tiny.safetensors have 16"
    ):
        Decap.build(DecapConfig(hidden=32), BuildContext(weights=WeightFile(path, artifact.header)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            {"hidden": 18, "heads": 4}, "heads: 4 does not divide hidden 18; these do: 1, 2, 3, 6, 9, 18", id="heads"
        ),
        pytest.param({"layers": 0}, "layers: 0 must be 1 or more", id="layers"),
        pytest.param({"dropout": 1.0}, "dropout: 1.0 must be at least 0 and less than 1", id="dropout"),
        pytest.param({"vocabulary": -1}, r"vocabulary: -1 must be 0 \(as many rows as ids\) or more", id="vocabulary"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecapConfig(**options)  # type: ignore[arg-type]


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(RegionkitError, match=r"decoder\.vocabulary: 5 rows are fewer than the 13 ids"):
        Decap(DecapConfig(hidden=16, layers=1, heads=2, vocabulary=5), SPACE, WordTokenizer(WORDS))


# ---------------------------------------------------------------- tokenizers


def test_words_and_signs_are_split_and_come_back() -> None:
    text = "A dog's T-shirt, 2 cats."
    assert split_words(text) == ["a", "dog's", "t-shirt", ",", "2", "cats", "."]
    tokenizer = WordTokenizer.of([text])
    ids = tokenizer.encode(text)
    assert ids[-1] == tokenizer.end
    assert tokenizer.decode(ids[:-1]) == "a dog's t-shirt , 2 cats ."


@pytest.fixture
def merges(tmp_path: Path) -> Path:
    path = tmp_path / "merges.txt"
    path.write_text("#version: 0.2\nt h\nth e</w>\nd o\ndo g</w>\na t</w>\nc at</w>\n", encoding="utf-8")
    return path


def test_clip_tokenizer_agrees_with_transformers(merges: Path, tmp_path: Path) -> None:
    import json

    from transformers import CLIPTokenizer

    ours = ClipTokenizer(merges)
    vocab = {name: number for number, name in enumerate(ours.names)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    theirs = CLIPTokenizer(str(tmp_path / "vocab.json"), str(merges))
    for text in ("the dog", "The  CAT, the dog's 12 hats!", "café 😭", "a\tb"):
        assert ours.encode(text) == theirs(text)["input_ids"], text


def test_clip_tokenizer_writes_and_reads(merges: Path) -> None:
    tokenizer = ClipTokenizer(merges)
    ids = tokenizer.encode("The dog, café")
    assert (ids[0], ids[-1]) == (tokenizer.start, tokenizer.end)
    assert tokenizer.decode(ids[:-1]) == "the dog , café"
    extra = {"tokenizer": tokenizer.to_extra()}
    again = tokenizer_from(extra, merges.parent / "weights.safetensors", tokenizer.to_tensors())
    assert again.encode("dog") == tokenizer.encode("dog")
    assert again.size == 512 + 6 + 2


def test_clip_tokenizer_has_the_released_ids(golden: dict[str, torch.Tensor]) -> None:
    source = Path(__file__).parents[4] / "shared" / "data" / "upstream" / "clip_bpe_simple_vocab_16e6.txt.gz"
    if not source.is_file():
        pytest.skip("the official bpe_simple_vocab_16e6.txt.gz is not part of this repository")
    tokenizer = ClipTokenizer(source)
    assert tokenizer.size == 49408
    assert tokenizer.encode("a photo of a cat") == [49406, 320, 1125, 539, 320, 2368, 49407]
    row = golden["tokens"][1].tolist()
    assert tokenizer.decode(row).startswith("dzgrid mart😭😍 dzalchemist trench merle")
    assert "axi�" in tokenizer.decode(row)  # half a character, as the released code prints it


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        pytest.param({}, "the weights name no tokenizer", id="none"),
        pytest.param(
            {"tokenizer": {"type": "sentencepiece"}},
            "the weights name the unknown tokenizer 'sentencepiece'",
            id="unknown",
        ),
        pytest.param(
            {"tokenizer": {"type": "clip", "merges": "gone.txt"}},
            "gone.txt: the merges file of CLIP's tokenizer cannot be read",
            id="gone",
        ),
    ],
)
def test_a_header_without_its_tokenizer_is_refused(extra: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=message):
        tokenizer_from(extra, tmp_path / "weights.safetensors")


def test_a_damaged_merges_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "merges.txt.gz"
    path.write_bytes(gzip.compress(b"#version\nt h\none\n"))
    with pytest.raises(WeightsError, match="this is no merges file"):
        ClipTokenizer(path)


@pytest.mark.parametrize("method", ["score", "loss"])
@pytest.mark.parametrize("texts", [1, 4])
def test_texts_and_regions_come_in_pairs(method: str, texts: int) -> None:
    with pytest.raises(ValueError, match=f"3 regions and {texts} texts: give one text a region"):
        getattr(tiny(), method)(vectors(3), ["word1"] * texts)


@pytest.mark.parametrize("compat", ["paper", "reference"])
def test_the_end_of_a_sentence_is_learned_whatever_its_id(compat):
    """The reference pads with id 0, which in a tokenizer of words is the end token."""
    torch.manual_seed(0)
    options = {"hidden": 32, "layers": 1, "heads": 2, "positions": 12, "dropout": 0.0, "label_smoothing": 0.0}
    decoder = Decap(DecapConfig(**options, compat=compat), "x[4]", WordTokenizer.of(["a", "dog", "cat", "red"]))
    texts, tokens = ["a dog", "a red cat", "dog", "a red dog"], RegionTokens.single(torch.eye(4), "x[4]")
    optimizer = torch.optim.Adam(decoder.parameters(), 1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        decoder.loss(tokens, texts).backward()
        optimizer.step()
    written = decoder.eval().generate(tokens, options=GenerateOptions(max_tokens=10))
    assert [(caption.text, caption.finished) for caption in written] == [(text, True) for text in texts]
    assert decoder.loss_terms([""] * 4) == 4
    assert torch.isfinite(decoder.loss(tokens, [""] * 4))
