"""The projector: what it merges, its released layouts, padding, and what it refuses."""

import dataclasses

import pytest
import torch
from dam_golden import release_in
from safetensors.torch import save_file

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, PortError, WeightsError
from regionkit.core.features import RegionTokens
from regionkit.core.weights import WeightFile
from regionkit.plugins.dam.configs import MlpDownsampleConfig
from regionkit.plugins.dam.projector import MlpDownsample, merged
from regionkit.plugins.dam.projector_layout import read_projector

param = pytest.param
READS, WRITES = "vision[8]", "words[12]"


def made(seed=0, writes=WRITES, weights=None, **options):
    context = BuildContext(reads=READS, writes=writes, seed=seed, weights=weights)
    return MlpDownsample.build(MlpDownsampleConfig(**options), context)


def tokens(count=9, regions=3, width=8):
    values = torch.randn(regions, count, width, generator=torch.Generator().manual_seed(1))
    return RegionTokens(values, torch.ones(regions, count, dtype=torch.bool), READS)


@torch.no_grad()
def bridged(projector, inputs):
    return projector.bridge(inputs)


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        param("column", [[1, 2, 5, 6], [9, 10, 13, 14], [3, 4, 7, 8], [11, 12, 15, 16]], id="column"),
        param("row", [[1, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]], id="row"),
    ],
)
def test_four_tokens_become_one_in_either_order(order, wanted):
    numbered = torch.arange(1.0, 17).reshape(1, 16, 1)
    assert merged(numbered, order)[0].int().tolist() == wanted


def test_odd_sides_are_filled_up_with_zeros_at_the_right_and_below():
    numbered = torch.arange(1.0, 10).reshape(1, 9, 1)
    assert merged(numbered)[0].int().tolist() == [[1, 2, 4, 5], [7, 8, 0, 0], [3, 0, 6, 0], [9, 0, 0, 0]]


@pytest.mark.parametrize(
    ("options", "given", "left"),
    [
        param({}, 9, 4, id="downsample"),
        param({}, 729, 196, id="released-size"),
        param({}, 18, 8, id="two-grids-told-by-their-number"),
        param({"grids": 8}, 72, 32, id="eight-grids-by-option"),
        param({"type": "linear"}, 7, 7, id="linear"),
        param({"type": "mlp2x_gelu"}, 7, 7, id="mlp2"),
        param({"type": "mlp3x_gelu"}, 1, 1, id="mlp3"),
    ],
)
def test_number_of_tokens(options, given, left):
    out = bridged(made(**options), tokens(given))
    assert out.tokens.shape == (3, left, 12)
    assert out.mask.shape == (3, left)
    assert bool(out.mask.all())
    assert out.space == WRITES


def test_two_grids_are_merged_each_on_its_own():
    projector, both = made(), tokens(18)
    halves = [
        bridged(projector, dataclasses.replace(both, tokens=one, mask=both.mask[:, :9]))
        for one in both.tokens.chunk(2, 1)
    ]
    assert torch.allclose(bridged(projector, both).tokens, torch.cat([half.tokens for half in halves], 1), atol=1e-6)


def test_identity_hands_on_and_needs_equal_widths():
    given = tokens(5)
    out = bridged(made(type="identity", writes="words[8]"), given)
    assert torch.equal(out.tokens, given.tokens)
    assert out.space == "words[8]"
    with pytest.raises(PortError, match="identity stands between vectors of width 8 and 12"):
        made(type="identity")


def test_padding_passes_through_as_zeros():
    given = tokens(4)
    given.mask[1, 2:] = False
    given.tokens[1, 2:] = 1e30
    out = bridged(made(type="mlp2x_gelu"), given)
    assert torch.equal(out.mask, given.mask)
    assert bool((out.tokens[1, 2:] == 0).all())
    alone = RegionTokens(given.tokens[1:2, :2], given.mask[1:2, :2], READS)
    assert torch.allclose(bridged(made(type="mlp2x_gelu"), alone).tokens, out.tokens[1:2, :2], atol=1e-6)


