"""VQA accuracy, with answers worked out by hand from the official rules."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError
from regionkit.core.regions import WholeImage
from regionkit.core.testing import check_metric, example_samples
from regionkit.plugins.caption_metrics.regions.answer_words import CONTRACTIONS, normalised, strip_punctuation
from regionkit.plugins.caption_metrics.regions.answers import VqaAccuracy, leave_one_out
from regionkit.plugins.caption_metrics.regions.configs import VqaAccuracyConfig


def score(caption: str, *answers: object, **options: str) -> float:
    metric = VqaAccuracy(VqaAccuracyConfig(**options))
    metric.update([Sample("s1", "i1", WholeImage(), (), {"answers": list(answers)})], [caption])
    return metric.compute().value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("red,white", "red white", id="a-mark-between-letters-is-a-space"),
        pytest.param("red, white", "red white", id="beside-a-space-it-goes"),
        pytest.param("red, white,blue", "red whiteblue", id="beside-a-space-anywhere-it-goes-everywhere"),
        pytest.param("1,000", "1000", id="comma-in-a-number"),
        pytest.param("1,000 t-shirts", "1000 tshirts", id="with-such-a-number-every-mark-goes"),
        pytest.param("t-shirt", "t shirt", id="hyphen"),
        pytest.param("yes.", "yes", id="period"),
        pytest.param("3.5", "3.5", id="decimal-point"),
        pytest.param("a.5", "a.5", id="period-before-a-digit"),
        pytest.param("5.a", "5a", id="period-after-a-digit"),
        pytest.param("4:30 p.m.", "4:30 pm", id="colon-stays"),
        pytest.param("it's", "it's", id="apostrophe-stays"),
        pytest.param("what?!", "what  ", id="each-mark-a-space"),
        pytest.param(40 * ".", 8 * ".", id="the-release-removes-32-periods"),
    ],
)
def test_punctuation(text, expected):
    assert strip_punctuation(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("The Dog", "dog", id="article-and-case"),
        pytest.param("an apple a day", "apple day", id="articles"),
        pytest.param("two dogs", "2 dogs", id="number"),
        pytest.param("none", "0", id="none"),
        pytest.param("eleven", "eleven", id="beyond-ten"),
        pytest.param("dont know", "don't know", id="contraction"),
        pytest.param("couldntve", "couldntve", id="without-both-apostrophes-it-is-not-listed"),
        pytest.param("couldn'tve", "couldn't've", id="without-one-of-two"),
        pytest.param("somebody'd", "somebodyd", id="the-wrong-way-round-as-released"),
        pytest.param("two,three", "2 3", id="both-steps"),
        pytest.param("a", "", id="nothing-left"),
    ],
)
def test_words(text, expected):
    assert normalised(text) == expected


def test_contractions_are_spelt_without_one_apostrophe():
    # 113 spellings by the rule and the one entry of the release that breaks it; its entries with capitals never match.
    assert len(CONTRACTIONS) == 114
    broken = {key for key, value in CONTRACTIONS.items() if len(key) != len(value) - 1}
    assert broken == {"somebody'd"}
    assert all(key.replace("'", "") == value.replace("'", "") for key, value in CONTRACTIONS.items())


@pytest.mark.parametrize(
    ("matches", "expected"),
    [pytest.param(k, v, id=str(k)) for k, v in enumerate([0, 0.3, 0.6, 0.9, 1, 1, 1, 1, 1, 1, 1])],
)
def test_of_ten_people(matches, expected):
    answers = ["cat"] * matches + [f"other {at}" for at in range(10 - matches)]
    assert score("cat", *answers) == pytest.approx(expected)


@given(st.lists(st.sampled_from("xyz"), min_size=2, max_size=10), st.sampled_from("xyz"))
@settings(deadline=None, max_examples=60)
def test_it_is_the_mean_over_all_subsets_of_all_people_but_one(answers, prediction):
    subsets = itertools.combinations(answers, len(answers) - 1)
    accuracies = [min(1, subset.count(prediction) / 3) for subset in subsets]
    expected = sum(accuracies) / len(accuracies)
    assert leave_one_out(answers.count(prediction), len(answers)) == pytest.approx(expected)
    assert score(prediction, *answers) == pytest.approx(expected)


def test_only_the_punctuation_of_people_is_touched_and_only_where_they_differ():
    assert score("yes", *["yes."] * 10) == 0.0  # alike: left as they are
    assert score("yes", *["yes."] * 9, "no") == 1.0
    assert score("two", *["two"] * 9, "no") == 0.0  # the prediction becomes 2, what people said does not
    assert score("two", *["two"] * 9, "no", normalise="both") == 1.0
    assert score("two", *["two"] * 9, "no", normalise="none") == 1.0
    assert score("Yes,\nyes", *["yes yes"] * 10) == 1.0


def test_entries_of_an_annotation_file_and_references_are_taken_as_well():
    entries = [{"answer": "red", "answer_confidence": "yes", "answer_id": at} for at in range(1, 11)]
    assert score("Red", *entries) == 1.0
    metric = VqaAccuracy(VqaAccuracyConfig())
    metric.update([Sample("s1", "i1", WholeImage(), ("red",) * 3 + ("blue",) * 7)], ["red"])
    assert metric.compute().value == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("caption", "answers", "options", "expected"),
    [
        pytest.param("cat", ["cat", "cat", "dog"], {}, 2 / 3, id="two-of-three"),
        pytest.param("cat", ["cat"] * 5, {}, 1.0, id="no-more-than-one"),
        pytest.param("a cat", ["cat"] * 5, {}, 0.0, id="not-normalised"),
        pytest.param("a cat", ["cat"] * 5, {"normalise": "prediction"}, 1.0, id="normalised"),
    ],
)
def test_a_okvqa(caption, answers, options, expected):
    assert score(caption, *answers, variant="a-okvqa", **options) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("caption", "answer", "options", "expected"),
    [
        pytest.param("The car.", "car", {}, 1.0, id="the-prediction-is-normalised"),
        pytest.param("two", "two", {}, 0.0, id="the-answer-is-not"),
        pytest.param("two", "two", {"normalise": "both"}, 1.0, id="both"),
        pytest.param("car", "bus", {}, 0.0, id="wrong"),
    ],
)
def test_gqa(caption, answer, options, expected):
    assert score(caption, answer, variant="gqa", **options) == expected


@pytest.mark.parametrize(
    ("answers", "message", "hint"),
    [
        pytest.param([], r"neither info\['answers'\] nor a reference", "", id="none"),
        pytest.param(["yes"], "has one answer, and variant vqa leaves one out", "variant: gqa", id="one"),
        pytest.param(["yes", 2], "holds 2 for an answer", "answers are texts", id="a-number"),
        pytest.param(["yes", {}], "holds None for an answer", '{"answer": "yes"}', id="an-entry-without"),
    ],
)
def test_samples_without_usable_answers_are_named(answers, message, hint):
    with pytest.raises(DataError, match=f"vqa-accuracy: sample 's1' .*{message}|sample 's1' has {message}") as caught:
        score("yes", *answers)
    assert hint in str(caught.value)


def test_the_signature_names_the_variant():
    metric = VqaAccuracy(VqaAccuracyConfig("gqa", "both"))
    assert metric.compute().signature == "vqa-accuracy|variant=gqa|normalise=both|n=0"


@pytest.mark.parametrize("variant", ["vqa", "a-okvqa", "gqa"])
def test_conforms(variant):
    samples = [Sample(one.id, one.image_id, one.region, (one.info["nouns"][0],) * 10) for one in example_samples()]
    check_metric(lambda: VqaAccuracy(VqaAccuracyConfig(variant)), samples)
    check_metric(lambda: VqaAccuracy(VqaAccuracyConfig(variant, "both")))
