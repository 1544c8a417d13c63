"""The memory of texts beside a decoder's weights: nearest rows against a plain product, what is left out, banks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import regionkit.plugins.zeroshot.retrieval as retrieval_module
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.texts import bank_tensors
from regionkit.core.weights import WeightFile, WeightHeader, read_header, write_weights
from regionkit.plugins.zeroshot.retrieval import TextMemory

SPACE = "tiny/text[6]"
WHO = "decoder 'some'"


def rows(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=generator) * torch.rand(count, 1, generator=generator).add(0.1)


def filled(count: int = 40, **options: bool) -> TextMemory:
    memory = TextMemory(SPACE, WHO, **options)
    memory.fit(rows(count), [f"text {row % 7}" for row in range(count)])
    return memory


def write(path, embeddings: Tensor, texts: list[str]) -> WeightFile:
    tensors = bank_tensors(embeddings, texts) if texts else {"embeddings": embeddings}
    write_weights(path, tensors, WeightHeader("bridge", "memory", SPACE))
    header = read_header(path)
    assert header is not None
    return WeightFile(path, header)


@pytest.mark.parametrize(
    "block", [pytest.param(1, id="1"), pytest.param(7, id="7"), pytest.param(16384, id="one-block")]
)
def test_the_nearest_are_those_of_the_whole_product(block, monkeypatch):
    monkeypatch.setattr(retrieval_module, "_BLOCK", block)
    memory, queries = filled(), rows(9, seed=1) * 5
    best, found = memory.nearest(queries, 5)
    bank = rows(40).double()
    cosines = queries.double() @ bank.T / bank.norm(dim=1) / queries.double().norm(dim=1, keepdim=True)
    wanted = cosines.topk(5)
    assert found.tolist() == wanted.indices.tolist()
    assert torch.allclose(best.double(), wanted.values, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sets(st.integers(0, 9), max_size=9), min_size=1, max_size=4), st.integers(1, 12))
def test_rows_that_are_left_out_come_last(without, count):
    memory = filled(10)
    queries = rows(len(without), seed=2)
    _, found = memory.nearest(queries, count, [sorted(some) for some in without])
    everything = memory.nearest(queries, 10)[1].tolist()
    for got, left_out, order in zip(found.tolist(), without, everything, strict=True):
        wanted = [row for row in order if row not in left_out] + [row for row in order if row in left_out]
        assert got == wanted[:count]


def test_a_query_does_not_see_the_others(monkeypatch):
    monkeypatch.setattr(retrieval_module, "_QUERIES", 5)
    memory, queries = filled(), rows(16, seed=3)
    without = [[number, number + 1] for number in range(16)]
    together = memory.nearest(queries, 4, without)[1]
    alone = [memory.nearest(queries[at : at + 1], 4, without[at : at + 1])[1] for at in range(16)]
    assert torch.equal(together, torch.cat(alone))
    assert memory.nearest(queries[:0], 4)[1].shape == (0, 4)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_equal_rows_come_in_their_order(count):
    memory = TextMemory(SPACE, WHO)
    memory.fit(torch.cat([torch.ones(3, 6), rows(1), torch.ones(2, 6)]), list("abcdef"))
    assert memory.nearest(torch.ones(1, 6), count)[1].tolist() == [[0, 1, 2, 4, 5, 3][:count]]


def test_the_first_of_many_equal_rows_are_taken():
    memory = TextMemory(SPACE, WHO)
    memory.fit(torch.cat([-torch.ones(2, 6), torch.ones(40, 6)]), [str(row) for row in range(42)])
    assert memory.nearest(torch.cat([torch.ones(1, 6), rows(1)]), 3)[1][0].tolist() == [2, 3, 4]


def test_a_decoder_in_bfloat16_retrieves_what_it_would_in_float32():
    memory, queries = filled(), rows(9, seed=1)
    wanted = memory.nearest(queries, 40)
    decoder = nn.ModuleList([memory, nn.Linear(6, 6)]).to(torch.bfloat16)
    assert decoder[1].weight.dtype == torch.bfloat16
    assert memory.embeddings.dtype == memory.norms.dtype == torch.float32
    found = memory.nearest(queries, 40)
    assert torch.equal(found[0], wanted[0])
    assert torch.equal(found[1], wanted[1])


def test_embeddings_stay_as_they_are_and_out_of_what_is_saved():
    memory = filled()
    assert torch.equal(memory.embeddings, rows(40))
    outer = nn.Module()
    outer.memory = memory
    assert not outer.state_dict()
    assert memory.rows_of("text 3") == list(range(3, 40, 7))
    assert memory.rows_of("none") == []


def test_equal_sentences_are_kept_once_where_that_is_asked():
    memory = filled(distinct=True)
    assert memory.texts == tuple(f"text {row}" for row in range(7))
    assert torch.equal(memory.embeddings, rows(40)[:7])


def test_rows_that_were_never_filled_are_dropped():
    memory = TextMemory(SPACE, WHO)
    memory.fit(torch.cat([rows(2), torch.zeros(2, 6), rows(1, seed=5)]), list("abcde"))
    assert memory.texts == ("a", "b", "e")
    assert torch.equal(memory.embeddings[2], rows(1, seed=5)[0])


def test_a_bank_of_a_file_is_that_of_its_rows(tmp_path):
    memory = TextMemory(SPACE, WHO)
    memory.load(write(tmp_path / "bank.safetensors", rows(4), ["a", "b", "c", "d"]))
    assert memory.texts == ("a", "b", "c", "d")
    assert torch.equal(memory.embeddings, rows(4))


@pytest.mark.parametrize(
    ("embeddings", "texts", "message"),
    [
        pytest.param(rows(3), [], "this bank holds vectors without sentences, and decoder 'some' reads", id="no-texts"),
        pytest.param(rows(3)[:, :4], list("abc"), r"takes 3 embeddings of width 6 .* got \(3, 4\)", id="width"),
        pytest.param(torch.full((1, 6), torch.nan), ["a"], "embedding 0 of a memory bank is NaN", id="nan"),
        pytest.param(torch.zeros(2, 6), ["a", "b"], "holds no embedding that is not zero", id="zero"),
    ],
)
def test_a_bank_that_cannot_be_used_is_refused(embeddings, texts, message, tmp_path):
    file = write(tmp_path / "bank.safetensors", embeddings, texts)
    with pytest.raises(WeightsError, match=message):
        TextMemory(SPACE, WHO).load(file)


def test_what_is_no_bank_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    write_weights(path, {"weight": torch.zeros(2)}, WeightHeader("bridge", "memory", SPACE))
    with pytest.raises(WeightsError, match="this is no memory bank, it holds: weight"):
        TextMemory(SPACE, WHO).load(WeightFile(path, read_header(path)))
    with pytest.raises(WeightsError, match="decoder 'some' retrieves captions, and has no bank of them"):
        TextMemory(SPACE, WHO).nearest(rows(1), 1)
    with pytest.raises(FeatureError, match="takes 3 embeddings of width 6 for as many texts"):
        TextMemory(SPACE, WHO).fit(rows(2), list("abc"))
