"""Samples that are made as they are asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

from regionkit.core.contracts import Sample


class LazySamples(Sequence[Sample]):
    """A sequence of samples that holds none of them; a subclass says how many there are, and makes one."""

    @abstractmethod
    def sample(self, place: int) -> Sample:
        """Make the sample at a place, from 0 to before the length."""

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return [self.sample(place) for place in places]
        return self.sample(places)
