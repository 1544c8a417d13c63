"""``toolkit list-components``: everything that is installed, at once and without torch; presets where asked."""

from __future__ import annotations

import click

from regionkit.core.errors import ConfigError, UnknownName, did_you_mean
from regionkit.core.spec import KINDS, ComponentSpec
from regionkit.registry.commands.tables import markdown_table, text_table
from regionkit.registry.packages import missing_package
from regionkit.registry.registry import Registry, get_registry

#: The word for presets, which have names of their own and are no components.
PRESET = "preset"
#: Keys of a row of ``--json``. Scripts rely on them: they may grow, never change.
KEYS = ("kind", "name", "plugin", "distribution", "version", "summary", "license", "status", "reason")


@click.command("list-components")
@click.option("--kind", metavar="KIND", help=f"Only one kind: {', '.join(KINDS)}; or {PRESET}.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.option("--format", "style", type=click.Choice(["table", "md"]), default="table", show_default=True)
def list_components(kind: str | None, as_json: bool, style: str) -> None:
    """List all components, and the plugins that were skipped with the reason. Presets have a list of their own.

    STATUS is ok, missing-package (the reason says what to install), unreadable (a preset), quarantined or disabled.
    """
    kinds = (*KINDS, PRESET)
    if kind is not None and kind not in kinds:
        raise UnknownName(
            f"no kind of component named '{kind}'", did_you_mean(kind, kinds) or f"kinds are: {', '.join(kinds)}"
        )
    registry = get_registry()
    listed = preset_rows(registry) if kind == PRESET else component_rows(registry, kind)
    rows = listed + plugin_rows(registry)
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
    elif style == "md":
        shown = [row for row in rows if row["kind"] != "plugin"]
        cells = [(row["kind"], f"`{row['name']}`", row["plugin"], row["summary"], row["license"]) for row in shown]
        click.echo(markdown_table(("kind", "name", "plugin", "what it is", "license"), cells, aligned=False))
    else:
        click.echo(_table(rows))


def component_rows(registry: Registry, kind: str | None) -> list[dict[str, str]]:
    """Return one row a component."""
    return [_component_row(registry, spec) for spec in registry.specs(kind)]


def _component_row(registry: Registry, spec: ComponentSpec) -> dict[str, str]:
    owner = registry.owner(spec)
    package = missing_package(spec)
    how = f"pip install 'regionkit[{spec.extra}]'" if spec.extra else f"pip install {package}"
    values = (spec.kind, spec.name, owner.plugin, owner.distribution, owner.version, spec.summary, spec.license)
    status = ("missing-package", f"needs the package '{package}': {how}") if package else ("ok", "")
    return dict(zip(KEYS, (*values, *status), strict=True))


def preset_rows(registry: Registry) -> list[dict[str, str]]:
    """Return one row a preset; its licences are those of its parts and weights."""
    return [_preset_row(registry, name) for name in sorted(registry.presets)]


def _preset_row(registry: Registry, name: str) -> dict[str, str]:
    from regionkit.registry.yaml_text import read_text, read_yaml

    owner, path = registry.preset_owner(name), registry.presets[name]
    summary, status = "", ("ok", "")
    try:
        summary = str(read_yaml(read_text(path), str(path))[0].get("summary", ""))
    except ConfigError as error:
        status = ("unreadable", "; ".join(map(str, error.problems)))
    return dict(
        zip(KEYS, (PRESET, name, owner.plugin, owner.distribution, owner.version, summary, "", *status), strict=True)
    )


def plugin_rows(registry: Registry) -> list[dict[str, str]]:
    """Return one row a plugin that is not used."""
    return [
        dict(
            zip(
                KEYS,
                (
                    "plugin", plugin.plugin, plugin.plugin, plugin.distribution, plugin.version, "", "",
                    "disabled" if plugin.disabled else "quarantined", plugin.reason,
                ),
                strict=True,
            )
        )
        for plugin in registry.quarantined
    ]  # fmt: skip


def _table(rows: list[dict[str, str]]) -> str:
    cells = []
    for row in rows:
        source = f"{row['plugin']} ({row['distribution']} {row['version']})" if row["distribution"] else row["plugin"]
        note = f"{row['status']}: {row['reason']}" if row["status"] != "ok" else row["summary"]
        cells.append((row["kind"], row["name"], source, note))
    return text_table(("KIND", "NAME", "PLUGIN", "SUMMARY"), cells)
