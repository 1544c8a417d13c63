"""Patch pooling: its weightings by hand, and the vectors of the released code."""

import numpy as np
import pytest
import torch
from golden import golden_file

from regionkit.core.errors import FeatureError, RegionError
from regionkit.core.features import Features, Scene
from regionkit.core.frames import Frame
from regionkit.core.regions import Box, BoxSet, Mask, MaskTrack, Patch, Point, Regions, Trace, WholeImage
from regionkit.core.testing import GridBackbone, check_region_encoder, picture
from regionkit.plugins.patchioner.configs import PatchPoolConfig
from regionkit.plugins.patchioner.patch_pool import PatchPool

GOLDEN = np.load(golden_file("aggregation.npz"))
WEIGHTINGS = ("uniform", "gaussian", "attention", "central", "cls")
param = pytest.param


def pool(**options):
    return PatchPool(PatchPoolConfig(**options))


def scene_of(patches, attention=None, size=(518, 518)):
    """A scene of given features on a square grid, seen through a squash."""
    count, grid = patches.shape[0], int(patches.shape[1] ** 0.5)
    frames = (Frame.squash(size, (grid * 14, grid * 14), (grid, grid)),) * count
    maps = None if attention is None else torch.from_numpy(attention).reshape(count, grid, grid)
    features = Features(torch.from_numpy(patches).reshape(count, grid, grid, -1), frames, attention=maps)
    return Scene([picture(size)] * count, GridBackbone(dim=patches.shape[-1]), features)


def released(x, y, w, h):
    return Box.from_xywh(float(x), float(y), float(w), float(h))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("compat", ["paper", "reference"])
@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_conforms(weighting, compat, fit):
    check_region_encoder(pool(weighting=weighting, compat=compat), GridBackbone(fit=fit))


@pytest.mark.parametrize(
    ("golden", "options"),
    [
        param("dense_uniform", {}, id="uniform"),
        param("dense_gauss0.5", {"weighting": "gaussian", "variance": 0.5}, id="gaussian-0.5"),
        param("dense_gauss1.0", {"weighting": "gaussian"}, id="gaussian-1"),
        param("dense_gauss2.0", {"weighting": "gaussian", "variance": 2.0}, id="gaussian-2"),
        param("dense_attn_fresh_per_box", {"weighting": "attention"}, id="attention"),
        param(
            "dense_attn_sequential_inplace",
            {"weighting": "attention", "attention_map": "shared"},
            id="attention-of-a-shared-map",
        ),
    ],
)
def test_released_boxes(golden, options):
    boxes = [[released(*row) for row in image] for image in GOLDEN["boxes_xywh"]]
    tokens = pool(compat="reference", **options).encode(scene_of(GOLDEN["patches"], GOLDEN["attn"]), Regions.of(boxes))
    expected = torch.from_numpy(GOLDEN[golden]).flatten(0, 1)
    # Left out: the box that starts left of the image, whose negative slices wrap around in the released code.
    known = torch.tensor([box.x1 >= 0 for image in boxes for box in image])
    assert int(known.sum()) > len(known) // 2
    assert torch.isfinite(tokens.tokens).all()
    torch.testing.assert_close(tokens.vectors()[known], expected[known], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("golden", "options"),
    [
        param("set_uniform", {"compat": "reference"}, id="uniform"),
        param("set_gauss1.0", {"compat": "reference", "weighting": "gaussian"}, id="gaussian"),
        param("set_attn", {"compat": "reference", "weighting": "attention"}, id="attention"),
        param("set_paper_eq1", {"compat": "reference", "set_weighting": "per_patch"}, id="paper-eq-1"),
    ],
)
def test_released_box_sets(golden, options):
    sets = [[BoxSet(tuple(released(*row) for row in image if row[0] >= 0))] for image in GOLDEN["set_boxes_xywh"]]
    tokens = pool(**options).encode(scene_of(GOLDEN["patches"], GOLDEN["attn"]), Regions.of(sets))
    torch.testing.assert_close(tokens.vectors(), torch.from_numpy(GOLDEN[golden]), rtol=0, atol=1e-5)


