from __future__ import annotations

import dataclasses
import re

import pytest

from regionkit.core.contracts import BuildContext, Sample
from regionkit.core.errors import DataError
from regionkit.core.regions import WholeImage
from regionkit.core.testing import check_metric, example_samples
from regionkit.plugins.caption_metrics.overlap.tokenisers import tokens, words
from regionkit.plugins.caption_metrics.words.configs import TermF1Config
from regionkit.plugins.caption_metrics.words.terms import AttributeF1, NounF1

LEXICON = {
    "car": "car",
    "cars": "car",
    "dog": "dog",
    "dogs": "dog",
    "hot dog": "hot dog",
    "hot dogs": "hot dog",
    "sheep": "sheep",
}


def sample(*references: str, **info: object) -> Sample:
    return Sample("s1", "i1", WholeImage(), references, info)


def score(one: Sample, caption: str) -> float:
    metric = NounF1(TermF1Config(), LEXICON)
    metric.update([one], [caption])
    return metric.compute().value


@pytest.mark.parametrize(
    ("truth", "caption", "expected"),
    [
        pytest.param(("car",), "a small car", 1.0, id="right"),
        pytest.param(("car",), "Two cars.", 1.0, id="plural"),
        pytest.param(("sheep", "car"), "a sheep on grass", 2 / 3, id="half-found"),
        pytest.param(("car",), "a car and a dog", 2 / 3, id="one-too-many"),
        pytest.param(("car",), "a car, a car and a car", 1.0, id="a-set-not-a-count"),
        pytest.param(("car",), "a tree", 0.0, id="nothing-found"),
        pytest.param((), "a tree", 1.0, id="both-empty"),
        pytest.param((), "a car", 0.0, id="truth-empty"),
        pytest.param(("hot dog",), "two hot dogs", 1.0, id="longest-form-counts"),
        pytest.param(("dog",), "the dog's tail", 1.0, id="clitic"),
    ],
)
def test_captions_are_held_against_what_the_data_set_states(truth, caption, expected):
    assert score(sample("a reference with a dog", nouns=truth), caption) == pytest.approx(expected)


def test_without_stated_nouns_the_best_reference_counts():
    one = sample("a car and a dog", "a dog")
    assert score(one, "the dog") == 1.0
    assert score(one, "the car") == pytest.approx(2 / 3)


def test_a_sample_with_neither_nouns_nor_references_is_named():
    with pytest.raises(DataError, match=r"noun-f1: sample 's1' has neither info\['nouns'\] nor a reference caption"):
        score(sample(), "a car")


def test_a_data_set_brings_the_lexicon():
    class Data:
        def lexicon(self, kind):
            return {"red": "red"} if kind == "attributes" else LEXICON

    metric = AttributeF1.build(TermF1Config(), BuildContext(parts={"dataset": Data()}))
    metric.update([sample(attributes=("red",))], ["a red car"])
    result = metric.compute()
    assert result.value == 1.0
    assert re.fullmatch(
        r"attribute-f1\|truth=stated or best reference\|stated=1\|tokeniser=ptb\|lexicon=[0-9a-f]{12}\|n=1",
        result.signature,
    )
    with pytest.raises(DataError, match="noun-f1 takes its lexicon from a data set, and none was given"):
        NounF1.build(TermF1Config(), BuildContext())


@pytest.mark.parametrize("metric", [NounF1, AttributeF1])
@pytest.mark.parametrize("stated", [True, False], ids=["stated", "from-references"])
def test_conforms(metric, stated):
    samples = example_samples()
    found = {term: term for one in samples for term in one.info[metric.kind]}
    if not stated:
        samples = [dataclasses.replace(one, info={}) for one in samples]
    check_metric(lambda: metric(TermF1Config(), found), samples)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("A dog, a cat.", ["a", "dog", "a", "cat"], id="punctuation"),
        pytest.param("it's o'clock - t-shirt", ["it's", "o'clock", "t-shirt"], id="inside-words"),
        pytest.param("really?! 7.5 %", ["really", "?!", "7.5", "%"], id="what-the-official-list-keeps"),
        pytest.param("  ", [], id="empty"),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


def test_tokens_are_taken_as_they_are():
    assert tokens("a  -lrb- Dog -rrb- .") == ["a", "-lrb-", "Dog", "-rrb-", "."]
