"""The index of samples: what it holds, what makes it again, and what it survives."""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regionkit.core.data import records
from regionkit.core.data.index import IndexedSamples, open_index, write_index
from regionkit.core.data.records import Fault, Left, StoredSample, Unusable, sample_of
from regionkit.core.errors import DataError, RegionError, RunFailed
from regionkit.core.region_io import read_record


def sample(name: str, image: str, text: str = "a dog", **info: object) -> StoredSample:
    return StoredSample(name, image, {"box": [0, 0, 2, 3]}, (text,), info)


def held(index) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.id, one.image_id, one.references) for one in IndexedSamples(index)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "data" / "one.sqlite"


def test_samples_come_back_in_their_order(path):
    rows = [sample("x", "a"), Fault("f:2", "no JSON"), sample("y", "a", "a cat", nouns=["cat"]), sample("z", "b")]
    index = write_index(path, {"of": 1}, rows)
    assert held(index) == [("x", "a", ("a dog",)), ("y", "a", ("a cat",)), ("z", "b", ("a dog",))]
    assert (index.count(), index.images, index.fault_count, index.faults()) == (3, 2, 1, ["f:2: no JSON"])
    assert [index.count(limit) for limit in (0, 1, 2, 9)] == [0, 2, 3, 3]
    assert list(index.image_ids(1)) == ["a"]
    assert IndexedSamples(index)[1].info == {"nouns": ["cat"]}


def test_samples_of_one_image_are_put_together(path):
    index = write_index(path, 1, [sample("1", "a"), sample("2", "b"), sample("3", "a"), sample("4", "c")])
    assert [one[:2] for one in held(index)] == [("1", "a"), ("3", "a"), ("2", "b"), ("4", "c")]
    assert index.count(1) == 2
    tables = sqlite3.connect(path).execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall()
    assert {name for (name,) in tables} == {"meta", "images", "samples", "faults", "left_out"}


def test_the_first_of_two_samples_with_one_id_counts(path):
    index = write_index(path, 1, [sample("1", "a"), sample("1", "b", "a cat"), sample("2", "b"), sample("1", "c")])
    assert held(index) == [("1", "a", ("a dog",)), ("2", "b", ("a dog",))]
    assert index.faults() == ["sample 1: another sample has this id, and counts"] * 2
    assert list(index.image_ids()) == ["a", "b"]


def test_an_index_without_samples_is_one(path):
    index = write_index(path, 1, [Fault("f:1", "no JSON")])
    assert (len(IndexedSamples(index)), index.images, list(IndexedSamples(index))) == (0, 0, [])
    assert open_index(path, 1) is not None


TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)


@given(st.lists(st.tuples(TEXTS, TEXTS.filter(bool), TEXTS), max_size=30), st.integers(0, 12))
def test_whatever_the_records_they_come_back_grouped(tmp_path_factory, records, limit):
    path = tmp_path_factory.mktemp("any") / "any.sqlite"
    index = write_index(path, 1, [sample(*record) for record in records])
    wanted, seen = {}, set()
    for name, image, text in records:
        if name not in seen:
            seen.add(name)
            wanted.setdefault(image, []).append((name, image, (text,)))
    grouped = [one for group in wanted.values() for one in group]
    assert held(index) == grouped
    assert list(index.image_ids()) == list(wanted)
    first = [one for group in list(wanted.values())[:limit] for one in group]
    assert [one.id for one in IndexedSamples(index, limit)] == [name for name, _, _ in first]
    again = write_index(path.with_name("sorted"), 1, [sample(name, image, *text) for name, image, text in grouped])
    assert (again.digest, again.content(limit)) == (index.digest, index.content(limit))


