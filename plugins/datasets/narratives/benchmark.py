"""Makes the trace-captioning benchmark of Localized Narratives (Bianchi et al., section 13).

A narrative is cut at full stops; a sentence gets the points drawn between its first and its last word; the first and
last 15 % of these are dropped; the sentence is rewritten as a caption, or dropped with its points. What becomes of each
is counted.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regionkit.core.data.records import BAD_RECORD, Fault, fault_of
from regionkit.core.data.streams import json_lines
from regionkit.core.errors import DataError, RunFailed
from regionkit.core.files import replacing, sha256_of, write_text
from regionkit.plugins.datasets.narratives.alignment import spoken
from regionkit.plugins.datasets.narratives.configs import TraceCaptionsConfig
from regionkit.plugins.datasets.narratives.prompt import PROMPT
from regionkit.plugins.datasets.narratives.recording import Narrative, TracePoint, read_narrative
from regionkit.plugins.datasets.narratives.release import checked_image_id
from regionkit.plugins.datasets.narratives.rewriting import REASONS, UNHEARD, UNREADABLE, Rewritten
from regionkit.plugins.datasets.narratives.rules import same

#: Name of the report beside the benchmark.
REPORT = "report.json"
#: Further reasons for which a sentence is dropped, before it is rewritten.
NO_POINTS, FEW_POINTS = "no points", "too few points"
#: Every reason; with ``kept`` they add up to ``sentences``.
DROPPED = (NO_POINTS, FEW_POINTS, *REASONS)
#: Sentences that are rewritten together, and narratives that cannot be used that the report names.
_BATCH, _NAMED = 4096, 100

Rewriter = Callable[[Sequence[str]], list[Rewritten]]


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence that has points enough: its picture, where it stands among all, and its words."""

    image_id: str
    number: int
    text: str
    points: tuple[TracePoint, ...]


def benchmark_name(source: str, split: str) -> str:
    """Return the name of a benchmark's file, as it is released."""
    return f"trace_capt_{source}_{split}.json"


def trimmed(points: Sequence[TracePoint], share: float) -> tuple[TracePoint, ...]:
    """Return points without the first and the last ``share`` of them, rounded down at each end."""
    away = math.floor(len(points) * share + 1e-9)
    return tuple(points[away : len(points) - away])


