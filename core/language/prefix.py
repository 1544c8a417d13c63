"""What a causal language model reads before a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from regionkit.core.language.rows import packed, packing


@dataclass(frozen=True, slots=True)
class Prefix:
    """Prompts with regions in them, padded anywhere.

    Attributes:
        embeddings: (r, t, d).
        valid: (r, t) False at padding.
        beside: By name, (r, t, ...): what else a model is told of each position, such as where in its picture it lies.
            0 says nothing of it; that is what words behind the prefix get.
    """

    embeddings: Tensor
    valid: Tensor
    beside: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.valid)

    def rows(self, part: Tensor) -> Prefix:
        """Return some of the rows."""
        beside = {name: values[part] for name, values in self.beside.items()}
        return Prefix(self.embeddings[part], self.valid[part], beside)

    def compacted(self, *, left: bool = False) -> Prefix:
        """Move padding to the right end of each row, or to the left one, and cut to the longest row."""
        if bool(self.valid.all()):
            return self
        order = packing(self.valid, left=left)
        beside = {name: packed(values, order) for name, values in self.beside.items()}
        return Prefix(packed(self.embeddings, order), packed(self.valid, order), beside)

    def preceded_by(self, words: Tensor) -> Prefix:
        """Return the same with words (r, s, d) before it."""
        ones = self.valid.new_ones(words.shape[:2])
        return Prefix(
            torch.cat([words, self.embeddings], dim=1),
            torch.cat([ones, self.valid], dim=1),
            {name: torch.cat([_nothing(values, words), values], dim=1) for name, values in self.beside.items()},
        )

    def followed_by(self, words: Tensor, inside: Tensor | None = None) -> Prefix:
        """Return the same with words (r, s, d) behind it, those that are ``inside`` (r, s), by default all."""
        inside = self.valid.new_ones(words.shape[:2]) if inside is None else inside
        return Prefix(
            torch.cat([self.embeddings, words], dim=1),
            torch.cat([self.valid, inside], dim=1),
            {name: torch.cat([values, _nothing(values, words)], dim=1) for name, values in self.beside.items()},
        )


def _nothing(values: Tensor, words: Tensor) -> Tensor:
    return values.new_zeros(*words.shape[:2], *values.shape[2:])
