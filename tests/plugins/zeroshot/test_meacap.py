"""MeaCap's decoder: concepts of retrieved captions against golden vectors, its parsers, and its memory."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from golden_files import golden_file
from helper_folders import write_encoder, write_t5
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import BertModel, T5ForConditionalGeneration

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.features import RegionTokens
from regionkit.core.testing import GridBackbone, Sentences
from regionkit.core.texts import bank_tensors
from regionkit.core.weights import WeightFile, WeightHeader, write_weights
from regionkit.plugins.zeroshot.meacap import Meacap
from regionkit.plugins.zeroshot.meacap_config import MeacapConfig
from regionkit.plugins.zeroshot.parsers import RuleParser, TrainedParser
from regionkit.plugins.zeroshot.scene_graph import caption_graph, concepts, facts_of, joined_graph
from regionkit.plugins.zeroshot.similarity import SentenceSimilarity, same_words
from regionkit.plugins.zeroshot.vocabularies import COCO, MINI

param = pytest.param
CPU = torch.device("cpu")
TINY = {"hidden": 32, "layers": 2, "heads": 4, "intermediate": 48, "positions": 128}
TINY |= {"mapper_layers": 1, "mapper_heads": 4, "prefix": 2}
GOLDEN = json.loads(golden_file("meacap_merge.json").read_text())


def drawn_similarity(names: list[str]) -> Tensor:
    """What stands in for the encoder of sentences in the golden vectors: cosines of vectors drawn from a hash."""
    rows = []
    for name in names:
        seed = int(hashlib.md5(name.encode()).hexdigest()[:8], 16)
        row = torch.randn(64, generator=torch.Generator().manual_seed(seed))
        rows.append(row / row.norm())
    found = torch.stack(rows)
    return found @ found.T


@pytest.mark.parametrize("case", sorted(GOLDEN["cases"]))
def test_graphs_and_concepts_are_the_released_ones(case: str) -> None:
    parsed, captions = GOLDEN["cases"][case]
    graphs = [caption_graph(facts_of(one)) for one in parsed]
    whole = joined_graph(graphs)
    found = concepts(graphs, captions, drawn_similarity)
    for wanted in GOLDEN["by_hashseed"].values():
        assert sorted(whole) == wanted[case]["entities"]
        assert {name: node.count for name, node in whole.items()} == wanted[case]["counts"]
        assert found == wanted[case]["concepts"]


@pytest.mark.parametrize(
    ("text", "graph"),
    [
        param("( man , is , young )", {"man": ({"young": 1}, [])}, id="attribute"),
        param("( dog , brown )", {"dog": ({"brown": 1}, [])}, id="two-words"),
        param("( birds , is , 3 )", {"birds": ({"three": 1}, [])}, id="number"),
        param("( cat , on , bed )", {"cat": ({}, ["bed"]), "bed": ({}, [])}, id="relation"),
        param("( cat , sits , on , bed )", {"cat": ({}, ["bed"]), "bed": ({}, [])}, id="four-words"),
        param("tree", {"tree": ({}, [])}, id="alone"),
        param("( tree ) , ( dog , is , old )", {"dog": ({"old": 1}, [])}, id="not-alone"),
        param("", {}, id="nothing"),
    ],
)
def test_a_fact_becomes_nodes(text: str, graph: dict[str, tuple[dict[str, int], list[str]]]) -> None:
    found = caption_graph(facts_of(text))
    assert {name: (node.attributes, list(node.relations)) for name, node in found.items()} == graph


def alike(*pairs: tuple[str, str]):
    """A similarity under which exactly these pairs are one."""

    def similarity(names: list[str]) -> Tensor:
        both = {*pairs, *(pair[::-1] for pair in pairs)}
        return torch.tensor(
            [[1.0 if one == other or (one, other) in both else 0.0 for other in names] for one in names]
        )

    return similarity


def graphs_of(*texts: str):
    return [caption_graph(facts_of(text)) for text in texts]


def test_things_that_mean_the_same_are_counted_together() -> None:
    texts = ["( the man , is , tall )", "( a boy , is , tall )", "( a man , on , a boy )"]
    graphs = graphs_of("( man , is , tall )", "( boy , is , tall )", "( man , near , boy )")
    assert concepts(graphs, texts, alike()) == []
    assert concepts(graphs, texts, alike(("man", "boy"))) == ["man"]
    more = [*graphs, *graphs_of("( boy , is , tall )")]
    assert concepts(more, [*texts, "a boy"], alike(("man", "boy"))) == ["tall boy"]


def test_concepts_stand_in_the_order_of_the_captions_and_are_at_most_four() -> None:
    texts = ["an owl, a cat, a dog, a cow and a pig"] * 3
    graphs = graphs_of(*["( pig , near , cow ) , ( dog , near , cat ) , ( owl , near , cat )"] * 3)
    assert concepts(graphs, texts, alike()) == ["owl", "cat", "dog", "cow"]


def test_what_a_caption_begins_with_stands_last() -> None:
    graphs = graphs_of(*["( dog , near , cat )"] * 3)
    assert concepts(graphs, ["dog beside a cat"] * 3, alike()) == ["cat", "dog"]


@given(st.permutations(range(5)))
@settings(max_examples=20, deadline=None)
def test_counts_do_not_depend_on_the_order_of_the_captions(order: list[int]) -> None:
    parsed, captions = GOLDEN["cases"]["clock"]
    graphs = [caption_graph(facts_of(parsed[at])) for at in order]
    assert set(concepts(graphs, [captions[at] for at in order], drawn_similarity)) == {"tall clock", "sidewalk"}


def test_rules_take_words_of_the_vocabulary_and_what_stands_before_them() -> None:
    [graph] = RuleParser(MINI).graphs(["a small red car and two big dogs on grass with a dog"], CPU)
    assert {name: node.attributes for name, node in graph.items()} == {
        "car": {"small": 1, "red": 1},
        "dog": {"two": 1, "big": 1},
    }


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        return write_t5(tmp_path_factory.mktemp("parser") / "t5")


def test_a_trained_parser_writes_as_its_model_does(t5: Path) -> None:
    parser = TrainedParser(f"file:{t5}", "decoder 'meacap'")
    captions = ["a cat on the bed", "red dog"]
    own = T5ForConditionalGeneration.from_pretrained(t5)
    for caption, text in zip(captions, parser.written(captions, CPU), strict=True):
        ids = torch.tensor([[*parser.tokenizer.encode(f"Generate Scene Graph: {caption}"), 2]])
        wanted = own.generate(ids, max_length=128, num_beams=1, do_sample=False)[0].tolist()
        assert text == parser.tokenizer.decode(wanted)
    assert parser.graphs(captions[:1], CPU) == [caption_graph(facts_of(parser.written(captions[:1], CPU)[0]))]


def test_a_trained_parser_reads_each_caption_once(t5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parser, read = TrainedParser(f"file:{t5}", "decoder 'meacap'"), []
    written = parser.written
    monkeypatch.setattr(
        parser, "written", lambda captions, device: [read.extend(captions), *written(captions, device)][1:]
    )
    first = parser.graphs(["a cat", "a dog", "a cat"], CPU)
    assert parser.graphs(["a dog", "a bed"], CPU)[0] == first[1]
    assert first[0] == first[2]
    assert read == ["a cat", "a dog", "a bed"]


def test_an_encoder_of_sentences_says_what_means_the_same(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder")
    found = SentenceSimilarity(f"file:{folder}", "decoder 'meacap'")(["dog", "cat", "dog puppy"])
    model = BertModel.from_pretrained(folder)
    rows = []
    for ids in ([2, 4, 3], [2, 5, 3], [2, 4, 7, 3]):
        mean = model(torch.tensor([ids])).last_hidden_state[0].mean(0)
        rows.append((mean / mean.norm()).detach())
    wanted = torch.stack(rows)
    torch.testing.assert_close(found, wanted @ wanted.T, atol=1e-5, rtol=0)


def test_same_words_are_one_in_singular_and_plural() -> None:
    assert same_words(["dog", "dogs", "cat"]).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


MEMORY = ["a small red car on sand", "a red car on grass", "a big red car on snow", "an owl on wood", "a bee on brick"]


def build(bank: WeightFile | None = None, **options: object) -> Meacap:
    backbone = GridBackbone()
    context = BuildContext(reads=backbone.text_space, backbone=backbone, bank=bank, parts={"corpus": Sentences()})
    return Meacap.build(MeacapConfig(**{"weights": "none", "vocabulary": "mini", **TINY, **options}), context)  # type: ignore[arg-type]


def regions(decoder: Meacap, texts: list[str]) -> RegionTokens:
    return RegionTokens.single(GridBackbone().encode_text(texts), decoder.space)


def test_what_retrieved_captions_agree_on_is_said() -> None:
    decoder = build(captions=3)
    decoder.fit(GridBackbone().encode_text(MEMORY[:3]), MEMORY[:3])
    tokens = regions(decoder, ["a car", "an owl"])
    assert [sorted(one) for one in decoder.retrieved(tokens)] == [sorted(MEMORY[:3])] * 2
    assert decoder.words(tokens, None) == ["There are red car in image."] * 2


def test_captions_that_agree_on_nothing_say_something() -> None:
    decoder = build(captions=2)
    decoder.fit(GridBackbone().encode_text(MEMORY[3:]), MEMORY[3:])
    assert decoder.words(regions(decoder, ["an owl"]), None) == ["There are something in image."]


def test_its_bank_is_read_from_a_file_and_never_written(tmp_path: Path) -> None:
    path, header = tmp_path / "bank.safetensors", WeightHeader("bridge", "memory", GridBackbone().text_space)
    write_weights(path, bank_tensors(GridBackbone().encode_text(MEMORY), MEMORY), header)
    decoder = build(WeightFile(path, header))
    nearest = decoder.retrieved(regions(decoder, MEMORY[3:4]))[0]
    assert nearest[0] == MEMORY[3]
    assert len(nearest) == 5
    made = decoder.artifact()
    assert not [name for name in made.tensors if not name.startswith(("mapper.", "model."))]
    assert made.header.name == "viecap"


def test_without_a_memory_it_says_how_to_make_one() -> None:
    decoder = build()
    with pytest.raises(WeightsError) as caught:
        decoder.generate(regions(decoder, ["a dog"]))
    assert caught.value.message == "decoder 'meacap' retrieves captions, and has no bank of them"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        param("parser", "decoder 'meacap': parser: file:nowhere: there is no such folder", id="parser"),
        param("similarity", "decoder 'meacap': similarity: file:nowhere: there is no such folder", id="similarity"),
    ],
)
def test_folders_that_are_not_there_are_named(option: str, message: str) -> None:
    with pytest.raises(WeightsError) as caught:
        build(**{option: "file:nowhere"})
    assert caught.value.message == message
    assert str(Path("nowhere").absolute()) in caught.value.hints[0]
    assert "hf download" in caught.value.hints[1]


def test_folders_are_looked_for_among_weights_too(t5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(t5.parent))
    decoder = build(parser=f"file:{t5.name}", captions=2)
    decoder.fit(GridBackbone().encode_text(MEMORY), MEMORY)
    assert len(decoder.generate(regions(decoder, ["a dog", "an owl"]))) == 2
    assert not [name for name, _ in decoder.named_parameters() if not name.startswith(("mapper.", "model."))]


def test_a_folder_of_another_model_is_no_parser(tmp_path: Path) -> None:
    from transformers import BartConfig, BartForConditionalGeneration

    folder = write_t5(tmp_path / "bart")
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 30}
    BartForConditionalGeneration(BartConfig(**sizes, **heads)).save_pretrained(folder)
    with pytest.raises(WeightsError, match="a parser of scene graphs is a T5, and this is a bart"):
        build(parser=f"file:{folder}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"parser": "regex"}, "parser: 'regex' must be rules, released, or file:FOLDER", id="parser"),
        param({"similarity": "file:"}, "similarity: 'file:' must be words, released, or file:FOLDER", id="similarity"),
        param({"captions": 0}, "captions: 0 must be 1 or more", id="captions"),
    ],
)
def test_meacap_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        MeacapConfig(**options)  # type: ignore[arg-type]


def test_both_parsers_take_the_vocabulary_of_the_option() -> None:
    assert RuleParser(COCO).graphs(["two hot dogs"], CPU)[0].keys() == {"hot dog"}
