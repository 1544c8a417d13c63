"""Captions that say nothing of their picture."""

from __future__ import annotations

import dataclasses

import pytest

from regionkit.core.contracts import BuildContext, Dataset
from regionkit.core.errors import DataError
from regionkit.core.testing import check_metric, example_samples
from regionkit.plugins.caption_metrics.words.configs import GenericRateConfig
from regionkit.plugins.caption_metrics.words.generic import GenericRate

LEXICON = {"dog": "dog", "dogs": "dog", "cat": "cat"}


def judged(config, captions, images=None):
    metric = GenericRate(config, LEXICON)
    samples = [
        dataclasses.replace(example_samples(1)[0], id=str(at), image_id=str(images[at] if images else at))
        for at in range(len(captions))
    ]
    metric.update(samples, captions)
    return metric.compute()


def test_each_rule_has_its_part_and_the_metric_is_any_of_them():
    config = GenericRateConfig(phrases=("A dog photo.",), repeated=0.3)
    captions = ["a photo from 2008", "a DOG photo", "two dogs", "two dogs !", "two dogs", "a cat", "dog", ""]
    score = judged(config, captions)
    assert list(score.parts) == ["", "nounless", "phrase", "repeated"]
    assert score.parts["nounless"].per_sample == (1, 0, 0, 0, 0, 0, 0, 1)
    assert score.parts["phrase"].per_sample == (0, 1, 0, 0, 0, 0, 0, 0)
    assert score.parts["repeated"].per_sample == (0, 0, 1, 1, 1, 0, 0, 0)
    assert score.per_sample == (1, 1, 1, 1, 1, 0, 0, 1)
    assert score.value == 6 / 8
    assert "|phrases=a dog photo|repeated=0.3|tokeniser=ptb|n=8" in score.signature
    assert score.parts["repeated"].signature == "generic-rate-repeated|repeated=0.3|tokeniser=ptb|n=8"


@pytest.mark.parametrize(
    ("captions", "images", "expected"),
    [
        pytest.param(["a dog"] * 2 + ["a cat"], None, 0.0, id="two-pictures-are-chance"),
        pytest.param(["a dog"] * 3 + ["a cat"], None, 0.75, id="three-of-four"),
        pytest.param(["a dog"] * 3 + ["a cat"], [0, 0, 1, 2], 0.0, id="several-regions-of-one-picture"),
        pytest.param(["a dog"] * 3 + [f"cat {at}" for at in range(3)], None, 0.0, id="no-more-than-the-share"),
    ],
)
def test_repeated_is_said_of_more_than_a_share_of_different_pictures(captions, images, expected):
    assert judged(GenericRateConfig(nouns=False, repeated=0.5), captions, images).value == expected


def test_a_caption_without_a_word_is_generic_by_any_rule():
    score = judged(GenericRateConfig(nouns=False, phrases=("nothing",), repeated=0.0), ["", " . ", "something"])
    assert score.per_sample == (1, 1, 0)
    assert list(score.parts) == ["", "phrase"]


def test_a_data_set_brings_the_nouns():
    class Data:
        def lexicon(self, kind):
            return {"nouns": LEXICON}[kind]

    metric = GenericRate.build(GenericRateConfig(), BuildContext(parts={"dataset": Data()}))
    metric.update(example_samples(2), ["a dog", "a boat"])
    assert metric.compute().per_sample == (0, 1)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        pytest.param({}, "takes its nouns from the lexicon of a data set, and none was given", id="no-data-set"),
        pytest.param({"dataset": "silent"}, "generic-rate: data set 'Silent' has no lexicon of nouns", id="no-lexicon"),
    ],
)
def test_without_nouns_it_says_what_works(parts, message):
    class Silent(Dataset):
        def samples(self, task, split, seed=0, limit=None):
            return ()

        def image(self, image_id):
            raise NotImplementedError

        def fingerprint(self, task, split, seed=0, limit=None):
            return ""

    context = BuildContext(parts={kind: Silent() for kind in parts})
    with pytest.raises(DataError, match=message) as caught:
        GenericRate.build(GenericRateConfig(), context)
    assert "nouns: false" in str(caught.value)
    GenericRate.build(GenericRateConfig(nouns=False), context)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"repeated": 1.5}, "repeated is 1.5: it is a share of all pictures", id="share"),
        pytest.param({"nouns": False, "repeated": 0.0}, "nothing makes a caption generic", id="no-rule"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        GenericRateConfig(**options)


@pytest.mark.parametrize("nouns", [True, False])
def test_conforms(nouns):
    check_metric(lambda: GenericRate(GenericRateConfig(nouns=nouns, phrases=("zzz",)), LEXICON))
