from __future__ import annotations

import gzip
import json
import os
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_cases import CIDER, PREDICTIONS, REFERENCES, call, refused, scored, write

from regionkit.core import json_files
from regionkit.core.errors import RegionkitError
from regionkit.core.json_files import Loaded, load
from regionkit.plugins.scoring.matching import match
from regionkit.plugins.scoring.predictions import predictions_of
from regionkit.plugins.scoring.references import references_of

RECORDS = [{"image_id": int(name), "caption": text} for name, text in PREDICTIONS.items()]
COCO = {
    "images": [{"id": int(name), "file_name": f"{name}.jpg"} for name in REFERENCES],
    "annotations": [
        {"id": 10 * int(name) + at, "image_id": int(name), "caption": text}
        for name, texts in REFERENCES.items()
        for at, text in enumerate([texts] if isinstance(texts, str) else texts)
    ],
}


@pytest.mark.parametrize(
    ("name", "predictions"),
    [
        pytest.param("p.json", PREDICTIONS, id="by-id"),
        pytest.param("p.json.gz", PREDICTIONS, id="gzip"),
        pytest.param("packed", gzip.compress(json.dumps(PREDICTIONS).encode()), id="gzip-without-ending"),
        pytest.param("p.json", b"\xef\xbb\xbf" + json.dumps(PREDICTIONS).encode(), id="byte-order-mark"),
        pytest.param("p.json", json.dumps(PREDICTIONS, indent=2).encode(), id="indented"),
        pytest.param("p.json", {name: [text] for name, text in PREDICTIONS.items()}, id="lists-of-one"),
        pytest.param("p.json", {k: [{"caption": v}] for k, v in PREDICTIONS.items()}, id="records-in-lists"),
        pytest.param("p.json", RECORDS, id="coco-results"),
        pytest.param("p.json", [{**one, "id": 7} for one in RECORDS], id="coco-results-with-numbers"),
        pytest.param("p.json", {"annotations": RECORDS}, id="annotations"),
        pytest.param("p.jsonl", RECORDS, id="lines"),
        pytest.param("p.jsonl.gz", RECORDS, id="lines-gzip"),
        pytest.param("p.jsonl", [{"id": k, "caption": v} for k, v in PREDICTIONS.items()], id="lines-by-id"),
        pytest.param(
            "p.jsonl",
            [{"image": k, "captions": [{"region": {}, "caption": v, "score": -1}]} for k, v in PREDICTIONS.items()],
            id="lines-of-toolkit-caption",
        ),
    ],
)
def test_all_forms_of_predictions_are_the_same(tmp_path, name, predictions):
    assert scored(tmp_path, predictions, name=name) == scored(tmp_path, PREDICTIONS)


@pytest.mark.parametrize(
    "references",
    [
        pytest.param(COCO, id="coco"),
        pytest.param({k: {"references": v, "other": 1} for k, v in REFERENCES.items()}, id="records"),
        pytest.param([{"id": k, "references": v} for k, v in REFERENCES.items()], id="list-of-records"),
        pytest.param([{"id": k, "image_id": f"i{k}", "references": v} for k, v in REFERENCES.items()], id="regions"),
        pytest.param(COCO["annotations"], id="annotations-alone"),
    ],
)
def test_all_forms_of_references_are_the_same(tmp_path, references):
    assert scored(tmp_path, PREDICTIONS, references=references) == scored(tmp_path, PREDICTIONS)


def test_standard_input_is_read(tmp_path):
    truth = write(tmp_path, "r.json", REFERENCES)
    for content in (json.dumps(PREDICTIONS), gzip.compress(json.dumps(PREDICTIONS).encode())):
        said = call("score", "-", "--references", truth, "--json", *CIDER, input=content).stdout
        assert json.loads(said) == scored(tmp_path, PREDICTIONS)


def test_one_line_is_a_record(tmp_path):
    found = scored(tmp_path, [RECORDS[0]], status=1, name="p.jsonl")
    assert (found["n"], found["missing"]) == (1, ["2", "3", "4"])


def test_a_picture_may_be_called_annotations():
    assert predictions_of(Loaded("p", {"annotations": ["a dog"], "b": "a cat"})).captions == {
        "annotations": "a dog",
        "b": "a cat",
    }


