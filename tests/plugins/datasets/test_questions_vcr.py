"""VCR from small files in its official layout."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regionkit.core.errors import DataError
from regionkit.core.regions import Box, BoxSet, Mask, WholeImage
from regionkit.plugins.caption_metrics.regions.configs import VcrConfig as MetricConfig
from regionkit.plugins.caption_metrics.regions.vcr import Vcr as Metric
from regionkit.plugins.datasets.questions.configs import VcrConfig
from regionkit.plugins.datasets.questions.vcr import Vcr
from regionkit.plugins.datasets.questions.vcr_text import mentioned_in, written

MOVIE = "lsmdc_1054_Harry_Potter"
NAME = f"{MOVIE}/{MOVIE}_00.18.03.379-00.18.05.679@0"
NAMES = ["person", "person", "car", *["bottle"] * 9, "dog"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))


def record(**changes: object) -> dict:
    return {
        "movie": MOVIE,
        "objects": NAMES,
        "interesting_scores": [0],
        "answer_likelihood": "possible",
        "img_fn": f"{NAME}.jpg",
        "metadata_fn": f"{NAME}.json",
        "answer_orig": "No she does not",
        "question_orig": "Why does 2 pet 13?",
        "question": ["Why", "does", [1], "pet", [12], "?"],
        "answer_choices": [
            [[1], "likes", [12], "."],
            ["They", "do", "n't", "know", "it", "."],
            [[12, 1], "are", "in", [2], "."],
            ["It", "is", [1], "'s", "dog", "."],
        ],
        "answer_label": 3,
        "rationale_choices": [
            [[1, 12, 0], "smile", "."],
            ["Owners", "pet", "."],
            ["No", "reason", "."],
            ["It", "rains", "."],
        ],
        "rationale_label": 1,
        "img_id": "val-0",
        "question_number": 0,
        "annot_id": "val-0",
        "match_fold": "val-0",
        "match_index": 0,
        **changes,
    }


def metadata(**changes: object) -> dict:
    boxes = [[10.0 * place, 5.0, 10.0 * place + 8.5, 25.0, 0.99] for place in range(len(NAMES))]
    outlines = [
        [[[10 * place, 5], [10 * place + 8, 5], [10 * place + 8, 25], [10 * place, 25]]] for place in range(len(NAMES))
    ]
    return {"boxes": boxes, "segms": outlines, "names": NAMES, "width": 160, "height": 40, **changes}


def write(root: Path, records: list, held: dict | None = None, **options: str) -> Vcr:
    (root / "vcr1images" / MOVIE).mkdir(parents=True)
    (root / "vcr1images" / f"{NAME}.json").write_text(json.dumps(metadata() if held is None else held))
    Image.new("RGB", (160, 40)).save(root / "vcr1images" / f"{NAME}.jpg")
    (root / "val.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    return Vcr(VcrConfig(root=str(root), **options))


def test_a_question_is_two_samples(tmp_path):
    data = write(tmp_path, [record()])
    answer, reason = data.samples("vcr", "val")
    assert (answer.id, reason.id, answer.image_id) == ("val-0/q-a", "val-0/qa-r", f"{NAME}.jpg")
    assert answer.info == {
        "stage": "q-a",
        "question": "val-0",
        "label": 3,
        "question_text": "Why does [0] pet [1]?",
        "choices": ["[0] likes [1].", "They don't know it.", "[1] and [0] are in [2].", "It is [0]'s dog."],
        "objects": ["person", "dog", "car"],
    }
    assert answer.references == ("4",)
    # Object 12 is the thirteenth box, and not objects 1 and 2.
    boxes = (Box(10, 5, 18.5, 25), Box(120, 5, 128.5, 25), Box(20, 5, 28.5, 25))
    assert answer.mentioned == boxes
    assert answer.region == BoxSet(boxes)
    assert (reason.info["stage"], reason.info["label"], reason.references) == ("qa-r", 1, ("2",))
    assert reason.info["answer"] == "It is [0]'s dog."
    assert reason.info["choices"][0] == "[0], [1] and [2] smile."
    assert reason.mentioned == (*boxes[:2], Box(0, 5, 8.5, 25))
    assert data.image(answer.image_id).size == (160, 40)


def test_outlines_become_masks(tmp_path):
    data = write(tmp_path, [record()], regions="mask")
    answer = data.samples("vcr", "val")[0]
    assert isinstance(answer.region, Mask)
    expected = np.zeros((40, 160), dtype=bool)
    for one in (1, 12, 2):
        expected[5:25, 10 * one : 10 * one + 8] = True
    np.testing.assert_array_equal(answer.region.bitmap, expected)
    each = [one.bitmap for one in answer.mentioned]
    assert [np.flatnonzero(bitmap.any(0))[0] for bitmap in each] == [10, 120, 20]
    np.testing.assert_array_equal(np.logical_or.reduce(each), expected)


def test_the_metric_takes_the_samples(tmp_path):
    data = write(tmp_path, [record(), record(annot_id="val-1", answer_label=0)])
    metric = Metric(MetricConfig())
    metric.update(list(data.samples("vcr", "val")), ["4", "2. because", "1", "4"])
    score = metric.compute()
    assert {part: one.value for part, one in score.parts.items()} == {"q-a": 1, "qa-r": 0.5, "q-ar": 0.5, "parsed": 1}


def test_a_question_about_nothing_is_about_the_whole_picture(tmp_path):
    plain = [["Yes", "."], ["No", "."], ["Maybe", "."], ["Why", "not", "?"]]
    data = write(tmp_path, [record(question=["Is", "it", "day", "?"], answer_choices=plain, rationale_choices=plain)])
    for sample in data.samples("vcr", "val"):
        assert (sample.region, sample.mentioned, sample.info["objects"]) == (WholeImage(), (), [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param(
            {"question": ["Why", [13]]}, "a sentence speaks of object 13, and there are 13, counted from 0", id="beyond"
        ),
        pytest.param(
            {"question": [[-1]]}, "a sentence speaks of object -1, and there are 13, counted from 0", id="below"
        ),
        pytest.param({"question": [["1"]]}, "a sentence speaks of object '1', which is no whole number", id="text"),
        pytest.param(
            {"question": ["Why", {}]}, "a sentence holds {}, which is neither a word nor a list of objects", id="token"
        ),
        pytest.param(
            {"question": "Why?"}, "a sentence is 'Why?', and should be a list of words and of lists of", id="no-list"
        ),
        pytest.param(
            {"answer_choices": [["a"]] * 3}, "its 'answer_choices' has 3 entries, and should have 4", id="three"
        ),
        pytest.param(
            {"rationale_label": 4}, "its 'rationale_label' is 4, and should be a whole number from 0 to 3", id="label"
        ),
        pytest.param({"annot_id": None}, "its 'annot_id' is None, and should be a text", id="id"),
        pytest.param(
            {"img_fn": "/etc/passwd"}, "its 'img_fn' is '/etc/passwd', which is no file inside", id="elsewhere"
        ),
        pytest.param(
            {"metadata_fn": "a/../../b.json"}, "its 'metadata_fn' is 'a/../../b.json', which is no file", id="up"
        ),
    ],
)
def test_a_broken_question_is_left_out_whole(tmp_path, changes, reason):
    data = write(tmp_path, [record(annot_id="val-9"), record(**changes)])
    assert [sample.id for sample in data.samples("vcr", "val")] == ["val-9/q-a", "val-9/qa-r"]
    (fault,) = data.faults("vcr", "val")
    assert fault.startswith(f"{tmp_path / 'val.jsonl'}:2: {reason}")


@pytest.mark.parametrize(
    ("held", "options", "reason"),
    [
        pytest.param({"boxes": [[0, 0, 5, 5, 1]]}, {}, "its metadata has 1 boxes for 13 objects: lsmdc", id="boxes"),
        pytest.param({"segms": []}, {"regions": "mask"}, "its metadata has 0 segms for 13 objects: lsmdc", id="segms"),
        pytest.param(
            {"boxes": [[1, 2]] * 13}, {}, "the box of object 1 is [1, 2], and should be [x1", id="two-numbers"
        ),
        pytest.param({"boxes": [[9, 9, 9, 9, 1]] * 13}, {}, "box 9,9,9,9 has no area", id="no-area"),
        pytest.param({"segms": [[]] * 13}, {"regions": "mask"}, "object 1 has no outline", id="no-outline"),
        pytest.param({"segms": [[[1, 2]]] * 13}, {"regions": "mask"}, "the outline of object 1 is", id="flat"),
        pytest.param({"width": 10**30}, {"regions": "mask"}, "its 'width' is 1000", id="huge"),
    ],
)
def test_broken_metadata(tmp_path, held, options, reason):
    data = write(tmp_path, [record()], metadata(**held), **options)
    with pytest.raises(DataError, match="no record of vcr@vcr/val can be used: 1 are left out") as caught:
        data.samples("vcr", "val")
    assert caught.value.hints[0].startswith(f"{tmp_path / 'val.jsonl'}:1: {reason}")


def test_metadata_that_comes_later(tmp_path):
    data = write(tmp_path, [record(annot_id="val-9"), record(metadata_fn="other.json")])
    assert len(data.samples("vcr", "val")) == 2
    place = tmp_path / "vcr1images" / "other.json"
    assert data.faults("vcr", "val") == [
        f"{tmp_path / 'val.jsonl'}:2: its metadata 'other.json' is not there: looked for {place}"
    ]
    place.write_text(json.dumps(metadata()))
    assert len(Vcr(VcrConfig(root=str(tmp_path))).samples("vcr", "val")) == 4


def test_metadata_that_is_no_json(tmp_path):
    data = write(tmp_path, [record(annot_id="val-9"), record(metadata_fn="other.json")])
    (tmp_path / "other.json").write_text('{"boxes": [')
    assert len(data.samples("vcr", "val")) == 2
    assert data.faults("vcr", "val") == [
        f"{tmp_path / 'val.jsonl'}:2: {tmp_path / 'other.json'}:1:12: not JSON: Expecting value"
    ]


def test_a_line_that_is_cut_off(tmp_path):
    data = write(tmp_path, [record()])
    with (tmp_path / "val.jsonl").open("a") as stream:
        stream.write('{"movie": "x", "obj')
    assert len(data.samples("vcr", "val")) == 2
    assert data.faults("vcr", "val")[0].startswith(f"{tmp_path / 'val.jsonl'}:2: no JSON, at column 16")


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        pytest.param(["He", "'s", "(", "not", ")", [3], "."], "He's (not) [0].", id="marks"),
        pytest.param([[3], ",", [7], "and", [5, 3, 7], "!"], "[0], [1] and [2], [0] and [1]!", id="several"),
        pytest.param(["3", "apples", "for", "$", "5"], "3 apples for $5", id="numbers"),
        pytest.param(["They", "ca", "n't"], "They can't", id="cut-off"),
    ],
)
def test_sentences(tokens, text):
    objects = mentioned_in([tokens])
    assert written(tokens, {number: place for place, number in enumerate(objects)}) == text
