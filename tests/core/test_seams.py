"""What parts hand on, checked where the next part takes it: an error names the part that wrote it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from PIL import Image
from pretend_gpu import on_gpu, pretended_gpu

from regionkit.core import seams
from regionkit.core.blame import Made, blamed, failed, note_made, told
from regionkit.core.contracts import Decoder, GapBridge, RegionEncoder
from regionkit.core.errors import ContractError, FeatureError, ImageError, PartFailed
from regionkit.core.features import Caption, Features, RegionTokens, RegionViews, Scene
from regionkit.core.pipeline import Pipeline
from regionkit.core.regions import Regions, WholeImage
from regionkit.core.testing import GridBackbone, picture

SPACE = "grid/image[16]"
GOOD = (Caption("a", 0.0),)
TWO = Regions.of([[WholeImage(), WholeImage()]])


class Gives(RegionEncoder):
    """An encoder that gives whatever it was told to."""

    def __init__(self, given):
        self.given = given

    def encode(self, scene, regions):
        return self.given(tokens(len(regions))) if callable(self.given) else self.given


class Carries(GapBridge):
    def __init__(self, given):
        self.given = given

    def bridge(self, tokens):
        return self.given(tokens) if callable(self.given) else self.given


class Writes(Decoder):
    def __init__(self, given, scores=None):
        self.given, self.scores = given, scores

    def generate(self, inputs, prompt=None, options=None):
        return self.given

    def score(self, inputs, texts, prompt=None):
        return self.scores

    def loss(self, inputs, texts, prompt=None):
        return torch.zeros(())


class Sees(GridBackbone):
    """A backbone whose features are changed."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def encode(self, images):
        return self.change(super().encode(images))


def tokens(count, width=16, space=SPACE):
    return RegionTokens.single(torch.ones(count, width), space)


def scene():
    return Scene([picture()], GridBackbone())


def named(part, kind, writes="", name="mine"):
    note_made(part, Made(kind, name, "plugin-of-mine (mine 0.1)", writes))
    return part


ENCODED = [
    pytest.param(None, "encode() gave None, and the contract wants RegionTokens or RegionViews", id="none"),
    pytest.param(torch.ones(2, 16), "encode() gave a Tensor, and the contract wants RegionTokens", id="tensor"),
    pytest.param(lambda _: tokens(1), "encode() gave tokens of 1 regions for 2", id="few"),
    pytest.param(lambda _: tokens(3), "encode() gave tokens of 3 regions for 2", id="many"),
    pytest.param(lambda t: replace(t, tokens=t.tokens[:, 0]), "gave as tokens a Tensor of (2, 16)", id="flat"),
    pytest.param(lambda t: replace(t, tokens=[[1.0]]), "gave as tokens a list, and the contract wants a T", id="list"),
    pytest.param(lambda t: replace(t, mask=t.mask[:1]), "as mask a Tensor of (1, 1), and the con", id="mask"),
    pytest.param(lambda t: replace(t, mask=t.mask.float()), "gave a mask of torch.float32", id="mask-of-floats"),
    pytest.param(lambda _: tokens(2, 8), f"gave vectors of width 8 and says that they are {SPACE}", id="width"),
    pytest.param(lambda t: RegionViews(("a", "b")), "whose pictures are no tuple of PIL images", id="views-of-text"),
    pytest.param(lambda t: RegionViews((picture(),)), "gave 1 pictures for 2 regions", id="few-views"),
]


@pytest.mark.parametrize(("given", "message"), ENCODED)
def test_what_a_region_encoder_hands_on(given, message):
    with pytest.raises(ContractError) as caught:
        seams.encoded(Gives(given), scene(), TWO)
    assert caught.value.message.startswith("region encoder 'Gives': encode() gave ")
    assert message in caught.value.message


def test_tokens_and_pictures_that_are_right_pass():
    encoder = named(Gives(lambda given: given), "region_encoder", SPACE)
    assert seams.encoded(encoder, scene(), TWO).space == SPACE
    views = RegionViews((picture(), picture()))
    assert seams.encoded(named(Gives(views), "region_encoder", "views"), scene(), TWO) is views
    assert len(seams.encoded(Gives(lambda _: RegionTokens.none(SPACE)), scene(), Regions((), ()))) == 0


