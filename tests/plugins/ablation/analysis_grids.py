"""Plans of the fakes' pipelines with results that are made up, so that every number can be worked out by hand."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ablation_fakes import write

from regionkit.core.results import MetricRow, ResultStore, SampleRow, TrialResult
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.trials import AblationPlan, Trial

#: Axes ``a`` and ``b`` of two levels each: labels ``0.0`` and ``1.0`` of amount, ``0.0`` and ``1.0`` of slowness.
GRID = "data: [box@t-colours]\nmetrics: [noun-f1]\ngrid: {bridge.amount: [0.0, 1.0], decoder.slow: [0.0, 1.0]}\n"
A, B = "bridge.amount", "decoder.slow"

#: Values of the samples of a trial, one a scene.
Values = Callable[[Trial], Sequence[float] | None]


def plan_of(text: str = GRID) -> AblationPlan:
    """Plan a grid over the fakes."""
    with tempfile.TemporaryDirectory() as folder:
        return plan_ablation(write(Path(folder), text))


def level(trial: Trial, axis: str) -> str:
    """Return the value of a trial on an axis."""
    return trial.combination.labels[axis]


def saved(
    plan: AblationPlan,
    values: Values,
    *,
    higher: bool = True,
    samples: bool = True,
    seconds: Callable[[Trial], Mapping[str, float]] = lambda trial: {},
    areas: Callable[[int], float | None] = lambda at: None,
) -> ResultStore:
    """Return a store in which every trial has these values; a trial whose values are None has failed."""
    store = ResultStore(None)
    for trial in plan.trials:
        found, seed = values(trial), trial.selection.seed
        head = (trial.id, trial.selection.ref.label, seed, trial.config)
        if found is None:
            store.save(TrialResult(*head, "failed", "made up", (), (), {}))
            continue
        rows = tuple(SampleRow(f"s{seed}/{at}", f"i{seed}/{at}", "x", "", "box", areas(at)) for at in range(len(found)))
        mean = sum(found) / len(found)
        metric = MetricRow("noun-f1", mean, "made|up", higher, tuple(found) if samples else None)
        store.save(TrialResult(*head, "done", "", rows, (metric,), seconds(trial)))
    return store
