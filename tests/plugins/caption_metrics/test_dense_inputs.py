"""What dense captioning refuses, and the files that it reads."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError
from regionkit.core.regions import Box, WholeImage
from regionkit.plugins.caption_metrics.regions.dense import DenseMap
from regionkit.plugins.caption_metrics.regions.dense_configs import DenseMapConfig
from regionkit.plugins.caption_metrics.regions.dense_files import dense_images, dense_samples, read_dense

BOXES_ALONE = DenseMapConfig(similarity="none")
TRUTH = ({"box": [0, 0, 10, 10], "caption": "a cat"}, (50, 50, 90, 90, ["a car", "a red car"]))


def sample(name, box=(0, 0, 10, 10), truth=TRUTH, **info):
    region = WholeImage() if box is None else Box(*box)
    return Sample(name, "p", region, ("a cat",), {"ground_truth": truth, **info})


@pytest.mark.parametrize(
    ("samples", "captions", "sentence"),
    [
        pytest.param([Sample("7", "p", Box(0, 0, 1, 1), ())], [""], "sample '7' has no info", id="no-truth"),
        pytest.param([sample("7", None)], [""], "sample '7' is a region of kind image, no box", id="no-box"),
        pytest.param([sample("7")], [None], "caption of sample '7' is None, and must be text", id="no-text"),
        pytest.param([sample("7", confidence=np.nan)], [""], "sample '7' has the confidence nan", id="nan"),
        pytest.param([sample("7", confidence="high")], [""], "sample '7' has the confidence 'high'", id="a-word"),
        pytest.param(
            [sample("1", confidence=1), sample("7")],
            ["", ""],
            "the confidence of sample '7' is uniform, of samples before it info",
            id="some-without",
        ),
        pytest.param(
            [sample("1"), sample("7", truth=TRUTH[:1])],
            ["", ""],
            "sample '7' and others of image 'p' have different ground truths",
            id="two-truths",
        ),
        pytest.param([sample("7", truth="x")], [""], "image 'p': its ground truth is no list", id="truth-is-text"),
        pytest.param(
            [sample("7", truth=[(0, 0, 1, 1, [])])],
            [""],
            "image 'p': ground-truth box 0 has no caption",
            id="no-caption",
        ),
        pytest.param(
            [sample("7", truth=[(40, 50, 20, 10, "a")])],
            [""],
            r"image 'p': ground-truth box 0 is 40,50,20,10, which has no area as x1,y1,x2,y2(.|\n)*format xywh",
            id="xywh",
        ),
        pytest.param(
            [sample("7", truth=[(0, 0, np.inf, 1, "a")])],
            [""],
            "box 0 is 0,0,inf,1, which is not finite",
            id="infinite",
        ),
        pytest.param(
            [sample("7", (0, 0, 10, 42), image_size=(100, 40))],
            [""],
            "image 'p': detection 0 is 0,0,10,42, which leaves the image of 100 x 40 pixels",
            id="beyond",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused_by_name(samples, captions, sentence):
    def judge():
        metric = DenseMap(BOXES_ALONE)
        metric.update(samples, captions)
        metric.compute()

    with pytest.raises(DataError, match=f"dense-map: .*{sentence}"):
        judge()


PREDICTED = {"1": [{"box": [0, 0, 10, 10], "caption": "a cat", "score": 0.5}], "2": []}
TRUE = {
    "1": [{"box": [0, 0, 10, 10], "caption": "a cat"}],
    "2": [{"box": [0, 0, 5, 5], "caption": ["a dog", "a puppy"]}],
    "3": [],
}


def test_files_of_both_forms_are_read_alike(tmp_path):
    coco = {
        "images": [{"id": at, "width": 20, "height": 20} for at in (1, 2, 3)],
        "annotations": [
            {"image_id": 1, "bbox": [0, 0, 10, 10], "caption": "a cat"},
            {"image_id": 2, "bbox": [0, 0, 5, 5], "caption": ["a dog", "a puppy"]},
        ],
    }
    results = [{"image_id": 1, "bbox": [2, 3, 8, 7], "caption": "a cat", "score": 0.5}]
    (tmp_path / "p.json").write_text(json.dumps(results))
    (tmp_path / "r.json.gz").write_bytes(gzip.compress(json.dumps(coco).encode()))
    first, second, third = read_dense(tmp_path / "p.json", tmp_path / "r.json.gz")
    assert (first.id, first.size, first.boxes.tolist()) == ("1", (20, 20), [[2, 3, 10, 10]])
    assert (second.captions, second.truth_captions) == ((), (("a dog", "a puppy"),))
    assert len(third.truth_boxes) == 0
    plainly = dense_images(PREDICTED, TRUE)
    assert [one.truth_boxes.tolist() for one in plainly] == [one.truth_boxes.tolist() for one in (first, second, third)]
    (corners,) = dense_images(results, coco, "xyxy")[0].boxes.tolist()
    assert corners == [2, 3, 8, 7]


def test_samples_of_files_say_what_the_files_say():
    metric = DenseMap(DenseMapConfig(similarity="none", count_empty=True))
    metric.update(*dense_samples(dense_images(PREDICTED, TRUE)))
    score = metric.compute()
    assert score.value == pytest.approx(0.51)
    assert "|confidence=info|ties=below 1%|order=stable|truths=2|n=3" in score.signature
    bare = {"1": [{key: value for key, value in PREDICTED["1"][0].items() if key != "score"}]}
    metric = DenseMap(BOXES_ALONE)
    metric.update(*dense_samples(dense_images(bare, TRUE)))
    assert "|confidence=uniform|" in metric.compute().signature


@pytest.mark.parametrize(
    ("predictions", "references", "sentence"),
    [
        pytest.param({"9": []}, TRUE, "predictions: 1 of 1 images are none of references: '9'", id="stranger"),
        pytest.param({"1": {}}, TRUE, "predictions: image '1': no list of boxes with captions", id="no-list"),
        pytest.param(3, TRUE, "predictions: this is no table of images", id="no-table"),
        pytest.param([{"box": [0, 0, 1, 1]}], TRUE, "predictions: a record has no image_id", id="no-image-id"),
        pytest.param({"1": [{}]}, TRUE, "image '1': detection 0 has neither box nor bbox", id="no-box"),
        pytest.param({"1": [{"box": [0, 1, 2]}]}, TRUE, "detection 0: box is no list of four numbers", id="three"),
        pytest.param({"1": [{"box": [0, 0, 1, 10**400]}]}, TRUE, "box is no list of four numbers", id="huge"),
        pytest.param({"1": [{"box": [0, 0, 1, 1]}]}, TRUE, "image '1': detection 0 has no caption", id="no-caption"),
        pytest.param(
            {"1": [{"box": [0, 0, 1, 1], "caption": ["a", "b"]}]}, TRUE, "detection 0 has 2 captions", id="two-captions"
        ),
        pytest.param(
            {"1": [{"box": [0, 0, 1, 1], "caption": "a"}, PREDICTED["1"][0]]},
            TRUE,
            "predictions: 1 of 2 detections have no score, such as one of image '1'",
            id="some-scores",
        ),
        pytest.param(
            {"1": [{"box": [0, 0, 1, 1], "caption": "a", "score": None}]},
            TRUE,
            "image '1': detection 0 has the confidence None",
            id="no-number",
        ),
        pytest.param(
            {}, {"1": [{"box": [9, 9, 5, 5], "caption": "a"}]}, "image '1': ground-truth box 0 is 9,9,5,5", id="xywh"
        ),
        pytest.param(
            {},
            {"images": [{"id": 1}], "annotations": [{"image_id": 2}]},
            "references: an annotation is of image '2', which is none of its images",
            id="no-such-image",
        ),
    ],
)
def test_mistakes_of_files_are_named_by_image(predictions, references, sentence):
    with pytest.raises(DataError, match=sentence):
        dense_images(predictions, references)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        pytest.param("a.json", None, "a.json: cannot be read: No such file", id="missing"),
        pytest.param("a.json", b"{", "a.json: this is no JSON", id="no-json"),
        pytest.param("a.json.gz", b"{}", "a.json.gz: cannot be read", id="no-gzip"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        read_dense(tmp_path / name, tmp_path / name)


def test_reading_files_needs_no_torch():
    module = "regionkit.plugins.caption_metrics.regions.dense_files"
    work = f"from {module} import dense_images; dense_images({PREDICTED}, {TRUE})"
    code = f"import sys; {work}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
