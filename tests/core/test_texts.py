"""Embedding many sentences, and the file form of a bank."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from regionkit.core.errors import FeatureError
from regionkit.core.testing import GridBackbone
from regionkit.core.texts import bank_tensors, bank_texts, embed_texts


class Counting(GridBackbone):
    """Remembers the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        self.sizes.append(len(texts))
        return torch.tensor([[float(len(text))] * 16 for text in texts])


def test_batches_of_a_thousand_distinct_sentences() -> None:
    backbone, seen = Counting(), []
    texts = [f"sentence {number}" for number in range(2500)] * 2
    embeddings = embed_texts(backbone, texts, seen.append)
    assert embeddings.shape == (5000, 16)
    assert embeddings[:, 0].tolist() == [len(text) for text in texts]
    assert backbone.sizes == [1000, 1000, 500]
    assert seen == [2000, 4000, 5000]


def test_embeddings_are_those_of_the_backbone_one_by_one() -> None:
    backbone, texts = GridBackbone(), ["red", "blue dog", "red", ""]
    assert torch.equal(embed_texts(backbone, texts), torch.cat([backbone.encode_text([text]) for text in texts]))
    assert embed_texts(backbone, []).shape == (0, 0)


def test_no_text_tower() -> None:
    with pytest.raises(FeatureError, match="has no text tower"):
        embed_texts(GridBackbone(text=False), ["red"])


def test_a_sentence_without_finite_embedding_is_named() -> None:
    class Broken(GridBackbone):
        def encode_text(self, texts: Sequence[str]) -> Tensor:
            return super().encode_text(texts) / torch.tensor([[float(text != "blue")] for text in texts])

    with pytest.raises(FeatureError, match="text tower of 'Broken' produced NaN or infinite values for 'blue'"):
        embed_texts(Broken(), ["red", "blue"])


def test_bank_texts_come_back() -> None:
    texts = ["a café", "", "two words"]
    tensors = bank_tensors(torch.zeros(3, 4), texts)
    assert tensors["texts"].dtype == torch.uint8
    assert bank_texts(tensors) == texts
    assert bank_texts({"embeddings": torch.zeros(3, 4)}) == []


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        pytest.param(["a"], "2 embeddings and 1 texts", id="count"),
        pytest.param(["a", "b\nc"], "holds a line break: 'b\\\\nc'", id="line-break"),
    ],
)
def test_what_a_bank_cannot_hold(texts: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bank_tensors(torch.zeros(2, 4), texts)
