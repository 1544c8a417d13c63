"""The engine: stages that trials share run once, in this run and in the next; a fault costs no more than it must."""

from __future__ import annotations

import gc
import time
import weakref
from collections import Counter
from dataclasses import replace

import ablation_fakes
import pytest
import torch
from ablation_fakes import write

from regionkit.core.features import Features, RegionTokens
from regionkit.plugins.ablation.cache.stage_cache import StageCache
from regionkit.plugins.ablation.clock import StageClock
from regionkit.plugins.ablation.memory import ChunkStore, Encoded, in_precision
from regionkit.plugins.ablation.models import Models
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.run_options import RunOptions
from regionkit.plugins.ablation.runner import running_order
from regionkit.plugins.ablation.trial_runner import TrialRunner
from regionkit.registry.document import read_pipeline
from regionkit.registry.plan import plan_pipeline

GRID = """
data: [box@t-colours]
metrics: [noun-f1]
grid:
  backbone: [{name: t-grid, grid: 4}, {name: t-grid, grid: 8}]
  region_encoder: [t-pool, {name: t-pool, flip: true}, t-global]
  bridge: [t-shift, {name: t-shift, amount: 0.01}]
  decoder: [t-nearest, {name: t-nearest, slow: 0.0001}, {name: t-nearest, slow: 0.0002}]
"""


@pytest.fixture
def counted(monkeypatch) -> Counter:
    """Count how often models run, by hooks on the models themselves."""
    calls: Counter[str] = Counter()

    def hook(cls: type, method: str, kind: str) -> None:
        inner = getattr(cls, method)

        def outer(self, *args, **kwargs):
            calls[kind] += 1
            return inner(self, *args, **kwargs)

        monkeypatch.setattr(cls, method, outer)

    hook(ablation_fakes.CountedGrid, "encode", "backbone")
    hook(ablation_fakes.Pool, "encode", "region_encoder")
    hook(ablation_fakes.Global, "encode", "region_encoder")
    hook(ablation_fakes.Shift, "bridge", "bridge")
    hook(ablation_fakes.Nearest, "generate", "decoder")
    return calls


def run(tmp_path, text: str, tell=None, **options):
    """Run all trials of a file; return the plan and the results by id."""
    plan = plan_ablation(write(tmp_path, text))
    runner = TrialRunner(plan, RunOptions(device="cpu", **options), tell or (lambda said: None))
    trials = running_order(plan.trials)
    runner.expect(trials)
    results = {trial.id: runner.run(trial) for trial in trials}
    runner.close()
    return plan, results, runner


def captions(results) -> dict[str, list[str | None]]:
    return {trial: [row.caption for row in result.samples] for trial, result in results.items()}


def test_a_grid_costs_the_sum_of_its_stages(tmp_path, counted):
    plan, results, _ = run(tmp_path, GRID)
    assert len(plan.trials) == 36
    assert {result.status for result in results.values()} == {"done"}
    assert counted == {"backbone": 2, "region_encoder": 6, "bridge": 12, "decoder": 36}
    assert sum(counted.values()) == 56  # and 4 x 36 = 144 without sharing


def test_a_new_decoder_on_a_finished_grid_runs_nothing_above_it(tmp_path, counted):
    cache = tmp_path / "cache"
    first = run(tmp_path, GRID, cache=cache)[1]
    counted.clear()
    one = GRID.replace("decoder: [t-nearest, {name: t-nearest, slow: 0.0001}, {name: t-nearest, slow: 0.0002}]",
                       "decoder: [{name: t-nearest, slow: 0.0003}]")  # fmt: skip
    second = run(tmp_path, one, cache=cache)[1]
    assert counted == {"decoder": 12}
    assert {tuple(one) for one in captions(second).values()} <= {tuple(one) for one in captions(first).values()}


@pytest.mark.parametrize("memory", [pytest.param(1 << 20, id="in memory"), pytest.param(0, id="on disk alone")])
def test_captions_from_the_cache_are_those_of_a_fresh_run(tmp_path, counted, memory):
    text = GRID.replace("t-shift, {", "{name: t-shift, amount: 0.02}, {")
    fresh = captions(run(tmp_path, text)[1])
    first = captions(run(tmp_path, text, cache=tmp_path / "cache", feature_bytes=memory)[1])
    counted.clear()
    again = captions(run(tmp_path, text, cache=tmp_path / "cache", feature_bytes=memory)[1])
    assert fresh == first == again
    assert set(counted) == {"decoder"}


