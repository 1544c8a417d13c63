"""Phrases of Flickr30k Entities, each with the boxes that it means: the release's XML and bracketed sentences."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.data.records import Entry, Fault, Left, StoredSample, Unusable
from regionkit.core.data.streams import text_lines
from regionkit.core.errors import DataError
from regionkit.plugins.datasets.regions.boxes import from_corners
from regionkit.plugins.datasets.regions.region_files import RegionFiles

#: Bytes of an XML file; the largest of the release has some ten thousand.
_LONGEST = 1 << 20
#: A phrase in a sentence: number of its entity, types, words.
_PHRASE = re.compile(r"\[/EN#(?P<entity>[0-9]{1,18})(?P<types>(?:/[^\s/\[\]]+)*) (?P<words>[^\[\]]+)\]")
_IMAGE = re.compile(r"[0-9]{1,20}")
_PIXEL = re.compile(r"-?[0-9]{1,7}")
_FOLDERS = ("", "annotations/")


class Flickr30kPhrases(RegionFiles):
    """Phrases of captions with boxes (Plummer et al., ICCV 2015); a sample is a phrase of one sentence.

    The release counts pixels from 1 and the last one in; regions count from 0 and are half-open. Phrases without a box,
    of the whole scene or of things that cannot be seen, are no samples. Files of single pictures that are changed after
    the index was made are not noticed; files that come and go are.
    """

    name: ClassVar[str] = "flickr30k-phrases"
    tasks: ClassVar[tuple[str, ...]] = ("phrase",)
    folder: ClassVar[str] = "flickr30k-entities"
    splits = ("test", "val", "train")
    places: ClassVar[tuple[str, ...]] = (
        "flickr30k-images/{id}",
        "../flickr30k/flickr30k-images/{id}",
        "../flickr30k/flickr30k_images/{id}",
        "../flickr30k/images/{id}",
        "images/{id}",
    )

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the list of a split's pictures, and the folders of boxes and sentences."""
        return (
            self.file(f"{split}.txt", f"annotations/{split}.txt"),
            self._part("Annotations"),
            self._part("Sentences"),
        )

    def forget(self) -> None:
        """Nothing is kept."""

    def entries(self, task: str, split: str) -> Iterator[Entry | Fault]:
        """Yield phrase by phrase."""
        listed, annotations, sentences = self.sources(task, split)
        for number, line in text_lines(listed):
            image = line.strip()
            if _IMAGE.fullmatch(image):
                yield from _phrases(annotations / f"{image}.xml", sentences / f"{image}.txt")
            else:
                yield Fault(f"{listed}:{number}", "this line is no number of a picture")

    def read(self, task: str, split: str, entry: Entry) -> Iterator[StoredSample | Left]:
        """Make a sample of a phrase; one that has no box, or several and those are left out, is counted as such."""
        image, at, drawn, phrase, sentence = entry.value
        boxes = drawn.boxes.get(phrase["entity"], [])
        if not boxes:
            yield Left(entry.place, "no box was drawn around what it speaks of")
            return
        if len(boxes) > 1 and self.config.several == "leave-out":
            yield Left(entry.place, f"{len(boxes)} boxes were drawn around what it speaks of")
            return
        image_id = f"{image}.jpg"
        size = self.sized(image_id, drawn.height, drawn.width)
        corners = [from_corners(_corners(box), size)["box"] for box in boxes]
        info = {
            "entity": phrase["entity"],
            "types": [word for word in phrase["types"].split("/") if word],
            "sentence": sentence,
        }
        words = (phrase["words"].strip(),)
        if not words[0]:
            raise Unusable("the phrase has no words")
        yield StoredSample(f"{image}/{at}", image_id, self._region(corners), words, info)

    def _region(self, corners: list[list[float]]) -> dict[str, Any]:
        if len(corners) == 1:
            return {"box": corners[0]}
        if self.config.several == "box-set":
            return {"boxes": corners}
        x1, y1, x2, y2 = zip(*corners, strict=True)
        return {"box": [min(x1), min(y1), max(x2), max(y2)]}

    def _part(self, name: str) -> Path:
        found = next(
            (self.root / f"{folder}{name}" for folder in _FOLDERS if (self.root / folder / name).is_dir()), None
        )
        if found is None:
            raise DataError(
                f"data set '{self.name}' needs the folder {name} in {self.root}, which is not there",
                f"where to get it: toolkit data list {self.name}",
            )
        return found


class _Drawn:
    """The boxes of a picture's XML.

    Attributes:
        width: Its width, as the file says.
        height: Its height.
        boxes: By entity, the texts of ``xmin, ymin, xmax, ymax`` of each box.
    """

    def __init__(self, path: Path) -> None:
        root = _xml(path)
        self.width, self.height = (_pixel(root.findtext(f"size/{side}")) for side in ("width", "height"))
        self.boxes: dict[str, list[list[str | None]]] = {}
        for thing in root.findall("object"):
            box = thing.find("bndbox")
            for name in thing.findall("name") if box is not None else ():
                sides = [box.findtext(side) for side in ("xmin", "ymin", "xmax", "ymax")]  # type: ignore[union-attr]
                self.boxes.setdefault((name.text or "").strip(), []).append(sides)


def _phrases(boxes: Path, sentences: Path) -> Iterator[Entry | Fault]:
    """Yield the phrases of a picture's sentences."""
    image = boxes.stem
    try:
        drawn = _Drawn(boxes)
        lines = list(text_lines(sentences))
    except DataError as error:
        place = str(boxes if isinstance(error, Unusable) else sentences)
        yield Fault(place, error.message.removeprefix(f"{place}: "))
        return
    for number, line in lines:
        found = list(_PHRASE.finditer(line))
        plain = _PHRASE.sub(lambda match: match["words"], line).strip()
        if "[/EN#" in plain:
            yield Fault(f"{sentences}:{number}", "a phrase of this sentence does not end: [/EN#12/people A man]")
        for at, match in enumerate(found):
            value = (image, f"{number - 1}/{at}", drawn, match.groupdict(), plain)
            yield Entry(f"{sentences}:{number}: phrase {at + 1}", value)


def _xml(path: Path) -> ElementTree.Element:
    """Return the root of an XML file that has no document type, and with it no entities.

    Raises:
        Unusable: It is not there, too long, has a document type, or is no XML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
    except FileNotFoundError:
        raise Unusable("there is no such file") from None
    except OSError as error:
        raise Unusable(f"it cannot be read: {error.strerror or error}") from None
    if len(content) > _LONGEST:
        raise Unusable(f"longer than {_LONGEST >> 10} KiB, the most that is read")
    try:
        # As text: the parser then ignores what the file says of its encoding, and nothing hides from the search.
        words = content.decode("utf-8-sig")
        if "<!" in words.replace("<!--", ""):
            raise Unusable("it has a document type or entities, which no file of the release has")
        return ElementTree.fromstring(words)
    except UnicodeDecodeError as error:
        raise Unusable(f"byte {error.start + 1} is not UTF-8") from None
    except (ElementTree.ParseError, RecursionError, ValueError) as error:
        raise Unusable(f"no XML: {error}") from None


def _corners(box: Sequence[str | None]) -> tuple[int, int, int, int]:
    """Return a box that counts from 1, last pixel in, as corners that count from 0, half-open."""
    x1, y1, x2, y2 = (_pixel(side) for side in box)
    return x1 - 1, y1 - 1, x2, y2


def _pixel(text: str | None) -> int:
    word = (text or "").strip()
    if not _PIXEL.fullmatch(word):
        raise Unusable(f"{word[:40]!r} stands where a number of pixels is expected")
    return int(word)
