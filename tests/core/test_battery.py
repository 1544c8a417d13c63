"""The checks of region encoders and bridges pass what is right and catch seeded faults, each by its name."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from regionkit.core.contracts import GapBridge, RegionEncoder
from regionkit.core.features import RegionTokens, RegionViews, Scene
from regionkit.core.geometry import patch_weights
from regionkit.core.regions import Regions
from regionkit.core.spec import Port
from regionkit.core.testing import (
    Subject,
    check_bridge,
    check_region_encoder,
    failures,
    picture,
)

param = pytest.param


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


class Blind(Mean):
    """Divides by what a plain picture has none of."""

    def encode(self, scene, regions):
        out = super().encode(scene, regions)
        spread = scene.features.patches.std((1, 2), correction=0)[list(regions.image)].unsqueeze(1)
        return replace(out, tokens=out.tokens / spread if len(regions) else out.tokens)


class Reversed(Mean):
    """Numbers its regions as they come."""

    def encode(self, scene, regions):
        out = super().encode(scene, regions)
        place = torch.arange(len(regions), dtype=torch.float32).reshape(-1, 1, 1)
        return replace(out, tokens=out.tokens + place)


class Crashing(Mean):
    def encode(self, scene, regions):
        assert len(regions), "nobody calls me without regions"
        return super().encode(scene, regions)


class Rude(Mean):
    """Refuses kinds, and regions that lie outside, with errors of its own."""

    accepts = ("box", "point")

    def encode(self, scene, regions):
        if any(region.kind not in self.accepts for region in regions.items):
            raise ValueError("no")
        try:
            return super().encode(scene, regions)
        except Exception as error:
            raise KeyError("outside") from error


class Shy(Mean):
    """Names a kind that it does not take."""

    def encode(self, scene, regions):
        regions.require(("box", "image"), "shy")
        return super().encode(scene, regions)


class Stretching(Mean):
    """Reads a box's corners where clipping would have to come first."""

    def encode(self, scene, regions):
        out = super().encode(scene, regions)
        extra = [region.x2 / 100 if region.kind == "box" else 0.0 for region in regions.items]
        return replace(out, tokens=out.tokens + torch.tensor(extra).reshape(-1, 1, 1))


class Tiny(Mean):
    """Divides by the number of whole pixels in a box."""

    def encode(self, scene, regions):
        out = super().encode(scene, regions)
        sizes = [int(one.x2 - one.x1) if one.kind == "box" else 1 for one in regions.items]
        return replace(out, tokens=out.tokens / torch.tensor(sizes).reshape(-1, 1, 1))


@pytest.mark.parametrize("encoder", [param(Mean(), id="tokens"), param(Views(), id="views")])
def test_honest_encoders_pass(encoder):
    check_region_encoder(encoder)


def caught(subject, check):
    """Return the sentence with which a check fails a subject."""
    found = dict(failures(subject, [check]))
    assert found, f"{check} passes"
    return found[check]


@pytest.mark.parametrize(
    ("encoder", "check", "fault"),
    [
        param(Dependent(), "batch-equals-loop", "result depends on its batch mates", id="batch-mates"),
        param(Reversed(), "order", "the order of regions matters", id="order"),
        param(Crashing(), "empty", r"nobody calls me without regions", id="empty"),
        param(Greedy(), "undeclared-kinds", "a point region is taken although accepts does not", id="undeclared-kind"),
        param(Shy(), "declared-kinds", "a point region is refused although accepts names it", id="declared-kind"),
        param(Rude(), "undeclared-kinds", "ValueError was raised and not RegionError: no", id="wrong-refusal"),
        param(Rude(), "out-of-frame", "KeyError was raised and not RegionError", id="wrong-error-outside"),
        param(Careless(), "inputs-unchanged", "encode changed the features that the scene shares", id="in-place"),
        param(Mislabelled(), "shapes", r"tokens have width 16, their space is grid/image\[17\]", id="space"),
        param(Unreliable(), "deterministic", "encoding twice gives two results", id="determinism"),
        param(Forgiving(), "out-of-frame", "a box outside its image is taken", id="outside"),
        param(Stretching(), "partly-out", "lies partly outside its image is not clipped to it", id="partly-out"),
        param(Tiny(), "one-pixel", "a box region of one pixel: a token is NaN or infinite", id="one-pixel"),
        param(Blind(), "nan-never-leaks", "a token is NaN or infinite", id="plain-picture"),
    ],
)
def test_faulty_encoders_are_caught(encoder, check, fault):
    assert re.search(fault, caught(Subject("region_encoder", encoder), check))
    with pytest.raises(AssertionError):
        check_region_encoder(encoder)