def test_a_damaged_entry_is_computed_again_and_told_of(tmp_path, counted):
    cache, said = tmp_path / "cache", []
    fresh = captions(run(tmp_path, GRID, cache=cache)[1])
    files = sorted(cache.rglob("*.safetensors"))
    for file in files:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    counted.clear()
    again = run(tmp_path, GRID, said.append, cache=cache)[1]
    assert captions(again) == fresh
    assert counted["bridge"] == 12
    assert counted["region_encoder"] == 6
    assert any("damaged" in text for text in said)


def test_a_cache_that_rounds_says_how_many_captions_differ(tmp_path):
    results = run(tmp_path, GRID + "cache_precision: float16\n", cache=tmp_path / "cache")[1]
    notes = {note for result in results.values() for note in result.notes}
    assert len(notes) == 1
    assert notes.pop() == ("cache in float16: 0 of 24 captions of the first 6 pictures differ from those of float32")
    exact = run(tmp_path, GRID)[1]
    assert not exact.keys() & results.keys()  # a rounded trial is another trial


def test_a_trial_rounds_whether_or_not_there_is_a_cache(tmp_path, monkeypatch):
    """Precision is part of what a trial is, and a cache is not."""
    seen: list[torch.Tensor] = []
    inner = ablation_fakes.Nearest.generate

    def generate(self, inputs, *args, **kwargs):
        seen.append(inputs.tokens.clone())
        return inner(self, inputs, *args, **kwargs)

    monkeypatch.setattr(ablation_fakes.Nearest, "generate", generate)
    text = ONE + "cache_precision: float16\ngrid: {bridge: [{name: t-shift, amount: 0.1234567}]}\n"
    given = {}
    for cache in (None, tmp_path / "cache"):
        seen.clear()
        given[cache] = run(tmp_path, text, cache=cache)[1], seen[0]
    assert torch.equal(*(tokens for _, tokens in given.values()))
    assert torch.equal(given[None][1], given[None][1].half().float())
    (plain, cached) = ([result.notes for result in results.values()] for results, _ in given.values())
    assert plain == cached


def test_what_comparing_precisions_takes_is_no_part_of_a_trial(tmp_path):
    plan = plan_ablation(write(tmp_path, ONE + "cache_precision: float16\n"))
    runner = TrialRunner(plan, RunOptions(device="cpu"))
    assert "cache in float16" in runner.shard(plan.trials[0]).notes[0]
    units = runner._tree.clock.units
    assert (units["data"], units["backbone"], units["region_encoder"]) == (6, 6, 24)
    runner.close()


@pytest.mark.parametrize("large", [pytest.param(1.0, id="rounded"), pytest.param(1e5, id="kept-whole")])
def test_a_chunk_is_rounded_as_its_entry_is(tmp_path, large):
    """One value that has no place in float16 keeps the whole entry as it is, and so what a fresh run hands on."""
    tokens = [RegionTokens.single(torch.tensor([[0.1, large]]), "a[2]"), RegionTokens.single(torch.rand(2, 2), "a[2]")]
    chunk = Encoded([((0,), tokens[0]), ((1, 2), tokens[1])])
    store = ChunkStore(StageCache(tmp_path, precision="float16"), 0, StageClock(lambda *_: None), "cpu")
    store.put("0" * 16, 0, chunk, {})
    read, fresh = store.get("0" * 16, 0), in_precision(chunk, "float16")
    assert [positions for positions, _ in read.batches] == [positions for positions, _ in fresh.batches]
    for (_, one), (_, other) in zip(read.batches, fresh.batches, strict=True):
        assert torch.equal(one.tokens, other.tokens)
        assert torch.equal(one.mask, other.mask)


def test_failed_samples_are_not_kept_on_disk(tmp_path, counted):
    text = GRID.replace("[box@t-colours]", "[{task: box, name: t-colours, broken: true}]")
    results = run(tmp_path, text, cache=tmp_path / "cache")[1]
    assert {result.failed for result in results.values()} == {4}
    counted.clear()
    again = run(tmp_path, text, cache=tmp_path / "cache")[1]
    assert captions(again) == captions(results)
    assert counted["region_encoder"] == 6  # the picture may have been mended in the meantime


