"""``toolkit caption`` on pictures of the mini-world: every way to name a region, every kind of output."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from regionkit.core.region_io import to_record
from regionkit.registry.assembly import build
from regionkit.registry.cli import root


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Return a folder of three pictures and, by picture, an object's regions."""
    folder = tmp_path_factory.mktemp("scenes")
    dataset = build("dataset", "mini")
    found = {}
    for task in ("box", "mask", "trace", "point", "box-set"):
        for number, sample in enumerate(dataset.samples(task, "test", 0, 3)):
            image = dataset.image(sample.image_id)
            notes = PngInfo()
            notes.add_text("regionkit", image.info["regionkit"])
            image.save(folder / f"{number}.png", pnginfo=notes)
            found.setdefault(f"{number}.png", {})[task] = sample.region
    mask = found["0.png"]["mask"].bitmap
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder.parent / "mask-of-0.png")
    return folder, found


def caption(*args):
    result = CliRunner().invoke(root, ["caption", *map(str, args)])
    assert result.exit_code == 0, result.output
    return result.output


def text(values):
    return ",".join(f"{value:g}" for value in values)


def test_one_picture_with_every_kind_of_region(scenes, tmp_path):
    folder, found = scenes
    regions = found["0.png"]
    boxes = ";".join(text(box.corners) for box in regions["box-set"].boxes)
    lines = caption(
        folder / "0.png",
        *("--box", text(regions["box"].corners)),
        *("--boxes", boxes),
        *("--point", text(regions["point"].points[0])),
        *("--trace", " ".join(text(point) for point in regions["trace"].points)),
        *("--mask", folder.parent / "mask-of-0.png"),
        "--whole",
        *("--out", tmp_path / "drawn.png"),
    ).splitlines()
    assert [line.split(".")[0] for line in lines] == list("123456")
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.size[0] > 480


def test_json_output_reads_back_as_input(scenes, tmp_path):
    folder, found = scenes
    regions = [to_record(found["0.png"][task]) for task in ("box", "mask", "trace")]
    line = {"image": str(folder / "0.png"), "regions": regions}
    (tmp_path / "in.jsonl").write_text(json.dumps(line) + "\n\n" + json.dumps({"image": str(folder / "1.png")}) + "\n")
    printed = caption(tmp_path / "in.jsonl", "--json", "--out", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == printed
    first, second = map(json.loads, printed.splitlines())
    assert [entry["region"] for entry in first["captions"]] == regions
    assert [entry["region"] for entry in second["captions"]] == [{"whole": True}]
    assert all(entry["caption"] and entry["score"] < 0 for entry in first["captions"])


def test_a_folder_is_captioned_like_its_pictures_one_by_one(scenes, tmp_path):
    folder, _ = scenes
    together = caption(folder, "--box", "10,10,60,60", "--batch", "2", "--out", tmp_path / "drawn").splitlines()
    alone = [caption(folder / f"{n}.png", "--box", "10,10,60,60").strip() for n in range(3)]
    assert together == [f"{folder / f'{n}.png'}: {words}" for n, words in enumerate(alone)]
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("{", "in.jsonl:1: not JSON", id="not-json"),
        pytest.param('{"img": "a.png"}', "in.jsonl:1: no key 'image'", id="no-image"),
        pytest.param('{"image": "a.png"}', "a.png: no such file", id="no-file"),
        pytest.param("", "in.jsonl holds no line", id="empty"),
    ],
)
def test_jsonl_mistakes(line, message, tmp_path):
    (tmp_path / "in.jsonl").write_text(line)
    result = CliRunner().invoke(root, ["caption", str(tmp_path / "in.jsonl")])
    assert result.exit_code == 2
    assert message in result.output


def test_regions_come_from_one_place(scenes, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"image": "a.png"}\n')
    result = CliRunner().invoke(root, ["caption", str(tmp_path / "in.jsonl"), "--whole"])
    assert result.exit_code == 2
    assert "brings its own regions" in result.output
