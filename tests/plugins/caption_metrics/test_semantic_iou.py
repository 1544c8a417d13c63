"""Words that a phrase shares with a category, against the cases of the releases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError
from regionkit.core.regions import WholeImage
from regionkit.core.testing import check_metric
from regionkit.plugins.caption_metrics.words.cleaning import CLEANINGS
from regionkit.plugins.caption_metrics.words.configs import SemanticIouConfig
from regionkit.plugins.caption_metrics.words.semantic_iou import SemanticIou, semantic_iou

GOLDEN = Path(__file__).parents[4] / "shared/golden/dam/metrics/semantic_iou_cases.json"


def sample(*references: str) -> Sample:
    return Sample("s1", "i1", WholeImage(), references)


@pytest.mark.skipif(not GOLDEN.exists(), reason="golden vectors of the release are not here: ../shared/golden")
def test_osprey_is_that_of_the_release_step_by_step():
    cases = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert len(cases) == 6
    clean = CLEANINGS["osprey"]
    for case in cases:
        assert clean.prediction(case["pred_raw"]) == case["pred"]
        assert clean.category(case["gt_raw"]) == case["gt"]
        assert semantic_iou(case["pred_raw"], case["gt_raw"], "osprey") == case["semantic_iou"]


@pytest.mark.parametrize(
    ("cleaning", "prediction", "category", "cleaned", "expected"),
    [
        pytest.param("osprey", " Mug:handle. ", "mug:handle", ("handle ", "mug handle"), 1 / 2, id="o-after-colon"),
        pytest.param("osprey", "a:b:c", "b", ("b", "b"), 1.0, id="o-only-up-to-the-second-colon"),
        pytest.param("osprey", "bow", "bow_(ribbon)", ("bow", "bow (ribbon)"), 1 / 2, id="o-brackets-stay"),
        pytest.param("osprey", "a_b", "a_b", ("a_b", "a b"), 0.0, id="o-underscore-of-the-phrase-stays"),
        pytest.param("osprey", "Car", "car", ("Car", "car"), 1.0, id="o-case-goes-when-compared"),
        pytest.param("videorefer", " Mug:handle. ", "mug:handle", ("mug handle", "mug handle"), 1.0, id="v-colon"),
        pytest.param("videorefer", "bow", "bow_(Ribbon)", ("bow", "bow  ribbon"), 1 / 2, id="v-brackets-go"),
        pytest.param("videorefer", "bow ribbon", "bow_(ribbon)", ("bow ribbon", "bow  ribbon"), 1.0, id="v-equal"),
        pytest.param("videorefer", "bow; tie", "bow;tie", ("bow; tie", "bow;tie"), 0.0, id="v-other-marks-stay"),
    ],
)
def test_cleaning(cleaning, prediction, category, cleaned, expected):
    clean = CLEANINGS[cleaning]
    assert (clean.prediction(prediction), clean.category(category)) == cleaned
    assert semantic_iou(prediction, category, cleaning) == expected


@pytest.mark.parametrize("cleaning", list(CLEANINGS))
@pytest.mark.parametrize(
    ("prediction", "category"),
    [
        pytest.param("", "", id="nothing-at-all"),
        pytest.param(" .,: ", "_:", id="nothing-left"),
        pytest.param("", "car", id="no-phrase"),
        pytest.param("car", ":", id="no-category"),
    ],
)
def test_where_no_word_is_left_the_value_is_zero(cleaning, prediction, category):
    assert semantic_iou(prediction, category, cleaning) == 0.0


@given(st.text(alphabet="ab_:,.() A", max_size=12), st.text(alphabet="ab_:,.() A", max_size=12))
@settings(deadline=None, max_examples=60)
def test_it_is_an_iou(one, other):
    for cleaning in CLEANINGS:
        assert 0 <= semantic_iou(one, other, cleaning) <= 1
    assert semantic_iou(one, other, "videorefer") == semantic_iou(other, one, "videorefer")
    assert semantic_iou(one, one, "videorefer") == float(any(letter in "abA" for letter in one))


def test_the_best_reference_counts_and_the_cleaning_is_signed():
    metric = SemanticIou(SemanticIouConfig("osprey"))
    metric.update([sample("cat", "street_sign"), sample("dog")], ["Street sign", "a dog"])
    score = metric.compute()
    assert score.per_sample == (1.0, 0.5)
    assert score.value == 0.75
    assert score.signature == "semantic-iou|cleaning=osprey|references=best|empty=0|n=2"


def test_a_sample_without_a_category_is_named():
    with pytest.raises(DataError, match="semantic-iou: sample 's1' has no reference: its category, as a phrase"):
        SemanticIou(SemanticIouConfig()).update([sample()], ["a dog"])


@pytest.mark.parametrize("cleaning", list(CLEANINGS))
def test_conforms(cleaning):
    check_metric(lambda: SemanticIou(SemanticIouConfig(cleaning)))
