"""``toolkit plugins``: every plugin that was found, what it brings, and why one is not used."""

from __future__ import annotations

from typing import Any

import click

from regionkit.core.errors import did_you_mean
from regionkit.registry.commands.tables import text_table
from regionkit.registry.registry import DISABLE_VARIABLE, Registry, get_registry

#: Keys of a row of ``--json``. Scripts rely on them: they may grow, never change.
KEYS = (
    "name", "distribution", "version", "where", "status", "reason", "components", "commands", "seconds", "notes",
)  # fmt: skip


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.option("--strict", is_flag=True, help="End with status 1 where a plugin was skipped.")
@click.pass_context
def plugins(context: click.Context, /, as_json: bool, strict: bool) -> None:
    """List all plugins: who brings them, where they lie, how long they take to load, and why one is not used.

    STATUS is ok, skipped (the reason says why) or disabled. The components of a plugin that is not used are read from
    its source, as far as that tells them.
    """
    registry = get_registry()
    rows = plugin_rows(registry)
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
    else:
        click.echo(_table(rows))
        remarks = _remarks(rows)
        if remarks:
            click.echo("\n".join(["", *remarks]))
    for note in unknown_disabled(registry):
        click.echo(f"note: {note}", err=True)
    context.exit(1 if strict and any(row["status"] == "skipped" for row in rows) else 0)


def plugin_rows(registry: Registry) -> list[dict[str, Any]]:
    """Return one row a plugin: those in use in the order in which they were loaded, then the others."""
    rows = []
    for name, owner in registry.plugins.items():
        loading = registry.loadings[name]
        components = [f"{spec.kind} {spec.name}" for spec in registry.specs() if registry.owner(spec) == owner]
        commands = sorted(command for command in registry.commands if registry.command_owner(command) == owner)
        head = (name, owner.distribution, owner.version, loading.where, "ok", "")
        tail = (components, commands, round(loading.seconds, 3), list(loading.notes))
        rows.append(dict(zip(KEYS, (*head, *tail), strict=True)))
    for plugin in registry.quarantined:
        loading = plugin.loading
        status = "disabled" if plugin.disabled else "skipped"
        head = (plugin.plugin, plugin.distribution, plugin.version, loading.where, status, plugin.reason)
        components = [f"{kind} {name}" for kind, name in plugin.offers]
        tail = (components, [], round(loading.seconds, 3), list(loading.notes))
        rows.append(dict(zip(KEYS, (*head, *tail), strict=True)))
    return rows


def unknown_disabled(registry: Registry) -> list[str]:
    """Return a sentence for each name in REGIONKIT_DISABLE that no plugin has."""
    names = [*registry.plugins, *(plugin.plugin for plugin in registry.quarantined)]
    sentences = []
    for name in registry.unknown_disabled:
        hint = did_you_mean(name, names)
        sentences.append(f"{DISABLE_VARIABLE} names '{name}', and there is no such plugin" + (f"; {hint}" * bool(hint)))
    return sentences


def _table(rows: list[dict[str, Any]]) -> str:
    cells = []
    for row in rows:
        source = " ".join(word for word in (row["distribution"], row["version"]) if word)
        counts = (str(len(row["components"])), str(len(row["commands"])))
        cells.append((row["name"], source, row["status"], *counts, f"{row['seconds']:.3f}", row["where"]))
    return text_table(("PLUGIN", "FROM", "STATUS", "COMPONENTS", "COMMANDS", "SECONDS", "PLACE"), cells)


def _remarks(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line for each reason and note: under the table, where no terminal is too narrow for them."""
    lines = []
    for row in rows:
        was = " was skipped" if row["status"] == "skipped" else ""
        lines += [f"plugin '{row['name']}'{was}: {row['reason']}"] if row["reason"] else []
        lines += [f"plugin '{row['name']}': {note}" for note in row["notes"]]
    return lines
