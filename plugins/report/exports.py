"""The tables as files that go into a paper, a message, or another program: LaTeX, Markdown, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from regionkit.plugins.report.cells import Cell, Line
from regionkit.plugins.report.evidence import Evidence
from regionkit.plugins.report.words import interval, number, p_value
from regionkit.registry.commands.tables import markdown_table

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "–": "--",
    "·": r"$\cdot$",
    "→": r"$\rightarrow$",
}
_TABLE = str.maketrans(_LATEX)


def latex(text: str) -> str:
    """Return a text on one line with everything that means something to LaTeX escaped."""
    return " ".join(text.split()).translate(_TABLE)


def results_latex(found: Evidence, lines: Sequence[Line]) -> str:
    """Return a table a data set, for the packages booktabs and, where fonts lack a quotation mark, fontenc with T1."""
    head = [latex(axis) for axis in found.axes] + [latex(name) for name in found.columns]
    layout = "l" * len(found.axes) + "r" * len(found.columns)
    parts = [
        f"% {_comment(found['name'] or 'ablation')}: best in bold, second best underlined, 95 % intervals in brackets.",
        r"% \usepackage{booktabs}",
    ]
    for data in found.data:
        rows = [line for line in lines if line.data == data]
        parts += [f"% {_comment(data)}", rf"\begin{{tabular}}{{{layout}}}", r"\toprule", _row(head), r"\midrule"]
        parts += [_row([*map(latex, line.labels), *map(_latex_cell, line.cells)]) for line in rows]
        parts += [r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join(parts)


def claims_latex(found: Evidence) -> str:
    """Return the claims as a table for the package booktabs."""
    head = ["claim", "on", "by", "difference", "95 % interval", "d", "p", "p corrected", "verdict"]
    parts = [f"% {_comment(found['correction']['sentence'])}", r"% \usepackage{booktabs}"]
    parts += [r"\begin{tabular}{lllrrrrrl}", r"\toprule", _row(map(latex, head)), r"\midrule"]
    parts += [_row(map(latex, _claim(claim))) for claim in found["claims"]]
    return "\n".join([*parts, r"\bottomrule", r"\end{tabular}", ""])


def _claim(claim: Mapping[str, Any]) -> list[str]:
    numbers = [
        number(claim["difference"], sign=True),
        interval(claim["low"], claim["high"], sign=True),
        "" if claim["effect"] is None else number(claim["effect"], 2, sign=True),
        p_value(claim["p"]),
        p_value(claim["p_corrected"]),
    ]
    return [claim_text(claim), claim["on"], claim["by"], *numbers, verdict_text(claim)]


def claim_text(claim: Mapping[str, Any]) -> str:
    """Return what is claimed, with its tolerance, and for which pipelines."""
    where = where_text(claim)
    said = f"{claim['say']} (within {claim['within']:g})" if claim["within"] else str(claim["say"])
    return f"{said}, where {where}" if where else said


def where_text(claim: Mapping[str, Any]) -> str:
    """Return for which pipelines a claim is made; empty for all."""
    return ", ".join(f"{axis}={'|'.join(values)}" for axis, values in claim["where"].items())


def verdict_text(claim: Mapping[str, Any]) -> str:
    """Return the verdict; of a claim that is only recorded, whether it shows, and of an undecided one the reason."""
    verdict: str = claim["verdict"]
    if verdict == "recorded":
        return f"recorded ({'shows' if claim['shown'] else 'does not show'})"
    return f"{verdict}: {claim['reason']}" if claim["reason"] else verdict


def results_markdown(found: Evidence, lines: Sequence[Line]) -> str:
    """Return the table of results as Markdown: best in bold, second best in italics, which Markdown has for lines."""
    head = [*found.axes, "data", *found.columns, "note"]
    rows = [[*line.labels, line.data, *map(_markdown_cell, line.cells), "; ".join(line.notes)] for line in lines]
    how = "Best of each data set in bold, second best in italics; 95 % intervals in brackets."
    parts = [f"# {' '.join(found['name'].split()) or 'ablation'}", *found.notices, *found["disclaimers"]]
    return "\n\n".join([*parts, markdown_table(head, rows), how]) + "\n"


def results_csv(found: Evidence, lines: Sequence[Line]) -> str:
    """Return one line a row of the table with full precision."""
    ends = ("", "-low", "-high", "-spread")
    head = [*found["axes"], "data", "seeds", "samples", "failed", "unbridged", "seconds_per_sample"]
    head += [f"{name}{end}" for name in found.columns for end in ends] + ["note"]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    for line in lines:
        row = line.row
        told = [row["labels"].get(axis, "") for axis in found["axes"]]
        told += [
            line.data,
            len(row["trials"]),
            row["samples"],
            row["failed"],
            row["unbridged"],
            row["seconds_per_sample"],
        ]
        for name in found.columns:
            value = row["values"].get(name, {})
            told += [value.get(key) for key in ("mean", "low", "high", "spread")]
        writer.writerow(["" if one is None else one for one in (*told, "; ".join(line.notes))])
    return stream.getvalue()


def _row(cells: Any) -> str:
    return " & ".join(cells) + r" \\"


def _latex_cell(cell: Cell) -> str:
    mark = {"best": r"\textbf{%s}", "second": r"\underline{%s}", "": "%s"}[cell.rank]
    return " ".join(filter(None, [mark % latex(cell.shown), latex(cell.spread), _brackets(cell.interval)]))


def _brackets(shown: str) -> str:
    # A bracket after the end of a row would be read as an option of it; braces keep it text.
    return f"{{{shown}}}" if shown else ""


def _markdown_cell(cell: Cell) -> str:
    mark = {"best": "**%s**", "second": "*%s*", "": "%s"}[cell.rank]
    note = f"({cell.note})" if cell.note else ""
    return " ".join(filter(None, [mark % cell.shown, cell.spread, cell.interval, note]))


def _comment(text: str) -> str:
    return " ".join(text.split())
