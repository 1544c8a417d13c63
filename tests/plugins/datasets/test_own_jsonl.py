"""Data of the user's own: every region kind, every key, and what is said of those that cannot be read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regionkit.core.errors import ConfigError, DataError
from regionkit.core.regions import Mask
from regionkit.plugins.datasets.own import splits
from regionkit.registry.assembly import build

RLE = {"size": [2, 3], "counts": [1, 2, 3]}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REGIONKIT_DATA", raising=False)
    Image.new("RGB", (40, 20)).save("a.png")
    mask = np.zeros((20, 40), np.uint8)
    mask[2:5, 3:9] = 255
    Image.fromarray(mask).save("mask.png")
    Path("mask.json").write_text(json.dumps(RLE))
    return tmp_path


def write(*records: object, name: str = "own.jsonl") -> None:
    Path(name).write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records))


def data(**options: object):
    return build("dataset", {"name": "jsonl", "file": "own.jsonl", **options})


def record(**keys: object) -> dict[str, object]:
    return {"image": "a.png", "references": ["a dog"], **keys}


@pytest.mark.parametrize(
    ("keys", "task", "wanted"),
    [
        pytest.param({}, "image", None, id="nothing-is-the-whole"),
        pytest.param({"whole": True}, "image", None, id="whole"),
        pytest.param({"point": [3, 4]}, "point", ((3, 4),), id="point"),
        pytest.param({"points": [[3, 4], [5, 6]]}, "point", ((3, 4), (5, 6)), id="points"),
        pytest.param({"box": [1, 2, 30, 4.5]}, "box", (1, 2, 30, 4.5), id="box"),
        pytest.param({"region": {"box": [1, 2, 30, 4]}}, "box", (1, 2, 30, 4), id="region"),
        pytest.param({"boxes": [[1, 2, 30, 4]] * 2}, "box-set", [(1, 2, 30, 4)] * 2, id="boxes"),
        pytest.param({"trace": [[1, 2], [3, 4]]}, "trace", ((1, 2), (3, 4)), id="trace"),
        pytest.param({"trace": [[1, 2, 0.5], [3, 4, 1]]}, "trace", ((1, 2), (3, 4)), id="timed-trace"),
        pytest.param({"patch": [0, 1, 4, 4]}, "patch", (0, 1, 4, 4), id="patch"),
        pytest.param({"mask": RLE}, "mask", 2, id="mask-as-run-lengths"),
        pytest.param({"mask": "mask.json"}, "mask", 2, id="mask-as-json-file"),
        pytest.param({"mask": "mask.png"}, "mask", 18, id="mask-as-picture"),
    ],
)
def test_every_kind_of_region(keys, task, wanted):
    write(record(**keys))
    (sample,) = data().samples(task, "test")
    region = sample.region
    found = {
        "image": lambda: None,
        "point": lambda: region.points,
        "box": lambda: region.corners,
        "box-set": lambda: [box.corners for box in region.boxes],
        "trace": lambda: region.points,
        "patch": lambda: (region.row, region.column, region.rows, region.columns),
        "mask": lambda: int(region.bitmap.sum()),
    }[task]()
    assert found == wanted
    assert (sample.id, sample.image_id, sample.references) == ("1", "a.png", ("a dog",))
    assert data().image(sample.image_id).size == (40, 20)


def test_a_mask_picture_is_read_once():
    write(record(mask="mask.png"))
    (sample,) = data().samples("mask", "test")
    assert isinstance(sample.region, Mask)
    assert sample.region.bitmap.shape == (20, 40)
    Path("mask.png").unlink()
    assert data().samples("mask", "test")[0].region.bitmap[2:5, 3:9].all()


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        pytest.param({"references": ["a", "b"]}, ("a", "b"), id="references"),
        pytest.param({"captions": ["a"]}, ("a",), id="captions"),
        pytest.param({"caption": "a"}, ("a",), id="caption"),
        pytest.param({"references": []}, (), id="none"),
    ],
)
def test_references(keys, wanted):
    write({"image": "a.png", **keys})
    assert data().samples("image", "test")[0].references == wanted


def test_several_regions_of_a_record_and_several_tasks_of_a_file():
    write(
        record(regions=[{"box": [1, 2, 3, 4]}, {"point": [1, 2]}, {"box": [5, 6, 7, 8]}], id="x"),
        record(box=[9, 9, 19, 19], task="phrase", id=7),
        record(box=[9, 9, 19, 19]),
    )
    assert [(one.id, one.region.corners) for one in data().samples("box", "test")] == [
        ("x/0", (1, 2, 3, 4)),
        ("x/2", (5, 6, 7, 8)),
        ("3", (9, 9, 19, 19)),
    ]
    assert [one.id for one in data().samples("point", "test")] == ["x/1"]
    assert [one.id for one in data().samples("phrase", "test")] == ["7"]


def test_samples_of_referring_and_of_questions():
    boxes = [{"box": [1, 2, 3, 4]}, {"box": [5, 6, 7, 8]}]
    write(
        record(task="ris", box=[1, 2, 3, 4], candidates=boxes, overlaps=[1.0, 0.2]),
        record(task="vqa", question="what is it?", answers=["a dog"] * 3, answer_type="other"),
        record(task="vcr", regions=[{"box": [1, 2, 3, 4]}], mentioned=boxes, question="q1", stage="q-a", label=1,
               choices=["it sleeps", "it runs", "it eats", "it sings"], references=["2"]),
    )  # fmt: skip
    (ris,) = data().samples("ris", "test")
    assert [one.corners for one in ris.candidates] == [(1, 2, 3, 4), (5, 6, 7, 8)]
    assert ris.info == {"overlaps": [1.0, 0.2]}
    (vqa,) = data().samples("vqa", "test")
    assert vqa.info == {"question": "what is it?", "answers": ["a dog"] * 3, "answer_type": "other"}
    (vcr,) = data().samples("vcr", "test")
    assert len(vcr.mentioned) == 2
    assert (vcr.info["choices"][1], vcr.info["label"], vcr.references) == ("it runs", 1, ("2",))


def test_splits_are_what_the_file_says(monkeypatch):
    write(
        record(split="dev"), record(split="holdout/2"), record(), "no JSON", record(note={"split": "none"}),
        '{"image": "a.png", "sp\\u006cit": "escaped"}',
    )  # fmt: skip
    found = data()
    assert found.splits == ("test", "dev", "holdout/2", "escaped")
    assert [one.id for one in found.samples("image", "holdout/2")] == ["2"]
    assert [one.id for one in found.samples("image", "test")] == ["3", "5"]
    with pytest.raises(DataError, match="has no split 'holdout'"):
        found.samples("image", "holdout")
    monkeypatch.setattr(splits, "text_lines", None)  # it is not read again
    assert data().splits == found.splits


def test_a_changed_file_has_other_splits():
    write(record(split="dev"))
    assert data().splits == ("dev",)
    write(record(split="dev"), record(split="more"))
    assert data().splits == ("dev", "more")
    (cache,) = Path("cache/data").glob("splits-*.json")
    cache.write_text('{"of": 1}')
    assert data().splits == ("dev", "more")


def test_a_packed_file_and_pictures_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "data" / "pictures").mkdir(parents=True)
    Path("a.png").rename(tmp_path / "data" / "pictures" / "a.png")
    (tmp_path / "data" / "own.jsonl.gz").write_bytes(gzip.compress(json.dumps(record()).encode()))
    monkeypatch.setenv("REGIONKIT_DATA", str(tmp_path / "data"))
    found = data(file="own.jsonl.gz", images="pictures")
    assert found.image(found.samples("image", "test")[0].image_id).size == (40, 20)


@pytest.mark.parametrize(
    ("options", "keys", "wanted"),
    [
        pytest.param({"box_format": "xywh"}, {"bbox": [1, 2, 30, 4]}, (1, 2, 31, 6), id="xywh"),
        pytest.param({"box_format": "xyxy"}, {"bbox": [1, 2, 30, 4]}, (1, 2, 30, 4), id="xyxy"),
        pytest.param({"box_format": "xywh"}, {"box": [1, 2, 30, 4]}, (1, 2, 30, 4), id="box-is-always-corners"),
        pytest.param({"coordinates": "normalised"}, {"box": [0.25, 0, 0.5, 1]}, (10, 0, 20, 20), id="normalised"),
        pytest.param(
            {"coordinates": "normalised", "box_format": "xywh"}, {"bbox": [0.25, 0, 0.5, 1]}, (10, 0, 30, 20), id="both"
        ),
        pytest.param({}, {"box": [0, 0, 0.5, 2]}, (0, 0, 0.5, 2), id="a-small-box-of-pixels"),
    ],
)
def test_forms_of_boxes(options, keys, wanted):
    write(record(**keys))
    assert data(**options).samples("box", "test")[0].region.corners == wanted


WHICH = "'bbox' may be x1,y1,x2,y2 or x,y,width,height: say which with box_format: xyxy or box_format: xywh"
SMALL = (
    "all its coordinates are at most 1, as if they counted in widths and heights of the picture: write pixels, or set "
    "coordinates: normalised"
)


@pytest.mark.parametrize(
    ("task", "bad", "reason"),
    [
        pytest.param("image", "{", "no JSON, at column 2: Expecting property name", id="broken"),
        pytest.param("image", [1], 'a record is a JSON object such as {"image"', id="no-object"),
        pytest.param("image", {"caption": "a"}, "it has no 'image', the file of its picture", id="no-image"),
        pytest.param("image", {"file_name": "a"}, "and 'file_name' is not read: did you mean 'image'?", id="file-name"),
        pytest.param("image", record(image=3), "'image' is no file name", id="image-is-a-number"),
        pytest.param("image", record(image=" "), "'image' is no file name", id="empty-image"),
        pytest.param("box", record(box=[1, 2, 3]), "4 numbers are needed, here are 3", id="three-numbers"),
        pytest.param("box", record(box=[3, 2, 1, 4]), "box 3,2,1,4 has no area", id="no-area"),
        pytest.param("box", '{"image": "a", "box": [1, 2, 1e999, 4]}', "not a finite number", id="infinite"),
        pytest.param("box", record(box=[1, 2, "3", 4]), '"3" is not a number', id="text"),
        pytest.param("box", f'{{"image": "a", "box": [1, 2, {"9" * 5000}, 4]}}', "too many digits", id="huge-number"),
        pytest.param("box", record(box=[1, 2, 10**400, 4]), "int too large", id="large-number"),
        pytest.param("box", '{"image": "a", "box": [1, 2, NaN, 4]}', "NaN is no number that JSON has", id="nan"),
        pytest.param("box", record(box=[0, 0, 0.5, 1]), SMALL, id="normalised"),
        pytest.param("box-set", record(boxes=[[0, 0, 0.5, 1]]), SMALL, id="normalised-boxes"),
        pytest.param("box", record(bbox=[1, 2, 3, 4]), WHICH, id="bbox"),
        pytest.param("box", record(box=[1, 2, 3, 4], point=[1, 2]), "it has 'box' and 'point'", id="two-regions"),
        pytest.param("image", record(polygon=[1]), "'polygon' is not read: did you mean 'mask'?", id="polygon"),
        pytest.param("image", record(boxs=[1]), "'boxs' is not read: did you mean", id="misspelt-boxes"),
        pytest.param("image", record(regions=[]), "'regions' is no list of regions", id="empty-regions"),
        pytest.param("box", record(region={}), "a region has exactly one of the keys", id="empty-region"),
        pytest.param("image", {"image": "a.png", "caption_text": "a"}, "did you mean 'caption'?", id="caption-text"),
        pytest.param("image", {"image": "a.png", "refrences": ["a"]}, "did you mean 'references'?", id="misspelt"),
        pytest.param("image", record(caption="b"), "it has 'references' and 'caption'", id="two-references"),
        pytest.param("image", record(references=[1]), "'references' is no text and no list of texts", id="numbers"),
        pytest.param("image", record(references=[" "]), "'references' holds an empty text", id="empty-reference"),
        pytest.param("image", record(task="imgae"), "there is no task 'imgae': did you mean: image", id="task"),
        pytest.param("image", record(id=[1]), "'id' is neither text nor a whole number", id="id"),
        pytest.param("mask", record(mask="none.png"), "none.png: no such file", id="no-mask"),
        pytest.param("mask", record(mask={"size": [2, 2], "counts": [9]}), "run lengths add up to 9", id="bad-mask"),
        pytest.param("mask", record(mask={"size": [10**9, 10**9], "counts": [10**18]}), "larger than any", id="bomb"),
        pytest.param("ris", record(task="ris", box=[1, 2, 3, 4]), "needs 'candidates'", id="no-candidates"),
        pytest.param("ris", record(task="ris", candidates=[{"box": [1, 2, 3, 4]}], overlaps=[1, 0]),
                     "'overlaps' has 2 numbers for 1 candidates", id="overlaps"),
        pytest.param("ris", record(task="ris", candidates=[{"box": [1, 2, 3, 4]}], overlaps=[2]),
                     "'overlaps' is no list of numbers from 0 to 1", id="overlap-of-two"),
        pytest.param("vqa", record(task="vqa", answers=["a"]), "task 'vqa' needs 'question', a text", id="no-question"),
        pytest.param("vqa", record(task="vqa", question="q", answer="a"), "'answers', a list of texts; it has 'answer'",
                     id="answer"),
        pytest.param("vcr", record(task="vcr", question="q"), "needs 'choices', a list of texts", id="no-choices"),
        pytest.param("box", record(box=[1, 2, 3, 4], candidates={}), "'candidates' is no list of regions", id="object"),
        pytest.param("image", record(note="\ud800"), "half a character stands in its text", id="surrogate"),
    ],
)  # fmt: skip
def test_bad_records_are_named_and_the_others_go_on(task, bad, reason):
    good = record(
        task=task, id="good", candidates=[{"box": [1, 2, 3, 4]}], question="q", answers=["a"], choices=["a", "b"]
    )
    write(good, bad)
    found = data()
    assert [one.id for one in found.samples(task, "test")] == ["good"]
    (fault,) = found.faults(task, "test")
    assert fault.startswith("own.jsonl:2: ")
    assert reason in fault
    with pytest.raises(DataError, match=r"own.jsonl:2: "):
        data(on_bad="stop").samples(task, "test")


def test_two_records_of_one_id():
    write(record(id="x"), record(id="x"), record(id="y"))
    found = data()
    assert [one.id for one in found.samples("image", "test")] == ["x", "y"]
    assert found.faults("image", "test") == ["sample x: another sample has this id, and counts"]


def test_damaged_files():
    Path("own.jsonl").write_bytes(gzip.compress(json.dumps(record()).encode() * 50)[:-9])
    with pytest.raises(DataError, match="the gzip file is cut off after line"):
        data().samples("image", "test")
    with pytest.raises(DataError, match=r"none.jsonl: no such file"):
        data(file="none.jsonl").samples("image", "test")


def test_a_picture_that_is_not_there_is_said():
    write(record(image="none.png"))
    found = data()
    with pytest.raises(DataError, match=r"the picture 'none.png' is not there: looked for .*none.png"):
        found.image(found.samples("image", "test")[0].image_id)


def test_a_task_that_no_record_has():
    write(record())
    with pytest.raises(DataError, match="box@jsonl/test has no sample"):
        data().samples("box", "test")


def test_a_wrong_option_is_named():
    write(record())
    with pytest.raises(ConfigError, match="box_format"):
        data(box_format="wh")
