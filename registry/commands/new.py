"""``toolkit new``: things to start from."""

from __future__ import annotations

from pathlib import Path

import click

#: The kind of component that a new plugin brings unless another one is asked for.
DEFAULT_KIND = "region_encoder"


@click.group()
def new() -> None:
    """Write something to start from, complete and working."""


@new.command("plugin", short_help="A package with one component, its options and tests.")
@click.argument("name")
@click.option(
    "--kind",
    default=DEFAULT_KIND,
    show_default=True,
    help="One of region_encoder, metric, dataset, bridge, decoder, backbone.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder to write.  [default: NAME]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def plugin(name: str, kind: str, out: Path | None, as_json: bool) -> None:
    """Write a plugin called NAME: a distribution of its own with one component, its options, tests and a README.

    It passes its tests and `toolkit check-plugin` as it is; change it from there. Nothing is overwritten.
    """
    from regionkit.registry.scaffold import write_plugin

    written = write_plugin(name, kind, out or Path(name))
    if as_json:
        import json

        record = {"folder": str(written.folder), "files": list(written.files), "next": list(written.next)}
        click.echo(json.dumps(record, indent=2))
        return
    click.echo(f"wrote {len(written.files)} files in {written.folder}:")
    click.echo("".join(f"  {file}\n" for file in written.files))
    click.echo("type next:")
    click.echo("\n".join(f"  {step}" for step in written.next))
