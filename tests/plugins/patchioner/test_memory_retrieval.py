"""Retrieval as a decoder: the released vectors, scores, n best, and the bank that a pipeline gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import golden_file
from test_memory import SPACE, TEXTS, tokens_of
from torch.nn.functional import normalize

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import DataError, FeatureError, RegionkitError, WeightsError
from regionkit.core.features import GenerateOptions, RegionTokens, RegionViews
from regionkit.core.testing import GridBackbone, check_decoder
from regionkit.core.texts import bank_tensors
from regionkit.core.weights import WeightFile, WeightHeader, read_header, write_weights
from regionkit.plugins.patchioner.configs import MemoryConfig, NearestTextConfig, precision_notes
from regionkit.plugins.patchioner.memory import Memory
from regionkit.plugins.patchioner.nearest_text import NearestText
from regionkit.registry.plan import PipelinePlan, plan_pipeline

param = pytest.param
DOUBLES = [*TEXTS, "green", "a dog", "green"]


def fitted(texts: list[str] = DOUBLES, **options: Any) -> NearestText:
    decoder = NearestText(NearestTextConfig(**options), SPACE)
    decoder.fit(GridBackbone().encode_text(texts), texts)
    return decoder


def asked(count: int = 4, seed: int = 0) -> Any:
    return tokens_of(torch.randn(count, 16, generator=torch.Generator().manual_seed(seed)), SPACE)


@pytest.mark.parametrize("options", [{}, {"precision": "bfloat16"}, {"temperature": 1.0}])
def test_conforms(options: dict[str, Any]) -> None:
    check_decoder(fitted(**options), space=SPACE)


def test_released_retrieval() -> None:
    golden = np.load(golden_file("memory_projection.npz"))
    rows, width = golden["bank"].shape
    decoder = NearestText(NearestTextConfig(score="similarity"), f"m[{width}]")
    decoder.fit(torch.from_numpy(golden["bank"]), [f"text {row}" for row in range(rows)])
    query = tokens_of(golden["query"], f"m[{width}]")
    captions = decoder.generate(query)
    assert [one.text for one in captions] == [f"text {row}" for row in golden["argmax_index"]]
    best = golden["top5_sims"]
    np.testing.assert_allclose([one.score for one in captions], best[:, 0], atol=1e-6)
    five = decoder.nearest(query, best.shape[1])
    np.testing.assert_allclose([[value for _, value in row] for row in five], best, atol=1e-6)


def test_a_score_is_the_share_of_all_rows_of_the_sentence() -> None:
    decoder, tokens = fitted(temperature=0.5), asked()
    unit = normalize(tokens.vectors().double(), dim=1)
    bank = normalize(GridBackbone().encode_text(DOUBLES).double(), dim=1)
    shares = (unit @ bank.T / 0.5).softmax(1)
    for caption, row, similar in zip(decoder.generate(tokens), shares, unit @ bank.T, strict=True):
        assert caption.text == DOUBLES[int(similar.argmax())]
        own = sum(float(share) for share, text in zip(row, DOUBLES, strict=True) if text == caption.text)
        assert caption.score == pytest.approx(np.log(own), abs=1e-6)
    every = torch.stack([decoder.score(tokens, [text] * len(tokens)) for text in dict.fromkeys(DOUBLES)])
    torch.testing.assert_close(every.exp().sum(0), torch.ones(len(tokens)))
    with pytest.raises(DataError) as caught:
        decoder.score(tokens, ["purple"] * len(tokens))
    assert str(caught.value) == (
        "'purple' is none of the 6 sentences of the bank, and decoder 'nearest-text' knows no other\n"
        "  choose a decoder that can write it: toolkit list-components --kind decoder"
    )


def test_another_sentence_has_the_share_of_one_row_more() -> None:
    """Where the backbone can encode it: choices of questions are scored this way."""
    decoder = NearestText.build(NearestTextConfig(weights="none"), BuildContext(reads=SPACE, backbone=GridBackbone()))
    decoder.fit(GridBackbone().encode_text(TEXTS), TEXTS)
    more = fitted([*TEXTS, "purple"])
    tokens, texts = asked(3), ["purple", TEXTS[0], "purple"]
    found = decoder.score(tokens, texts)
    wanted = more.score(tokens, texts)
    torch.testing.assert_close(found[[0, 2]], wanted[[0, 2]])
    torch.testing.assert_close(found[1], fitted(TEXTS).score(tokens, texts[1:2] * 3)[1])
    rows = decoder.token_scores(tokens, texts)
    assert [row[0].id for row in rows] == [len(TEXTS), 0, len(TEXTS)]


def test_the_n_best_are_different_sentences_with_their_scores() -> None:
    decoder, tokens = fitted(), asked(3)
    found = decoder.nearest(tokens, 4)
    for row in found:
        assert len({text for text, _ in row}) == 4
        assert [value for _, value in row] == sorted((value for _, value in row), reverse=True)
    assert [len(row) for row in decoder.nearest(tokens, 99)] == [len(TEXTS)] * 3
    texts = [one.text for one in decoder.generate(tokens)]
    assert [row[0][0] for row in found] == texts
    for own, (one,) in zip(texts, decoder.token_scores(tokens, texts, alternatives=3), strict=True):
        assert one.text == own
        assert len(one.alternatives) == 3
        chances = [one.log_probability, *(other.log_probability for other in one.alternatives)]
        assert np.exp(chances).sum() <= 1 + 1e-6


def test_behind_argmax_it_writes_what_it_writes_behind_nothing() -> None:
    decoder, tokens = fitted(), asked(20)
    bridge = Memory(MemoryConfig(mode="argmax"), SPACE)
    bridge.fit(GridBackbone().encode_text(DOUBLES), DOUBLES)
    plain = [one.text for one in decoder.generate(tokens)]
    assert [one.text for one in decoder.generate(bridge.bridge(tokens))] == plain
    assert len(set(plain)) > 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        param(lambda one: one.generate(asked(), "what is this?"), RegionkitError, "takes no prompt", id="prompt"),
        param(
            lambda one: one.generate(asked(), None, GenerateOptions(beams=2)),
            RegionkitError,
            "has no beams, samples and shortest length",
            id="beams",
        ),
        param(lambda one: one.generate(RegionViews(())), FeatureError, "reads vectors and got pictures", id="views"),
        param(
            lambda one: one.generate(tokens_of(torch.ones(1, 12))),
            FeatureError,
            "decoder 'nearest-text' got vectors of width 12 in grid/image[16], its bank has width 16",
            id="width",
        ),
        param(
            lambda one: NearestText(None, SPACE).generate(asked()),
            WeightsError,
            "decoder 'nearest-text' has no bank",
            id="empty",
        ),
        param(lambda one: one.fit(torch.ones(2, 16), []), FeatureError, "writes sentences of its bank", id="no-texts"),
    ],
)
def test_what_it_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call(fitted())
    assert message in str(caught.value)


@pytest.mark.parametrize("texts", [True, False])
def test_a_bank_of_the_memory_bridge_is_its_bank(tmp_path: Path, texts: bool) -> None:
    path = tmp_path / "bank.safetensors"
    tensors = bank_tensors(GridBackbone().encode_text(TEXTS), TEXTS)
    if not texts:
        del tensors["texts"]
    write_weights(path, tensors, WeightHeader("bridge", "memory", SPACE))
    context = BuildContext(reads=SPACE, weights=WeightFile(path, read_header(path)))
    if not texts:
        with pytest.raises(WeightsError, match="this bank holds vectors without sentences"):
            NearestText.build(NearestTextConfig(), context)
        return
    decoder = NearestText.build(NearestTextConfig(), context)
    backbone = GridBackbone().encode_text(TEXTS)
    assert [one.text for one in decoder.generate(tokens_of(backbone, SPACE))] == TEXTS


def plan(bridge: dict[str, Any], **decoder: Any) -> PipelinePlan:
    return plan_pipeline(
        {
            "backbone": "mini-dense",
            "region_encoder": "patch-pool",
            "bridge": bridge,
            "decoder": {"name": "nearest-text", **decoder},
        }
    )


def test_a_pipeline_fits_it_to_a_corpus_or_takes_an_indexed_bank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path))
    from regionkit.registry.weights.index import get_index

    get_index.cache_clear()
    named = plan({"name": "none"}, bank="mini-captions")
    assert named.fit_corpus == {"decoder": "mini-captions"}
    followed = plan({"name": "memory", "bank": "mini-captions"})
    assert followed.fit_corpus == {"bridge": "mini-captions", "decoder": "mini-captions"}
    space = "mini-dense/text[128]"
    for name in ("mine", "other"):
        header = WeightHeader("bridge", "memory", space, corpus=name, extra={"notes": ["made for a test"]})
        write_weights(tmp_path / f"{name}.safetensors", bank_tensors(torch.ones(1, 128), ["a"]), header)
    get_index.cache_clear()
    followed = plan({"name": "memory", "bank": "mine"}, precision="float16")
    assert followed.weights["decoder"] is not None
    assert followed.weights["decoder"].label == "mine"
    assert followed.fit_corpus == {}
    assert followed.remarks() == [
        "bridge memory: made for a test",
        f"decoder nearest-text: {precision_notes('float16')[0]}",
        "decoder nearest-text: made for a test",
    ]
    with pytest.raises(RegionkitError, match="no bank 'gone' of decoder 'nearest-text'"):
        plan({"name": "none"}, bank="gone")
    get_index.cache_clear()


def test_a_sentence_of_several_rows_stands_where_its_nearest_row_does():
    rows = [("A", 0.99), ("A", 0.98), ("B", 0.9), ("C", 0.8), ("D", 0.7), ("A", 0.6), ("E", 0.5)]
    decoder = NearestText(space="x[2]")
    decoder.fit(torch.tensor([[one, (1 - one * one) ** 0.5] for _, one in rows]), [text for text, _ in rows])
    tokens = RegionTokens.single(torch.tensor([[1.0, 0.0]]), "x[2]")
    for count in range(1, 7):
        (found,) = decoder.nearest(tokens, count)
        assert [text for text, _ in found] == list("ABCDE")[:count]
    assert dict(found) == pytest.approx({"A": 0.99, "B": 0.9, "C": 0.8, "D": 0.7, "E": 0.5}, abs=1e-6)
