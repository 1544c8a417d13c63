"""Where golden vectors of the first paper lie; ``REGIONKIT_GOLDEN`` names a folder with others of the same layout."""

from __future__ import annotations

import os
from pathlib import Path

OWN = Path(__file__).parent / "golden" / "patchioner"


def golden_file(name: str) -> Path:
    """Return a file of golden vectors: of the folder that the environment names where it has one, else our own."""
    named = os.environ.get("REGIONKIT_GOLDEN", "")
    other = Path(named) / name
    return other if named and other.is_file() else OWN / name
