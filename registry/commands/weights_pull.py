"""``toolkit weights pull``: the weights that a preset or a component needs, fetched or named."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regionkit.core.errors import (
    ConfigError,
    Problem,
    RegionkitError,
    RunFailed,
    UnknownName,
    WeightsError,
    did_you_mean,
)
from regionkit.registry.commands.tables import text_table

if TYPE_CHECKING:
    from regionkit.registry.weights.absent import Absent
    from regionkit.registry.weights.fetching import Need

    #: What is needed, and what of it nobody fetches.
    _Told = tuple[list[Need], list[Absent]]
    #: The same, and how to ask for what shows when that is here.
    _Asked = tuple[list[Need], list[Absent], Callable[[], _Told] | None]

#: What tells one need from another: its part, its role and its source.
_Key = tuple[str, str, str]


@click.command("pull")
@click.argument("what")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Put files here.  [the cache of the hub]")
@click.option("--set", "overrides", multiple=True, metavar="a.b=c", help="Change an option: it may need other files.")
@click.option("--yes", is_flag=True, help="Fetch without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object; fetches only together with --yes.")
def pull(what: str, out: Path | None, overrides: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Fetch released weights.

    WHAT is a preset, a pipeline file, a component, hub://ORG/NAME[@REVISION][/PATH][#sha256=HEX], or file:BUNDLE.zip.

    Sources, licences and sizes are shown first, hashes are checked after. A bundle is unpacked into --out, or into a
    folder of its name among your weights. What cannot be fetched keeps nothing else back. Ends with 1 where something
    is missing.
    """
    from regionkit.core.archives import is_archive
    from regionkit.registry.weights.references import is_reference

    path = Path(what.removeprefix("file:")).expanduser()
    if overrides and (is_archive(path) or is_reference(what)):
        raise click.UsageError("--set changes options of a preset, a pipeline file or a component: leave it out")
    if is_archive(path):
        _unpack(path, out, as_json)
        return
    needs, others, rest = _needs(what, out, overrides)
    words = (what, *(word for text in overrides for word in ("--set", text)))
    typed = what if is_reference(what) else shlex.join(words)
    _pull(typed, needs, others, rest, out, fetches=yes, as_json=as_json)


def _needs(what: str, out: Path | None, overrides: Sequence[str]) -> _Asked:
    """Say what is needed, whatever WHAT is, what of it nobody fetches, and how to ask for what shows later."""
    from regionkit.registry.registry import get_registry
    from regionkit.registry.weights.conversion import find_component, part_of
    from regionkit.registry.weights.fetching import needs_of_component, needs_of_options, needs_of_reference
    from regionkit.registry.weights.references import is_offline, is_reference

    out = None if is_offline() else out  # without a network the cache has to do
    if is_reference(what):
        return needs_of_reference(what, out), [], None
    registry = get_registry()
    if what in registry.presets or what.endswith((".yaml", ".yml")):
        return _needs_of_pipeline(what, out, overrides)
    spec = find_component(what)
    if spec is None:
        raise UnknownName(
            f"'{what}' is neither a preset nor a component",
            did_you_mean(what, [*registry.presets, *(spec.name for spec in registry.specs())]),
            "a repository is written hub://ORG/NAME, a bundle file:X.zip",
            *registry.skipped(),
        )
    if not (spec.checkpoints or spec.option_files):
        raise RegionkitError(
            f"{spec.kind} '{spec.name}' has no released weights that could be fetched",
            f"see what there is: toolkit weights list --kind {spec.kind}" if spec.weights else "it needs none",
        )
    part = part_of(spec, overrides)
    return [*needs_of_component(part, out), *needs_of_options(part, out, offered=True)], [], None


def _needs_of_pipeline(what: str, out: Path | None, overrides: Sequence[str]) -> _Asked:
    """Say the same of a pipeline.

    Raises:
        ConfigError: It has mistakes, such as a folder of weights that is not there.
    """
    from regionkit.registry.document import check_reader, read_pipeline
    from regionkit.registry.plan import read_folder
    from regionkit.registry.weights.absent import as_needed
    from regionkit.registry.weights.pipeline_needs import is_awaited, needs_of_parts, needs_of_repository, repository_of

    document = read_pipeline(what, overrides)
    check_reader(document, "")
    data, wrong = document.data, list[Problem]()
    if not repository_of(data):
        read_folder(data.get("weights"), document.line, wrong)
    if wrong:
        raise ConfigError(wrong)
    whole = needs_of_repository(data, out)
    if is_awaited(data, out):
        return whole, [], partial(_later, data, out)
    needs, others = as_needed(data, needs_of_parts(data, out))
    return [*whole, *needs], others, None


def _later(data: Mapping[str, Any], out: Path | None) -> _Told:
    """Say what the parts of a pipeline need whose own repository has been fetched."""
    from regionkit.registry.weights.absent import as_needed
    from regionkit.registry.weights.pipeline_needs import needs_of_parts

    place = {**data, "weights": f"file:{out}"} if out is not None else data
    return as_needed(place, needs_of_parts(data, out, fetched=True))


