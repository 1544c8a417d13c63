"""The learned aggregator: the formula by hand, what it must not depend on, its weights, its training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, RegionkitError, WeightsError
from regionkit.core.features import Features, RegionTokens, Scene
from regionkit.core.frames import Frame
from regionkit.core.regions import Box, BoxSet, Mask, Patch, Point, Region, Regions, Trace, WholeImage
from regionkit.core.testing import GridBackbone, picture
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.patchioner.configs import PatchPoolConfig
from regionkit.plugins.patchioner.learned_pool import ALPHA, LearnedPool
from regionkit.plugins.patchioner.learned_pool_config import LearnedPoolConfig
from regionkit.plugins.patchioner.patch_pool import PatchPool
from regionkit.plugins.training.captioning import Captioning
from regionkit.registry.cli import root
from regionkit.registry.weights.index import get_index

WIDTH, HEIGHT, DIM, HEADS = 96, 60, 8, 2
ROWS, COLUMNS = 5, 8
SPACE = f"grid/image[{DIM}]"


def scene_of(pictures: int = 1, seed: int = 0) -> Scene:
    """Pictures of 96 x 60 pixels with random features."""
    generator = torch.Generator().manual_seed(seed)
    frame = Frame.squash((WIDTH, HEIGHT), (COLUMNS * 14, ROWS * 14), (ROWS, COLUMNS))
    patches = torch.randn(pictures, ROWS, COLUMNS, DIM, generator=generator)
    images = [picture((WIDTH, HEIGHT))] * pictures
    return Scene(images, GridBackbone(dim=DIM), Features(patches, (frame,) * pictures))


def encoder(seed: int = 0, **options: object) -> LearnedPool:
    config = LearnedPoolConfig(**{"heads": HEADS, "mlp_ratio": 2.0, "weights": "none", **options})
    return LearnedPool.build(config, BuildContext(reads=SPACE, writes=SPACE, seed=seed))


def encode(part: LearnedPool | PatchPool, scene: Scene, *regions: Region, image: int = 0) -> Tensor:
    with torch.no_grad():
        tokens = part.encode(scene, Regions(regions, (image,) * len(regions)))
    assert isinstance(tokens, RegionTokens)
    return tokens.vectors()


def same(one: Tensor, other: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(one.double(), other.double(), rtol=0, atol=atol)


def bitmap() -> np.ndarray:
    inside = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    inside[10:33, 20:50] = True
    inside[40:44, 80:90] = True
    return inside


# Coordinates never lie on the border of a patch, where two roundings may differ.
xs = st.integers(0, WIDTH - 2).map(lambda value: value + 0.37)
ys = st.integers(0, HEIGHT - 2).map(lambda value: value + 0.37)
sides = st.integers(1, 60)
boxes = st.builds(lambda x, y, w, h: Box(x, y, min(WIDTH, x + w), min(HEIGHT, y + h)), xs, ys, sides, sides)
regions_of_all_kinds = st.one_of(
    boxes,
    st.lists(boxes, min_size=1, max_size=4).map(lambda found: BoxSet(tuple(found))),
    st.builds(Point.at, xs, ys),
    st.lists(st.tuples(xs, ys), min_size=1, max_size=9).map(lambda path: Trace(tuple(path))),
    st.builds(lambda row, column: Patch(row, column, ROWS, COLUMNS), st.integers(0, ROWS - 1), st.integers(0, 7)),
    st.just(WholeImage()),
    st.just(Mask(bitmap())),
)


def by_hand(part: LearnedPool, rows: Tensor) -> Tensor:
    """v_mean + alpha Attn(V)[CLS] in double precision, of V (n, d) written out row by row."""
    own = {name: tensor.double() for name, tensor in part.state_dict().items()}

    def norm(values: Tensor, name: str) -> Tensor:
        centred = values - values.mean(-1, keepdim=True)
        spread = (centred**2).mean(-1, keepdim=True).add(1e-6 if part.block.norm1.eps == 1e-6 else 1e-5).sqrt()
        return centred / spread * own[f"block.{name}.weight"] + own[f"block.{name}.bias"]

    def linear(values: Tensor, name: str) -> Tensor:
        return values @ own[f"block.{name}.weight"].T + own[f"block.{name}.bias"]

    rows = rows.double()
    tokens = torch.cat([own["cls"], rows])
    queries, keys, values = linear(norm(tokens, "norm1"), "attn.qkv").split(DIM, dim=-1)
    read = []
    for head in range(HEADS):
        own_part = slice(head * DIM // HEADS, (head + 1) * DIM // HEADS)
        logits = queries[:, own_part] @ keys[:, own_part].T / math.sqrt(DIM / HEADS)
        read.append(logits.softmax(-1) @ values[:, own_part])
    tokens = tokens + linear(torch.cat(read, dim=-1), "attn.proj")
    hidden = linear(norm(tokens, "norm2"), "mlp.fc1")
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    tokens = tokens + linear(hidden, "mlp.fc2")
    return rows.mean(0) + own["alpha"] * tokens[0]


def rows_of(scene: Scene, part: LearnedPool, region: Region) -> Tensor:
    """V of a region whose occurrences are whole numbers, every occurrence a row."""
    weights = part.pool.weights(scene.features, Regions((region,), (0,)))[0].flatten()
    counts = np.rint(weights / weights[weights > 0].min()).astype(int)
    return scene.features.patches[0].flatten(0, 1).repeat_interleave(torch.from_numpy(counts), dim=0)


@settings(max_examples=60)
@given(region=regions_of_all_kinds, compat=st.sampled_from(["paper", "reference"]), seed=st.integers(0, 3))
def test_alpha_0_is_the_mean_bit_for_bit(region, compat, seed):
    scene = scene_of(seed=seed)
    mean = encode(PatchPool(PatchPoolConfig(compat=compat)), scene, region)
    assert torch.equal(encode(encoder(alpha=0, compat=compat), scene, region), mean)
    assert not torch.equal(encode(encoder(compat=compat), scene, region), mean)


@pytest.mark.parametrize("option", ["box_rule", "set_weighting", "mask_rule"])
def test_the_mean_follows_the_rules_of_patch_pool(option):
    other = {"box_rule": "coverage", "set_weighting": "per_box", "mask_rule": "area"}[option]
    regions = (Box(3, 3, 50, 31), BoxSet((Box(3, 3, 70, 55), Box(40, 20, 46, 26))), Mask(bitmap()))
    scene = scene_of()
    mean = encode(PatchPool(PatchPoolConfig(**{option: other})), scene, *regions)
    assert torch.equal(encode(encoder(alpha=0, **{option: other}), scene, *regions), mean)
    assert not torch.equal(encode(PatchPool(), scene, *regions), mean)
    assert not torch.allclose(encode(encoder(**{option: other}), scene, *regions), encode(encoder(), scene, *regions))


@pytest.mark.parametrize(
    "region",
    [
        pytest.param(Box(3, 3, 50, 31), id="box"),
        pytest.param(Point.at(50.3, 20.3), id="point"),
        pytest.param(Mask(bitmap()), id="mask"),
        pytest.param(WholeImage(), id="image"),
        pytest.param(BoxSet((Box(3, 3, 50, 31), Box(20, 10, 70, 40), Box(20, 10, 70, 40))), id="overlapping-boxes"),
        pytest.param(Trace(((5, 5), (6, 6), (7, 7), (80, 50), (81, 5), (5.5, 5))), id="trace-that-stays"),
    ],
)
def test_formula_by_hand(region):
    """Every occurrence of a patch is a row of V: of the trace, the first patch is four."""
    part, scene = encoder(seed=3), scene_of(seed=5)
    with torch.no_grad():
        part.cls.mul_(50)
        part.alpha.fill_(0.7)
    same(encode(part, scene, region)[0], by_hand(part, rows_of(scene, part, region)))


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_row_of_the_class_token_is_that_of_the_whole_block(heads):
    """The block of timm, run as it is over each region by itself, gives the same."""
    part, scene = encoder(seed=1, heads=heads), scene_of()
    for region in (Box(3, 3, 50, 31), Trace(((5, 5), (6, 6), (80, 50))), WholeImage()):
        rows = rows_of(scene, part, region)
        with torch.no_grad():
            whole = part.block(torch.cat([part.cls, rows]).unsqueeze(0))[0, 0]
        same(encode(part, scene, region)[0], rows.mean(0) + ALPHA * whole)


@settings(max_examples=30)
@given(region=st.one_of(boxes, st.just(WholeImage())), seed=st.integers(0, 100))
def test_the_order_of_the_patches_does_not_matter(region, seed):
    """Patches of the region change places among themselves."""
    part, scene = encoder(seed=2), scene_of()
    inside = torch.from_numpy(part.pool.weights(scene.features, Regions((region,), (0,)))[0].flatten()).nonzero()[:, 0]
    shuffled = inside[torch.randperm(len(inside), generator=torch.Generator().manual_seed(seed))]
    patches = scene.features.patches.clone().flatten(1, 2)
    patches[0, inside] = patches[0, shuffled]
    moved = replace(scene.features, patches=patches.reshape(scene.features.patches.shape))
    other = Scene(scene.images, scene.backbone, moved)
    same(encode(part, scene, region), encode(part, other, region))


@settings(max_examples=30)
@given(region=st.one_of(boxes, st.lists(boxes, min_size=1, max_size=3).map(lambda found: BoxSet(tuple(found)))))
def test_only_the_patches_of_the_region_are_read(region):
    part, scene = encoder(seed=2), scene_of()
    outside = part.pool.weights(scene.features, Regions((region,), (0,)))[0] == 0
    patches = scene.features.patches.clone()
    patches[0, torch.from_numpy(outside)] = 1e6
    other = Scene(scene.images, scene.backbone, replace(scene.features, patches=patches))
    assert torch.equal(encode(part, scene, region), encode(part, other, region))


def test_a_region_depends_on_no_other_region_and_no_other_picture(monkeypatch: pytest.MonkeyPatch):
    part, scene = encoder(seed=4), scene_of(pictures=5)
    few = (Box(3, 3, 50, 31), Trace(((5, 5), (6, 6), (80, 50))), WholeImage(), Point.at(50, 20))
    regions = Regions((*few, *few[::-1], few[1]), (3, 0, 3, 1, 1, 0, 4, 0, 3))
    with torch.no_grad():
        together = part.encode(scene, regions).vectors()
        maps = part.attention(scene, regions)
        monkeypatch.setattr("regionkit.plugins.patchioner.learned_pool._TOGETHER", 1)
        same(part.encode(scene, regions).vectors(), together)
    for row, (region, image) in enumerate(zip(regions.items, regions.image, strict=True)):
        alone = Scene(scene.images[:1], scene.backbone, scene.features[image])
        same(encode(part, alone, region)[0], together[row])
        same(part.attention(alone, Regions((region,), (0,)))[0], maps[row])
        assert not maps[row][
            torch.from_numpy(part.pool.weights(alone.features, Regions((region,), (0,)))[0] == 0)
        ].any()


def test_gradients_reach_alpha_and_the_block_and_not_the_features():
    part, scene = encoder().train(), scene_of()
    scene.features.patches.requires_grad_()
    tokens = part.encode(scene, Regions((Box(3, 3, 50, 31), WholeImage()), (0, 0)))
    learned = torch.autograd.grad(tokens.tokens.square().sum(), list(part.parameters()), retain_graph=True)
    assert {name for name, one in zip(dict(part.named_parameters()), learned, strict=True) if one.abs().sum() == 0} <= {
        "block.norm1.bias"
    }
    starting_from_0 = encoder(alpha=0).train()
    tokens = starting_from_0.encode(scene, Regions((WholeImage(),), (0,)))
    assert torch.autograd.grad(tokens.tokens.sum(), starting_from_0.alpha)[0] != 0


def saved(part: LearnedPool, path: Path) -> WeightFile:
    made = part.artifact()
    write_weights(path, made.tensors, made.header)
    header = read_header(path)
    assert header is not None
    return WeightFile(path, header)


def test_weights_come_back_with_the_sizes_that_they_have(tmp_path):
    part, scene = encoder(seed=7), scene_of()
    with torch.no_grad():
        part.alpha.fill_(0.4)
    file = saved(part, tmp_path / "w.safetensors")
    assert (file.header.kind, file.header.name, file.header.space) == ("region_encoder", "learned-pool", SPACE)
    again = LearnedPool.build(LearnedPoolConfig(), BuildContext(reads=SPACE, weights=file))
    assert (again.config.heads, again.config.mlp_ratio) == (HEADS, 2.0)
    assert torch.equal(encode(again, scene, WholeImage()), encode(part, scene, WholeImage()))
    mean = LearnedPool.build(LearnedPoolConfig(alpha=0), BuildContext(reads=SPACE, weights=file))
    assert torch.equal(encode(mean, scene, WholeImage()), encode(PatchPool(), scene, WholeImage()))


@pytest.mark.parametrize(
    ("config", "reads", "error", "message"),
    [
        pytest.param(
            {"heads": 3},
            SPACE,
            WeightsError,
            "region_encoder.heads: 3 was asked for, the weights .* have 2",
            id="heads",
        ),
        pytest.param(
            {},
            "other/image[16]",
            WeightsError,
            r"these weights read patches of width 8, the backbone writes other/image\[16\]",
            id="width",
        ),
    ],
)
def test_wrong_weights_are_refused(tmp_path, config, reads, error, message):
    file = saved(encoder(), tmp_path / "w.safetensors")
    with pytest.raises(error, match=message):
        LearnedPool.build(LearnedPoolConfig(**config), BuildContext(reads=reads, weights=file))


def test_other_mistakes_are_told():
    with pytest.raises(RegionkitError, match=r"heads: 3 does not divide the 8 of grid/image\[8\]") as told:
        encoder(heads=3)
    assert told.value.hints == ("these do: 1, 2, 4, 8",)
    narrow = Features(torch.zeros(1, ROWS, COLUMNS, 6), scene_of().features.frames)
    other = Scene([picture((WIDTH, HEIGHT))], GridBackbone(dim=6), narrow)
    with pytest.raises(FeatureError, match=r"reads grid/image\[8\], got patches of width 6"):
        encode(encoder(), other, WholeImage())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"heads": 0}, "heads: 0 must be 1 or more", id="heads"),
        pytest.param({"mlp_ratio": 0.0}, "mlp_ratio: 0.0 must be more than 0; transformers take 4", id="ratio"),
        pytest.param({"alpha": math.nan}, "alpha: nan must be a finite number; the paper starts from 0.1", id="alpha"),
    ],
)
def test_options_have_bounds(options, message):
    with pytest.raises(ValueError, match=message):
        LearnedPoolConfig(**options)


def test_an_untrained_one_follows_from_its_seed():
    state = torch.random.get_rng_state()
    one, again, other = encoder(seed=1), encoder(seed=1), encoder(seed=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert not torch.equal(one.cls, other.cls)
    assert float(one.alpha.detach()) == pytest.approx(ALPHA)


RECIPE = """\
version: 1
recipe:
  {name: captioning, tasks: [trace], splits: [test], images: 6, steps: 3, batch_size: 4, warmup: 1, evaluated: 0,
   freeze: [backbone, bridge, decoder]}
