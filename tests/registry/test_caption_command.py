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
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["0.png", "1.png", "2.png", "captions.jsonl"]


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


def test_failures_stand_where_their_pictures_stand(scenes, tmp_path):
    """Whether a picture cannot be opened, or its regions do not fit: the order of the results is that of the input."""
    folder, _ = scenes
    whole, outside = {"whole": True}, {"box": [500, 500, 600, 600]}
    lines = [("0.png", whole), ("1.png", outside), ("2.png", whole), ("nothere.png", whole), ("1.png", whole)]
    records = [{"image": str(folder / name), "regions": [region]} for name, region in lines]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    args = ["caption", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl")]
    result = CliRunner().invoke(root, args)
    assert result.exit_code == 1
    assert "2 of 5 pictures were not captioned" in result.output
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [entry["image"] for entry in found] == [record["image"] for record in records]
    assert ["error" in entry for entry in found] == [False, True, False, True, False]
    assert CliRunner().invoke(root, [*args, "--on-error", "stop"]).exit_code == 2
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1, "what came before the error is not kept"


def test_a_mistake_leaves_earlier_results_alone(scenes, tmp_path):
    folder, _ = scenes
    (tmp_path / "out.jsonl").write_text("precious\n")
    args = ["caption", str(folder / "0.png"), "--box", "500,500,600,600", "--out", str(tmp_path / "out.jsonl")]
    assert CliRunner().invoke(root, args).exit_code == 2
    assert (tmp_path / "out.jsonl").read_text() == "precious\n"


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        pytest.param("0.png", "0.png", "0.png is read by this very command: name another file", id="picture"),
        pytest.param("in.jsonl", "in.jsonl", "in.jsonl is read by this very command", id="jsonl"),
        pytest.param("in.jsonl", "0.png", "0.png is read by this very command", id="picture-of-a-jsonl"),
        pytest.param(".", ".", "holds the pictures themselves: name another folder", id="folder"),
        pytest.param("0.png", ".", "holds the pictures themselves", id="folder-of-the-picture"),
    ],
)
def test_inputs_are_never_written_over(scenes, source, out, message, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "0.png").write_bytes((scenes[0] / "0.png").read_bytes())
    (folder / "in.jsonl").write_text('{"image": "0.png"}\n')
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = CliRunner().invoke(root, ["caption", str(folder / source), "--out", str(folder / out)])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_above_the_pictures_may_be_written_to(scenes, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0.png").write_bytes((scenes[0] / "0.png").read_bytes())
    caption(tmp_path / "pictures", "--out", tmp_path)
    assert (tmp_path / "0.png").is_file()


def test_jsonl_of_other_editors(scenes, tmp_path):
    """A byte order mark, Windows line ends, and a line separator inside a JSON string."""
    line = {"image": str(scenes[0] / "0.png"), "note": "one\u2028two"}
    (tmp_path / "in.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(line, ensure_ascii=False).encode() + b"\r\n")
    assert len(caption(tmp_path / "in.jsonl").splitlines()) == 1


@pytest.mark.parametrize("out", ["drawn.png", "out.jsonl", "drawn"])
def test_a_place_that_cannot_be_written_to(scenes, tmp_path, out):
    (tmp_path / "file").touch()
    result = CliRunner().invoke(root, ["caption", str(scenes[0] / "0.png"), "--out", str(tmp_path / "file" / out)])
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert f"--out {tmp_path / 'file' / out}" in result.output
    assert "name a place that can be written to, with --out" in result.output


def test_bad_lines_do_not_stop_the_others(scenes, tmp_path):
    folder, _ = scenes
    lines = ["not json", '{"img": "a.png"}', json.dumps({"image": str(folder / "0.png")})]
    lines.append(json.dumps({"image": str(folder / "1.png"), "regions": [{"box": [8, 8, 60]}]}))
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    result = CliRunner().invoke(root, ["caption", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl")])
    assert result.exit_code == 1
    assert "error: 3 of 4 pictures were not captioned" in result.output
    assert "in.jsonl:1: not JSON" in result.output
    assert "in.jsonl:2: no key 'image'" in result.output
    assert "in.jsonl:4: region 'box' has an unexpected value: 4 numbers are needed, here are 3" in result.output
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert ["error" in record for record in written] == [True, True, False, True]


def test_one_reason_for_many_pictures_is_told_once(tmp_path):
    for number in range(4):
        Image.effect_noise((64, 48), 80).convert("RGB").save(tmp_path / f"{number}.jpg")
    (tmp_path / "notes.txt").touch()
    result = CliRunner().invoke(root, ["caption", str(tmp_path)])
    assert result.exit_code == 1
    assert f"{tmp_path / '0.jpg'} and 3 more: 'mini-dense' knows only pictures of the mini-world" in result.output
    assert result.output.count("mini-world, and this is not one") == 1
    assert f"note: 1 entry of {tmp_path} skipped: not pictures" in result.output


def test_coordinates_are_one_argument(scenes):
    folder, _ = scenes
    result = CliRunner().invoke(root, ["caption", str(folder / "0.png"), "--box", "21", "44", "48", "74"])
    assert result.exit_code == 2
    assert "coordinates are one argument: --box 21,44,48,74" in result.output


def test_normalised_coordinates_are_noticed(scenes):
    folder, _ = scenes
    output = caption(folder / "0.png", "--box", "0.1,0.2,0.5,0.6")
    assert "note: all coordinates of a box are at most 1; they are read as pixels" in output


def test_weight_files_are_hashed_only_for_results_that_say_what_made_them(scenes, tmp_path, monkeypatch):
    folder, _ = scenes
    asked = []
    monkeypatch.setattr("regionkit.registry.provenance.provenance", lambda plan: asked.append(plan) or {"by": "us"})
    caption(folder / "0.png")
    caption(folder / "0.png", "--out", tmp_path / "drawn.png")
    assert not asked
    assert json.loads(caption(folder / "0.png", "--json"))["provenance"] == {"by": "us"}
    caption(folder / "0.png", "--out", tmp_path / "lines.jsonl")
    caption(folder, "--out", tmp_path / "drawings")
    assert len(asked) == 3
    for path in (tmp_path / "lines.jsonl", tmp_path / "drawings" / "captions.jsonl"):
        assert all(json.loads(line)["provenance"] == {"by": "us"} for line in path.read_text().splitlines())


def test_the_id_of_a_line_is_repeated_so_that_results_can_be_joined(scenes, tmp_path):
    folder, _ = scenes
    lines = [{"id": "a/1", "image": str(folder / "0.png")}, {"id": "a/2", "image": "nowhere.png"}]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    result = CliRunner().invoke(root, ["caption", str(tmp_path / "in.jsonl"), "--json"])
    records = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert [record["id"] for record in records] == ["a/1", "a/2"]
    assert "error" in records[1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param(
            "decoder.weights=mini-dense-decap-noiz",
            "error: --set decoder.weights: decoder: no weight file named 'mini-dense-decap-noiz'\n"
            "  did you mean: mini-dense-decap-noise, ",
            id="misspelt",
        ),
        pytest.param(
            "weights=file:nowhere", "error: --set weights: weights: there is no weight file nowhere\n", id="folder"
        ),
    ],
)
def test_a_wrong_name_of_weights_says_nothing_of_other_weights(scenes, changed, message):
    folder, _ = scenes
    arguments = ["caption", str(folder / "0.png"), "--whole", "--preset", "mini", "--set", changed]
    result = CliRunner().invoke(root, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(message)
    assert "cannot run" not in result.stderr


def test_weights_that_are_absent_are_told_file_by_file_with_what_else_is_wrong(scenes, monkeypatch, tmp_path):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("regionkit.registry.plan.missing_module", lambda spec: "gone" * (spec.kind == "bridge"))
    folder, _ = scenes
    arguments = ["caption", str(folder / "0.png"), "--whole", "--preset", "patchioner-clip-b16"]
    lines = CliRunner().invoke(root, arguments).stderr.splitlines()
    assert lines[0].endswith("bridge: the code of bridge 'memory' is not there: no module named 'gone'")
    assert sum("patchioner-clip-b16 cannot run: 4 files of its weights are not here" in line for line in lines) == 1
    assert not [line for line in lines if "no weights of" in line]
