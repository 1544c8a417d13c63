"""``toolkit report``."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False), metavar="RUN")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The page's file. [default: RUN/report.html]"
)
@click.option("--pdf", is_flag=True, help="Write the plots as PDF, too.")
@click.option(
    "--samples", type=click.IntRange(0, 500), default=24, show_default=True, help="Samples that the gallery shows."
)
@click.option("--json", "as_json", is_flag=True, help="Print the files as JSON.")
def report(run: Path, out: Path | None, pdf: bool, samples: int, as_json: bool) -> None:
    """Write the report of RUN, the folder of an ablation, from what lies there: one page that needs nothing else.

    `toolkit ablate` writes it by itself when it ends. Of a run that was stopped, or that failed, the page says so.
    Pictures of data sets that the run's file brought as plugins need --allow-local-plugins.
    """
    from regionkit.core.errors import ConfigError
    from regionkit.plugins.report.writing import write_report
    from regionkit.registry.run_folders import load_plugins_of

    try:
        load_plugins_of(run)
    except ConfigError as error:
        click.echo(f"pictures of data that this run's own plugins bring are left out: {error}", err=True)
    page, *others = write_report(run, out=out, pdf=pdf, samples=samples)
    if as_json:
        click.echo(json.dumps({"page": str(page), "files": [str(path) for path in others]}, indent=2))
        return
    click.echo(f"Report: {page}")
    click.echo(f"Plots and tables: {others[0].parent} ({len(others)} files)")
