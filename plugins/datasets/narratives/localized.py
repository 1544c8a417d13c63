"""Localized Narratives (Pont-Tuset et al., ECCV 2020): pictures described aloud while a mouse points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.data.files import FileDataset
from regionkit.core.data.records import BAD_RECORD, Entry, Fault, Left, StoredSample, Unusable, fault_of
from regionkit.core.data.streams import json_lines
from regionkit.plugins.datasets.narratives.alignment import Piece, spoken
from regionkit.plugins.datasets.narratives.recording import Narrative, TracePoint, caption_of, read_narrative
from regionkit.plugins.datasets.narratives.release import (
    FOLDER,
    SOURCES,
    checked_image_id,
    narrative_files,
    picture_names,
)


@dataclass(frozen=True)
class _Spoken:
    """A piece of a narrative, and which narrative of its split and which piece of it that is, both from 0."""

    narrative: Narrative
    row: int
    number: int
    piece: Piece


class LocalizedNarratives(FileDataset):
    """Narratives, whole (task ``image``) or by pieces with the trace drawn meanwhile (task ``trace``).

    A sample is known as ``IMAGE/NARRATIVE`` or ``IMAGE/NARRATIVE/PIECE``, both counted from 0 in the order of the
    files. Traces are in pixels of the picture with seconds of the recording; points outside of it are dropped. A piece
    during which no point was drawn in the picture is left out by protocol, and counted.

    Args:
        config: Options.
    """

    name: ClassVar[str] = "localized-narratives"
    tasks: ClassVar[tuple[str, ...]] = ("trace", "image")
    folder: ClassVar[str] = FOLDER

    def __init__(self, config: Any) -> None:
        """Take splits and places of pictures from the source."""
        super().__init__(config)
        source = SOURCES[config.source]
        self.splits = tuple(source.files)
        self.places = source.places  # type: ignore[misc]

    def names(self, image_id: str) -> dict[str, Any]:
        """Return the padded number of a COCO picture, or the first letter of an id."""
        return picture_names(self.config.source, image_id)

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the files of a split.

        Raises:
            DataError: One is not there.
        """
        return narrative_files(self.root, self.config.source, split)

    def entries(self, task: str, split: str) -> Iterable[Entry | Fault | Left]:
        """Yield narratives, or their pieces and those without a point."""
        row = -1
        for path in self.sources(task, split):
            for entry in json_lines(path):
                row += 1
                if isinstance(entry, Fault):
                    yield entry
                elif task == "image":
                    yield Entry(entry.place, (row, entry.value))
                else:
                    yield from self._pieces(entry, row)

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make a sample.

        Raises:
            PictureMissing: Its picture is not there.
        """
        return [self._whole(*entry.value) if task == "image" else self._trace(entry.value)]

    def _pieces(self, entry: Entry, row: int) -> Iterator[Entry | Fault | Left]:
        try:
            narrative = read_narrative(entry.value, self.config.source)
            found = spoken(narrative, self.config.cut, self.config.align)
        except BAD_RECORD as error:
            yield fault_of(entry.place, error)
            return
        for number, piece in enumerate(found):
            if any(point.inside for point in piece.points):
                yield Entry(entry.place, _Spoken(narrative, row, number, piece))
            else:
                yield Left(entry.place, f"no point was drawn in the picture during '{piece.text[:60]}'")

    def _whole(self, row: int, record: Any) -> StoredSample:
        if not isinstance(record, Mapping):
            raise Unusable("a narrative is a JSON object")
        image_id = checked_image_id(self.config.source, record["image_id"])
        self.picture(image_id)
        annotator = str(record.get("annotator_id", ""))
        return StoredSample(
            f"{image_id}/{row}", image_id, {"whole": True}, (caption_of(record).strip(),), {"annotator": annotator}
        )

    def _trace(self, one: _Spoken) -> StoredSample:
        image_id = one.narrative.image_id
        return StoredSample(
            f"{image_id}/{one.row}/{one.number}",
            image_id,
            trace_record(one.piece.points, self.size(image_id)),
            (one.piece.text,),
            {"annotator": one.narrative.annotator},
        )


def trace_record(points: Sequence[TracePoint], size: tuple[int, int]) -> dict[str, Any]:
    """Return the points in a picture of (width, height) as a region's record, in pixels, with their seconds."""
    width, height = size
    return {
        "trace": [[round(one.x * width, 3), round(one.y * height, 3), round(one.t, 4)] for one in points if one.inside]
    }
