"""``toolkit caption`` in bfloat16, without oneDNN, where memory runs out; what ``doctor`` says of products."""

from __future__ import annotations

import importlib
import os

import pytest
from click.testing import CliRunner
from PIL.PngImagePlugin import PngInfo

from regionkit.core import compute
from regionkit.core.compute import Probe
from regionkit.core.pipeline import Pipeline
from regionkit.registry.assembly import build
from regionkit.registry.cli import root


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    dataset = build("dataset", "mini")
    for number, sample in enumerate(dataset.samples("image", "test", 0, 3)):
        image = dataset.image(sample.image_id)
        notes = PngInfo()
        notes.add_text("regionkit", image.info["regionkit"])
        image.save(folder / f"{number}.png", pnginfo=notes)
    return folder


def caption(*args):
    result = CliRunner().invoke(root, ["caption", *map(str, args)])
    assert result.exit_code == 0, result.output
    return result


def test_bfloat16_says_what_it_may_change(scenes):
    exact, lower = caption(scenes), caption(scenes, "--precision", "bfloat16")
    assert lower.stdout == exact.stdout
    assert "note" not in exact.stderr
    assert lower.stderr == (
        "note: backbone and decoder compute in bfloat16: some captions may differ from those of float32; how many, and "
        "what metrics say of it: toolkit run --precision bfloat16\n"
    )


def test_onednn_can_be_forbidden(scenes, monkeypatch):
    monkeypatch.setenv(compute.VARIABLE, "")  # put back afterwards
    caption(scenes / "0.png", "--onednn", "off")
    assert os.environ[compute.VARIABLE] == "off"
    assert compute.forbidden()
    assert not compute.route_helps()


def test_out_of_memory_halves_the_pictures_of_a_pass(scenes, monkeypatch):
    whole = caption(scenes).stdout
    inner, tried = Pipeline.caption, []

    def outer(self, images, *args):
        tried.append(len(images))
        if len(images) > 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 1 GiB")
        return inner(self, images, *args)

    monkeypatch.setattr(Pipeline, "caption", outer)
    found = caption(scenes)
    assert found.stdout == whole
    assert tried == [3, 1, 1, 1]
    assert found.stderr == "note: out of memory with 3 pictures at once: going on with 1 at a time\n"


def test_a_picture_for_which_there_is_no_memory_costs_no_other(scenes, monkeypatch):
    def never(self, *args):
        raise MemoryError

    monkeypatch.setattr(Pipeline, "caption", never)
    result = CliRunner().invoke(root, ["caption", str(scenes)])
    assert result.exit_code == 1
    assert "error: 3 of 3 pictures were not captioned" in result.stderr
    assert "and 2 more: out of memory with a single picture: MemoryError\n  give it fewer regions" in result.stderr


@pytest.mark.parametrize(
    ("found", "detail"),
    [
        pytest.param(
            Probe(2.0, 9e-7),
            "oneDNN's: it helps here, 2.00x torch's own products, error 9.0e-07 (as exact as float32)",
            id="helps",
        ),
        pytest.param(
            Probe(4.0, 4e-3),
            "torch's own: oneDNN does not help here, 4.00x torch's own products, error 4.0e-03 "
            "(less exact than float32)",
            id="rough",
        ),
        pytest.param(None, "torch's own: this torch has no oneDNN setting for them", id="no setting"),
    ],
)
def test_doctor_says_which_way_products_take(monkeypatch, found, detail):
    monkeypatch.delenv(compute.VARIABLE, raising=False)
    monkeypatch.setattr(compute, "probe", lambda: found)
    assert doctor_module()._onednn().detail == detail


def test_doctor_says_that_it_is_forbidden(monkeypatch):
    monkeypatch.setenv(compute.VARIABLE, "off")
    assert doctor_module()._onednn().detail == "torch's own: oneDNN's are forbidden by REGIONKIT_ONEDNN=off"


def doctor_module():
    return importlib.import_module("regionkit.registry.commands.doctor")