class Exploding:
    """Lets a model run out of memory above a number of things at once."""

    def __init__(self, monkeypatch, cls: type, method: str, most: int, error: type[Exception] = torch.OutOfMemoryError):
        inner = getattr(cls, method)
        self.tried: list[int] = []

        def outer(model, things, *args, **kwargs):
            self.tried.append(len(things))
            if len(things) > most:
                raise error("CUDA out of memory. Tried to allocate 1 GiB")
            return inner(model, things, *args, **kwargs)

        monkeypatch.setattr(cls, method, outer)


ONE = "\ndata: [box@t-colours]\nmetrics: [noun-f1]\n"


@pytest.mark.parametrize(
    ("cls", "method", "most", "what"),
    [
        pytest.param(ablation_fakes.CountedGrid, "encode", 3, "pictures", id="backbone"),
        pytest.param(ablation_fakes.Shift, "bridge", 5, "regions", id="bridge"),
        pytest.param(ablation_fakes.Nearest, "generate", 7, "regions", id="decoder"),
    ],
)
def test_out_of_memory_halves_the_batch_and_goes_on(tmp_path, monkeypatch, cls, method, most, what):
    fresh = captions(run(tmp_path, ONE)[1])
    said: list[str] = []
    exploding = Exploding(monkeypatch, cls, method, most)
    results = run(tmp_path, ONE, said.append)[1]
    assert captions(results) == fresh
    assert max(size for size in exploding.tried if size <= most) > most // 2  # halved, not crawled to one at a time
    assert said[0].startswith(f"out of memory with {exploding.tried[0]} {what} at once: going on with ")
    (result,) = results.values()
    assert said[0] in result.notes


@pytest.mark.parametrize(
    ("cls", "method"),
    [
        pytest.param(ablation_fakes.Pool, "encode", id="region-encoder"),
        pytest.param(ablation_fakes.Shift, "bridge", id="bridge"),
    ],
)
def test_a_limit_that_memory_taught_holds_for_later_pictures(tmp_path, monkeypatch, cls, method):
    inner = getattr(cls, method)
    tried: list[int] = []

    def outer(model, *given):
        count = len(given[-1].items) if cls is ablation_fakes.Pool else len(given[-1])
        tried.append(count)
        if count > 40:
            raise MemoryError  # Python's own says nothing
        return inner(model, *given)

    monkeypatch.setattr(cls, method, outer)
    said: list[str] = []
    text = "\ndata: [{task: box, name: t-colours, scenes: 96}]\nmetrics: [noun-f1]\n"  # three chunks
    (result,) = run(tmp_path, text, said.append)[1].values()
    assert (result.status, result.failed) == ("done", 0)
    assert [size for size in tried if size > 40] == [128, 64]
    assert len(said) == 2


@pytest.mark.parametrize("method", ["encode", "bridge", "generate"])
def test_a_region_for_which_there_is_no_memory_costs_no_other(tmp_path, monkeypatch, method):
    cls = {"encode": ablation_fakes.Pool, "bridge": ablation_fakes.Shift, "generate": ablation_fakes.Nearest}[method]
    inner = getattr(cls, method)
    reached = []

    def outer(model, *given, **more):
        things = given[1].items if method == "encode" else given[0]
        reached.append(len(things))
        if len(things) > 1 or reached.count(1) == 3:
            raise MemoryError
        return inner(model, *given, **more)

    monkeypatch.setattr(cls, method, outer)
    (result,) = run(tmp_path, ONE)[1].values()
    assert (result.status, result.failed) == ("done", 1)
    assert [row.error for row in result.samples if row.caption is None] == [
        "out of memory with a single region: MemoryError"
    ]


def test_a_trial_that_memory_ends_outside_of_batches_says_so(tmp_path, monkeypatch):
    def build(*_):
        raise MemoryError

    monkeypatch.setattr("regionkit.plugins.ablation.models.build_planned", build)
    (result,) = run(tmp_path, ONE)[1].values()
    assert (result.status, result.reason) == ("failed", "out of memory: MemoryError")


def test_a_metric_that_fails_in_an_unforeseen_way_takes_no_other_along(tmp_path, monkeypatch):
    def compute(self):
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(ablation_fakes.Lengths, "compute", compute)
    (result,) = run(tmp_path, ONE.replace("[noun-f1]", "[t-lengths, noun-f1]"))[1].values()
    assert [row.metric for row in result.metrics] == ["noun-f1"]
    assert result.status == "failed"
    metric = "metric 't-lengths' of plugin ablation_fakes (tests 0)"
    assert result.reason.startswith(f"{metric}: ZeroDivisionError: nobody foresaw this (test_stage_tree.py, line ")


