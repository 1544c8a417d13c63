"""The page: one HTML file that needs nothing else, reads well without its script, and lets nothing out."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from regionkit.plugins.report.beside import HEADER
from regionkit.plugins.report.cells import Line
from regionkit.plugins.report.charts.canvas import Canvas
from regionkit.plugins.report.charts.scales import linear
from regionkit.plugins.report.charts.svg import to_svg
from regionkit.plugins.report.evidence import Evidence
from regionkit.plugins.report.exports import where_text
from regionkit.plugins.report.figure import SECTIONS, Figure
from regionkit.plugins.report.gallery import Gallery
from regionkit.plugins.report.words import NOTHING, clean, counted, interval, number, p_value

_TEMPLATES = Path(__file__).parent / "templates"
#: Rows of the table of results on the page; all of them are in ``results.csv``.
MOST_ROWS = 1500


def page(
    found: Evidence,
    lines: Sequence[Line],
    plots: Sequence[Figure],
    more: int,
    samples: Gallery,
    beside: Sequence[Sequence[str]] = (),
) -> str:
    """Return the page.

    Args:
        found: The analysis.
        lines: The table of results.
        plots: The plots.
        more: Plots that are left out.
        samples: The gallery.
        beside: Published numbers beside ours, rows under :data:`~regionkit.plugins.report.beside.HEADER`.
    """
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    return _template().render(
        found=found,
        title=found["name"] or "ablation",
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        reading=reading(found, lines),
        verdicts=verdicts_sentence(found["claims"]),
        claims=claims(found["claims"]),
        lines=shown_lines(found, lines),
        rows_left_out=max(0, len(lines) - len(shown_lines(found, lines))),
        has_notes=any(line.notes for line in lines),
        has_time=any(line.time.value is not None for line in lines),
        plots=drawn(plots),
        plots_left_out=more,
        gallery=samples,
        single_data=len(found.data) < 2,
        single_column=len(found.columns) < 2,
        refused=refusals(found),
        beside=beside,
        beside_header=HEADER,
        excluded=f"{counted(found['excluded'], 'combination')} left out by the file.",
        left_out=[_left_out(one) for one in found["left_out"]],
        provenance=provenance(found["provenance"]),
        nothing=NOTHING,
        number=number,
        p_value=p_value,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2")


def reading(found: Evidence, lines: Sequence[Line]) -> list[str]:
    """Return how to read the page, a sentence or two each, as far as it holds for this run."""
    seeds = found["seeds"]
    row = "Each row of the results is one pipeline on one data set"
    if len(seeds) > 1:
        named = ", ".join(map(str, seeds))
        row += f", averaged over {len(seeds)} evaluation seeds ({named}); ± is the standard deviation over them"
    told = [f"{row}. Best of its data set in bold, second best underlined, by the values as they are printed."]
    told += _intervals(found)
    for higher, word in ((True, "Higher"), (False, "Lower")):
        names = [name for name, column in found.columns.items() if column["higher_is_better"] is higher]
        told += [f"{word} is better: {', '.join(names)}."] if names else []
    if any(line.row["unbridged"] for line in lines):
        told.append("Unbridged: vectors of the image space enter a decoder of the text space as they are.")
    if found["claims"]:
        decides = "the corrected p" if found["correction"]["claims"] == "holm" else "p"
        told.append(
            "A claim compares matched pipelines sample by sample. It holds where the difference has the stated "
            f"direction and {decides} < 0.05, fails where the opposite shows so, and is not shown where neither does. "
            "One that is recorded has no say in whether the run passes. "
            "d: the difference in standard deviations over scenes."
        )
    if any(one["within"] for one in found["claims"]):
        told.append("A claim within a tolerance is decided by its interval: it holds where all of that keeps to it.")
    return told


def shown_lines(found: Evidence, lines: Sequence[Line]) -> list[Line]:
    """Return the rows that the page shows in their order: all of them, or of each data set the best by each column."""
    if len(lines) <= MOST_ROWS:
        return list(lines)
    share = max(MOST_ROWS // (max(len(found.data), 1) * max(len(found.columns), 1)), 1)
    kept: set[str] = set()
    for data in found.data:
        here = [line for line in lines if line.data == data]
        for at, column in enumerate(found.columns.values()):
            sign = -1.0 if column["higher_is_better"] else 1.0
            judged = [(sign * value, line.row["id"]) for line in here if (value := line.cells[at].value) is not None]
            kept.update(row for _, row in sorted(judged)[:share])
    return [line for line in lines if line.row["id"] in kept]


def _intervals(found: Evidence) -> list[str]:
    """Say what stands in brackets: intervals over scenes, and of which columns over seeds."""
    kinds: dict[str, dict[str, None]] = {}
    for row in found["rows"]:
        for name, value in row["values"].items():
            if value["low"] is not None and value["low"] != value["high"]:
                kinds.setdefault(str(value["interval"] or "scenes"), {}).setdefault(name)
    told = []
    if "scenes" in kinds:
        told.append("Brackets hold 95 % intervals, drawn over scenes: samples of one scene are not independent.")
    if "seeds" in kinds:
        told.append(f"Brackets of {', '.join(kinds['seeds'])} hold 95 % intervals of the mean over seeds.")
    return told


def verdicts_sentence(found: Sequence[Mapping[str, Any]]) -> str:
    """Say in a sentence how many claims hold."""
    counts = {
        word: sum(one["verdict"] == word for one in found) for word in ("holds", "fails", "not shown", "undecided")
    }
    recorded = [one["shown"] for one in found if one["verdict"] == "recorded"]
    decided = counts["holds"] + counts["fails"] + counts["not shown"]
    parts = [f"Of the tests that must hold, {counts['holds']} of {decided} hold."] if decided else []
    if recorded:
        parts.append(f"Of those that are only recorded, {sum(recorded)} of {len(recorded)} show.")
    if counts["undecided"]:
        parts.append(f"Undecided: {counts['undecided']}.")
    return " ".join(parts)


def claims(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the claims, those of one sentence together, as the page shows them."""
    reach: dict[str, list[float | None]] = {}
    for one in found:
        reach.setdefault(one["by"], []).extend([one["low"], one["high"], one["difference"]])
    grouped: list[dict[str, Any]] = []
    for (say, where), members in groupby(found, key=lambda one: (one["say"], where_text(one))):
        tests = [_test(one, f"claim-{len(grouped)}-{at}", reach[one["by"]]) for at, one in enumerate(members)]
        grouped.append({"say": say, "where": where, "tests": tests})
    return grouped


