"""How long stages take."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Observe = Callable[[str, float, dict[str, Any]], None]


class StageClock:
    """Adds up the wall time of stages, inner stages not counted in outer ones, and tells observers of each."""

    def __init__(self, observe: Observe) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        #: What stages worked on: pictures, regions, samples.
        self.units: defaultdict[str, int] = defaultdict(int)
        #: What outputs that were read from a cache had taken when they were made.
        self.saved: defaultdict[str, float] = defaultdict(float)
        #: What stages gave, in bytes.
        self.bytes: defaultdict[str, int] = defaultdict(int)
        self._observe = observe
        self._inner = [0.0]

    def clear(self) -> None:
        """Start from zero."""
        self.seconds.clear()
        self.units.clear()
        self.bytes.clear()
        self.saved.clear()

    def told(self) -> dict[str, float]:
        """Return the seconds of stages, and under ``STAGE (cached)`` those that a cache has spared."""
        return {**self.seconds, **{f"{name} (cached)": seconds for name, seconds in self.saved.items()}}

    @contextmanager
    def stage(self, name: str, **info: Any) -> Iterator[None]:
        """Time the body. Numbers among ``info`` say what the stage works on: ``images``, ``regions``, ``samples``."""
        start = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            total = time.perf_counter() - start
            own = total - self._inner.pop()
            self._inner[-1] += total
            self.seconds[name] += own
            self.units[name] += sum(value for value in info.values() if isinstance(value, int))
            self._observe(name, own, info)
