"""The trace-captioning benchmark (Bianchi et al., section 13): sentences of narratives, each with its trace."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from regionkit.core.contracts import BuildContext
from regionkit.core.data.files import FileDataset
from regionkit.core.data.places import data_file, data_folder
from regionkit.core.data.records import BAD_RECORD, Entry, Fault, StoredSample, Unusable, fault_of
from regionkit.core.data.streams import json_object
from regionkit.core.errors import DataError
from regionkit.core.files import sha256_of
from regionkit.plugins.datasets.narratives.benchmark import DROPPED, REPORT, Builder, benchmark_name
from regionkit.plugins.datasets.narratives.configs import TraceCaptionsConfig
from regionkit.plugins.datasets.narratives.localized import trace_record
from regionkit.plugins.datasets.narratives.pictures import picture_ids
from regionkit.plugins.datasets.narratives.recording import TracePoint, finite
from regionkit.plugins.datasets.narratives.release import (
    FOLDER,
    SOURCES,
    checked_image_id,
    narrative_files,
    picture_names,
)
from regionkit.plugins.datasets.narratives.rewriting import ByJudge, Rules

#: Karpathy's splits, from which the pictures of COCO are taken where no other list is named.
_KARPATHY = "coco/dataset_coco.json"
#: Files of narratives that a split of the benchmark draws on where a list of pictures says which: COCO's splits of 2017
#: cut across Karpathy's.
_DRAWN_ON: Mapping[str, tuple[str, ...]] = {"coco": ("val", "train"), "flickr30k": ("test", "train", "val")}


class TraceCaptions(FileDataset):
    """Captions of sub-traces, from ``trace_capt_coco_test.json`` and its like.

    The file holds ``{IMAGE: {"captions": [...], "traces": [[{"x": 0.5, "y": 0.5, "t": 1.0}, ...], ...]}}``. A sample is
    known as ``IMAGE/NUMBER``, counted from 0. A caption of several lines is several references. Traces are in pixels,
    with seconds where all their points have one; points outside of the picture are dropped.

    :meth:`make` makes that file of Localized Narratives.

    Args:
        config: Options.
        judge: Who rewrites sentences when the file is made; None for rules.
    """

    name: ClassVar[str] = "trace-captions"
    tasks: ClassVar[tuple[str, ...]] = ("trace",)
    folder: ClassVar[str] = "trace_captions"
    splits = ("test", "train", "val")

    def __init__(self, config: TraceCaptionsConfig, judge: Any = None) -> None:
        """Take the places of pictures from the source."""
        super().__init__(config)
        self.places = SOURCES[config.source].places  # type: ignore[misc]
        self._judge = judge

    @classmethod
    def build(cls, config: Any, context: BuildContext) -> Self:
        """Make the data set with the judge that its options name."""
        return cls(config, context.parts.get("judge"))

    def names(self, image_id: str) -> dict[str, Any]:
        """Return the padded number of a COCO picture."""
        return picture_names(self.config.source, image_id)

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the file of a split.

        Raises:
            DataError: It is not there.
        """
        name = benchmark_name(self.config.source, split)
        return (self.file(name, f"eval-trace-captioning/{name}"),)

    def entries(self, task: str, split: str) -> Iterable[Entry | Fault]:
        """Yield captions with their traces."""
        for path in self.sources(task, split):
            for image_id, entry in json_object(path):
                yield from self._captions(image_id, entry)

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make a sample.

        Raises:
            Unusable: A field is of another form, or no point lies in the picture.
            PictureMissing: The picture is not there.
        """
        image_id, number, caption, trace = entry.value
        if not isinstance(caption, str):
            raise Unusable(f"the caption is no text: {str(caption)[:60]}")
        references = tuple(line.strip() for line in caption.split("\n") if line.strip())
        if not references:
            raise Unusable("the caption is blank")
        timed = bool(trace) and all("t" in point for point in trace)
        points = [
            TracePoint(finite(one["x"], "x"), finite(one["y"], "y"), finite(one["t"], "t") if timed else 0.0)
            for one in trace
        ]
        if not any(point.inside for point in points):
            raise Unusable("no point of its trace lies in the picture")
        region = trace_record(points, self.size(image_id))
        if not timed:
            region = {"trace": [point[:2] for point in region["trace"]]}
        return [StoredSample(f"{image_id}/{number}", image_id, region, references)]

    def make(self, folder: Path, split: str, seed: int, limit: int | None) -> Mapping[str, int]:
        """Make the benchmark of Localized Narratives: its file, and ``report.json``; no picture is needed.

        The same narratives, options and replies come to the same bytes; the seed has no say.

        Returns:
            What became of the sentences: ``sentences`` are those ``kept`` and those dropped, by reason.

        Raises:
            DataError: Narratives or the list of pictures are not there, or cannot be used.
            RunFailed: The judge answers nothing.
        """
        self.check("trace", split)
        files, chosen = self._material(split)
        if self._judge is None:
            builder = Builder(self.config, Rules(), Rules.identity)
        else:
            by_judge = ByJudge(self._judge, self.config.attempts, self.config.unanswered)
            builder = Builder(self.config, by_judge, by_judge.identity)
        return builder.write(folder, split, files, chosen, limit)

    def verify(self, folder: Path) -> list[str]:
        """Compare a folder that :meth:`make` wrote with its report, and the report's counts with each other."""
        try:
            report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
            counts, path = report["counts"], folder / Path(report["file"]).name
            wanted, kept = report["sha256"], counts["kept"]
            dropped = sum(counts[f"dropped: {reason}"] for reason in DROPPED)
            faults = [] if counts["sentences"] == kept + dropped else [f"{REPORT}: its counts do not add up"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            return [f"{REPORT}: cannot be read: {error}"]
        if not path.is_file():
            return [*faults, f"{path.name}: is not there"]
        if sha256_of(path) != wanted:
            faults.append(f"{path.name}: is not the file that the report was written about")
        return faults

    def _material(self, split: str) -> tuple[list[Path], frozenset[str] | None]:
        """Return the files of narratives, and which pictures are taken; None for all.

        Raises:
            DataError: They are not there.
        """
        config = self.config
        root = data_folder(config.narratives, FOLDER, "localized-narratives")
        listed = config.images or (_KARPATHY if config.source == "coco" else "all")
        if listed != "all":
            chosen = picture_ids(self._list(listed), config.source, split)
            return [
                path for own in _DRAWN_ON[config.source] for path in narrative_files(root, config.source, own)
            ], chosen
        there = SOURCES[config.source].files
        if split not in there:
            raise DataError(
                f"the narratives of {config.source} have no split '{split}', they have: {', '.join(there)}",
                "name the pictures: images: FILE",
            )
        return narrative_files(root, config.source, split), None

    def _list(self, listed: str) -> Path:
        try:
            return data_file(listed)
        except DataError as error:
            raise DataError(
                f"which pictures the benchmark has is not known: {error.message}",
                *error.hints,
                "name a file of ids: images: FILE, or take all that were narrated: images: all",
            ) from None

    def _captions(self, image_id: str, entry: Entry) -> Iterator[Entry | Fault]:
        try:
            known = checked_image_id(self.config.source, image_id)
            captions, traces = entry.value["captions"], entry.value["traces"]
            if not isinstance(captions, list) or not isinstance(traces, list) or len(captions) != len(traces):
                raise Unusable("'captions' and 'traces' are no lists of one length")
        except BAD_RECORD as error:
            yield fault_of(entry.place, error)
            return
        for number, (caption, trace) in enumerate(zip(captions, traces, strict=True)):
            yield Entry(f"{entry.place}: captions[{number}]", (known, number, caption, trace))
