"""``toolkit explain`` on pictures of the mini-world, and on region encoders whose maps are missing or wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from regionkit.core.region_io import to_record
from regionkit.core.regions import Box
from regionkit.registry.cli import root

SCENE = Path(__file__).resolve().parents[2] / "docs" / "images" / "scene.png"
BOX = "21,44,48,74"


@pytest.fixture
def folder(tmp_path):
    """Return a folder of two pictures of the mini-world and one that is none."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a.png", "b.png"):
        (pictures / name).write_bytes(SCENE.read_bytes())
    return pictures


def invoke(*args):
    return CliRunner().invoke(root, ["explain", *map(str, args)])


def explain(*args):
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_without_a_file_the_share_of_the_weight_inside_each_region_is_printed():
    lines = explain(SCENE, "--box", BOX, "--point", "64,80").splitlines()
    captions = CliRunner().invoke(root, ["caption", str(SCENE), "--box", BOX, "--point", "64,80"]).stdout.splitlines()
    shares = "100% of the weight on the patches of the region, which are {} of all; at most {} on one"
    # The box touches 4 x 5 patches of 144 and pools them alike; the point is one patch.
    assert lines == [
        f"{captions[0]} ({shares.format('14%', '5.0%')})",
        f"{captions[1]} ({shares.format('1%', '100.0%')})",
    ]


def test_arrays_hold_maps_cells_and_captions(tmp_path):
    explain(SCENE, "--box", BOX, "--whole", "--out", tmp_path / "maps.npz")
    with np.load(tmp_path / "maps.npz", allow_pickle=False) as arrays:
        maps, cells = arrays["maps"], arrays["cells"]
        assert maps.dtype == np.float32
        assert maps.shape == (2, 12, 12)
        assert maps.sum((1, 2)) == pytest.approx([1, 1], abs=1e-5)
        assert maps[1] == pytest.approx(np.full((12, 12), 1 / 144), abs=1e-6)
        x1, y1, x2, y2 = cells[maps[0] > 0].T  # pixels of the patches that count are those that the box touches
        assert (x1.min(), y1.min(), x2.max(), y2.max()) == (16, 40, 48, 80)
        assert len(arrays["captions"]) == 2
        assert [json.loads(text) for text in arrays["regions"]] == [to_record(Box(21, 44, 48, 74)), {"whole": True}]
        assert arrays["inside"] == pytest.approx([1, 1], abs=1e-5)
        assert arrays["image_size"].tolist() == [96, 96]
        assert json.loads(str(arrays["provenance"]))["region_encoder"]["name"] == "patch-pool"


def test_json_says_what_a_script_needs(tmp_path):
    weighting = ("--set", "region_encoder.weighting=gaussian")
    record = json.loads(explain(SCENE, "--box", BOX, "--json", *weighting))
    assert list(record) == ["image", "preset", "grid", "regions", "provenance"]
    assert record["grid"] == [12, 12]
    (found,) = record["regions"]
    assert list(found) == ["region", "caption", "score", "inside", "area", "peak", "peak_weight"]
    assert found["region"] == {"box": [21, 44, 48, 74]}
    assert (found["inside"], found["area"]) == (1.0, round(20 / 144, 4))
    assert found["peak"][0] == 7  # the Gaussian is highest in the middle: of patch rows 5 to 9
    assert found["peak_weight"] > 0.05
    assert explain(SCENE, "--box", BOX, "--out", tmp_path / "lines.jsonl", *weighting)
    assert json.loads((tmp_path / "lines.jsonl").read_text()) == record


def test_a_picture_has_a_panel_a_region(tmp_path):
    explain(SCENE, "--box", BOX, "--out", tmp_path / "one.png")
    explain(SCENE, "--box", BOX, "--point", "64,80", "--trace", "56,30 58,22", "--out", tmp_path / "three.webp")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "three.webp") as three:
        assert (one.format, three.format) == ("PNG", "WEBP")
        assert three.size[0] * three.size[1] > 2.5 * one.size[0] * one.size[1]


def test_a_folder_gets_everything_and_one_bad_picture_does_not_stop_the_others(folder, tmp_path):
    Image.new("RGB", (64, 48)).save(folder / "photo.jpg")
    result = invoke(folder, "--box", BOX, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "error: 1 of 3 pictures were not explained" in result.output
    assert "'mini-dense' knows only pictures of the mini-world" in result.output
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == ["a.npz", "a.png", "b.npz", "b.png", "explained.jsonl"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "explained.jsonl").read_text().splitlines()]
    assert ["error" in line for line in lines] == [False, False, True]
    stopped = invoke(folder, "--box", BOX, "--on-error", "stop")
    assert stopped.exit_code == 2


