"""The stages of a plan as a tree, before anything loads: what runs, what is there already, and what it may cost.

Trials that agree up to a stage share it, so a grid costs the sum of its stages and not the product of its axes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from regionkit.core.spec import PARTS
from regionkit.plugins.ablation.batches import IMAGES_PER_BATCH
from regionkit.plugins.ablation.costs import Costs
from regionkit.plugins.ablation.stage_keys import StageKeys, entry_key
from regionkit.plugins.ablation.trials import AblationPlan, Selection, Trial

#: What becomes of a stage on some data, the first that holds: all trials below it are done; its output is in the
#: cache; what lies below is in the cache, so nobody asks for it; it runs.
STATES: tuple[str, ...] = ("done", "cached", "not needed", "runs")


@dataclass
class StageRun:
    """A stage on the samples of one selection.

    Attributes:
        key: Key of its output.
        data: ``TASK@NAME``; empty for features, which tasks share.
        seed: Evaluation seed.
        units: Pictures of a backbone, regions of all other stages.
        state: One of :data:`STATES`.
        seconds: What it may take.
        nbytes: What its output may take on disk.
        measured: Whether that was measured on this machine; it is guessed from the size of weights otherwise.
        trials: Ids of the trials below it.
    """

    key: str
    data: str
    seed: int
    units: int
    state: str = "runs"
    seconds: float = 0.0
    nbytes: float = 0.0
    measured: bool = True
    trials: list[str] = field(default_factory=list)


@dataclass
class StageNode:
    """A part of pipelines below another one, with its runs on all data.

    Attributes:
        kind: Which part.
        label: Its value on the axes, or its name.
        runs: Its runs by key.
        below: The parts that read what it gives, by key.
    """

    kind: str
    label: str
    runs: dict[str, StageRun] = field(default_factory=dict)
    below: dict[str, StageNode] = field(default_factory=dict)

    def walk(self, depth: int = 0) -> Iterator[tuple[int, StageNode]]:
        """Return this node and all below it, each after the one that it reads from."""
        yield depth, self
        for node in self.below.values():
            yield from node.walk(depth + 1)

    def count(self, state: str) -> int:
        """Return how many of its runs are in a state."""
        return sum(run.state == state for run in self.runs.values())

    @property
    def seconds(self) -> tuple[float, bool]:
        """What its runs may take together, and whether that was measured for all of them."""
        waiting = [run for run in self.runs.values() if run.state == "runs"]
        return sum(run.seconds for run in waiting), all(run.measured for run in waiting)


@dataclass
class StageForest:
    """The trees of all backbones of a plan.

    Attributes:
        roots: Backbones by key.
        naive: Stages that would run if every trial ran all of its own.
    """

    roots: dict[str, StageNode] = field(default_factory=dict)
    naive: int = 0

    def nodes(self) -> Iterator[tuple[int, StageNode]]:
        """Return all nodes with their depths, parents first."""
        for root in self.roots.values():
            yield from root.walk()

    def runs(self, kind: str = "") -> list[StageRun]:
        """Return the runs of one stage, or of all."""
        return [run for _, node in self.nodes() for run in node.runs.values() if kind in ("", node.kind)]

    @property
    def shared(self) -> int:
        """Stages that there are when those that are shared count once."""
        return len(self.runs())


class ForestBuilder:
    """Lays the trials of a plan out as trees.

    Args:
        plan: The plan.
        keys: Keys for the device and precision of the run.
        costs: What stages have cost here.
        cached: Says whether an entry is in the cache on disk.
        done: Ids of trials that have results.
    """

    def __init__(
        self, plan: AblationPlan, keys: StageKeys, costs: Costs, cached: Callable[[str], bool], done: Collection[str]
    ) -> None:
        self.plan, self.keys, self.costs, self.cached, self.done = plan, keys, costs, cached, set(done)
        self._sizes: dict[int, tuple[int, int]] = {}
        self._forest = StageForest()

    def build(self) -> StageForest:
        """Return the trees."""
        for trial in self.plan.trials:
            self._place(trial)
        for root in self._forest.roots.values():
            self._settle(root)
        return self._forest

    def _place(self, trial: Trial) -> None:
        """Add the stages of a trial that no trial before it had."""
        plan, selection = trial.combination.plan, trial.selection
        keys = self.keys.of_trial(trial)
        pictures, regions = self.size(selection)
        level = self._forest.roots
        for kind in PARTS:
            node = level.setdefault(plan.key(kind), StageNode(kind, _label(trial, kind)))
            # Features serve all tasks that look at the same pictures.
            first = kind == "backbone"
            key = f"{keys[kind]} {selection.source} {selection.seed}" if first else keys[kind]
            units = pictures if first else regions
            run = node.runs.get(key)
            if run is None:
                run = node.runs[key] = StageRun(key, "" if first else selection.ref.label, selection.seed, 0)
            if units > run.units:
                known = self.costs.of(plan, kind, self.keys.place.device)
                cost = known if known is not None else self.costs.guess(plan, kind, self.keys.place.device)
                run.seconds, run.nbytes, run.measured = cost.seconds * units, cost.nbytes * units, known is not None
                run.units = units
            run.trials.append(trial.id)
            level = node.below
            self._forest.naive += 1

    def size(self, selection: Selection) -> tuple[int, int]:
        """Return the numbers of pictures and of regions of a selection."""
        if id(selection) not in self._sizes:
            images: set[str] = set()
            regions = 0
            for sample in selection.truth:
                images.add(sample.image_id)
                regions += len(sample.candidates or sample.mentioned) or 1
            self._sizes[id(selection)] = (len(images), regions)
        return self._sizes[id(selection)]

    def _settle(self, node: StageNode) -> None:
        """Decide what becomes of the runs of a node, those below it first."""
        for below in node.below.values():
            self._settle(below)
        asked = {
            trial
            for below in node.below.values()
            for run in below.runs.values()
            if run.state == "runs"
            for trial in run.trials
        }
        for run in node.runs.values():
            if self.done.issuperset(run.trials):
                run.state = "done"
            elif node.kind in ("region_encoder", "bridge") and self._is_cached(run):
                run.state = "cached"
            elif node.kind != "decoder" and asked.isdisjoint(run.trials):
                run.state = "not needed"

    def _is_cached(self, run: StageRun) -> bool:
        pictures = next(self.size(one.selection)[0] for one in self._trials(run))
        chunks = -(-pictures // IMAGES_PER_BATCH)
        return all(self.cached(entry_key(run.key, number)) for number in range(chunks))

    def _trials(self, run: StageRun) -> Iterator[Trial]:
        if not hasattr(self, "_by_id"):
            self._by_id: Mapping[str, Trial] = {trial.id: trial for trial in self.plan.trials}
        return (self._by_id[trial] for trial in run.trials)


def _label(trial: Trial, kind: str) -> str:
    """Return what a part is called: its value on its axis, and those of its options that are axes."""
    labels = trial.combination.labels
    options = [f"{axis.partition('.')[2]}={value}" for axis, value in labels.items() if axis.startswith(f"{kind}.")]
    return labels[kind] + (f" ({', '.join(options)})" if options else "")


def forest_json(forest: StageForest) -> dict[str, Any]:
    """Return the trees in plain values."""

    def plain(node: StageNode) -> dict[str, Any]:
        runs = [
            {"key": run.key, "data": run.data, "seed": run.seed, "units": run.units, "state": run.state}
            | {"seconds": run.seconds, "bytes": run.nbytes, "measured": run.measured, "trials": run.trials}
            for run in node.runs.values()
        ]
        below = [plain(one) for one in node.below.values()]
        return {"stage": node.kind, "label": node.label, "runs": runs, "below": below}

    total, known = estimate(forest)
    return {
        "stages": forest.shared,
        "stages_unshared": forest.naive,
        "to_run": sum(run.state == "runs" for run in forest.runs()),
        "seconds": total,
        "measured": known,
        "bytes": disk_bytes(forest),
        "tree": [plain(root) for root in forest.roots.values()],
    }


def estimate(forest: StageForest) -> tuple[float, bool]:
    """Return the seconds that stages which run may take, and whether each of them was measured here."""
    parts = [node.seconds for _, node in forest.nodes()]
    return sum(seconds for seconds, _ in parts), all(known for _, known in parts)


def disk_bytes(forest: StageForest) -> float:
    """Return the bytes that stages which run may add to the cache."""
    return sum(
        run.nbytes
        for _, node in forest.nodes()
        for run in node.runs.values()
        if run.state == "runs" and node.kind != "decoder"
    )
