"""Options of the corpora, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

#: Seeds that Python's and torch's generators both take.
_LARGEST_SEED = 2**63 - 1


def _check(file: str, limit: int, seed: int) -> None:
    """Check the options that all corpora of files have.

    Raises:
        ValueError: One of them cannot be.
    """
    if not PurePath(file).name.strip() or "\0" in file:
        raise ValueError(f"file: {file!r} is no path; give the file of sentences")
    if limit < 0:
        raise ValueError(f"limit: {limit} must be 0 (all) or more")
    if not 0 <= seed <= _LARGEST_SEED:
        raise ValueError(f"seed: {seed} must be between 0 and {_LARGEST_SEED}")


@dataclass(frozen=True)
class CocoCaptionsConfig:
    """Where captions of COCO's form are.

    Attributes:
        file: A COCO caption file (``annotations[].caption``) or Karpathy's ``dataset_coco.json``
            (``images[].sentences[].raw``); looked for in the working folder, then in $REGIONKIT_DATA.
        split: Splits of Karpathy's file, joined by ``+``: ``train``, ``restval``, ``val``, ``test``, or ``all``.
            ``auto`` is ``train+restval`` there, and the whole file where it has no splits.
        limit: Take so many captions, drawn without replacement and kept in their order; 0 for all.
        seed: Seed of that draw.
    """

    file: str = "coco/dataset_coco.json"
    split: str = "auto"
    limit: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.file, self.limit, self.seed)
        if not all(word.strip() for word in self.split.split("+")):
            raise ValueError(f"split: {self.split!r} is no split; join several by +, as in train+restval")


@dataclass(frozen=True)
class TextLinesConfig:
    """Where a file with one sentence a line is.

    Attributes:
        file: A ``.txt`` or ``.txt.gz`` file in UTF-8; looked for in the working folder, then in $REGIONKIT_DATA.
        limit: Take so many sentences, drawn without replacement and kept in their order; 0 for all.
        seed: Seed of that draw.
    """

    file: str
    limit: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.file, self.limit, self.seed)

    @property
    def corpus(self) -> str:
        """What weights that were trained on the file call it: its name without ``.txt`` or ``.txt.gz``."""
        return PurePath(PurePath(self.file).name.removesuffix(".gz")).stem