def _test(one: Mapping[str, Any], name: str, reach: Sequence[float | None]) -> dict[str, Any]:
    verdict, shown = one["verdict"], one["shown"]
    words = {
        "holds": "holds",
        "fails": "fails",
        "not shown": "not shown",
        "recorded": "shows" if shown else "does not show",
    }
    within = f"within {one['within']:g}" if one["within"] else ""
    return {
        "on": one["on"],
        "by": one["by"],
        "difference": number(one["difference"], sign=True),
        "interval": interval(one["low"], one["high"], sign=True),
        "bar": None if one["difference"] is None else Markup(_bar(one, name, reach)),
        "d": "" if one["effect"] is None else number(one["effect"], 2, sign=True),
        "p": p_value(one["p"]),
        "p_corrected": p_value(one["p_corrected"]),
        "samples": "" if one["n"] is None else f"{one['n']:,.0f}",
        "verdict": words.get(verdict, "undecided"),
        "recorded": verdict == "recorded",
        "tone": "good" if verdict == "holds" else "bad" if verdict in ("fails", "not shown") else "open",
        "sign": {"holds": "✓", "fails": "✗", "not shown": "✗", "recorded": "✓" if shown else "✗"}.get(verdict, "?"),
        "reason": one["reason"] or within,
    }


