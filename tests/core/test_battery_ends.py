"""The checks of decoders, metrics and backbones pass what is right and catch seeded faults, each by its name."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageStat

from regionkit.core.contracts import Decoder, Metric, Score
from regionkit.core.errors import FeatureError
from regionkit.core.features import Caption, GenerateOptions
from regionkit.core.spec import Port
from regionkit.core.testing import (
    GridBackbone,
    NearestTextDecoder,
    Subject,
    check_backbone,
    check_decoder,
    check_metric,
    failures,
    picture,
)

param = pytest.param
TEXTS = ["red", "blue", "a green dog", "white"]


def caught(subject, check):
    """Return the sentence with which a check fails a subject."""
    found = dict(failures(subject, [check]))
    assert found, f"{check} passes"
    return found[check]


class Faulty(NearestTextDecoder):
    def __init__(self, fault=""):
        super().__init__(TEXTS, GridBackbone().encode_text(TEXTS))
        self.fault = fault

    def generate(self, inputs, prompt=None, options=None):
        captions = super().generate(inputs, prompt, options)
        size = (options or GenerateOptions()).batch_size
        match self.fault:
            case "mates":
                return [replace(one, text=f"{one.text} {len(captions)}") for one in captions]
            case "length":
                return [replace(one, tokens=(1, 2, 3)) for one in captions]
            case "batch":
                return [replace(one, score=one.score - size / 1e4) for one in captions]
            case "score":
                return [replace(one, score=-one.score) for one in captions]
            case "string":
                return [one.text for one in captions]
            case "empty":
                return captions or [Caption("", 0.0)]
            case "order":
                return captions[1:] + captions[:1]
        return captions

    def score(self, inputs, texts, prompt=None):
        scores = super().score(inputs, texts)
        if self.fault == "in-place":
            inputs.tokens.mul_(2)
        return scores - scores.mean() if self.fault == "mean" else scores


def test_an_honest_decoder_passes():
    check_decoder(Faulty())


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        param("mates", "batch-equals-loop", "a caption depends on its batch mates", id="batch-mates"),
        param("order", "order", "the order of regions matters", id="order"),
        param("length", "length-limit", "a caption is longer than max_tokens", id="length"),
        param("batch", "batch-size", "captions depend on batch_size, in the score", id="batch-size"),
        param("score", "shapes", "is no log-probability", id="score"),
        param("string", "shapes", "is no Caption with a text", id="type"),
        param("empty", "empty", "no regions gave", id="empty"),
        param("mean", "scores", "a log-likelihood is positive", id="likelihood"),
        param("mean", "score-batch-equals-loop", "a score depends on its batch mates", id="score-batch-mates"),
        param("in-place", "inputs-unchanged", "the decoder changed its caller's tokens", id="in-place"),
    ],
)
def test_faulty_decoders_are_caught(fault, check, words):
    assert re.search(words, caught(Subject("decoder", Faulty(fault)), check))
    with pytest.raises(AssertionError):
        check_decoder(Faulty(fault))


def test_a_decoder_that_captions_nan_and_any_width_is_caught():
    class Careless(Decoder):
        def generate(self, inputs, prompt=None, options=None):
            return [Caption("a thing", 0.0)] * len(inputs)

        def score(self, inputs, texts, prompt=None):
            return torch.zeros(len(texts))

        def loss(self, inputs, texts, prompt=None):
            return torch.zeros(())

    found = dict(failures(Subject("decoder", Careless())))
    assert found == {
        "nan-never-leaks": "a token of NaN is captioned without an error",
        "ports": "vectors of twice the width are taken",
    }


class Overlap(Metric):
    """Share of a caption's words that the references know, with switches for its faults."""

    def __init__(self, fault=""):
        self.values, self.fault = [], fault

    def update(self, samples, captions):
        for sample, caption in zip(samples, captions, strict=True):
            known = set(" ".join(sample.references).split())
            words = caption.split()
            self.values.append(
                sum(word in known for word in words) / (len(words) if self.fault == "zero" else len(words) or 1)
            )
        if self.fault == "last-batch":
            self.values = self.values[-len(captions) :]

    def compute(self):
        value = sum(self.values) / (len(self.values) if self.fault == "none" else len(self.values) or 1)
        if self.fault == "order":
            value += self.values[0]
        if self.fault == "direction":
            value = -value
        per_sample = tuple(sorted(self.values)) if self.fault == "sorted" else tuple(self.values)
        score = Score(value, per_sample, "" if self.fault == "signature" else "overlap|n=words")
        if self.fault == "mean":
            score = replace(score, value=value / 2)
        if self.fault in ("rows", "pool"):
            rows = np.stack([self.values, np.ones(len(self.values))], 1)
            score = replace(score, statistics=rows[1:] if self.fault == "rows" else rows)
        if self.fault == "part":
            score = replace(score, parts={"other": score})
        return score

    @classmethod
    def pool(cls, part, sums):
        return sums[:, 0]


