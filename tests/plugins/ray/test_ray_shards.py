"""Trials in shares: what comes back is what the whole trial gives, whoever does which share, and whoever dies."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regionkit.core.errors import RunFailed
from regionkit.core.launching import Item, Work, WorkerPlan
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.run_options import RunOptions
from regionkit.plugins.ablation.shards import ShardedWork, Share, count_shares, do_item
from regionkit.plugins.ablation.stages import Shard
from regionkit.plugins.ablation.trial_runner import TrialRunner

MINI = "version: 1\nbase: mini\ndata: [box@mini]\nlimit: 70\nmetrics: [cider-d]\n"
names = st.text("0123456789abcdef", min_size=16, max_size=16)


class Trials(Work):
    """Whole trials, of which the work in shares is made."""

    def __init__(self, names: list[str], groups: int = 1) -> None:
        self.folder, self.plan = None, WorkerPlan("none:none")
        self.todo = [Item(name, f"g{at % groups}", f"trial {name}") for at, name in enumerate(names)]
        self.held: dict[str, Item] = {}
        self.results: dict[str, Any] = {}
        self.failed: dict[str, str] = {}
        self.lost: list[str] = []
        self.told: list[str] = []

    def take(self, owner: str, group: str = "") -> Item | None:
        found = next((item for item in self.todo if item.group == group), self.todo[0] if self.todo else None)
        if found is not None:
            self.todo.remove(found)
            self.held[found.id] = found
        return found

    def beat(self, owner: str) -> None:
        pass

    def finish(self, owner: str, item: Item, result: Any) -> None:
        del self.held[item.id]
        assert item.id not in self.results
        self.results[item.id] = result

    def lose(self, owner: str, item: Item, reason: str) -> None:
        self.lost.append(item.id)
        self.todo.append(self.held.pop(item.id))

    def fail(self, owner: str, item: Item, reason: str) -> None:
        del self.held[item.id]
        self.failed[item.id] = reason

    def remaining(self) -> int:
        return len(self.todo) + len(self.held)

    def tell(self, text: str) -> None:
        self.told.append(text)


def shard_of(item: Item) -> Shard:
    number = Share.parse(item.id).number
    return Shard((number,), {}, {number: item.id})


def answer(item: Item) -> Any:
    """Do an item: a share says its number, and what puts them together which numbers there were."""
    share = Share.parse(item.id)
    if share.count > 1:
        return shard_of(item)
    return "whole" if item.parts is None else [part.positions[0] for part in item.parts]


@given(names, st.integers(1, 50), st.integers(0, 49))
def test_the_name_of_a_share_can_be_read(trial, count, number):
    share = Share(trial, number % count, count)
    assert Share.parse(str(share)) == (share if count > 1 else Share(trial))
    assert str(Share(trial, count, count)) == trial


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(1, 4), st.integers(0, 10_000))
def test_every_trial_ends_once_in_whatever_order_shares_come_and_go(counts, workers, seed):
    chance = random.Random(seed)
    below = Trials([f"t{at}" for at in range(len(counts))], groups=2)
    work = ShardedWork(below, {f"t{at}": count for at, count in enumerate(counts)}, retries=1000)
    busy: dict[str, Item] = {}
    for _ in range(5000):
        if not work.remaining():
            break
        owner = f"w{chance.randrange(workers)}"
        work.beat(owner)
        item = busy.pop(owner, None)
        what = chance.random()
        if item is None:
            taken = work.take(owner)
            if taken is not None:
                busy[owner] = taken
        elif what < 0.2:
            work.lose(owner, item, "it died")
        elif what < 0.3:
            work.leave(owner)
        else:
            work.finish(owner, item, answer(item))
    assert not work.remaining()
    expected = {f"t{at}": "whole" if count == 1 else list(range(count)) for at, count in enumerate(counts)}
    assert below.results == expected


def test_a_share_whose_workers_die_too_often_fails_its_trial_alone():
    below = Trials(["a", "b"])
    work = ShardedWork(below, {"a": 2, "b": 2}, retries=1)
    for _ in range(2):
        item = work.take("w1")
        assert item is not None
        assert item.id == "a/0/2"
        work.lose("w1", item, "the worker died")
    assert below.told == ["the worker died; trial a, share 1 of 2 is done again"]
    assert below.failed == {"a": "the worker of a share died 2 times, the last time: the worker died"}
    while (item := work.take("w1")) is not None:
        work.finish("w1", item, answer(item))
    assert below.results == {"b": [0, 1]}
    assert not work.remaining()


def test_a_share_that_fails_ends_its_trial_and_what_comes_later_is_dropped():
    below = Trials(["a"])
    work = ShardedWork(below, {"a": 3})
    first, second = work.take("w1"), work.take("w2")
    assert first is not None
    assert second is not None
    work.finish("w1", first, "failed: no such file")
    assert work.take("w1") is None  # the third share is not begun
    work.finish("w2", second, shard_of(second))
    assert below.results == {"a": "failed: no such file"}
    assert not work.remaining()


def test_a_share_that_takes_too_long_fails_its_trial():
    below = Trials(["a"])
    work = ShardedWork(below, {"a": 2})
    item = work.take("w1")
    assert item is not None
    work.fail("w1", item, "took longer than 1 s")
    assert below.failed == {"a": "took longer than 1 s"}
    assert work.take("w1") is None


def test_a_worker_is_given_the_pictures_that_it_has_seen():
    below = Trials(["a", "b"])
    work = ShardedWork(below, {"a": 2, "b": 2})
    for owner in ("w1", "w2"):
        item = work.take(owner)
        assert item is not None
        work.finish(owner, item, shard_of(item))
    joined = work.take("w1")
    assert joined is not None
    assert (joined.id, len(joined.parts)) == ("a", 2)
    second, first = work.take("w2"), None
    work.finish("w1", joined, answer(joined))
    first = work.take("w1")
    assert (first and first.id, second and second.id) == ("b/0/2", "b/1/2")


def test_an_error_that_ends_the_run_goes_through():
    class Strict(Trials):
        def finish(self, owner: str, item: Item, result: Any) -> None:
            raise RunFailed("trial a failed and on_error is stop")

    work = ShardedWork(Strict(["a"]), {"a": 2})
    item = work.take("w1")
    assert item is not None
    with pytest.raises(RunFailed, match="on_error is stop"):
        work.finish("w1", item, "failed")


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    file = tmp_path_factory.mktemp("shares") / "shares.yaml"
    file.write_text(MINI)
    plan = plan_ablation(file)
    runner = TrialRunner(plan, RunOptions("cpu"))
    yield plan.trials[0], runner
    runner.close()


def test_shares_are_whole_batches(mini):
    trial, _ = mini
    images = len({sample.image_id for sample in trial.selection.samples})
    assert images == 70
    wanted = {1: 3, 31: 3, 32: 3, 63: 3, 64: 2, 95: 2, 96: 1, 2048: 1}
    assert {pictures: count_shares(trial.selection, pictures) for pictures in wanted} == wanted


@pytest.mark.parametrize("count", [2, 3])
def test_captions_and_scores_of_shares_are_those_of_the_whole(mini, count):
    trial, runner = mini
    whole = do_item(runner, trial, trial.id)
    runner = TrialRunner(runner.plan, RunOptions("cpu"))  # one that has none of the trial in memory
    parts = [do_item(runner, trial, str(Share(trial.id, number, count))) for number in reversed(range(count))]
    assert all(isinstance(part, Shard) for part in parts)
    assert sorted(at for part in parts for at in part.positions) == list(range(len(trial.selection.samples)))
    joined = do_item(runner, trial, str(Share(trial.id, count, count)), tuple(parts))
    runner.close()
    assert joined.status == "done"
    assert replace(joined, seconds={}) == replace(whole, seconds={})
    assert len({row.caption for row in whole.samples}) > 10
    spent = sum(seconds for stage, seconds in joined.seconds.items() if stage != "trial")
    assert joined.seconds["trial"] == pytest.approx(spent)


def test_a_share_that_cannot_be_done_is_a_failed_trial(mini, monkeypatch):
    trial, runner = mini

    def refuse(*_: Any) -> None:
        raise RunFailed("mini.safetensors has changed since this run began")

    monkeypatch.setattr(runner, "shard", refuse)
    result = do_item(runner, trial, str(Share(trial.id, 0, 2)))
    assert (result.status, result.reason) == ("failed", "mini.safetensors has changed since this run began")
    assert (result.id, result.samples) == (trial.id, ())
