"""Why a sample or a trial has failed, in the words that results keep."""

from __future__ import annotations

from regionkit.core.blame import told
from regionkit.core.errors import RegionkitError


def reason_of(error: Exception) -> str:
    """Return why something failed: what an error says, or what an exception that nobody foresaw was, and where."""
    if isinstance(error, RegionkitError):
        return str(error)
    return f"{told(error)}; a fault of the code: see it whole with --on-error stop"
