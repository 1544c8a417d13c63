"""The faster route of float32 products: measured, used only where it helps, and never left behind."""

from __future__ import annotations

import json
import threading

import pytest
import torch

from regionkit.core import compute
from regionkit.core.compute import Probe, fast_products
from regionkit.core.errors import RegionkitError
from regionkit.core.features import Scene
from regionkit.core.testing import GridBackbone, picture

SETTING = getattr(torch.backends.mkldnn, "matmul", None)
HELPS, SLOW, ROUGH = Probe(2.0, 9e-7), Probe(0.9, 7e-7), Probe(4.0, 4e-3)

pytestmark = pytest.mark.skipif(not hasattr(SETTING, "fp32_precision"), reason="this torch has no such setting")


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch, tmp_path):
    """A machine on which nothing was measured yet."""
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path))
    monkeypatch.delenv(compute.VARIABLE, raising=False)
    compute.forget()
    yield
    compute.forget()


def measured(monkeypatch, found: Probe) -> list[int]:
    calls: list[int] = []
    monkeypatch.setattr(compute, "measure", lambda: calls.append(1) or found)
    return calls


@pytest.mark.parametrize(
    ("found", "used"),
    [
        pytest.param(HELPS, True, id="faster and as exact"),
        pytest.param(SLOW, False, id="slower"),
        pytest.param(ROUGH, False, id="faster and less exact"),
        pytest.param(Probe(2.0, float("nan")), False, id="broken"),
    ],
)
def test_the_route_is_taken_where_it_helps_and_nowhere_else(monkeypatch, found, used):
    measured(monkeypatch, found)
    before = SETTING.fp32_precision
    with fast_products():
        assert SETTING.fp32_precision == ("bf16" if used else before)
        with fast_products():
            pass
        assert SETTING.fp32_precision == ("bf16" if used else before)
    assert SETTING.fp32_precision == before


def test_an_error_leaves_no_setting_behind(monkeypatch):
    measured(monkeypatch, HELPS)
    before = SETTING.fp32_precision
    with pytest.raises(RegionkitError), fast_products():
        raise RegionkitError("no")
    assert SETTING.fp32_precision == before


def test_what_the_user_has_chosen_stays(monkeypatch):
    measured(monkeypatch, HELPS)
    before = SETTING.fp32_precision
    SETTING.fp32_precision = "ieee"
    try:
        with fast_products():
            assert SETTING.fp32_precision == "ieee"
        assert SETTING.fp32_precision == "ieee"
    finally:
        SETTING.fp32_precision = before


def test_what_the_user_chooses_meanwhile_stays(monkeypatch):
    measured(monkeypatch, HELPS)
    before = SETTING.fp32_precision
    try:
        with fast_products():
            SETTING.fp32_precision = "ieee"
        assert SETTING.fp32_precision == "ieee"
    finally:
        SETTING.fp32_precision = before


def test_the_last_thread_puts_the_setting_back(monkeypatch):
    measured(monkeypatch, HELPS)
    before, inside, leave, seen = SETTING.fp32_precision, threading.Event(), threading.Event(), []

    def other() -> None:
        with fast_products():
            inside.set()
            leave.wait(5)
            seen.append(SETTING.fp32_precision)

    thread = threading.Thread(target=other)
    with fast_products():
        thread.start()
        inside.wait(5)
    assert SETTING.fp32_precision == "bf16"
    leave.set()
    thread.join()
    assert seen == ["bf16"]
    assert SETTING.fp32_precision == before


def test_it_is_measured_once_a_machine(monkeypatch, tmp_path):
    calls = measured(monkeypatch, HELPS)
    assert not compute.route_known()
    assert compute.probe() == compute.probe() == HELPS
    compute.forget()
    assert compute.probe() == HELPS
    assert len(calls) == 1
    assert compute.route_known()
    (kept,) = (tmp_path / "compute").iterdir()
    assert json.loads(kept.read_text())["processor"] == compute.processor()


