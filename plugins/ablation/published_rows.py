"""Our values beside those that a paper prints, for runs of pipelines that are rows of its tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regionkit.core.errors import RunFailed
from regionkit.core.files import write_text
from regionkit.core.results import ResultStore
from regionkit.plugins.ablation.trials import AblationPlan, Selection, Trial
from regionkit.registry.commands.tables import markdown_table
from regionkit.registry.metrics import MetricRef
from regionkit.registry.published.matching import Match, other_options, same_data
from regionkit.registry.published.tables import Row, Value

#: What the comparison is written to, beside the results.
PUBLISHED = "published.json"
_HEADER = ("data", "metric", "ours", "published", "difference", "printed in")


@dataclass
class Beside:
    """A number of a paper and ours.

    Attributes:
        data: What it is of, as our tables call it.
        column: What our tables call it.
        ours: Our value on the paper's scale, the mean over evaluation seeds; None where there is none.
        printed: What the paper prints.
        rows: The rows that print it.
        reasons: Why the two are not comparable; empty where they are.
    """

    data: str
    column: str
    ours: float | None
    printed: float
    rows: list[Row] = field(default_factory=list)
    reasons: tuple[str, ...] = ()

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's; None where they are not comparable."""
        return None if self.ours is None or self.reasons else self.ours - self.printed


def compared(plan: AblationPlan, store: ResultStore, match: Match) -> list[Beside]:
    """Return every published number of the data and metrics of a run, with ours; a number is there once.

    Args:
        plan: The trials of one pipeline.
        store: What came out.
        match: The published rows of the pipeline.
    """
    found: dict[tuple[str, str, float], Beside] = {}
    for row in match.rows:
        for value in row.of(match.preset):
            for trials in _of_data(plan, value):
                selection = trials[0].selection
                refs = [one for one in plan.metrics_of(selection) if one.part.name == value.metric.name]
                if not refs:
                    continue
                ref = min(refs, key=lambda one: len(other_options(value.metric, one.part)))
                key = (selection.ref.label, value.metric.column, value.printed)
                if key not in found:
                    found[key] = _beside(trials, value, ref, store)
                found[key].rows.append(row)
    order = {trial.selection.ref.label: at for at, trial in enumerate(plan.trials)}
    return sorted(found.values(), key=lambda one: order[one.data])


def _of_data(plan: AblationPlan, value: Value) -> Iterator[list[Trial]]:
    """Yield the trials on the samples that a number is of, those of all seeds together."""
    groups: dict[str, list[Trial]] = {}
    for trial in plan.trials:
        selection = trial.selection
        if selection.clean is None and same_data(value.data, selection.part, selection.ref.task, selection.split):
            groups.setdefault(selection.ref.label, []).append(trial)
    yield from groups.values()


def _beside(trials: Sequence[Trial], value: Value, ref: MetricRef, store: ResultStore) -> Beside:
    selection = trials[0].selection
    column = ref.label + value.metric.column.removeprefix(value.metric.name)
    scores = [store.scores(trial.id) for trial in trials]
    values = [held[column][0] for held in scores if column in held]
    ours = statistics.fmean(values) * value.metric.scale if values and len(values) == len(trials) else None
    reasons = [*_fewer(selection), *(f"{ref.label}: {reason}" for reason in other_options(value.metric, ref.part))]
    return Beside(selection.ref.label, column, ours, value.printed, reasons=tuple(reasons))


def _fewer(selection: Selection) -> Iterator[str]:
    """Say what of a selection makes it another one than the paper's, although data set and split agree."""
    if selection.settings.limit:
        yield f"--limit {selection.settings.limit}: the paper's numbers are of all samples"
    asked = {key: value for key, value in selection.ref.task_options.items() if key != "name"}
    if asked:
        yield f"{selection.ref.task} has other options: {', '.join(asked)}"


def published_text(plan: AblationPlan, store: ResultStore, match: Match) -> list[str]:
    """Return our values beside the paper's as lines to print; none for a pipeline that no paper printed."""
    if match.sentence:
        return [match.sentence]
    if not match.rows:
        return []
    found = compared(plan, store, match)
    if not found:
        told = ", ".join(dict.fromkeys(str(value.data) for row in match.rows for value in row.of(match.preset)))
        return [f"Published numbers of {match.preset} are of other data or metrics: {told}."]
    lines = [
        f"Beside the published numbers of {match.preset}, on the paper's scale; difference: ours minus the paper's."
    ]
    lines += [markdown_table(_HEADER, [_cells(one) for one in found])]
    reasons = dict.fromkeys(reason for one in found for reason in one.reasons)
    lines += [f"Not compared: {reason}." for reason in reasons]
    notes = dict.fromkeys((row, row.note) for one in found for row in one.rows if row.note)
    return lines + [f"{row.place}: {note}." for row, note in notes]


def _cells(one: Beside) -> list[str]:
    difference = one.difference
    return [
        one.data,
        one.column,
        "-" if one.ours is None else f"{one.ours:.2f}",
        str(one.printed),
        "-" if difference is None else f"{difference:+.2f}",
        _places(one.rows),
    ]


def _places(rows: Sequence[Row]) -> str:
    """Name the tables that print a number: ``tables 1, 2: T2D + Mem.``."""
    tables = list(dict.fromkeys(row.table for row in rows))
    labels = list(dict.fromkeys(row.label for row in rows))
    return f"table{'s' if len(tables) > 1 else ''} {', '.join(tables)}: {labels[0]}"


def published_json(plan: AblationPlan, store: ResultStore, match: Match) -> dict[str, Any]:
    """Return the same in plain values."""
    return {
        "preset": match.preset or match.near or None,
        "differs": list(match.differs),
        "rows": [
            {
                "data": one.data,
                "column": one.column,
                "ours": one.ours,
                "published": one.printed,
                "difference": one.difference,
                "not_compared": list(one.reasons),
                "printed_in": [{"paper": row.paper, "table": row.table, "row": row.label} for row in one.rows],
            }
            for one in compared(plan, store, match)
        ],
    }


def write_published(folder: Path, plan: AblationPlan, store: ResultStore, match: Match) -> None:
    """Write ``published.json`` beside the results, where there is anything to write.

    Raises:
        RunFailed: It cannot be written.
    """
    told = published_json(plan, store, match)
    if not told["rows"]:
        return
    try:
        write_text(folder / PUBLISHED, json.dumps(told, indent=2) + "\n")
    except OSError as error:
        raise RunFailed(
            f"{folder / PUBLISHED} cannot be written: {error.strerror or error}",
            "the results are kept in results.sqlite: mend this and run the same command again",
        ) from None
