"""Runs that have no analysis, because they were stopped: what their database alone tells."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from regionkit.core.results import ResultStore
from regionkit.plugins.report.evidence import VERSION, Evidence, evidence_of
from regionkit.plugins.report.words import clean_all, counted
from regionkit.registry.run_folders import RunTrial, trials_of

#: The resolved ablation, which a run writes down before its first trial.
_RESOLVED = "ablation.json"


def with_notices(found: Evidence, store: ResultStore) -> Evidence:
    """Say what an analysis lacks: trials without a result, trials that failed, trials that ended after it was made."""
    states = {trial["id"]: trial["status"] for trial in found["trials"]}
    missing = sum(status not in ("done", "failed") for status in states.values())
    failed = sum(status == "failed" for status in states.values())
    since = sum(states.get(trial.id, trial.status) != trial.status for trial in store.trials())
    notices = []
    if missing:
        notices.append(f"This run is not finished: {missing} of {counted(len(states), 'trial')} have no result yet.")
    if failed:
        notices.append(f"{failed} of {counted(len(states), 'trial')} failed; the table of results says why.")
    if since:
        notices.append(f"The analysis is older than the results: {counted(since, 'trial')} ended after it was made.")
    if notices and found["command"]:
        notices.append(f"To go on: {found['command']}")
    return replace(found, notices=tuple(notices))


def from_results(folder: Path, store: ResultStore) -> Evidence:
    """Return what can be said of a run without its analysis: values by trial, without intervals, tests and plots."""
    trials, configs = trials_of(store), store.configs()
    groups: dict[tuple[Any, ...], list[RunTrial]] = {}
    for trial in trials:
        groups.setdefault((*trial.labels.items(), trial.data), []).append(trial)
    rows: list[dict[str, Any]] = []
    listed: list[dict[str, Any]] = []
    columns: dict[str, dict[str, Any]] = {}
    for number, members in enumerate(groups.values(), 1):
        row = f"r{number}"
        for trial in members:
            status, reason, _, failed = store.trial(trial.id) or ("missing", "", 0, 0)
            told = {"id": trial.id, "row": row, "data": trial.data, "seed": trial.seed, "status": status}
            listed.append({**told, "reason": reason, "failed": failed})
            for name, (_, signature, higher) in store.scores(trial.id).items():
                column = columns.setdefault(name, {"name": name, "signature": signature, "higher_is_better": higher})
                column["on"] = list(dict.fromkeys([*column.get("on", ()), trial.data]))
        rows.append({**_row([trial.id for trial in members], store), "id": row, "data": members[0].data})
        rows[-1]["labels"] = dict(members[0].labels)
        pipeline = configs[members[0].id].get("pipeline")
        rows[-1]["unbridged"] = isinstance(pipeline, dict) and bool(pipeline.get("unbridged"))
    plain = {
        "version": VERSION,
        "name": folder.name,
        "axes": list(dict.fromkeys(axis for trial in trials for axis in trial.labels)),
        "data": list(dict.fromkeys(trial.data for trial in trials)),
        "seeds": sorted({trial.seed for trial in trials}),
        "columns": list(columns.values()),
        "rows": rows,
        "trials": listed,
        "provenance": {"resolved": _resolved(folder)},
    }
    notice = (
        f"This run was stopped before it was analysed: {counted(len(trials), 'trial')} ended. Values stand without "
        "intervals, tests and plots, and claims are not judged. Run the same ablation again into this folder to go on."
    )
    return replace(evidence_of(clean_all(plain), str(folder)), notices=(notice,))


def _row(trials: Sequence[str], store: ResultStore) -> dict[str, Any]:
    values: dict[str, list[float]] = {}
    for trial in trials:
        for name, (value, _, _) in store.scores(trial).items():
            values.setdefault(name, []).append(value)
    held = [one for trial in trials if (one := store.trial(trial))]
    return {
        "trials": list(trials),
        "samples": sum(one[2] for one in held),
        "failed": sum(one[3] for one in held),
        # Other seeds are other scenes: a mean over those that went well would be of another thing.
        "values": {
            name: {"mean": statistics.fmean(found), "seeds": len(found)}
            for name, found in values.items()
            if len(found) == len(trials)
        },
    }


def _resolved(folder: Path) -> str:
    try:
        return (folder / _RESOLVED).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
