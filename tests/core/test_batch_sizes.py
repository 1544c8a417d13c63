"""Batches sized to memory, on a device that is made up: it counts, and refuses what it has no room for."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regionkit.core import batch_sizes
from regionkit.core.batch_sizes import FIRST, GROWTH, SHARE, batches_that_fit, named
from regionkit.core.features import GenerateOptions

param = pytest.param


class Model:
    """Something to remember measurements with."""


class Device:
    """A device with so many bytes; every item of a batch takes ``each`` of them, and a batch ``fixed`` more."""

    def __init__(self, size: float, each: float, fixed: int = 0) -> None:
        self.size, self.each, self.fixed = size, each, fixed
        self.peak = 0

    def free(self) -> int:
        return int(self.size)

    def begin(self) -> None:
        self.peak = 0

    def taken(self) -> int:
        return self.peak

    def run(self, items: int) -> None:
        needed = int(self.fixed + items * self.each)
        self.peak = max(self.peak, min(needed, int(self.size)))
        if needed > self.size:
            raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.fixture
def on(monkeypatch):
    def put(device: Device | None) -> None:
        monkeypatch.setattr(batch_sizes, "_reader", lambda where: device)

    return put


def run(gpu: Device | None, owner: object, count: int, size: int | None = None, **options) -> list[int]:
    """Run a model over items, and return the sizes of its batches, which must cover them in order."""
    sizes, end = [], 0
    for part in batches_that_fit(owner, count, size, **{"default": 256, "device": "cuda"} | options):
        assert part.start == end
        end = part.stop
        sizes.append(part.stop - part.start)
        if gpu is not None:
            gpu.run(sizes[-1])
    assert end == count
    return sizes


def test_on_a_cpu_sizes_are_those_of_the_options():
    assert run(None, Model(), 600, device="cpu") == [256, 256, 88]
    assert run(None, Model(), 5, 2, device="cpu") == [2, 2, 1]
    assert run(None, Model(), 0, device="cpu") == []


def test_a_size_that_is_named_is_taken(on):
    on(device := Device(1e9, 1))
    assert run(device, Model(), 10, 4) == [4, 4, 2]
    assert device.peak == 4


def test_batches_grow_from_a_small_one_to_what_fits_and_are_remembered(on):
    on(device := Device(10_000, 10))
    model = Model()
    most = int(SHARE * 10_000 / 10)
    assert run(device, model, 3000) == [FIRST, FIRST * GROWTH, *[most] * 4, 3000 - FIRST * (1 + GROWTH) - 4 * most]
    assert run(device, model, 700) == [most, 100]
    assert run(device, model, 700, key="longer")[0] == FIRST
    assert run(device, Model(), 700)[0] == FIRST


def test_a_default_below_the_first_size_is_where_it_begins(on):
    on(device := Device(1e9, 1))
    assert run(device, Model(), 40, default=4) == [4, 32, 4]


def test_what_all_items_share_weighs_less_once_a_batch_is_large(on):
    on(device := Device(10_000, 10, fixed=2000))
    model = Model()
    assert run(device, model, 2000)[:2] == [FIRST, int(SHARE * 10_000 / (2000 / FIRST + 10))]
    assert run(device, model, 5000)[-2] > 250


def test_memory_for_less_than_one_item_still_gives_one(on):
    on(device := Device(10, 3))
    for part in batches_that_fit(Model(), 5, None, default=1, device="cuda"):
        assert part.stop - part.start == 1
        device.peak, device.size = 3, 0.5


@pytest.mark.parametrize("granted", [param(1.0, id="nearly all was taken"), param(0.0, id="nothing was granted")])
def test_batches_that_do_not_fit_make_the_next_ones_smaller(on, granted):
    """Captions become longer than those that were measured; whoever asks halves what did not fit."""
    on(device := Device(1000, 1))
    model = Model()
    assert max(run(device, model, 1000)) == 600
    device.each, failures, tried = 50, 0, []

    def work(count: int) -> None:
        nonlocal failures
        failed = False
        try:
            for part in batches_that_fit(model, count, None, default=256, device="cuda"):
                tried.append(part.stop - part.start)
                device.peak = int(granted * device.size)
                device.run(tried[-1])
        except torch.OutOfMemoryError:
            failed = True
        if failed:
            failures += 1
            work(count // 2)
            work(count - count // 2)

    work(400)
    assert failures <= 6
    assert tried == [400, 200, 100, 50, 25, 12, *tried[6:]]
    assert max(tried[6:]) <= 20


def test_what_takes_nothing_grows_step_by_step(on):
    on(device := Device(0, 0))
    assert run(device, Model(), 2000) == [FIRST, FIRST * GROWTH, FIRST * GROWTH**2, 2000 - FIRST * (1 + GROWTH + 64)]


@given(
    size=st.integers(0, 10_000),
    each=st.floats(0, 100),
    fixed=st.integers(0, 500),
    counts=st.lists(st.integers(0, 400), min_size=1, max_size=4),
    default=st.integers(1, 300),
)
@settings(deadline=None, max_examples=100)
def test_any_device_with_room_for_the_first_batch_is_never_filled(size, each, fixed, counts, default):
    first = min(default, FIRST)
    device = Device(max(size, 2 * (fixed + first * each) + 2), each, fixed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_sizes, "_reader", lambda where: device)
        model = Model()
        for count in counts:
            assert all(one >= 1 for one in run(device, model, count, default=default))


@dataclasses.dataclass
class Options:
    batch: int = 8


def test_the_default_of_an_option_names_nothing():
    assert named(Options(), "batch") is None
    assert named(Options(3), "batch") == 3
    assert named(GenerateOptions(), "batch_size") is None
    assert named(GenerateOptions(batch_size=2), "batch_size") == 2


def test_a_cpu_has_no_memory_to_read():
    assert batch_sizes.memory_of("cpu") is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_read_as_it_is():
    device = torch.device("cuda")
    memory = batch_sizes.memory_of(device)
    assert memory is not None
    before = memory.free()
    memory.begin()
    held = torch.empty(64 << 20, dtype=torch.uint8, device=device)
    assert 64 << 20 <= memory.taken() < 80 << 20
    assert before - memory.free() >= 60 << 20
    del held
    assert before - memory.free() < 8 << 20

    def work(items: int) -> None:
        torch.empty(items << 24, dtype=torch.uint8, device=device)

    sizes = []
    for part in batches_that_fit(Model(), 4000, None, default=256, device=device):
        sizes.append(part.stop - part.start)
        work(sizes[-1])
    assert sizes[0] == FIRST
    assert max(sizes) << 24 <= SHARE * before
