"""A narrative as it was recorded: what was said, when, and where the mouse was meanwhile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from regionkit.core.data.records import Unusable
from regionkit.plugins.datasets.narratives.release import checked_image_id


class TracePoint(NamedTuple):
    """A place in the picture, in widths and heights of it from the top left, and the second of the recording.

    The mouse may leave the picture: coordinates below 0 and above 1 happen.
    """

    x: float
    y: float
    t: float

    @property
    def inside(self) -> bool:
        """Whether it lies in the picture, borders included."""
        return 0 <= self.x <= 1 and 0 <= self.y <= 1


class Utterance(NamedTuple):
    """A word, or a few, and the seconds of the recording when it was spoken.

    It may take no time at all, or begin before the one that stands in front of it.
    """

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Narrative:
    """A picture described by one voice and one mouse.

    Attributes:
        image_id: Its picture.
        annotator: Who spoke.
        caption: What was said, written down by hand.
        utterances: The same as a machine heard it, in the order of the record.
        points: Where the mouse was, by time.
    """

    image_id: str
    annotator: str
    caption: str
    utterances: tuple[Utterance, ...]
    points: tuple[TracePoint, ...]


def read_narrative(record: Any, source: str) -> Narrative:
    """Read a record of Localized Narratives.

    Raises:
        Unusable: A field is of another form; ``KeyError``, ``TypeError`` and ``OverflowError`` say the same.
    """
    if not isinstance(record, Mapping):
        raise Unusable("a narrative is a JSON object")
    image_id = checked_image_id(source, record["image_id"])
    points = [_point(point["x"], point["y"], point["t"]) for segment in record["traces"] for point in segment]
    points.sort(key=lambda point: point.t)
    timed = tuple(
        Utterance(
            text_of(one, "utterance"), finite(one["start_time"], "start_time"), finite(one["end_time"], "end_time")
        )
        for one in record["timed_caption"]
    )
    return Narrative(image_id, str(record.get("annotator_id", "")), caption_of(record), timed, tuple(points))


def _point(x: Any, y: Any, t: Any) -> TracePoint:
    """Return a point; there are hundreds in a narrative, and all but the damaged ones are three finite floats."""
    if type(x) is type(y) is type(t) is float and math.isfinite(x + y + t):
        return TracePoint(x, y, t)
    return TracePoint(finite(x, "x"), finite(y, "y"), finite(t, "t"))


def caption_of(record: Mapping[str, Any]) -> str:
    """Return the caption of a record, which is not blank.

    Raises:
        Unusable: It is no text, blank, or cannot be written down again.
    """
    caption = text_of(record, "caption")
    if not caption.strip():
        raise Unusable("'caption' is blank")
    if not caption.isascii() and any("\ud800" <= letter <= "\udfff" for letter in caption):
        raise Unusable("'caption' holds half of a character")
    return caption


def text_of(record: Any, key: str) -> str:
    """Return a text of a record.

    Raises:
        Unusable: It is none.
    """
    value = record[key]
    if not isinstance(value, str):
        raise Unusable(f"'{key}' is no text: {str(value)[:60]}")
    return value


def finite(value: Any, key: str) -> float:
    """Return a number of JSON.

    Raises:
        Unusable: It is none, or one that is not finite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unusable(f"'{key}' is no number: {str(value)[:60]}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Unusable(f"'{key}' is no finite number")
    return number
