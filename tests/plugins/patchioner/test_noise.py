"""Noise: its deviation in all spellings, and what happens in training and at inference."""

import math

import pytest
import torch

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError
from regionkit.core.features import RegionTokens
from regionkit.core.testing import check_bridge
from regionkit.plugins.patchioner.configs import NoiseConfig
from regionkit.plugins.patchioner.noise import Noise

param = pytest.param


@pytest.mark.parametrize("compat", ["paper", "reference"])
def test_conforms(compat):
    check_bridge(Noise(NoiseConfig(compat=compat), "grid/text[16]"), writes="grid/text[16]")


@pytest.mark.parametrize(
    ("options", "deviation", "corruption"),
    [
        param({}, math.sqrt(0.08), "noise(std=0.2828)", id="paper"),
        param({"compat": "reference"}, 0.08, "noise(std=0.08)", id="reference"),
        param({"std": 0.08}, 0.08, "noise(std=0.08)", id="std"),
        param({"variance": 0.016}, math.sqrt(0.016), "noise(std=0.1265)", id="variance-of-capdec"),
        param({"std": 0.0}, 0.0, "noise(std=0)", id="none"),
    ],
)
def test_deviation(options, deviation, corruption):
    config = NoiseConfig(**options)
    assert config.deviation == pytest.approx(deviation)
    assert config.corruption == Noise(config).corruption == corruption


def test_corrupt_normalises_adds_and_normalises_again():
    embeddings = 7 * torch.randn(4, 9, generator=torch.Generator().manual_seed(1))
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    noisy = unit + 0.3 * torch.randn(4, 9, generator=torch.Generator().manual_seed(2))
    expected = noisy / noisy.norm(dim=1, keepdim=True)
    seen = Noise(NoiseConfig(std=0.3)).corrupt(embeddings, torch.Generator().manual_seed(2))
    torch.testing.assert_close(seen, expected)


def test_the_size_of_the_noise():
    """For unit t and noise of deviation s in d dimensions, the cosine to t is about 1 / sqrt(1 + d s^2)."""
    embeddings = torch.randn(2000, 64, generator=torch.Generator().manual_seed(0))
    seen = Noise(NoiseConfig(std=0.1)).corrupt(embeddings, torch.Generator().manual_seed(1))
    cosine = torch.cosine_similarity(seen, embeddings).mean()
    assert float(cosine) == pytest.approx(1 / math.sqrt(1 + 64 * 0.01), abs=0.01)


def test_noise_of_a_ball_fills_it_evenly():
    """Source: uniform_noise of CapDec's training script; the share within a part p of the radius is p^d."""
    config = NoiseConfig(std=0.2, kind="ball")
    assert config.corruption == "noise(kind=ball, std=0.2)"
    embeddings = torch.nn.functional.normalize(torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    draw = torch.Generator().manual_seed(1)
    noise = torch.nn.functional.normalize(torch.randn(4000, 3, generator=draw), dim=-1)
    noise = 0.2 * noise * torch.rand(4000, 1, generator=draw) ** (1 / 3)
    seen = Noise(config).corrupt(embeddings, torch.Generator().manual_seed(1))
    torch.testing.assert_close(seen, torch.nn.functional.normalize(embeddings + noise, dim=-1))
    lengths = noise.norm(dim=-1)
    assert float(lengths.max()) <= 0.2
    assert float((lengths <= 0.1).float().mean()) == pytest.approx(1 / 8, abs=0.02)


@pytest.mark.parametrize(
    ("options", "length"),
    [
        param({}, 1.0, id="paper"),
        param({"compat": "reference"}, 6.0, id="reference-feeds-them-as-they-are"),
        param({"compat": "reference", "normalise": True}, 1.0, id="reference-normalised"),
        param({"normalise": False}, 6.0, id="not-normalised"),
    ],
)
def test_inference(options, length):
    bridge = Noise.build(NoiseConfig(**options), BuildContext(reads="a/image[9]", writes="a/text[9]"))
    out = bridge.bridge(RegionTokens.single(torch.full((2, 9), 2.0), "a/image[9]"))
    torch.testing.assert_close(out.vectors().norm(dim=1), torch.full((2,), length))
    assert out.space == "a/text[9]"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param(
            {"std": 0.1, "variance": 0.2},
            "std: give std or variance, not both: std 0.1 is variance 0.01, variance 0.2 is std 0.4472",
            id="both",
        ),
        param({"std": -0.1}, "std: -0.1 must be 0 or more; the paper takes variance 0.08", id="negative"),
        param({"variance": float("nan")}, "variance: nan must be 0 or more", id="nan"),
    ],
)
def test_config_refuses(options, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message is pinned below
        NoiseConfig(**options)
    assert str(caught.value).startswith(message)


def test_nan_is_an_error():
    with pytest.raises(
        FeatureError, match="the region encoder before bridge 'noise' produced NaN or infinite values for region 1"
    ):
        Noise().bridge(RegionTokens.single(torch.tensor([[1.0], [torch.nan]]), "a[1]"))


def test_padding_of_half_precision_stays_finite():
    tokens = RegionTokens(torch.zeros(1, 2, 16, dtype=torch.float16), torch.tensor([[True, False]]), "a/image[16]")
    tokens.tokens[0, 0] = 60000.0
    out = Noise().bridge(tokens).tokens
    assert out.dtype == torch.float16
    torch.testing.assert_close(out[0, :, 0], torch.tensor([0.25, 0.0], dtype=torch.float16))