def _pull(
    what: str,
    needs: list[Need],
    others: Sequence[Absent],
    rest: Callable[[], _Told] | None,
    out: Path | None,
    *,
    fetches: bool,
    as_json: bool,
) -> None:
    """List what is needed, fetch what can be, and end with 1 where something could not be, or is still missing."""
    from regionkit.registry.weights.references import is_offline

    offline = is_offline()
    turn = _turn(needs, out, offline=offline, fetches=fetches, as_json=as_json)
    if rest is not None and turn.fetched:
        later, others = rest()
        turn = turn.and_then(_turn(later, out, offline=offline, fetches=fetches, as_json=as_json))
    missing = turn.missing
    if as_json:
        told = {
            "what": what,
            "files": turn.records(),
            "others": [*map(str, others)],
            "missing": len(missing) + len(others),
        }
        click.echo(json.dumps(told, indent=2))
        if missing or others:
            raise click.exceptions.Exit(1)
        return
    if turn.failed:
        raise _failed(what, missing, others, turn.failed, out)
    if missing or others:
        raise _incomplete(what, missing, others, out, offline)
    click.echo("everything is here" if not turn.fetched else _use(what, out))


@dataclass
class _Turn:
    """What was needed, and what became of it, by :func:`_key`."""

    needs: list[Need]
    fetched: dict[_Key, Need] = field(default_factory=dict)
    failed: dict[_Key, WeightsError] = field(default_factory=dict)

    @property
    def missing(self) -> list[Need]:
        return [
            need for need in self.needs if need.status in ("to fetch", "by hand") and _key(need) not in self.fetched
        ]

    def and_then(self, other: _Turn) -> _Turn:
        return _Turn([*self.needs, *other.needs], self.fetched | other.fetched, self.failed | other.failed)

    def records(self) -> list[dict[str, Any]]:
        keys = [(need, _key(need)) for need in self.needs]
        return [_record(self.fetched.get(key, need), key in self.fetched, self.failed.get(key)) for need, key in keys]


def _turn(needs: Sequence[Need], out: Path | None, *, offline: bool, fetches: bool, as_json: bool) -> _Turn:
    """List what is needed and fetch what can be; a file that cannot be fetched keeps none of the others back."""
    from regionkit.registry.weights.fetching import fetch

    told, failed = (list(needs), {}) if offline else _with_remote(needs)
    turn = _Turn(told, failed=failed)
    if not as_json:
        click.echo(text_table(("", "PART", "ROLE", "FILE", "SIZE", "LICENCE", "SOURCE"), [_row(need) for need in told]))
    wanted = [need for need in told if need.status == "to fetch" and _key(need) not in failed]
    if not wanted or offline or not (fetches or (not as_json and _agreed(wanted, failed))):
        return turn
    for need in wanted:
        try:
            path = fetch(need, out)
        except WeightsError as error:
            turn.failed[_key(need)] = error
            continue
        turn.fetched[_key(need)] = replace(need, path=path)
        if not as_json:
            click.echo(f"fetched {need.source}: {path}")
    return turn


def _key(need: Need) -> _Key:
    return need.part, need.role, need.source


def _with_remote(needs: Sequence[Need]) -> tuple[list[Need], dict[_Key, WeightsError]]:
    """Ask the hub about each thing that is to be fetched; what it gives no answer to stays as it is, with why."""
    from regionkit.registry.weights.fetching import with_remote

    told, failed = [], {}
    for need in needs:
        try:
            told.append(with_remote(need) if need.status == "to fetch" else need)
        except WeightsError as error:
            told.append(need)
            failed[_key(need)] = error
    return told, failed


def _failed(
    what: str,
    missing: Sequence[Need],
    absent: Sequence[Absent],
    failed: Mapping[_Key, WeightsError],
    out: Path | None,
) -> RunFailed:
    """Say all that could not be fetched and why, each hint once, and what is missing beside it."""
    errors = _once(failed.values())
    rest = [need for need in missing if _key(need) not in failed]
    if len(errors) == 1 and not rest and not absent:
        return RunFailed(errors[0].message, *errors[0].hints)
    things = "1 thing" if len(failed) == 1 else f"{len(failed)} things"
    others = _incomplete(what, rest, absent, out, offline=False) if rest or absent else None
    return RunFailed(
        f"{things} could not be fetched{f', and {others.message}' if others else ''}",
        *(error.message for error in errors),
        *dict.fromkeys(hint for error in errors for hint in error.hints),
        *(others.hints if others else ()),
    )


def _once(errors: Iterable[WeightsError]) -> list[WeightsError]:
    """Return errors of different messages: several roles may lie in one repository."""
    return list({error.message: error for error in errors}.values())


