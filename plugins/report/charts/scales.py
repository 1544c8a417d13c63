"""Axes: where a value lies, and which values are written beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear or logarithmic axis.

    Attributes:
        low: The least value.
        high: The largest.
        start: Pixel of the least value.
        end: Pixel of the largest.
        logarithmic: Whether equal steps are equal ratios.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; one outside lies at the nearest end."""
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Return the values to write: round ones, and not more than asked for."""
        return _log_ticks(self.low, self.high, most) if self.logarithmic else _ticks(self.low, self.high, most)


def linear(values: Iterable[float | None], start: float, end: float, *, zero: bool = False) -> Scale:
    """Return an axis that shows all values, with a margin; with zero on it where asked for."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low) * 0.05 or max(abs(high) * 0.1, 1e-6)
    return Scale(low - room * (not zero or low < 0), high + room, start, end)


def logarithmic(values: Iterable[float | None], start: float, end: float) -> Scale:
    """Return a logarithmic axis that shows all positive values."""
    known = [value for value in values if value is not None and value > 0 and math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (1.0, 10.0)
    room = max((high / low) ** 0.06, 1.15)
    return Scale(low / room, high * room, start, end, logarithmic=True)


def told(value: float, step: float) -> str:
    """Return a tick's value with as many decimals as steps of that size need."""
    if value and (abs(value) >= 1e6 or abs(step) < 1e-5):
        return f"{value:.3g}"
    digits = max(0, -math.floor(math.log10(abs(step)) + 1e-9)) if step else 0
    return f"{value:.{digits}f}"


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Return the labels of ticks, all with the same decimals."""
    steps = [abs(second - first) for first, second in pairwise(ticks)]
    step = min((step for step in steps if step), default=abs(ticks[0]) if ticks else 1.0)
    return [told(0.0 if abs(tick) < step * 1e-9 else tick, step) for tick in ticks]


def _ticks(low: float, high: float, most: int) -> list[float]:
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / max(most, 1)))
    step = next((power * unit for unit in (1, 2, 2.5, 5, 10) if span / (power * unit) <= most), power * 10)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    for units in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        found = [unit * 10.0**power for power in powers for unit in units if low <= unit * 10.0**power <= high]
        if 2 <= len(found) <= most:
            return found
    if len(found) > most:
        return found[:: math.ceil(len(found) / most)]
    return _ticks(low, high, min(most, 4))
