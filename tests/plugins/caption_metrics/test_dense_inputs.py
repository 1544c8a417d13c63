"""What dense captioning refuses."""

from __future__ import annotations

import numpy as np
import pytest

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError
from regionkit.core.regions import Box, WholeImage
from regionkit.plugins.caption_metrics.regions.dense import DenseMap
from regionkit.plugins.caption_metrics.regions.dense_configs import DenseMapConfig

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
            r"image 'p': ground-truth box 0 is 40,50,20,10, which has no area(.|\n)*the key bbox and not box",
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


def test_a_table_that_cannot_be_read_is_named(tmp_path):
    for content, sentence in ((None, "cannot be read: No such file"), (b"{", "this is no JSON"), (b"3", "a list of")):
        table = tmp_path / "table.json"
        if content is not None:
            table.write_bytes(content)
        with pytest.raises(DataError, match=f"table.json: .*{sentence}"):
            DenseMap(DenseMapConfig(similarity="table", table=str(table)))
