"""``toolkit validate``: every mistake of every file, and nothing else."""

from __future__ import annotations

import click

from regionkit.core.errors import ConfigError, Problem


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--set", "overrides", multiple=True, metavar="a.b=c", help="Change an option before checking.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of mistakes.")
def validate(files: tuple[str, ...], overrides: tuple[str, ...], as_json: bool) -> None:
    """Check pipelines, ablations and recipes. Ends with 2 where there is a mistake in any of them."""
    from regionkit.registry.validation import check_file

    problems: list[Problem] = []
    for file in files:
        report = check_file(file, overrides)
        problems += report.problems
        if report.summary and not as_json:
            click.echo(f"{file}: a good {report.summary}")
            for note in report.notes:
                click.echo(f"  note: {note}")
    if as_json:
        import json

        rows = [{"where": p.where, "path": p.path, "message": p.message, "hints": list(p.hints)} for p in problems]
        click.echo(json.dumps(rows, indent=2))
        if problems:
            raise click.exceptions.Exit(2)
    elif problems:
        raise ConfigError(problems)
