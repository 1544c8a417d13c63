"""A grid of 2 x 3 x 2 x 3 pipelines: how much passes through the models, and how long it takes beside trials alone."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grid_parts
import pytest
from side_by_side import Goal, Size, Table, in_seconds, interleaved

from regionkit.core.results import ResultStore
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.run_options import RunOptions
from regionkit.plugins.ablation.runner import Runner
from regionkit.plugins.ablation.trials import AblationPlan
from regionkit.registry import registry as registry_module
from regionkit.registry.assembly import build_pipeline
from regionkit.registry.registry import Owner

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]
PLACE = 9

GRID = """\
version: 1
base:
  backbone: {{name: b-vit, weights: none}}
  region_encoder: b-pool
  bridge: {{name: b-memory, weights: none}}
  decoder: {{name: b-decap, weights: none, tokenizer: bytes, vocabulary: 50257, positions: 10, compat: reference}}
data: [{{task: box, name: b-pictures, pictures: {pictures}}}]
metrics: [b-letters]
grid:
  backbone.resolution: [224, 208]
  region_encoder.weighting: [uniform, gaussian, central]
  bridge.temperature: [0.01, 0.05]
  decoder.max_length: [20, 21, 22]
"""


@pytest.fixture(autouse=True)
def parts() -> Iterator[None]:
    registry_module.get_registry.cache_clear()
    registry = registry_module.get_registry()
    registry.register(grid_parts, Owner("grid_parts", "tests", "0"))
    assert "grid_parts" in registry.plugins, registry.quarantined
    yield
    grid_parts.forget()
    registry_module.get_registry.cache_clear()


class Silent:
    """Watches a run and says nothing."""

    def __getattr__(self, name: str):
        return lambda *args, **kwargs: None


def captions(plan: AblationPlan, cache: Path | None = None) -> dict[str, list[str | None]]:
    """Run the trials of a plan, with a cache on disk or none; return the captions of each."""
    with ResultStore(None) as store:
        summary = Runner(plan, store, Silent(), RunOptions("cpu", threads=1, cache=cache)).run()
        assert not summary.failed
        assert not summary.bad_samples
        return {trial.id: [row.caption for row in store.captions(trial.id)] for trial in plan.trials}


def test_a_grid_beside_its_trials_one_by_one(table: Table, size: Size, tmp_path: Path):
    path = tmp_path / "grid.yaml"
    path.write_text(GRID.format(pictures=size.pictures))
    plan = plan_ablation(path)
    assert len(plan.trials) == 36
    counts: dict[str, Counter[str]] = {}
    cpu: dict[str, float] = {}

    def counted_run(name: str, work):
        def run():
            grid_parts.SEEN.clear()
            start = time.process_time()
            found = work()
            cpu[name] = time.process_time() - start
            counts[name] = Counter(grid_parts.SEEN)
            return found

        return run

    def one_by_one() -> dict[str, list[str | None]]:
        return {name: said for trial in plan.trials for name, said in captions(replace(plan, trials=[trial])).items()}

    def grid() -> dict[str, list[str | None]]:
        return captions(plan, Path(tempfile.mkdtemp(dir=tmp_path)))  # an empty cache: it is written and never read

    for trial in plan.trials:
        build_pipeline(trial.combination.plan, device="cpu", reuse={})
    alternatives = {"alone": counted_run("alone", one_by_one), "grid": counted_run("grid", grid)}
    timings = interleaved(alternatives, {"alone": 1, "grid": 2}, time.perf_counter)
    assert timings.results["grid"] == timings.results["alone"]
    assert len({caption for said in timings.results["grid"].values() for caption in said}) > 10
    each = {"backbone": size.pictures} | dict.fromkeys(
        ("region_encoder", "bridge", "decoder"), size.pictures * grid_parts.BOXES
    )
    runs = {name: {stage: counts[name][stage] / items for stage, items in each.items()} for name in counts}
    assert runs["alone"] == dict.fromkeys(each, 36)
    workload = f"2 x 3 x 2 x 3 grid, {size.pictures} pictures of {grid_parts.BOXES} boxes"
    table.add(
        PLACE,
        f"{workload}, backbone passes counted on the models",
        f"one by one: {counts['alone']['backbone']}",
        f"{counts['grid']['backbone']}, which is {runs['grid']['backbone']:g} a picture",
        runs["grid"]["backbone"],
        Goal(2, "at most", " a picture"),
    )
    table.add(
        PLACE,
        f"{workload}, runs of the four stages counted on the models",
        f"one by one: {sum(runs['alone'].values()):g}",
        ", ".join(f"{stage} {number:g}" for stage, number in runs["grid"].items()),
        sum(runs["grid"].values()),
        Goal(56, "at most", " runs"),
    )
    work = f"{workload}, ViT-B/16, 10 tokens a caption, bank of {grid_parts.BANK:,}, models built before"
    table.add(
        PLACE,
        f"{work}, CPU time",
        f"one by one, nothing cached: {in_seconds(cpu['alone'])}",
        in_seconds(cpu["grid"]),
        cpu["grid"] / cpu["alone"],
    )
    table.add(
        PLACE,
        f"{work}, wall time",
        f"one by one, nothing cached: {timings.said('alone')}",
        timings.said("grid"),
        timings.ratio("grid", "alone"),
        Goal(0.45, "at most"),
        at_goal_size=size.full,
    )
