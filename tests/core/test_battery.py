"""The conformance battery passes what is right and catches seeded faults, each by the sentence that names it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageStat

from regionkit.core.contracts import GapBridge, Metric, RegionEncoder, Score
from regionkit.core.errors import FeatureError
from regionkit.core.features import Caption, GenerateOptions, RegionTokens, RegionViews, Scene
from regionkit.core.geometry import patch_weights
from regionkit.core.regions import Regions
from regionkit.core.testing import (
    GridBackbone,
    NearestTextDecoder,
    check_backbone,
    check_bridge,
    check_decoder,
    check_metric,
    check_region_encoder,
    picture,
)

param = pytest.param
TEXTS = ["red", "blue", "a green dog", "white"]


class Mean(RegionEncoder):
    """The smallest honest region encoder."""

    def encode(self, scene, regions):
        regions.require(self.accepts, "mean")
        if not len(regions):
            return RegionTokens.none(scene.backbone.space)
        rows = []
        for region, index in zip(regions.items, regions.image, strict=True):
            weights = torch.from_numpy(patch_weights(region, scene.features.frames[index])).float()
            rows.append((scene.features.patches[index] * (weights / weights.sum())[..., None]).sum((0, 1)))
        return RegionTokens.single(torch.stack(rows), scene.backbone.space)


class Views(RegionEncoder):
    def encode(self, scene, regions):
        regions.require(self.accepts, "views")
        frames = [patch_weights(region, scene.backbone.frame(scene.images[i].size)) for region, i in pairs(regions)]
        return RegionViews(tuple(picture((8, 8), seed=int(frame.sum())) for frame in frames))


def pairs(regions):
    return zip(regions.items, regions.image, strict=True)


class Dependent(Mean):
    def encode(self, scene, regions):
        out = super().encode(scene, regions)
        return replace(out, tokens=out.tokens + 0.01 * len(regions))


class Greedy(Mean):
    accepts = ("box", "image")

    def encode(self, scene, regions):
        self.accepts = Mean.accepts
        try:
            return super().encode(scene, regions)
        finally:
            self.accepts = Greedy.accepts


class Careless(Mean):
    def encode(self, scene, regions):
        scene.features.patches.mul_(1.001)
        return super().encode(scene, regions)


class Mislabelled(Mean):
    def encode(self, scene, regions):
        return replace(super().encode(scene, regions), space="grid/image[17]")


class Unreliable(Mean):
    calls = 0

    def encode(self, scene, regions):
        self.calls += 1
        out = super().encode(scene, regions)
        return replace(out, tokens=out.tokens * self.calls)


class Forgiving(Mean):
    def encode(self, scene, regions):
        boxes = [region for region in regions.items if region.kind == "box"]
        if any(box.x1 > 60 for box in boxes):
            return RegionTokens.none(scene.backbone.space)
        return super().encode(scene, regions)


@pytest.mark.parametrize("encoder", [param(Mean(), id="tokens"), param(Views(), id="views")])
def test_honest_encoders_pass(encoder):
    check_region_encoder(encoder)


@pytest.mark.parametrize(
    ("encoder", "fault"),
    [
        param(Dependent(), "result depends on its batch mates", id="batch-mates"),
        param(Greedy(), "a point region is taken although accepts does not name it", id="undeclared-kind"),
        param(Careless(), "encode changed the features that the scene shares", id="in-place"),
        param(Mislabelled(), r"tokens have width 16, their space is grid/image\[17\]", id="space"),
        param(Unreliable(), "encoding twice gives two results", id="determinism"),
        param(Forgiving(), "a box outside its image is taken", id="outside"),
    ],
)
def test_faulty_encoders_are_caught(encoder, fault):
    with pytest.raises(AssertionError, match=fault):
        check_region_encoder(encoder)


class Scaled(GapBridge):
    """A bridge with switches for its faults."""

    def __init__(self, fault=""):
        self.fault = fault

    def bridge(self, tokens):
        values = tokens.tokens
        if self.fault == "in-place":
            values.add_(1)
        if self.fault != "nan":
            tokens.check_finite("scaled")
        if self.fault == "batch":
            values = values - values.mean(0)
        if self.fault == "random":
            values = values + torch.randn(values.shape)
        return replace(tokens, tokens=values * 2, space="grid/text[16]")

    def corrupt(self, embeddings, generator):
        if self.fault == "seed":
            return embeddings + torch.randn(embeddings.shape)
        return super().corrupt(embeddings, generator)


def test_an_honest_bridge_passes():
    check_bridge(Scaled(), writes="grid/text[16]")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        param("in-place", "bridge changed its caller's tokens", id="in-place"),
        param("nan", "a token of NaN passes without an error", id="nan"),
        param("batch", "a region's result depends on its batch mates", id="batch-mates"),
        param("random", "bridging twice gives two results", id="determinism"),
        param("seed", "corrupt differs under the same seed", id="seed"),
    ],
)
def test_faulty_bridges_are_caught(fault, words):
    with pytest.raises(AssertionError, match=words):
        check_bridge(Scaled(fault))


def test_a_bridge_that_does_not_do_what_its_port_says_is_caught():
    with pytest.raises(AssertionError, match=r"the result is labelled grid/text\[16\], the port says other\[16\]"):
        check_bridge(Scaled(), writes="other[16]")


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
        return captions

    def score(self, inputs, texts, prompt=None):
        scores = super().score(inputs, texts)
        if self.fault == "in-place":
            inputs.tokens.mul_(2)
        return scores - scores.mean() if self.fault == "mean" else scores


def test_an_honest_decoder_passes():
    check_decoder(Faulty())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        param("mates", "a caption depends on its batch mates", id="batch-mates"),
        param("length", "a caption is longer than max_tokens", id="length"),
        param("batch", "captions depend on batch_size, in the score", id="batch-size"),
        param("score", "is no log-probability", id="score"),
        param("string", "is no Caption with a text", id="type"),
        param("empty", "no regions gave", id="empty"),
        param("mean", "a log-likelihood is positive", id="likelihood"),
        param("in-place", "the decoder changed its caller's tokens", id="in-place"),
    ],
)
def test_faulty_decoders_are_caught(fault, words):
    with pytest.raises(AssertionError, match=words):
        check_decoder(Faulty(fault))


class Overlap(Metric):
    """Share of a caption's words that the references know, with switches for its faults."""

    def __init__(self, fault=""):
        self.values, self.fault = [], fault

    def update(self, samples, captions):
        for sample, caption in zip(samples, captions, strict=True):
            known = set(" ".join(sample.references).split())
            words = caption.split()
            self.values.append(sum(word in known for word in words) / len(words))
        if self.fault == "last-batch":
            self.values = self.values[-len(captions) :]

    def compute(self):
        value = sum(self.values) / len(self.values)
        if self.fault == "order":
            value += self.values[0]
        if self.fault == "direction":
            value = -value
        per_sample = tuple(sorted(self.values)) if self.fault == "sorted" else tuple(self.values)
        return Score(value, per_sample, "" if self.fault == "signature" else "overlap|n=words")


