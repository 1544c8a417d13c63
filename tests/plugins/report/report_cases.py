"""A run folder made by hand: results of a small grid on pictures of the mini-world, and an analysis of them."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import product
from pathlib import Path
from statistics import fmean

from regionkit.core.regions import area_of
from regionkit.core.results import DATABASE, MetricRow, ResultStore, SampleRow, TrialResult
from regionkit.registry.assembly import build

AXES = ("backbone", "region_encoder", "bridge")
GRID = {
    "backbone": ["mini-dense", "mini-clip"],
    "region_encoder": ["patch-pool", "crop", "whole"],
    "bridge": ["none", "memory"],
}
TASKS = ("box", "trace")
COLUMNS = {"cider-d": True, "perplexity": False}
DISCLAIMER = "An ordering in the mini-world is evidence about code, never about a paper's numbers."
#: A caption that would end a script, an attribute, a cell of LaTeX, and a line read from left to right.
HOSTILE = "</script><script>alert(1)</script> \"'`&amp; \u202eשלום 🦒 \x00 50% $x_1$ \\end{tabular}"


def quality(labels, data):
    value = {"mini-dense": 2.0, "mini-clip": 1.0}[labels["backbone"]]
    value += {"patch-pool": 1.0, "crop": 0.4, "whole": 0.0}[labels["region_encoder"]]
    value += 0.6 if labels["bridge"] == "memory" else 0.0
    value += 0.5 if labels["backbone"] == "mini-dense" and labels["region_encoder"] == "patch-pool" else 0.0
    return value * (1.0 if data == "box@mini" else 0.8)


def config(labels, task, fingerprint, limit):
    parts = {axis: {"name": label} for axis, label in labels.items()}
    return {
        "code": "0123456789abcdef",
        "data": {
            "dataset": {"name": "mini"},
            "fingerprint": fingerprint,
            "limit": limit,
            "seed": 0,
            "split": "test",
            "task": {"name": task},
        },
        "metrics": {},
        "pipeline": {**parts, "decoder": {"name": "decap"}, "unbridged": labels["bridge"] == "none"},
    }


def results(limit=8):
    """Yield the trials of the grid: scores follow from the labels and the place of the sample."""
    dataset = build("dataset", {"name": "mini"})
    for task in TASKS:
        samples = dataset.samples(task, "test", 0, limit)
        fingerprint = dataset.fingerprint(task, "test", 0, limit)
        for number, values in enumerate(product(*GRID.values())):
            labels = dict(zip(AXES, values, strict=True))
            worth = quality(labels, f"{task}@mini")
            rows = tuple(
                SampleRow(
                    one.id,
                    one.image_id,
                    one.references[0] if (at + number) % 3 else f"something by {values[0]}",
                    "",
                    one.region.kind,
                    area_of(one.region),
                )
                for at, one in enumerate(samples)
            )
            scores = tuple(worth + ((at * 7 + number * 3) % 5 - 2) * 0.2 for at in range(len(samples)))
            metrics = (
                MetricRow("cider-d", fmean(scores), "cider-d|v1", True, scores),
                MetricRow("perplexity", 9 - worth, "perplexity|v1", False, tuple(9 - score for score in scores)),
            )
            trial = f"{task}{number:02d}".ljust(16, "0")
            seconds = {"trial": 1.0 + number * 0.3}
            stored = config(labels, task, fingerprint, limit)
            yield TrialResult(trial, f"{task}@mini", 0, stored, "done", "", rows, metrics, seconds)


def analysis(trials):
    """Return what the ablation would write of such trials: means are true, intervals and p are made up."""
    rows = []
    for number, trial in enumerate(trials, 1):
        labels = {axis: trial.config["pipeline"][axis]["name"] for axis in AXES}
        values = {
            one.metric: {"mean": one.value, "spread": 0.0, "low": one.value - 0.3, "high": one.value + 0.25, "seeds": 1}
            for one in trial.metrics
        }
        rows.append(
            {
                "id": f"r{number}",
                "labels": labels,
                "names": dict(labels),
                "data": trial.data,
                "trials": [trial.id],
                "unbridged": labels["bridge"] == "none",
                "samples": len(trial.samples),
                "failed": trial.failed,
                "seconds": dict(trial.seconds),
                "seconds_per_sample": trial.seconds["trial"] / max(len(trial.samples), 1),
                "values": values,
            }
        )
    data = list(dict.fromkeys(trial.data for trial in trials))
    found = {
        "version": 1,
        "name": "by-hand",
        "question": "Which part does what?",
        "command": "toolkit ablate by-hand.yaml --out runs/by-hand",
        "disclaimers": [DISCLAIMER],
        "axes": [*AXES, "decoder"],
        "varied": list(AXES),
        "data": data,
        "seeds": [0],
        "columns": [
            {"name": name, "higher_is_better": higher, "signature": f"{name}|v1", "on": data}
            for name, higher in COLUMNS.items()
        ],
        "rows": rows,
        "main_effects": [],
        "leave_one_out": [],
        "interactions": [],
        "pareto": [],
        "sizes": [],
        "robustness": [],
        "claims": _claims(),
        "correction": {
            "method": "Holm",
            "families": [{"name": "claims", "tests": 3}],
            "sentence": "p corrected: Holm's procedure over the 3 tests of the claims.",
        },
        "refused": [
            {"axes": {"backbone": "mini-clip"}, "data": "", "trials": 2, "reason": "its tokens do not fit the decoder"}
        ],
        "excluded": 1,
        "left_out": [["box@mini", "clip-score", "needs a backbone"]],
        "trials": [
            {
                "id": trial.id,
                "row": row["id"],
                "data": trial.data,
                "seed": 0,
                "status": "done",
                "reason": "",
                "notes": [],
                "failed": trial.failed,
                "unjudged": {},
            }
            for trial, row in zip(trials, rows, strict=True)
        ],
        "provenance": _provenance(),
    }
    for place in product(data, COLUMNS):
        _sections(found, *place)
    return found


def _mean(rows, column):
    return fmean(row["values"][column]["mean"] for row in rows)


def _sections(found, data, column):
    rows = [row for row in found["rows"] if row["data"] == data and column in row["values"]]
    place = {"data": data, "column": column}
    sign = 1 if COLUMNS[column] else -1
    best = max(rows, key=lambda row: sign * row["values"][column]["mean"])
    changes = []
    for axis in AXES:
        levels = defaultdict(list)
        for row in rows:
            levels[row["labels"][axis]].append(row)
        told = [
            {"label": label, "mean": (m := _mean(some, column)), "low": m - 0.2, "high": m + 0.2, "rows": len(some)}
            for label, some in levels.items()
        ]
        means = [one["mean"] for one in told]
        tested = {"range": max(means) - min(means), "p": 0.004, "p_corrected": 0.012}
        found["main_effects"].append({**place, "axis": axis, "levels": told, **tested})
        for row in rows:
            if all((row["labels"][other] == best["labels"][other]) == (other != axis) for other in AXES):
                apart = row["values"][column]["mean"] - best["values"][column]["mean"]
                ends = {"difference": apart, "low": apart - 0.3, "high": apart + 0.3, "p": 0.01, "p_corrected": 0.04}
                words = {"axis": axis, "from": best["labels"][axis], "to": row["labels"][axis], "row": row["id"]}
                changes.append({**words, "value": row["values"][column]["mean"], **ends})
    found["leave_one_out"].append({**place, "full": best["id"], "changes": changes})
    for first, second in (AXES[:2], AXES[1:], (AXES[0], AXES[2])):
        means = [
            [
                _mean([row for row in rows if row["labels"][first] == a and row["labels"][second] == b], column)
                for b in GRID[second]
            ]
            for a in GRID[first]
        ]
        grand = fmean(map(fmean, means))
        across = [fmean(line) for line in zip(*means, strict=True)]
        rest = [[cell - fmean(line) - across[at] + grand for at, cell in enumerate(line)] for line in means]
        strength = fmean(cell**2 for line in rest for cell in line) ** 0.5
        tested = {"strength": strength, "p": 0.2, "p_corrected": 0.4}
        labels = [GRID[first], GRID[second]]
        pair = {"axes": [first, second], "labels": labels, "means": means, "residuals": rest}
        found["interactions"].append({**place, **pair, **tested})
    points = [
        {"row": row["id"], "seconds_per_sample": row["seconds_per_sample"], "value": row["values"][column]["mean"]}
        for row in rows
    ]
    for one in points:
        faster = [other for other in points if other["seconds_per_sample"] < one["seconds_per_sample"]]
        one["front"] = all(sign * other["value"] < sign * one["value"] for other in faster)
    found["pareto"].append({**place, "points": points})
    bins = [("<= 600 px2", 0, 600), ("600 to 1500 px2", 600, 1500), ("> 1500 px2", 1500, None)]
    series = [
        {
            "row": row["id"],
            "values": [
                {"mean": (m := row["values"][column]["mean"] + 0.3 * at), "low": m - 0.2, "high": m + 0.2, "samples": 9}
                for at in range(3)
            ],
        }
        for row in rows
    ]
    bins = [dict(zip(("label", "low", "high"), one, strict=True)) for one in bins]
    found["sizes"].append({**place, "bins": bins, "series": series})
    amounts = [0, 0.1, 0.2]
    disturbed = []
    for row in rows:
        values = [row["values"][column]["mean"] - sign * amount * 2 for amount in amounts]
        ends = {"low": [one - 0.1 for one in values], "high": [one + 0.1 for one in values]}
        encoder = {"region_encoder": row["labels"]["region_encoder"], "amounts": amounts, "values": values}
        disturbed.append({"row": row["id"], **encoder, **ends, "area": fmean(values), "kept": 0.9})
    found["robustness"].append({**place, "perturbation": "jitter", "series": disturbed})


def _claims():
    told = {"say": "backbone=mini-dense > backbone=mini-clip", "by": "cider-d", "where": {"bridge": ["memory"]}}
    test = {"within": 0.0, "reason": "", "low": 0.7, "high": 1.2, "p": 0.0001, "p_corrected": 0.0003}
    more = {"difference": 0.95, "n": 16, "groups": 8, "detectable": 0.2, "effect": 1.25}
    return [
        {**told, "on": "box@mini", "must": True, "verdict": "holds", "shown": True, **test, **more},
        {**told, "on": "trace@mini", "must": True, "verdict": "not shown", "shown": False, **test, **more, "low": -0.4},
        {
            **told,
            "say": "region_encoder=crop > region_encoder=whole",
            "where": {},
            "on": "box@mini",
            "must": False,
            "verdict": "recorded",
            "shown": True,
            **test,
            **more,
        },
        {
            **told,
            "on": "image@mini",
            "must": True,
            "within": 0.0,
            "verdict": "undecided",
            "shown": False,
            "reason": "2 of 4 trials have no result",
        },
    ]


def _provenance():
    record = {"plugin": "mini", "distribution": "regionkit", "version": "0.1.0", "license": "Apache-2.0"}
    return {
        "resolved": "version: 1\nbase: mini\ngrid:\n  backbone: [mini-dense, mini-clip]\n",
        "versions": {"regionkit": "0.1.0", "python": "3.11.2", "torch": "2.6.0", "platform": "Linux x86_64"},
        "code": ["0123456789abcdef"],
        "components": [{"kind": "backbone", "name": name, **record} for name in GRID["backbone"]],
        "weights": [
            {"component": "mini-dense", "file": "mini-dense.safetensors", "sha256": "70129583", "license": "Apache-2.0"}
        ],
        "data": [
            {
                "label": "box@mini",
                "dataset": "mini",
                "split": "test",
                "fingerprints": {"0": "0e5363e8"},
                "license": "Apache-2.0",
            }
        ],
    }


def make_run(folder: Path, limit=8, change=None, analysed=True):
    """Write a run folder; ``change`` may alter trials and analysis before they are written."""
    folder.mkdir(parents=True, exist_ok=True)
    trials = list(results(limit))
    found = analysis(trials)
    if change is not None:
        trials, found = change(trials, found)
    with ResultStore(folder / DATABASE) as store:
        for trial in trials:
            store.save(trial)
    if analysed:
        (folder / "analysis.json").write_text(json.dumps(found), encoding="utf-8")
    return folder
