"""``toolkit cache``: what stages of ablations left on disk."""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from regionkit.plugins.ablation.cache.entries import Held
    from regionkit.plugins.ablation.cache.upkeep import Fault, Known


class Stretch(click.ParamType[float]):
    """A stretch of time, ``30d``."""

    name = "30d"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return its seconds."""
        from regionkit.plugins.ablation.cache.sizes import seconds_of

        try:
            return value if isinstance(value, float) else seconds_of(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group()
def cache() -> None:
    """Outputs of stages on disk, which later runs take instead of computing them: list, verify, clear.

    They lie in `stages` in $REGIONKIT_CACHE, or in ~/.cache/regionkit. All three may be used while runs are going on.
    """


@cache.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def list_cache(as_json: bool) -> None:
    """List what is there, by stage and component.

    What else the toolkit keeps in its cache is listed below, with its size.
    """
    from regionkit.core.cache import cache_folder
    from regionkit.plugins.ablation.cache.sizes import human
    from regionkit.plugins.ablation.cache.space import limit_of
    from regionkit.plugins.ablation.cache.upkeep import known, listing, others, stage_folder
    from regionkit.registry.commands.tables import text_table

    folder = stage_folder()
    groups = _groups(known(listing(folder)[0]))
    beside, limit = others(cache_folder()), limit_of(folder)
    entries, size = sum(row["entries"] for row in groups), sum(row["bytes"] for row in groups)
    if as_json:
        kept = [{"name": one.name, "what": one.what, "files": one.files, "bytes": one.size} for one in beside]
        plain = {"folder": str(folder), "limit": limit, "entries": entries, "bytes": size}
        click.echo(json.dumps(plain | {"stages": groups, "others": kept}, indent=2))
        return
    if groups:
        click.echo(text_table(_HEADER, [_cells(row) for row in groups]) + "\n")
    click.echo(f"{folder}: {_counted(entries)}, {human(size)} of at most {human(limit)}")
    if any(row["stage"] == "?" for row in groups):
        click.echo("the beginning of some entries cannot be read; remove what is damaged: toolkit cache verify")
    if beside:
        rows = [(one.name, human(one.size), f"{one.files:,}", one.what or "not known") for one in beside]
        click.echo(f"\nAlso in {cache_folder()}, and left alone by clear:")
        click.echo(text_table(("NAME", "SIZE", "FILES", "WHAT"), rows))


_HEADER = ("STAGE", "COMPONENT", "PRECISION", "ENTRIES", "SIZE", "MADE IN", "LAST USED")


def _groups(entries: Iterable[Known]) -> list[dict[str, Any]]:
    """Return a row for each stage, component and precision, stages in the order in which they run."""
    from regionkit.core.spec import KINDS
    from regionkit.plugins.ablation.cache.upkeep import last_used

    groups: defaultdict[tuple[str, str, str], list[Known]] = defaultdict(list)
    for one in entries:
        groups[one.stage, one.component, one.held.precision].append(one)
    order = {name: at for at, name in enumerate(KINDS)}
    rows = []
    for stage, component, precision in sorted(groups, key=lambda group: (order.get(group[0], len(order)), group)):
        held = groups[stage, component, precision]
        row: dict[str, Any] = {"stage": stage, "component": component, "precision": precision, "entries": len(held)}
        row["bytes"] = sum(one.held.size for one in held)
        row["seconds"] = sum(one.seconds for one in held)
        row["last_used"] = datetime.fromtimestamp(last_used(one.held for one in held), UTC).isoformat("T", "seconds")
        rows.append(row)
    return rows


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    from regionkit.plugins.ablation.cache.sizes import human

    used = datetime.fromisoformat(row["last_used"]).astimezone().strftime("%Y-%m-%d %H:%M")
    names = (row["stage"], row["component"], row["precision"])
    return (*names, f"{row['entries']:,}", human(row["bytes"]), f"{row['seconds']:,.0f} s", used)


@cache.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def verify(as_json: bool) -> None:
    """Read all entries, and remove damaged ones.

    Each is named. Ends with 1 where any was damaged, or could not be read. What is removed is computed again when it
    is needed.
    """
    from regionkit.plugins.ablation.cache.sizes import human
    from regionkit.plugins.ablation.cache.space import clean
    from regionkit.plugins.ablation.cache.upkeep import faults, listing, stage_folder

    folder = stage_folder()
    held, unfinished = listing(folder)
    cleaned = clean(unfinished)
    hidden = as_json or not sys.stderr.isatty()
    with click.progressbar(faults(held), length=len(held), file=sys.stderr, hidden=hidden) as each:
        found = [fault for fault in each if fault is not None]
    size = sum(one.size for one in held)
    if as_json:
        bad = [_fault(one) for one in found]
        plain = {"folder": str(folder), "entries": len(held), "bytes": size, "faults": bad, "unfinished": cleaned}
        click.echo(json.dumps(plain, indent=2))
    else:
        for one in found:
            click.echo(_told(one), err=True)
        if cleaned:
            click.echo(f"{cleaned} unfinished files of processes that have ended were removed")
        sound = "all are whole" if not found else f"{len(found):,} cannot be used"
        click.echo(f"{folder}: {_counted(len(held))}, {human(size)}, read" + (f": {sound}" if held else ""))
    if found:
        raise click.exceptions.Exit(1)


def _fault(one: Fault) -> dict[str, Any]:
    facts = {"key": one.held.key, "file": str(one.held.path), "reason": one.reason}
    return {**facts, "damaged": one.damaged, "removed": one.removed}


def _told(one: Fault) -> str:
    if not one.damaged:
        return f"{one.held.path}: cannot be read: {one.reason}"
    return f"{one.held.path}: damaged ({one.reason})" + ("" if one.removed else ", and cannot be removed")


@cache.command()
@click.option("--stage", metavar="NAME", help="Entries of one stage, such as backbone.")
@click.option("--component", metavar="NAME", help="Entries of one component, such as memory.")
@click.option("--older-than", "age", type=Stretch(), help="Entries that were not used for so long: 12h, 30d, 2w.")
@click.option("--all", "everything", is_flag=True, help="All entries.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
def clear(stage: str | None, component: str | None, age: float | None, everything: bool, yes: bool) -> None:
    """Remove entries.

    Of several choices those go that all of them mean. What goes is shown first, and nothing but entries is touched.
    Runs that are going on lose nothing: what they miss, they compute again.
    """
    chosen = stage is not None or component is not None or age is not None
    if chosen == everything:
        raise click.UsageError(
            "--all means every entry: leave out the other choices"
            if chosen
            else "say what is to be removed: --stage NAME, --component NAME, --older-than 30d, or --all"
        )
    from regionkit.plugins.ablation.cache.sizes import human
    from regionkit.plugins.ablation.cache.space import clean
    from regionkit.plugins.ablation.cache.upkeep import known, listing, stage_folder
    from regionkit.registry.commands.tables import text_table

    folder = stage_folder()
    held, unfinished = listing(folder)
    clean(unfinished)
    entries = list(known(held))
    _check_names(entries, stage, component)
    before = None if age is None else (time.time() - age) * 1e9
    going = [
        one
        for one in entries
        if stage in (None, one.stage)
        and component in (None, one.component)
        and (before is None or one.held.used < before)
    ]
    if not going:
        click.echo(f"{folder}: nothing to remove, of {_counted(len(entries))}")
        return
    size = human(sum(one.held.size for one in going))
    click.echo(text_table(_HEADER, [_cells(row) for row in _groups(going)]) + "\n")
    if yes or _agreed(len(going), size):
        _remove([one.held for one in going], folder)


def _check_names(entries: Sequence[Known], stage: str | None, component: str | None) -> None:
    """Refuse a stage or component that neither an entry nor the toolkit has heard of.

    Raises:
        UnknownName: There is none of that name.
    """
    from regionkit.core.errors import UnknownName, did_you_mean
    from regionkit.core.spec import KINDS
    from regionkit.registry.registry import get_registry

    stages, components = {one.stage for one in entries}, {one.component for one in entries}
    if stage is not None and stage not in stages | set(KINDS):
        raise UnknownName(f"no stage is called '{stage}'", did_you_mean(stage, stages | set(KINDS)), _there(stages))
    if component is None or component in components:
        return
    specs = {spec.name for spec in get_registry().specs()}
    if component not in specs:
        raise UnknownName(
            f"no component is called '{component}'", did_you_mean(component, components | specs), _there(components)
        )


def _there(names: set[str]) -> str:
    return f"the cache has entries of: {', '.join(sorted(names))}" if names else "the cache is empty"


def _agreed(count: int, size: str) -> bool:
    """Ask on a terminal.

    Raises:
        RunFailed: There is none.
    """
    from regionkit.core.errors import RunFailed

    if not _on_a_terminal():
        raise RunFailed(
            f"nothing was removed: {_counted(count)}, {size}, would be, and nobody can be asked", "add --yes"
        )
    return click.confirm(f"remove {_counted(count)}, {size}?", err=True)


def _on_a_terminal() -> bool:
    return sys.stdin.isatty()


def _remove(going: Sequence[Held], folder: Path) -> None:
    """Remove entries and say what has become of them.

    Raises:
        RunFailed: Some cannot be removed.
    """
    from regionkit.core.errors import RunFailed, commonest
    from regionkit.plugins.ablation.cache.sizes import human
    from regionkit.plugins.ablation.cache.upkeep import failed_to_remove

    failed = {held: reason for held in going if (reason := failed_to_remove(held))}
    gone = [held for held in going if held not in failed]
    click.echo(f"{folder}: {_counted(len(gone))}, {human(sum(one.size for one in gone))}, removed")
    if failed:
        raise RunFailed(f"{_counted(len(failed))} could not be removed", *commonest(failed.values()))


def _counted(number: int) -> str:
    return f"{number:,} {'entry' if number == 1 else 'entries'}"