def test_blocks_of_many_samples(path):
    index = write_index(path, 1, (sample(str(at), str(at // 3)) for at in range(5000)))
    samples = IndexedSamples(index, 1500)
    assert len(samples) == 4500
    assert [one.id for one in samples[60:70]] == [str(at) for at in range(60, 70)]
    assert samples[-1].id == "4499"
    assert [samples[at].id for at in range(0, 4500, 499)] == [str(at) for at in range(0, 4500, 499)]
    assert [one.id for one in samples] == [str(at) for at in range(4500)]
    with pytest.raises(IndexError):
        samples[4500]


def test_another_key_is_not_opened(path):
    write_index(path, ["f", 1], [sample("1", "a")])
    assert open_index(path, ["f", 1]) is not None
    assert open_index(path, ["f", 2]) is None


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4096])


def _garble(path: Path) -> None:
    path.write_bytes(b"no database at all" * 999)


def _no_meta(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM meta WHERE key = 'samples'")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_cut, id="cut-off"),
        pytest.param(_garble, id="another-program"),
        pytest.param(_no_meta, id="half-a-table"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
    ],
)
def test_a_damaged_index_is_not_opened(path, damage):
    write_index(path, 1, (sample(str(at), str(at)) for at in range(300)))
    assert open_index(path, 1) is not None
    damage(path)
    assert open_index(path, 1) is None
    assert write_index(path, 1, [sample("1", "a")]).count() == 1


def test_an_index_damaged_inside_says_so_and_is_taken_away(path):
    index = write_index(path, 1, (sample(str(at), str(at), "x" * 400) for at in range(300)))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle - 30_000 : middle + 30_000] = b"\xff" * 60_000
    path.write_bytes(content)
    with pytest.raises(DataError, match="index of the samples is damaged"):
        list(IndexedSamples(type(index)(path)))
    assert not path.exists()


def test_a_picture_that_has_come_makes_it_again(path, tmp_path):
    here, there = tmp_path / "a.jpg", tmp_path / "other" / "a.jpg"
    write_index(path, 1, [sample("1", "b"), Fault("f:2", "not there", f"{here}\n{there}")])
    assert open_index(path, 1) is not None
    there.parent.mkdir()
    there.touch()
    assert open_index(path, 1) is None


def test_it_travels_to_other_processes_and_threads(path):
    index = write_index(path, 1, (sample(str(at), str(at)) for at in range(500)))
    assert pickle.loads(pickle.dumps(index)).digest == index.digest
    samples = IndexedSamples(index)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda at: samples[at].id, [*range(500), *reversed(range(500))]))
    assert found == [str(at) for at in [*range(500), *reversed(range(500))]]


def test_a_forked_process_opens_its_own_connection(path):
    index = write_index(path, 1, [sample("1", "a")])
    assert index.read(0, 1)[0].id == "1"
    before = index._local.db
    index._local.owner = -1  # as a child sees it
    assert index.read(0, 1)[0].id == "1"
    assert index._local.db is not before


def test_whoever_writes_last_leaves_a_whole_index(path):
    barrier = threading.Barrier(2)

    def rows():
        for at in range(3000):
            if at == 1500:
                barrier.wait(timeout=60)
            yield sample(str(at), str(at))

    with ThreadPoolExecutor(2) as pool:
        digests = {index.digest for index in pool.map(lambda _: write_index(path, 1, rows()), range(2))}
    assert len(digests) == 1
    assert open_index(path, 1).count() == 3000
    assert [one.name for one in path.parent.iterdir()] == [path.name]


WRITER = """
import sys, time
from pathlib import Path
from regionkit.core.data.index import write_index
from regionkit.core.data.records import StoredSample
def rows():
    for at in range(1_000_000):
        if at == 5000:
            print("half", flush=True)
            time.sleep(60)
        yield StoredSample(str(at), str(at), {"whole": True})
write_index(Path(sys.argv[1]), 1, rows())
"""


def test_a_killed_writer_leaves_no_index(path):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    assert open_index(path, 1) is None
    assert write_index(path, 1, [sample("1", "a")]).count() == 1


def test_an_exception_of_a_reader_leaves_nothing(path):
    def rows():
        yield sample("1", "a")
        raise DataError("f: the gzip file is cut off after line 1")

    with pytest.raises(DataError, match="cut off"):
        write_index(path, 1, rows())
    assert list(path.parent.iterdir()) == []


