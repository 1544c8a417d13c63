"""How ``--plan`` shows the stages of an ablation."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from regionkit.core.compute import route_known
from regionkit.core.results import DATABASE, ResultStore
from regionkit.core.spec import PARTS
from regionkit.plugins.ablation.cache.entries import place_of
from regionkit.plugins.ablation.cache.sizes import human
from regionkit.plugins.ablation.costs import Costs
from regionkit.plugins.ablation.run_options import run_options
from regionkit.plugins.ablation.stage_keys import Place, StageKeys
from regionkit.plugins.ablation.tables import LEGEND, plan_table, planned_trial, refused_table
from regionkit.plugins.ablation.tree import (
    STATES,
    ForestBuilder,
    StageForest,
    StageNode,
    disk_bytes,
    estimate,
    forest_json,
)
from regionkit.plugins.ablation.trials import AblationPlan
from regionkit.plugins.ablation.words import counted
from regionkit.registry.assembly import pick_device

#: Parts that are listed; of larger trees the numbers of each stage are told.
_MOST_LINES = 60
#: Trials up to which JSON is indented.
_READABLE = 1000
#: What one thing is called that a stage works on.
_UNITS = {"backbone": "picture"}


def show_plan(plan: AblationPlan, folder: Path, options: Mapping[str, Any]) -> None:
    """Print the trials, the weights that were chosen for them, the stages that they share, and what cannot run."""
    done: set[str] = set()
    if (folder / DATABASE).is_file():
        with ResultStore(folder / DATABASE, read_only=True) as store:
            done = store.done()
    settings = run_options(options)
    device, precision = _device(settings.device), plan.spec.settings.precision

    def cached(key: str) -> bool:
        return settings.cache is not None and place_of(settings.cache, key, precision).is_file()

    # Without torch nothing can be measured: what was not, is taken for torch's own products.
    place = Place.of(device, precision, plan.spec.settings.computed, onednn=route_known())
    forest = ForestBuilder(plan, StageKeys(place), Costs.read(), cached, done).build()
    if options["as_json"]:
        # Indenting is for eyes, and takes as long as planning does.
        indent = 2 if len(plan.trials) <= _READABLE else None
        click.echo(json.dumps(plan_json(plan, forest, done), indent=indent))
        return
    click.echo(plan_table(plan))
    if any(trial.combination.plan.unbridged for trial in plan.trials):
        click.echo(f"\n{LEGEND}")
    for remark, count in Counter(note for trial in plan.trials for note in trial.combination.plan.remarks()).items():
        click.echo(f"\n{counted(count, 'trial')}: {remark}")
    if plan.refused:
        click.echo("\nTrials that cannot run:\n" + refused_table(plan))
    stages = forest_text(forest, device, cache=settings.cache is not None)
    click.echo(f"\nStages, each under the one that it reads from:\n{stages}")
    data = ", ".join(dict.fromkeys(trial.selection.ref.label for trial in plan.trials))
    seeds = ", ".join(map(str, plan.spec.settings.seeds))
    sizes = [counted(len(plan.trials), "trial"), f"{sum(trial.id in done for trial in plan.trials)} done in {folder}"]
    sizes += [f"{plan.excluded} excluded"] if plan.excluded else []
    sizes += [f"{plan.repeated} named twice"] if plan.repeated else []
    click.echo(f"\n{', '.join(sizes)}; data: {data}; seeds: {seeds}")


def _device(name: str) -> str:
    """Return the kind of device of a name; torch takes seconds to import and is asked only where a GPU may be."""
    gpu = sys.platform == "darwin" or any(Path(place).exists() for place in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))
    return pick_device(name).type if gpu or name not in ("auto", "cpu") else "cpu"


def plan_json(plan: AblationPlan, forest: StageForest, done: set[str]) -> dict[str, Any]:
    """Return the plan in plain values."""
    return {
        "name": plan.name,
        "trials": [{**planned_trial(trial, plan.axes), "done": trial.id in done} for trial in plan.trials],
        "refused": refused_json(plan),
        "excluded": plan.excluded,
        "mistakes": [str(problem) for problem in plan.mistakes],
        "stages": forest_json(forest),
    }


def refused_json(plan: AblationPlan) -> list[dict[str, Any]]:
    """Return what cannot run, and why, in plain values."""
    return [
        {"axes": dict(one.labels), "data": one.data, "trials": one.count, "reason": one.reason} for one in plan.refused
    ]


def forest_text(forest: StageForest, device: str, *, cache: bool = True) -> str:
    """Return the tree, what it comes to, and what it may cost on a kind of device."""
    nodes = list(forest.nodes())
    if len(nodes) <= _MOST_LINES:
        lines = [_line(depth, node) for depth, node in nodes]
    else:
        lines = [_summary(forest, kind) for kind in PARTS]
    return "\n".join([*_aligned(lines), "", *totals(forest, device, cache=cache)])


def totals(forest: StageForest, device: str, *, cache: bool = True) -> list[str]:
    """Return sentences on how many stages run, how long they may take, and how much they may write."""
    states = Counter(run.state for run in forest.runs())
    told = ", ".join(f"{states[state]} {_STATE_WORDS[state]}" for state in STATES if states[state])
    lines = [f"{counted(forest.shared, 'stage')} instead of {forest.naive} without sharing: {told}"]
    if states["runs"]:
        seconds, _ = estimate(forest)
        lines.append(f"time: about {_duration(seconds)} on {device}{_guessed(forest)}")
        lines.append(f"cache: at most about {human(int(disk_bytes(forest)))} to write" if cache else "cache: off")
    return lines


_STATE_WORDS = {
    "done": "of finished trials",
    "cached": "in the cache",
    "not needed": "that nothing asks for",
    "runs": "to run",
}


def _line(depth: int, node: StageNode) -> list[str]:
    states = ", ".join(f"{node.count(state)} {_SHORT[state]}" for state in STATES if node.count(state))
    units = sum(run.units for run in node.runs.values())
    seconds, measured = node.seconds
    time = f"{'' if measured else '~'}{_duration(seconds)}" if node.count("runs") else ""
    what = counted(units, _UNITS.get(node.kind, "region"))
    return [f"{'  ' * depth}{node.kind} {node.label}", what, states, time]


_SHORT = {"done": "done", "cached": "cached", "not needed": "not needed", "runs": "to run"}


def _summary(forest: StageForest, kind: str) -> list[str]:
    nodes = [node for _, node in forest.nodes() if node.kind == kind]
    runs = forest.runs(kind)
    states = Counter(run.state for run in runs)
    told = ", ".join(f"{states[state]} {_SHORT[state]}" for state in STATES if states[state])
    units = counted(sum(run.units for run in runs), _UNITS.get(kind, "region"))
    return [f"{counted(len(nodes), kind.replace('_', ' '))}", units, told, ""]


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _guessed(forest: StageForest) -> str:
    """Say which parts have never run here."""
    running = [(f"{node.kind} {node.label}", node.seconds[1]) for _, node in forest.nodes() if node.count("runs")]
    names = list(dict.fromkeys(name for name, measured in running if not measured))
    if not names:
        return ", as measured here before"
    if len(names) == len({name for name, _ in running}):
        return ", guessed from the size of weights: none of these parts has run here yet"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f", of which that of {', '.join(names[:3])}{more} is guessed (~): they have not run here yet"


def _duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