@pytest.mark.parametrize(
    ("given", "writes", "message"),
    [
        pytest.param(
            tokens(2, 16, "else[16]"), SPACE, f"labelled its tokens else[16], and its spec says that it writes {SPACE}"
        ),
        pytest.param(tokens(2), "views", f"labelled its tokens {SPACE}, and its spec says that it writes views"),
        pytest.param(RegionViews((picture(),) * 2), SPACE, f"gave pictures, and its spec says that it writes {SPACE}"),
    ],
)
def test_a_part_is_held_to_the_space_of_its_spec(given, writes, message):
    with pytest.raises(ContractError) as caught:
        seams.encoded(named(Gives(given), "region_encoder", writes), scene(), TWO)
    assert caught.value.message == f"region encoder 'mine' of plugin plugin-of-mine (mine 0.1): encode() {message}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(None, "bridge() gave None, and the contract wants RegionTokens", id="none"),
        pytest.param(lambda t: t.tokens, "bridge() gave a Tensor, and the contract wants RegionTokens", id="tensor"),
        pytest.param(lambda _: tokens(1), "bridge() gave tokens of 1 regions for 2", id="few"),
        pytest.param(lambda _: RegionViews(()), "bridge() gave a RegionViews, and the contract wants Reg", id="views"),
        pytest.param(lambda t: replace(t, space="b[8]"), "gave vectors of width 16 and says that they a", id="width"),
    ],
)
def test_what_a_bridge_hands_on(given, message):
    with pytest.raises(ContractError) as caught:
        seams.bridged(named(Carries(given), "bridge"), tokens(2))
    assert caught.value.message.startswith("bridge 'mine' of plugin plugin-of-mine (mine 0.1): bridge() ")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda _: None, "encode() gave None, and the contract wants Features", id="none"),
        pytest.param(lambda f: f.patches, "encode() gave a Tensor, and the contract wants Features", id="tensor"),
        pytest.param(lambda f: replace(f, frames=()), "encode() gave 0 frames for 1 images", id="frames"),
        pytest.param(lambda f: replace(f, frames=None), "encode() gave None as frames for 1 images", id="no-frames"),
        pytest.param(
            lambda f: replace(f, patches=f.patches[:, :2]),
            "gave as patches a Tensor of (1, 2, 4, 16), and the contract wants (1, 4, 4, ?)",
            id="grid",
        ),
        pytest.param(lambda f: replace(f, patches=None), "gave as patches None, and the contract wants", id="patches"),
        pytest.param(lambda f: replace(f, cls=f.cls[0]), "gave as cls a Tensor of (16,)", id="cls"),
        pytest.param(lambda f: replace(f, attention=f.attention[:, :1]), "gave as attention a Tensor of", id="map"),
        pytest.param(
            lambda f: Features(f.patches[..., :8], f.frames),
            f"encode() gave vectors of width 8 and says that they are {SPACE}",
            id="width",
        ),
    ],
)
def test_what_a_backbone_hands_on(change, message):
    with pytest.raises(ContractError) as caught:
        _ = Scene([picture()], Sees(change)).features
    assert caught.value.message.startswith("backbone 'Sees': encode() gave ")
    assert message in caught.value.message


def test_a_backbone_is_held_to_the_space_of_its_spec_and_no_encoder_blamed_for_it():
    backbone = named(GridBackbone(), "backbone", "other[16]")
    with pytest.raises(ContractError, match=r"backbone 'mine' .*its attribute space is grid/image\[16\], and its spec"):
        _ = Scene([picture()], backbone).features


CAPTIONS = [
    pytest.param(["a", "b"], "generate() gave a str where a Caption belongs", id="strings"),
    pytest.param([Caption("a", 0.0), None], "generate() gave None where a Caption belongs", id="one-none"),
    pytest.param([Caption(None, 0.0)] * 2, "gave a Caption whose text is None, and no str", id="no-text"),
    pytest.param([Caption("a", None)] * 2, "gave a Caption whose score is None, and no float", id="no-score"),
    pytest.param([Caption("a", torch.zeros(()))] * 2, "whose score is a Tensor, and no float", id="tensor"),
    pytest.param([Caption("a", math.nan)] * 2, "whose score is nan, and no finite log-probability", id="nan"),
    pytest.param([Caption("a", -math.inf)] * 2, "whose score is -inf, and no finite log-probability", id="infinite"),
]


