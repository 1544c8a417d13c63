"""The stage cache: what comes back, what is found damaged, what makes room."""

from __future__ import annotations

import errno
import json
import os
import resource
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from regionkit.plugins.ablation.cache import space as space_module
from regionkit.plugins.ablation.cache.entries import place_of, walk
from regionkit.plugins.ablation.cache.sizes import human, seconds_of
from regionkit.plugins.ablation.cache.space import LIMIT, STATE, limit_of
from regionkit.plugins.ablation.cache.stage_cache import StageCache

ABOUT = {"stage": "backbone", "component": "clip", "config": {"resolution": 224}, "data": "box@mini", "seconds": 1.5}


def key(number):
    return f"{number:032x}"


KEY = "ab" + key(1)[2:]


def kilobytes(number=64):
    return {"x": torch.arange(number * 256, dtype=torch.float32)}


def opened(folder, **options):
    said = []
    return StageCache(folder, tell=said.append, **options), said


def parts(folder):
    return sorted(path.name for path in folder.rglob("*.part"))


def same(found, wanted):
    assert list(found) == sorted(wanted) or set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor)


MIXED = {
    "float": torch.tensor([[0.1, -0.0], [float("inf"), 3e-8]]),
    "double": torch.tensor([0.1], dtype=torch.float64),
    "half": torch.tensor([0.1], dtype=torch.float16),
    "bfloat": torch.tensor([1e30], dtype=torch.bfloat16),
    "mask": torch.tensor([True, False, True]),
    "count": torch.tensor(2**40),
    "byte": torch.tensor([255], dtype=torch.uint8),
    "none": torch.zeros(0, 3),
    "blake2b": torch.ones(1),
}


@pytest.mark.parametrize("precision", [pytest.param(one, id=one) for one in ("float32", "float16")])
def test_what_was_put_comes_back(tmp_path, precision):
    cache, said = opened(tmp_path / "deep" / "stages", precision=precision)
    about = {**ABOUT, "words": '"blake2b":"00" é \ud800 \n'}
    assert cache.get(KEY) is None
    assert (cache.has(KEY), cache.size(KEY)) == (False, 0)
    cache.put(KEY, MIXED, about)
    assert cache.has(KEY)
    fresh, _ = opened(tmp_path / "deep" / "stages", precision=precision)
    entry = fresh.get(KEY)
    assert entry.about == {**about, "precision": precision}
    same(entry.tensors, cache.rounded(MIXED))
    if precision == "float32":
        same(entry.tensors, MIXED)
    size = place_of(cache.folder, KEY, precision).stat().st_size
    assert cache.size(KEY) == size
    assert (cache.stats.misses, cache.stats.hits, cache.stats.written, cache.stats.bytes_written) == (1, 0, 1, size)
    assert (fresh.stats.misses, fresh.stats.hits) == (0, 1)
    assert (said, cache.stats.off, cache.stats.damaged, cache.stats.evicted) == ([], "", [], 0)
    assert parts(tmp_path) == []


def test_precisions_do_not_see_each_other(tmp_path):
    whole, half = StageCache(tmp_path), StageCache(tmp_path, precision="float16")
    whole.put(KEY, kilobytes(), ABOUT)
    assert half.get(KEY) is None
    half.put(KEY, {"x": torch.tensor([0.1])}, ABOUT)
    assert whole.get(KEY).tensors["x"].shape == (64 * 256,)
    assert half.get(KEY).tensors["x"].tolist() == [torch.tensor(0.1).half().item()]
    assert half.get(KEY).tensors["x"].dtype == torch.float32


def test_half_precision_halves_the_file(tmp_path):
    whole, half = StageCache(tmp_path), StageCache(tmp_path, precision="float16")
    for cache in (whole, half):
        cache.put(KEY, kilobytes(), ABOUT)
    assert half.size(KEY) < 0.52 * whole.size(KEY)


