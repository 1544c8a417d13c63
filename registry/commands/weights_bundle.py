"""``toolkit weights bundle``: a pipeline with all its weights in one folder."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click


@click.command("bundle")
@click.argument("source")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="DIR|X.zip", help="A new folder, or a zip file."
)
@click.option("--weights", metavar="REF", help="The folder that holds the weights of all parts: file:DIR, hub://...")
@click.option("--set", "overrides", multiple=True, metavar="a.b=c", help="Change an option of the pipeline.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object about the bundle.")
def bundle(source: str, out: Path, weights: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Gather all weights that a pipeline uses, so that it runs offline on another machine.

    SOURCE is a preset or a pipeline file. Official files are converted into ours; weights.json lists every file with
    its hash, licence and source, and pipeline.yaml is the pipeline, whose weights lie beside it.
    """
    from regionkit.registry.document import check_reader, read_pipeline
    from regionkit.registry.weights.absent import plan_or_tell
    from regionkit.registry.weights.bundle_manifest import PIPELINE
    from regionkit.registry.weights.bundles import make_bundle

    document = read_pipeline(source, [*overrides, *([f"weights={weights}"] if weights else [])])
    check_reader(document, "")
    plan = plan_or_tell(document, source)
    entries = make_bundle(document.data, plan, out, document.name)
    if as_json:
        rows = [{"file": entry.file, "sha256": entry.sha256, "license": entry.license} for entry in entries]
        click.echo(json.dumps({"bundle": str(out), "files": rows}, indent=2))
        return
    for entry in entries:
        click.echo(f"{entry.file}: {entry.bytes / 1e6:.1f} MB, licence {entry.license}, from {entry.source}")
    total = sum(entry.bytes for entry in entries)
    click.echo(f"wrote {out}: {len(entries)} weight {'file' if len(entries) == 1 else 'files'}, {total / 1e6:.1f} MB")
    for option, value in _left_out(document.data):
        click.echo(f"{option}: {value} is not in the bundle: take it along, and put it where the pipeline is run")
    place = shlex.quote(str(out))
    if out.suffix == ".zip":
        click.echo(f"on the other machine: toolkit weights pull file:{place} --out DIR")
        place = "DIR"
    click.echo(f"use it with: toolkit caption PICTURE --preset {place}/{PIPELINE}")


def _left_out(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the options of a pipeline that name other files than weights and banks: a bundle holds none of these."""
    from regionkit.core.spec import PARTS

    for kind in PARTS:
        part = data.get(kind)
        for option, value in part.items() if isinstance(part, Mapping) else ():
            if option not in ("weights", "bank") and isinstance(value, str) and value.startswith("file:"):
                yield f"{kind}.{option}", value
