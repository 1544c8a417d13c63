"""The queue of a run: leases, beats, take-over, and what a damaged or full disk does to it."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worker_fakes import Fork

from regionkit.core.errors import RunFailed
from regionkit.core.launching import Item
from regionkit.core.sqlite_journals import choose_journal, file_system
from regionkit.plugins.ablation.owners import Owner, Watch, process_start, resident_bytes
from regionkit.plugins.ablation.queue import QUEUE, Queue

ITEMS = [Item(f"{group}{number}", group) for group in "ab" for number in range(3)]


class Clock:
    """Seconds that pass when a test says so."""

    now = 1000.0

    def __call__(self):
        return self.now


class Elsewhere(Queue):
    """A queue in the hands of a process on another machine."""

    def __init__(self, path, host="far", **options):
        super().__init__(path, **options)
        self.me = replace(self.me, host=host, system="another")


def entered(queue, items=ITEMS, done=(), **options):
    queue.enter(items, lambda: set(done), **options)
    return queue


def test_items_are_handed_out_once_the_own_group_first_then_one_that_nobody_has(tmp_path):
    with closing(entered(Queue(tmp_path / QUEUE))) as one, closing(entered(Queue(tmp_path / QUEUE))) as two:
        assert one.take("w").id == "a0"
        assert two.take("w").id == "b0"
        assert one.take("w", "a").id == "a1"
        assert two.take("w", "b").id == "b1"
        assert [one.take("w", "a").id, two.take("w", "b").id] == ["a2", "b2"]
        assert one.take("w", "a") is two.take("w", "b") is None
        assert (one.standing().ended, len(one.standing().busy)) == (0, 6)
        for item in ITEMS:
            one.end(item.id, "done")
        assert (two.standing().ended, two.standing().failed) == (6, 0)
        assert set(two.ended().values()) == {"done"}


def test_what_is_done_is_what_the_results_say(tmp_path):
    with closing(entered(Queue(tmp_path / QUEUE), done={"a0", "other"})) as queue:
        assert queue.ended() == {"a0": "done"}
        queue.end("a1", "done")
    with closing(entered(Queue(tmp_path / QUEUE), done={"a0"})) as queue:
        assert queue.ended() == {"a0": "done"}, "a1 has no result"


def test_leaving_gives_everything_back(tmp_path):
    with closing(entered(Queue(tmp_path / QUEUE))) as queue:
        assert [queue.take(worker).id for worker in ("w1", "w2")] == ["a0", "b0"]
        assert queue.claim("w1", "cuda:0")
        queue.leave("w1")
        assert queue.holder("cuda:0") is None
        assert [one for one, _, _ in queue.standing().busy] == ["b0"]
    with closing(entered(Queue(tmp_path / QUEUE))) as queue:
        assert queue.standing().busy == []
        assert (queue.take("w").attempts, queue.others()) == (0, [])


def test_a_dead_process_of_this_machine_loses_its_leases_at_once(tmp_path):
    def die():
        queue = entered(Queue(tmp_path / QUEUE), ITEMS[:2])
        assert (queue.take("w").id, queue.claim("w", "cuda:0")) == ("a0", True)
        os._exit(9)

    assert Fork(die, tmp_path / "log").wait() == 9
    with closing(entered(Queue(tmp_path / QUEUE), ITEMS[:2], again=False)) as queue:
        lease = queue.take("w")
        assert (lease.id, lease.attempts) == ("a0", 1)
        assert lease.reason.endswith("ended without a word")
        assert queue.claim("w", "cuda:0")


def test_a_number_that_is_used_again_is_another_process():
    here = Owner.here()
    assert not here.is_gone
    assert Owner.parse(str(here)) == here
    assert replace(here, started="1").is_gone
    assert not replace(here, host="far", started="1").is_gone, "nobody here knows"
    assert process_start(os.getpid()) == here.started
    process = subprocess.Popen([sys.executable, "-c", ""])
    end = time.monotonic() + 60
    while process_start(process.pid) is not None:  # a zombie, which nobody has buried yet, is gone
        assert time.monotonic() < end
        time.sleep(0.01)
    process.wait()
    assert process_start(process.pid) is None
    assert resident_bytes(os.getpid()) > 1 << 20
    assert resident_bytes(process.pid) == 0


def test_a_machine_that_is_silent_loses_its_leases_by_the_watchers_clock(tmp_path, monkeypatch):
    clock = Clock()
    with (
        closing(entered(Elsewhere(tmp_path / QUEUE, lease=60.0))) as far,
        closing(entered(Queue(tmp_path / QUEUE, watch=Watch(clock), lease=5.0))) as near,
    ):
        # Clocks of the wall may say anything: they are set back, and machines disagree.
        monkeypatch.setattr(time, "time", lambda: random.Random(4).uniform(-1e9, 1e9))
        assert far.take("w").id == "a0"
        assert near.others() == [far.me]
        clock.now += 59
        assert near.others() == [far.me]
        far.beat()
        clock.now += 59
        assert near.others() == [far.me], "a beat is a sign of life"
        clock.now += 61
        assert near.others() == []
        lease = near.take("w", "a")
        assert (lease.id, lease.attempts, lease.reason) == ("a0", 1, f"{far.me.about} ended without a word")
        # It was alive after all, and nothing breaks: its result is welcome, its failure is not, it can go on.
        far.end("a0", "failed")
        assert [one for one, _, _ in near.standing().busy] == ["a0"]
        far.end("a0", "done")
        assert near.ended() == {"a0": "done"}
        near.end("a0", "failed")
        assert near.ended() == {"a0": "done"}
        far.beat()
        assert near.others() == [far.me]
        assert far.take("w") is not None


def test_failed_items_are_tried_again_by_the_next_run_and_not_by_one_that_joins(tmp_path):
    with closing(entered(Queue(tmp_path / QUEUE))) as first:
        first.take("w")
        first.end("a0", "failed")
        with closing(entered(Queue(tmp_path / QUEUE))) as second:
            assert second.ended() == {"a0": "failed"}
    with closing(entered(Queue(tmp_path / QUEUE))) as third:
        assert third.ended() == {}


def test_two_plans_share_a_queue_and_each_does_its_own(tmp_path):
    with (
        closing(entered(Queue(tmp_path / QUEUE), ITEMS[:3])) as one,
        closing(entered(Queue(tmp_path / QUEUE), ITEMS[2:])) as two,
    ):
        assert {two.take("w").id for _ in ITEMS[2:]} == {item.id for item in ITEMS[2:]}
        assert two.take("w") is None
        assert {one.take("w").id for _ in range(2)} == {"a0", "a1"}
        assert one.take("w") is None
        two.end("a2", "done")
        assert (one.standing().ended, two.standing().ended) == (1, 1)


def test_one_worker_a_device(tmp_path):
    with closing(Queue(tmp_path / QUEUE)) as one, closing(Queue(tmp_path / QUEUE)) as two:
        entered(one), entered(two)
        assert one.claim("w", "cuda:0")
        assert one.claim("w", "cuda:0")
        assert not one.claim("v", "cuda:0")
        assert not two.claim("w", "cuda:0")
        assert two.holder("cuda:0") == one.me
        assert two.claim("w", "cuda:1")
        two.me = replace(two.me, host="far")
        assert two.claim("w", "cuda:0"), "of another machine"


def flip(path):
    """Damage the tables, not the head."""
    content = path.read_bytes()
    path.write_bytes(content[:4096] + bytes(byte ^ 0xA5 for byte in content[4096:]))


FAULTS = {
    "pages": flip,
    "cut-short": lambda path: path.write_bytes(path.read_bytes()[:6000]),
    "no-database": lambda path: path.write_text("a letter, which is no database at all. " * 200),
    "another-database": lambda path: (path.unlink(), sqlite3.connect(path).executescript("CREATE TABLE x (y)")),
    "another-version": lambda path: sqlite3.connect(path).executescript("PRAGMA user_version=99"),
    "a-table-is-gone": lambda path: sqlite3.connect(path).executescript("DROP TABLE items"),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_queue_is_moved_aside_and_made_anew(tmp_path, fault):
    path, said = tmp_path / QUEUE, []
    with closing(entered(Queue(path))) as queue:
        queue.take("w")
    FAULTS[fault](path)
    with closing(entered(Queue(path, said.append), done={"a0"})) as queue:
        assert queue.ended() == {"a0": "done"}
        assert queue.take("w").id == "a1"
    assert len(said) == 1
    assert "it is now queue.sqlite.damaged-1, and a new one was made of the results" in said[0]
    assert (tmp_path / "queue.sqlite.damaged-1").exists()


def test_a_queue_that_is_damaged_during_a_run_is_made_anew_and_leases_stay(tmp_path):
    path, said = tmp_path / QUEUE, []
    with (
        closing(entered(Queue(path, said.append, journal="delete"))) as one,
        closing(entered(Queue(path, said.append, journal="delete"))) as two,
    ):
        assert one.take("w").id == "a0"
        flip(path)
        assert two.take("w") is not None
        one.beat()
        assert one.take("w", "a").id != "a0"
        assert {worker for _, _, worker in two.standing().busy} == {"w"}
        assert {"a0"} < {name for name, _, _ in two.standing().busy}
    assert len(said) == 1, said


def test_a_queue_that_is_taken_away_during_a_run_is_made_anew(tmp_path):
    with closing(entered(Queue(tmp_path / QUEUE))) as queue:
        assert queue.take("w").id == "a0"
        for file in tmp_path.iterdir():
            file.unlink()
        queue.beat()
        assert queue.take("w", "a").id == "a1"
        assert len(queue.standing().busy) == 2


def test_a_full_disk_ends_the_run_with_a_sentence(tmp_path):
    path = tmp_path / QUEUE
    queue = entered(Queue(path), ITEMS[:1])
    pages = queue._db.execute("PRAGMA page_count").fetchone()[0]
    queue._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(RunFailed) as error:
        queue.enter([Item(f"item {number}", "g") for number in range(2000)], set)
    assert str(error.value).splitlines() == [
        f"the queue {path} cannot be written: database or disk is full",
        "  run the same command again when there is room and the folder can be written to: all results are kept",
    ]
    queue.close()


def test_a_queue_in_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFailed, match=r"the queue .* cannot be written"):
        Queue(tmp_path / "file" / QUEUE)


def test_machines_share_a_folder_without_a_log(tmp_path):
    with closing(entered(Queue(tmp_path / QUEUE, journal="delete"))) as queue:
        queue.take("w")
        assert not (tmp_path / f"{QUEUE}-wal").exists()
        assert queue._db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    with closing(entered(Queue(tmp_path / QUEUE, journal="wal"))) as queue:
        assert queue._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_journal_follows_the_file_system(tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"disk / ext4 rw 0 0\nserver:/x {tmp_path}/my\\040net nfs4 rw 0 0\nbroken\n")
    monkeypatch.setattr("regionkit.core.sqlite_journals._MOUNTS", mounts)
    assert file_system(tmp_path / "my net" / "run", mounts) == "nfs4"
    assert file_system(tmp_path / "mine", mounts) == "ext4"
    assert file_system(tmp_path, tmp_path / "none") == ""
    monkeypatch.setattr("regionkit.core.sqlite_journals.file_system", lambda folder: "nfs4")
    assert choose_journal(tmp_path) == "DELETE"
    assert choose_journal(tmp_path, "wal") == "WAL"
    monkeypatch.setattr("regionkit.core.sqlite_journals.file_system", lambda folder: "ext4")
    assert choose_journal(tmp_path) == "WAL"
    assert choose_journal(tmp_path, "delete") == "DELETE"


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["take", "end", "lose", "beat", "die", "wait"])), max_size=40)
)
def test_whatever_happens_nobody_has_what_another_has_and_all_ends(steps):
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / QUEUE

        def begin(number):
            queue = Elsewhere(path, f"host{number}", watch=Watch(clock), lease=60.0)
            return entered(queue, again=False), set()

        machines = [begin(number) for number in range(3)]
        ended = set()
        for number, step in steps:
            queue, held = machines[number]
            if step == "take":
                lease = queue.take("w")
                if lease is not None:
                    assert lease.id not in ended
                    held.add(lease.id)
            elif step in ("end", "lose") and held:
                item = held.pop()
                if step == "end":
                    queue.end(item, "done")
                    ended.add(item)
                else:
                    queue.lose(item, "gone")
            elif step == "die":  # without a word: only the file is closed
                queue._db.close()
                machines[number] = queue, held = begin(number)
            elif step == "wait":
                clock.now += 61  # all others beat, or are given up
                for other, _ in machines:
                    other.beat()
            else:
                queue.beat()
            owners = [name for name, _, _ in queue.standing().busy]
            assert len(owners) == len(set(owners))
            assert ended == set(queue.ended())
        for _ in range(2):
            clock.now += 61
            machines[0][0].beat()
            machines[0][0].others()
        queue = machines[0][0]
        while (lease := queue.take("w")) is not None:
            ended.add(lease.id)
            queue.end(lease.id, "done")
        rest = {name for name, _, _ in queue.standing().busy}
        assert ended | rest == {item.id for item in ITEMS}
        assert rest <= machines[0][1]
        for queue, _ in machines:
            queue.close()
