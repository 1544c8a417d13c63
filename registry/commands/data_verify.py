"""``toolkit data verify``: whether a data set is what its authors released, or a folder what the toolkit wrote."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.files import sha256_of
from regionkit.registry.commands.data_counts import Count, chosen_of, counts, table
from regionkit.registry.commands.data_files import (
    FileState,
    folder_of,
    found_at,
    is_wild,
    lacks,
    missing_of,
    no_folder,
    states,
    where_to_get,
)
from regionkit.registry.commands.data_made import CARD, verify_folder
from regionkit.registry.commands.data_options import built, data_part, root_of, set_option
from regionkit.registry.registry import get_registry

if TYPE_CHECKING:
    from regionkit.core.contracts import Dataset, Sample
    from regionkit.registry.schema import Part

#: Pictures of a kind of fault that are named.
_SHOWN = 20


class PictureCount(click.ParamType[int | None]):
    """A number of pictures, or ``all``."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """Return the number, None for all."""
        if value is None or isinstance(value, int):
            return value
        if str(value) == "all":
            return None
        if not str(value).isdecimal():
            self.fail(f"'{value}' is neither a number nor all", param, ctx)
        return int(value)


@click.command()
@click.argument("name")
@click.option("--task", help="Check this task alone.")
@click.option("--split", help="Check this split alone.")
@click.option(
    "--pictures", default=100, show_default=True, type=PictureCount(), help="Decode so many pictures of each, or all."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Which pictures are decoded.")
@click.option("--allow-bad", is_flag=True, help="Records that cannot be used are named, and are no fault.")
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(
    name: str,
    task: str | None,
    split: str | None,
    pictures: int | None,
    seed: int,
    allow_bad: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check data set NAME, or a folder that `toolkit data make` wrote. Ends with 1 where something is wrong with it.

    Of a data set: files are there and of the released content, there are as many samples as released, no record is
    bad, and pictures are there and can be decoded.
    """
    if _is_folder(name):
        verify_folder(Path(name), as_json=as_json)
        return
    part = data_part(name, overrides)
    checks = Checks(part, allow_bad=allow_bad)
    checks.run(task, split, pictures, seed)
    if as_json:
        click.echo(json.dumps(checks.to_dict(), indent=2))
    else:
        checks.show()
    if checks.faults:
        raise click.exceptions.Exit(1)


def _is_folder(name: str) -> bool:
    """Say whether the argument means a folder: one that the toolkit wrote, or nothing that a data set is called.

    Raises:
        UnknownName: It is neither a path nor a data set.
    """
    registry, path = get_registry(), Path(name)
    if (path / CARD).is_file():
        return True
    if name in registry.names("dataset"):
        return False
    if path.exists() or "/" in name or "\\" in name:
        return True
    registry.find("dataset", name)
    return True


