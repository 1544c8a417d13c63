"""What a user sees when something is wrong: a message that says what to type next, exit code 2, and no traceback."""

from __future__ import annotations

import shutil

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.registry.assembly import build
from regionkit.registry.cli import root
from regionkit.registry.weights import index as weight_index

PIPELINE = """
version: 1
backbone: {name: mini-dense}
region_encoder: {name: patch-pool, weighting: gaussian}
bridge: {name: memory, bank: mini-captions, temperature: 0.02}
decoder: {name: decap}
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Return the file of a picture of the mini-world."""
    path = tmp_path_factory.mktemp("scene") / "scene.png"
    dataset = build("dataset", "mini")
    (sample,) = dataset.samples("box", "test", 0, 1)
    image = dataset.image(sample.image_id)
    from PIL.PngImagePlugin import PngInfo

    notes = PngInfo()
    notes.add_text("regionkit", image.info["regionkit"])
    image.save(path, pnginfo=notes)
    return path


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    weight_index.get_index.cache_clear()
    yield
    weight_index.get_index.cache_clear()


def toolkit(*args):
    return CliRunner().invoke(root, [str(arg) for arg in args])


def refused(result, *lines):
    """Check that a run was refused with these lines, and with nothing that looks like a bug."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for line in lines:
        assert line in result.output, result.output


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        pytest.param("version: 1", "version: 9", ("x.yaml:2: version",), id="version"),
        pytest.param(
            "backbone:", "bakbone:", ("x.yaml:3: bakbone: unknown key", "did you mean: backbone"), id="section"
        ),
        pytest.param(
            "mini-dense",
            "mini-dens",
            ("x.yaml:3: backbone.name: no backbone named 'mini-dens'", "did you mean: mini-dense"),
            id="backbone-name",
        ),
        pytest.param(
            "patch-pool",
            "patchpool",
            ("x.yaml:4: region_encoder.name: no region_encoder named 'patchpool'", "did you mean: patch-pool"),
            id="encoder-name",
        ),
        pytest.param(
            "weighting:",
            "wieghting:",
            ("x.yaml:4: region_encoder.wieghting: unknown option", "did you mean: weighting"),
            id="encoder-option",
        ),
        pytest.param(
            "gaussian", "gausian", ("x.yaml:4: region_encoder.weighting", "did you mean: gaussian"), id="encoder-choice"
        ),
        pytest.param(
            "temperature: 0.02",
            "temperature: cold",
            ("x.yaml:5: bridge.temperature: expected float, got the text 'cold'",),
            id="bridge-type",
        ),
        pytest.param("temperature: 0.02", "temperature: 0", ("x.yaml:5: bridge", "temperature"), id="bridge-value"),
        pytest.param(
            "bank: mini-captions", "bank: mini-caption", ("x.yaml:5: bridge", "mini-captions"), id="bridge-bank"
        ),
        pytest.param("decap}", "decap, weights: decapp}", ("x.yaml:6: decoder", "decapp"), id="decoder-weights"),
        pytest.param("decap}", "decap", ("x.yaml:",), id="no-yaml"),
        pytest.param("decap}", '"${oc.env:HOME}"}', ("x.yaml:6: decoder.name", "${"), id="resolver"),
    ],
)
@pytest.mark.parametrize("command", ["validate", "caption"])
def test_a_typo_in_every_part_of_a_pipeline(command, before, after, lines, scene, tmp_path):
    (tmp_path / "x.yaml").write_text(PIPELINE.replace(before, after))
    if command == "validate":
        refused(toolkit("validate", "x.yaml"), *lines)
    else:
        refused(toolkit("caption", scene, "--preset", "x.yaml"), *lines)


def test_the_good_pipeline_is_good(scene, tmp_path):
    (tmp_path / "x.yaml").write_text(PIPELINE)
    assert toolkit("validate", "x.yaml").exit_code == 0
    result = toolkit("caption", scene, "--preset", "x.yaml", "--box", "0,0,96,96")
    assert result.exit_code == 0, result.output
    assert result.output.strip()


def test_all_typos_are_told_at_once(tmp_path):
    (tmp_path / "x.yaml").write_text(
        PIPELINE.replace("gaussian", "gausian").replace("0.02", "cold").replace("e:", "e :", 0)
    )
    result = toolkit("validate", "x.yaml")
    refused(result, "x.yaml:4: region_encoder.weighting", "x.yaml:5: bridge.temperature")
    assert result.output.count("error:") == 2


def test_an_impossible_pairing(scene):
    decoder = next(file for file in weight_index.get_index().find("decoder", "decap", "mini-clip/text[128]"))
    result = toolkit("caption", scene, "--set", f"decoder.weights={decoder.path.stem}")
    refused(result, "were trained in mini-clip/text[128], and mini-dense/text[128] is needed here", "toolkit train")


def test_a_bridge_whose_decoder_nobody_trained(scene):
    result = toolkit("caption", scene, "--set", "bridge={name: noise, std: 0.3}")
    refused(
        result, "no weights of decoder 'decap' for mini-dense/text[128], corruption noise(std=0.3)", "toolkit train"
    )


@pytest.fixture
def own_weights(tmp_path, monkeypatch):
    """Return a copy of the weights of mini-dense in a folder that the user named."""
    file = weight_index.get_index().find("backbone", "mini-dense")[0]
    folder = tmp_path / "weights"
    folder.mkdir()
    copy = shutil.copy(file.path, folder)
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(folder))
    weight_index.get_index.cache_clear()
    return folder / copy.name if hasattr(copy, "name") else folder / file.path.name


def test_a_truncated_weight_file(scene, own_weights):
    data = own_weights.read_bytes()
    own_weights.write_bytes(data[: len(data) // 2])
    weight_index.get_index.cache_clear()
    refused(toolkit("caption", scene), f"{own_weights}: the weight file is damaged", "toolkit train")


def test_weights_full_of_nan(scene, own_weights):
    header = read_header(own_weights)
    tensors = WeightFile(own_weights, header).tensors()
    name = next(name for name in sorted(tensors) if name.startswith("stem") and tensors[name].dim() == 4)
    tensors[name] = torch.full_like(tensors[name], float("nan"))
    write_weights(own_weights, tensors, header, half=True)
    weight_index.get_index.cache_clear()
    refused(toolkit("caption", scene, "--box", "8,8,60,60"), "produced NaN or infinite patches", "toolkit weights list")


@pytest.mark.parametrize(
    ("flags", "lines"),
    [
        pytest.param(
            ("--box", "5,5,5,9"),
            ("error: box 5,5,5,9 has no area", "boxes are x1,y1,x2,y2 with x2 > x1 and y2 > y1"),
            id="zero-area-box",
        ),
        pytest.param(
            ("--box", "200,200,300,300"),
            (
                "error: box 200,200,300,300 lies outside its image of 96 x 96 pixels",
                "give x1,y1,x2,y2 in pixels of the original image, between 0,0 and 96,96",
            ),
            id="box-outside",
        ),
        pytest.param(
            ("--trace", "-5,3 200,200"),
            ("error: none of the 2 points of a trace lies inside its image of 96 x 96 pixels",),
            id="trace-outside",
        ),
        pytest.param(("--point", "96.5,3"), ("error: point 96.5,3 lies outside its image",), id="point-outside"),
        pytest.param(
            ("--preset", "mimi"), ("error: no preset named 'mimi'", "did you mean: mini"), id="unknown-preset"
        ),
        pytest.param(("--mask", "nothere.png"), ("error: nothere.png: no such file",), id="no-mask"),
        pytest.param(("--prompt", "what is it"), ("error: decoder 'decap' takes no prompt",), id="prompt"),
        pytest.param(("--out", "a.pdf"), ("--out a.pdf: write a picture",), id="out"),
        pytest.param(("--device", "gpu"), ("error: no device named 'gpu'",), id="device"),
        pytest.param(("--bbox", "1,2,3,4"), ("No such option", "--box"), id="unknown-flag"),
    ],
)
def test_wrong_flags(flags, lines, scene):
    refused(toolkit("caption", scene, *flags), *lines)


def test_a_file_that_is_no_picture(tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    refused(toolkit("caption", "notes.txt"), "error: notes.txt is not a picture", "pictures end in .png")


def test_a_real_photo(tmp_path):
    Image.effect_noise((320, 240), 80).convert("RGB").save(tmp_path / "photo.jpg")
    refused(toolkit("caption", "photo.jpg"), "mini-dense", "mini-world", "--force")
    forced = toolkit("caption", "photo.jpg", "--force")
    assert forced.exit_code == 0, forced.output


def test_a_folder_with_a_bad_picture_captions_the_others(tmp_path, scene):
    shutil.copy(scene, tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"junk")
    shutil.copy(scene, tmp_path / "c.png")
    result = toolkit("caption", ".", "--box", "0,0,90,90", "--out", "out.jsonl")
    assert result.exit_code == 1
    assert "error: 1 of 3 pictures were not captioned" in result.output
    assert "b.png is not a picture" in result.output
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3
    stopped = toolkit("caption", ".", "--box", "0,0,90,90", "--on-error", "stop")
    refused(stopped, "b.png is not a picture")


def test_beams_by_the_hundred_thousand_are_a_slip_and_not_a_search(scene):
    result = toolkit("caption", scene, "--beams", "100000")
    refused(result, "Invalid value for '--beams': 100000 is not in the range 1<=x<=1000.")


def test_a_bundle_says_which_files_of_its_pipeline_it_does_not_hold(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "version: 1\nbase: mini\nbridge: {name: noise, std: 0.08}\ndecoder: {name: meacap, parser: 'file:parser'}\n"
    )
    result = toolkit("weights", "bundle", "x.yaml", "--out", "bundle")
    assert result.exit_code == 0, result.output
    words = "decoder.parser: file:parser is not in the bundle: take it along, and put it where the pipeline is run\n"
    assert words in result.output
    (tmp_path / "x.yaml").write_text("version: 1\nbase: mini\n")
    assert "not in the bundle" not in toolkit("weights", "bundle", "x.yaml", "--out", "other").output