def test_an_honest_metric_passes():
    check_metric(Overlap)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        param("last-batch", "how the samples were dealt out", id="batches"),
        param("order", "the value depends on", id="order"),
        param("direction", "the direction is off", id="direction"),
        param("sorted", "a sample's value does not follow the sample", id="per-sample"),
        param("signature", "the signature is empty", id="signature"),
    ],
)
def test_faulty_metrics_are_caught(fault, words):
    with pytest.raises((AssertionError, ZeroDivisionError), match=words):
        check_metric(lambda: Overlap(fault))


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
        return features

    def encode_text(self, texts):
        if self.fault == "no-text":
            return torch.zeros(len(texts), 16)
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
    ("fault", "words"),
    [
        param("blind", "two different pictures get the same patches", id="blind"),
        param("attention", "attention does not sum to 1 over an image", id="attention"),
        param("normalised", "patches depend on batch mates", id="batch-mates"),
        param("cls", r"cls is \(3, 15\), not \(3, 16\)", id="cls"),
        param("frames", "encode and frame\\(\\) disagree", id="frames"),
        param("text-batch", "a sentence's vector depends on its batch mates", id="text"),
        param("no-text", "encode_text answers without a text space", id="no-text"),
    ],
)
def test_faulty_backbones_are_caught(fault, words):
    with pytest.raises(AssertionError, match=words):
        check_backbone(Broken(fault))


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


def test_regions_of_the_battery_cover_every_kind():
    from regionkit.core.spec import REGION_KINDS
    from regionkit.core.testing import example_regions

    regions = example_regions((64, 48))
    assert tuple(regions) == REGION_KINDS
    assert Regions.of([list(regions.values())]).image == (0,) * len(REGION_KINDS)


def test_the_example_of_contributing_conforms():
    """CONTRIBUTING.md shows a region encoder; what it shows must work."""
    text = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {**globals(), "Scene": Scene}
    exec(compile(code, "CONTRIBUTING.md", "exec"), names)
    check_region_encoder(names["Mean"]())