def test_what_float16_cannot_hold_is_kept_whole(tmp_path):
    cache = StageCache(tmp_path, precision="float16")
    tensors = {"x": torch.tensor([65504.0, 65520.0]), "y": torch.tensor([0.1])}
    cache.put(KEY, tensors, ABOUT)
    entry = cache.get(KEY)
    same(entry.tensors, tensors)
    same(cache.rounded(tensors), tensors)
    assert entry.about["precision"] == "float32"
    assert entry.about["kept_whole"] == "values beyond 65504 have no place in float16"


def test_infinities_and_nan_are_no_overflow(tmp_path):
    cache = StageCache(tmp_path, precision="float16")
    cache.put(KEY, {"x": torch.tensor([float("nan"), float("-inf"), 65519.0, 1e-9])}, ABOUT)
    entry = cache.get(KEY)
    assert entry.about["precision"] == "float16"
    assert entry.tensors["x"][0].isnan()
    assert entry.tensors["x"][1:].tolist() == [float("-inf"), 65504.0, 0.0]


def test_views_and_gradients_are_kept_as_what_they_show(tmp_path):
    base = torch.arange(12.0, requires_grad=True)
    tensors = {"a": base, "b": base.view(3, 4).T, "c": base[4:6], "d": base}
    cache = StageCache(tmp_path)
    cache.put(KEY, tensors, ABOUT)
    same(cache.get(KEY).tensors, {name: tensor.detach() for name, tensor in tensors.items()})


def test_rounding_leaves_the_callers_tensors_alone(tmp_path):
    tensors = {"x": torch.tensor([0.1])}
    rounded = StageCache(tmp_path, precision="float16").rounded(tensors)
    assert tensors["x"].item() == torch.tensor(0.1).item() != rounded["x"].item()
    assert StageCache(tmp_path).rounded(tensors)["x"] is tensors["x"]


def test_a_device_that_was_asked_for(tmp_path):
    cache = StageCache(tmp_path, precision="float16")
    cache.put(KEY, MIXED, ABOUT)
    assert {tensor.device.type for tensor in cache.get(KEY, device="meta").tensors.values()} == {"meta"}


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param("", id="empty"),
        pytest.param("../../../../etc/passwd", id="path"),
        pytest.param("AB" * 16, id="upper"),
        pytest.param("ab", id="short"),
        pytest.param("ab" * 16 + "\n", id="newline"),
    ],
)
def test_keys_are_digests(tmp_path, wrong):
    cache = StageCache(tmp_path)
    for call in (cache.get, cache.has, cache.size, lambda one: cache.put(one, {}, {})):
        with pytest.raises(ValueError, match="a key of the cache is 16 to 128 lower-case hexadecimal digits"):
            call(wrong)


def test_a_precision_that_there_is_not(tmp_path):
    with pytest.raises(ValueError, match="the cache keeps float32 or float16, and not 'int8'"):
        StageCache(tmp_path, precision="int8")


# --- damage


def small(folder):
    cache, said = opened(folder)
    cache.put(KEY, {"x": torch.arange(5.0), "mask": torch.tensor([True])}, ABOUT)
    return cache, said, place_of(folder, KEY, "float32")


