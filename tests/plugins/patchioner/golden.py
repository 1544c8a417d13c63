"""Where golden vectors lie, for the tests of this folder."""

from __future__ import annotations

from golden_files import golden_file

__all__ = ["golden_file"]
