"""RefCOCO, RefCOCO+ and RefCOCOg in REFER's layout, and proposals of a segmenter."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from regions_layouts import MALICIOUS, bitmap, dataset, picture, python2_pickle, rectangle, write_json, write_mask

from regionkit.core.errors import ConfigError, DataError
from regionkit.core.region_io import run_lengths
from regionkit.plugins.datasets.regions.proposals import covers_border
from regionkit.registry.assembly import build

WIDTH, HEIGHT = 40, 30
FIRST, SECOND = "COCO_train2014_000000581857.jpg", "COCO_train2014_000000000009.jpg"
CROWD = bitmap(HEIGHT, WIDTH, slice(20, 30), slice(0, 10))
INSTANCES = {
    "info": {"description": "COCO"},
    "images": [
        {"license": 1, "file_name": FIRST, "height": HEIGHT, "width": WIDTH, "id": 581857},
        {"license": 1, "file_name": SECOND, "height": HEIGHT, "width": WIDTH, "id": 9},
    ],
    "annotations": [
        {"segmentation": rectangle(0, 0, 20, 10), "area": 200.0, "iscrowd": 0, "image_id": 581857,
         "bbox": [0.0, 0.0, 20.0, 10.0], "category_id": 18, "id": 1719310},
        {"segmentation": rectangle(10, 0, 30, 10), "area": 200.0, "iscrowd": 0, "image_id": 581857,
         "bbox": [10.0, 0.0, 20.0, 10.0], "category_id": 18, "id": 1719311},
        {"segmentation": run_lengths(CROWD), "area": 100, "iscrowd": 1, "image_id": 9,
         "bbox": [0, 20, 10, 10], "category_id": 1, "id": 900},
    ],
    "categories": [{"supercategory": "animal", "id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
}  # fmt: skip


def sentence(number: int, raw: str) -> dict[str, Any]:
    sent = raw.lower().rstrip(".")
    return {"tokens": sent.split(), "raw": raw, "sent_id": number, "sent": sent}


def ref(number: int, image: int, ann: int, split: str, *sentences: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "sent_ids": [one["sent_id"] for one in sentences],
        "file_name": f"COCO_train2014_{image:012}_{ann}.jpg",
        "ann_id": ann,
        "ref_id": number,
        "image_id": image,
        "split": split,
        "sentences": list(sentences),
        "category_id": 18,
        **changes,
    }


REFS = [
    ref(3, 581857, 1719310, "val", sentence(8, "The dog on the left."), sentence(9, "a dog")),
    ref(4, 581857, 1719311, "val", sentence(10, "d\u00f6g right")),
    ref(5, 9, 900, "testA", sentence(11, "people")),
    ref(6, 9, 900, "train", sentence(12, "all of them")),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGIONKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    here = tmp_path / "data" / "refer"
    write_json(here / "refcoco" / "instances.json", INSTANCES)
    (here / "refcoco" / "refs(unc).p").write_bytes(python2_pickle(REFS))
    picture(tmp_path / "data" / "coco" / "train2014" / FIRST, WIDTH, HEIGHT)
    picture(here / "images" / "mscoco" / "images" / "train2014" / SECOND, WIDTH, HEIGHT)
    return here


def refs_are(folder: Path, *refs: Any) -> Path:
    path = folder / "refcoco" / "refs(unc).p"
    path.write_bytes(pickle.dumps(list(refs), protocol=2))
    return path


def instances_are(folder: Path, **changes: Any) -> None:
    write_json(folder / "refcoco" / "instances.json", {**INSTANCES, **changes})


def test_a_sample_is_an_expression(folder: Path) -> None:
    data = dataset("refcoco")
    found = list(data.samples("ris", "val"))
    assert [(one.id, one.image_id, one.references) for one in found] == [
        ("8", FIRST, ("The dog on the left.",)),
        ("9", FIRST, ("a dog",)),
        ("10", FIRST, ("d\u00f6g right",)),
    ]
    left, right = (
        bitmap(HEIGHT, WIDTH, slice(0, 10), columns) for columns in (slice(0, 20), slice(10, 30))
    )  # fmt: skip
    assert np.array_equal(found[0].region.bitmap, left)
    assert np.array_equal(found[2].region.bitmap, right)
    assert [len(one.candidates) for one in found] == [2, 2, 2]
    assert np.array_equal(found[0].candidates[1].bitmap, right)
    assert found[0].info["overlaps"] == pytest.approx([1, 1 / 3])
    assert found[2].info["overlaps"] == pytest.approx([1 / 3, 1])
    assert (found[0].info["ref_id"], found[0].info["category"]) == (3, "dog")
    assert data.image(FIRST).size == (WIDTH, HEIGHT)
    assert [one.id for one in data.samples("ris", "testA")] == ["11"]
    assert np.array_equal(data.samples("ris", "testA")[0].region.bitmap, CROWD)
    with pytest.raises(DataError, match="ris@refcoco/testB has no sample"):
        data.samples("ris", "testB")


def test_the_metric_takes_them(folder: Path) -> None:
    found = dataset("refcoco").samples("ris", "val")
    metric = build("metric", {"name": "referring-iou"})
    metric.update(found, ["0", "1", "1"])
    assert metric.compute().per_sample == pytest.approx((1, 1 / 3, 1))


def test_objects_with_all_their_expressions(folder: Path) -> None:
    data = dataset("refcoco", text="sent")
    assert [(one.id, one.region.corners, one.references) for one in data.samples("box", "val")] == [
        ("3", (0, 0, 20, 10), ("the dog on the left", "a dog")),
        ("4", (10, 0, 30, 10), ("d\u00f6g right",)),
    ]
    assert [int(one.region.bitmap.sum()) for one in data.samples("mask", "val")] == [200, 200]


@pytest.mark.parametrize(
    ("name", "own", "split_by", "splits"),
    [
        pytest.param("refcoco", "refcoco", "google", ("test", "val", "train"), id="refcoco-google"),
        pytest.param("refcoco-plus", "refcoco+", "unc", ("val", "testA", "testB", "train"), id="refcoco-plus"),
        pytest.param("refcocog", "refcocog", "umd", ("val", "test", "train"), id="refcocog-umd"),
        pytest.param("refcocog", "refcocog", "google", ("val", "train"), id="refcocog-google"),
    ],
)
def test_data_sets_and_their_splits(folder: Path, name: str, own: str, split_by: str, splits: tuple[str, ...]) -> None:
    write_json(folder / own / "instances.json", INSTANCES)
    (folder / own / f"refs({split_by}).p").write_bytes(python2_pickle(REFS))
    data = dataset(name, **({} if split_by == "unc" else {"split_by": split_by}))
    assert data.splits == splits
    assert [one.id for one in data.samples("ris", "val")] == ["8", "9", "10"]
    assert [one.id for one in data.samples("mask", "val")] == ["3", "4"]


def test_a_split_of_somebody_else_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"data set 'refcoco' has no split 'test'"):
        dataset("refcoco").samples("ris", "test")
    with pytest.raises(ConfigError, match="umd"):
        dataset("refcoco", split_by="umd")


def test_nothing_in_a_pickle_is_run(folder: Path) -> None:
    path = folder / "refcoco" / "refs(unc).p"
    path.write_bytes(MALICIOUS)
    with pytest.raises(DataError, match=r"the pickle wants os.system, which is not on the list of harmless types"):
        dataset("refcoco").samples("ris", "val")
    assert not (Path.cwd() / "ran").exists()
    path.write_bytes(python2_pickle(REFS)[:-40])
    with pytest.raises(DataError, match=r"refs\(unc\)\.p: the pickle is damaged"):
        dataset("refcoco").samples("ris", "val")
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(DataError, match="the pickle holds a dict, and a list of expressions is expected"):
        dataset("refcoco").samples("ris", "val")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"ann_id": 5}, "its object 5 of picture 581857 is not in instances.json", id="no-object"),
        pytest.param({"image_id": 9}, "its object 1719310 of picture 9 is not in instances.json", id="other-picture"),
        pytest.param({"image_id": 4}, "its object 1719310 of picture 4 is not in instances.json", id="no-picture"),
        pytest.param({"ref_id": None}, "its 'ref_id' is no whole number", id="no-ref-id"),
        pytest.param({"sentences": 7}, "", id="sentences-no-list"),
        pytest.param({"sentences": [{"raw": 5, "sent": "a", "sent_id": 1}]}, "its 'raw' is no text", id="raw"),
        pytest.param({"sentences": [{"raw": " ", "sent": "a", "sent_id": 1}]}, "its 'raw' is empty", id="empty"),
        pytest.param({"sentences": [{"sent": "a", "sent_id": 1}]}, "it has no 'raw'", id="no-raw"),
    ],
)
@pytest.mark.parametrize("task", ["ris", "box"])
def test_expressions_that_cannot_be_used(folder: Path, changes: dict[str, Any], reason: str, task: str) -> None:
    path = refs_are(folder, {**REFS[0], **changes}, REFS[1])
    data = dataset("refcoco")
    assert len(data.samples(task, "val")) == 1
    faults = data.faults(task, "val")
    assert all(fault.startswith(f"{path}: record 1: ") and reason in fault for fault in faults)
    assert faults


def test_records_of_another_form(folder: Path) -> None:
    refs_are(folder, 5, [], {}, REFS[1])
    data = dataset("refcoco")
    assert [one.id for one in data.samples("ris", "val")] == ["10"]
    assert len(data.faults("ris", "val")) == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"segmentation": [[1, 2, 3]]}, "candidate 1719311 of its picture: a polygon", id="polygon"),
        pytest.param({"segmentation": {"size": [40, 30], "counts": [0, 1200]}}, "and its picture [30, 40]", id="size"),
        pytest.param({"id": "x"}, "the candidate 'x' of its picture: its 'id' is no whole number", id="id"),
    ],
)  # fmt: skip
def test_an_object_that_is_no_mask_is_named(folder: Path, change: dict[str, Any], reason: str) -> None:
    rows = INSTANCES["annotations"]
    instances_are(folder, annotations=[rows[0], {**rows[1], **change}, rows[2]])
    data = dataset("refcoco")
    with pytest.raises(DataError, match="no record of ris@refcoco/val can be used: 3 are left out"):
        data.samples("ris", "val")
    assert any(reason in fault for fault in _faults_of(folder))


def _faults_of(folder: Path) -> list[str]:
    data = dataset("refcoco", on_bad="leave-out")
    try:
        data.samples("ris", "val")
    except DataError as error:
        return list(error.hints)
    return list(data.faults("ris", "val"))


def test_a_box_that_leaves_its_picture_is_a_fault(folder: Path) -> None:
    rows = INSTANCES["annotations"]
    instances_are(
        folder, annotations=[{**rows[0], "bbox": [30, 0, 20, 10]}, {**rows[1], "bbox": [1, 1, 0, 4]}, rows[2]]
    )
    with pytest.raises(DataError) as caught:
        dataset("refcoco").samples("box", "val")
    assert "its box 30,0,50,10 leaves its picture of 40 x 30 pixels" in str(caught.value)
    assert "its box 1,1,1,5 has no area" in str(caught.value)


def test_instances_of_another_form(folder: Path) -> None:
    instances_are(folder, annotations={})
    with pytest.raises(DataError, match=r"instances.json: no lists 'images' and 'annotations' in it"):
        dataset("refcoco").samples("box", "val")
    (folder / "refcoco" / "instances.json").write_text("{")
    with pytest.raises(DataError, match=r"instances.json:1:2: not JSON"):
        dataset("refcoco").samples("box", "val")


PROPOSALS = {
    # Name, mask: what the filter says of it.
    "a_small.png": bitmap(HEIGHT, WIDTH, slice(5, 9), slice(5, 15)),  # 40 of 1200 pixels: 3.3 %
    "b_top.png": bitmap(HEIGHT, WIDTH, slice(0, 10), slice(0, 30)),  # two rows of 30 cover more than 0.7 * 30 pixels
    "c_left.png": bitmap(HEIGHT, WIDTH, slice(0, 30), slice(0, 10)),  # two columns of 30 cover more than 0.7 * 40
    "d_left_part.png": bitmap(HEIGHT, WIDTH, slice(3, 17), slice(0, 10)),  # 28 is not more than 28
    "e_middle.png": bitmap(HEIGHT, WIDTH, slice(2, 10), slice(2, 22)),
}


def proposals_are(folder: Path, masks: dict[str, np.ndarray], name: str = Path(FIRST).stem) -> None:
    for file, mask in masks.items():
        write_mask(folder / "sam" / name / file, mask)


@pytest.mark.parametrize("name", [Path(FIRST).stem, "000000581857", "581857"])
def test_proposals_are_filtered(folder: Path, name: str) -> None:
    proposals_are(folder, PROPOSALS, name)
    (folder / "sam" / name / "notes.txt").write_text("settings")
    sample = dataset("refcoco", proposals="sam").samples("ris", "val")[0]
    kept = [PROPOSALS["d_left_part.png"], PROPOSALS["e_middle.png"]]
    assert len(sample.candidates) == 2
    assert all(np.array_equal(one.bitmap, mask) for one, mask in zip(sample.candidates, kept, strict=True))
    target = sample.region.bitmap
    ious = [(mask & target).sum() / (mask | target).sum() for mask in kept]
    assert sample.info["overlaps"] == pytest.approx(ious)


def test_the_border_rule_has_the_sides_of_the_release() -> None:
    said = {name: covers_border(mask) for name, mask in PROPOSALS.items()}
    assert said == {
        "a_small.png": False, "b_top.png": True, "c_left.png": True, "d_left_part.png": False, "e_middle.png": False
    }  # fmt: skip
    assert covers_border(bitmap(HEIGHT, WIDTH, slice(20, 30), slice(0, 30)))
    assert covers_border(bitmap(HEIGHT, WIDTH, slice(0, 20), slice(30, 40)))


def test_twenty_proposals_are_taken_in_the_order_of_their_names(folder: Path) -> None:
    masks = {f"{at:03}.png": bitmap(HEIGHT, WIDTH, slice(2, 20), slice(2, 10 + at)) for at in range(25)}
    proposals_are(folder, masks)
    sample = dataset("refcoco", proposals="sam").samples("ris", "val")[0]
    assert [int(one.bitmap.sum()) for one in sample.candidates] == [18 * (8 + at) for at in range(20)]


def test_small_proposals_are_taken_where_there_is_no_other(folder: Path) -> None:
    tiny = bitmap(HEIGHT, WIDTH, slice(5, 7), slice(5, 8))
    proposals_are(folder, {"a.png": PROPOSALS["a_small.png"], "b.png": tiny})
    sample = dataset("refcoco", proposals="sam").samples("ris", "val")[0]
    assert [int(one.bitmap.sum()) for one in sample.candidates] == [40]


@pytest.mark.parametrize(
    ("masks", "reason"),
    [
        pytest.param({}, "there are no proposals for 'COCO_train2014_000000581857.jpg': looked for", id="none"),
        pytest.param({"a.png": bitmap(30, 40, slice(0, 1), slice(0, 3))}, "none of 1 masks covers 1%", id="too-small"),
        pytest.param({"a.png": bitmap(40, 30, slice(0, 20), slice(0, 9))}, "the mask has 30 x 40 pixels", id="turned"),
    ],
)
def test_proposals_that_cannot_be_used(folder: Path, masks: dict[str, np.ndarray], reason: str) -> None:
    (folder / "sam").mkdir()
    proposals_are(folder, masks)
    with pytest.raises(DataError) as caught:
        dataset("refcoco", proposals="sam").samples("ris", "val")
    assert reason in str(caught.value)


def test_a_folder_of_proposals_that_is_not_there(folder: Path) -> None:
    with pytest.raises(DataError, match="no folder of proposals"):
        dataset("refcoco", proposals="sam").samples("ris", "val")
    assert len(dataset("refcoco", proposals="sam").samples("mask", "val")) == 2  # which need none


def test_new_proposals_make_a_new_index(folder: Path) -> None:
    proposals_are(folder, PROPOSALS)
    assert len(dataset("refcoco", proposals="sam").samples("ris", "val")[0].candidates) == 2
    proposals_are(folder, {"f.png": bitmap(HEIGHT, WIDTH, slice(12, 24), slice(12, 30))})
    os.utime(folder / "sam" / Path(FIRST).stem, (1, 1))
    assert len(dataset("refcoco", proposals="sam").samples("ris", "val")[0].candidates) == 3


def test_tables_are_dropped_once_the_index_is_made(folder: Path) -> None:
    data = dataset("refcoco")
    data.samples("ris", "val")
    assert (data._instances.objects, data._masks) == ({}, (-1, []))