def _bar(one: Mapping[str, Any], name: str, reach: Sequence[float | None]) -> str:
    """Return a small plot of an effect: its interval against zero, on one scale for all tests by a column."""
    canvas = Canvas(100.0, 18.0)
    scale = linear(reach, 6.0, 94.0, zero=True)
    canvas.line((scale(0.0), 1.0), (scale(0.0), 17.0), colour="axis")
    if one["low"] is not None and one["high"] is not None:
        canvas.line((scale(one["low"]), 9.0), (scale(one["high"]), 9.0), colour="accent", width=2)
    canvas.mark(scale(one["difference"]), 9.0, radius=3.5)
    told = f"{number(one['difference'], sign=True)} {interval(one['low'], one['high'], sign=True)}"
    return to_svg(canvas, name, f"Effect on {one['by']}", told)


def drawn(plots: Sequence[Figure]) -> list[dict[str, Any]]:
    """Return the plots as the page shows them, each with the name of its kind and how to read it."""
    return [
        {"figure": plot, "svg": Markup(plot.svg), "kind": SECTIONS[plot.section][0], "how": SECTIONS[plot.section][1]}
        for plot in plots
    ]


def provenance(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what made the results: texts and tables."""
    components, weights, data = found["components"], found["weights"], found["data"]
    tables = [
        ("Versions", ["what", "version"], [[key, _plain(value)] for key, value in found["versions"].items()]),
        ("Components", *_table(components, ("kind", "name", "plugin", "distribution", "version", "license"))),
        ("Weights", *_table(weights, ("component", "file", "sha256", "license"))),
        ("Data", *_table(data, ("label", "dataset", "split", "fingerprints", "license"))),
    ]
    code = found["code"] if isinstance(found["code"], list) else [found["code"]]
    return {
        "resolved": found["resolved"],
        "code": ", ".join(map(_plain, code)),
        "tables": [(title, head, rows) for title, head, rows in tables if rows],
    }


def _table(records: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> tuple[Sequence[str], list[list[str]]]:
    """Return records as a table, each row once."""
    rows = dict.fromkeys(tuple(_plain(record.get(key)) for key in keys) for record in records)
    used = [at for at in range(len(keys)) if any(row[at] for row in rows)]
    return [keys[at] for at in used], [[row[at] for at in used] for row in rows]


def _plain(value: Any) -> str:
    """Return a value of a record in words."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return clean(str(value))


def _left_out(one: Any) -> str:
    """Return a metric that could not judge, and why."""
    if isinstance(one, dict):
        return f"{one.get('metric', '')} on {one.get('data', '')}: {one.get('reason', '')}"
    if isinstance(one, list) and len(one) == 3:
        data, metric, reason = map(_plain, one)
        return f"{metric} on {data}: {reason}"
    return _plain(one)


def refusals(found: Evidence) -> list[list[str]]:
    """Return the trials that could not run: pipelines, data, how many, why.

    Trials of one reason that form a full product share a row.
    """
    reasons: dict[str, dict[tuple[str, ...], int]] = {}
    for one in found["refused"]:
        labels = tuple(one["axes"].get(axis, "") for axis in found.axes)
        rows = reasons.setdefault(one["reason"], {})
        key = (*labels, one["data"] or "all")
        rows[key] = rows.get(key, 0) + one["trials"]
    table = []
    for reason, rows in reasons.items():
        values = [list(dict.fromkeys(column)) for column in zip(*rows, strict=True)]
        if math.prod(map(len, values)) == len(rows):
            rows = {tuple(", ".join(value) for value in values): sum(rows.values())}
        for cells, trials in rows.items():
            told = [f"{axis}: {label}" for axis, label in zip(found.axes, cells[:-1], strict=True) if label]
            table.append(["; ".join(told), cells[-1], f"{trials:,}", reason])
    return table
