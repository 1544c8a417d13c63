"""The bridge of one linear layer."""

from __future__ import annotations

import pytest
import torch

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.features import RegionTokens
from regionkit.core.spec import Port
from regionkit.core.testing import Subject, example_tokens, run_all
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.regionvlm.configs import LanguageProjectionConfig
from regionkit.plugins.regionvlm.projection import LanguageProjection

READS, WRITES = "point-qformer/run[12]", "seq2seq/run[20]"


def bridge_of(seed: int = 0, **context) -> LanguageProjection:
    return LanguageProjection.build(
        LanguageProjectionConfig(), BuildContext(**{"reads": READS, "writes": WRITES, "seed": seed, **context})
    )


def test_it_conforms_for_many_tokens_and_for_one():
    for many in (True, False):
        inputs, port = example_tokens(READS, tokens=3 if many else 1), Port(WRITES, many=many)
        run_all(Subject("bridge", bridge_of(), bridge_of, inputs=inputs, reads=Port(READS, many=many), writes=port))


def test_every_token_is_projected_by_itself_and_padding_stays_empty():
    bridge, tokens = bridge_of(), example_tokens(READS, tokens=3)
    out = bridge.bridge(tokens)
    assert out.space == WRITES
    assert torch.equal(out.mask, tokens.mask)
    assert torch.allclose(out.tokens[0, 1], bridge.projection(tokens.tokens[0, 1]), atol=1e-6)
    assert not tokens.mask.all()
    assert out.tokens[~out.mask].abs().max() == 0


def test_nan_in_padding_is_nothing_and_in_a_token_is_refused():
    bridge, tokens = bridge_of(), example_tokens(READS, tokens=3)
    calm = bridge.bridge(tokens).tokens
    tokens.tokens[~tokens.mask] = torch.nan
    assert torch.equal(bridge.bridge(tokens).tokens, calm)
    tokens.tokens[0, 0] = torch.nan
    with pytest.raises(FeatureError, match="what bridge 'language-projection' reads: the region encoder produced NaN"):
        bridge.bridge(tokens)


def test_another_width_is_refused():
    with pytest.raises(FeatureError, match=r"reads point-qformer/run\[12\] and got tokens of width 9 in other\[9\]"):
        bridge_of().bridge(example_tokens("other[9]"))


def test_gradients_pass_through_it():
    bridge = bridge_of().train()
    vectors = torch.randn(2, 12, requires_grad=True)
    bridge.bridge(RegionTokens.single(vectors, READS)).tokens.sum().backward()
    assert vectors.grad is not None
    assert bridge.projection.weight.grad is not None


def test_weights_come_back_and_other_widths_are_refused(tmp_path):
    bridge = bridge_of(seed=3)
    artifact = bridge.artifact()
    path = tmp_path / "a.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    header = read_header(path)
    assert header is not None
    assert (header.space, header.writes) == (READS, WRITES)
    file = WeightFile(path, header)
    assert torch.equal(bridge_of(weights=file).projection.weight, bridge.projection.weight)
    with pytest.raises(WeightsError, match="maps vectors of width 12 to 20"):
        bridge_of(weights=file, writes="other[8]")