class Checks:
    """What is found out about a data set.

    Args:
        part: The data set.
        allow_bad: Whether records that cannot be used are no fault.

    Attributes:
        faults: What is wrong, a line each.
        notes: Records that cannot be used and are no fault: those of the release itself, or those that are allowed.
        counts: Counts of tasks and splits.
        decoded: Pictures that were decoded.
        missing: Ids of the pictures that are not there, by task and split.
    """

    def __init__(self, part: Part, *, allow_bad: bool = False) -> None:
        self.part, self.allow_bad = part, allow_bad
        self.faults: list[str] = []
        self.counts: list[Count] = []
        self.notes: list[str] = []
        self.decoded = 0
        self.missing: dict[str, list[str]] = {}
        #: Paths of released files -> whether their content is the released one.
        self._sound: dict[Path, bool] = {}

    def run(self, task: str | None, split: str | None, pictures: int | None, seed: int) -> None:
        """Check everything that was asked for.

        Raises:
            RegionkitError: The data set cannot be built, or has no such task or split.
        """
        folder = folder_of(self.part.spec, root_of(self.part))
        held = states(self.part.spec, folder)
        if held and folder is None:
            # One sentence says it: that none of the files is there follows.
            raise DataError(*no_folder(self.part.name))
        self._check_files(held, folder, split)
        dataset = built(self.part)
        for one in counts(self.part, dataset, chosen_of(self.part.spec, dataset, task, split)):
            self._check_count(one, held, asked=task is not None or split is not None)
        if not any(one.error is None and one.samples for one in self.counts) and not self.faults:
            self.faults.append("there is no sample")
        for one in self.counts:
            if one.error is None and one.samples:
                self.faults += self._pictures(dataset, one, pictures, seed)

    def _check_files(self, held: Sequence[FileState], folder: Path | None, split: str | None) -> None:
        for file in missing_of(held, split):
            self.faults.append(f"not here: {where_to_get(file, self.part.spec)}")
        for one in held:
            if not one.file.sha256 or one.found is None or folder is None:
                continue
            if split is not None and split not in (one.file.splits or (split,)):
                continue
            for path in sorted(found_at(folder, one.file.path)):
                self.faults += self._hash(path, one.file.sha256)

    def _hash(self, path: Path, wanted: str) -> list[str]:
        try:
            own = sha256_of(path)
        except OSError as error:
            return [f"{path}: cannot be read: {error.strerror or error}"]
        self._sound[path] = own == wanted
        return [] if own == wanted else [f"{path}: its SHA-256 is {own}, that of the released file is {wanted}"]

    def _check_count(self, one: Count, held: Sequence[FileState], *, asked: bool) -> None:
        release = self.part.spec.release
        if one.error is not None:
            # A file of the user's own need not hold every task, and a release need not be there with all its splits.
            told = not asked and (release is None or lacks(held, one.split))
            if not told and not missing_of(held, one.split):
                hints = "".join(f"\n    {hint}" for hint in one.error.hints)
                self.faults.append(f"{one.label}: {one.error.message}{hints}")
            return
        if not (one.samples or asked or one.expected is not None):
            return
        self.counts.append(one)
        if one.fault:
            self.faults.append(one.fault)
        if one.by_protocol:
            self.notes.append(
                f"{one.label} by protocol: {len(one.by_protocol):,} records, such as {one.by_protocol[0]}"
            )
        own = self._is_released(held, one.split)
        for line in one.left_out:
            # A bad record of the released content is the release's own; pictures are no part of that content.
            fine = self.allow_bad or (own and "is not there" not in line)
            (self.notes if fine else self.faults).append(f"{one.label}: {line}")

    def _is_released(self, held: Sequence[FileState], split: str) -> bool:
        """Say whether all files of a split but its pictures are known to have the released content."""
        files = [one for one in held if one.found and split in (one.file.splits or (split,))]
        paths = [one.found for one in files if not is_wild(one.file.path)]
        return bool(paths) and all(path is not None and self._sound.get(path, False) for path in paths)

    def _pictures(self, dataset: Dataset, count: Count, most: int | None, seed: int) -> Iterator[str]:
        """Yield what is wrong with the pictures of a task and split: each is looked for, some are decoded."""
        first: dict[str, Sample] = {}
        for sample in dataset.samples(count.task, count.split):
            first.setdefault(sample.image_id, sample)
        lost = dict(_missing(dataset, first))
        if lost:
            self.missing[count.label] = list(lost)
            yield f"{count.label}: {_told_missing(lost, len(first))}"
        there = [image_id for image_id in first if image_id not in lost]
        chosen = there
        if most is not None and most < len(there):
            chosen = random.Random(f"{seed} {count.label}").sample(there, most)
        for image_id in chosen:
            try:
                clip = first[image_id].region.kind == "mask-track"
                _ = len(dataset.clip(image_id)) if clip else dataset.image(image_id).size
                self.decoded += 1
            except (RegionkitError, OSError) as error:
                message = error.message if isinstance(error, RegionkitError) else str(error)
                yield f"{count.label}: {_named(image_id, message)}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything in plain values."""
        return {
            "dataset": self.part.name,
            "faults": self.faults,
            "counts": [one.to_dict() for one in self.counts],
            "notes": self.notes,
            "hashed": len(self._sound),
            "pictures": self.decoded,
            "missing_pictures": self.missing,
        }

    def show(self) -> None:
        """Print everything, what is wrong last."""
        if self.counts:
            click.echo(table(self.counts))
            click.echo(f"\n{self.decoded:,} pictures decoded, {len(self._sound):,} files of known content read")
        for line in self.notes:
            click.echo(f"left out of {line}")
        if not self.faults:
            click.echo(
                f"{self.part.name}: as it was released" if self.part.spec.release else f"{self.part.name}: sound"
            )
            return
        click.echo(f"error: {self.part.name}: {len(self.faults):,} fault{'s' * (len(self.faults) > 1)}", err=True)
        for line in self.faults:
            click.echo(f"  {line}", err=True)


def _told_missing(lost: dict[str, str], count: int) -> str:
    """Say which pictures are not there, and of one where it was looked for: of the others it is the same."""
    ids = ", ".join(list(lost)[:_SHOWN])
    more = f", and {len(lost) - _SHOWN:,} more" if len(lost) > _SHOWN else ""
    name, reason = next(iter(lost.items()))
    many = f"{len(lost):,} of {count:,} picture{'s' * (count > 1)}"
    return f"{many} {'is' if len(lost) == 1 else 'are'} not there: {ids}{more}\n    {_named(name, reason)}"


def _named(image_id: str, reason: str) -> str:
    """Say which picture a reason is about, where it does not say so itself."""
    return reason if f"'{image_id}'" in reason else f"picture '{image_id}': {reason}"


def _missing(dataset: Dataset, first: dict[str, Sample]) -> Iterator[tuple[str, str]]:
    """Yield the pictures that are not there, and why; those that are no files are not looked for."""
    for image_id, sample in first.items():
        if sample.region.kind == "mask-track":
            continue
        try:
            path = dataset.picture(image_id)
        except RegionkitError as error:
            yield image_id, error.message
            continue
        if path is not None and not path.is_file():
            yield image_id, f"{path} is not there"
