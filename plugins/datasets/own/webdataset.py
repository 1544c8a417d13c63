"""Pictures with captions in tar files, as webdataset and img2dataset write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, ClassVar

from PIL import Image

from regionkit.core.data.files import FileDataset
from regionkit.core.data.records import Entry, Fault, StoredSample, Unusable
from regionkit.core.data.streams import json_line
from regionkit.core.errors import DataError
from regionkit.core.files import is_file
from regionkit.core.images import read_image
from regionkit.plugins.datasets.own import tars
from regionkit.plugins.datasets.own.patterns import fixed_part, matching_files, roots_of

_PICTURES = ("jpg", "jpeg", "png", "webp")
_TEXTS = ("json", "txt")
#: Bytes of a text beside a picture, and of a picture.
_LONGEST_TEXT, _LONGEST_PICTURE = 1 << 24, 1 << 28
#: Where a picture stands: the tar file, its first byte, its length.
_PLACE = re.compile(r"(?P<shard>.+)@(?P<start>\d{1,15})\+(?P<length>\d{1,10})")


class Webdataset(FileDataset):
    """Shards: tar files in which the files of one sample follow each other, with the same name up to the first dot.

    A sample is a picture (``.jpg``, ``.png``, ``.webp``) with a ``.json`` whose ``caption`` is its caption, or a
    ``.txt``. Nothing is unpacked: the index says at which byte of which tar file each picture stands, and pictures are
    read from there.
    """

    name: ClassVar[str] = "webdataset"
    tasks: ClassVar[tuple[str, ...]] = ("image",)

    @property
    def splits(self) -> tuple[str, ...]:  # type: ignore[override]
        """The splits of the pattern; one that does not mention them is training data."""
        return ("train", "val", "test") if "{split}" in self.config.shards else ("train",)

    @property
    def roots(self) -> tuple[Path, ...]:
        """Folders below which the tar files may be: what the pattern begins with, here and in ``$REGIONKIT_DATA``."""
        return roots_of(self.config.shards)

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the tar files, sorted by name."""
        return [root / name for root, name in self._found(split)]

    def _found(self, split: str) -> list[tuple[Path, str]]:
        """Return root and name of every tar file of a split.

        Raises:
            DataError: There is none.
        """
        below = str(PurePath(self.config.shards).relative_to(fixed_part(self.config.shards))).replace("{split}", split)
        return matching_files(self.config.shards, below, f"data set '{self.name}' has no tar file for '{split}'")

    def entries(self, task: str, split: str) -> Iterable[Entry | Fault]:
        """Yield the files of every sample, by their endings."""
        for root, name in self._found(split):
            key = ""
            files: dict[str, tars.Member] = {}
            for member in tars.members(root / name):
                if isinstance(member, Fault):
                    yield member
                    continue
                if member.key != key:
                    if files:
                        yield Entry(f"{root / name}: {key!r}", (root, name, key, files))
                    key, files = member.key, {}
                files[member.ending] = member
            if files:
                yield Entry(f"{root / name}: {key!r}", (root, name, key, files))

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make the sample of a picture."""
        root, name, key, files = entry.value
        ending = next((ending for ending in _PICTURES if ending in files), None)
        if ending is None:
            if not any(text in files for text in _TEXTS):
                return  # notes of whoever made the shard
            raise Unusable(f"there is no picture beside it: {', '.join('.' + one for one in _PICTURES)}")
        picture = files[ending]
        if not 0 < picture.length <= _LONGEST_PICTURE:
            raise Unusable(f"its picture has {picture.length} bytes")
        caption, info = self._caption(root / name, files)
        if not caption and self.config.captions == "needed":
            raise Unusable(f"it has no caption: neither .json with '{self.config.caption_key}' nor .txt")
        place = f"{name}@{picture.start}+{picture.length}"
        yield StoredSample(f"{name}/{key}", place, {"whole": True}, (caption,) if caption else (), {"key": key, **info})

    def image(self, image_id: str) -> Image.Image:
        """Read a picture from the middle of its tar file.

        Raises:
            DataError: The tar file is not there, or shorter than it was.
            ImageError: The picture cannot be decoded.
        """
        found = _PLACE.fullmatch(image_id)
        if found is None:
            raise DataError(f"'{image_id}' is no picture of data set '{self.name}'")
        shard = self._shard(found["shard"])
        return read_image(tars.read(shard, int(found["start"]), int(found["length"])), f"{shard}@{found['start']}")

    def picture(self, image_id: str) -> Path:
        """Return the tar file of a picture."""
        return self._shard(image_id.rpartition("@")[0])

    def _shard(self, name: str) -> Path:
        for root in self.roots:
            if is_file(root / name):
                return root / name
        raise DataError(f"the tar file '{name}' is no longer there", f"shards: {self.config.shards}")

    def _caption(self, shard: Path, files: Mapping[str, tars.Member]) -> tuple[str, Mapping[str, Any]]:
        """Return the caption of a sample, empty for none, and what else its JSON says."""
        info: Mapping[str, Any] = {}
        if "json" in files:
            line = json_line(f"{shard}", _text(shard, files["json"], ".json"))
            if isinstance(line, Fault):
                raise Unusable(f"its .json: {line.reason}")
            if not isinstance(line.value, Mapping):
                raise Unusable("its .json is no JSON object")
            caption = line.value.get(self.config.caption_key)
            info = {key: line.value[key] for key in self.config.keep if key in line.value}
            if caption is not None and not isinstance(caption, str):
                raise Unusable(f"its '{self.config.caption_key}' is no text")
            if caption and caption.strip():
                return " ".join(caption.split()), info
        text = _text(shard, files["txt"], ".txt") if "txt" in files else ""
        return " ".join(text.split()), info


def _text(shard: Path, member: tars.Member, what: str) -> str:
    if member.length > _LONGEST_TEXT:
        raise Unusable(f"its {what} has {member.length} bytes")
    try:
        return tars.read(shard, member.start, member.length).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unusable(f"its {what} is not UTF-8") from None
