"""The example plugin, and who made what in results: nothing in the toolkit knows of the plugin, all results name it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL.PngImagePlugin import PngInfo

from regionkit.registry import get_registry
from regionkit.registry.assembly import build, component_class
from regionkit.registry.weights.index import get_index

EXAMPLE = Path(__file__).parents[2] / "examples/external_plugin"


@pytest.fixture
def border(project):
    """Return a project with the example plugin."""
    if "regionkit-border" in get_registry().plugins:
        pytest.skip("the example plugin is installed; its own tests cover this")
    assert project.install(EXAMPLE) == "regionkit-border"
    return project


@pytest.fixture
def scene(border):
    """Write a picture of the mini-world."""
    dataset = build("dataset", "mini")
    image = dataset.image(dataset.samples("box", "test", 0, 1)[0].image_id)
    notes = PngInfo()
    notes.add_text("regionkit", image.info["regionkit"])
    image.save(border.folder / "scene.png", pnginfo=notes)
    return "scene.png"


def test_it_enters_like_any_other_plugin(border):
    rows = {row["name"]: row for row in json.loads(border.run("plugins", "--json").stdout)}
    row = rows["regionkit-border"]
    assert (row["distribution"], row["version"], row["status"]) == ("regionkit-border", "0.1.0", "ok")
    assert row["components"] == ["region_encoder border", "metric distinct-words"]
    for kind, name in (("region_encoder", "border"), ("metric", "distinct-words")):
        spec = get_registry().find(kind, name)
        assert component_class(spec).__module__.startswith("regionkit_border.")
        assert str(get_registry().owner(spec)) == "regionkit-border (regionkit-border 0.1.0)"


def mini_weights(name: str) -> dict[str, str]:
    (file,) = [file.path for file in get_index().files if file.path.stem == name]
    import hashlib

    return {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()[:16]}


def test_captions_say_which_plugin_and_which_weights_made_them(border, scene):
    args = ["caption", scene, "--preset", "mini-border", "--box", "10,10,60,60", "--json", "--out", "out.jsonl"]
    result = border.run(*args)
    assert result.exit_code == 0, result.stderr
    assert Path("out.jsonl").read_text() == result.stdout
    record = json.loads(result.stdout)
    assert record["captions"][0]["caption"]
    made_by = record["provenance"]
    own = {"plugin": "regionkit-border", "distribution": "regionkit-border", "version": "0.1.0"}
    assert made_by["region_encoder"] == {"name": "border", **own, "weights": None}
    theirs = {"distribution": "regionkit", "version": made_by["regionkit"]}
    weights = mini_weights("mini-dense")
    assert made_by["backbone"] == {"name": "mini-dense", "plugin": "mini", **theirs, "weights": weights}
    # The bank of this preset is embedded on the spot, so the corpus had a part in it too.
    assert made_by["bridge"] == {"name": "memory", "plugin": "patchioner", **theirs, "weights": None}
    assert made_by["corpus"] == {"name": "mini-captions", "plugin": "mini", **theirs, "weights": None}
    assert made_by["decoder"]["weights"]["file"].startswith("mini-dense-decap-")


def test_pictures_that_fail_say_it_too(border, scene):
    Path("in.jsonl").write_text(json.dumps({"image": "nothere.png"}) + "\n" + json.dumps({"image": scene}) + "\n")
    border.run("caption", "in.jsonl", "--preset", "mini-border", "--out", "out.jsonl")
    failed, good = map(json.loads, Path("out.jsonl").read_text().splitlines())
    assert "error" in failed
    assert failed["provenance"] == good["provenance"]


def test_scores_say_which_plugins_made_them(border):
    args = ["run", "mini-border", "--data", "box@mini", "--metrics", "distinct-words,noun-f1", "--limit", "2"]
    result = border.run(*args, "--json", "--out", "results")
    assert result.exit_code == 0, result.stderr
    (trial,) = json.loads(result.stdout)["trials"]
    made_by = trial["provenance"]
    own = {"plugin": "regionkit-border", "distribution": "regionkit-border", "version": "0.1.0", "weights": None}
    assert made_by["region_encoder"] == {"name": "border", **own}
    assert made_by["metrics"]["distinct-words"] == {"name": "distinct-words", **own}
    assert made_by["metrics"]["noun-f1"]["plugin"] == "caption_metrics"
    assert made_by["dataset"]["plugin"] == "mini"
    assert made_by["backbone"]["weights"] == mini_weights("mini-dense")
    report = Path("results/results.md").read_text()
    section = report.partition("## What made these results")[2]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    table = {(row[0], row[1]): row[2:] for row in cells}
    weights = mini_weights("mini-dense")
    version = made_by["regionkit"]
    assert table["region_encoder", "border"] == ["regionkit-border", "regionkit-border 0.1.0", "", ""]
    assert table["backbone", "mini-dense"] == ["mini", f"regionkit {version}", weights["file"], weights["sha256"]]
    assert ("metric", "distinct-words") in table
    # A CSV is a table of numbers: it has the columns that it always had.
    with open("results/results.csv") as stream:
        assert "provenance" not in next(csv.reader(stream))
