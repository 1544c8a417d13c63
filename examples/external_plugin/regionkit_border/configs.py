"""Options, without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BorderConfig:
    """Options of ``border``.

    Attributes:
        width: How many patches wide the rim is; of a region that is no wider than twice that, all is rim.
    """

    width: int = 1

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width: {self.width!r} must be 1 or more")


@dataclass(frozen=True)
class DistinctWordsConfig:
    """Options of ``distinct-words``.

    Attributes:
        run: How many words in a row count as one: 1 looks for repeated words, 2 for repeated pairs.
    """

    run: int = 1

    def __post_init__(self) -> None:
        if self.run < 1:
            raise ValueError(f"run: {self.run!r} must be 1 or more")
