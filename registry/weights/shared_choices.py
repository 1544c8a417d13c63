"""Choices of weights that many pipelines share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Self, TypeVar, cast

from regionkit.core.errors import RegionkitError
from regionkit.core.spec import Checkpoint
from regionkit.core.weights import WeightFile
from regionkit.registry.schema import Part
from regionkit.registry.weights.choice import Wanted, choose_weights, settle_backbone
from regionkit.registry.weights.option_files import OptionFile, locate_option

Chosen = TypeVar("Chosen")


class Choices:
    """Choices of weights that are made once for all pipelines of a plan that use the very same part.

    A grid of thousands of pipelines has a handful of different backbones and decoders.
    """

    def __init__(self) -> None:
        # Parts are held beside what was chosen, so that the place in memory that names one stays its own.
        self._weights: dict[tuple[int, Wanted], tuple[Part, _Answer[WeightFile | None]]] = {}
        self._option_files: dict[tuple[int, str], tuple[Part, _Answer[OptionFile]]] = {}
        self._backbones: dict[int, tuple[Part, _Answer[tuple[Part, WeightFile | None]]]] = {}

    def weights(self, part: Part, wanted: Wanted) -> WeightFile | None:
        """Return what :func:`choose_weights` does, and raise what it raises."""
        key = (id(part), wanted)
        if key not in self._weights:
            self._weights[key] = (part, _Answer.of(lambda: choose_weights(part, wanted)))
        return self._weights[key][1].given()

    def backbone(self, part: Part) -> tuple[Part, WeightFile | None]:
        """Return what :func:`settle_backbone` does, and raise what it raises."""
        if id(part) not in self._backbones:
            self._backbones[id(part)] = (part, _Answer.of(lambda: settle_backbone(part)))
        return self._backbones[id(part)][1].given()

    def option_file(self, part: Part, entry: Checkpoint) -> OptionFile:
        """Return what :func:`locate_option` does, and raise what it raises."""
        key = (id(part), entry.role)
        if key not in self._option_files:
            self._option_files[key] = (part, _Answer.of(lambda: locate_option(part, entry)))
        return self._option_files[key][1].given()


@dataclass(frozen=True, slots=True)
class _Answer(Generic[Chosen]):
    """What a choice gave, or why there is none: that is looked for as long, and asked for as often."""

    value: Chosen | None = None
    error: RegionkitError | None = None

    @classmethod
    def of(cls, choose: Callable[[], Chosen]) -> Self:
        """Choose now."""
        try:
            return cls(choose())
        except RegionkitError as error:
            return cls(error=error)

    def given(self) -> Chosen:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error.with_traceback(None)
        return cast(Chosen, self.value)
