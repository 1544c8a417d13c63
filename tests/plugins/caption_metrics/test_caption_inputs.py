"""What every metric makes of captions and references that are no text, or hardly any."""

from __future__ import annotations

import math

import numpy as np
import pytest

from regionkit.core.contracts import Metric, Sample
from regionkit.core.errors import DataError
from regionkit.core.regions import Box
from regionkit.core.testing import GridBackbone, SampleData
from regionkit.plugins.caption_metrics.averages import mean_of, ratio_of
from regionkit.plugins.caption_metrics.models.agreement import ImageTextCosine
from regionkit.plugins.caption_metrics.models.configs import ImageTextCosineConfig
from regionkit.plugins.caption_metrics.regions.answers import VqaAccuracy
from regionkit.plugins.caption_metrics.regions.configs import VcrConfig, VqaAccuracyConfig
from regionkit.plugins.caption_metrics.regions.referring import ReferringIou
from regionkit.plugins.caption_metrics.regions.vcr import Vcr
from regionkit.plugins.caption_metrics.words.chair import Chair
from regionkit.plugins.caption_metrics.words.configs import (
    ChairConfig,
    DistinctConfig,
    GenericRateConfig,
    LengthConfig,
    SemanticIouConfig,
    TermF1Config,
)
from regionkit.plugins.caption_metrics.words.diversity import Distinct, Length
from regionkit.plugins.caption_metrics.words.generic import GenericRate
from regionkit.plugins.caption_metrics.words.semantic_iou import SemanticIou
from regionkit.plugins.caption_metrics.words.terms import AttributeF1, NounF1

param = pytest.param
LEXICON = {"dog": "dog", "cat": "cat"}
METRICS = {
    "noun-f1": lambda: NounF1(TermF1Config(), LEXICON),
    "attribute-f1": lambda: AttributeF1(TermF1Config(), LEXICON),
    "semantic-iou": lambda: SemanticIou(SemanticIouConfig()),
    "chair": lambda: Chair(ChairConfig(), LEXICON),
    "distinct-n": lambda: Distinct(DistinctConfig()),
    "length": lambda: Length(LengthConfig()),
    "generic-rate": lambda: GenericRate(GenericRateConfig(), LEXICON),
    "vqa-accuracy": lambda: VqaAccuracy(VqaAccuracyConfig()),
    "vcr": lambda: Vcr(VcrConfig(stages=("q-a",))),
    "referring-iou": ReferringIou,
    "image-text-cosine": lambda: ImageTextCosine(ImageTextCosineConfig("grid"), GridBackbone(), SampleData()),
}
READ_REFERENCES = ("noun-f1", "attribute-f1", "semantic-iou", "chair")


def sample(name: str, *references: object) -> Sample:
    info = {"stage": "q-a", "question": name, "label": 0}
    return Sample(name, "image-0", Box(0, 0, 1, 1), references or ("a dog", "a cat"), info, (Box(0, 0, 1, 1),))


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(
    ("caption", "said"),
    [param(None, "None", id="none"), param(7, r"7 \(int\)", id="number"), param(b"a", r"b'a' \(bytes\)", id="bytes")],
)
def test_a_caption_that_is_no_text_is_refused_by_name_and_leaves_nothing_behind(name, caption, said):
    metric: Metric = METRICS[name]()
    with pytest.raises(DataError, match=f"^{name}: the caption of sample 'second' is {said}, and must be text"):
        metric.update([sample("first"), sample("second")], ["0", caption])
    assert metric.compute().value == 0


@pytest.mark.parametrize("name", READ_REFERENCES)
def test_a_reference_that_is_no_text_is_refused_by_name(name):
    with pytest.raises(DataError, match=f"^{name}: the reference of sample 'x' is None, and must be text"):
        METRICS[name]().update([sample("x", "a dog", None)], ["a dog"])


@pytest.mark.parametrize("name", [name for name in METRICS if name != "referring-iou"])  # it reads positions
def test_strange_captions_score_and_change_no_neighbour(name):
    faults = ["", "a\rb\x0b\x0c\u2028 cat", "a ||| b", "\ud83d dog", "😀🐈", "w " * 10_000, "9" * 5000]
    faulty, plain = METRICS[name](), METRICS[name]()
    samples = [sample(str(at)) for at in range(2 * len(faults))]
    faulty.update(samples, [text for fault in faults for text in ("a dog 1", fault)])
    plain.update(samples, ["a dog 1", "a cat 2"] * len(faults))
    found, wanted = faulty.compute(), plain.compute()
    assert math.isfinite(found.value)
    if wanted.per_sample is not None and name != "generic-rate":  # what is repeated follows from all captions
        assert found.per_sample[::2] == wanted.per_sample[::2]


def test_a_mean_does_not_depend_on_the_order_and_that_of_nothing_is_0():
    values = [0.1, 1e16, -1e16, 0.3] * 3
    assert mean_of(values) == mean_of(values[::-1]) == pytest.approx(0.1)
    assert mean_of(()) == 0


def test_a_ratio_with_nothing_below_is_0():
    assert ratio_of(np.array([[1.0, 4.0], [3.0, 0.0], [0.0, 0.0]])).tolist() == [0.25, 0, 0]