@pytest.mark.parametrize(("given", "message"), CAPTIONS)
def test_a_caption_that_is_none_is_told_of_and_the_others_stay(given, message):
    found = seams.written(named(Writes(given), "decoder"), tokens(2))
    assert isinstance(found[1], FeatureError)
    assert found[1].message.startswith("decoder 'mine' of plugin plugin-of-mine (mine 0.1): generate() gave ")
    assert message in found[1].message
    if given == [Caption("a", 0.0), None]:
        assert found[0] == given[0]
    with pytest.raises(FeatureError, match="generate"):
        seams.captions(Writes(given), tokens(2))


def test_a_decoder_without_probabilities_is_told_what_it_may_say():
    (nan,) = seams.written(Writes([Caption("a", math.nan)]), tokens(1))
    assert "a decoder that has no log-probabilities says 0.0" in nan.hints
    assert seams.captions(Writes([Caption("a", 0.0)]), tokens(1)) == [Caption("a", 0.0)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(None, "generate() gave None, and the contract wants a list of Caption", id="none"),
        pytest.param("a dog", "generate() gave a str, and the contract wants a list of Caption", id="text"),
        pytest.param([Caption("a", 0.0)], "generate() gave 1 captions for 2 regions", id="few"),
    ],
)
def test_captions_that_belong_to_no_region_are_refused_together(given, message):
    with pytest.raises(ContractError) as caught:
        seams.written(Writes(given), tokens(2))
    assert message in caught.value.message


@pytest.mark.parametrize("scores", [None, [0.0, 0.0], torch.zeros(2, 1), torch.zeros(3)])
def test_what_a_decoder_scores(scores):
    with pytest.raises(ContractError, match=r"decoder 'Writes': score\(\) gave .*: one number a text"):
        seams.scored(Writes([], scores), tokens(2), ["a", "b"])
    assert seams.scored(Writes([], torch.zeros(2)), tokens(2), ["a", "b"]).shape == (2,)


def test_no_seam_asks_a_gpu_for_a_number():
    with pretended_gpu() as counted:
        there = RegionTokens.single(on_gpu(torch.ones(2, 16)), SPACE)
        seams.bridged(named(Carries(there), "bridge", SPACE), there)
        seams.captions(Writes([*GOOD, *GOOD]), there)
        seams.scored(Writes([], on_gpu(torch.zeros(2))), there, ["a", "b"])
    assert counted["reads"] == []


def test_a_pipeline_asks_at_every_seam():
    def caption(encoder=lambda t: t, bridge=lambda t: t, decoder=GOOD):
        parts = GridBackbone(), Gives(encoder), Carries(bridge), Writes(list(decoder))
        return Pipeline(*parts).caption(picture(), [WholeImage()])

    assert caption() == [Caption("a", 0.0)]
    for wrong in ({"encoder": None}, {"bridge": lambda t: t.tokens}, {"decoder": ()}):
        with pytest.raises(ContractError):
            caption(**wrong)


def test_what_nobody_foresaw_names_the_innermost_part_and_the_place():
    class Crashes(GridBackbone):
        def encode(self, images):
            return {}["patches"]

    class Pools(RegionEncoder):
        def encode(self, scene, regions):
            return scene.features

    with pytest.raises(KeyError) as caught:
        seams.encoded(Pools(), Scene([picture()], Crashes()), TWO)
    line = told(caught.value)
    assert line.startswith("backbone 'Crashes': KeyError: 'patches' (test_seams.py, line ")
    assert line.endswith(", in encode)")
    kept = failed(caught.value)
    assert isinstance(kept, PartFailed)
    assert kept.__cause__ is caught.value
    assert kept.hints == ("this is a fault of the code; see it whole with --on-error stop",)


def test_what_a_part_says_itself_stays_what_it_is():
    class Refuses(GridBackbone):
        def check_images(self, images):
            raise ImageError("too dark", "use a lamp")

    with pytest.raises(ImageError, match="too dark") as caught:
        _ = Scene([Image.new("RGB", (8, 8))], Refuses()).features
    assert failed(caught.value) is caught.value
    assert not hasattr(caught.value, "__notes__")
    with pytest.raises(KeyboardInterrupt), blamed(GridBackbone(), "backbone"):
        raise KeyboardInterrupt
