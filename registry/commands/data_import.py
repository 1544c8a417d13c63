"""``toolkit data import``: files that were downloaded, put where their reader looks, and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regionkit.core.errors import DataError, RunFailed
from regionkit.core.spec import DataFile
from regionkit.registry.commands.data_counts import Count, chosen_of, counts, table
from regionkit.registry.commands.data_files import missing_of, need_folder, states, where_to_get
from regionkit.registry.commands.data_options import built, data_part, root_of, set_option
from regionkit.registry.commands.data_placing import Placed, Placing, remedy
from regionkit.registry.commands.data_sources import handed_over, unopened

if TYPE_CHECKING:
    from regionkit.registry.schema import Part

#: Bad records of a task and split that are shown.
_SHOWN = 5


@click.command("import")
@click.argument("name")
@click.option(
    "--from",
    "sources",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A folder, file or archive that you downloaded; may be given several times.",
)
@click.option("--copy", is_flag=True, help="Copy files instead of linking to them.")
@click.option("--force", is_flag=True, help="Replace other files that are in the way.")
@click.option("--task", help="Count this task alone.")
@click.option("--split", help="Count this split alone.")
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_data(
    name: str,
    sources: tuple[Path, ...],
    copy: bool,
    force: bool,
    task: str | None,
    split: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Put the files of data set NAME where its reader looks, then read all that is there once and count it.

    Files are found by the names under which their authors release them. What is missing is told with where to get it.
    A command that was interrupted is started again. Ends with 1 where nothing can be read.
    """
    part = data_part(name, overrides)
    _check_use(part, sources, overrides)
    files = part.spec.release.files if part.spec.release else ()
    done: list[Placed] = []
    folder = need_folder(part.spec, root_of(part)) if files else None
    if folder is not None and sources:
        done = _place(part, folder, sources, Placing(folder, files, copy=copy, force=force))
    missing = missing_of(states(part.spec, folder))
    found = _counted(part, folder, task, split)
    used = [one for one in found if one.error is None]
    if as_json:
        click.echo(json.dumps(_as_json(part, folder, done, missing, found), indent=2))
    else:
        _show(part, folder, done, missing, found)
    if not used:
        raise click.exceptions.Exit(1)


def _check_use(part: Part, sources: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
    """Refuse files for a data set that does not say what its files are called.

    Raises:
        DataError: It does not.
    """
    files = part.spec.release.files if part.spec.release else ()
    if sources and not files:
        raise DataError(
            f"data set '{part.name}' has no files of a release: its options say what it reads",
            f"leave --from out, and name them with --set; see: toolkit show {part.name}",
        )
    if not (files or sources or overrides):
        raise DataError(
            f"data set '{part.name}' needs no files: there is nothing to import", f"see: toolkit show {part.name}"
        )


def _place(part: Part, folder: Path, sources: tuple[Path, ...], placing: Placing) -> list[Placed]:
    """Put files in their places, and clear away what archives held beside them.

    Raises:
        DataError: A path is not there, or none holds a file of the release.
    """
    release = part.spec.release
    assert release is not None
    try:
        done = placing.place(handed_over(sources, release.files, folder))
    except OSError as error:
        raise RunFailed(f"{error.filename or folder}: {error.strerror or error}", remedy(error)) from None
    if not done and missing_of(states(part.spec, folder)):
        called = ", ".join(dict.fromkeys(one.path for one in release.files))
        raise DataError(
            f"no file of '{part.name}' is in {', '.join(map(str, sources))}",
            unopened(sources),
            f"its files are called: {called}",
            f"where to get them: toolkit data list {part.name}",
        )
    return done


def _counted(part: Part, folder: Path | None, task: str | None, split: str | None) -> list[Count]:
    """Count all tasks and splits, but for those that the files say nothing of.

    Raises:
        RegionkitError: The data set cannot be built.
    """
    dataset = built(part)
    held = states(part.spec, folder)
    found, untold = [], []
    for one in counts(part, dataset, chosen_of(part.spec, dataset, task, split)):
        asked = task is not None or split is not None or one.expected is not None
        if one.error is not None and split is None and missing_of(held, one.split):
            untold.append(one)  # what is missing is told once, by its file
            continue
        if one.error is not None or one.samples or asked:
            found.append(one)
    used = [one for one in found if one.error is None]
    if used and not part.spec.release:  # a file of the user's own need not hold every task
        return used
    return found if used else [*found, *untold]  # where nothing can be read, every reason counts


def _as_json(
    part: Part, folder: Path | None, done: list[Placed], missing: list[DataFile], found: list[Count]
) -> dict[str, Any]:
    return {
        "dataset": part.name,
        "folder": str(folder or ""),
        "files": [
            {"path": one.file.path, "how": one.how, "from": str(one.source), "to": str(one.target), "count": one.count}
            for one in done
        ],
        "missing": [
            {"path": one.path, "source": one.source, "splits": list(one.splits), "archive": one.archive}
            for one in missing
        ],
        "counts": [one.to_dict() for one in found if one.error is None],
        "errors": [{"task": one.task, "split": one.split, "error": str(one.error)} for one in found if one.error],
    }


def _show(part: Part, folder: Path | None, done: list[Placed], missing: list[DataFile], found: list[Count]) -> None:
    if folder is not None:
        click.echo(f"{part.name}: {folder}")
    for one in done:
        click.echo(f"  {one}")
    if missing:
        click.echo("not here:")
        for file in missing:
            click.echo(f"  {where_to_get(file, part.spec)}")
    used = [one for one in found if one.error is None]
    if used:
        click.echo(("\n" if folder is not None else "") + table(used))
    for count in used:
        show_left_out(part, count)
    faults = [count.fault for count in used if count.fault]
    if faults:
        click.echo("not as released:")
        for line in faults:
            click.echo(f"  {line}")
    _show_errors([count for count in found if count.error is not None])
    if not used:
        click.echo(f"error: nothing of '{part.name}' can be read yet", err=True)
        if folder is not None and missing:
            click.echo(f"  hand over what is missing with: toolkit data import {part.name} --from PATH", err=True)


def _show_errors(failed: list[Count]) -> None:
    """Print why tasks and splits cannot be read; what several have in common is said once."""
    labels: dict[str, list[str]] = {}
    hints: dict[str, None] = {}
    for count in failed:
        assert count.error is not None
        labels.setdefault(count.error.message, []).append(count.label)
        hints |= dict.fromkeys(hint for hint in count.error.hints if hint)
    if labels:
        click.echo("cannot be read:")
    for text, several in labels.items():
        click.echo(f"  {', '.join(several)}: {text}")
    for hint in hints:
        click.echo(f"    {hint}")


def show_left_out(part: Part, count: Count) -> None:
    """Print the first records that cannot be used."""
    if not count.left_out:
        return
    click.echo(f"left out of {count.label}:")
    for line in count.left_out[:_SHOWN]:
        click.echo(f"  {line}")
    more = len(count.left_out) - _SHOWN
    if more > 0:
        given = "".join(f" --set {key}={getattr(part.config, key)}" for key in sorted(part.given))
        which = f"--task {count.task} --split {count.split}{given}"
        click.echo(f"  and {more:,} more, all with: toolkit data verify {part.name} {which}")
