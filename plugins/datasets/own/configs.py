"""Options of data sets of the user's own, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal


@dataclass(frozen=True)
class JsonlConfig:
    """Where records of the user's own are.

    Attributes:
        file: A ``.jsonl`` file, which may be packed with gzip: one JSON object a line; looked for in the working
            folder, then in ``$REGIONKIT_DATA``. docs/data.md has the keys.
        images: Folder of the pictures; empty for the folder of the file.
        on_bad: What happens to records that cannot be used: ``leave-out`` names and counts them, ``stop`` ends with the
            first.
    """

    file: str
    images: str = ""
    on_bad: Literal["leave-out", "stop"] = "leave-out"

    def __post_init__(self) -> None:
        if not PurePath(self.file).name.strip() or "\0" in self.file:
            raise ValueError(f"file: {self.file!r} is no path; give the JSONL file")
