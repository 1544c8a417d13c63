"""Visual Genome and VG-COCO, official and as ControlCap packs them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from regions_layouts import dataset, picture, write_json

from regionkit.core.data import streams
from regionkit.core.errors import DataError
from regionkit.core.features import Caption
from regionkit.plugins.caption_metrics.regions.dense_records import ground_truth
from regionkit.plugins.datasets.regions.boxes import from_corners, from_xywh, picture_name
from regionkit.registry.assembly import build

PICTURES = [
    {"width": 40, "url": "https://example.org/1.jpg", "height": 30, "image_id": 1, "coco_id": None, "flickr_id": None},
    {"width": 50, "url": "https://example.org/2.jpg", "height": 20, "image_id": 2, "coco_id": 77, "flickr_id": 5},
    {"width": 8, "url": "https://example.org/3.jpg", "height": 8, "image_id": 3, "coco_id": 78, "flickr_id": 6},
]


def region(number: int, image: int, box: tuple[float, ...], phrase: Any) -> dict[str, Any]:
    x, y, width, height = box
    return {
        "region_id": number, "width": width, "height": height, "image_id": image, "phrase": phrase, "y": y, "x": x
    }  # fmt: skip


REGIONS = [
    {
        "regions": [
            region(1382, 1, (4, 3, 10, 12), "the clock is green in colour "),
            region(1383, 1, (0, 0, 40, 30), "a street"),
        ],
        "id": 1,
    },
    {"regions": [region(4091, 2, (10, 5, 30, 10), "a red bus")], "id": 2},
    {"regions": [region(5000, 3, (1, 1, 4, 4), "a dog")], "id": 3},
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGIONKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    here = tmp_path / "data" / "visual-genome"
    write_json(here / "image_data.json", PICTURES)
    write_json(here / "region_descriptions.json", REGIONS)
    write_json(here / "info" / "densecap_splits.json", {"train": [3], "val": [], "test": [1, 2]})
    picture(here / "VG_100K" / "1.jpg", 40, 30)
    picture(here / "VG_100K_2" / "2.jpg", 50, 20)
    picture(here / "VG_100K" / "3.jpg", 8, 8)
    return here


def regions_are(folder: Path, *rows: Any) -> None:
    write_json(folder / "region_descriptions.json", [{"id": 1, "regions": list(rows)}])


def test_regions_of_a_split(folder: Path) -> None:
    data = dataset("visual-genome")
    found = list(data.samples("box", "test"))
    assert [(one.id, one.image_id, one.region.corners, one.references) for one in found] == [
        ("1382", "1.jpg", (4, 3, 14, 15), ("the clock is green in colour",)),
        ("1383", "1.jpg", (0, 0, 40, 30), ("a street",)),
        ("4091", "2.jpg", (10, 5, 40, 15), ("a red bus",)),
    ]
    assert [one.id for one in data.samples("phrase", "train")] == ["5000"]
    assert [one.id for one in data.samples("box", "test", limit=1)] == ["1382", "1383"]
    assert data.image("1.jpg").size == (40, 30)
    assert data.image("2.jpg").size == (50, 20)
    assert data.faults("box", "test") == []


def test_a_split_without_a_picture_is_empty(folder: Path) -> None:
    with pytest.raises(DataError, match="box@visual-genome/val has no sample"):
        dataset("visual-genome").samples("box", "val")


def test_dense_samples_know_all_of_their_image(folder: Path) -> None:
    found = dataset("visual-genome").samples("dense", "test")
    truth = [
        {"box": [4, 3, 14, 15], "caption": "the clock is green in colour"},
        {"box": [0, 0, 40, 30], "caption": "a street"},
    ]
    assert [one.info["ground_truth"] for one in found] == [
        truth, truth, [{"box": [10, 5, 40, 15], "caption": "a red bus"}]
    ]  # fmt: skip
    assert found[0].info["image_size"] == [40, 30]
    assert found[-1].id == "4091"
    assert [one.id for one in found[1:]] == ["1383", "4091"]
    boxes, captions = ground_truth(found[0].info["ground_truth"], "image 1")
    assert boxes.shape == (2, 4)
    assert captions == (("the clock is green in colour",), ("a street",))


def test_the_metric_takes_them(folder: Path) -> None:
    metric = build("metric", {"name": "dense-map", "similarity": "none"})
    found = dataset("visual-genome").samples("dense", "test")
    metric.update_from(found, [Caption(one.references[0], score=-1.0) for one in found])
    assert metric.compute().value == pytest.approx(1)


def test_vg_coco_has_the_pictures_that_are_cocos(folder: Path) -> None:
    data = dataset("vg-coco")
    assert [one.id for one in data.samples("dense", "test")] == ["4091"]
    assert [one.id for one in data.samples("box", "train")] == ["5000"]


@pytest.mark.parametrize(("name", "release"), [("visual-genome", "vg1.2"), ("vg-coco", "vgcoco")])
def test_controlcaps_files(folder: Path, name: str, release: str) -> None:
    write_json(
        folder / "controlcap" / release / "test.json",
        {
            "dataset": {"description": release, "image_root": "data/vg/images", "extra_info": {}},
            "images": [
                {"id": 1, "file_name": "1.jpg", "height": 30, "width": 40, "extra_info": {}},
                {"id": 2, "file_name": "2.jpg", "height": 20, "width": 50, "extra_info": {}},
            ],
            "annotations": [
                {"id": 1, "image_id": 1, "caption": "a street", "bbox": [1, 1, 40, 30], "extra_info": {}},
                {"id": 2, "image_id": 2, "caption": "a pole", "bbox": [49, 3, 49, 9], "extra_info": {}},
                {"id": 3, "image_id": 2, "caption": "a line", "bbox": [5, 6, 9, 6], "extra_info": {}},
                {"id": 4, "image_id": 2, "caption": "nothing", "bbox": [5, 6, 9, 4], "extra_info": {}},
                {"id": 5, "image_id": 2, "caption": "the right", "bbox": [50, 3, 50, 9], "extra_info": {}},
                {"id": 6, "image_id": 2, "caption": "the bottom", "bbox": [5, 20, 9, 20], "extra_info": {}},
            ],
        },
    )
    data = dataset(name, source="controlcap")
    assert [(one.id, one.region.corners, one.references) for one in data.samples("dense", "test")] == [
        ("1", (1, 1, 40, 30), ("a street",)),
        ("2", (49, 3, 50, 9), ("a pole",)),
        ("3", (5, 6, 9, 7), ("a line",)),
        ("5", (49, 3, 50, 9), ("the right",)),
        ("6", (5, 19, 9, 20), ("the bottom",)),
    ]
    path = folder / "controlcap" / release / "test.json"
    assert data.faults("dense", "test") == [f"{path}: annotations[3]: its box 5,6,9,4 has no area"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"width": 0}, "its box 4,3,4,15 has no area", id="no-area"),
        pytest.param({"height": -2}, "its box 4,3,14,1 has no area", id="negative"),
        pytest.param({"width": 50}, "its box 4,3,54,15 leaves its picture of 40 x 30 pixels", id="leaves"),
        pytest.param({"x": -5}, "its box -5,3,5,15 leaves its picture of 40 x 30 pixels", id="left"),
        pytest.param({"x": 10**400}, "its box has a number that is no coordinate", id="huge"),
        pytest.param({"x": "4"}, "its box has '4' where a number is expected", id="text"),
        pytest.param({"x": None}, "its box has None where a number is expected", id="null"),
        pytest.param({"phrase": 5}, "its 'phrase' is no text", id="phrase-no-text"),
        pytest.param({"phrase": " "}, "its 'phrase' is empty", id="phrase-empty"),
        pytest.param({"image_id": "one"}, "its 'image_id' is no whole number", id="image-id"),
        pytest.param({"region_id": [7]}, "its 'region_id' is no whole number", id="region-id"),
    ],
)
def test_a_region_that_cannot_be_used_takes_no_other_with_it(
    folder: Path, changes: dict[str, Any], reason: str
) -> None:
    good = region(2, 1, (0, 0, 5, 5), "a hat")
    regions_are(folder, {**region(1, 1, (4, 3, 10, 12), "a clock"), **changes}, good)
    data = dataset("visual-genome")
    assert [one.id for one in data.samples("dense", "test")] == ["2"]
    (fault,) = data.faults("dense", "test")
    assert fault.startswith(f"{folder / 'region_descriptions.json'}: record 1: regions[0]: ")
    assert reason in fault
    assert "1 records of dense@visual-genome/test are left out" in data.disclaimer


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        pytest.param([region(1, 1, (0, 0, 5, 5), "a"), 7], "regions[1]", id="a-number"),
        pytest.param([region(1, 1, (0, 0, 5, 5), "a"), {"image_id": 1}], "it has no 'region_id'", id="empty"),
        pytest.param([region(1, 1, (0, 0, 5, 5), "a"), []], "regions[1]", id="a-list"),
    ],
)
def test_records_of_another_form(folder: Path, rows: list[Any], reason: str) -> None:
    regions_are(folder, *rows)
    data = dataset("visual-genome")
    assert [one.id for one in data.samples("box", "test")] == ["1"]
    (fault,) = data.faults("box", "test")
    assert reason in fault


def test_boxes_are_cut_at_the_border_where_that_is_asked_for(folder: Path) -> None:
    far = region(3, 1, (60, 3, 5, 5), "nowhere")
    regions_are(folder, region(1, 1, (-5, 3, 10, 60), "a clock"), region(2, 1, (31, 0, 9.8, 5), "a hat"), far)
    data = dataset("visual-genome", outside="clip")
    assert [one.region.corners for one in data.samples("box", "test")] == [(0, 3, 5, 30), (31, 0, 40, 5)]
    assert "its box 60,3,65,8 is outside its picture" in data.faults("box", "test")[0]
    assert [one.id for one in dataset("visual-genome").samples("box", "test")] == ["2"]


def test_missing_and_other_pictures_are_faults(folder: Path) -> None:
    (folder / "VG_100K_2" / "2.jpg").unlink()
    picture(folder / "VG_100K" / "1.jpg", 30, 40)
    data = dataset("visual-genome")
    with pytest.raises(DataError, match="no record of box@visual-genome/test can be used: 3 are left out") as caught:
        data.samples("box", "test")
    assert "its picture '1.jpg' has 30 x 40 pixels, and should have 40 x 30" in str(caught.value)
    assert f"looked for {folder / 'VG_100K_2' / '2.jpg'}" in str(caught.value)
    picture(folder / "VG_100K_2" / "2.jpg", 50, 20)  # it is looked for again, no file of records having changed
    assert [one.id for one in dataset("visual-genome").samples("box", "test")] == ["4091"]


def test_pictures_without_a_size_or_number(folder: Path) -> None:
    write_json(folder / "image_data.json", [{"image_id": 1, "width": 40}, {"width": 50, "height": 20}, PICTURES[2]])
    write_json(folder / "info" / "densecap_splits.json", {"train": [], "val": [], "test": [1, 2, 3]})
    data = dataset("visual-genome")
    assert [one.id for one in data.samples("box", "test")] == ["5000"]
    faults = "\n".join(data.faults("box", "test"))
    assert "image_data.json: record 2: a picture without 'image_id'" in faults
    assert "its picture has the height None and the width 40, which is no size" in faults
    assert "its picture 2 is not in the list of pictures" in faults


def test_files_that_are_not_there_or_damaged(folder: Path) -> None:
    splits = folder / "info" / "densecap_splits.json"
    splits.unlink()
    with pytest.raises(DataError, match=r"(?s)needs info/densecap_splits.json or .*toolkit data list visual-genome"):
        list(dataset("visual-genome").samples("box", "test"))
    write_json(splits, {"test": "all"})
    with pytest.raises(DataError, match=r"no list of pictures 'test' in it"):
        dataset("visual-genome").samples("box", "test")
    write_json(splits, {"test": [1]})
    packed = gzip.compress((folder / "region_descriptions.json").read_bytes())
    (folder / "region_descriptions.json").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"region_descriptions.json: the gzip file is cut off"):
        dataset("visual-genome").samples("box", "test")
    (folder / "region_descriptions.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="nested too deeply"):
        dataset("visual-genome").samples("box", "test")


def test_a_large_file_is_read_piece_by_piece(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [(one.id, one.region.corners) for one in dataset("visual-genome").samples("box", "test")]
    monkeypatch.setattr(streams, "_WHOLE", 10)
    monkeypatch.setenv("REGIONKIT_CACHE", str(folder.parent / "other"))
    assert [(one.id, one.region.corners) for one in dataset("visual-genome").samples("box", "test")] == whole
    text = (folder / "region_descriptions.json").read_text()
    (folder / "region_descriptions.json").write_text(text[:-30])
    with pytest.raises(DataError, match=r"region_descriptions.json: no JSON after record"):
        dataset("visual-genome").samples("box", "test")


def test_tables_are_dropped_once_the_index_is_made(folder: Path) -> None:
    data = dataset("visual-genome")
    data.samples("box", "test")
    assert data._pictures == {}
    assert data._taken == set()


def test_boxes_by_themselves() -> None:
    assert from_xywh([1, 2, 3, 4], (10, 10)) == {"box": [1, 2, 4, 6]}
    assert from_corners([-0.5, 0, 10.9, 10], (10, 10)) == {"box": [0, 0, 10, 10]}
    with pytest.raises(DataError, match="its box 9,0,12,10 leaves its picture of 10 x 10"):
        from_corners([9, 0, 12, 10], (10, 10))
    for bad in (None, "1234", [1, 2, 3], {"a": 1}, [1, 2, 3, float("nan")], [1, 2, 3, True]):
        with pytest.raises(DataError):
            from_corners(bad, (10, 10))


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/passwd", "a/../../b.jpg", "", " ", "a\0b", None, 7, "x" * 600])
def test_a_file_name_does_not_lead_out_of_the_folder(name: Any) -> None:
    with pytest.raises(DataError, match="file name"):
        picture_name(name)
    assert picture_name("train2017/000000000009.jpg") == "train2017/000000000009.jpg"
