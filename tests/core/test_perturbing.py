"""Regions as careless hands give them: inside the picture, never empty, the same each time, more with more."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regionkit.core.contracts import Dataset, Sample
from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.geometry import bounding_box, region_mask
from regionkit.core.perturbing import KINDS, Perturbation, perturb, perturbed, perturbed_sample, size_of
from regionkit.core.regions import Box, BoxSet, Mask, MaskTrack, Patch, Point, Trace, WholeImage
from regionkit.core.samples import LazySamples

WIDTH, HEIGHT = SIZE = (60, 40)
AMOUNTS = st.floats(0.01, 0.5)


def boxes(reach=10):
    """Boxes that the picture holds a part of; they may reach beyond it."""
    across, down = st.floats(-reach, WIDTH - 1), st.floats(-reach, HEIGHT - 1)
    sides = st.floats(0.2, 50)
    made = st.builds(lambda x, y, w, h: Box(x, y, x + w, y + h), across, down, sides, sides)
    return made.filter(lambda box: box.x2 > 0.1 and box.y2 > 0.1)


PLACES = st.lists(st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT)), min_size=1, max_size=12).map(tuple)


@st.composite
def masks(draw):
    bitmap = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    for _ in range(draw(st.integers(1, 3))):
        x, y = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
        bitmap[y : y + draw(st.integers(1, 25)), x : x + draw(st.integers(1, 25))] = True
    return Mask(bitmap)


REGIONS = st.one_of(
    boxes(),
    st.lists(boxes(), min_size=1, max_size=3).map(lambda several: BoxSet(tuple(several))),
    masks(),
    masks().map(lambda mask: MaskTrack((None, mask))),
    PLACES.map(Point),
    PLACES.map(lambda points: Trace(points, tuple(float(at) for at in range(len(points))))),
    st.just(Patch(0, 1, 4, 6)),
    st.just(WholeImage()),
)
PERTURBATIONS = st.builds(
    lambda kind, amount, seed: Perturbation(kind, round(20 * amount) if KINDS[kind].whole else amount, seed),
    st.sampled_from(sorted(KINDS)),
    AMOUNTS,
    st.integers(0, 3),
)


def same(first, second):
    if isinstance(first, MaskTrack):
        return all((a is None and b is None) or same(a, b) for a, b in zip(first.masks, second.masks, strict=True))
    return np.array_equal(first.bitmap, second.bitmap) if isinstance(first, Mask) else first == second


def stills(region):
    return [mask for mask in region.masks if mask is not None] if isinstance(region, MaskTrack) else [region]


@given(REGIONS, PERTURBATIONS)
def test_every_region_stays_in_its_picture_and_is_never_empty(region, perturbation):
    found = perturb(region, perturbation, SIZE, "one")
    assert type(found) is type(region)
    for still in stills(found):
        assert region_mask(still, SIZE).any()
        parts = still.boxes if isinstance(still, BoxSet) else [still] if isinstance(still, Box) else []
        for box in parts if found is not region else []:
            assert 0 <= box.x1 < box.x2 <= WIDTH
            assert 0 <= box.y1 < box.y2 <= HEIGHT


@given(REGIONS, PERTURBATIONS)
def test_the_same_words_give_the_same_region(region, perturbation):
    assert same(perturb(region, perturbation, SIZE, "one"), perturb(region, perturbation, SIZE, "one"))


@given(REGIONS, st.sampled_from(sorted(KINDS)))
def test_the_amount_0_is_the_region_itself(region, kind):
    assert perturb(region, Perturbation(kind, 0), SIZE, "one") is region


@given(REGIONS, PERTURBATIONS)
def test_a_kind_of_region_that_is_not_taken_stays_as_it_is(region, perturbation):
    if region.kind not in KINDS[perturbation.kind].takes:
        assert not perturbation.touches(region)
        assert perturb(region, perturbation, SIZE, "one") is region


@given(st.one_of(boxes(), masks()), AMOUNTS, AMOUNTS)
def test_more_dilation_covers_more_and_more_shrinking_less(region, first, second):
    small, large = sorted((first, second))

    def pixels(kind, amount):
        return region_mask(perturb(region, Perturbation(kind, amount), SIZE), SIZE)

    for less, more in (
        (pixels("dilate", small), pixels("dilate", large)),
        (pixels("shrink", large), pixels("shrink", small)),
    ):
        assert not (less & ~more).any()
    assert not (region_mask(region, SIZE) & ~pixels("dilate", small)).any()
    if isinstance(region, Mask):
        assert not (pixels("shrink", small) & ~region.bitmap).any()


@given(PLACES, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_drops_all_that_a_smaller_one_drops(points, first, second):
    small, large = sorted((first, second))
    times = tuple(range(len(points)))  # tell points of one place apart

    def left(amount):
        found = perturb(Trace(points, times), Perturbation("drop-points", amount), SIZE, "one")
        assert [points[int(time)] for time in found.times] == list(found.points)
        return list(found.times)

    assert set(left(large)) <= set(left(small))
    assert left(small) == sorted(left(small))
    gone = len(points) - len(left(large))
    expected = math.floor(large * len(points) + 0.5) if len(set(points)) > 1 else 0
    assert gone == min(expected, len(points) - 1)


@given(boxes(reach=0).filter(lambda box: box.x2 < WIDTH and box.y2 < HEIGHT), AMOUNTS, st.text(max_size=5))
def test_no_edge_moves_by_more_than_the_amount(box, amount, name):
    found = perturb(box, Perturbation("jitter", amount), SIZE, name)
    sides = np.tile([box.x2 - box.x1, box.y2 - box.y1], 2)
    room = np.maximum(amount * sides, 1)  # a box keeps a pixel, for which edges may move back
    assert (np.abs(np.subtract(found.corners, box.corners)) <= room + 1e-9).all()


def test_edges_draw_evenly_on_both_sides():
    box = Box(20, 20, 30, 24)
    found = np.array([perturb(box, Perturbation("jitter", 0.25), SIZE, str(at)).corners for at in range(2000)])
    moves = (found - box.corners) / [10, 4, 10, 4]
    assert np.abs(moves.mean(0)).max() < 0.02
    assert moves.std(0) == pytest.approx(0.25 / math.sqrt(3), rel=0.05)
    assert np.abs(np.corrcoef(moves.T) - np.eye(4)).max() < 0.08


def test_a_larger_amount_goes_further_in_the_same_direction():
    box = Box(20, 15, 30, 25)
    small, large = (
        np.subtract(perturb(box, Perturbation("jitter", amount), SIZE, "one").corners, box.corners)
        for amount in (0.1, 0.3)
    )
    assert large == pytest.approx(3 * small)


def test_points_are_shifted_by_normal_draws_of_the_diagonal():
    trace = Trace(((20.0, 15.0), (23.0, 19.0)))  # a diagonal of 5
    found = [perturb(trace, Perturbation("shift-points", 0.2), SIZE, str(at)).points for at in range(2000)]
    moves = np.array(found) - trace.points
    assert moves.std((0, 1)) == pytest.approx([1, 1], rel=0.05)
    assert np.abs(moves).max() > 3  # a uniform draw of that spread ends at 1.73
    assert abs(float((moves[:, 0] * moves[:, 1]).mean())) < 0.05


def test_a_single_click_moves_by_the_diagonal_of_its_picture():
    click = Point.at(150, 200)
    found = [perturb(click, Perturbation("shift-points", 0.05), (300, 400), str(at)).points[0] for at in range(1000)]
    assert np.std(found, axis=0) == pytest.approx([25, 25], rel=0.1)


def test_a_trace_goes_along_with_the_box_around_it():
    trace = Trace(((10.0, 10.0), (15.0, 20.0), (30.0, 12.0)), (0.0, 1.0, 2.0))
    asked = Perturbation("jitter", 0.2)
    found, moved = perturb(trace, asked, SIZE, "one"), perturb(Box(10, 10, 30, 20), asked, SIZE, "one")
    assert found.times == trace.times
    points = np.array(found.points)
    assert [*points.min(0), *points.max(0)] == pytest.approx(moved.corners)
    assert (points[1, 0] - points[0, 0]) / (points[2, 0] - points[0, 0]) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("region", "asked", "expected"),
    [
        pytest.param(Box(20, 10, 30, 14), ("dilate", 0.5), Box(15, 8, 35, 16), id="dilate"),
        pytest.param(Box(2, 10, 12, 14), ("dilate", 0.5), Box(0, 8, 17, 16), id="dilate-to-the-edge"),
        pytest.param(Box(20, 10, 30, 18), ("shrink", 0.25), Box(22.5, 12, 27.5, 16), id="shrink"),
        pytest.param(Box(20, 10, 30, 14), ("shrink", 0.5), Box(24.5, 11.5, 25.5, 12.5), id="shrink-to-a-pixel"),
        pytest.param(Box(20, 10, 20.5, 14), ("shrink", 0.5), Box(20, 11.5, 20.5, 12.5), id="narrower-than-a-pixel"),
        pytest.param(Box(-10, 10, 10, 14), ("dilate", 0.1), Box(0, 9.6, 11, 14.4), id="what-the-picture-holds-counts"),
        pytest.param(
            BoxSet((Box(20, 10, 30, 14), Box(40, 10, 42, 20))),
            ("dilate", 0.5),
            BoxSet((Box(15, 8, 35, 16), Box(39, 5, 43, 25))),
            id="each-box-of-a-set",
        ),
    ],
)
def test_boxes_by_hand(region, asked, expected):
    assert perturb(region, Perturbation(*asked), SIZE) == expected


def test_boxes_of_a_set_move_apart_from_each_other():
    found = perturb(BoxSet((Box(20, 10, 30, 20),) * 2), Perturbation("jitter", 0.2), SIZE, "one")
    assert found.boxes[0] != found.boxes[1]


@pytest.mark.parametrize(
    ("asked", "side"),
    [
        pytest.param(("dilate", 0.2), 14, id="disc-of-a-fifth-of-the-side"),
        pytest.param(("shrink", 0.2), 6, id="shrunk-by-that"),
        pytest.param(("dilate-pixels", 5), 14, id="square-of-5-pixels"),
        pytest.param(("dilate-pixels", 1), 10, id="square-of-one-pixel"),
    ],
)
def test_a_square_mask_by_hand(asked, side):
    bitmap = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    bitmap[15:25, 20:30] = True
    found = perturb(Mask(bitmap), Perturbation(*asked), None)
    corners = bounding_box(found, SIZE).corners
    assert (corners[2] - corners[0], corners[3] - corners[1]) == (side, side)
    assert found.bitmap.sum() == (side**2 if asked[0] != "dilate" else 100 + 4 * 10 * 2 + 4 * 1)


@pytest.mark.parametrize(
    "region",
    [
        pytest.param(Box(70, 10, 80, 20), id="box"),
        pytest.param(Point(((1.0, 2.0), (70.0, 2.0))), id="clicks"),
        pytest.param(Trace(((-1.0, 2.0), (70.0, 2.0))), id="trace"),
    ],
)
@pytest.mark.parametrize("kind", ["jitter", "shift-points"])
def test_a_region_outside_its_picture_is_left_to_be_refused(region, kind):
    assert perturb(region, Perturbation(kind, 0.3), SIZE, "one") is region


def test_points_outside_the_picture_do_not_count():
    trace = Trace(((-5.0, 5.0), (10.0, 10.0), (70.0, 5.0)))
    found = perturb(trace, Perturbation("drop-points", 1.0), SIZE, "one")
    assert found == trace
    moved = perturb(trace, Perturbation("shift-points", 0.05), SIZE, "one").points
    assert (moved[0], moved[2]) == (trace.points[0], trace.points[2])
    assert moved[1] != trace.points[1]


def test_a_single_click_has_nothing_to_lose_and_no_box_around_it():
    click, clicks = Point.at(3, 4), Point(((3.0, 4.0), (5.0, 6.0)))
    touched = {kind: (Perturbation(kind, 1 / 2).touches(click), Perturbation(kind, 1 / 2).touches(clicks))
               for kind in ("jitter", "drop-points", "shift-points")}  # fmt: skip
    assert touched == {"jitter": (False, True), "drop-points": (False, True), "shift-points": (True, True)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(("jiter", 0.1), "no perturbation 'jiter'\n  did you mean: jitter", id="kind"),
        pytest.param(("jitter", -0.1), "jitter: '-0.1' is no number of 0 or more", id="negative"),
        pytest.param(("jitter", math.nan), "jitter: 'nan' is no number of 0 or more", id="nan"),
        pytest.param(("jitter", math.inf), "jitter: 'inf' is no number of 0 or more", id="infinite"),
        pytest.param(("jitter", True), "jitter: 'True' is no number of 0 or more", id="truth"),
        pytest.param(("jitter", "0.1"), "jitter: '0.1' is no number of 0 or more", id="word"),
        pytest.param(("shrink", 0.6), "shrink: 0.6 is more than shrink can do: amounts go up to 0.5", id="most"),
        pytest.param(
            ("dilate-pixels", 1.5), "dilate-pixels: dilate-pixels counts pixels, and 1.5 is no whole number", id="whole"
        ),
        pytest.param(("jitter", 0.1, -1), "jitter: '-1' is no seed", id="seed"),
    ],
)
def test_what_is_no_perturbation_is_told(words, message):
    with pytest.raises(DataError) as error:
        Perturbation(*words)
    assert str(error.value).startswith(message)


@given(PERTURBATIONS)
def test_a_perturbation_is_stored_and_read_again(perturbation):
    assert Perturbation.from_dict(perturbation.to_dict()) == perturbation


def test_labels_say_the_amount_and_a_seed_that_is_not_0():
    assert Perturbation("jitter", 0.1).label == "jitter=0.1"
    assert Perturbation("dilate", 1.0).label == "dilate=1"
    assert Perturbation("jitter", 0.1, 3).label == "jitter=0.1(seed=3)"
    assert Perturbation("jitter", 0.1).to_dict() == {"kind": "jitter", "amount": 0.1}


class Grey(Dataset):
    """Pictures of one size, each counted when it is loaded; ``gone`` is missing."""

    def __init__(self, folder=None):
        self.loaded, self.folder = [], folder

    def samples(self, task, split, seed=0, limit=None):
        return []

    def image(self, image_id):
        self.loaded.append(image_id)
        if image_id == "gone":
            raise DataError("no such picture")
        return Image.new("L", SIZE)

    def fingerprint(self, task, split, seed=0, limit=None):
        return ""

    def picture(self, image_id):
        return None if self.folder is None else self.folder / f"{image_id}.png"


BOX, OTHER = Box(20, 10, 30, 20), Box(35, 10, 45, 20)
SAMPLE = Sample("a", "p", BOX, ("said",), {"nouns": ("x",)})
JITTER = Perturbation("jitter", 0.2)


def test_the_one_region_is_perturbed_and_the_rest_stays():
    found = perturbed_sample(SAMPLE, JITTER, SIZE)
    assert found.region != BOX
    assert replace(found, region=BOX) == SAMPLE


def test_of_candidates_all_are_perturbed_and_the_one_that_is_meant_stays_what_it_is():
    sample = replace(SAMPLE, candidates=(BOX, BOX, OTHER))
    found = perturbed_sample(sample, JITTER, SIZE)
    assert found.region == BOX
    assert len({*found.candidates, *sample.candidates}) == 5  # each moves its own way
    assert replace(found, candidates=sample.candidates) == sample


def test_of_mentioned_regions_each_is_perturbed():
    sample = replace(SAMPLE, mentioned=(BOX, OTHER))
    found = perturbed_sample(sample, JITTER, SIZE)
    assert found.region == BOX
    assert all(new != old for new, old in zip(found.mentioned, sample.mentioned, strict=True))


def test_samples_are_perturbed_when_they_are_looked_at():
    data = Grey()
    found = perturbed([SAMPLE, replace(SAMPLE, id="b", image_id="q"), replace(SAMPLE, id="c")], JITTER, data)
    assert isinstance(found, LazySamples)
    assert (len(found), data.loaded) == (3, [])
    assert found[1] == perturbed_sample(replace(SAMPLE, id="b", image_id="q"), JITTER, SIZE)
    assert data.loaded == ["q"]
    assert list(found) == [found[0], found[1], found[2]] == found[:]
    assert data.loaded == ["q", "p"]  # each size is asked for once
    assert len({sample.region for sample in found}) == 3


def test_nothing_happens_without_a_perturbation_and_a_stored_one_is_read():
    samples = [SAMPLE]
    assert perturbed(samples, None, Grey()) is samples
    assert list(perturbed(samples, {"kind": "jitter", "amount": 0.2}, Grey())) == list(
        perturbed(samples, JITTER, Grey())
    )
    with pytest.raises(DataError):
        perturbed(samples, {"kind": "dance"}, Grey())


def test_masks_know_their_size_and_are_made_once():
    bitmap = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    bitmap[10:20, 10:20] = True
    data = Grey()
    found = perturbed([replace(SAMPLE, region=Mask(bitmap))], Perturbation("dilate", 0.2), data)
    assert found[0].region.bitmap.sum() > 100
    assert found[0] is found[0]
    assert data.loaded == []


def test_a_picture_that_cannot_be_read_is_left_to_be_refused():
    sample = replace(SAMPLE, image_id="gone")
    assert perturbed([sample], JITTER, Grey())[0] is sample


def test_the_size_of_a_file_is_read_from_its_head(tmp_path):
    Image.new("RGB", SIZE).save(tmp_path / "p.png")
    (tmp_path / "q.png").write_bytes(b"an archive of pictures")
    data = Grey(tmp_path)
    assert size_of(data, "p") == SIZE
    assert data.loaded == []
    assert size_of(data, "q") == SIZE
    assert data.loaded == ["q"]


def test_a_data_set_that_cannot_be_a_key_is_asked_each_time():
    class Unhashable(Grey):
        __hash__ = None  # type: ignore[assignment]

    data = Unhashable()
    assert [size_of(data, "p"), size_of(data, "p")] == [SIZE, SIZE]


@given(
    st.dictionaries(
        st.sampled_from(["kind", "amount", "seed"]),
        st.one_of(st.none(), st.text(), st.floats(), st.lists(st.integers())),
    )
)
def test_hostile_records_are_named(stored):
    try:
        Perturbation.from_dict(stored)
    except RegionkitError:
        return
    assert stored["kind"] in KINDS
