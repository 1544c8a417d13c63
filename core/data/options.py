"""Options that all data sets of files have, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class FileOptions:
    """Options of data sets of files.

    Attributes:
        root: The data set's folder; empty for its own below ``$REGIONKIT_DATA``, which ``toolkit data list NAME`` says,
            with the files that belong into it.
        on_bad: What happens to records that cannot be used: ``leave-out`` names and counts them, ``stop`` ends with
            the first.
    """

    root: str = ""
    on_bad: Literal["leave-out", "stop"] = "leave-out"
