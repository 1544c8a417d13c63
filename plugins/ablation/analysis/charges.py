"""What pipelines cost, whatever they shared with others, and which are not beaten in both quality and time.

A trial's own wall time says little where stages are shared: whoever comes first pays for all. Here every row is charged
with all of its stages, each with the seconds of the trial that computed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from regionkit.core.results import ResultStore
from regionkit.core.spec import PARTS
from regionkit.plugins.ablation.analysis.rows import Row, Table
from regionkit.plugins.ablation.trials import Trial

#: Stages that stand beside the pipeline: they are told, and are no part of its cost.
_BESIDE = ("metric", "build", "trial")
#: Where a trial's seconds say that it read outputs from the disk.
_CACHE = "cache"

Seconds = dict[str, float]


class Charges:
    """Seconds of stages, charged to every pipeline that needs them.

    Args:
        trials: All trials of the run.
        store: Has their seconds.
    """

    def __init__(self, trials: Sequence[Trial], store: ResultStore) -> None:
        self._own: dict[str, Seconds] = {trial.id: store.seconds(trial.id) for trial in trials}
        self._charged: dict[tuple[str, ...], float] = {}
        self._read: set[tuple[str, ...]] = set()
        for trial in trials:
            for stage, keys in _keys_of(trial).items():
                own = self._own[trial.id]
                spent = own.get(stage, 0.0) or own.get(f"{stage} (cached)", 0.0)
                for key in keys:
                    self._charged[key] = max(self._charged.get(key, 0.0), spent)
                    if _CACHE in self._own[trial.id]:
                        self._read.add(key)

    def of(self, row: Row) -> Seconds:
        """Return the seconds of a row by stage, seeds summed.

        The four stages are those of whichever trials computed them; one that all trials read from the disk is not
        there. ``metric``, ``build`` and ``trial`` are the row's own.
        """
        found: Seconds = {}
        for stage in PARTS:
            charged = [self._charge(_keys_of(trial)[stage]) for trial in row.trials]
            known = [one for one in charged if one is not None]
            if len(known) == len(charged):
                found[stage] = sum(known)
        for stage in _BESIDE:
            own = [self._own[trial.id][stage] for trial in row.trials if stage in self._own[trial.id]]
            if own:
                found[stage] = sum(own)
        return found

    def _charge(self, keys: Sequence[tuple[str, ...]]) -> float | None:
        for key in keys:
            if self._charged[key] > 0:
                return self._charged[key]
        # Nobody computed it: outputs came from the disk, and what they had cost is not known, or there was no need.
        return None if any(key in self._read for key in keys) else 0.0


def _keys_of(trial: Trial) -> dict[str, list[tuple[str, ...]]]:
    """Return under what the seconds of each stage are shared, the closest first.

    Features of pictures serve all tasks and seeds of a data set; everything below belongs to the samples.
    """
    plan, selection = trial.combination.plan, trial.selection
    pictures = ("backbone", plan.key("backbone"), selection.source, selection.split, str(selection.settings.limit))
    place = ("", selection.ref.label, str(selection.seed), *(plan.key(kind) for kind in PARTS))
    found = {"backbone": [(*pictures, str(selection.seed)), pictures]}
    for end, stage in enumerate(PARTS[1:], 5):
        found[stage] = [(stage, *place[1:end])]
    return found


def per_sample(seconds: Seconds, samples: int) -> float | None:
    """Return the seconds that the four stages of a pipeline take for a sample; None where one is not known."""
    if not samples or any(stage not in seconds for stage in PARTS):
        return None
    return sum(seconds[stage] for stage in PARTS) / samples


def pareto(tables: Sequence[Table], times: dict[str, float | None]) -> list[dict[str, Any]]:
    """Return by data set and column what each row costs and gives, fastest first, and which rows none beats.

    Args:
        tables: The values.
        times: Seconds a sample by row; a row whose time is not known has no point.
    """
    found = []
    for table in tables:
        known = [
            (spent, float(value), row.id)
            for row, value in zip(table.rows, table.values, strict=True)
            if (spent := times[row.id]) is not None
        ]
        if known:
            found.append({"data": table.data, "column": table.column, "points": _points(known, table.higher)})
    return found


def _points(known: list[tuple[float, float, str]], higher: bool) -> list[dict[str, Any]]:
    """Mark the front: walking from the fastest on, a point is on it where it beats all that came before."""
    sign = 1.0 if higher else -1.0
    order = sorted(known, key=lambda one: (one[0], -sign * one[1]))
    best, at_best, points = float("-inf"), -1.0, []
    for spent, value, row in order:
        front = sign * value > best or (sign * value == best and spent == at_best)
        if sign * value > best:
            best, at_best = sign * value, spent
        points.append({"row": row, "seconds_per_sample": spent, "value": value, "front": front})
    return points
