"""A real cluster on this machine. That nothing of it is left is checked where the fixture ends."""

import os
import re
import shutil
import signal
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import gone
from ray_fakes import Squares

from regionkit.core.errors import RunFailed
from regionkit.core.results import DATABASE, ResultStore
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.progress import Progress
from regionkit.plugins.ablation.run_options import RunOptions
from regionkit.plugins.ablation.runner import Place, Runner
from regionkit.plugins.ablation.tables import results_csv
from regionkit.plugins.ray.configs import RayConfig
from regionkit.plugins.ray.crew import Crew
from regionkit.plugins.ray.launcher import RayLauncher
from regionkit.registry import registry as registry_module
from regionkit.registry.discovery.local_plugins import allow_local_plugins
from regionkit.registry.document import read_document

pytestmark = pytest.mark.usefixtures("cluster")

#: Parts without weights, which the workers get as a plugin of the file's own.
COLOURS = """\
version: 1
plugins: [./ray_colours.py]
base: {backbone: t-grid, region_encoder: t-pool, bridge: t-shift, decoder: t-nearest}
data: [{name: t-colours, task: box, scenes: 70, broken: true}]
metrics: [cider-d, noun-f1]
grid:
  backbone: [{name: t-grid, grid: 2}, {name: t-grid, grid: 4}]
  bridge: [none, {name: t-shift, amount: 0.3}]
"""
MINI = """\
version: 1
base: mini
data: [box@mini]
limit: 70
metrics: [cider-d, noun-f1]
grid: {backbone: [mini-dense, mini-clip], bridge: [none, memory]}
"""


@pytest.fixture
def own_registry():
    """A registry of its own, which forgets local plugins afterwards."""
    registry_module.get_registry.cache_clear()
    yield
    registry_module.get_registry.cache_clear()
    sys.modules.pop("ray_colours", None)


def launch(work, **options):
    RayLauncher(RayConfig(**{"workers": 2, **options})).launch(work, "cpu")
    return work


def test_two_workers_share_the_work_and_keep_their_group(tmp_path):
    work = launch(Squares(tmp_path, 12, groups=2, seconds=0.05))
    assert {item: found["square"] for item, found in work.results.items()} == {str(n): n * n for n in range(12)}
    processes = {item: found["process"] for item, found in work.results.items()}
    assert {(found["device"], found["folder"]) for found in work.results.values()} == {("cpu", os.getcwd())}
    assert work.told == ["ray: 2 workers on 1 machine, 1 CPU each"]
    for process in set(processes.values()):  # a worker changes its group when nothing is left in its own
        groups = [int(item) % 2 for item in work.results if processes[item] == process]
        assert sum(a != b for a, b in pairwise(groups)) <= 1
    assert set(work.left) >= set(work.owners)
    assert gone(processes.values())


def test_a_killed_worker_is_replaced_and_its_item_done_again(tmp_path):
    work = launch(Squares(tmp_path, 8, seconds=0.02, kill={"3": 1}))
    assert sorted(work.results, key=int) == [str(n) for n in range(8)]
    assert [item for item, _ in work.lost] == ["3"]
    assert re.match(r"the worker on \S+ died: ", work.lost[0][1])
    assert work.told[1] == f"ray: {work.lost[0][1]}; another takes its place"
    assert len(list(tmp_path.glob("3.*"))) == 2


def test_an_item_that_takes_too_long_fails_and_its_worker_is_replaced(tmp_path):
    work = launch(Squares(tmp_path, 3, hang="1"), workers=1, time_limit=1.0)
    assert sorted(work.results) == ["0", "2"]
    assert work.failed == {"1": "took longer than 1 s; raise launcher.time_limit"}