@settings(max_examples=80)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_every_flipped_bit_is_found(tmp_path_factory, where, bit):
    folder = tmp_path_factory.mktemp("cache", numbered=True)
    cache, said, place = small(folder)
    content = bytearray(place.read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    place.write_bytes(content)
    assert cache.get(KEY) is None
    assert cache.stats.damaged == [KEY]
    assert len(said) == 1
    assert not place.exists()


@pytest.mark.slow
def test_every_flipped_bit_of_an_entry(tmp_path):
    cache, said, place = small(tmp_path)
    content = place.read_bytes()
    for at in range(8 * len(content)):
        changed = bytearray(content)
        changed[at // 8] ^= 1 << at % 8
        place.write_bytes(changed)
        assert cache.get(KEY) is None, at
    assert (cache.stats.misses, len(said)) == (8 * len(content), 1)


@settings(max_examples=40)
@given(where=st.floats(0, 1, exclude_max=True), more=st.booleans())
def test_every_other_length_is_found(tmp_path_factory, where, more):
    cache, _, place = small(tmp_path_factory.mktemp("cache", numbered=True))
    content = place.read_bytes()
    length = int(where * len(content))
    place.write_bytes(content + b"\0" * (1 + length) if more else content[:length])
    assert cache.get(KEY) is None
    assert cache.stats.damaged == [KEY]


def torch_file(path):
    save_file({"x": torch.ones(3)}, path)


def another_key(path):
    other = StageCache(path.parent.parent)
    other.put(KEY[:-1] + "7", kilobytes(1), ABOUT)
    os.replace(place_of(other.folder, KEY[:-1] + "7", "float32"), path)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def pipe(path):
    path.unlink()
    os.mkfifo(path)


DAMAGES = [
    pytest.param(flipped, "checksum", id="flipped"),
    pytest.param(lambda path: path.write_bytes(b""), "cut off", id="empty"),
    pytest.param(lambda path: path.write_bytes(path.read_bytes()[:100]), "cut off", id="half-written"),
    pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-1]), "cut off", id="truncated"),
    pytest.param(torch_file, "unreadable head", id="foreign-safetensors"),
    pytest.param(lambda path: path.write_bytes(b"PK\3\4" * 999), "cut off", id="foreign-zip"),
    pytest.param(
        lambda path: path.write_bytes((32 << 20).to_bytes(8, "little") + bytes(33 << 20)),
        "no entry of the cache",
        id="huge-head",
    ),
    pytest.param(
        lambda path: path.write_bytes((200_000).to_bytes(8, "little") + b"[" * 200_000), "unreadable head", id="deep"
    ),
    pytest.param(another_key, "another key", id="another-key"),
    pytest.param(pipe, "not a file", id="pipe"),
]


@pytest.mark.parametrize(("spoil", "reason"), DAMAGES)
def test_damage_is_told_once_and_mended(tmp_path, spoil, reason):
    cache, said, place = small(tmp_path)
    spoil(place)
    assert cache.get(KEY) is None
    assert said == [f"cache: entry {KEY[:12]}.. is damaged ({reason}): it is computed again"]
    assert not place.exists()
    cache.put(KEY, kilobytes(1), ABOUT)
    same(cache.get(KEY).tensors, kilobytes(1))
    assert (cache.stats.damaged, cache.stats.misses, cache.stats.hits) == ([KEY], 1, 1)


def test_damage_that_cannot_be_removed_is_told_once(tmp_path, monkeypatch):
    cache, said, place = small(tmp_path)
    flipped(place)

    def refused(self, missing_ok=False):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(type(place), "unlink", refused)
    assert [cache.get(KEY), cache.get(KEY)] == [None, None]
    assert (len(said), cache.stats.damaged, cache.stats.misses) == (1, [KEY], 2)


def test_an_entry_that_says_nothing_known_is_damaged(tmp_path, monkeypatch):
    cache, said, _ = small(tmp_path)
    half = StageCache(tmp_path, precision="float16", tell=said.append)
    monkeypatch.setattr("regionkit.plugins.ablation.cache.stage_cache.dtypes_before", lambda _: {"x": "int3"})
    half.put(KEY, kilobytes(1), ABOUT)
    assert half.get(KEY) is None
    assert said == [f"cache: entry {KEY[:12]}.. is damaged (unreadable tensors): it is computed again"]
    assert cache.get(KEY) is not None


def test_entries_that_may_not_be_read_are_told_once(tmp_path, monkeypatch):
    cache, said = opened(tmp_path)
    for number in (1, 2):
        cache.put(key(number), kilobytes(1), ABOUT)

    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("regionkit.plugins.ablation.cache.entries.os.open", refused)
        assert [cache.get(key(number)) for number in (1, 2)] == [None, None]
    assert said == [
        f"cache: entry {key(1)[:12]}.. cannot be read (Permission denied): what cannot be read is computed again"
    ]
    assert cache.stats.damaged == []
    assert cache.get(key(2)) is not None


