"""Distinct n-grams and lengths, counted by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regionkit.core.testing import check_metric, example_samples
from regionkit.plugins.caption_metrics.words.configs import DistinctConfig, LengthConfig
from regionkit.plugins.caption_metrics.words.diversity import Distinct, Length


def judged(metric, *captions):
    metric.update(example_samples(len(captions)), captions)
    return metric.compute()


def test_distinct_n_grams_of_all_captions_together():
    score = judged(Distinct(DistinctConfig(n_max=3)), "a red dog", "A red cat.", "dog", "")
    # a red dog cat / 7 words; (a red) (red dog) (red cat) / 4; two of two
    assert {part: one.value for part, one in score.parts.items()} == {"1": 4 / 7, "2": 3 / 4, "3": 1.0}
    assert score.value == 1.0
    assert score.per_sample is None
    assert score.parts["2"].signature == "distinct-n-2|per=ngrams|tokeniser=ptb|n=4"


def test_divided_by_words_as_in_the_paper():
    score = judged(Distinct(DistinctConfig(per="words")), "a red dog", "A red cat.", "dog")
    assert {part: one.value for part, one in score.parts.items()} == {"1": 4 / 7, "2": 3 / 7}


def test_captions_too_short_for_an_n_gram_give_zero():
    assert judged(Distinct(DistinctConfig()), "dog", "cat").parts["2"].value == 0.0


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=5).map(" ".join), min_size=1, max_size=6))
@settings(deadline=None, max_examples=40)
def test_saying_everything_twice_halves_it(captions):
    config = DistinctConfig(tokeniser="tokens")
    once, twice = judged(Distinct(config), *captions), judged(Distinct(config), *captions, *captions)
    for part in once.parts:
        assert 0 <= once.parts[part].value <= 1
        assert twice.parts[part].value == pytest.approx(once.parts[part].value / 2)


@pytest.mark.parametrize("longest", [0, -1, 10])
def test_n_grams_of_an_impossible_length_are_refused(longest):
    with pytest.raises(ValueError, match=f"n_max is {longest}: it is a number of words from 1 to 9"):
        DistinctConfig(n_max=longest)


def test_length_is_the_mean_number_of_words():
    score = judged(Length(LengthConfig()), "a red dog .", "", "Dog!")
    assert score.per_sample == (3.0, 0.0, 1.0)
    assert score.value == 4 / 3
    assert score.signature == "length|unit=words|tokeniser=ptb|n=3"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Distinct(DistinctConfig(n_max=4)), id="distinct-n"),
        pytest.param(lambda: Distinct(DistinctConfig(per="words")), id="distinct-n-per-word"),
        pytest.param(lambda: Length(LengthConfig()), id="length"),
    ],
)
def test_conforms(make):
    check_metric(make)
