"""How many samples a data set has, task by task, beside what its authors say."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import click

from regionkit.core.errors import DataError, RegionkitError, did_you_mean
from regionkit.core.spec import ComponentSpec, DataCount
from regionkit.registry.commands.tables import text_table

if TYPE_CHECKING:
    from regionkit.core.contracts import Dataset, Sample
    from regionkit.registry.schema import Part

#: Options that say where the data are and not what they come to.
_PLACES = ("root", "on_bad")


@dataclass(frozen=True, slots=True)
class Count:
    """What a task and split of a data set come to.

    Attributes:
        task: The task.
        split: The split.
        samples: Number of samples.
        images: Number of pictures that they are of.
        left_out: Records that cannot be used, ``FILE:LINE: reason`` each.
        by_protocol: Records that the protocol leaves out, which is no fault of theirs, likewise.
        expected: What its authors say; None where they say nothing, or of other options.
        error: Why there are no samples; None where there are.
    """

    task: str
    split: str
    samples: int = 0
    images: int = 0
    left_out: Sequence[str] = ()
    by_protocol: Sequence[str] = ()
    expected: DataCount | None = None
    error: RegionkitError | None = None

    @property
    def label(self) -> str:
        """Task and split in one word."""
        return f"{self.task}/{self.split}"

    @property
    def fault(self) -> str:
        """Say in what it is not what its authors say; empty where it is. Records that are left out are counted."""
        if self.expected is None or self.error is not None:
            return ""
        lost, own, said = len(self.left_out), [f"{self.samples:,}"], []
        wrong = bool(self.expected.samples) and self.expected.samples not in (self.samples, self.samples + lost)
        if wrong:
            said.append(f"{self.expected.samples:,} samples")
        enough = self.images <= self.expected.images if lost else self.images == self.expected.images
        if self.expected.images and not enough:
            said.append(f"{self.expected.images:,} pictures")
            own = [*own, f"{self.images:,}"] if wrong else [f"{self.images:,}"]
        if not said:
            return ""
        out = f", and {lost:,} records are left out" if lost else ""
        return f"{self.label}: {' of '.join(said)} are released, here are {' of '.join(own)}{out}"

    def to_dict(self) -> dict[str, Any]:
        """Return it in plain values."""
        own = {"task": self.task, "split": self.split, "samples": self.samples, "images": self.images}
        expected = {"samples": self.expected.samples, "images": self.expected.images} if self.expected else None
        left = {"left_out": list(self.left_out), "left_out_by_protocol": len(self.by_protocol)}
        return own | left | {"expected": expected, "as_released": self._as_released()}

    def _as_released(self) -> bool | None:
        return None if self.expected is None else not self.fault

    def row(self) -> tuple[str, ...]:
        """Return it as cells of a table."""
        said = "-" if self.expected is None else "no" if self.fault else "yes"
        return (self.task, self.split, f"{self.samples:,}", f"{self.images:,}", f"{len(self.left_out):,}", said)


def table(counts: Sequence[Count]) -> str:
    """Return counts as a table."""
    return text_table(
        ("TASK", "SPLIT", "SAMPLES", "PICTURES", "LEFT OUT", "AS RELEASED"), [one.row() for one in counts]
    )


def chosen_of(spec: ComponentSpec, dataset: Dataset, task: str | None, split: str | None) -> list[tuple[str, str]]:
    """Return the tasks and splits of a command line, all where it names none.

    Raises:
        DataError: There is no such task or split.
    """
    for what, word, known in (("task", task, spec.accepts), ("split", split, dataset.splits)):
        if word is not None and word not in known:
            raise DataError(
                f"data set '{spec.name}' has no {what} '{word}'",
                did_you_mean(word, known) or f"{what}s are: {', '.join(known)}",
            )
    tasks = spec.accepts if task is None else (task,)
    splits = tuple(dataset.splits) if split is None else (split,)
    return [(one, other) for one in tasks for other in splits]


def counts(part: Part, dataset: Dataset, chosen: Sequence[tuple[str, str]]) -> Iterator[Count]:
    """Count the samples of tasks and splits; a reader makes its index for each now, where it has none yet."""
    for task, split in chosen:
        if sys.stderr.isatty():
            click.echo(f"reading {task}@{part.name}/{split}", err=True)
        expected = expected_of(part, task, split)
        try:
            samples = dataset.samples(task, split)
            left = (dataset.faults(task, split), dataset.left(task, split))
            yield Count(task, split, len(samples), _images(samples), *left, expected)
        except RegionkitError as error:
            yield Count(task, split, expected=expected, error=error)


def _images(samples: Sequence[Sample]) -> int:
    """Return the number of pictures; an index knows it, other sequences are gone through."""
    known = getattr(samples, "images", None)
    return known if isinstance(known, int) else len({sample.image_id for sample in samples})


def expected_of(part: Part, task: str, split: str) -> DataCount | None:
    """Return what the release says of a task and split under these options; None where it says nothing."""
    release = part.spec.release
    options = {name: value for name, value in part.to_dict().items() if name not in ("name", *_PLACES)}
    usual = _defaults(part)
    changed = {name for name, value in options.items() if name not in usual or usual[name] != value}
    for one in release.counts if release else ():
        pairs = dict(text.partition("=")[::2] for text in one.options)
        holds = changed <= set(pairs) and all(_written(options.get(name)) == text for name, text in pairs.items())
        if (one.task, one.split) == (task, split) and holds:
            return one
    return None


def _defaults(part: Part) -> dict[str, Any]:
    from dataclasses import MISSING

    from regionkit.registry.values import plain

    held = {}
    for field in fields(part.config):
        if field.default is not MISSING:
            held[field.name] = plain(field.default)
        elif field.default_factory is not MISSING:
            held[field.name] = plain(field.default_factory())
    return held


def _written(value: Any) -> str:
    """Write a value as a spec does: ``true``, ``val``, ``5``."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
