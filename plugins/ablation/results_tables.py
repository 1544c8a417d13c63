"""The table of results: what all rows share stands above it, and it fits where it is shown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from regionkit.core.results import ResultStore
from regionkit.core.scores import coverage
from regionkit.plugins.ablation.estimates import intervals_of
from regionkit.plugins.ablation.trials import AblationPlan, Trial
from regionkit.registry.commands.tables import markdown_table

#: How reports mark a pipeline whose bridge only relabels image vectors as text vectors.
UNBRIDGED = "unbridged"
#: What stands where a metric is for another kind of task.
_NOT_JUDGED = "-"


def results_tables(plan: AblationPlan, store: ResultStore, width: int = 0) -> list[str]:
    """Return values averaged over the evaluation seeds as Markdown, and above them what all rows have in common.

    One pipeline has a row a metric and a column a data set, several have a row a pipeline and data set.

    Args:
        plan: The trials.
        store: What came out.
        width: Columns of a terminal: a table that is wider is cut into several below each other. 0 cuts nothing.
    """
    axes = plan.varied
    groups: dict[tuple[str, ...], list[Trial]] = {}
    for trial in plan.trials:
        labels = trial.combination.labels
        groups.setdefault((*(labels[axis] for axis in axes), trial.selection.ref.label), []).append(trial)
    cells = [[_cell(trials, metric, store) for metric in plan.columns] for trials in groups.values()]
    notes = [UNBRIDGED if trials[0].combination.plan.unbridged else "" for trials in groups.values()]
    first = plan.trials[0].combination.labels
    shared = ", ".join(f"{axis} {first[axis]}" for axis in plan.axes if axis not in axes)
    if axes:
        rows = [[*key, *values, note] for key, values, note in zip(groups, cells, notes, strict=True)]
        above = [f"In all rows: {shared}."] if shared else []
        return above + cut(*noted([*axes, "data", *plan.columns], rows), len(axes) + 1, width)
    header = ["metric", *(key[-1] for key in groups)]
    rows = [[metric, *values] for metric, *values in zip(plan.columns, *cells, strict=True)]
    above = [f"Pipeline: {shared}{f' ({UNBRIDGED})' if any(notes) else ''}."]
    return above + cut(header, rows, 1, width)


def noted(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Head the last cells of the rows ``note``, or leave them away where none says anything."""
    if any(row[-1] for row in rows):
        return [*header, "note"], rows
    return header, [row[:-1] for row in rows]


def taken_by_metrics(trial: Trial, store: ResultStore) -> int:
    """Return how many samples of a trial metrics took in."""
    held = store.trial(trial.id)
    return 0 if held is None else held[2] - held[3]


def cut(header: Sequence[str], rows: Sequence[Sequence[str]], labels: int, width: int) -> list[str]:
    """Cut a table that is too wide into tables of some of its columns, each with the labels that rows start with.

    Rows that say nothing in the columns of a table are left out there. Where not even one column fits beside the
    labels, cutting would not help.
    """
    sizes = [max(3, *map(len, column)) + len(" | ") for column in zip(header, *rows, strict=True)]
    room = width - 1 - sum(sizes[:labels])
    if not width or sum(sizes[labels:]) <= room or max(sizes[labels:]) > room:
        return [markdown_table(header, rows)]
    parts: list[list[int]] = [[]]
    for at in range(labels, len(header)):
        if sum(sizes[column] for column in (*parts[-1], at)) > room:
            parts.append([])
        parts[-1].append(at)
    tables = []
    for part in parts:
        kept = [row for row in rows if any(row[at] not in ("", _NOT_JUDGED) for at in part)]
        chosen = [*range(labels), *part]
        tables.append(markdown_table([header[at] for at in chosen], [[row[at] for at in chosen] for row in kept]))
    return tables


def _cell(trials: Sequence[Trial], metric: str, store: ResultStore) -> str:
    """Write the mean over seeds, with the standard deviation where there are several, interval and coverage."""
    values = [scores[metric][0] for trial in trials if metric in (scores := store.scores(trial.id))]
    if len(values) < len(trials):
        states = [store.trial(trial.id) for trial in trials]
        if None in states:
            return "missing"
        done = all(state is not None and state[0] == "done" for state in states)
        return _NOT_JUDGED if done and not values else "failed"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    ends = intervals_of(store, [trial.id for trial in trials]).get(metric)
    interval = f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""
    lost = sum(len(store.unjudged(trial.id).get(metric, ())) for trial in trials)
    taken = sum(taken_by_metrics(trial, store) for trial in trials)
    return f"{statistics.fmean(values):.3f}{spread}{interval}{coverage(taken - lost, taken)}"
