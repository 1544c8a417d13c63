"""``toolkit weights``: trained weights and what they were trained for."""

from __future__ import annotations

from typing import Any

import click

from regionkit.core.spec import KINDS
from regionkit.registry.commands.tables import text_table
from regionkit.registry.commands.weights_bundle import bundle
from regionkit.registry.commands.weights_convert import convert
from regionkit.registry.commands.weights_pull import pull


@click.group()
def weights() -> None:
    """Trained weights: what is there, fetching released ones, converting them, and bundles of all that a preset needs.

    They are found in the plugins' folders and in $REGIONKIT_WEIGHTS.
    """


weights.add_command(bundle)
weights.add_command(convert)
weights.add_command(pull)


@weights.command("list")
@click.option("--kind", type=click.Choice(list(KINDS)), help="Only weights of one kind.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def list_weights(kind: str | None, as_json: bool) -> None:
    """List all weight files; damaged ones are listed with what is wrong and the recipe that makes them again."""
    from regionkit.registry.weights.bundle_manifest import status_in_bundle
    from regionkit.registry.weights.index import get_index

    index = get_index()
    rows = [weight_row(file.path, file.header, status_in_bundle(file.path) or "ok") for file in index.files]
    rows += [weight_row(file.path, file.header, file.error.message.split(": ", 1)[1]) for file in index.damaged]
    rows = [row for row in rows if kind in (None, row["kind"])]
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("no weights are installed; name a folder with REGIONKIT_WEIGHTS, or train some: toolkit train FILE")
        return
    header = ("NAME", "KIND", "OF", "SPACE", "CORRUPTION", "CORPUS", "MB", "STATUS", "RECIPE")
    keys = ("file", "kind", "name", "space", "corruption", "corpus", "megabytes", "status", "recipe")
    click.echo(text_table(header, [tuple(str(row[key]) for key in keys) for row in rows]))


def weight_row(path: Any, header: Any, status: str) -> dict[str, Any]:
    """Return one row about a weight file; ``header`` is None where not even that could be read."""
    row: dict[str, Any] = {"file": path.stem, "path": str(path), "megabytes": round(path.stat().st_size / 1e6, 2)}
    for key in ("kind", "name", "space", "corruption", "corpus", "recipe", "license"):
        row[key] = getattr(header, key) if header else "?"
    return row | {"status": status}