# --- what keeps it from being written


def refusing(number, call=None):
    """Return a function that refuses, files that are opened for reading excepted."""

    def refuse(*args, **_):
        if call is not None and not args[1] & os.O_RDWR:
            return call(*args)
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize(
    ("call", "number"),
    [
        pytest.param("os.open", errno.EROFS, id="read-only"),
        pytest.param("os.open", errno.EACCES, id="permission"),
        pytest.param("os.write", errno.ENOSPC, id="full-for-the-state"),
        pytest.param("open", errno.ENOSPC, id="full-for-a-file"),
        pytest.param("walk", errno.EIO, id="broken"),
    ],
)
def test_a_folder_that_cannot_be_written_is_read_on(tmp_path, monkeypatch, call, number):
    StageCache(tmp_path).put(key(1), kilobytes(), ABOUT)
    cache, said = opened(tmp_path)
    refuse = refusing(number, os.open if call == "os.open" else None)
    monkeypatch.setattr(f"regionkit.plugins.ablation.cache.space.{call}", refuse, raising=False)
    monkeypatch.setattr("regionkit.plugins.ablation.cache.space.os.utime", refusing(number))
    for at in (2, 3):
        cache.put(key(at), kilobytes(), ABOUT)
    reason = os.strerror(number)
    assert said == [f"cache: {tmp_path} cannot be written ({reason}): going on without it"]
    assert (cache.stats.off, cache.stats.written) == (reason, 0)
    same(cache.get(key(1)).tensors, kilobytes())
    monkeypatch.undo()
    assert [one.key for one in walk(tmp_path)[0]] == [key(1)]
    assert parts(tmp_path) == []


def test_a_full_disk(tmp_path):
    cache, said = opened(tmp_path)
    cache.put(key(1), kilobytes(4), ABOUT)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        cache.put(key(2), kilobytes(100), ABOUT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert said == [f"cache: {tmp_path} cannot be written (File too large): going on without it"]
    assert [cache.has(key(number)) for number in (1, 2)] == [True, False]
    assert parts(tmp_path) == []
    cache.put(key(3), kilobytes(1), ABOUT)
    assert not cache.has(key(3))


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "stages").touch()
    cache, said = opened(tmp_path / "stages")
    assert (cache.get(KEY), cache.has(KEY), cache.size(KEY)) == (None, False, 0)
    cache.put(KEY, kilobytes(1), ABOUT)
    assert said == [f"cache: {tmp_path / 'stages'} cannot be written (Not a directory): going on without it"]


def test_a_folder_that_somebody_removed_is_made_again(tmp_path):
    cache, said = opened(tmp_path / "stages")
    cache.put(KEY, kilobytes(1), ABOUT)
    os.rename(tmp_path / "stages", tmp_path / "away")
    assert cache.get(KEY) is None
    cache.put(KEY, kilobytes(1), ABOUT)
    assert cache.get(KEY) is not None
    assert said == []


def test_a_file_that_is_cleared_while_it_is_written_is_not_kept(tmp_path, monkeypatch):
    cache, said = opened(tmp_path)
    monkeypatch.setattr(cache._space, "touch", lambda path, before=0: path.unlink())
    cache.put(KEY, kilobytes(1), ABOUT)
    assert (cache.stats.written, cache.stats.bytes_written, cache.stats.off, said) == (0, 0, "", [])


def test_what_is_no_json_is_the_callers_mistake(tmp_path):
    with pytest.raises(TypeError):
        StageCache(tmp_path).put(KEY, kilobytes(1), {"stage": object()})
    assert list(tmp_path.iterdir()) == []


# --- room