BROKEN = [
    pytest.param(b"", "p.json: the file is empty", id="empty"),
    pytest.param(b" \n", "p.json: the file is empty", id="blank"),
    pytest.param(b'{"1": "a",\n "2"}', "p.json:2:5: not JSON: Expecting ':' delimiter", id="syntax"),
    pytest.param(b'{"1": "a"} x', "p.json:1:12: not JSON: Extra data", id="more-after-the-end"),
    pytest.param(
        b'{"image_id": 1, "caption": "a"}\n\n{"image_id": 2,\n',
        "p.json:3:16: not JSON: Expecting property name enclosed in double quotes",
        id="line",
    ),
    pytest.param(
        b'{"1": "a", "2": "b", "1": "c"}',
        "p.json: the key '1' stands twice in one object, so what it means is not known",
        id="twice",
    ),
    pytest.param(b"[" * 100_000, "p.json: brackets are nested too deeply to be read", id="deep"),
    pytest.param(b'{"1":\n"\xff"}', "p.json:2: not UTF-8\n  save the file again with the encoding UTF-8", id="latin"),
    pytest.param(
        '{"1": "a"}'.encode("utf-16"), "p.json:1: not UTF-8\n  save the file again with the encoding UTF-8", id="utf-16"
    ),
    pytest.param(b'{"1": ' + b"1" * 5000 + b"}", "p.json: holds a number of too many digits", id="digits"),
    pytest.param(b'{"1": NaN}', "p.json: NaN is no number that JSON has", id="nan"),
    pytest.param(
        gzip.compress(b'{"1": "a dog"}')[:-9],
        "p.json: the gzip file is cut off\n  copy or download it again",
        id="gzip-cut",
    ),
    pytest.param(
        b"\x1f\x8b" + bytes(20),
        "p.json: the gzip file is damaged: Unknown compression method\n  copy or download it again",
        id="gzip-damaged",
    ),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_broken_files_are_told(tmp_path, content, message):
    assert refused(tmp_path, content) == f"error: {message}"


_FORMS = 'write {"ID": "caption", ...}, or a list of {"image_id": ID, "caption": "..."}, or one such object a line'
_APART = "keep one caption an id; records are told apart by image_id, by id where there is none"


@pytest.mark.parametrize(
    ("name", "predictions", "message"),
    [
        pytest.param("p.json", "x", f"p.json: expected captions by id, found the text 'x'\n  {_FORMS}", id="text"),
        pytest.param("p.json", [], f"p.json: there is no caption in it\n  {_FORMS}", id="no-record"),
        pytest.param("p.json", {}, f"p.json: there is no caption in it\n  {_FORMS}", id="no-id"),
        pytest.param(
            "p.json", [3], "p.json: record 1: expected an object with an image_id, found the number 3", id="number"
        ),
        pytest.param(
            "p.json",
            [{"caption": "a"}],
            "p.json: record 1: no image_id says what this record is about; found an object with caption",
            id="without-id",
        ),
        pytest.param(
            "p.json",
            [{"image_id": 1.5, "caption": "a"}],
            "p.json: record 1: image_id is the number 1.5, and ids are text or whole numbers",
            id="fraction",
        ),
        pytest.param(
            "p.json",
            [{"image_id": True, "caption": "a"}],
            "p.json: record 1: image_id is true, and ids are text or whole numbers",
            id="truth-value",
        ),
        pytest.param(
            "p.json",
            [{"image_id": 1, "caption": "a"}, {"image_id": "1", "caption": "b"}],
            f"p.json: record 2: '1' has a caption already, at p.json: record 1\n  {_APART}",
            id="twice",
        ),
        pytest.param(
            "p.jsonl",
            [{"image_id": 1, "caption": "a"}, {"image_id": 1, "caption": "a"}],
            f"p.jsonl:2: '1' has a caption already, at p.jsonl:1\n  {_APART}",
            id="twice-in-lines",
        ),
        pytest.param(
            "p.json",
            {"1": "a", "2": [{"box": [0, 0, 1, 1], "caption": "a"}]},
            "p.json: '1' has a caption of the whole picture, '2' has boxes\n"
            "  score captions of pictures and of boxes apart",
            id="mixed",
        ),
        pytest.param(
            "p.json",
            {"x1": "a", "x2": "b"},
            "p.json and r.json have no id in common\n  predictions are of: x1, x2\n"
            "  references are of: 1, 2, 3 and 1 more",
            id="nothing-in-common",
        ),
        pytest.param(
            "p.json",
            {"1": None},
            "nothing can be scored: 1 refused; the first, '1': null where a caption belongs",
            id="all-refused",
        ),
    ],
)
def test_other_predictions_are_told(tmp_path, name, predictions, message):
    assert refused(tmp_path, predictions, name=name) == f"error: {message}"


@pytest.mark.parametrize(
    ("references", "message"),
    [
        pytest.param(3, "r.json: expected references by id, found the number 3", id="number"),
        pytest.param({"images": [], "annotations": []}, "r.json: there is no reference in it", id="empty-coco"),
        pytest.param(
            [{"id": 1, "references": ["a"]}, {"id": 1, "references": ["b"]}],
            "r.json: record 2: '1' has a record already\n  keep one record an id",
            id="twice",
        ),
        pytest.param(
            [{"id": 1, "references": ["a"]}, {"image_id": 1, "caption": "b"}],
            "r.json: record 1: '1' has single captions in the file as well",
            id="both-forms",
        ),
    ],
)
def test_other_references_are_told(tmp_path, references, message):
    assert refused(tmp_path, PREDICTIONS, references=references).startswith(f"error: {message}")


def test_what_is_no_file_is_told(tmp_path):
    truth = write(tmp_path, "r.json", REFERENCES)
    (tmp_path / "predictions.json").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, message in {
        "r.jsn": "there is no such file\n  did you mean: r.json",
        "predictions.json": "this is a folder, not a file\n  give a .json or .jsonl file, or one packed as .gz",
        "pipe": "this is a pipe or a device, not a file\n  predictions can be piped in with -",
        "a" * 300: "cannot be read: File name too long",
    }.items():
        said = call("score", tmp_path / name, "--references", truth, *CIDER, status=2).stderr
        assert said.replace("…", "").rstrip().endswith(message), said


def test_files_that_are_too_long_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(json_files, "MOST_BYTES", 1 << 30)
    with (tmp_path / "p.json").open("wb") as stream:
        stream.truncate((1 << 30) + 1)  # takes no room on the disk
    said = call("score", tmp_path / "p.json", "--references", tmp_path / "p.json", *CIDER, status=2).stderr
    assert said.endswith("p.json: longer than 1 GiB, the most that is read\n  split it by ids\n")


def test_packed_files_are_not_unpacked_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(json_files, "MOST_BYTES", 1000)
    write(tmp_path, "p.json.gz", b" " * 100_000)
    with pytest.raises(RegionkitError, match="longer than 0 GiB"):
        load(tmp_path / "p.json.gz")


_TEXT = st.text(st.characters(codec=None), max_size=12)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["image_id", "id", "caption", "references", "box", "bbox", "annotations", "images", "score"]
            )
            | _TEXT,
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=50)
@given(_JSON, _JSON)
def test_any_json_is_read_or_refused(predicted, known):
    try:
        predictions, references = predictions_of(Loaded("p", predicted)), references_of(Loaded("r", known))
        found = match(predictions, references)
    except RegionkitError:
        return
    assert all(isinstance(text, str) for text in found.captions)
    assert len(found.samples) == len(found.captions) > 0
    judged = {sample.image_id for sample in found.samples} | {sample.id for sample in found.samples}
    assert not judged & set(found.missing)
    assert found.ids + len(found.missing) + len(found.refused) == len(
        references.samples.keys() | references.refused.keys()
    )


@settings(max_examples=30)
@given(st.dictionaries(_TEXT, _TEXT, min_size=1, max_size=6))
def test_captions_come_through_files_as_they_are(tmp_path_factory, captions):
    folder = tmp_path_factory.mktemp("captions")
    plain = load(write(folder, "p.json", captions))
    assert predictions_of(plain).captions == captions
    records = [{"id": name, "caption": text} for name, text in captions.items()]
    assert predictions_of(load(write(folder, "p.jsonl.gz", records))).captions == captions


@settings(max_examples=50)
@given(st.binary(max_size=40), st.binary(max_size=8))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, tail):
    folder = tmp_path_factory.mktemp("bytes")
    for name, held in (("a", content), ("b", gzip.compress(content)[:-4] + tail), ("c", b"\x1f\x8b\x08" + content)):
        (folder / name).write_bytes(held)
        with suppress(RegionkitError):  # and nothing else
            load(folder / name)