class Builder:
    """Makes one benchmark.

    Args:
        config: Options.
        rewriter: Makes captions of sentences.
        identity: Who that is, for the report.
    """

    def __init__(self, config: TraceCaptionsConfig, rewriter: Rewriter, identity: str) -> None:
        self.config = config
        self._rewriter, self._identity = rewriter, identity
        self._faults: list[str] = []
        self.counts: dict[str, int] = dict.fromkeys(
            ("images", "images without a caption", "narratives", "narratives that cannot be used", "sentences", "kept",
             "rewritten", "unchanged", *(f"dropped: {reason}" for reason in DROPPED),
             *(f"judge failed: {reason}" for reason in (UNREADABLE, UNHEARD))), 0
        )  # fmt: skip

    def write(
        self, folder: Path, split: str, files: Sequence[Path], chosen: frozenset[str] | None, limit: int | None
    ) -> Mapping[str, int]:
        """Write the benchmark and its report.

        Args:
            folder: Where.
            split: Split of the benchmark, for its name.
            files: Narratives, in order.
            chosen: Pictures; None for all.
            limit: Take the first so many pictures; None for all.

        Returns:
            The counts.

        Raises:
            DataError: A file cannot be read, a narrative cannot be used and the options say to stop there, or no
                sentence is left.
            RunFailed: The judge answers nothing, or there is no room for what is kept meanwhile.
        """
        try:
            with closing(sqlite3.connect("", isolation_level=None)) as held:  # a file of no name, which goes by itself
                path = self._make(held, folder / benchmark_name(self.config.source, split), files, chosen, limit)
        except sqlite3.Error as error:
            raise RunFailed(
                f"sentences cannot be held on disk: {error}",
                "make room there, or name another folder: export TMPDIR=DIR",
            ) from None
        self._report(folder / REPORT, path, split, files, limit)
        return dict(self.counts)

    def _make(
        self,
        held: sqlite3.Connection,
        path: Path,
        files: Sequence[Path],
        chosen: frozenset[str] | None,
        limit: int | None,
    ) -> Path:
        """Write the benchmark's file, by way of tables on disk: the narratives of a picture may stand far apart."""
        held.execute("PRAGMA journal_mode=OFF")
        held.execute("CREATE TABLE images (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE)")
        held.execute("CREATE TABLE kept (image INTEGER, number INTEGER PRIMARY KEY, caption TEXT, trace TEXT)")
        held.execute("BEGIN")
        self._fill(held, self._narratives(held, files, chosen, limit))
        held.execute("CREATE INDEX by_image ON kept (image, number)")
        held.execute("COMMIT")
        (images,) = held.execute("SELECT COUNT(DISTINCT image) FROM kept").fetchone()
        (seen,) = held.execute("SELECT COUNT(*) FROM images").fetchone()
        self.counts["images"], self.counts["images without a caption"] = images, seen - images
        if not images:
            lost = [f"{name}: {count}" for name, count in self.counts.items() if count and name.startswith("dropped")]
            raise DataError(
                f"trace-captions: no sentence is left of {self.counts['narratives']} narratives",
                *lost,
                *self._faults[:3],
            )
        _write(path, held)
        return path

    def _narratives(
        self, held: sqlite3.Connection, files: Sequence[Path], chosen: frozenset[str] | None, limit: int | None
    ) -> Iterator[Narrative]:
        """Yield the narratives of the pictures that are asked for, and number those as they come."""
        taken = 0
        for path in files:
            for entry in json_lines(path):
                if isinstance(entry, Fault):
                    self._fault(entry)
                    continue
                try:
                    image_id = checked_image_id(self.config.source, entry.value["image_id"])
                    if chosen is not None and image_id not in chosen:
                        continue
                    narrative = read_narrative(entry.value, self.config.source)
                except BAD_RECORD as error:
                    self._fault(fault_of(entry.place, error))
                    continue
                known = held.execute("SELECT 1 FROM images WHERE id = ?", (narrative.image_id,)).fetchone()
                if known is None:
                    if limit is not None and taken >= limit:
                        continue
                    held.execute("INSERT INTO images VALUES (?, ?)", (taken, narrative.image_id))
                    taken += 1
                self.counts["narratives"] += 1
                yield narrative

    def _fault(self, fault: Fault) -> None:
        if self.config.on_bad == "stop":
            raise DataError(str(fault), "leave such narratives out with on_bad: leave-out")
        self.counts["narratives that cannot be used"] += 1
        if len(self._faults) < _NAMED:
            self._faults.append(f"{Path(fault.place).name}: {fault.reason}")

    def _fill(self, held: sqlite3.Connection, narratives: Iterator[Narrative]) -> None:
        """Rewrite all sentences, many together, and keep what is left."""
        waiting: list[_Sentence] = []
        for narrative in narratives:
            waiting += self._sentences(narrative)
            if len(waiting) >= _BATCH:
                self._rewrite(held, waiting)
                waiting = []
        if waiting:
            self._rewrite(held, waiting)

    def _sentences(self, narrative: Narrative) -> Iterator[_Sentence]:
        """Yield the sentences of a narrative that have points enough, with their points, those outside included."""
        for piece in spoken(narrative, "sentences", "window"):
            number = self.counts["sentences"]
            self.counts["sentences"] += 1
            points = trimmed(piece.points, self.config.trim)
            if not piece.points:
                self.counts[f"dropped: {NO_POINTS}"] += 1
            elif sum(point.inside for point in points) < self.config.min_points:
                self.counts[f"dropped: {FEW_POINTS}"] += 1
            else:
                stop = "." if narrative.caption[piece.end : piece.end + 1] == "." else ""
                yield _Sentence(narrative.image_id, number, " ".join(piece.text.split()) + stop, points)

    def _rewrite(self, held: sqlite3.Connection, sentences: Sequence[_Sentence]) -> None:
        for one, found in zip(sentences, self._rewriter([one.text for one in sentences]), strict=True):
            if found.failed:
                self.counts[f"judge failed: {found.failed}"] += 1
            if found.caption is None:
                self.counts[f"dropped: {found.reason}"] += 1
                continue
            self.counts["kept"] += 1
            self.counts["unchanged" if same(one.text, found.caption) else "rewritten"] += 1
            trace = json.dumps([{"x": point.x, "y": point.y, "t": point.t} for point in one.points])
            held.execute(
                "INSERT INTO kept SELECT number, ?, ?, ? FROM images WHERE id = ?",
                (one.number, _written(found.caption), trace, one.image_id),
            )

    def _report(self, path: Path, made: Path, split: str, files: Sequence[Path], limit: int | None) -> None:
        """Write what the benchmark was made of, by what, and what became of the sentences; no time and no folder."""
        config = self.config
        report: dict[str, Any] = {
            "file": made.name,
            "sha256": sha256_of(made),
            "source": config.source,
            "split": split,
            "limit": limit,
            "trim": config.trim,
            "min_points": config.min_points,
            "rewritten_by": self._identity,
            "prompt_sha256": hashlib.sha256(PROMPT.encode()).hexdigest(),
            "unanswered": config.unanswered,
            "narratives": {file.name: sha256_of(file) for file in files},
            "counts": self.counts,
            "narratives_that_cannot_be_used": self._faults,
        }
        write_text(path, json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def _written(text: str) -> str:
    """Return a text that can be written as UTF-8: halves of characters become question marks."""
    return text.encode("utf-8", "replace").decode()


def _write(path: Path, held: sqlite3.Connection) -> None:
    """Write ``{img_id: {"captions": [...], "traces": [[{x, y, t}, ...], ...]}}``, picture by picture."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write("{")
        images = held.execute(
            "SELECT number, id FROM images WHERE number IN (SELECT image FROM kept) ORDER BY number"
        ).fetchall()
        for at, (number, image_id) in enumerate(images):
            rows = held.execute("SELECT caption, trace FROM kept WHERE image = ? ORDER BY number", (number,)).fetchall()
            captions = json.dumps([caption for caption, _ in rows], ensure_ascii=False)
            traces = ", ".join(trace for _, trace in rows)
            comma = "," if at else ""
            stream.write(f'{comma}\n{json.dumps(image_id)}: {{"captions": {captions}, "traces": [{traces}]}}')
        stream.write("\n}\n")
