"""The whole analysis of an ablation in plain values: what ``analysis.json`` holds and reports are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regionkit.core.json_files import dumps
from regionkit.core.results import ResultStore
from regionkit.core.statistics import LEVEL, holm, over_seeds
from regionkit.plugins.ablation.analysis.changes import leave_one_out
from regionkit.plugins.ablation.analysis.charges import Charges, pareto, per_sample
from regionkit.plugins.ablation.analysis.effects import interactions, main_effects
from regionkit.plugins.ablation.analysis.provenance import command_of, provenance_of
from regionkit.plugins.ablation.analysis.rows import Results, Row
from regionkit.plugins.ablation.analysis.sizes import sizes
from regionkit.plugins.ablation.estimates import intervals_of
from regionkit.plugins.ablation.robustness import robustness_curves
from regionkit.plugins.ablation.trials import AblationPlan, Trial
from regionkit.plugins.ablation.verdicts import Verdict

#: Name of the file, and version of its format.
ANALYSIS, VERSION = "analysis.json", 1

#: Keys of the analysis that hold wall times: they differ between runs of equal results.
_TIMES = ("seconds", "seconds_per_sample")

Analysis = dict[str, Any]


def analyse(
    plan: AblationPlan, store: ResultStore, verdicts: Sequence[Verdict], folder: Path | None = None
) -> Analysis:
    """Analyse what is there of an ablation; equal results give equal values, wall times aside.

    Args:
        plan: The trials; what the folder of a run holds is planned again from its recorded document.
        store: What came out; trials without a result have no part in it.
        verdicts: The claims as they were judged.
        folder: Where the results lie, for the command that makes them again.
    """
    results = Results(plan, store)
    tables = results.tables()
    charges = Charges(plan.trials, store)
    rows = [_row(row, results, charges) for row in results.rows]
    effects, changes, pairs = main_effects(plan, tables), leave_one_out(plan, tables), interactions(plan, tables)
    every = [one for best in changes for one in best["changes"]]
    families = {"main effects": effects, "leave one out": every, "interactions": pairs}
    for family in families.values():
        _correct(family)
    return {
        "version": VERSION,
        "name": plan.name,
        "question": str(plan.document.data.get("summary") or "") if plan.document is not None else "",
        "command": command_of(plan, folder),
        "disclaimers": plan.disclaimers,
        "axes": plan.axes,
        "varied": plan.varied,
        "data": list(dict.fromkeys(row.data for row in results.rows)),
        "seeds": list(plan.spec.settings.seeds),
        "columns": _columns(results),
        "rows": rows,
        "main_effects": effects,
        "leave_one_out": changes,
        "interactions": pairs,
        "pareto": pareto(tables, {row["id"]: row["seconds_per_sample"] for row in rows}),
        "sizes": sizes(tables),
        "robustness": robustness_curves(plan, store, lambda trial: results.row_ids[trial.id]),
        "claims": [verdict.to_dict() for verdict in verdicts],
        "correction": _correction(families, verdicts, plan.spec.correction),
        "refused": refused_records(plan),
        "excluded": plan.excluded,
        "left_out": [dict(zip(("data", "metric", "reason"), one, strict=True)) for one in plan.left_out],
        "trials": [_trial(trial, row, results) for row in results.rows for trial in row.trials],
        "provenance": provenance_of(plan),
    }


def analysis_json(analysis: Analysis) -> str:
    """Write an analysis as JSON, a line a key and a line an entry of its lists: ten thousand rows stay quick."""
    lines = []
    for key, value in analysis.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            written = "[\n  " + ",\n  ".join(dumps(one) for one in value) + "\n ]"
        else:
            written = dumps(value)
        lines.append(f" {dumps(key)}: {written}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def without_times(analysis: Analysis) -> Analysis:
    """Return an analysis without wall times: what is left is equal for equal results."""
    rows = [{key: value for key, value in row.items() if key not in _TIMES} for row in analysis["rows"]]
    return {**{key: value for key, value in analysis.items() if key != "pareto"}, "rows": rows}


def refused_records(plan: AblationPlan) -> list[dict[str, Any]]:
    """Return the trials that cannot run, and why, in plain values."""
    return [
        {"axes": dict(one.labels), "data": one.data, "trials": one.count, "reason": one.reason} for one in plan.refused
    ]


def _columns(results: Results) -> list[dict[str, Any]]:
    """Return every column with its direction, the data sets that it judges, and the signature of its values."""
    found = []
    for column in results.plan.columns:
        signatures: dict[str, None] = {}
        judged: dict[str, None] = {}
        for trial in results.plan.trials:
            held = results.scores.get(trial.id, {}).get(column)
            if held is not None:
                signatures.setdefault(held[1])
                judged.setdefault(trial.selection.ref.label)
        found.append(
            {
                "name": column,
                "higher_is_better": results.higher(column) is not False,
                "signature": "; ".join(signatures),
                "on": list(judged),
            }
        )
    return found


def _row(row: Row, results: Results, charges: Charges) -> dict[str, Any]:
    states = [results.states.get(trial.id) for trial in row.trials]
    known = [state for state in states if state is not None]
    samples, failed = sum(state[2] for state in known), sum(state[3] for state in known)
    seconds = charges.of(row)
    drawn = intervals_of(results.store, [trial.id for trial in row.trials])
    return {
        "id": row.id,
        "labels": row.labels,
        "names": dict(row.trials[0].combination.names),
        "data": row.data,
        "trials": [trial.id for trial in row.trials],
        "unbridged": row.trials[0].combination.plan.unbridged,
        "samples": samples,
        "failed": failed,
        "seconds": seconds,
        "seconds_per_sample": per_sample(seconds, samples) if len(known) == len(states) else None,
        "values": {
            column: _value(values, drawn.get(column))
            for column in results.plan.columns
            if (values := results.values(row, column))
        },
    }


def _value(values: Sequence[float], drawn: tuple[float, float] | None) -> dict[str, Any]:
    """Return a value over its seeds; its interval is over scenes, or over seeds where nothing can be drawn."""
    seeds = over_seeds(values)
    ends: tuple[float | None, float | None] = (None, None)
    of = None
    if drawn is not None:
        ends, of = drawn, "scenes"
    elif seeds.n > 1:
        ends, of = (seeds.low, seeds.high), "seeds"
    plain = {"mean": seeds.mean, "spread": seeds.spread, "low": ends[0], "high": ends[1]}
    return {**plain, "interval": of, "seeds": seeds.n}


def _trial(trial: Trial, row: Row, results: Results) -> dict[str, Any]:
    status, reason, _, failed = results.states.get(trial.id, ("missing", "", 0, 0))
    lost = results.store.unjudged(trial.id)
    return {
        "id": trial.id,
        "row": row.id,
        "data": row.data,
        "seed": trial.selection.seed,
        "status": status,
        "reason": reason,
        "notes": list(results.store.notes(trial.id)),
        "failed": failed,
        "unjudged": {column: len(reasons) for column, reasons in lost.items()},
    }


def _correct(family: Sequence[dict[str, Any]]) -> None:
    for one, corrected in zip(family, holm([one["p"] for one in family]), strict=True):
        one["p_corrected"] = corrected


def _correction(families: dict[str, list[dict[str, Any]]], verdicts: Sequence[Verdict], decides: str) -> dict[str, Any]:
    tested = [{"name": "claims", "tests": sum(verdict.p_corrected is not None for verdict in verdicts)}]
    tested += [
        {"name": name, "tests": sum(one["p"] is not None for one in family)} for name, family in families.items()
    ]
    return {"method": "Holm", "claims": decides, "families": tested, "sentence": correction_sentence(tested, decides)}


def correction_sentence(families: Sequence[dict[str, Any]], decides: str) -> str:
    """Say how p were corrected for being many, and which of them decides claims."""
    told = ", ".join(f"{one['name']} ({one['tests']})" for one in families if one["tests"])
    if not told:
        return "Nothing was tested, so nothing was corrected."
    which = "the corrected p decides a claim" if decides == "holm" else "the uncorrected p decides a claim"
    return (
        f"p corrected: Holm's method within each family of tests: {told}; it keeps the chance of any false finding in "
        f"a family below {LEVEL:g}. For claims, stated beforehand, {which}; main effects, changes of the best row and "
        "interactions are explorations, and only their corrected p should be quoted."
    )
