"""Texts and numbers as the report shows them."""

from __future__ import annotations

import re
from typing import Any

from regionkit.core.statistics import LEVEL

#: Half characters, characters that no XML may hold, and those that reorder what stands around them.
_UNFIT = re.compile("[\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")
#: What stands for a character that cannot be shown.
_UNKNOWN = "\ufffd"
#: What stands for a number that is not known.
NOTHING = "–"


def clean(text: str) -> str:
    """Return a text that UTF-8 and XML can hold, and that cannot turn around the text beside it."""
    if text.isprintable():  # none of those is, and looking is much faster than replacing
        return text
    return _REORDERING.sub(_UNKNOWN, _UNFIT.sub(_UNKNOWN, text))


def clean_all(value: Any) -> Any:
    """Return plain values with every text and every key clean."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): clean_all(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [clean_all(inner) for inner in value]
    return value


def number(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """Return a number with so many decimals; a dash where it is not known."""
    if value is None:
        return NOTHING
    shown = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    # No "-0.000": a sign says a direction, and there is none.
    return shown.lstrip("+-") if not float(shown) else shown


def p_value(p: float | None) -> str:
    """Return a p; very small ones as a bound, since draws cannot tell them apart."""
    if p is None:
        return NOTHING
    if p < 0.001:
        return "< 0.001"
    shown = f"{p:.3f}"
    # On which side of the level it lies decides: three digits must not hide it.
    return f"{p:.4f}" if float(shown) == LEVEL else shown


def interval(low: float | None, high: float | None, *, sign: bool = False) -> str:
    """Return ``[low, high]``; nothing where there is no interval."""
    if low is None or high is None:
        return ""
    return f"[{number(low, sign=sign)}, {number(high, sign=sign)}]"


def seconds(value: float | None) -> str:
    """Return a time with three digits and a unit that suits it."""
    if value is None:
        return NOTHING
    for scale, unit in ((1.0, "s"), (1e-3, "ms")):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


def size(count: int) -> str:
    """Return a number of bytes in units that people read."""
    return f"{count / (1 << 20):.1f} MiB" if count >= 1 << 20 else f"{count / (1 << 10):.0f} KiB"


def counted(number_of: int, noun: str) -> str:
    """Return ``1 trial``, ``2 trials``."""
    return f"{number_of:,} {noun}{'' if number_of == 1 else 's'}"


def shortened(text: str, most: int) -> str:
    """Return a text of so many characters at most, its middle left out, since ends tell names apart."""
    if len(text) <= most:
        return text
    head = most // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"
