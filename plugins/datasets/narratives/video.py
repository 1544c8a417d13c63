"""Video Localized Narratives (Voigtlaender et al., CVPR 2023): each actor of a clip described on its keyframes."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, NamedTuple

from regionkit.core.data.files import FileDataset
from regionkit.core.data.records import BAD_RECORD, Entry, Fault, Left, StoredSample, Unusable, fault_of
from regionkit.core.data.streams import json_lines
from regionkit.core.errors import DataError
from regionkit.plugins.datasets.narratives.localized import trace_record
from regionkit.plugins.datasets.narratives.recording import TracePoint, caption_of, finite, text_of

#: Splits; a record says its own at the end of ``dataset_id``, and one without any is for training.
SPLITS = ("val", "train", "test")


class _Word(NamedTuple):
    """A word of a caption: its characters, and the milliseconds after the recording began when it is spoken.

    It lasts until the next word begins, the last one until its own end.
    """

    text: str
    first: int
    behind: int
    start: float
    end: float


class _KeyframePoint(NamedTuple):
    """A point on a keyframe, and the milliseconds since 1970, as in the files: in seconds they would not be exact."""

    keyframe: int
    x: float
    y: float
    t: float


@dataclass(frozen=True)
class Actor:
    """An actor's narrative.

    Attributes:
        name: Who it is about; ``background`` for the rest of the clip.
        caption: What was said.
        begin: Milliseconds since 1970 when the recording began, by the time base that was asked for.
        nouns: First character and the one behind the last of each noun segment.
        words: Words that a time is known of, by time.
        points: All points, by time.
    """

    name: str
    caption: str
    begin: float
    nouns: tuple[tuple[int, int], ...]
    words: tuple[_Word, ...]
    points: tuple[_KeyframePoint, ...]

    def during(self, words: Iterable[_Word]) -> list[_KeyframePoint]:
        """Return the points that were drawn from the beginning of each word to before its end, each once."""
        times = [point.t for point in self.points]
        found: set[int] = set()
        for word in words:
            window = (bisect_left(times, self.begin + word.start), bisect_left(times, self.begin + word.end))
            found.update(range(*window))
        return [self.points[at] for at in sorted(found)]

    def before_verb(self) -> list[_Word]:
        """Return the words before the first "is"; where there is none, those up to the end of the first noun."""
        verb = next((at for at, word in enumerate(self.words) if word.text.casefold() == "is"), None)
        if verb is not None:
            return list(self.words[:verb])
        behind = self.nouns[0][1] if self.nouns else 0
        return [word for word in self.words if word.first < behind]

    @property
    def subject(self) -> str:
        """The first noun segment."""
        return self.caption[slice(*self.nouns[0])] if self.nouns else ""


class _Part(NamedTuple):
    """A sample in the making: what was said of a keyframe, and the points on it."""

    id: str
    image_id: str
    text: str
    points: tuple[TracePoint, ...]
    info: Mapping[str, Any]


class VideoLocalizedNarratives(FileDataset):
    """Keyframes of clips with what was said, and drawn, of an actor.

    A sample is known as ``DATASET/NARRATIVE/ACTOR/KEYFRAME``, with ``/SEGMENT`` behind it for noun segments; all are
    counted from 0 but for the narrative, which has a number of its own. Its picture is ``CLIP/NAME OF THE KEYFRAME``.
    Traces are in pixels of the keyframe, with seconds since the recording began; points outside of it are dropped.
    """

    name: ClassVar[str] = "video-localized-narratives"
    tasks: ClassVar[tuple[str, ...]] = ("trace",)
    folder: ClassVar[str] = "video_localized_narratives"
    splits = SPLITS
    places: ClassVar[tuple[str, ...]] = tuple(
        f"{folder}{{id}}{ending}"
        for folder in ("", "images/", "frames/", "JPEGImages/", "OVIS/train/", "../ovis/train/")
        for ending in (".jpg", ".png")
    )

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return all files of narratives; which records belong to a split, these say themselves.

        Raises:
            DataError: There is none.
        """
        root = self.root
        patterns = ("*.jsonl", "*.jsonl.gz", "annotations/*.jsonl", "annotations/*.jsonl.gz")
        found = [path for pattern in patterns for path in sorted(root.glob(pattern)) if path.is_file()]
        if not found:
            raise DataError(
                f"data set '{self.name}' needs {patterns[0]} in {root}, which is not there",
                f"where to get it: toolkit data list {self.name}",
            )
        return found

    def entries(self, task: str, split: str) -> Iterable[Entry | Fault | Left]:
        """Yield what samples are made of, and what was said while nothing was drawn."""
        for path in self.sources(task, split):
            for entry in json_lines(path):
                if isinstance(entry, Fault):
                    yield entry
                    continue
                try:
                    parts = self._parts(entry.value, split)
                except BAD_RECORD as error:
                    yield fault_of(entry.place, error)
                    continue
                for part in parts:
                    yield Left(entry.place, part) if isinstance(part, str) else Entry(entry.place, part)

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make a sample.

        Raises:
            PictureMissing: Its keyframe is not there.
        """
        part: _Part = entry.value
        region = trace_record(part.points, self.size(part.image_id))
        return [StoredSample(part.id, part.image_id, region, (part.text,), part.info)]

    def _parts(self, record: Any, split: str) -> list[_Part | str]:
        """Return the parts of a record, and why there is none of something that was said."""
        if not isinstance(record, Mapping):
            raise Unusable("a narrative is a JSON object")
        dataset = text_of(record, "dataset_id")
        ending = dataset.rpartition("_")[2].casefold()
        if (ending if ending in SPLITS else "train") != split:
            return []
        keyframes, video = record["keyframe_names"], text_of(record, "video_id")
        if not isinstance(keyframes, list) or not all(isinstance(one, str) for one in keyframes):
            raise Unusable("'keyframe_names' is no list of names")
        for name in (video, *keyframes):
            _check_inside(name)
        actors = [read_actor(one, self.config.time_base, len(keyframes)) for one in record["actor_narratives"]]
        found: list[_Part | str] = []
        for number, actor in self._chosen(actors):
            groups = self._groups(actor)
            drawn = {segment for _, segment, _ in groups}
            silent = [actor.caption[first:behind] for at, (first, behind) in enumerate(actor.nouns) if at not in drawn]
            if self.config.unit == "segment":
                found += [f"{actor.name[:40]}: nothing was drawn during '{text[:60]}'" for text in silent]
            elif not groups:
                found.append(f"{actor.name[:40]}: nothing was drawn")
            for (keyframe, segment, text), points in groups.items():
                name = f"{dataset}/{record['vidln_id']}/{number}/{keyframe}" + f"/{segment}" * (segment >= 0)
                inside = tuple(one for one in points if one.inside)
                if inside:
                    info = {"actor": actor.name, "keyframe": keyframe}
                    found.append(_Part(name, f"{video}/{keyframes[keyframe]}", text, inside, info))
                else:
                    found.append(f"{actor.name[:40]}: no point in keyframe {keyframe} lies in it")
        return found

    def _chosen(self, actors: Sequence[Actor]) -> Iterator[tuple[int, Actor]]:
        last = len(actors) - 1
        for number, actor in enumerate(actors):
            subject = self.config.unit == "subject"
            if subject and (number == last or actor.subject.casefold() == "group"):
                continue
            if self.config.background == "leave-out" and actor.name.strip().casefold() == "background":
                continue
            yield number, actor

    def _groups(self, actor: Actor) -> dict[tuple[int, int, str], list[TracePoint]]:
        """Return points by keyframe, number of the noun segment (-1 for the whole caption) and text."""
        caption = actor.caption.strip()
        if self.config.unit == "segment":
            drawn = [
                (number, actor.caption[first:behind], actor.during(_touching(actor.words, first, behind)))
                for number, (first, behind) in enumerate(actor.nouns)
            ]
        elif self.config.unit == "subject":
            drawn = [(-1, caption, actor.during(actor.before_verb()))]
        else:
            drawn = [(-1, caption, list(actor.points))]
        found: dict[tuple[int, int, str], list[TracePoint]] = {}
        for segment, text, points in drawn:
            for one in points:
                point = TracePoint(one.x, one.y, (one.t - actor.begin) / 1000)
                found.setdefault((one.keyframe, segment, text), []).append(point)
        return found


def read_actor(record: Any, time_base: str, keyframes: int) -> Actor:
    """Read a narrative of an actor.

    Args:
        record: One of ``actor_narratives``.
        time_base: ``official`` or ``released``; see ``VideoNarrativesConfig``.
        keyframes: How many there are.

    Raises:
        Unusable: A field is of another form; ``KeyError`` and ``TypeError`` say the same.
    """
    caption = caption_of(record)
    points = []
    for one in (point for segment in record["traces"] for point in segment):
        keyframe = one["kf_idx"]
        if type(keyframe) is not int or not 0 <= keyframe < keyframes:
            raise Unusable(f"'kf_idx' is {str(keyframe)[:20]}, and there are {keyframes} keyframes")
        time = finite(one["time_ms_since_epoch"], "time_ms_since_epoch")
        points.append(_KeyframePoint(keyframe, finite(one["x"], "x"), finite(one["y"], "y"), time))
    begin = finite(record["recording_start_time_ms_since_epoch"], "recording_start_time_ms_since_epoch")
    if time_base == "released" and points:
        begin = points[0].t
    nouns = []
    for first, behind in record["noun_segments"]:
        if type(first) is not int or type(behind) is not int or not 0 <= first < behind <= len(caption):
            raise Unusable(
                f"'noun_segments' has {str([first, behind])[:40]}, and the caption {len(caption)} characters"
            )
        nouns.append((first, behind))
    return Actor(
        text_of(record, "actor_name"),
        caption,
        begin,
        tuple(nouns),
        _words(record["time_alignment"]),
        tuple(sorted(points, key=lambda point: point.t)),
    )


def _words(records: Sequence[Mapping[str, Any]]) -> tuple[_Word, ...]:
    """Return the words by time, each until the next begins."""
    read = sorted(
        (
            finite(one["start_ms"], "start_ms"),
            int(finite(one["referenced_word_start_idx"], "referenced_word_start_idx")),
            int(finite(one["referenced_word_end_idx"], "referenced_word_end_idx")),
            text_of(one, "referenced_word"),
            finite(one["end_ms"], "end_ms"),
        )
        for one in records
    )
    ends = [*(start for start, *_ in read[1:]), *(end for *_, end in read[-1:])]
    return tuple(
        _Word(text, first, behind, start, end) for (start, first, behind, text, _), end in zip(read, ends, strict=True)
    )


def _touching(words: Iterable[_Word], first: int, behind: int) -> list[_Word]:
    return [word for word in words if word.first < behind and word.behind > first]


def _check_inside(name: str) -> None:
    """Refuse names of clips and keyframes that lead out of the folder of pictures.

    Raises:
        Unusable: This one does, or no file can have it.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not name.strip() or re.search(r"[\0\\]", name) or len(name) > 500:
        raise Unusable(f"{name[:60]!r} is no name of a clip or a keyframe")
