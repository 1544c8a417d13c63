"""Where commands on pictures put their results: printed, in a JSONL, as pictures, or in a folder of both."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import click

from regionkit.core.errors import DataError, PartFailed, RegionkitError, RunFailed
from regionkit.registry.commands.inputs import Job, placed

if TYPE_CHECKING:
    from PIL import Image

    from regionkit.registry.plan import PipelinePlan

Result = TypeVar("Result")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def check_out(out: Path | None, source: Path, jobs: Sequence[Job], arrays: str = "") -> None:
    """Refuse an ``--out`` that cannot hold the results, or that would be written over what is read.

    Drawings among the pictures would be taken for pictures by the next run.

    Args:
        out: What the user named.
        source: What is read.
        jobs: The pictures of it.
        arrays: Ending of files of arrays, where the command writes them too.

    Raises:
        click.UsageError: It is refused.
    """
    if out is None:
        return
    if out.suffix != ".jsonl" and (out.suffix != "" or out.is_file()):
        if out.suffix.lower() not in _PICTURES and not (arrays and out.suffix == arrays):
            files = f"an {arrays} file, a .jsonl file" if arrays else "a .jsonl file"
            raise click.UsageError(f"--out {out}: write a picture ({', '.join(_PICTURES)}), {files} or a folder")
        if len(jobs) != 1:
            what = "one file" if arrays else "one picture"
            raise click.UsageError(f"--out {out} is {what}, the input has several: name a folder or a .jsonl file")
    target, pictures = out.resolve(), {job.path.resolve() for job in jobs}
    if out.suffix and target in {source.resolve(), *pictures}:
        raise click.UsageError(f"--out {out} is read by this very command: name another file")
    if not out.suffix and target in {path.parent for path in pictures}:
        raise click.UsageError(f"--out {out} holds the pictures themselves: name another folder")


def made_by(plan: PipelinePlan, out: Path | None, as_json: bool) -> dict[str, Any] | None:
    """Say who and what a pipeline is made of, where results are recorded: it reads every weight file to its end.

    Returns:
        None where nothing is recorded: captions are printed, or drawn on one picture.
    """
    if not as_json and (out is None or out.suffix.lower() in _PICTURES):
        return None
    from regionkit.registry.provenance import provenance

    return provenance(plan)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Say what could not be written.

    Raises:
        DataError: The system refused it.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"--out {target}: {error.strerror or error}", "name a place that can be written to, with --out"
        ) from None


def save_picture(picture: Image.Image, target: Path) -> None:
    """Write a picture whole, in the format of its ending.

    Raises:
        DataError: The system refused it.
    """
    from regionkit.core.files import replacing

    with writing(target), replacing(target) as temporary:
        picture.save(temporary, format=_FORMATS.get(target.suffix.lower(), "PNG"))


class Writer(ABC, Generic[Result]):
    """Prints results, and writes them where ``--out`` says.

    Args:
        out: File or folder; None to print only.
        as_json: Print one JSON object a picture.
        alone: Whether there is one picture only.
        made_by: What each record says of the pipeline; without it nothing is recorded.
        known: What each record says beside it.

    Attributes:
        listing: Name of the JSONL in a folder.
    """

    listing: ClassVar[str]

    def __init__(
        self, out: Path | None, as_json: bool, alone: bool, made_by: dict[str, Any] | None, known: dict[str, Any]
    ) -> None:
        self.out = out
        self.as_json = as_json
        self.alone = alone
        self.made_by = made_by
        self.known = known
        self._lines: list[str] = []
        self._names: set[str] = set()

    @abstractmethod
    def add(self, job: Job, result: Result) -> None:
        """Take in the result of a picture."""

    def add_failure(self, job: Job, error: RegionkitError) -> None:
        """Record why a picture has no result."""
        self.record(job, {"error": str(error)})

    def record(self, job: Job, result: dict[str, Any]) -> None:
        """Record a picture's result as one line of JSON, if results are recorded."""
        if self.made_by is None:
            return
        record = {**job.known, **self.known, **result, "provenance": self.made_by}
        line = json.dumps(record, ensure_ascii=False)
        self._lines.append(line)
        if self.as_json:
            click.echo(line)

    def say(self, job: Job, texts: Sequence[str]) -> None:
        """Print one line a region, unless JSON is printed."""
        if self.as_json:
            return
        for number, text in enumerate(texts, 1):
            numbered = f"{number}. " if len(texts) > 1 else ""
            click.echo(f"{numbered if self.alone else f'{job.title}: '}{text}")

    def name(self, job: Job) -> str:
        """Return a file name for a job's picture, without an ending; a second one of that name gets a number."""
        name, number = job.path.stem, 2
        while name in self._names:
            name, number = f"{job.path.stem}-{number}", number + 1
        self._names.add(name)
        return name

    def close(self) -> None:
        """Write the lines: to the JSONL that was asked for, or beside the drawings of a folder."""
        if not self._lines or self.out is None or self.out.suffix not in ("", ".jsonl"):
            return
        from regionkit.core.files import write_text

        target = self.out if self.out.suffix else self.out / self.listing
        with writing(target):
            write_text(target, "".join(f"{line}\n" for line in self._lines))


def write_all(
    results: Iterable[tuple[Job, Result | RegionkitError]], writer: Writer[Result], count: int, stop: bool, done: str
) -> None:
    """Hand results to a writer, and tell at the end which pictures have none.

    Args:
        results: For every picture, its result or why it has none.
        writer: Takes them.
        count: Number of pictures.
        stop: Let the first error end it.
        done: What was to be done with pictures, such as ``captioned``.

    Raises:
        RunFailed: Some pictures have no result.
        RegionkitError: The only picture has none, or the first one has none and ``stop`` is set.
        Exception: The same, where ``stop`` is set, of what the code of a part raised and nobody foresaw.
    """
    failures: list[tuple[Job, RegionkitError]] = []
    try:
        for job, result in results:
            if not isinstance(result, RegionkitError):
                writer.add(job, result)
                continue
            if stop and isinstance(result, PartFailed) and result.__cause__ is not None:
                raise result.__cause__  # whole, as it came
            if writer.alone or stop:
                raise placed(job, result) from result.__cause__
            failures.append((job, result.with_traceback(None)))
            result.__cause__ = None  # like a traceback, it would hold the picture and what it became until the end
            writer.add_failure(job, result)
    finally:
        writer.close()  # what came before an error is kept
    if failures:
        raise RunFailed(f"{len(failures)} of {count} pictures were not {done}", *_by_reason(failures))


def _by_reason(failures: Sequence[tuple[Job, RegionkitError]]) -> Iterator[str]:
    """Yield each reason once, with the pictures that it holds for."""
    groups: dict[str, list[str]] = {}
    for job, error in failures:
        groups.setdefault(str(error), []).append(job.where)
    for reason, places in groups.items():
        others = f" and {len(places) - 1} more" if len(places) > 1 else ""
        yield f"{places[0]}{others}: {reason}"
