"""Where the toolkit keeps what it can compute again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return $REGIONKIT_CACHE, else ``regionkit`` in the user's cache folder."""
    named = os.environ.get("REGIONKIT_CACHE")
    if named:
        return Path(os.path.expanduser(named))
    return Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")) / "regionkit"
