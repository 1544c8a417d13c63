"""What an ablation leaves behind beside its database: CSV, Markdown, and the claims."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from regionkit.core.errors import RunFailed, commonest
from regionkit.core.files import write_text
from regionkit.core.results import ResultStore
from regionkit.plugins.ablation.analysis.analyse import ANALYSIS, Analysis, analyse, analysis_json
from regionkit.plugins.ablation.analysis.text import markdown_parts
from regionkit.plugins.ablation.claim_tables import claims_legend, claims_markdown, claims_table
from regionkit.plugins.ablation.estimates import intervals_of
from regionkit.plugins.ablation.provenance_tables import provenance_table
from regionkit.plugins.ablation.results_tables import UNBRIDGED, noted, results_tables, taken_by_metrics
from regionkit.plugins.ablation.robustness import robustness_curves, robustness_text
from regionkit.plugins.ablation.trials import AblationPlan, Trial
from regionkit.plugins.ablation.verdicts import Verdict
from regionkit.plugins.ablation.words import counted
from regionkit.registry.commands.tables import markdown_table, one_line

#: What that mark means.
LEGEND = f"{UNBRIDGED}: vectors of the image space enter a decoder of the text space as they are."


def write_reports(
    folder: Path,
    plan: AblationPlan,
    store: ResultStore,
    verdicts: Sequence[Verdict],
    analysis: Analysis | None = None,
) -> list[Path]:
    """Write ``results.csv``, ``results.md``, ``analysis.json``, and for claims ``claims.md`` and ``claims.json``.

    Args:
        folder: They go there.
        plan: The trials.
        store: What came out.
        verdicts: The claims as they were judged.
        analysis: The analysis where it is made already.

    Raises:
        RunFailed: One of them cannot be written.
    """
    analysis = analyse(plan, store, verdicts, folder) if analysis is None else analysis
    files = {
        "results.csv": results_csv(plan, store),
        "results.md": results_markdown(plan, store, verdicts, analysis),
        ANALYSIS: analysis_json(analysis),
    }
    if verdicts:
        files["claims.md"] = claims_markdown(verdicts, analysis["correction"]["sentence"])
        files["claims.json"] = json.dumps([verdict.to_dict() for verdict in verdicts], indent=2) + "\n"
    try:
        for name, content in files.items():
            write_text(folder / name, content)
    except OSError as error:
        raise RunFailed(
            f"{folder}: the reports cannot be written: {error.strerror or error}",
            "the results are kept in results.sqlite: mend this and run the same command again to have the reports",
        ) from None
    return [folder / name for name in files]


def trial_record(trial: Trial, store: ResultStore, axes: Sequence[str]) -> dict[str, Any]:
    """Return one trial as a flat mapping, for CSV and JSON; a column is followed by its interval and coverage."""
    status, reason, samples, failed = store.trial(trial.id) or ("missing", "", 0, 0)
    scores = store.scores(trial.id)
    return {
        "trial": trial.id,
        **{axis: trial.combination.labels[axis] for axis in axes},
        "data": trial.selection.ref.label,
        "seed": trial.selection.seed,
        "status": status,
        "samples": samples,
        "failed": failed,
        UNBRIDGED: trial.combination.plan.unbridged,
        **{name: value for metric in scores for name, value in _told(trial, metric, store).items()},
        "reason": reason,
    }


def spread_columns(column: str) -> tuple[str, ...]:
    """Return the columns of a value: itself, the ends of its 95 % interval, and how many samples it is of."""
    return column, f"{column}-low", f"{column}-high", f"{column}-judged"


def _told(trial: Trial, metric: str, store: ResultStore) -> dict[str, Any]:
    low, high = intervals_of(store, [trial.id]).get(metric, (None, None))
    judged = taken_by_metrics(trial, store) - len(store.unjudged(trial.id).get(metric, ()))
    numbers = (store.scores(trial.id)[metric][0], low, high, judged)
    return dict(zip(spread_columns(metric), numbers, strict=True))


def planned_trial(trial: Trial, axes: Sequence[str]) -> dict[str, Any]:
    """Return what is known of a trial before it runs, the choice of weights included."""
    pipeline, selection = trial.combination.plan, trial.selection
    return {
        "trial": trial.id,
        "axes": {axis: trial.combination.labels[axis] for axis in axes},
        "data": selection.ref.label,
        "seed": selection.seed,
        "samples": len(selection.samples),
        "weights": {kind: file.label for kind, file in pipeline.weights.items() if file is not None},
        "banks": {kind: file.label for kind, file in pipeline.banks.items()},
        "fit_corpus": pipeline.fit_corpus,
        UNBRIDGED: pipeline.unbridged,
    }


def plan_table(plan: AblationPlan) -> str:
    """Return one row a pipeline: its values, the weights that were chosen for it, and its number of trials."""
    counts: dict[tuple[str, ...], int] = {}
    for trial in plan.trials:
        known = planned_trial(trial, plan.axes)
        chosen = [*known["weights"].values(), *known["banks"].values()]
        chosen += [*(f"fitted to {name}" for name in known["fit_corpus"].values())]
        note = UNBRIDGED if known[UNBRIDGED] else ""
        row = (*known["axes"].values(), ", ".join(dict.fromkeys(chosen)), note)
        counts[row] = counts.get(row, 0) + 1
    rows = [[*row[:-1], str(n), row[-1]] for row, n in counts.items()]
    return markdown_table(*noted([*plan.axes, "weights", "trials"], rows))


def results_csv(plan: AblationPlan, store: ResultStore) -> str:
    """Return one line a trial, in the order of the file, with full precision."""
    known = ("trial", *plan.axes, "data", "seed", "status", "samples", "failed", UNBRIDGED)
    columns = [*known, *(name for column in plan.columns for name in spread_columns(column)), "reason"]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n", restval="")
    writer.writeheader()
    for trial in plan.trials:
        writer.writerow(trial_record(trial, store, plan.axes))
    return stream.getvalue()


def results_markdown(plan: AblationPlan, store: ResultStore, verdicts: Sequence[Verdict], analysis: Analysis) -> str:
    """Return the report that people read."""
    signatures = sorted({v[1] for trial in plan.trials for v in store.scores(trial.id).values()})
    codes = sorted({str(trial.config["code"]) for trial in plan.trials})
    parts = [
        f"# {plan.name or 'ablation'}",
        *plan.disclaimers,
        *results_tables(plan, store),
        *reading(plan, store),
        *own_metrics(plan),
    ]
    if curves := robustness_curves(plan, store):
        parts += ["## Robustness", *robustness_text(curves, plan)]
    if verdicts:
        parts += ["## Claims", claims_table(verdicts), *claims_legend(verdicts)]
    parts += markdown_parts(analysis)
    if plan.refused:
        parts += ["## Trials that cannot run", refused_table(plan)]
    failures = [(trial, held) for trial in plan.trials if (held := store.trial(trial.id)) and (held[1] or held[3])]
    if failures:
        parts += ["## Failures", markdown_table(["trial", "what"], [_failure(trial, store) for trial, _ in failures])]
    lost = [row for trial in plan.trials for row in unjudged_rows(trial, store)]
    if lost:
        parts += ["## Samples that were not judged", markdown_table(["trial", "metric", "what"], lost)]
    parts += ["## How this was scored", "\n".join(f"- `{signature}`" for signature in signatures)]
    parts += ["## What made these results", provenance_table(plan)]
    parts += [
        f"Code version {', '.join(codes)}; {len(plan.trials)} trials; full precision in results.csv, every caption "
        "in results.sqlite."
    ]
    return "\n\n".join(parts) + "\n"


def reading(plan: AblationPlan, store: ResultStore) -> list[str]:
    """Return the lines that say how to read the table of results."""
    seeds = plan.spec.settings.seeds
    lines = [f"Mean over {counted(len(seeds), 'evaluation seed')} ({', '.join(map(str, seeds))})"]
    lines[0] += f", ± standard deviation over the {len(seeds)} seeds." if len(seeds) > 1 else "."
    lines += _intervals_read(plan, store)
    directions = {label: row[2] for trial in plan.trials for label, row in store.scores(trial.id).items()}
    for higher, word in ((True, "Higher"), (False, "Lower")):
        labels = [label for label in plan.columns if directions.get(label) is higher]
        lines += [f"{word} is better: {', '.join(labels)}."] if labels else []
    if any(trial.combination.plan.unbridged for trial in plan.trials):
        lines.append(LEGEND)
    return lines


def _intervals_read(plan: AblationPlan, store: ResultStore) -> list[str]:
    """Say what stands in brackets, and which columns have no interval."""
    done = [trial for trial in plan.trials if (held := store.trial(trial.id)) is not None and held[0] == "done"]
    known = {label for trial in done for label in intervals_of(store, [trial.id])}
    scored = {label for trial in done for label in store.scores(trial.id)}
    pooled = ", seeds pooled" if len(plan.spec.settings.seeds) > 1 else ""
    lines = [f"In brackets: 95 % interval, bootstrap over scenes{pooled}."] if known else []
    without = [label for label in plan.columns if label in scored - known]
    if without and known:
        lines.append(f"No interval for {', '.join(without)}: the value follows from no sums over samples.")
    elif without:
        lines.append("No intervals: nothing can be drawn from a single scene, or values follow from no sums.")
    return lines


def own_metrics(plan: AblationPlan) -> list[str]:
    """Say which metrics the tasks chose, where nobody named any, and which of theirs cannot judge here."""
    if plan.own is None:
        return []
    chosen = [f"{label}: {', '.join(names)}" for label, names in plan.own.items()]
    lines = [f"Metrics of the tasks, since none were named: {'; '.join(chosen)}."]
    reasons: dict[tuple[str, str], list[str]] = {}
    for label, name, reason in plan.left_out:
        reasons.setdefault((name, one_line(reason)), []).append(label)
    return lines + [f"Left out: {name} of {', '.join(data)}: {reason}" for (name, reason), data in reasons.items()]


def _failure(trial: Trial, store: ResultStore) -> list[str]:
    status, reason, samples, failed = store.trial(trial.id) or ("", "", 0, 0)
    if status == "failed":
        return [trial.id, one_line(reason)]
    first = next(row for row in store.captions(trial.id) if row.caption is None)
    return [trial.id, f"{failed} of {samples} samples; the first, {first.sample}: {one_line(first.error)}"]


def unjudged_rows(trial: Trial, store: ResultStore) -> list[list[str]]:
    """Return one row for each column of a trial that samples have no part in, with the commonest reasons."""
    rows = []
    for metric, reasons in store.unjudged(trial.id).items():
        told = "; ".join(commonest(map(one_line, reasons.values())))
        first = next(iter(reasons))
        rows.append(
            [
                trial.id,
                metric,
                f"{len(reasons)} of {taken_by_metrics(trial, store)} samples, the first is {first}; {told}",
            ]
        )
    return rows


def refused_table(plan: AblationPlan) -> str:
    """Return the trials that cannot run, with the reasons.

    Trials of one reason that form a full product share a row: ``*`` stands for all values of an axis.
    """
    columns = [*plan.axes, "data"]
    counts: dict[str, dict[tuple[str, ...], int]] = {}
    for refused in plan.refused:
        cells = (*(refused.labels.get(axis, "") for axis in plan.axes), refused.data or "*")
        rows = counts.setdefault(refused.reason, {})
        rows[cells] = rows.get(cells, 0) + refused.count
    everything = [set(column) for column in zip(*_all_cells(plan), strict=True)]
    table = []
    for reason, rows in counts.items():
        values = [list(dict.fromkeys(column)) for column in zip(*rows, strict=True)]
        if math.prod(map(len, values)) == len(rows):
            shown = [
                "*" if len(v) > 1 and set(v) == all_ else ", ".join(v)
                for v, all_ in zip(values, everything, strict=True)
            ]
            table.append([*shown, str(sum(rows.values())), reason])
        else:
            table += [[*cells, str(count), reason] for cells, count in rows.items()]
    return markdown_table([*columns, "trials", "reason"], table)


def _all_cells(plan: AblationPlan) -> Iterator[tuple[str, ...]]:
    """Yield the axes and the data set of every trial, those that cannot run included."""
    for trial in plan.trials:
        yield (*(trial.combination.labels[axis] for axis in plan.axes), trial.selection.ref.label)
    for refused in plan.refused:
        data = [refused.data] if refused.data else [ref.label for ref in plan.spec.data]
        yield from ((*(refused.labels.get(axis, "") for axis in plan.axes), label) for label in data)
