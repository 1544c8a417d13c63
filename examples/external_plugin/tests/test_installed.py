"""The door from outside: what regionkit makes of this plugin once it is installed."""

import json

import pytest
from PIL.PngImagePlugin import PngInfo

from regionkit.registry import get_registry, validate
from regionkit.registry.assembly import build


def test_it_is_listed_with_its_distribution(toolkit):
    rows = {row["name"]: row for row in json.loads(toolkit("plugins", "--json").stdout)}
    row = rows["regionkit-border"]
    assert (row["distribution"], row["status"], row["notes"]) == ("regionkit-border", "ok", [])
    assert row["components"] == ["region_encoder border", "metric distinct-words"]


@pytest.mark.conformance("regionkit-border")
def test_it_keeps_every_promise(conformance):
    """One test for each part and check; the marker and the fixture come with regionkit."""
    conformance()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    dataset = build("dataset", "mini")
    sample = dataset.samples("box", "test", 0, 1)[0]
    image, path = dataset.image(sample.image_id), tmp_path_factory.mktemp("scene") / "scene.png"
    notes = PngInfo()
    notes.add_text("regionkit", image.info["regionkit"])
    image.save(path, pnginfo=notes)
    return path


def test_its_preset_captions_and_says_who_made_the_caption(toolkit, scene):
    result = toolkit("caption", scene, "--preset", "mini-border", "--box", "10,10,60,60", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["captions"][0]["caption"]
    made_by = record["provenance"]["region_encoder"]
    assert (made_by["name"], made_by["distribution"]) == ("border", "regionkit-border")


def test_its_preset_is_a_good_pipeline():
    assert validate(get_registry().presets["mini-border"]) == []
