"""The mapper: what its pools and its centring compute, and what it refuses."""

from __future__ import annotations

import re

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize
from vizer_fakes import mapper

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.features import RegionTokens
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.vizer.configs import AlignmentConfig, MapperConfig, ZeroLabelConfig
from regionkit.plugins.vizer.mapper import NOTES, Mapper

READS, WRITES = "lm/hidden[6]", "grid/image[5]"


def states(rows: int = 3, length: int = 4) -> RegionTokens:
    values = torch.randn(rows, length, 6, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(rows, length, dtype=torch.bool)
    mask[0, 2:] = False
    return RegionTokens(values, mask, READS)


def targets(rows: int = 3) -> torch.Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(2)) + 3


def made(**options: object) -> Mapper:
    return mapper(0, READS, WRITES, width=8, **options).eval()


def test_mean_maps_the_mean_of_the_tokens_that_are_no_padding():
    part, given = made(), states()
    out = part.bridge(given)
    assert (out.space, out.tokens.shape) == (WRITES, (3, 1, 5))
    torch.testing.assert_close(out.vectors()[0], part.network(given.tokens[0, :2].mean(0)))
    torch.testing.assert_close(out.vectors()[1], part.network(given.tokens[1].mean(0)))


def test_mlp_mean_takes_the_mean_after_the_map_and_last_maps_the_last_token():
    given = states()
    part = made(pool="mlp_mean")
    torch.testing.assert_close(part.bridge(given).vectors()[0], part.network(given.tokens[0, :2]).mean(0))
    part = made(pool="last")
    torch.testing.assert_close(part.bridge(given).vectors(), part.network(given.tokens[[0, 1, 2], [1, 3, 3]]))


def test_token_compares_every_token_alone():
    part, given, wanted = made(pool="token", center=False), states(), targets()
    cosines = cosine_similarity(part.network(given.tokens), wanted[:, None], dim=-1)
    expected = (cosines[0, :2].mean() + cosines[1].mean() + cosines[2].mean()) / 3
    torch.testing.assert_close(part.alignment_loss(given, wanted), 1 - expected)


@pytest.mark.parametrize("pool", ["mean", "mlp_mean", "last"])
def test_the_loss_is_one_minus_the_cosine_of_the_formula(pool):
    part, given, wanted = made(pool=pool, center=False), states(), targets()
    mapped = part.bridge(given).vectors()
    by_hand = [1 - (one @ other) / (one.norm() * other.norm()) for one, other in zip(mapped, wanted, strict=True)]
    torch.testing.assert_close(part.alignment_loss(given, wanted), torch.stack(by_hand).mean())


def test_the_running_mean_is_that_of_all_targets_of_training_and_rests_at_inference():
    part, given = made(), states()
    part.train()
    batches = [targets() + shift for shift in (0.0, 2.0, -1.0)]
    for batch in batches:
        part.alignment_loss(given, batch)
    torch.testing.assert_close(part.mean, torch.cat(batches).mean(0))
    part.eval()
    part.alignment_loss(given, targets() + 50)
    torch.testing.assert_close(part.mean, torch.cat(batches).mean(0))
    mapped = normalize(part.bridge(given).vectors(), dim=-1)
    expected = 1 - (mapped * normalize(batches[0] - part.mean, dim=-1)).sum(-1).mean()
    torch.testing.assert_close(part.alignment_loss(given, batches[0]), expected)


def test_depth_counts_linear_layers():
    shapes = {
        depth: [tuple(layer.weight.shape) for layer in made(depth=depth).network if hasattr(layer, "weight")]
        for depth in (1, 2, 3)
    }
    assert shapes == {1: [(5, 6)], 2: [(8, 6), (5, 8)], 3: [(8, 6), (8, 8), (5, 8)]}