def _agreed(wanted: Sequence[Need], failed: Mapping[_Key, WeightsError]) -> bool:
    size = sum(need.size for need in wanted) / 1e6
    count = sum(len(need.remote) for need in wanted)
    if not sys.stdin.isatty():
        raise RunFailed(
            f"nothing was fetched: {count} files, {size:.1f} MB, are to be, and nobody can be asked",
            "add --yes",
            *(error.message for error in _once(failed.values())),
        )
    return click.confirm(f"fetch {count} files, {size:.1f} MB?", err=True)


def _incomplete(
    what: str, missing: Sequence[Need], others: Sequence[Absent], out: Path | None, offline: bool
) -> RunFailed:
    """Say what is still missing and how it is had."""
    from regionkit.registry.weights.fetching import by_hand
    from regionkit.registry.weights.folders import default_folder

    folder = out or default_folder()
    hands = list(by_hand([need for need in missing if not need.from_hub], folder))
    hub = [need for need in missing if need.from_hub]
    count = len(missing) + len(others)
    things = "1 thing is" if count == 1 else f"{count} things are"
    lines = [f"{need.part}, {need.role}: {need.source}" for need in hub]
    if hub and offline:
        place = shlex.quote(str(folder))
        lines.append(f"where there is a network: toolkit weights pull {what} --yes --out {place}, and bring the folder")
    elif hub:
        lines.append(f"fetch it with: toolkit weights pull {what} --yes")
    if hands:
        hands.append(f"then use it with --weights file:{folder}, or: export REGIONKIT_WEIGHTS={folder.resolve()}")
    made = list(map(str, others))
    if any(one.made.startswith("toolkit train") for one in others):
        made.append(f"which recipe that is: toolkit run {what} --dry-run")
    return RunFailed(
        f"{things} missing{', and --offline fetches nothing' if offline and hub else ''}",
        *lines,
        *hands,
        *made,
    )


def _use(what: str, out: Path | None) -> str:
    from regionkit.registry.weights.folders import is_searched
    from regionkit.registry.weights.references import is_reference

    if out is None and is_reference(what):
        return f"use the weights with --weights {what}"
    if out is None or is_searched(out):
        return "pipelines find the weights by themselves"
    place = shlex.quote(str(out))
    return (
        f"use the weights with --weights file:{place}, or: export REGIONKIT_WEIGHTS={shlex.quote(str(out.resolve()))}"
    )


def _row(need: Need) -> tuple[str, ...]:
    size = f"{need.size / 1e6:.1f} MB" if need.size else need.told or "not known"
    return need.status, need.part, need.role, _file(need), size, need.license or "?", need.source or "this installation"


def _file(need: Need) -> str:
    if need.path is not None:
        # A repository in the cache is a folder named after a commit.
        return need.source.rpartition("/")[2] if need.path.is_dir() and need.from_hub else need.path.name
    if len(need.remote) > 1:
        return f"{need.remote[0].name} and {len(need.remote) - 1} more"
    return need.remote[0].name if need.remote else " or ".join(need.names) or "?"


def _record(need: Need, fetched: bool, error: WeightsError | None) -> dict[str, Any]:
    return {
        "part": need.part,
        "role": need.role,
        "status": "fetched" if fetched else need.status,
        "file": _file(need),
        "path": str(need.path) if need.path else None,
        "source": need.source,
        "license": need.license,
        "bytes": need.size,
        "size": need.told,
        "sha256": need.sha256 or (need.remote[0].sha256 if len(need.remote) == 1 else ""),
        "error": error.message if error is not None else "",
    }


def _unpack(archive: Path, out: Path | None, as_json: bool) -> None:
    """Unpack a bundle, check it, and say how it is used."""
    from regionkit.core.archives import ENDINGS
    from regionkit.registry.weights.bundle_manifest import MANIFEST, PIPELINE
    from regionkit.registry.weights.bundles import unpack_bundle
    from regionkit.registry.weights.folders import default_folder, is_searched
    from regionkit.registry.weights.index import get_index

    ending = next(ending for ending in ENDINGS if archive.name.lower().endswith(ending))
    folder = out or default_folder() / archive.name[: -len(ending)]
    entries = unpack_bundle(archive, folder)
    get_index.cache_clear()
    if as_json:
        rows = [{"file": entry.file, "sha256": entry.sha256, "license": entry.license} for entry in entries]
        click.echo(json.dumps({"bundle": str(folder), "files": rows, "checked": bool(entries)}, indent=2))
        return
    checked = (
        f"{len(entries)} files have the hashes of {MANIFEST}" if entries else f"no {MANIFEST}, so no hash was checked"
    )
    click.echo(f"unpacked {folder}: {checked}")
    for entry in entries:
        click.echo(f"  {entry.file}: {entry.kind} '{entry.name}', {entry.bytes / 1e6:.1f} MB, licence {entry.license}")
    place = shlex.quote(str(folder))
    if (folder / PIPELINE).is_file():
        click.echo(f"use it with: toolkit caption PICTURE --preset {place}/{PIPELINE}")
    elif not is_searched(folder):
        click.echo(f"use it with --weights file:{place}")
