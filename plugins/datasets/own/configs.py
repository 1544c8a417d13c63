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
        images: Folder of the pictures, looked for likewise; empty for the folder of the file.
        box_format: What the key ``bbox`` means: ``xyxy`` is x1,y1,x2,y2 and ``xywh`` is x,y,width,height; empty refuses
            it. The key ``box`` is always x1,y1,x2,y2.
        coordinates: ``pixels`` of the picture as it is stored, or ``normalised``: from 0 to 1, counted in its width and
            height. Candidates and mentioned regions are read likewise.
        on_bad: What happens to records that cannot be used: ``leave-out`` names and counts them, ``stop`` ends with the
            first.
    """

    file: str
    images: str = ""
    box_format: Literal["", "xyxy", "xywh"] = ""
    coordinates: Literal["pixels", "normalised"] = "pixels"
    on_bad: Literal["leave-out", "stop"] = "leave-out"

    def __post_init__(self) -> None:
        if not PurePath(self.file).name.strip() or "\0" in self.file:
            raise ValueError(f"file: {self.file!r} is no path; give the JSONL file")


@dataclass(frozen=True)
class WebdatasetConfig:
    """Where tar files with pictures and captions are.

    Attributes:
        shards: Path of the tar files with ``*``, or ``{000..123}`` as webdataset writes ranges; looked for in the
            working folder, then in ``$REGIONKIT_DATA``. With ``{split}`` in it there are the splits ``train``, ``val``
            and ``test``, otherwise ``train`` alone.
        caption_key: Key of the caption in the ``.json`` beside a picture; without one, the ``.txt`` is the caption.
        captions: ``needed`` leaves pictures without a caption out, ``optional`` keeps them without references.
        keep: Further keys of the ``.json`` that samples carry as ``info``.
        on_bad: What happens to samples that cannot be used: ``leave-out`` names and counts them, ``stop`` ends with the
            first.
    """

    shards: str
    caption_key: str = "caption"
    captions: Literal["needed", "optional"] = "needed"
    keep: tuple[str, ...] = ()
    on_bad: Literal["leave-out", "stop"] = "leave-out"

    def __post_init__(self) -> None:
        if not PurePath(self.shards).name.strip() or "\0" in self.shards:
            raise ValueError(f"shards: {self.shards!r} is no path; give the tar files, such as shards/*.tar")
        if not self.caption_key:
            raise ValueError("caption_key: it names no key")