def test_attention_over_overlapping_boxes_depends_on_their_order_in_reference_alone():
    """The released code renormalises its map in place, so that later boxes see what earlier ones left of it."""
    frame = Frame.squash((518, 518), (518, 518), (37, 37))
    attention = GOLDEN["attn"][0].reshape(37, 37).astype(np.float64)
    kept = attention.copy()
    boxes = [released(*row) for row in GOLDEN["set_boxes_xywh"][0] if row[0] >= 0]

    def weights(order, **options):
        return pool(weighting="attention", **options).region_weights(BoxSet(tuple(order)), frame, attention)

    gap = np.abs(weights(boxes, compat="reference") - weights(boxes[::-1], compat="reference")).max()
    assert gap > 1e-3
    np.testing.assert_allclose(weights(boxes), weights(boxes[::-1]), atol=1e-12)
    np.testing.assert_allclose(weights(boxes, compat="reference").sum(), 1)
    assert np.array_equal(attention, kept)


def test_a_shared_map_says_so_and_needs_attention():
    assert PatchPoolConfig(weighting="attention").notes == ()
    (note,) = PatchPoolConfig(weighting="attention", attention_map="shared").notes
    assert "depends on the boxes of its picture that come before it" in note
    with pytest.raises(ValueError, match="attention_map: 'shared' needs weighting: attention"):
        PatchPoolConfig(attention_map="shared")


