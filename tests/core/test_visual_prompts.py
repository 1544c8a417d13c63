"""A region as a picture: what each style draws, at every edge, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from regionkit.core.errors import RegionError, RegionkitError
from regionkit.core.regions import Box, BoxSet, Mask, MaskTrack, Point, Trace, WholeImage
from regionkit.core.testing import example_regions, picture
from regionkit.core.testing.examples import full_image_regions, one_pixel_regions
from regionkit.core.visual_prompts import pixel_bounds, render

SIZE = (60, 40)
STYLES = ("whole", "crop", "circle", "box", "marked", "blur")
BOX = Box(10, 5, 40, 35)
RED = (255, 0, 0)


def grey(size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.new("RGB", size, (90, 90, 90))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("style", [pytest.param(style, id=style) for style in STYLES])
def test_every_style_takes_every_still_region_and_its_edges(style):
    image = picture(SIZE)
    regions = [*example_regions(SIZE).values(), *one_pixel_regions(SIZE), *full_image_regions(SIZE)]
    for region in regions:
        if isinstance(region, MaskTrack):
            with pytest.raises(RegionError, match="mask-track"):
                render(image, region, style)
            continue
        drawn = render(image, region, style)
        assert drawn.mode == "RGB"
        left, top, right, bottom = pixel_bounds(region, SIZE)
        assert drawn.size == ((right - left, bottom - top) if style == "crop" else SIZE)


def test_whole_is_the_picture_and_crop_its_box_grown_to_whole_pixels():
    image = picture(SIZE)
    np.testing.assert_array_equal(pixels(render(image, BOX, "whole")), pixels(image))
    crop = render(image, Box(10.6, 5.2, 39.1, 34.9), "crop")
    np.testing.assert_array_equal(pixels(crop), pixels(image)[5:35, 10:40])


def test_circle_is_a_red_ellipse_that_touches_the_four_sides_of_the_box_and_nothing_outside():
    drawn = pixels(render(grey(), BOX, "circle", width=3))
    red = (drawn == RED).all(-1)
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (5, 34, 10, 39)
    assert all(red[place] for place in ((5, 24), (34, 24), (20, 10), (20, 39)))
    assert not any(red[place] for place in ((5, 10), (20, 25)))  # neither corner nor middle
    np.testing.assert_array_equal(drawn[~red], 90)


def test_box_is_a_red_rectangle_drawn_inwards():
    red = (pixels(render(grey(), BOX, "box", width=2)) == RED).all(-1)
    expected = np.zeros((40, 60), dtype=bool)
    expected[5:35, 10:40] = True
    expected[7:33, 12:38] = False
    np.testing.assert_array_equal(red, expected)


def red_of(region, width: int = 1) -> np.ndarray:
    """Return where a region is drawn red on a grey picture, all else left as it was."""
    drawn = pixels(render(grey(), region, "marked", width=width))
    red = (drawn == RED).all(-1)
    np.testing.assert_array_equal(drawn[~red], 90)
    return red


def test_marked_draws_around_each_box_of_a_set_and_nothing_between():
    first, second = Box(2, 3, 12, 13), Box(30, 20, 50, 36)
    expected = np.zeros((40, 60), dtype=bool)
    for left, top, right, bottom in ((2, 3, 12, 13), (30, 20, 50, 36)):
        expected[top - 2 : bottom + 2, left - 2 : right + 2] = True
        expected[top:bottom, left:right] = False
    np.testing.assert_array_equal(red_of(BoxSet((first, second)), 2), expected)
    np.testing.assert_array_equal(red_of(first, 2), red_of(BoxSet((first,)), 2))


def test_marked_leaves_a_small_region_to_be_seen_and_a_line_at_the_border():
    small = red_of(Box(20, 20, 22, 23), 5)
    assert not small[20:23, 20:22].any()
    assert small.sum() == 12 * 13 - 2 * 3
    whole = red_of(Box(0, 0, 60, 40), 3)
    assert whole[:3].all()
    assert not whole[3:-3, 3:-3].any()


def test_marked_draws_the_line_of_a_trace_dots_at_points_and_nothing_on_a_whole_picture():
    line = red_of(Trace(((10, 20), (40, 20))), 3)
    assert line[20, 10:41].all()
    assert set(np.flatnonzero(line[:, 15:].any(1)).tolist()) <= {18, 19, 20, 21, 22}  # beside the dot where it begins
    np.testing.assert_array_equal(red_of(Trace(((10, 20),)), 3), red_of(Point(((10, 20),)), 3))
    assert red_of(Trace(((10, 20),)), 4)[20, 10]
    dots = red_of(Point(((10, 10), (50, 30))), 2)
    assert dots[10, 10]
    assert dots[30, 50]
    assert not dots[20, 30]
    assert not red_of(WholeImage()).any()


def test_marked_draws_around_a_mask_and_in_its_holes():
    bitmap = np.zeros((40, 60), dtype=bool)
    bitmap[5:35, 10:50] = True
    bitmap[15:25, 20:40] = False
    grown = np.zeros_like(bitmap)
    grown[3:37, 8:52] = True
    grown[17:23, 22:38] = False
    np.testing.assert_array_equal(red_of(Mask(bitmap), 2), grown & ~bitmap)
    np.testing.assert_array_equal(red_of(Mask(bitmap), 10_000), ~bitmap)  # as wide as asked for, at no more cost


def test_the_default_line_is_ten_pixels_wide():
    red = (pixels(render(grey(), BOX, "box")) == RED).all(-1)
    assert red[20, 10:40].sum() == 20
    assert red[20, 10:20].all()


def test_blur_leaves_the_mask_sharp_and_blurs_all_else():
    bitmap = np.zeros((40, 60), dtype=bool)
    bitmap[10:30, 20:33] = True
    image = picture(SIZE, cells=8)
    drawn = pixels(render(image, Mask(bitmap), "blur"))
    np.testing.assert_array_equal(drawn[bitmap], pixels(image)[bitmap])
    np.testing.assert_array_equal(drawn[~bitmap], pixels(image.filter(ImageFilter.GaussianBlur(10)))[~bitmap])
    assert (drawn[~bitmap] != pixels(image)[~bitmap]).any()


def test_points_of_a_trace_outside_the_picture_do_not_widen_the_box():
    trace = Trace(((-30.0, 4.0), (12.0, 8.0), (20.0, 16.0)))
    assert pixel_bounds(trace, SIZE) == (12, 8, 21, 17)
    assert pixel_bounds(Point.at(60, 40), SIZE) == (59, 39, 60, 40)


@pytest.mark.parametrize("style", [pytest.param(style, id=style) for style in STYLES])
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK"])
def test_pictures_of_any_mode_become_rgb_and_stay_as_they_are(style, mode):
    image = picture(SIZE).convert(mode)
    image.info = {"comment": "kept"}
    before = image.tobytes()
    drawn = render(image, BOX, style)
    assert drawn.mode == "RGB"
    assert drawn.info == {}
    assert (image.tobytes(), image.mode, image.info) == (before, mode, {"comment": "kept"})


@pytest.mark.parametrize("style", [pytest.param(style, id=style) for style in STYLES])
def test_a_region_outside_its_picture_is_refused_whatever_the_style(style):
    with pytest.raises(RegionError, match="lies outside its image of 60 x 40 pixels"):
        render(grey(), Box(70, 0, 80, 10), style)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param({"style": "glow"}, "there is no visual prompt 'glow'", id="style"),
        pytest.param({"style": "circle", "width": 0}, "a line is 1 pixel wide or more", id="width"),
        pytest.param({"style": "blur", "radius": float("nan")}, "a radius 0 or more", id="radius"),
    ],
)
def test_what_makes_no_sense_is_refused(options, sentence):
    with pytest.raises(RegionkitError, match=sentence):
        render(grey(), WholeImage(), **options)
