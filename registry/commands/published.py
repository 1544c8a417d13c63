"""``toolkit published``: tables that papers print, the preset of each row, and what it waits for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from regionkit.registry.published.status import Status, Statuses
    from regionkit.registry.published.tables import Row, Table, Value


@click.command()
@click.option("--table", "number", metavar="N", help="This table alone, with its numbers.")
@click.option("--paper", metavar="KEY", help="Tables of this paper alone.")
@click.option("--preset", metavar="NAME", help="Rows of this preset alone.")
@click.option(
    "--format", "form", type=click.Choice(["text", "md", "json"]), default="text", show_default=True,
    help="A table of text, one of Markdown, or JSON with all numbers.",
)  # fmt: skip
def published(number: str | None, paper: str | None, preset: str | None, form: str) -> None:
    """List the rows of tables that papers print: which preset each is, and whether it could be run here.

    A row `runs here`, or `awaits weights`, `data` or both, or is `not ours`: no pipeline of the toolkit.
    """
    from regionkit.core.errors import ConfigError
    from regionkit.registry.published.status import Statuses
    from regionkit.registry.published.tables import read_tables

    tables, problems = read_tables()
    if problems:
        raise ConfigError(problems)
    chosen = _chosen(tables, number, paper, preset)
    statuses = Statuses()
    if form == "json":
        click.echo(json.dumps([_table_json(table, rows, statuses) for table, rows in chosen], indent=2))
    elif form == "md":
        click.echo(markdown(chosen, statuses))
    else:
        click.echo(_text(chosen, statuses, numbers=number is not None or preset is not None))


def _chosen(
    tables: Sequence[Table], number: str | None, paper: str | None, preset: str | None
) -> list[tuple[Table, list[Row]]]:
    """Return the rows that were asked for.

    Raises:
        UnknownName: There are none.
    """
    from regionkit.core.errors import UnknownName, did_you_mean

    found = []
    for table in tables:
        if number in (None, table.number) and paper in (None, table.paper):
            rows = [row for row in table.rows if preset is None or row.of(preset)]
            found += [(table, rows)] if rows else []
    if found:
        return found
    papers = list(dict.fromkeys(table.paper for table in tables))
    if paper is not None and paper not in papers:
        known = f"papers with tables are: {', '.join(papers)}" if papers else "no plugin brings tables of a paper"
        raise UnknownName(f"no tables of a paper '{paper}'", did_you_mean(paper, papers), known)
    if preset is not None:
        presets = {name for table in tables for row in table.rows for name in row.presets.values()}
        raise UnknownName(f"no published row is of preset '{preset}'", did_you_mean(preset, presets))
    if number is None:
        raise UnknownName("no plugin brings tables of a paper")
    numbers = ", ".join(dict.fromkeys(table.number for table in tables if paper in (None, table.paper)))
    raise UnknownName(f"no table {number}", f"tables are: {numbers}")


def markdown(chosen: Iterable[tuple[Table, list[Row]]], statuses: Statuses) -> str:
    """Return the rows as one table of Markdown, without their numbers."""
    from regionkit.registry.commands.tables import markdown_table

    rows = []
    for table, held in chosen:
        for row in held:
            presets = ", ".join(f"`{name}`" for name in dict.fromkeys(row.presets.values())) or "-"
            trained = ", ".join(f"`{recipe}`" for recipe in row.train)
            rows.append([table.number, _named(row), presets, _status(statuses.of(row)), trained or "-"])
    return markdown_table(["table", "row", "preset", "status", "recipe"], rows, aligned=False)


def _status(status: Status) -> str:
    return f"{status.word}: {status.reason}" if status.reason else status.word


def _named(row: Row) -> str:
    return f"{row.label} ({row.setting})" if row.setting else row.label


def _text(chosen: Iterable[tuple[Table, list[Row]]], statuses: Statuses, *, numbers: bool) -> str:
    from regionkit.registry.commands.tables import text_table

    blocks = []
    for table, rows in chosen:
        cells = []
        for row in rows:
            status = statuses.of(row)
            cells.append((_named(row), status.word, status.reason or ", ".join(dict.fromkeys(row.presets.values()))))
        lines = [f"{table.paper}, table {table.number}: {table.title}"]
        lines += [f"  {line}" for line in text_table(("ROW", "STATUS", "PRESET, OR WHY NOT"), cells).splitlines()]
        if numbers:
            for row in rows:
                lines += ["", f"  {_named(row)}", *(f"    {line}" for line in _numbers(row.values))]
                lines += [f"    note: {row.note}"] if row.note else []
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _numbers(values: Iterable[Value]) -> list[str]:
    """Return one line a data set: ``trace@trace-captions/test(source=coco): cider-d 27.9, ref-pac-s 78.7``."""
    lines: dict[str, list[str]] = {}
    for value in values:
        lines.setdefault(str(value.data), []).append(f"{_metric(value)} {value.printed}")
    return [f"{data}: {', '.join(words)}" for data, words in lines.items()]


def _metric(value: Value) -> str:
    options = value.metric.options
    told = ", ".join(f"{key}={option}" for key, option in options.items())
    return f"{value.metric.column}({told})" if told else value.metric.column


def row_lines(rows: Sequence[Row], preset: str, keep: Callable[[Value], bool] | None = None) -> list[str]:
    """Return the published rows of a preset with its numbers.

    Args:
        rows: The rows.
        preset: Which of their numbers: those that this preset makes.
        keep: Which of these; None for all.
    """
    lines = []
    for row in rows:
        values = [value for value in row.of(preset) if keep is None or keep(value)]
        if not values:
            continue
        lines.append(f"published: {row.paper}, {row.place}")
        lines += [f"  {line}" for line in _numbers(values)]
        lines += [f"  note: {row.note}"] if row.note else []
    return lines


def rows_json(rows: Iterable[Row], preset: str = "") -> list[dict[str, Any]]:
    """Return rows in plain values, with all numbers or those of one preset."""
    return [
        {
            "paper": row.paper,
            "table": row.table,
            "row": row.label,
            "group": row.group,
            "setting": row.setting,
            "preset": dict(row.presets),
            "why": row.why,
            "train": list(row.train),
            "note": row.note,
            "values": [
                {
                    "data": {
                        "task": value.data.task, "name": value.data.name, "split": value.data.split,
                        **value.data.options,
                    },
                    "metric": {"name": value.metric.name, **value.metric.options},
                    "column": value.metric.column,
                    "scale": value.metric.scale,
                    "printed": value.printed,
                }
                for value in (row.of(preset) if preset else row.values)
            ],
        }
        for row in rows
    ]  # fmt: skip


def _table_json(table: Table, rows: Sequence[Row], statuses: Statuses) -> dict[str, Any]:
    told = [
        {**plain, "status": (status := statuses.of(row)).word, "reason": status.reason}
        for row, plain in zip(rows, rows_json(rows), strict=True)
    ]
    return {"paper": table.paper, "table": table.number, "title": table.title, "rows": told}
