"""Numbers of bytes and stretches of time as people write them."""

from __future__ import annotations

import re

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def human(size: int) -> str:
    """Write a number of bytes in binary units: ``2.0 MiB``."""
    if size < 1024:
        return f"{size} B"
    number, unit = float(size), 0
    while number >= 1023.95 and unit < len(_UNITS) - 1:  # what would be written as 1024.0 is one of the next unit
        number, unit = number / 1024, unit + 1
    return f"{number:.1f} {_UNITS[unit]}"


def seconds_of(text: str) -> float:
    """Return the seconds of ``90s``, ``10m``, ``12h``, ``30d`` or ``2w``.

    Raises:
        ValueError: It is nothing of the kind.
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", text.strip(), re.ASCII)
    if found is None:
        raise ValueError(f"'{text}' is no stretch of time: write 12h, 30d or 2w")
    return float(found[1]) * _SECONDS[found[2]]