@pytest.mark.parametrize(
    "text", [pytest.param("{", id="cut"), pytest.param("[1]", id="other"), pytest.param('{"gain": "x"}', id="words")]
)
def test_a_damaged_note_is_measured_again(monkeypatch, tmp_path, text):
    calls = measured(monkeypatch, HELPS)
    compute.probe()
    (kept,) = (tmp_path / "compute").iterdir()
    kept.write_text(text)
    compute.forget()
    assert compute.probe() == HELPS
    assert len(calls) == 2


def test_where_nothing_can_be_kept_it_is_measured_in_every_process(monkeypatch, tmp_path):
    calls = measured(monkeypatch, HELPS)
    (tmp_path / "compute").write_text("no folder")
    assert compute.probe() == compute.probe() == HELPS
    compute.forget()
    assert compute.probe() == HELPS
    assert len(calls) == 2


def test_forbidden_it_is_neither_measured_nor_used(monkeypatch):
    calls = measured(monkeypatch, HELPS)
    monkeypatch.setenv(compute.VARIABLE, "off")
    before = SETTING.fp32_precision
    with fast_products():
        assert SETTING.fp32_precision == before
    assert not calls


def test_a_gpu_is_none_of_its_business(monkeypatch):
    calls = measured(monkeypatch, HELPS)
    with fast_products(torch.device("cuda")):
        assert SETTING.fp32_precision != "bf16"
    assert not calls


def test_a_scene_is_seen_by_the_faster_route(monkeypatch):
    measured(monkeypatch, HELPS)
    backbone, seen = GridBackbone(), []
    encode = backbone.encode
    monkeypatch.setattr(backbone, "encode", lambda images: seen.append(SETTING.fp32_precision) or encode(images))
    assert Scene([picture((64, 64))], backbone).features.patches.isfinite().all()
    assert seen == ["bf16"]


def test_the_error_of_torchs_own_products_is_that_of_float32_and_bfloat16s_is_not(monkeypatch):
    left, weight = compute._factors(50, 768, 96)
    monkeypatch.setattr(compute, "_by_route", lambda product, a, b: product(a, b))
    assert compute._error(left, weight) <= compute.LIKE_FLOAT32
    half = lambda product, a, b: product(a.bfloat16(), b.bfloat16()).float()  # noqa: E731
    monkeypatch.setattr(compute, "_by_route", half)
    assert compute._error(left, weight) > 100 * compute.LIKE_FLOAT32


def test_this_machine_can_be_measured():
    found = compute.measure()
    assert found.gain > 0
    assert found.error > 0
    assert SETTING.fp32_precision != "bf16"


class Linear(torch.nn.Module, GridBackbone):
    """A backbone whose patches are computed by a layer; it remembers in what."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        GridBackbone.__init__(self)
        self.layer = torch.nn.Linear(3, 3)
        self.made: list[torch.dtype] = []

    def encode(self, images):
        self.made.append(self.layer(torch.ones(1, 3)).dtype)
        return GridBackbone.encode(self, images)


def test_a_backbone_in_bfloat16_hands_float32_on_and_keeps_its_weights():
    backbone = Linear()
    compute.in_precision(backbone, "bfloat16")
    assert backbone.encode([picture((64, 64))]).patches.dtype == torch.float32
    assert backbone.made == [torch.bfloat16]
    assert backbone.layer.weight.dtype == torch.float32
    assert backbone.layer(torch.ones(1, 3)).dtype == torch.float32


def test_pictures_with_masks_are_encoded_in_bfloat16_too():
    backbone = Linear()
    plain = backbone.encode
    backbone.encode_masked = lambda images, masks: plain(images)
    compute.in_precision(backbone, "bfloat16")
    found = backbone.encode_masked([picture((64, 64))], masks=[None])
    assert found.patches.dtype == torch.float32
    assert backbone.made == [torch.bfloat16]


def test_in_float32_nothing_changes():
    backbone = Linear()
    compute.in_precision(backbone, "float32")
    backbone.encode([picture((64, 64))])
    assert backbone.made == [torch.float32]