def test_an_honest_metric_passes():
    check_metric(Overlap)


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        param("last-batch", "batch-equals-loop", "how the samples were dealt out", id="batches"),
        param("order", "order", "the value depends on the order", id="order"),
        param("direction", "direction", "the direction is off", id="direction"),
        param("sorted", "order", "a sample's value does not follow the sample", id="per-sample"),
        param("signature", "shapes", "the signature is empty", id="signature"),
        param("mean", "statistics", "no mean of the samples' values, and no statistics", id="mean"),
        param("rows", "statistics", r"statistics of \(5, 2\) for 6 samples", id="statistics"),
        param("pool", "statistics", "pool does not give the value of part ''", id="pool"),
        param("part", "parts", r"stated to be \[\], and compute\(\) gives \['other'\]", id="parts"),
        param("none", "empty", "it crashed with ZeroDivisionError: division by zero", id="no-samples"),
        param("zero", "nan-never-leaks", "it crashed with ZeroDivisionError: division by zero", id="empty-captions"),
    ],
)
def test_faulty_metrics_are_caught(fault, check, words):
    assert re.search(words, caught(Subject("metric", Overlap(fault)), check))
    with pytest.raises(AssertionError):
        check_metric(lambda: Overlap(fault))


class Length(Metric):
    """How many words a caption has too many, too few, or both; references of the kit's samples are equally long."""

    higher_is_better = False

    def __init__(self, counted="both", sign=1):
        self.values, self.counted, self.sign = [], counted, sign

    def update(self, samples, captions):
        for sample, caption in zip(samples, captions, strict=True):
            more = len(caption.split()) - len(sample.references[0].split())
            counted = {"both": abs(more), "more": max(more, 0), "fewer": max(-more, 0), "nothing": 0}[self.counted]
            self.values.append(self.sign * float(counted))

    def compute(self):
        value = sum(self.values) / (len(self.values) or 1)
        return Score(value, tuple(self.values), f"length|counted={self.counted}")


@pytest.mark.parametrize("counted", ["both", "more", "fewer"])
def test_a_metric_of_length_passes_and_its_wrong_direction_is_caught(counted):
    check_metric(lambda: Length(counted))
    sentence = caught(Subject("metric", Length(counted, sign=-1)), "direction")
    assert "the direction is off; write higher_is_better = True" in sentence


def test_a_metric_that_tells_nothing_apart_hears_of_the_ways_out():
    sentence = caught(Subject("metric", Length("nothing")), "direction")
    assert "right captions score 0.0, and so they do with half of them about something else" in sentence
    assert "write needs = ()" in sentence
    assert "regionkit.core.testing.check_metric(make, samples)" in sentence


