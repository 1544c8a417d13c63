"""Where the toolkit keeps what it can compute again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return $REGIONKIT_CACHE, else ``regionkit`` in the user's cache folder."""
    named = os.environ.get("REGIONKIT_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "regionkit"
