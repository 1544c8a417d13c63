"""``toolkit check-plugin``: whether a plugin keeps everything that users of it rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from regionkit.registry.commands.tables import text_table

if TYPE_CHECKING:
    from regionkit.registry.checking import Outcome

_SHOWN = {"ok": "ok", "failed": "FAILED", "skipped": "skipped"}


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
    from regionkit.registry.plugin_source import find_source

    if limit <= 0:
        raise RegionkitError(f"--limit: {limit:g} must be more than 0 seconds")
    outcomes = list(check_source(find_source(source), components, limit))
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    else:
        click.echo(_report(outcomes))
    context.exit(1 if any(outcome.status == "failed" for outcome in outcomes) else 0)


def _report(outcomes: list[Outcome]) -> str:
    rows = [(one.component, one.check, _shown(one)) for one in outcomes]
    lines = [text_table(("COMPONENT", "CHECK", "RESULT"), rows)]
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