@pytest.mark.parametrize("golden", ["0.5", "1", "2", "99.9", "100", "0_center"])
def test_released_whole_images(golden):
    encoder = pool(compat="reference", weighting="gaussian", variance=float(golden.split("_")[0]))
    tokens = encoder.encode(scene_of(GOLDEN["patches"]), Regions.of([[WholeImage()]] * 2))
    expected = torch.from_numpy(GOLDEN[f"image_mean_var{golden}"])
    torch.testing.assert_close(tokens.vectors(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("weighting", ["uniform", "attention"])
def test_released_traces_are_a_mean_over_all_patches(weighting):
    traces = [[Trace.from_normalised(GOLDEN[f"trace_points_{i}"].tolist(), (1024, 1024))] for i in range(2)]
    scene = scene_of(GOLDEN["patches"], GOLDEN["attn"], size=(1024, 1024))
    tokens = pool(compat="reference", weighting=weighting).encode(scene, Regions.of(traces)).vectors()
    golden = torch.from_numpy(GOLDEN["trace_embed_attn" if weighting == "attention" else "trace_embed_uniform"])
    torch.testing.assert_close(tokens, golden, rtol=0, atol=1e-6)
    paper = pool(weighting=weighting).encode(scene, Regions.of(traces)).vectors()
    torch.testing.assert_close(torch.cosine_similarity(paper, golden), torch.ones(2), rtol=0, atol=1e-5)
    assert (paper.norm(dim=1) > 5 * golden.norm(dim=1)).all()  # same direction, another length


def test_released_attention_over_the_whole_image():
    scene = scene_of(GOLDEN["attn_patches"], GOLDEN["attn_weights_h16"])
    everything = Regions.of([[WholeImage()]] * 2)
    tokens = pool(compat="reference", weighting="attention").encode(scene, everything).vectors()
    torch.testing.assert_close(tokens, torch.from_numpy(GOLDEN["avg_self_attn_token_h16"]), rtol=0, atol=1e-6)
    paper = pool(weighting="attention").encode(scene, everything).vectors()
    torch.testing.assert_close(paper / GOLDEN["attn_patches"].shape[1], tokens, rtol=0, atol=1e-6)


def test_a_trace_is_the_mean_over_its_points():
    """Paper: 1/L sum over the L points, each taking the patch that it lies in; duplicates count."""
    patches = torch.from_numpy(GOLDEN["patches"])[:1].numpy()
    columns = [(3, 4), (3, 4), (10, 20), (36, 0)]
    trace = Trace(tuple((c * 14 + 7.0, r * 14 + 7.0) for r, c in columns))
    tokens = pool().encode(scene_of(patches), Regions.of([[trace]]))
    expected = np.mean([patches[0, r * 37 + c] for r, c in columns], axis=0)
    np.testing.assert_allclose(tokens.vectors()[0].numpy(), expected, atol=1e-6)


def test_eq_1_by_hand_with_duplicates():
    patches = np.arange(16, dtype=np.float32).reshape(1, 16, 1).repeat(6, 2)
    scene = scene_of(patches, size=(56, 56))
    boxes = BoxSet((Box(0, 0, 28, 14), Box(0, 0, 28, 14), Box(42, 42, 56, 56)))  # patches 0 and 1, twice; patch 15
    value = lambda **options: float(pool(**options).encode(scene, Regions.of([[boxes]])).vectors()[0, 0])  # noqa: E731
    assert value() == pytest.approx((0 + 1 + 0 + 1 + 15) / 5)
    assert value(set_weighting="per_box") == pytest.approx((0.5 + 0.5 + 15) / 3)
    # A Gaussian moves weight within a box, not between boxes: two patches of one row weigh the same.
    assert value(weighting="gaussian") == pytest.approx(17 / 5)


@pytest.mark.parametrize(
    ("region", "patch"),
    [
        param(WholeImage(), (1, 1), id="even-grid-takes-the-first-of-four"),
        param(Box(14, 14, 56, 56), (2, 2), id="odd-box"),
        param(Patch(3, 0, 4, 4), (3, 0), id="patch"),
    ],
)
def test_central(region, patch):
    weights = pool(weighting="central").region_weights(region, Frame.squash((56, 56), (56, 56), (4, 4)))
    assert weights[patch] == 1
    assert weights.sum() == 1


def test_central_of_a_mask_lies_in_the_mask():
    bitmap = np.zeros((56, 56), dtype=bool)
    bitmap[:, :14] = bitmap[:14] = True  # a corner-shaped thing whose middle is empty
    weights = pool(weighting="central").region_weights(Mask(bitmap), Frame.squash((56, 56), (56, 56), (4, 4)))
    assert weights.sum() == 1
    assert weights[:, 0].sum() + weights[0, 1:].sum() == 1


@pytest.mark.parametrize("variance", [1e-300, 1e-6, 0.01, 1.0, 99.0])
def test_a_gaussian_never_vanishes(variance):
    encoder = pool(weighting="gaussian", variance=variance)
    frame = Frame.squash((56, 56), (56, 56), (4, 4))
    for region in (WholeImage(), Box(0, 0, 56, 14), Box(0, 0, 14, 14)):
        weights = encoder.region_weights(region, frame)
        assert np.isfinite(weights).all()
        assert weights.sum() == pytest.approx(1)


def test_gaussian_leaves_points_and_traces_alone():
    frame = Frame.squash((56, 56), (56, 56), (4, 4))
    for region in (Trace(((1, 1), (1, 1), (30, 30))), Point(((1, 1), (50, 50)))):
        for weighting in ("gaussian", "central"):
            one = pool(weighting=weighting).region_weights(region, frame)
            assert np.array_equal(one, pool().region_weights(region, frame))


def test_attention_of_zero_falls_back_to_uniform():
    attention = np.zeros((1, 16), dtype=np.float32)
    attention[0, 15] = 1
    scene = scene_of(np.arange(96, dtype=np.float32).reshape(1, 16, 6), attention, size=(56, 56))
    boxes = Regions.of([[Box(0, 0, 28, 14), Box(28, 28, 56, 56)]])
    values = pool(weighting="attention").encode(scene, boxes).vectors()[:, 0]
    assert values.tolist() == [3, 90]  # patches 0 and 1 evenly; patch 15 alone


@pytest.mark.parametrize("faint", [1e-15, 1e-30, 1e-300])
def test_attention_that_all_but_leaves_a_box_out_still_weighs_it(faint):
    draws = np.random.default_rng(0)
    patches, attention = draws.standard_normal((1369, 8)).astype(np.float32), draws.random((37, 37))
    attention[:, :20] *= faint
    boxes = (Box(20, 30, 200, 300), Box(300, 30, 500, 300))
    scene = scene_of(patches[None], attention.reshape(1, -1))
    found = pool(weighting="attention").encode(scene, Regions(boxes, (0, 0))).vectors()
    for vector, box in zip(found, boxes, strict=True):
        own = pool(weighting="attention").region_weights(box, scene.features.frames[0], attention)
        np.testing.assert_allclose(vector, own.reshape(-1) @ patches, atol=1e-6)


def test_cls_is_the_class_token_of_each_image():
    backbone = GridBackbone()
    scene = Scene([picture(seed=1), picture(seed=2)], backbone)
    tokens = pool(weighting="cls").encode(scene, Regions.of([[Box(0, 0, 9, 9)], [WholeImage(), Point.at(1, 1)]]))
    assert torch.equal(tokens.vectors(), scene.features.cls[[0, 1, 1]])
    assert tokens.space == backbone.space


def test_fifty_boxes_share_one_forward_and_equal_fifty_single_calls():
    backbone = GridBackbone((12, 12))
    random = np.random.default_rng(0)
    corners = random.uniform(0, 40, size=(50, 2))
    boxes = [Box(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, random.uniform(1, 40, (50, 2)), strict=True)]
    scene = Scene([picture((96, 96))], backbone)
    together = pool().encode(scene, Regions.of([boxes])).tokens
    assert backbone.forwards == 1
    alone = torch.cat([pool().encode(scene, Regions.of([[box]])).tokens for box in boxes])
    assert torch.equal(together, alone)
    assert backbone.forwards == 1


def test_no_region_needs_no_forward():
    backbone = GridBackbone()
    tokens = pool().encode(Scene([picture()], backbone), Regions((), ()))
    assert tokens.tokens.shape == (0, 1, 16)
    assert backbone.forwards == 0


def test_half_precision_features_stay_half():
    features = GridBackbone().encode([picture()])
    half = Features(features.patches.to(torch.bfloat16), features.frames)
    tokens = pool().encode(Scene([picture()], GridBackbone(), half), Regions.of([[WholeImage()]]))
    assert tokens.tokens.dtype == torch.bfloat16
    torch.testing.assert_close(tokens.vectors()[0].float(), features.patches[0].mean((0, 1)), rtol=0, atol=2e-2)


@pytest.mark.parametrize(
    ("weighting", "message"),
    [
        param(
            "cls",
            "patch-pool with weighting 'cls' needs a backbone with a class token, and this one has none",
            id="cls",
        ),
        param(
            "attention", "patch-pool with weighting 'attention' needs a backbone with an attention map", id="attention"
        ),
    ],
)
def test_what_the_backbone_lacks(weighting, message):
    scene = Scene([picture()], GridBackbone(cls=False, attention=False))
    with pytest.raises(FeatureError) as caught:
        pool(weighting=weighting).encode(scene, Regions.of([[WholeImage()]]))
    assert str(caught.value).startswith(message)
    assert "set region_encoder.weighting to uniform, gaussian or central" in str(caught.value)


def test_a_mask_track_is_refused():
    track = MaskTrack((Mask(np.ones((48, 64), dtype=bool)),))
    with pytest.raises(
        RegionError, match="patch-pool does not take a mask-track region\n  it takes: point, box, box-set"
    ):
        pool().encode(Scene([picture()], GridBackbone()), Regions.of([[track]]))


@pytest.mark.parametrize("variance", [-1.0, float("nan"), float("inf")])
def test_config_refuses_impossible_variances(variance):
    with pytest.raises(ValueError, match=r"variance: .* must be 0 \(the central patch\) or more; the paper takes 1.0"):
        PatchPoolConfig(weighting="gaussian", variance=variance)


def test_compat_chooses_the_rules_and_options_overrule_it():
    assert (pool().rules.box_rule, pool().rules.set_weighting) == ("intersect", "per_patch")
    reference = pool(compat="reference")
    assert (reference.rules.box_rule, reference.rules.set_weighting) == ("reference", "per_box")
    mixed = pool(compat="reference", box_rule="coverage", set_weighting="per_patch", mask_rule="area").rules
    assert (mixed.box_rule, mixed.set_weighting, mixed.mask_rule) == ("coverage", "per_patch", "area")