def test_lines_of_a_jsonl_bring_their_regions(folder, tmp_path):
    lines = [{"id": "one", "image": "a.png", "regions": [{"box": [21, 44, 48, 74]}]}, {"image": "b.png"}]
    (folder / "in.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    printed = explain(folder / "in.jsonl").splitlines()
    assert [line.split(":")[0] for line in printed] == ["one", "b.png"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        pytest.param("maps.txt", "(.png, .jpg, .jpeg, .webp), an .npz file, a .jsonl file or a folder", id="ending"),
        pytest.param("maps.npz", "is one file, the input has several: name a folder or a .jsonl file", id="several"),
        pytest.param("pictures", "holds the pictures themselves: name another folder", id="among-the-pictures"),
    ],
)
def test_a_file_that_cannot_hold_the_maps_is_refused(out, message, folder, tmp_path):
    result = invoke(folder, "--out", tmp_path / out)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_too_many_regions_for_a_sheet_still_fit_into_arrays(tmp_path):
    points = [argument for number in range(61) for argument in ("--point", f"{number},{number}")]
    result = invoke(SCENE, *points, "--out", tmp_path / "sheet.png")
    assert result.exit_code == 2
    assert "61 regions are too many for one sheet, which shows up to 60" in result.output
    assert "which holds any number: --out maps.npz" in result.output
    explain(SCENE, *points, "--out", tmp_path / "maps.npz")


def test_a_region_encoder_without_maps_says_so():
    result = invoke(SCENE, "--box", BOX, "--set", "region_encoder.name=crop")
    assert result.exit_code == 2
    assert result.output.startswith("error: region encoder 'Crop' has no attention map\n")
    assert "such as patch-pool" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param(
            "torch.ones(len(regions), 3, 3) / 9",
            "maps of (1, 3, 3), where regions, rows and columns are (1, 2, 2)",
            id="grid",
        ),
        pytest.param("torch.ones(len(regions), 2, 2)", "a map that sums to 4 and not to 1", id="sum"),
        pytest.param("torch.full((1, 2, 2), torch.nan)", "weights that are negative or NaN", id="nan"),
        pytest.param("torch.tensor([[[2.0, -1], [0, 0]]])", "weights that are negative or NaN", id="negative"),
    ],
)
def test_maps_of_a_plugin_that_are_none_are_refused(toy, values, message):
    parts = toy.folder / "toy_plugin" / "parts.py"
    method = f"    def attention(self, scene, regions):\n        return {values}\n\n\n"
    source = parts.read_text().replace("class ToyBridge(Remembers", f"{method}class ToyBridge(Remembers", 1)
    toy({"toy_plugin/parts.py": source})
    Image.new("RGB", (8, 8)).save(toy.folder / "a.png")
    toy.weights("backbone.safetensors", kind="backbone", name="toy-a", space="toy-a/image[4]")
    result = toy.run("explain", "a.png", "--preset", "toy", "--box", "1,1,5,5")
    assert result.exit_code == 2, result.output
    assert f"error: region encoder 'ToyEncoder' gave {message}" in result.output
    assert "its method attention promises otherwise: tell its author" in result.output


def test_the_frame_of_a_crop_is_asked_where_patches_lie(toy):
    """A toy backbone that crops: cells in original pixels, and a region at the rim takes the nearest patches."""
    parts = toy.folder / "toy_plugin" / "parts.py"
    source = parts.read_text().replace(
        "return Frame.squash(image_size, (8, 8), (2, 2))", "return Frame.resize_crop(image_size, 8, 8, (2, 2))"
    )
    method = (
        "    def attention(self, scene, regions):\n"
        "        return torch.tensor([[[0.5, 0.25], [0.25, 0.0]]]).expand(len(regions), 2, 2)\n\n\n"
    )
    toy({"toy_plugin/parts.py": source.replace("class ToyBridge(Remembers", f"{method}class ToyBridge(Remembers", 1)})
    Image.new("RGB", (32, 16)).save(toy.folder / "a.png")
    args = ("explain", "a.png", "--preset", "toy", "--box", "0,0,4,8", "--box", "16,0,24,16")
    result = toy.run(*args, "--out", "maps.npz")
    assert result.exit_code == 0, result.output
    with np.load(toy.folder / "maps.npz") as arrays:
        assert arrays["cells"].tolist() == [
            [[8, 0, 16, 8], [16, 0, 24, 8]],
            [[8, 8, 16, 16], [16, 8, 24, 16]],
        ]
        assert arrays["inside"].tolist() == [0.5, 0.25]
    assert toy.run(*args, "--out", "sheet.png").exit_code == 0
