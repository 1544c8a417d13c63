"""Options of data sets of questions, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regionkit.core.data.options import FileOptions


@dataclass(frozen=True)
class VqaV2Config(FileOptions):
    """Options of ``vqav2``.

    Attributes:
        root: The data set's folder; empty for its own below ``$REGIONKIT_DATA``, which ``toolkit data list vqav2``
            says, with the files that belong into it.
        on_bad: What happens to records that cannot be used: ``leave-out`` names and counts them, ``stop`` ends with
            the first.
    """


@dataclass(frozen=True)
class OkVqaConfig(FileOptions):
    """Options of ``ok-vqa``.

    Attributes:
        root: The data set's folder; empty for its own below ``$REGIONKIT_DATA``, which ``toolkit data list ok-vqa``
            says, with the files that belong into it.
        on_bad: What happens to records that cannot be used: ``leave-out`` names and counts them, ``stop`` ends with
            the first.
    """


@dataclass(frozen=True)
class AOkVqaConfig(FileOptions):
    """Options of ``a-okvqa``.

    Attributes:
        root: The data set's folder; empty for its own below ``$REGIONKIT_DATA``, which ``toolkit data list a-okvqa``
            says, with the files that belong into it.
        on_bad: What happens to records that cannot be used: ``leave-out`` names and counts them, ``stop`` ends with
            the first.
        difficult: Questions that the authors found too hard to be answered in words, and do not score so:
            ``leave-out`` or ``keep``.
    """

    difficult: Literal["leave-out", "keep"] = "leave-out"


@dataclass(frozen=True)
class GqaConfig(FileOptions):
    """Options of ``gqa``.

    Attributes:
        root: The data set's folder; empty for its own below ``$REGIONKIT_DATA``, which ``toolkit data list gqa`` says,
            with the files that belong into it.
        on_bad: What happens to records that cannot be used: ``leave-out`` names and counts them, ``stop`` ends with
            the first.
        questions: ``balanced``: the questions whose answers were evened out, on which papers report; ``all`` of them.
    """

    questions: Literal["balanced", "all"] = "balanced"


@dataclass(frozen=True)
class VcrConfig(FileOptions):
    """Options of ``vcr``.

    Attributes:
        root: The data set's folder; empty for its own below ``$REGIONKIT_DATA``, which ``toolkit data list vcr`` says,
            with the files that belong into it.
        on_bad: What happens to records that cannot be used: ``leave-out`` names and counts them, ``stop`` ends with
            the first.
        regions: What stands for an object that a question speaks of: its ``box``, or the ``mask`` of its outline.
    """

    regions: Literal["box", "mask"] = "box"
