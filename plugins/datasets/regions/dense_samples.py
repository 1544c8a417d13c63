"""Samples of dense captioning: each knows all that is in its image, which is stored once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from regionkit.core.contracts import Sample
from regionkit.core.regions import Box
from regionkit.core.samples import LazySamples

#: Images of which the ground truth is held.
_HELD = 16


class DenseSamples(LazySamples):
    """Samples with the boxes and phrases of their image as ``info["ground_truth"]``.

    An image has fifty regions, and fifty copies of fifty records would make the index of a split a gigabyte. Samples of
    one image stand together, and they are its ground truth: it is gathered from them as it is asked for.

    Args:
        samples: One a box, those of an image together.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples
        self._truths: dict[str, list[dict[str, Any]]] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def sample(self, place: int) -> Sample:
        """Return a sample with all that is in its image."""
        sample = self._samples[place]
        if sample.image_id not in self._truths:
            while len(self._truths) >= _HELD:
                del self._truths[next(iter(self._truths))]
            self._truths[sample.image_id] = self._gather(place, sample.image_id)
        return replace(sample, info={**sample.info, "ground_truth": self._truths[sample.image_id]})

    def _gather(self, place: int, image_id: str) -> list[dict[str, Any]]:
        first = last = place
        while first > 0 and self._samples[first - 1].image_id == image_id:
            first -= 1
        while last + 1 < len(self) and self._samples[last + 1].image_id == image_id:
            last += 1
        found = [self._samples[one] for one in range(first, last + 1)]
        return [
            {"box": list(one.region.corners), "caption": one.references[0]}
            for one in found
            if isinstance(one.region, Box)
        ]
