"""``toolkit check-plugin``: whether a plugin keeps everything that users of it rely on."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from regionkit.registry.checking import Outcome

_SHOWN = {"ok": "ok", "failed": "FAILED", "skipped": "skipped"}
#: Widths of the columns COMPONENT and CHECK: rows are printed as they come, before the longest one is known.
_WIDTHS = (28, 28)


@click.command()
@click.argument("source", metavar="DIST|PATH")
@click.option("--component", "components", multiple=True, metavar="NAME", help="Check this component only; repeatable.")
@click.option("--limit", default=60.0, show_default=True, metavar="SECONDS", help="Longest that a check may take.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one entry a check.")
@click.pass_context
def check_plugin(
    context: click.Context, /, source: str, components: tuple[str, ...], limit: float, as_json: bool
) -> None:
    """Check a plugin: what its import does, what its specs say, and every component by the conformance kit.

    DIST is the name of a plugin or of an installed distribution. PATH is the folder of a project with a
    pyproject.toml, the folder of a package, or a single .py file; it need not be installed. Its code is run, in
    processes of its own, and nothing is downloaded. Ends with status 1 where a check fails.
    """
    from regionkit.core.errors import RegionkitError
    from regionkit.registry.checking import check_source
    from regionkit.registry.discovery.plugin_source import find_source

    if limit <= 0:
        raise RegionkitError(f"--limit: {limit:g} must be more than 0 seconds")
    outcomes: list[Outcome] = []
    try:
        for outcome in check_source(find_source(source), components, limit):
            if not as_json:
                if not outcomes:
                    click.echo(_row("COMPONENT", "CHECK", "RESULT"))
                click.echo(_row(outcome.component, outcome.check, _shown(outcome)))
            outcomes.append(outcome)
    except KeyboardInterrupt:
        if outcomes and not as_json:
            click.echo(_summary(outcomes))
        raise
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    else:
        click.echo(_summary(outcomes))
    context.exit(1 if any(outcome.status == "failed" for outcome in outcomes) else 0)


def _row(component: str, check: str, result: str) -> str:
    """Return a row of the table; on a terminal it is cut to its width."""
    line = f"{component:<{_WIDTHS[0]}}  {check:<{_WIDTHS[1]}}  {result}"
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    return line if not limit or len(line) <= limit else f"{line[: limit - 1]}…"


def _summary(outcomes: list[Outcome]) -> str:
    """Return what is broken, in full, and how many checks ended how."""
    lines: list[str] = []
    failed = [one for one in outcomes if one.status == "failed"]
    for one in failed:
        lines += ["", f"FAILED {one.component}, {one.check}", f"  {one.message}"]
        lines += [f"  demanded: {one.demands}"] if one.demands else []
    counts = [sum(one.status == status for one in outcomes) for status in _SHOWN]
    lines += ["", f"{counts[0]} ok, {counts[1]} failed, {counts[2]} skipped"]
    return "\n".join(lines)


def _shown(outcome: Outcome) -> str:
    message = outcome.message.splitlines()[0] if outcome.message else ""
    return f"{_SHOWN[outcome.status]}: {message}" if message else _SHOWN[outcome.status]
