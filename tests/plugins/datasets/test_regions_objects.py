"""LVIS and PACO as Osprey draws them, Ref-L4 and DLC-Bench."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from regions_layouts import bitmap, dataset, picture, rectangle, write_json

from regionkit.core.errors import DataError, MissingExtra
from regionkit.core.region_io import run_lengths
from regionkit.core.regions import Mask

CAR = bitmap(20, 30, slice(2, 8), slice(4, 14))
OBJECTS = [
    {
        "file_name": "000000000139.jpg",
        "height": 20,
        "width": 30,
        "categories": ["car_(automobile)", "street_sign"],
        "annotations": [{"segmentation": rectangle(4, 2, 14, 8)}, {"segmentation": run_lengths(CAR)}],
    },
    {
        "file_name": "val2017/000000000285.jpg",
        "height": 10,
        "width": 10,
        "categories": ["dog:ear"],
        "annotations": [{"segmentation": [[0, 0, 5, 0, 5, 5], [5, 5, 10, 5, 10, 10, 5, 10]]}],
    },
]


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGIONKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


@pytest.fixture
def osprey(data: Path) -> Path:
    picture(data / "coco" / "train2017" / "000000000139.jpg", 30, 20)
    picture(data / "coco" / "val2017" / "000000000285.jpg", 10, 10)
    write_json(data / "osprey" / "lvis_val_1k_category.json", OBJECTS)
    write_json(data / "osprey" / "paco_val_1k_category.json", OBJECTS[1:])
    return data / "osprey"


def test_objects_with_their_categories(osprey: Path) -> None:
    lvis = dataset("lvis")
    found = list(lvis.samples("keyword", "val"))
    assert [(one.id, one.image_id, one.references) for one in found] == [
        ("0/0", "000000000139.jpg", ("car_(automobile)",)),
        ("0/1", "000000000139.jpg", ("street_sign",)),
        ("1/0", "val2017/000000000285.jpg", ("dog:ear",)),
    ]
    assert found[0].info == {"category": "car_(automobile)"}
    assert all(isinstance(one.region, Mask) for one in found)
    assert np.array_equal(found[0].region.bitmap, CAR)
    assert np.array_equal(found[1].region.bitmap, CAR)
    assert found[2].region.bitmap[5:, 5:].all()
    assert not found[2].region.bitmap[6:, :5].any()
    assert lvis.image("000000000139.jpg").size == (30, 20)
    assert lvis.image("val2017/000000000285.jpg").size == (10, 10)
    assert [one.id for one in lvis.samples("mask", "val", limit=1)] == ["0/0", "0/1"]
    assert [one.references for one in dataset("paco").samples("mask", "val")] == [("dog:ear",)]


@pytest.mark.parametrize(
    ("changes", "place", "reason"),
    [
        pytest.param({"categories": ["a"]}, "record 1", "1 categories and 2 annotations", id="counts"),
        pytest.param({"categories": None}, "record 1", "no lists 'categories' and 'annotations'", id="no-list"),
        pytest.param({"categories": [5, ""]}, "record 1: annotations[0]", "its 'category' is no text", id="name"),
        pytest.param({"height": 21}, "record 1: annotations[0]", "30 x 20 pixels, and should have 30 x 21", id="size"),
        pytest.param({"width": "30"}, "record 1: annotations[0]", "which is no size", id="size-text"),
        pytest.param({"file_name": "gone.jpg"}, "record 1: annotations[0]", "the picture 'gone.jpg' is not", id="gone"),
        pytest.param({"file_name": "../x.jpg"}, "record 1: annotations[0]", "leads out of the folder", id="outside"),
        pytest.param({"annotations": [5, {}]}, "record 1: annotations[1]", "it has no 'segmentation'", id="form"),
        pytest.param(
            {"annotations": [{"segmentation": {"size": [30, 20], "counts": [0, 600]}}, {"segmentation": [[1e9] * 6]}]},
            "record 1: annotations[0]",
            "its mask has the size [30, 20], and its picture [20, 30]",
            id="masks",
        ),
    ],
)
def test_objects_that_cannot_be_used(osprey: Path, changes: dict[str, Any], place: str, reason: str) -> None:
    path = write_json(osprey / "lvis_val_1k_category.json", [{**OBJECTS[0], **changes}, OBJECTS[1]])
    lvis = dataset("lvis")
    assert [one.id for one in lvis.samples("keyword", "val")] == ["1/0"]
    faults = lvis.faults("keyword", "val")
    assert any(fault.startswith(f"{path}: {place}: ") and reason in fault for fault in faults), faults


def test_a_damaged_file_of_objects(osprey: Path) -> None:
    path = osprey / "lvis_val_1k_category.json"
    write_json(path, [5, *OBJECTS])
    lvis = dataset("lvis")
    assert len(lvis.samples("keyword", "val")) == 3
    assert lvis.faults("keyword", "val")[0].startswith(f"{path}: record 1: a record is an object")
    path.write_text(json.dumps(OBJECTS)[:-5])
    with pytest.raises(DataError, match="not JSON"):
        dataset("lvis").samples("keyword", "val")
    path.unlink()
    with pytest.raises(DataError, match=r"needs lvis_val_1k_category.json in"):
        dataset("lvis").samples("keyword", "val")


ROWS = [
    {"id": 1, "caption": " A long description of a lamp. ", "bbox": [2, 3, 10, 5], "bbox_area": 50, "bbox_id": 9,
     "ori_category_id": "o365_7", "image_id": "365_1", "height": 20, "width": 30, "is_rewrite": True, "split": "test",
     "file_name": "objects365_v2_00000001.jpg"},
    {"id": 2, "caption": "the man", "bbox": [0.5, 0, 9.5, 10], "height": 10, "width": 10, "split": "test",
     "file_name": "COCO_train2014_000000000285.jpg"},
    {"id": 3, "caption": "a cup", "bbox": [0, 0, 30, 20], "height": 20, "width": 30, "split": "val",
     "file_name": "objects365_v2_00000001.jpg"},
]  # fmt: skip


@pytest.fixture
def ref_l4(data: Path) -> Path:
    picture(data / "ref-l4" / "images" / "objects365_v2_00000001.jpg", 30, 20)
    picture(data / "coco" / "train2014" / "COCO_train2014_000000000285.jpg", 10, 10)
    rows_are(data / "ref-l4", ROWS)
    return data / "ref-l4"


def rows_are(folder: Path, rows: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ref-l4-test.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("part", "ids"),
    [("objects365", ["1"]), ("coco", ["2"]), ("all", ["1", "2"])],
)
@pytest.mark.parametrize("task", ["detail", "box"])
def test_parts_of_ref_l4(ref_l4: Path, part: str, ids: list[str], task: str) -> None:
    assert [one.id for one in dataset("ref-l4", part=part).samples(task, "test")] == ids


def test_rows_of_ref_l4(ref_l4: Path) -> None:
    (sample,) = dataset("ref-l4").samples("detail", "test")
    assert sample.region.corners == (2, 3, 12, 8)
    assert sample.references == ("A long description of a lamp.",)
    assert sample.info == {"source": "objects365", "image_size": [30, 20]}
    write_json(ref_l4 / "ref-l4-val.json", [{key: ROWS[2][key] for key in ROWS[2] if key != "id"}])
    assert [one.id for one in dataset("ref-l4").samples("detail", "val")] == ["1"]  # the row, where there is no id


def test_ref_l4_as_it_is_released_is_parquet(ref_l4: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = ref_l4 / "ref-l4-val.parquet"
    rows = [{key: row[key] for key in ROWS[2]} for row in ROWS]
    parquet.write_table(pytest.importorskip("pyarrow").Table.from_pylist(rows), path)
    (sample,) = dataset("ref-l4").samples("detail", "val")
    assert (sample.id, sample.references, sample.region.corners) == ("3", ("a cup",), (0, 0, 30, 20))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"ref-l4-val.parquet: no Parquet after record 0: "):
        dataset("ref-l4").samples("detail", "val")


def test_ref_l4_in_parquet_says_what_reads_it(ref_l4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (ref_l4 / "ref-l4-val.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"a Parquet file, needs the package 'pyarrow'") as caught:
        dataset("ref-l4").samples("detail", "val")
    assert caught.value.hints == ("install it with: pip install 'regionkit[parquet]'",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"bbox": [2, 3, 0, 5]}, "its box 2,3,2,8 has no area", id="no-area"),
        pytest.param({"bbox": [25, 3, 10, 5]}, "its box 25,3,35,8 leaves its picture of 30 x 20", id="leaves"),
        pytest.param({"bbox": [2, 3, 10]}, "its box is no list of four numbers", id="three"),
        pytest.param({"bbox": "2 3 9 9"}, "its box is no list of four numbers", id="text"),
        pytest.param({"bbox": [10**3000, 0, 1, 1]}, "no coordinate of a picture", id="huge"),
        pytest.param({"caption": None}, "its 'caption' is no text", id="caption"),
        pytest.param({"height": 10**40}, "which is no size", id="height"),
        pytest.param({"id": []}, "its 'id' is neither a number nor a text", id="id"),
        pytest.param({"file_name": None}, "its picture has no file name", id="file-name"),
        pytest.param({"file_name": "objects365_v2_00000002.jpg"}, "is not there: looked for", id="missing"),
    ],
)
def test_rows_that_cannot_be_used(ref_l4: Path, change: dict[str, Any], reason: str) -> None:
    path = rows_are(ref_l4, [{**ROWS[0], **change}, {**ROWS[0], "id": 5}])
    found = dataset("ref-l4")
    assert [one.id for one in found.samples("box", "test")] == ["5"]
    (fault,) = found.faults("box", "test")
    assert fault.startswith(f"{path}:1: ")
    assert reason in fault


def test_damaged_lines_and_packed_rows(ref_l4: Path) -> None:
    path = ref_l4 / "ref-l4-test.jsonl"
    path.write_text("{oops\n5\n" + "[" * 200_000 + "\n" + json.dumps(ROWS[0]) + "\n")
    found = dataset("ref-l4")
    assert [one.id for one in found.samples("box", "test")] == ["1"]
    assert [fault.split(": ")[0] for fault in found.faults("box", "test")] == [f"{path}:{line}" for line in (1, 2, 3)]
    packed = gzip.compress("".join(json.dumps(ROWS[0]) + "\n" for _ in range(50)).encode())
    path.unlink()
    (ref_l4 / "ref-l4-test.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match="the gzip file is cut off"):
        dataset("ref-l4").samples("box", "test")


QUESTION = "Which of the following is applicable to the description?"
QUESTIONS = [
    {"question": QUESTION, "choices": [["It is red.", 1], ["It is blue.", -1], ["No mention.", 0]], "type": "positive"},
    {"question": QUESTION, "choices": [["It has wings.", -1], ["No.", 1]], "type": "negative", "subtype": "part"},
]
ANNOTATIONS = {
    "images": [{"id": 4, "file_name": "objects365_v2_1.jpg", "height": 20, "width": 30}],
    "annotations": [
        {"id": 71, "image_id": 4, "category_id": 1, "segmentation": run_lengths(CAR), "bbox": [4, 2, 10, 6]},
        {"id": 72, "image_id": 4, "category_id": 2, "segmentation": rectangle(0, 0, 30, 20), "bbox": [0, 0, 30, 20]},
    ],
    "categories": [{"id": 1, "name": "Car"}],
}


@pytest.fixture
def bench(data: Path) -> Path:
    folder = data / "DLC-Bench"
    picture(folder / "images" / "objects365_v2_1.jpg", 30, 20)
    bench_is(folder)
    return folder


def bench_is(folder: Path, annotations: Any = ANNOTATIONS, questions: Any = None, names: Any = None) -> None:
    write_json(folder / "annotations.json", annotations)
    write_json(folder / "qa.json", {"71": QUESTIONS, "72": QUESTIONS[:1]} if questions is None else questions)
    write_json(folder / "class_names.json", {"71": "car", "72": "road"} if names is None else names)


def test_annotations_with_their_questions(bench: Path) -> None:
    found = list(dataset("dlc-bench").samples("detail", "test"))
    assert [(one.id, one.image_id, one.references) for one in found] == [
        ("71", "objects365_v2_1.jpg", ()),
        ("72", "objects365_v2_1.jpg", ()),
    ]
    assert np.array_equal(found[0].region.bitmap, CAR)
    assert found[1].region.bitmap.all()
    assert found[0].info == {"questions": QUESTIONS, "class_name": "car"}
    assert found[0].carries("questions")
    assert not found[0].carries("references")


@pytest.mark.parametrize(
    ("files", "reasons"),
    [
        pytest.param({"questions": {"72": QUESTIONS}}, ["qa.json has no questions of annotation 71"], id="questions"),
        pytest.param({"names": {"72": "road"}}, ["class_names.json has no name of annotation 71"], id="name"),
        pytest.param(
            {"names": {"71": 5, "72": "road"}}, ["its 'class_names.json of 71' is no text"], id="name-no-text"
        ),
        pytest.param(
            {"questions": {"71": [], "72": QUESTIONS}}, ["no list of questions of annotation 71"], id="no-list"
        ),
        pytest.param(
            {"questions": {"71": [{**QUESTIONS[0], "type": "other"}], "72": QUESTIONS}},
            ["question 1 of annotation 71 in qa.json is neither positive nor negative"],
            id="type",
        ),
        pytest.param(
            {"questions": {"71": [QUESTIONS[0], {**QUESTIONS[1], "choices": [["a", "1"]]}], "72": QUESTIONS}},
            ["question 2 of annotation 71 in qa.json has no choices, each a text and its points"],
            id="choices",
        ),
        pytest.param(
            {"questions": {"71": [{**QUESTIONS[0], "choices": [["a", 10**400]]}], "72": QUESTIONS}},
            ["has no choices, each a text and its points"],
            id="huge-points",
        ),
        pytest.param(
            {"annotations": {**ANNOTATIONS, "annotations": [5, ANNOTATIONS["annotations"][1]]}},
            ["annotations[0]: an annotation is an object", "'71': there is no annotation of this id"],
            id="annotation",
        ),
        pytest.param(
            {"annotations": {**ANNOTATIONS, "annotations": [
                {**ANNOTATIONS["annotations"][0], "segmentation": {"size": [30, 20], "counts": "0"}},
                ANNOTATIONS["annotations"][1]]}},
            ["its mask has the size [30, 20], and its picture [20, 30]"],
            id="mask",
        ),
        pytest.param(
            {"annotations": {**ANNOTATIONS, "annotations": [
                {**ANNOTATIONS["annotations"][0], "image_id": 5}, ANNOTATIONS["annotations"][1]]}},
            ["its picture 5 is not in 'images'"],
            id="picture",
        ),
    ],
)  # fmt: skip
def test_annotations_that_cannot_be_judged(bench: Path, files: dict[str, Any], reasons: list[str]) -> None:
    bench_is(bench, **files)
    found = dataset("dlc-bench")
    assert [one.id for one in found.samples("detail", "test")] == ["72"]
    faults = "\n".join(found.faults("detail", "test"))
    assert all(reason in faults for reason in reasons), faults


def test_questions_that_belong_to_nothing(bench: Path) -> None:
    bench_is(bench, questions={"71": QUESTIONS, "72": QUESTIONS, "99": QUESTIONS})
    found = dataset("dlc-bench")
    assert len(found.samples("detail", "test")) == 2
    assert found.faults("detail", "test") == [f"{bench / 'qa.json'}: '99': there is no annotation of this id"]
    with pytest.raises(DataError, match="there is no annotation of this id"):
        dataset("dlc-bench", on_bad="stop").samples("detail", "test")


def test_files_of_another_form(bench: Path) -> None:
    bench_is(bench, questions=[])
    with pytest.raises(DataError, match=r"qa.json: a JSON object is expected"):
        dataset("dlc-bench").samples("detail", "test")
    bench_is(bench, annotations=[])
    with pytest.raises(DataError, match=r"annotations.json: no lists 'images' and 'annotations' in it"):
        dataset("dlc-bench").samples("detail", "test")
    (bench / "class_names.json").unlink()
    with pytest.raises(DataError, match=r"needs class_names.json in"):
        dataset("dlc-bench").samples("detail", "test")