class Broken(GridBackbone):
    def __init__(self, fault=""):
        super().__init__(cls=fault == "cls", text=fault != "no-text")
        self.fault = fault

    def encode(self, images):
        features = super().encode(images)
        match self.fault:
            case "blind":
                return replace(features, patches=torch.ones_like(features.patches))
            case "attention":
                return replace(features, attention=features.attention * 2)
            case "normalised":
                return replace(features, patches=features.patches - features.patches.mean(0))
            case "cls":
                return replace(features, cls=features.cls[:, :-1])
            case "frames":
                return replace(features, frames=features.frames[::-1])
            case "contrast":
                spread = features.patches.std((1, 2), keepdim=True, correction=0)
                return replace(features, patches=features.patches / spread)
            case "place":
                place = torch.arange(len(images)).reshape(-1, 1, 1, 1)
                return replace(features, patches=features.patches + place)
            case "empty":
                return replace(features, patches=features.patches[torch.arange(len(images)).max() :])
        return features

    def encode_text(self, texts):
        if self.fault == "no-text":
            return torch.zeros(len(texts), 16)
        if self.fault == "long" and any(len(text.split()) > 77 for text in texts):
            raise IndexError("index out of range in self")
        vectors = super().encode_text(texts)
        return vectors / vectors.norm() if self.fault == "text-batch" else vectors


@pytest.mark.parametrize(
    "options",
    [
        param({}, id="squash"),
        param({"fit": "crop"}, id="crop"),
        param({"grid": (3, 5), "cls": False, "attention": False, "text": False}, id="bare"),
    ],
)
def test_the_fake_backbone_conforms(options):
    check_backbone(GridBackbone(**options))


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        param("blind", "sees-its-pictures", "two different pictures get the same patches", id="blind"),
        param("attention", "attention", "attention does not sum to 1 over an image", id="attention"),
        param("normalised", "batch-equals-loop", "patches depend on batch mates", id="batch-mates"),
        param("place", "order", "patches depend on the order of the pictures", id="order"),
        param("empty", "empty", "it crashed with RuntimeError", id="empty"),
        param("contrast", "nan-never-leaks", "a picture of .* produced NaN or infinite patches", id="nan"),
        param("cls", "shapes", r"cls is \(3, 15\), not \(3, 16\)", id="cls"),
        param("frames", "frames", "encode and frame\\(\\) disagree", id="frames"),
        param("text-batch", "text-batch-equals-loop", "a sentence's vector depends on its batch mates", id="text"),
        param("long", "odd-sentences", "it crashed with IndexError: index out of range in self", id="long-text"),
        param("no-text", "text-tower", "encode_text answers without a text space", id="no-text"),
    ],
)
def test_faulty_backbones_are_caught(fault, check, words):
    assert re.search(words, caught(Subject("backbone", Broken(fault)), check))
    with pytest.raises(AssertionError):
        check_backbone(Broken(fault))


def test_a_backbone_whose_space_is_not_that_of_its_port_is_caught():
    subject = Subject("backbone", GridBackbone(), writes=Port("other/image[16]"), text="grid/text[16]")
    assert caught(subject, "ports") == "its space is grid/image[16], the port says other/image[16]"


def test_the_fake_backbone_ties_words_to_colours():
    """A solid picture of a colour is nearest to its word, so tests can tell right captions from wrong ones."""
    backbone = GridBackbone()
    words = ["red", "blue", "green", "yellow", "white", "black"]
    texts = torch.nn.functional.normalize(backbone.encode_text(words), dim=-1)
    for place, word in enumerate(words):
        patch = backbone.encode([Image.new("RGB", (40, 40), word if word != "green" else (0, 255, 0))]).patches[0, 0, 0]
        assert int((texts @ patch).argmax()) == place


def test_pictures_are_the_same_everywhere():
    assert ImageStat.Stat(picture((64, 48), seed=1)).sum == ImageStat.Stat(picture((64, 48), seed=1)).sum
    assert picture(seed=1).tobytes() != picture(seed=2).tobytes()


def test_the_fake_backbone_without_text_says_so():
    with pytest.raises(FeatureError, match="has no text tower"):
        GridBackbone(text=False).encode_text(["red"])