def test_a_trial_for_which_nothing_fits_fails_and_the_next_one_runs(tmp_path, monkeypatch):
    Exploding(monkeypatch, ablation_fakes.CountedGrid, "encode", 0, MemoryError)
    text = ONE + "grid: {decoder: [t-nearest, {name: t-nearest, slow: 0.0001}]}\n"
    results = list(run(tmp_path, text)[1].values())
    assert [result.status for result in results] == ["failed", "failed"]
    assert "the backbone cannot take a single picture" in results[0].reason


def test_an_exception_that_nobody_foresaw_fails_its_trial_alone(tmp_path, monkeypatch):
    inner = ablation_fakes.Shift.bridge

    def bridge(self, tokens):
        return inner(self, tokens) if self.config.amount == 0 else tokens[17]

    monkeypatch.setattr(ablation_fakes.Shift, "bridge", bridge)
    text = ONE + "grid: {bridge: [{name: t-shift, amount: 0.01}, t-shift]}\n"
    bad, good = run(tmp_path, text)[1].values()
    assert good.status == "done"
    assert bad.status == "failed"
    assert bad.reason.startswith(
        "no sample could be captioned; the first: bridge 't-shift' of plugin ablation_fakes (tests 0): "
        "TypeError: 'RegionTokens' object is not subscriptable (test_stage_tree.py, line "
    )


def test_models_are_let_go_with_their_last_trial(tmp_path):
    plan = plan_ablation(write(tmp_path, GRID))
    runner = TrialRunner(plan, RunOptions(device="cpu"))
    trials = running_order(plan.trials)
    runner.expect(trials)
    first = trials[0].combination.plan.key("backbone")
    refs = []
    for trial in trials:
        runner.run(trial)
        if trial is trials[0]:
            refs.append(weakref.ref(runner.models.backbone(trial.combination.plan)))
        held = runner.models.held
        ahead = trials[trials.index(trial) + 1 :]
        wanted = {one.combination.plan.key(kind) for one in ahead for kind in one.combination.plan.parts}
        assert set(held) <= wanted
    gc.collect()
    assert refs[0]() is None
    assert first not in runner.models.held
    assert runner.models.held == []


@pytest.mark.slow
def test_models_that_do_not_fit_beside_each_other_take_turns():
    plan = plan_pipeline(read_pipeline("mini").data)
    models = Models("cpu", limit=0)
    for part in (models.backbone, models.region_encoder, models.bridge, models.decoder, models.backbone):
        part(plan)
        large = [key for key in models.held if models.nbytes(key)]
        assert len(large) <= 1
    roomy = Models("cpu")
    parts = [roomy.backbone(plan), roomy.decoder(plan), roomy.backbone(plan)]
    assert parts[0] is parts[2]


@pytest.mark.parametrize("shares", [2, 3])
def test_shares_of_a_trial_join_to_the_whole(tmp_path, shares):
    text = "\ndata: [{task: box, name: t-colours, scenes: 100}]\nmetrics: [noun-f1]\n"
    plan = plan_ablation(write(tmp_path, text))
    (trial,) = plan.trials
    whole = TrialRunner(plan, RunOptions(device="cpu")).run(trial)
    runner = TrialRunner(plan, RunOptions(device="cpu"))
    parts = [runner.shard(trial, number, shares) for number in range(shares)]
    joint = runner.join(trial, parts)
    assert joint.samples == whole.samples
    assert [replace(row, per_sample=None) for row in joint.metrics] == [
        replace(row, per_sample=None) for row in whole.metrics
    ]
    assert sorted(position for part in parts for position in part.positions) == list(range(400))


def test_features_are_written_where_reading_is_faster(tmp_path, monkeypatch, counted):
    """A backbone that takes its time is not run again for a new region encoder."""
    inner = ablation_fakes.CountedGrid.encode

    def slow(self, images) -> Features:
        time.sleep(0.02 * len(images))
        return inner(self, images)

    monkeypatch.setattr(ablation_fakes.CountedGrid, "encode", slow)
    run(tmp_path, ONE, cache=tmp_path / "cache")
    counted.clear()
    run(tmp_path, ONE + "grid: {region_encoder: [t-global]}\n", cache=tmp_path / "cache")
    assert counted == {"region_encoder": 1, "bridge": 1, "decoder": 1}