def test_a_full_disk_is_told(path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, limits[1]))
    try:
        with pytest.raises(RunFailed, match="the index cannot be written") as caught:
            write_index(path, 1, (sample(str(at), str(at), "x" * 999) for at in range(60_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.hints == ("make room there, or keep indexes elsewhere: export REGIONKIT_CACHE=DIR",)
    assert list(path.parent.iterdir()) == []


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(RunFailed, match="the index cannot be written"):
        write_index(tmp_path / "cache" / "one.sqlite", 1, [])


def test_half_a_character_is_refused_and_may_be_quoted(path):
    with pytest.raises(Unusable, match="half a character"):
        sample("1", "a", "a \ud800 dog").line()
    with pytest.raises(ValueError, match="JSON compliant"):
        sample("1", "a", score=float("nan")).line()
    index = write_index(path, 1, [Fault("f:1", "the word '\udcff' is none"), sample("1", "é\0", "a \U0001f436")])
    assert index.faults() == ["f:1: the word '\\udcff' is none"]
    assert held(index) == [("1", "é\0", ("a \U0001f436",))]


def test_opening_reads_no_samples(path, monkeypatch):
    write_index(path, 1, (sample(str(at), str(at)) for at in range(3000)))
    asked = []
    connect = sqlite3.connect

    def traced(*args, **options):
        db = connect(*args, **options)
        db.set_trace_callback(asked.append)
        return db

    monkeypatch.setattr(sqlite3, "connect", traced)
    assert len(IndexedSamples(open_index(path, 1))) == 3000
    assert len(asked) <= 4
    assert all("LIMIT" in query or "meta" in query or "2999" in query for query in asked)


MILLION = """
import json, resource, sys, time
from pathlib import Path
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
from regionkit.registry.assembly import build
data = build("dataset", {"name": "jsonl", "file": sys.argv[1]})
before, start = peak(), time.perf_counter()
count = len(data.samples("box", "test"))
made, after, start = time.perf_counter() - start, peak(), time.perf_counter()
read = sum(1 for _ in data.samples("box", "test"))
print(json.dumps({"count": count, "read": read, "made": made, "grown": after - before, "at_end": peak() - before,
                  "iterated": time.perf_counter() - start}))
"""

OPENING = """
import json, sys, time
from regionkit.registry.assembly import build
data = build("dataset", {"name": "jsonl", "file": sys.argv[1]})
start = time.perf_counter()
assert "test" in data.splits
samples = data.samples("box", "test")
print(json.dumps({"count": len(samples), "last": samples[999_999].id, "opened": time.perf_counter() - start}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("together", [pytest.param(True, id="grouped"), pytest.param(False, id="scattered")])
def test_a_million_records_take_flat_memory_and_open_at_once(tmp_path, together):
    file = tmp_path / "big.jsonl"
    with file.open("w") as stream:
        for at in range(1_000_000):
            image = at if together else at % 250_000
            record = {"image": f"{image}.png", "box": [1, 2, 30, 40], "references": ["a dog on the grass", "a dog"]}
            stream.write(json.dumps(record) + "\n")
    environment = {**os.environ, "REGIONKIT_CACHE": str(tmp_path / "cache")}

    def run(script):
        made = subprocess.run([sys.executable, "-c", script, str(file)], env=environment, capture_output=True)
        assert made.returncode == 0, made.stderr.decode()
        return json.loads(made.stdout)

    first = run(MILLION)
    second = run(OPENING)
    print(first, second, time.strftime("%H:%M"))
    assert first["count"] == first["read"] == second["count"] == 1_000_000
    assert first["grown"] < 60
    assert first["at_end"] < 60
    assert second["opened"] < 1


def test_what_is_left_out_by_protocol_is_counted_and_no_fault(path):
    index = write_index(path, 1, [Left("f:1", "no point was drawn"), sample("x", "a"), Left("f:3", "\udcff")])
    assert (index.count(), index.fault_count, index.faults(), index.left_count) == (1, 0, [], 2)
    assert index.left() == ["f:1: no point was drawn", "f:3: \\udcff"]
    assert open_index(path, 1).left_count == 2


def test_what_killed_runs_have_left_goes_after_a_day(path):
    path.parent.mkdir(parents=True)
    old, young, other = (path.parent / name for name in (".a.sqlite.x1.part", ".b.sqlite.x2.part", "c.part"))
    for one in (old, young, other):
        one.write_bytes(b"half an index")
        os.utime(one, (time.time() - 90_000,) * 2)
    os.utime(young, (time.time() - 80_000,) * 2)
    write_index(path, 1, [sample("x", "a")])
    assert sorted(one.name for one in path.parent.iterdir()) == [young.name, "c.part", path.name]


NUMBERS = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.sampled_from([0, 1, 2.0, 2**53, 2**53 + 1, 10**400, 1e308, "1", None])
)


@given(st.lists(NUMBERS, min_size=3, max_size=5), st.booleans())
def test_boxes_are_checked_as_region_records_are(values, other):
    held = StoredSample("1", "a", {"box": values, **({"note": 1} if other else {})})
    try:
        wanted = read_record(held.region, Path())
    except RegionError:
        wanted = None
    if wanted is None:
        with pytest.raises(RegionError):
            held.check()
        return
    held.check()
    assert held.sample().region == wanted


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), TREES), st.lists(st.text()))
def test_samples_are_written_as_json_says(info, references):
    one = StoredSample("1", "a", {"box": [0, 0, 2, 3.5]}, tuple(references), info)
    plain = json.dumps([one.region, references, info, [], []], separators=(",", ":"), ensure_ascii=False)
    assert one.dumps() == plain
    assert sample_of("1", "a", plain) == one.sample()


def test_samples_are_written_without_the_writer_in_c(monkeypatch):
    monkeypatch.setattr("json.encoder.c_make_encoder", None)
    one = sample("1", "a", "ü", deep={"a": [1, None]})
    assert records._made_once()((one.region, one.references, one.info, (), ())) == one.dumps()