def test_an_encoder_that_lets_its_backbones_nan_through_is_caught():
    class Trusting(Mean):
        def encode(self, scene, regions):
            features = scene.backbone.encode(scene.images)
            return super().encode(Scene(scene.images, scene.backbone, features), regions)

    found = caught(Subject("region_encoder", Trusting()), "nan-never-leaks")
    assert found == "a backbone's NaN becomes a token without an error"


@pytest.mark.parametrize(
    ("port", "fault"),
    [
        param(Port("grid/text[16]"), "is labelled grid/image[16], the port says grid/text[16]", id="label"),
        param(Port(form="views"), "the result is tokens, the port says views", id="form"),
    ],
)
def test_an_encoder_that_does_not_do_what_its_port_says_is_caught(port, fault):
    assert fault in caught(Subject("region_encoder", Mean(), writes=port), "ports")


def test_an_encoder_of_many_tokens_behind_a_port_of_one_is_caught():
    class Many(Mean):
        def encode(self, scene, regions):
            out = super().encode(scene, regions)
            return replace(out, tokens=out.tokens.repeat(1, 3, 1), mask=out.mask.repeat(1, 3))

    subject = Subject("region_encoder", Many(), writes=Port("grid/image[16]"))
    assert caught(subject, "ports") == "a region has 3 tokens, the port says one"
    assert not dict(failures(replace(subject, writes=Port("grid/image[16]", many=True)), ["ports"]))


def test_a_class_that_accepts_something_else_than_its_spec_is_caught():
    subject = Subject("region_encoder", Mean(), accepts=("box",))
    assert caught(subject, "declared-kinds").startswith("the spec accepts box; the class accepts point, box")


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
        if self.fault == "zero":
            values = values / values.norm(dim=-1, keepdim=True)
        if self.fault == "wide":
            values = torch.cat([values, values], dim=-1)
        if self.fault == "float64":
            values = values.double().float()
        if self.fault == "padding":
            values = values - values.sum(1, keepdim=True)
        if self.fault == "order":
            values = values.cumsum(0)
        if self.fault == "empty" and not len(tokens):
            raise IndexError("list index out of range")
        return replace(tokens, tokens=values * 2, space="grid/text[16]")

    def corrupt(self, embeddings, generator):
        if self.fault == "seed":
            return embeddings + torch.randn(embeddings.shape)
        if self.fault == "changes":
            return embeddings.mul_(2)
        return super().corrupt(embeddings, generator)


def test_an_honest_bridge_passes():
    check_bridge(Scaled(), writes="grid/text[16]")


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        param("in-place", "inputs-unchanged", "bridge changed its caller's tokens", id="in-place"),
        param("nan", "nan-never-leaks", "a token of NaN passes without an error", id="nan"),
        param("zero", "nan-never-leaks", "a token of zeros becomes NaN or infinite", id="zeros"),
        param("batch", "batch-equals-loop", "a region's result depends on its batch mates", id="batch-mates"),
        param("order", "order", "the order of regions matters", id="order"),
        param("empty", "empty", "it crashed with IndexError: list index out of range", id="empty"),
        param("random", "deterministic", "bridging twice gives two results", id="determinism"),
        param("wide", "shapes", r"tokens have width 32, their space is grid/text\[16\]", id="width"),
        param("float64", "keeps-the-type", "bfloat16 tokens came back as torch.float32", id="type"),
        param("seed", "corruption-follows-the-seed", "corrupt differs under the same seed", id="seed"),
        param("changes", "corruption", "corrupt changed its caller's embeddings", id="corruption-in-place"),
    ],
)
def test_faulty_bridges_are_caught(fault, check, words):
    assert re.search(words, caught(Subject("bridge", Scaled(fault)), check))
    with pytest.raises(AssertionError):
        check_bridge(Scaled(fault))


def test_a_bridge_that_says_noise_and_adds_none_is_caught():
    subject = Subject("bridge", Scaled(), corruption="noise(std=0.1)")
    assert "corrupt ignores the seed although it says noise" in caught(subject, "corruption-follows-the-seed")


def test_a_bridge_that_reads_its_padding_is_caught():
    many = Port("grid/image[16]", many=True)
    found = caught(Subject("bridge", Scaled("padding"), reads=many), "padding")
    assert found.startswith("what stands in padding changes the result: by up to")
    assert not dict(failures(Subject("bridge", Scaled(), reads=many, writes=replace(many, space="grid/text[16]"))))


def test_a_bridge_that_does_not_do_what_its_port_says_is_caught():
    with pytest.raises(AssertionError, match=r"the result is labelled grid/text\[16\], the port says other\[16\]"):
        check_bridge(Scaled(), writes="other[16]")


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