def test_an_untrained_mapper_takes_new_widths_from_its_seed_and_a_trained_one_refuses_them():
    part = mapper(3, "", "")
    part.fit_to(READS, WRITES)
    direct = mapper(3, READS, WRITES)
    assert all(torch.equal(one, other) for one, other in zip(part.parameters(), direct.parameters(), strict=True))
    part.trained = True
    part.fit_to(READS, WRITES)
    for space in ("other/hidden[6]", "lm/hidden[7]"):  # a width alone says nothing
        with pytest.raises(WeightsError, match=rf"lead from {re.escape(READS)} to .*, and .* needs {re.escape(space)}"):
            part.fit_to(space, WRITES)
    with pytest.raises(WeightsError, match=r"needs lm/hidden\[6\] to other/image\[5\]"):
        part.fit_to(READS, "other/image[5]")


def test_weights_bring_spaces_sizes_and_how_they_were_trained(tmp_path):
    part = made(pool="last")
    part.train()
    part.alignment_loss(states(), targets())
    part.notes = {"variant": "G", "collapsed": False}
    artifact = part.eval().artifact()
    path = tmp_path / "mapper.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    header = read_header(path)
    assert header.config == {"width": 8, "depth": 2, "pool": "last", "center": True}
    again = Mapper.build(MapperConfig(**header.config), BuildContext(weights=WeightFile(path, header)))
    assert (again.reads, again.writes, again.notes) == (READS, WRITES, {"variant": "G", "collapsed": False})
    assert again.trained
    assert header.extra[NOTES] == again.notes
    torch.testing.assert_close(again.alignment_loss(states(), targets()), part.alignment_loss(states(), targets()))


def test_options_that_weights_contradict_are_refused_and_defaults_take_what_they_say(tmp_path):
    path = tmp_path / "mapper.safetensors"
    artifact = made(pool="last").artifact()
    write_weights(path, artifact.tensors, artifact.header)
    context = BuildContext(weights=WeightFile(path, read_header(path)))
    assert Mapper.build(MapperConfig(), context).config.width == 8
    with pytest.raises(WeightsError, match=r"mapper.width: 9 was asked for, the weights .* have 8"):
        Mapper.build(MapperConfig(width=9), context)


@pytest.mark.parametrize(
    ("tokens", "wanted", "sentence"),
    [
        pytest.param(
            RegionTokens(torch.zeros(2, 1, 4), torch.ones(2, 1, dtype=torch.bool), "x[4]"),
            targets(2),
            r"reads lm/hidden\[6\] and got vectors of width 4 in x\[4\]",
            id="width",
        ),
        pytest.param(
            RegionTokens(torch.zeros(2, 3, 6), torch.zeros(2, 3, dtype=torch.bool), READS),
            targets(2),
            "a text without a single hidden state cannot be mapped",
            id="no token",
        ),
        pytest.param(
            RegionTokens(torch.full((2, 1, 6), torch.nan), torch.ones(2, 1, dtype=torch.bool), READS),
            targets(2),
            "produced NaN or infinite values for region 0",
            id="nan",
        ),
        pytest.param(states(), targets()[:, :4], r"writes grid/image\[5\] and got targets \(3, 4\)", id="targets"),
        pytest.param(states(), targets() / 0, "a target of the mapper is NaN or infinite", id="infinite target"),
    ],
)
def test_what_cannot_be_mapped_is_refused(tokens, wanted, sentence):
    with pytest.raises(FeatureError, match=sentence):
        made().alignment_loss(tokens, wanted)


@pytest.mark.parametrize(
    ("config", "options", "sentence"),
    [
        pytest.param(MapperConfig, {"width": 0}, "width: 0 must be 1 or more", id="width"),
        pytest.param(MapperConfig, {"depth": 0}, "depth: 0 must be 1 or more", id="depth"),
        pytest.param(AlignmentConfig, {"batch_size": 1}, "batch_size: 1 must be 2 or more", id="one region"),
        pytest.param(AlignmentConfig, {"learning_rate": 0.0}, "learning_rate: 0.0 must be more than 0", id="rate"),
        pytest.param(ZeroLabelConfig, {"kl": float("nan")}, "kl: nan must be 0 or more", id="kl"),
        pytest.param(
            ZeroLabelConfig, {"reward": "references"}, "references is a reward of estimator: reinforce", id="reward"
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(config, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        config(**options)
