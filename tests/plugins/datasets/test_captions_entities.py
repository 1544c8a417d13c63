"""Captions of sets of regions: COCO Entities and Flickr30k Entities."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from regionkit.core.errors import DataError
from regionkit.registry.assembly import build

UPSTREAM = Path(__file__).parents[4] / "shared" / "data" / "upstream"
A, B = [0.0, 144.5, 508.25, 348.0], [0, 219, 464, 359]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGIONKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    for name in ("coco-entities", "flickr30k-entities"):
        (tmp_path / "data" / name).mkdir(parents=True)
    return tmp_path / "data"


def found(name: str, **options: object):
    dataset = build("dataset", {"name": name, **options})
    return dataset, dataset.samples("box-set", "test")


def write(root: Path, name: str, content: object) -> Path:
    path = root / name / f"{name.replace('-', '_')}_test.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def real(root: Path, name: str) -> None:
    file = UPSTREAM / f"{name.replace('-', '_')}_test.json"
    if not file.is_file():
        pytest.skip(f"{file.name}, a file of a release, is not beside this checkout")
    (root / name / file.name).symlink_to(file)


def test_the_official_layout(root):
    write(root, "coco-entities", {"391895": {"a man\na guy": [A, B], "a moped": [B]}, "9": {"food": [A, A]}})
    for place in (
        "coco/val2014/COCO_val2014_000000391895.jpg",
        "coco-entities/train2014/COCO_train2014_000000000009.jpg",
    ):
        (root / place).parent.mkdir(parents=True)
        Image.new("RGB", (6, 4)).save(root / place)
    dataset, samples = found("coco-entities")
    assert [(one.id, one.image_id, one.references) for one in samples] == [
        ("391895/0", "391895", ("a man", "a guy")),
        ("391895/1", "391895", ("a moped",)),
        ("9/0", "9", ("food",)),
    ]
    assert [box.corners for box in samples[0].region.boxes] == [tuple(A), tuple(B)]
    assert [len(one.region.boxes) for one in samples] == [2, 1, 2]
    assert [one.info["repeated_boxes"] for one in samples] == [0, 0, 1]
    assert [one.id for one in dataset.samples("box-set", "test", limit=1)] == ["391895/0", "391895/1"]
    assert dataset.image("391895").size == dataset.image("9").size == (6, 4)


def test_real_coco_entities(root):
    real(root, "coco-entities")
    dataset, samples = found("coco-entities")
    assert (len(samples), len({one.image_id for one in samples}), dataset.faults("box-set", "test")) == (6617, 3569, [])
    counts = [len(one.region.boxes) for one in samples]
    assert (min(counts), max(counts), round(sum(counts) / len(counts), 2)) == (1, 34, 6.31)
    references = [len(one.references) for one in samples]
    assert [references.count(number) for number in range(1, 6)] == [5714, 684, 173, 41, 5]
    assert sum(one.info["repeated_boxes"] > 0 for one in samples) == 0


def test_real_flickr30k_entities(root):
    real(root, "flickr30k-entities")
    dataset, samples = found("flickr30k-entities")
    faults = dataset.faults("box-set", "test")
    assert (len(samples), len(faults), len(samples) + len(faults)) == (3946, 22, 3968)
    assert all(fault.endswith(": it has no box, so there is nothing to caption") for fault in faults)
    assert sum(one.info["repeated_boxes"] > 0 for one in samples) == 484
    assert dataset.disclaimer.startswith("22 records of box-set@flickr30k-entities/test are left out")
    twice = next(one for one in samples if one.info["repeated_boxes"])
    corners = [box.corners for box in twice.region.boxes]
    assert len(corners) - len(set(corners)) == twice.info["repeated_boxes"]


@pytest.mark.parametrize(
    ("sets", "reason"),
    [
        pytest.param({"a": []}, "'1', set 1: it has no box, so there is nothing to caption", id="no-box"),
        pytest.param({"a": {}}, "'1', set 1: its boxes are no list", id="no-list"),
        pytest.param({"a": [[1, 2, 3]]}, "4 numbers are needed, here are 3", id="three-numbers"),
        pytest.param({"a": [5]}, "'int' object is not iterable", id="number"),
        pytest.param({"a": [[5, 6, 5, 9]]}, "box 5,6,5,9 has no area", id="no-area"),
        pytest.param({"a": [["1", 2, 3, 4]]}, '"1" is not a number', id="text"),
        pytest.param({"a": [[0, 0, 10**400, 4]]}, "int too large", id="huge"),
        pytest.param({"\n ": [A]}, "it has no caption", id="no-caption"),
        pytest.param([A], "'1': it is no JSON object of captions with boxes", id="list"),
    ],
)
def test_bad_sets_are_named_and_the_others_go_on(root, sets, reason):
    path = write(root, "coco-entities", {"1": sets, "2": {"a dog": [B]}})
    dataset, samples = found("coco-entities")
    assert [one.id for one in samples] == ["2/0"]
    (fault,) = dataset.faults("box-set", "test")
    assert fault.startswith(f"{path}: '1'")
    assert reason in fault
    with pytest.raises(DataError, match="leave such records out with on_bad: leave-out"):
        found("coco-entities", on_bad="stop")


@pytest.mark.parametrize("key", ["../1", "x", "", "9" * 13, "²"])
def test_keys_that_are_no_pictures(root, key):
    write(root, "coco-entities", {key: {"a": [A]}, "2": {"a dog": [B]}})
    dataset, samples = found("coco-entities")
    assert len(samples) == 1
    assert "its picture is no number of COCO" in dataset.faults("box-set", "test")[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param('{"1": {"a": [[1, 2', "not JSON", id="cut-off"),
        pytest.param('{"1": {"a": [[1, 2, 3, 4]], "a": []}}', "the key 'a' stands twice in one object", id="twice"),
        pytest.param('{"1": {"a": [[NaN, 2, 3, 4]]}}', "NaN is no number that JSON has", id="nan"),
        pytest.param('{"1": {"a": [[%s, 2, 3, 4]]}}' % ("9" * 5000), "too many digits", id="huge-number"),
        pytest.param("[" * 100_000, "nested too deeply", id="deep"),
        pytest.param("[]", "a JSON object is expected", id="list"),
        pytest.param("", "the file is empty", id="empty"),
    ],
)
def test_damaged_files_are_refused(root, content, message):
    write(root, "flickr30k-entities", content)
    with pytest.raises(DataError, match=message):
        found("flickr30k-entities")
    (root / "flickr30k-entities" / "flickr30k_entities_test.json").unlink()
    with pytest.raises(DataError, match=r"needs flickr30k_entities_test.json in .*, which is not there"):
        found("flickr30k-entities")
