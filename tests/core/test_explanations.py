"""Explanations of captions, on parts whose answers can be told by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from test_battery_explaining import TEXTS, Remembering, Told

from regionkit.core.contracts import RegionEncoder
from regionkit.core.errors import FeatureError, ImageError, RegionkitError
from regionkit.core.explanations import MOST_CELLS, MOST_SQUARES, cells_of, explain_caption
from regionkit.core.features import RegionTokens, RegionViews
from regionkit.core.geometry import patch_weights
from regionkit.core.pipeline import Pipeline
from regionkit.core.regions import Box, WholeImage
from regionkit.core.testing.fakes import GridBackbone, NearestTextDecoder
from regionkit.core.testing.stand_ins import Drawn, Relabel


class BoxPool(RegionEncoder):
    """The mean of the patches that a region touches, and says so."""

    def encode(self, scene, regions):
        maps = self.attention(scene, regions)
        rows = [
            (weights.unsqueeze(-1) * scene.features.patches[at]).sum((0, 1))
            for weights, at in zip(maps, regions.image, strict=True)
        ]
        return RegionTokens.single(torch.stack(rows), scene.backbone.space)

    def attention(self, scene, regions):
        frames = [scene.features.frames[at] for at in regions.image]
        maps = [patch_weights(region, frame) for region, frame in zip(regions.items, frames, strict=True)]
        return torch.stack([torch.from_numpy(one / one.sum()).float() for one in maps])


class Crop(RegionEncoder):
    """The mean colour of a region, looked at in the picture itself."""

    def encode(self, scene, regions):
        crops = [
            scene.images[at].crop(tuple(map(int, region.corners)))
            for region, at in zip(regions.items, regions.image, strict=True)
        ]
        patches = scene.backbone.encode(crops).patches
        return RegionTokens.single(patches.mean((1, 2)), scene.backbone.space)


def picture():
    """Return a blue picture with a red square over the patches of rows and columns 0 and 1 of a 4 x 4 grid."""
    image = Image.new("RGB", (64, 64), "blue")
    ImageDraw.Draw(image).rectangle((0, 0, 31, 31), fill="red")
    return image


def pipeline(encoder=None, bridge=None, decoder=None, backbone=None):
    return Pipeline(backbone or GridBackbone(), encoder or BoxPool(), bridge or Remembering(), decoder or Told())


RED = Box(0, 0, 30, 30)


def test_weights_tokens_and_texts_are_what_the_parts_say():
    found = explain_caption(pipeline(), picture(), RED)
    assert found.text == found.made.text == "red"
    assert found.notes == {}
    assert found.patches.weights == pytest.approx(np.pad(np.full((2, 2), 0.25), (0, 2)))
    assert (found.patches.inside, found.patches.area) == (pytest.approx(1), 0.25)
    assert [token.text for token in found.tokens] == ["red"]
    assert found.log_probability == pytest.approx(found.made.score, abs=1e-6)
    assert found.texts[0].text == "red"
    weights = [text.weight for text in found.texts]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(1)


def test_influence_is_the_difference_of_log_probabilities():
    """The box is red alone. Without a patch its mean is mixed with the mean of the others, computed here by hand."""
    found = explain_caption(pipeline(), picture(), RED)
    backbone, bridge, decoder = GridBackbone(), Remembering(), Told()
    patches = backbone.encode([picture()]).patches[0].clone()
    flat = patches.view(16, -1)
    flat[0] = flat[1:].mean(0)
    token = RegionTokens.single(patches[:2, :2].mean((0, 1))[None], "grid/image[16]")
    expected = found.log_probability - float(decoder.score(bridge.bridge(token), ["red"]))
    influence = found.patches.influence_map()
    assert influence[0, 0] == pytest.approx(expected, abs=1e-5)
    assert influence[0, 0] > 0
    assert (influence[2:] == 0).all(), "patches that the region encoder leaves alone change nothing, exactly"
    assert found.patches.how == "patches"
    assert found.patches.of_tokens.shape == (1, 16)
    assert found.patches.of_tokens.sum(0) == pytest.approx(found.patches.influence)
    assert found.patches.of_region > influence.max(), "without all of it, it is blue"
    assert found.patches.region_of_tokens == pytest.approx([found.patches.of_region])


def test_influence_of_texts_is_what_is_lost_without_each():
    found = explain_caption(pipeline(), picture(), RED, texts=2)
    assert len(found.texts) == 2
    assert found.tokens_by_text.shape == (1, 2)
    assert found.texts_influence == pytest.approx(found.tokens_by_text.sum(0))
    assert found.texts_influence[0] > max(0.1, found.texts_influence[1])


def test_another_caption_can_be_explained():
    found = explain_caption(pipeline(), picture(), RED, "blue")
    assert (found.text, found.made.text) == ("blue", "red")
    assert found.patches.of_region < 0, "the red patches speak against it"
    assert found.texts_influence[0] < 0


def test_a_whole_picture_has_nothing_that_would_be_left():
    found = explain_caption(pipeline(), picture(), WholeImage())
    assert found.patches.of_region is None
    assert found.patches.region_of_tokens is None
    assert found.notes == {
        "region": "the region touches every patch: without it nothing would be left of the picture",
    }
    assert found.patches.influence is not None


def test_an_encoder_that_looks_at_the_picture_sees_it_painted_over():
    found = explain_caption(pipeline(Crop()), picture(), RED)
    assert found.patches.how == "picture"
    assert found.patches.influence_map()[:2, :2].max() > 0
    assert (found.patches.influence_map()[2:] == 0).all()
    assert found.notes == {"weights": "region encoder 'Crop' has no attention map"}
    assert found.patches.weights is None
    assert found.patches.inside is None


def test_what_is_painted_keeps_what_its_file_says():
    class Marked(GridBackbone):
        def encode(self, images):
            if any("mark" not in image.info and image.size == (64, 64) for image in images):
                raise ImageError("this backbone knows marked pictures alone")
            return super().encode(images)

    image = picture()
    image.info["mark"] = "mine"

    class Whole(Crop):
        def encode(self, scene, regions):
            patches = scene.backbone.encode([scene.images[at] for at in regions.image]).patches
            return RegionTokens.single(patches.mean((1, 2)), scene.backbone.space)

    found = explain_caption(pipeline(Whole(), backbone=Marked()), image, RED)
    assert found.patches.influence is not None


def test_a_part_that_refuses_what_is_left_costs_nothing_else():
    class Proud(Crop):
        calls = 0

        def encode(self, scene, regions):
            if len(regions) > 1:
                raise ImageError("no picture of mine looks like that")
            return super().encode(scene, regions)

    found = explain_caption(pipeline(Proud()), picture(), RED)
    said = "nothing can be left out of the picture: no picture of mine looks like that"
    assert found.notes["influence"] == said
    assert found.patches.influence is None
    assert found.tokens
    assert found.texts


class Looking(NearestTextDecoder):
    """Reads pictures: says whether they are more red or more blue."""

    def __init__(self):
        super().__init__(TEXTS, GridBackbone().encode_text(TEXTS))

    def _log_probabilities(self, inputs):
        assert isinstance(inputs, RegionViews)
        vectors = GridBackbone().encode(inputs.pictures).patches.mean((1, 2))
        return super()._log_probabilities(RegionTokens.single(vectors, "grid/text[16]"))


def test_a_decoder_that_reads_pictures_and_shows_no_tokens():
    image = picture()
    found = explain_caption(pipeline(Drawn(), Relabel("x[1]"), Looking()), image, RED, "red")
    assert found.tokens == ()
    assert found.notes["tokens"] == "decoder 'Looking' does not show its tokens"
    assert found.notes["texts"] == "the decoder reads pictures: no bridge and no memory stand before it"
    assert math.isfinite(found.log_probability)
    assert found.patches.how == "picture"
    assert found.patches.influence.shape == (16,)
    assert found.patches.influence_map()[0, 0] > 0
    assert found.patches.of_tokens is None


def test_a_caption_that_the_decoder_does_not_know_is_told_of():
    class Wordless(Told):
        def score(self, inputs, texts, prompt=None):
            raise RegionkitError("it does not know the word 'zebra'")

        def token_scores(self, inputs, texts, prompt=None, alternatives=3):
            return self.score(inputs, texts)

    found = explain_caption(pipeline(decoder=Wordless()), picture(), RED, "a zebra")
    assert found.notes["tokens"].endswith("cannot say how likely this caption is: it does not know the word 'zebra'")
    assert math.isnan(found.log_probability)
    assert found.texts, "what the bridge says is still there"
    assert found.texts_influence is None
    assert found.patches.weights is not None
    assert found.patches.influence is None


def test_maps_that_are_none_are_told_of():
    class Wrong(BoxPool):
        def attention(self, scene, regions):
            return 2 * super().attention(scene, regions)

    class Right(Wrong):
        def encode(self, scene, regions):
            return BoxPool().encode(scene, regions)

    found = explain_caption(pipeline(Right()), picture(), RED)
    assert found.notes == {"weights": "region encoder 'Right' gave maps that are none"}


def test_a_memory_of_one_text_cannot_do_without_it():
    class Single(Remembering):
        def neighbours(self, tokens, count):
            return super().neighbours(tokens, 1)

        def without(self, tokens, left_out):
            raise FeatureError("nothing is left")

    found = explain_caption(pipeline(bridge=Single()), picture(), RED)
    assert np.isnan(found.texts_influence).all()
    assert len(found.texts) == 1


def test_one_patch_alone_cannot_be_left_out():
    found = explain_caption(pipeline(backbone=GridBackbone((1, 1))), picture(), RED)
    assert found.notes["influence"] == "there is one patch alone: without it nothing would be left of the picture"


def test_many_cells_are_encoded_in_batches_and_grouped(monkeypatch):
    from regionkit.core import explanations

    alone = explain_caption(pipeline(), picture(), RED)
    monkeypatch.setattr(explanations, "_COPIES", 1)
    assert explain_caption(pipeline(), picture(), RED).patches.influence == pytest.approx(
        alone.patches.influence, abs=1e-4
    )
    large = explain_caption(pipeline(backbone=GridBackbone((20, 30), patch=2)), picture(), RED)
    assert len(large.patches.influence) <= MOST_CELLS
    assert large.patches.influence_map().shape == (20, 30)
    # Cells that reach over the edge of the square hold blue patches, too: what is left is at least that blue.
    assert np.abs(large.patches.influence_map()[:8, :12]).max() > 0


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([1, 5, MOST_SQUARES, MOST_CELLS]))
def test_cells_are_squares_that_cover_the_grid(rows, columns, most):
    cells = cells_of((rows, columns), most)
    count = int(cells.max()) + 1
    assert count <= most
    assert sorted(set(cells.ravel().tolist())) == list(range(count))
    side = int((cells[0] == cells[0, 0]).sum())
    for number in {0, count - 1}:
        held = np.argwhere(cells == number)
        assert np.ptp(held, axis=0).max() < max(side, int((cells[:, 0] == cells[0, 0]).sum()))
    if rows * columns <= most:
        assert count == rows * columns
