"""A tiny GPT-2 with a text tower beside it, for the decoders that a text tower guides."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from regionkit.core.contracts import Backbone, BuildContext, Corpus
from regionkit.core.features import RegionTokens

WORDS = tuple(f"word{number}" for number in range(12))
DIM = 10
SPACE = f"toy/text[{DIM}]"
SIZES = {"hidden": 24, "layers": 2, "heads": 2, "intermediate": 32, "positions": 40}


class Words(Corpus):
    def texts(self) -> Sequence[str]:
        return (" ".join(WORDS), "image of a .")


class Tower(Backbone):
    """A backbone of a text tower alone: a text's vector is the sum of its words', each weighed by its place."""

    space, text_space = f"toy/image[{DIM}]", SPACE

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def frame(self, image_size):
        raise NotImplementedError

    def encode(self, images):
        raise NotImplementedError

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        self.asked.append(list(texts))
        rows = [
            sum((vector_of(word) * (1 + 0.1 * at) for at, word in enumerate(text.split())), torch.zeros(DIM))
            for text in texts
        ]
        return torch.stack(rows).float() if rows else torch.zeros(0, DIM)


def vector_of(word: str) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
    return torch.randn(DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(cls, config_cls, seed: int = 0, backbone: Backbone | None = None, **options):
    """Build a decoder of random weights large enough that its distributions are not flat."""
    tower = backbone or Tower()
    context = BuildContext(reads=SPACE, backbone=tower, parts={"corpus": Words()}, seed=seed)
    decoder = cls.build(config_cls(weights="none", **(SIZES | options)), context)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in decoder.model.parameters():
            weight.add_(torch.randn(weight.shape, generator=draw) * 0.25)
    return decoder


def trained(decoder, steps: int = 60):
    """Let a decoder learn sentences of many lengths."""
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(1, 6))) for _ in range(32)]
    optimizer = torch.optim.Adam(decoder.train().parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        decoder.loss(regions(len(texts)), texts).backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return decoder.eval()


def regions(count: int, seed: int = 0) -> RegionTokens:
    return RegionTokens.single(torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed)), SPACE)


def one(inputs: RegionTokens, row: int) -> RegionTokens:
    return RegionTokens(inputs.tokens[row : row + 1], inputs.mask[row : row + 1], inputs.space)


def exact(decoder) -> GPT2LMHeadModel:
    """Return the language model again in float64, without a cache, made of its config and tensors alone."""
    model = GPT2LMHeadModel(GPT2Config(**decoder.model.config.to_dict()))
    model.load_state_dict(decoder.model.state_dict())
    return model.double().eval()


def unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)


def cosine(vector: Tensor, text: str) -> Tensor:
    """Return the cosine between a region's vector and a text, float64, computed outside the decoder."""
    other = sum((vector_of(word) * (1 + 0.1 * at) for at, word in enumerate(text.split())), torch.zeros(DIM))
    if not other.norm():
        return torch.zeros((), dtype=torch.float64)
    return unit(vector.double()) @ unit(other.double())