@pytest.mark.parametrize(
    ("refuse", "message", "hint"),
    [
        pytest.param(
            "data", "/nowhere/coco: there is no such folder", "get it with: toolkit data list", id="other-paths"
        ),
        pytest.param(
            "extra",
            "decoder 'x' needs the package 'peft', which is not installed",
            "install it with: pip install 'regionkit[lora]'",
            id="other-packages",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_worker_that_cannot_do_the_run_says_why(tmp_path, refuse, message, hint):
    with pytest.raises(RunFailed) as told:
        launch(Squares(tmp_path, 4, refuse=refuse), workers=1)
    pattern = rf"launcher 'ray': the worker on \S+ cannot do this run: {re.escape(message)}"
    assert re.fullmatch(pattern, told.value.message)
    assert told.value.hints == (
        hint,
        "code, weights, data and the run's folder are the same on all machines, at the same paths",
    )


def test_a_run_that_is_to_stop_ends_its_workers(tmp_path):
    work = Squares(tmp_path, 50, seconds=0.2, stop_at="2")
    with pytest.raises(RunFailed, match="stopped at 2"):
        launch(work)
    assert len(work.results) < 10
    assert set(work.left) >= set(work.owners)
    assert gone({int(note.read_text()) for note in tmp_path.iterdir()})


@pytest.mark.slow
def test_an_item_that_kills_every_worker_fails_and_the_others_are_done(tmp_path):
    work = launch(Squares(tmp_path, 4, kill={"1": 9}))
    assert sorted(work.results) == ["0", "2", "3"]
    assert list(work.failed) == ["1"]


@pytest.mark.slow
def test_workers_that_never_live_end_the_run(tmp_path):
    with pytest.raises(RunFailed, match=r"launcher 'ray' has no worker left: the worker on the cluster died: ") as told:
        launch(Squares(tmp_path, 4, die=True), workers=1, max_restarts=1)
    assert told.value.hints == ("run the same command again to go on: what is done is kept",)


@pytest.mark.slow
def test_a_fault_of_the_code_is_shown_as_it_was(tmp_path):
    with pytest.raises(ZeroDivisionError, match="a fault of the code"):
        launch(Squares(tmp_path, 4, fault="0"), workers=1)


@pytest.mark.slow
def test_a_cluster_without_room_ends_the_run(tmp_path):
    work = Squares(tmp_path, 4)
    with pytest.raises(RunFailed) as told:
        launch(work, workers=1, cpus_per_worker=64, start_timeout=3.0)
    assert told.value.message == "launcher 'ray': no worker could start in 3 seconds; each asks for 64 CPU"
    assert told.value.hints == ("look at the cluster with: ray status",)
    assert work.told[1] == "ray: the cluster has 3 CPU, too little for all of them now; those that find no place wait"


def test_a_gpu_that_the_cluster_lacks_is_refused(tmp_path):
    with pytest.raises(RunFailed) as told:
        RayLauncher(RayConfig()).launch(Squares(tmp_path, 1), "cuda")
    assert told.value.message == "launcher 'ray' has no GPU in its cluster"
    assert told.value.hints == ("say --device cpu, or add a machine that has one",)


def test_no_second_cluster_is_started_in_one_process(tmp_path):
    with pytest.raises(RunFailed) as told:
        launch(Squares(tmp_path, 1), address="local")
    assert told.value.message == "launcher 'ray' cannot start a cluster: this process is connected to one already"
    assert told.value.hints == ("write address: auto to use that one",)


class Told(Progress):
    """Notes what a run tells."""

    def __init__(self):
        self.told = []

    def tell(self, text):
        self.told.append(text)


def results_of(folder, text, launcher):
    """Run an ablation; return its table and captions, and what it told."""
    file = folder / "small.yaml"
    file.write_text(text + launcher)
    with allow_local_plugins():
        document = read_document(file)
        plan, told = plan_ablation(document), Told()
        out = folder / ("ray" if launcher else "local")
        with ResultStore(out / DATABASE) as store:
            summary = Runner(plan, store, told, RunOptions("cpu"), Place(out, document, plan.spec.launcher)).run()
            captions = {trial.id: store.captions(trial.id) for trial in plan.trials}
            assert not summary.failed
            assert summary.ran == len(plan.trials)
            return results_csv(plan, store).encode(), captions, told.told


@pytest.mark.parametrize(
    ("text", "shard"),
    [
        pytest.param(COLOURS, 32, id="colours-shares"),
        pytest.param(COLOURS, 0, id="colours-whole", marks=pytest.mark.slow),
        pytest.param(MINI, 32, id="mini-shares", marks=pytest.mark.slow),
        pytest.param(MINI, 0, id="mini-whole", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("own_registry")
def test_three_workers_of_which_one_is_killed_give_the_table_of_a_local_run(tmp_path, monkeypatch, text, shard):
    busy, killed, hand_out = {}, [], Crew._hand_out

    def hand_out_and_kill(crew, seat):
        if not killed and sum(other.state == "ready" for other in crew._seats) < 3:
            return  # so that all three have work
        hand_out(crew, seat)
        if seat.item is not None:
            busy.setdefault(seat.process, []).append(seat.item.id)
            if not killed and len(busy) == 3:  # the third dies with its first item
                killed.append((seat.process, seat.item.id))
                os.kill(seat.process, signal.SIGKILL)

    monkeypatch.setattr(Crew, "_hand_out", hand_out_and_kill)
    shutil.copy(Path(__file__).parents[1] / "ablation" / "ablation_fakes.py", tmp_path / "ray_colours.py")
    launcher = f"launcher: {{name: ray, workers: 3, shard: {shard}}}\n"
    threads = torch.get_num_threads()
    table, captions, told = results_of(tmp_path, text, launcher)
    expected, local, _ = results_of(tmp_path, text, "")
    torch.set_num_threads(threads)
    (process, item), *_ = killed
    assert len(busy) >= 3
    assert sum(item in items for items in busy.values()) == 2  # it was done again, by another
    assert told[0] == "ray: 3 workers on 1 machine, 1 CPU each"
    assert any(re.match(r"ray: the worker on \S+ died: .*; another takes its place", text) for text in told)
    assert table == expected
    assert captions == local
    done = {one for items in busy.values() for one in items}
    assert {one for one in done if "/" not in one} == set(local)  # with shares, these put them together
    assert sum("/" in one for one in done) == (3 * len(local) if shard else 0)
    assert gone([process])
