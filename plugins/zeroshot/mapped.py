"""Decoders on a language model that reads what a mapper makes of a region's vector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from regionkit.core.language.models import load_tensors, stored_tensors
from regionkit.core.weights import check_fit
from regionkit.plugins.zeroshot.starting import StartedDecoder

#: What tensors of the language model are called in a weight file of ours; the mapper's begin with ``mapper.``.
_MODEL = "model."


class MappedDecoder(StartedDecoder):
    """What such decoders have in common: how their weights are stored.

    Attributes:
        mapper: Made by the constructor: vectors (r, d) to soft tokens (r, t, hidden).
    """

    mapper: nn.Module

    @classmethod
    def checked_space(cls, space: str, model: Any, source: str) -> str:
        """Return the space: the mapper reads any width."""
        return space

    def load(self, tensors: Mapping[str, Tensor], source: str | Path) -> None:
        """Load the mapper, as ``mapper.*``, and the language model, as ``model.*``.

        Raises:
            WeightsError: Names are missing or left over, or shapes differ.
        """
        of_model = {name.removeprefix(_MODEL): one for name, one in tensors.items() if name.startswith(_MODEL)}
        others = {name: one for name, one in tensors.items() if not name.startswith(_MODEL)}
        check_fit(self._others(), others, source)
        self._others().load_state_dict(others)
        load_tensors(self.model, of_model, source)

    def tensors(self) -> dict[str, Tensor]:
        """Return the mapper's weights as ``mapper.*`` and the language model's as ``model.*``."""
        of_model = {_MODEL + name: tensor for name, tensor in stored_tensors(self.model).items()}
        return {**self._others().state_dict(), **of_model}

    def _others(self) -> nn.Module:
        """Return what is trained beside the language model, by the names of a weight file."""
        others = nn.Module()
        others.mapper = self.mapper
        return others