backbone: {name: mini-dense}
region_encoder: {name: learned-pool}
bridge: {name: noise, std: 0.08}
decoder: {name: decap}
dataset: {name: mini}
out: learned.safetensors
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    (tmp_path / "learned.yaml").write_text(RECIPE, encoding="utf-8")
    yield tmp_path
    get_index.cache_clear()


def test_training_makes_weights_that_say_what_for_and_goes_on_where_it_was_killed(folder, monkeypatch):
    run = CliRunner().invoke(root, ["train", "learned.yaml", "--device", "cpu", "--out", "whole"])
    assert run.exit_code == 0, run.output
    header = read_header(folder / "whole" / "learned.safetensors")
    assert (header.kind, header.name, header.space) == ("region_encoder", "learned-pool", "mini-dense/image[128]")
    assert header.corpus == "mini"
    assert header.extra["training"]["setup"]["recipe"]["tasks"] == ["trace"]

    killed: list[int] = []
    real = Captioning.batch

    def stopping(self: Captioning, step: int):
        if step == 2 and not killed:
            killed.append(step)
            raise KeyboardInterrupt
        return real(self, step)

    monkeypatch.setattr(Captioning, "batch", stopping)
    command = ["train", "learned.yaml", "--device", "cpu", "--out", "parts", "--checkpoint-steps", "1"]
    stopped = CliRunner().invoke(root, command)
    assert stopped.exit_code != 0
    assert killed == [2]
    again = CliRunner().invoke(root, command)
    assert again.exit_code == 0, again.output
    one, other = (load_file(folder / name / "learned.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["alpha"], torch.tensor(ALPHA))


def test_where_the_class_token_looks_at_itself_alone_the_mean_is_shown(monkeypatch):
    pool, scene = encoder(), scene_of()
    regions = Regions.of([[Box(0, 0, 40, 30), WholeImage()]])
    alone = torch.zeros(2, 1 + ROWS * COLUMNS)
    alone[:, 0] = 1.0  # a softmax over large numbers leaves nothing for the patches
    monkeypatch.setattr(pool, "_of_each", lambda features, regions: (torch.zeros(2, DIM), alone))
    torch.testing.assert_close(pool.attention(scene, regions), pool.pool.attention(scene, regions))