def entry_bytes(folder):
    cache = StageCache(folder / "one")
    cache.put(key(1), kilobytes(), ABOUT)
    return cache.size(key(1))


def total(folder):
    return sum(one.size for one in walk(folder)[0])


def test_what_was_not_used_for_longest_makes_room(tmp_path):
    size = entry_bytes(tmp_path)
    cache, said = opened(tmp_path / "c", limit=3 * size + 10)
    for number in (1, 2, 3):
        cache.put(key(number), kilobytes(), ABOUT)
    assert cache.get(key(1)) is not None
    cache.put(key(4), kilobytes(), ABOUT)
    assert [cache.has(key(number)) for number in (1, 2, 3, 4)] == [True, False, True, True]
    cache.put(key(5), kilobytes(), ABOUT)
    assert [cache.has(key(number)) for number in (1, 3, 4, 5)] == [True, False, True, True]
    assert (cache.stats.evicted, said) == (2, [])


@settings(max_examples=40)
@given(sizes=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 40)), max_size=25), limit=st.integers(1, 100))
def test_the_limit_holds_whatever_is_written(tmp_path_factory, sizes, limit):
    folder = tmp_path_factory.mktemp("cache", numbered=True)
    cache, said = opened(folder, limit=limit << 10)
    for number, size in sizes:
        cache.put(key(number), kilobytes(size), ABOUT)
        assert total(folder) <= limit << 10
        assert cache.has(key(number)) or size >= limit - 2 or bool(said)
    assert cache.stats.off == ""
    assert len(said) <= 1


def test_a_clock_that_is_set_back_changes_no_order(tmp_path, monkeypatch):
    size = entry_bytes(tmp_path)
    cache = StageCache(tmp_path / "c", limit=3 * size + 10)
    for number in (1, 2, 3):
        cache.put(key(number), kilobytes(), ABOUT)
    before = time.time_ns()
    monkeypatch.setattr(space_module.time, "time_ns", lambda: before - 10**17)
    late = StageCache(tmp_path / "c", limit=3 * size + 10)
    assert late.get(key(1)) is not None
    late.put(key(4), kilobytes(), ABOUT)
    assert [late.has(key(number)) for number in (1, 2, 3, 4)] == [True, False, True, True]


@pytest.mark.parametrize("stamp", [pytest.param(0, id="1970"), pytest.param(2**34 * 10**9, id="2514")])
def test_strange_times_do_no_harm(tmp_path, stamp):
    size = entry_bytes(tmp_path)
    cache = StageCache(tmp_path / "c", limit=2 * size + 10)
    cache.put(key(1), kilobytes(), ABOUT)
    os.utime(place_of(cache.folder, key(1), "float32"), ns=(stamp, stamp))
    for number in (2, 3):
        cache.put(key(number), kilobytes(), ABOUT)
    assert cache.has(key(3))
    assert total(cache.folder) <= cache.limit


def test_an_entry_beyond_the_limit_is_not_kept_and_moves_nothing(tmp_path):
    size = entry_bytes(tmp_path)
    cache, said = opened(tmp_path / "c", limit=size + 10)
    cache.put(key(1), kilobytes(), ABOUT)
    for number in (2, 3):
        cache.put(key(number), kilobytes(200), ABOUT)
    assert [cache.has(key(number)) for number in (1, 2, 3)] == [True, False, False]
    assert said == [
        f"cache: entry {key(2)[:12]}.., 200.4 KiB, finds no room in {human(size + 10)}: such entries are not kept"
    ]
    assert cache.stats.off == ""


