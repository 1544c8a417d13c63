"""Options of data sets of clips, torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regionkit.core.data.options import FileOptions

#: Frames of one track; each holds a mask, and a picture once its clip is asked for.
_MOST_FRAMES = 512


def _check_frames(frames: int, least: int) -> None:
    if not least <= frames <= _MOST_FRAMES:
        raise ValueError(f"frames is {frames}: a track has {least} to {_MOST_FRAMES}")


@dataclass(frozen=True)
class HcStvgConfig(FileOptions):
    """Options of ``hc-stvg``.

    Attributes:
        root: The data set's folder; empty for its own below ``$REGIONKIT_DATA``, which ``toolkit data list hc-stvg``
            says, with the files that belong into it.
        on_bad: What happens to records that cannot be used: ``leave-out`` names and counts them, ``stop`` ends with
            the first.
        release: Whose files: ``v1`` (splits ``test``, ``train``) and ``v2`` (``val``, ``train``) of the authors, whose
            boxes become masks; or ``videorefer`` (``test``), the mask of one frame a clip.
        frames: Frames that are taken of a person's boxes, evenly, the first and the last among them; of fewer boxes
            some are taken twice. Describe Anything takes 8. ``videorefer`` has one frame whatever this says.
        first_frame: The number that ``st_frame`` gives to the first frame of a clip; users of the release say 1.
    """

    release: Literal["v2", "v1", "videorefer"] = "v2"
    frames: int = 8
    first_frame: int = 1

    def __post_init__(self) -> None:
        _check_frames(self.frames, 1)
        if self.first_frame not in (0, 1):
            raise ValueError(f"first_frame is {self.first_frame}: frames are counted from 0 or from 1")


@dataclass(frozen=True)
class VideoReferConfig(FileOptions):
    """Options of ``videorefer-d``.

    Attributes:
        root: The data set's folder; empty for its own below ``$REGIONKIT_DATA``, which ``toolkit data list
            videorefer-d`` says, with the files that belong into it.
        on_bad: What happens to records that cannot be used: ``leave-out`` names and counts them, ``stop`` ends with
            the first.
        frames: Frames that are taken of the 32 with a mask, evenly, the first and the last among them; of fewer some
            are taken twice; 0 takes all. Describe Anything takes 8. The frame of the single-frame mode is always
            there: it stands for the one that is nearest to it.
    """

    frames: int = 8

    def __post_init__(self) -> None:
        _check_frames(self.frames, 0)