def test_half_precision_in_gives_half_precision_out():
    given = tokens()
    out = bridged(made(), dataclasses.replace(given, tokens=given.tokens.bfloat16()))
    assert out.tokens.dtype == torch.bfloat16


def test_gradients_reach_layers_and_tokens():
    given = tokens()
    given.tokens.requires_grad_()
    projector = made()
    projector.bridge(given).tokens.square().sum().backward()
    assert given.tokens.grad is not None
    assert all(parameter.grad is not None for parameter in projector.parameters())


def padded(count):
    given = tokens(count)
    given.mask[1, -1] = False
    return given


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        param(
            {},
            tokens(7),
            "mlp-downsample merges 2 x 2 tokens of a square grid, and a region has 7 tokens here\n"
            "  set bridge.type to mlp2x_gelu, which takes any number of tokens, or choose a region encoder that gives "
            "a square of them, such as focal-prompt",
            id="no-square",
        ),
        param({"grids": 2}, tokens(9), "tokens of 2 square grids, and a region has 9 tokens", id="not-two-squares"),
        param({}, padded(9), "and some tokens of these regions are padding", id="padded"),
        param({}, tokens(9, width=6), "reads tokens of width 8, these are 6 wide", id="width"),
    ],
)
def test_refusals(options, given, message):
    with pytest.raises(FeatureError) as caught:
        bridged(made(**options), given)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        param({"type": "mlp2"}, "type: 'mlp2' is no projector; they are: mlp_downsample", id="type"),
        param({"type": "mlp0x_gelu"}, "type: 'mlp0x_gelu' is no projector", id="no-layer"),
        param({"grids": -1}, "grids: -1 must be 0", id="grids"),
    ],
)
def test_impossible_options(options, words):
    with pytest.raises(ValueError, match=words):
        MlpDownsampleConfig(**options)


@pytest.mark.parametrize("kind", ["mlp_downsample", "linear", "mlp2x_gelu", "mlp3x_gelu"])
def test_every_type_is_read_back_from_its_tensors(tmp_path, kind):
    projector = made(seed=3, type=kind)
    folder = tmp_path / "mm_projector"
    folder.mkdir()
    save_file(projector.state_dict(), folder / "model.safetensors")
    artifact = read_projector({"projector": folder}, MlpDownsampleConfig())
    assert artifact.header.config == {"type": kind, "order": "column"}
    assert artifact.header.space == "?[8]"
    again = made(weights=WeightFile(folder, artifact.header, {}, lambda: artifact.tensors), type=kind)
    assert torch.equal(bridged(again, tokens()).tokens, bridged(projector, tokens()).tokens)
    own = projector.artifact()
    assert (own.header.space, own.header.writes) == (READS, WRITES)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        param({"layers.9.weight": torch.zeros(2, 2)}, "left over: 9.weight", id="left-over"),
        param({"layers.2.bias": None}, "missing: 2.bias", id="missing"),
        param({"odd": torch.zeros(2)}, "unknown: odd", id="unknown"),
        param({"layers.2.weight": torch.zeros(3)}, "no projector of a known type", id="no-type"),
    ],
)
def test_what_a_released_projector_may_not_be(tmp_path, change, words):
    tensors = {**made().state_dict(), **change}
    save_file({k: v for k, v in tensors.items() if v is not None}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError) as caught:
        read_projector({"projector": tmp_path}, MlpDownsampleConfig())
    assert words in str(caught.value)


def test_the_folder_of_a_release(tmp_path):
    folder = release_in(tmp_path / "dam") / "mm_projector"
    header = read_projector({"projector": folder}, MlpDownsampleConfig()).header
    assert header.space == "?[64]"
    assert header.config["type"] == "mlp_downsample"