def test_what_cannot_be_removed_does_not_break_the_limit(tmp_path, monkeypatch):
    size = entry_bytes(tmp_path)
    cache, said = opened(tmp_path / "c", limit=size + 10)
    cache.put(key(1), kilobytes(), ABOUT)
    monkeypatch.setattr(space_module, "_removed", lambda one: False)
    cache.put(key(2), kilobytes(), ABOUT)
    assert [cache.has(key(number)) for number in (1, 2)] == [True, False]
    assert len(said) == 1


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\0" * 64, id="bytes"),
        pytest.param(b"[1]", id="list"),
        pytest.param(b'{"bytes": -5, "limit": true, "newest": 1e400}', id="numbers"),
        pytest.param(b"[" * 4096, id="deep"),
    ],
)
def test_a_damaged_state_follows_from_the_entries(tmp_path, content):
    size = entry_bytes(tmp_path)
    cache = StageCache(tmp_path / "c", limit=3 * size + 10)
    for number in (1, 2, 3):
        cache.put(key(number), kilobytes(), ABOUT)
    (cache.folder / STATE).write_bytes(content)
    assert limit_of(cache.folder) == LIMIT
    assert cache.get(key(1)) is not None
    cache.put(key(4), kilobytes(), ABOUT)
    assert (total(cache.folder), cache.has(key(2))) == (3 * size, False)
    state = json.loads((cache.folder / STATE).read_bytes())
    assert (state["bytes"], state["limit"]) == (3 * size, cache.limit)
    assert limit_of(cache.folder) == cache.limit


def test_a_new_process_counts_what_others_left(tmp_path):
    size = entry_bytes(tmp_path)
    first = StageCache(tmp_path / "c", limit=3 * size + 10)
    for number in (1, 2, 3):
        first.put(key(number), kilobytes(), ABOUT)
    second = StageCache(tmp_path / "c", limit=2 * size + 10)
    second.put(key(4), kilobytes(), ABOUT)
    assert total(second.folder) <= 2 * size + 10
    assert second.has(key(4))
    assert first.get(key(1)) is None


def test_foreign_files_are_neither_counted_nor_removed(tmp_path):
    size = entry_bytes(tmp_path)
    cache = StageCache(tmp_path / "c", limit=2 * size + 10)
    cache.put(key(1), kilobytes(), ABOUT)
    foreign = [cache.folder / "notes.txt", cache.folder / "00" / "x.safetensors", cache.folder / "ff" / f"{key(1)}.bin"]
    foreign.append(cache.folder / "ff" / f"{key(1)}.safetensors")  # in a folder where its key does not belong
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 10 * size)
    for number in range(2, 6):
        cache.put(key(number), kilobytes(), ABOUT)
    assert all(path.stat().st_size == 10 * size for path in foreign)
    assert [cache.has(key(number)) for number in (3, 4, 5)] == [False, True, True]


def test_a_reader_keeps_what_is_evicted_under_it(tmp_path, monkeypatch):
    cache, _ = opened(tmp_path)
    cache.put(KEY, kilobytes(), ABOUT)
    opens = os.open

    def evicted_meanwhile(path, *rest):
        handle = opens(path, *rest)
        os.unlink(path)
        return handle

    monkeypatch.setattr("regionkit.plugins.ablation.cache.entries.os.open", evicted_meanwhile)
    same(cache.get(KEY).tensors, kilobytes())
    assert cache.get(KEY) is None


@pytest.mark.parametrize(
    ("size", "text"),
    [
        pytest.param(0, "0 B", id="none"),
        pytest.param(1023, "1023 B", id="bytes"),
        pytest.param(1536, "1.5 KiB", id="kilo"),
        pytest.param(2**20 - 1, "1.0 MiB", id="edge"),
        pytest.param(20 * 2**30, "20.0 GiB", id="giga"),
        pytest.param(5000 * 2**40, "5000.0 TiB", id="beyond"),
    ],
)
def test_sizes_as_people_write_them(size, text):
    assert human(size) == text


def test_stretches_of_time():
    assert [seconds_of(text) for text in ("90s", "1.5h", "30d", " 2w ")] == [90, 5400, 2_592_000, 1_209_600]
    for text in ("", "30", "d", "-1d", "1e9d", "³d", "1 d"):
        with pytest.raises(ValueError, match="is no stretch of time: write 12h, 30d or 2w"):
            seconds_of(text)
