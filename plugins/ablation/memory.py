"""What stages gave, for the trials that share it: in memory while there is room, on disk where there is a cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from regionkit.core.features import Features, RegionTokens, RegionViews
from regionkit.plugins.ablation.cache.entries import Precision
from regionkit.plugins.ablation.cache.rounding import rounded
from regionkit.plugins.ablation.cache.stage_cache import StageCache
from regionkit.plugins.ablation.clock import StageClock
from regionkit.plugins.ablation.stage_keys import entry_key

ImageKey = tuple[str, str]
#: Positions of regions, and what they became.
Batch = tuple[tuple[int, ...], RegionTokens | RegionViews]


@dataclass
class Encoded:
    """What samples became at a stage.

    Attributes:
        batches: Positions of samples and their tokens or pictures.
        errors: Position -> reason, for samples that could not be encoded.
        seconds: What making it took, by stage, those above included; what they shared with others is not in it.
    """

    batches: list[Batch] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def views(self) -> bool:
        """Whether there are pictures in it: those are large and quickly made again, so nothing keeps them."""
        return any(isinstance(inputs, RegionViews) for _, inputs in self.batches)

    @property
    def nbytes(self) -> int:
        """Bytes that the tokens take."""
        tokens = [inputs.tokens for _, inputs in self.batches if isinstance(inputs, RegionTokens)]
        return sum(one.numel() * one.element_size() for one in tokens)

    @property
    def regions(self) -> int:
        """Number of regions."""
        return sum(len(positions) for positions, _ in self.batches)


class FeatureStore:
    """Features of single pictures of one backbone, in memory, up to a number of bytes.

    Trials walk through the pictures in the same order again and again. Dropping the oldest would then drop every
    picture just before it is asked for; instead, what is there stays, and what finds no room is computed again.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._backbone = ""
        self._wanted: frozenset[ImageKey] = frozenset()
        self._held: dict[ImageKey, Features] = {}

    def enter(self, backbone: str, wanted: frozenset[ImageKey]) -> None:
        """Say which backbone and pictures come next. Another backbone's features are dropped."""
        if backbone != self._backbone:
            self._held.clear()
            self.size = 0
        self._backbone, self._wanted = backbone, wanted

    def get(self, key: ImageKey) -> Features | None:
        """Return the features of a picture, a batch of one, where they are held."""
        return self._held.get(key)

    def put(self, key: ImageKey, features: Features) -> None:
        """Hold the features of a picture if there is room; those of pictures that are not wanted now make room."""
        size = nbytes(features)
        if self.size + size > self.limit:
            for other in [other for other in self._held if other not in self._wanted]:
                self.size -= nbytes(self._held.pop(other))
        if self.size + size <= self.limit and key not in self._held:
            self._held[key] = features
            self.size += size


def nbytes(features: Features) -> int:
    """Return the bytes that features take."""
    tensors = (features.patches, features.cls, features.attention)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)


class ChunkStore:
    """Encoded and bridged chunks of samples. Without a cache on disk, all of them are held in memory.

    Args:
        cache: The cache on disk; None for none.
        limit: Bytes to hold in memory of what lies on disk, too.
        clock: Counts the seconds.
        device: Where tokens read from disk go.
    """

    def __init__(self, cache: StageCache | None, limit: int, clock: StageClock, device: str) -> None:
        self.cache, self.limit, self.clock, self.device = cache, limit, clock, device
        self.size = 0
        self._held: dict[str, Encoded] = {}

    def clear(self) -> None:
        """Let go of what is in memory."""
        self._held.clear()
        self.size = 0

    def has(self, stage: str, number: int) -> bool:
        """Say whether a chunk is there, without reading it."""
        key = entry_key(stage, number)
        return key in self._held or (self.cache is not None and self.cache.has(key))

    def get(self, stage: str, number: int) -> Encoded | None:
        """Return a chunk of a stage, from memory or from disk; None where it is in neither, or damaged."""
        key = entry_key(stage, number)
        if key in self._held or self.cache is None:
            return self._held.get(key)
        with self.clock.stage("cache"):
            entry = self.cache.get(key, self.device)
        if entry is None:
            return None
        found = Encoded(_from_tensors(entry.tensors, entry.about["spaces"]), {}, dict(entry.about["seconds_of"]))
        for name, seconds in found.seconds.items():
            self.clock.saved[name] += seconds
        self._hold(key, found, on_disk=True)
        return found

    def put(self, stage: str, number: int, encoded: Encoded, about: Mapping[str, Any]) -> None:
        """Keep a chunk. One in which samples failed stays off the disk: what failed may be mended by the next run."""
        key = entry_key(stage, number)
        on_disk = False
        if self.cache is not None and not encoded.errors:
            tensors, spaces = _to_tensors(encoded)
            spent = {"seconds": sum(encoded.seconds.values()), "seconds_of": encoded.seconds}
            with self.clock.stage("cache"):
                self.cache.put(key, tensors, {**about, **spent, "spaces": spaces})
                on_disk = self.cache.has(key)
        self._hold(key, encoded, on_disk=on_disk)

    def _hold(self, key: str, encoded: Encoded, *, on_disk: bool) -> None:
        if on_disk and self.size + encoded.nbytes > self.limit:
            return
        self._held[key] = encoded
        self.size += encoded.nbytes


def _to_tensors(encoded: Encoded) -> tuple[dict[str, Tensor], list[str]]:
    tensors: dict[str, Tensor] = {}
    spaces = []
    for at, (positions, inputs) in enumerate(encoded.batches):
        assert isinstance(inputs, RegionTokens)
        tensors[f"{at}.positions"] = torch.tensor(positions, dtype=torch.int64)
        tensors[f"{at}.tokens"], tensors[f"{at}.mask"] = inputs.tokens, inputs.mask
        spaces.append(inputs.space)
    return tensors, spaces


def _from_tensors(tensors: Mapping[str, Tensor], spaces: Sequence[str]) -> list[Batch]:
    found: list[Batch] = []
    for at, space in enumerate(spaces):
        positions = tuple(tensors[f"{at}.positions"].tolist())
        found.append((positions, RegionTokens(tensors[f"{at}.tokens"], tensors[f"{at}.mask"], space)))
    return found


def in_precision(encoded: Encoded, precision: Precision) -> Encoded:
    """Return tokens as they come out of a cache of a precision: a run gives the same whether or not an entry is there.

    They are rounded all or none, as the entry of a chunk is.
    """
    if precision == "float32":
        return encoded
    tensors, spaces = _to_tensors(encoded)
    return Encoded(_from_tensors(rounded(tensors, precision), spaces), encoded.errors, encoded.seconds)


def cat_features(parts: Sequence[Features]) -> Features:
    """Join the features of single pictures."""
    return parts[0] if len(parts) == 1 else Features.cat(parts)
