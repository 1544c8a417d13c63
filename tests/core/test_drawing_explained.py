"""Pictures of explanations: what is drawn, what is left out where a part says nothing, and how much fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from test_explanations import RED, Crop, pipeline
from test_explanations import picture as blue_and_red

from regionkit.core import drawing_explained
from regionkit.core.drawing_explained import MOST_TOKENS, Sheet, draw_explanations
from regionkit.core.explaining import Neighbour, TokenScore
from regionkit.core.explanations import explain_caption

WIDTH, MARGIN = 1240, 28


@pytest.fixture(scope="module")
def found():
    return explain_caption(pipeline(), blue_and_red(), RED)


def drawn(explanation, *remarks, count=1):
    return np.asarray(draw_explanations([Sheet(explanation, "a title", remarks)] * count)).astype(int)


def map_of(explanation):
    """Return the part of a sheet that shows the influence of patches, its legend left out."""
    bare = replace(explanation, texts=(), texts_influence=None, tokens_by_text=None, tokens=())
    return drawn(bare)[130:470, MARGIN + 2 * (WIDTH - 2 * MARGIN) // 3 + 14 : WIDTH - MARGIN]


def with_influence(explanation, factor):
    patches = replace(explanation.patches, influence=explanation.patches.influence * factor)
    return replace(explanation, patches=patches)


def test_a_sheet_has_its_width_and_grows_with_what_there_is_to_say(found):
    whole = drawn(found)
    assert whole.shape[1] == WIDTH
    assert (whole[:MARGIN] == 255).all(), "the margin is white"
    without_texts = replace(found, texts=(), texts_influence=None, tokens_by_text=None)
    without_tokens = replace(without_texts, tokens=())
    assert len(whole) > len(drawn(without_texts)) > len(drawn(without_tokens)) > 400
    assert len(drawn(found, "a remark", "and another")) > len(whole)
    told = replace(found, notes={"weights": "there are none, and this is why"})
    assert len(drawn(told)) > len(whole)


def test_influence_is_red_where_it_speaks_for_the_caption_and_blue_against_it(found):
    none, for_it, against = (map_of(with_influence(found, factor)) for factor in (0, 1, -1))
    there = (for_it != none).any(-1)
    assert 0.1 < there.mean() < 0.4, "the square is a quarter of the picture"
    assert (for_it[there][:, 0] > for_it[there][:, 2]).mean() > 0.95
    assert (against[there][:, 2] > against[there][:, 0]).mean() > 0.95
    assert (against[~there] == none[~there]).all()


def test_rounding_is_not_painted_in_the_strongest_colour(found):
    none, faint = (map_of(with_influence(found, factor)) for factor in (0, 1e-4))
    assert np.abs(faint - none).max() <= 2


def test_a_sheet_without_maps_shows_the_picture_alone():
    found = explain_caption(pipeline(Crop()), blue_and_red(), RED)
    assert found.patches.weights is None
    alone = replace(found, patches=replace(found.patches, influence=None), texts=(), tokens=())
    sheet = drawn(alone)
    right = sheet[120:, WIDTH // 2 :]
    assert (right == 255).mean() > 0.98


def test_an_unlikely_token_is_shaded(found):
    sure, unsure = (
        replace(found, tokens=(TokenScore("red", 0, chance),), patches=found.patches) for chance in (0.0, -9.0)
    )
    top = slice(MARGIN, 110)
    assert (drawn(unsure)[top] != drawn(sure)[top]).any()
    shade = drawn(unsure)[MARGIN + 35, MARGIN + 3]
    assert shade[0] - shade[2] > 150
    assert (drawn(sure)[MARGIN + 35, MARGIN + 3] == 255).all()


def test_long_captions_long_texts_and_many_of_them_stay_on_the_sheet(found):
    token = found.tokens[0]
    several = replace(
        found,
        tokens=tuple(replace(token, text="word" * 12) for _ in range(MOST_TOKENS + 20)),
        texts=tuple(Neighbour("a very long text " * 40, 1 / 20, (at,)) for at in range(20)),
        texts_influence=np.full(20, np.nan),
        tokens_by_text=np.zeros((MOST_TOKENS + 20, 20)),
        patches=replace(found.patches, region_of_tokens=None, of_tokens=None),
    )
    sheet = drawn(several)
    assert sheet.shape[1] == WIDTH
    assert (sheet[:, : MARGIN - 1] == 255).all()
    assert (sheet[:, WIDTH - MARGIN + 1 :] == 255).all()


def test_a_row_of_trials_ends_where_nobody_could_look_at_more(found, monkeypatch):
    monkeypatch.setattr(drawing_explained, "MOST_SHEETS", 2)
    heights = {count: len(drawn(found, count=count)) for count in (1, 2, 5)}
    assert heights[2] > 1.9 * (heights[1] - 2 * MARGIN)
    assert 0 < heights[5] - heights[2] < 100, "one more line says how many there are"


@pytest.mark.parametrize("size", [pytest.param((640, 40), id="wide"), pytest.param((8, 300), id="tall")])
def test_pictures_of_any_shape_can_be_drawn(size):
    image = Image.new("RGB", size, "blue")
    image.paste("red", (0, 0, size[0] // 2, size[1] // 2))
    found = explain_caption(pipeline(), image, RED)
    assert drawn(found).shape[1] == WIDTH
