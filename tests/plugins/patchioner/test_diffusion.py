"""The diffusion bridge: released vectors, its formulas in double precision, official checkpoints, what is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from diffusion_toys import (
    READS,
    SPACE,
    TINY,
    alphas_by_hand,
    close,
    released,
    released_vectors,
    tiny,
    vectors,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.features import RegionTokens
from regionkit.core.testing import check_bridge
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.patchioner.diffusion import Diffusion
from regionkit.plugins.patchioner.diffusion_config import DiffusionConfig
from regionkit.plugins.patchioner.diffusion_schedule import Schedule

param = pytest.param


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return released_vectors()


def steps_of(golden: dict[str, Tensor]) -> list[int]:
    return sorted(int(name.removeprefix("times")) for name in golden if re.fullmatch(r"times\d+", name))


# What was released


def test_released_network_and_schedule(golden):
    bridge = released(golden)
    with torch.no_grad():
        close(bridge.unet(golden["x"], golden["unet_t"]), golden["unet_out"])
    close(bridge.schedule.alphas.float(), golden["alphas_cumprod"])
    close(bridge.schedule.noised(golden["x"], golden["loss_t"], golden["loss_noise"]), golden["q_sample"])


def test_released_way_back(golden):
    bridge = released(golden)
    assert steps_of(golden)
    for start in steps_of(golden):
        times = golden[f"times{start}"].tolist()
        assert Schedule.times(start, len(times) - 1) == times
        with torch.no_grad():
            found = bridge.schedule.denoised(golden["x"], start, len(times) - 1, 5.0, bridge.unet)
        close(found, golden[f"bridge_step{start}"])


@pytest.mark.parametrize("compat", ["paper", "reference"])
def test_released_bridge_of_regions(golden, compat):
    for start in steps_of(golden):
        steps = len(golden[f"times{start}"]) - 1
        bridge = released(golden, inference_step=start, steps=steps, compat=compat, augment_step=start // 2)
        out = bridge.bridge(RegionTokens.single(3.7 * golden["x"][:, 0], bridge.reads))  # any length: it is unit first
        close(out.vectors(), normalize(golden[f"bridge_step{start}"][:, 0], dim=-1))
        assert out.space == bridge.space


def test_the_paper_sized_network_has_the_released_number_of_weights():
    with torch.device("meta"):
        bridge = Diffusion(DiffusionConfig(weights="none"), "t[512]")
    assert sum(weight.numel() for weight in bridge.unet.parameters()) == 4_037_313


# Formulas, in double precision


def way_back_by_hand(start_vectors: Tensor, start: int, steps: int, scale: float, predict: Callable) -> Tensor:
    """Deterministic denoising from step ``start`` - 1, in double precision."""
    alphas = alphas_by_hand(1000)
    times = [int(-1 + start * (steps - index) / steps) for index in range(steps)]
    x = start_vectors.double()
    for index, time in enumerate(times):
        x = scale * x / x.norm(dim=-1, keepdim=True)
        clean = predict(x.float(), torch.full((len(x),), time)).double()
        if index == steps - 1:
            return clean / clean.norm(dim=-1, keepdim=True)
        noise = (x - math.sqrt(alphas[time]) * clean) / math.sqrt(1 - alphas[time])
        after = alphas[times[index + 1]]
        x = math.sqrt(after) * clean + math.sqrt(1 - after) * noise
    raise AssertionError("no step")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("options", "mean"),
    [
        param({}, "mean_image", id="images"),
        param({"image_mean": "text"}, "mean_text", id="texts"),
        param({"inference_step": 250, "steps": 2, "scale": 2.0}, "mean_image", id="few-steps"),
    ],
)
def test_regions_by_hand(seed, options, mean):
    bridge = tiny(seed, **options)
    values = 3 * vectors(6, seed)
    unit = values.double() / values.double().norm(dim=-1, keepdim=True)
    centred = unit - getattr(bridge, mean).double()
    config = bridge.config
    with torch.no_grad():
        start = config.scale * centred / centred.norm(dim=-1, keepdim=True)
        wanted = way_back_by_hand(start.unsqueeze(1), config.inference_step, config.steps, config.scale, bridge.unet)
    found = bridge.bridge(RegionTokens.single(values, READS))
    close(found.vectors().double(), wanted.squeeze(1))


@pytest.mark.parametrize(("compat", "last"), [param("paper", 399, id="paper"), param("reference", 400, id="reference")])
def test_texts_of_training_by_hand(compat, last):
    """The released script noises to step 400 and goes back from 399: one step off."""
    bridge = tiny(compat=compat)
    values = vectors(6, 4)
    unit = values.double() / values.double().norm(dim=-1, keepdim=True) - bridge.mean_text.double()
    start = 5 * unit / unit.norm(dim=-1, keepdim=True)
    noise = torch.randn(6, 16, generator=torch.Generator().manual_seed(7)).double()
    alpha = alphas_by_hand(1000)[last]
    noisy = math.sqrt(alpha) * start + math.sqrt(1 - alpha) * noise
    with torch.no_grad():
        wanted = way_back_by_hand(noisy.unsqueeze(1), 400, 5, 5.0, bridge.unet)
    found = bridge.corrupt(values, torch.Generator().manual_seed(7))
    close(found.double(), wanted.squeeze(1))


def test_means_are_those_of_unit_vectors():
    bridge = Diffusion.build(DiffusionConfig(**TINY), BuildContext(READS, SPACE))
    values = vectors(9, 2) * torch.arange(1, 10).unsqueeze(1)
    bridge.fit(values, [])
    close(bridge.mean_text, (values / values.norm(dim=1, keepdim=True)).mean(0))
    assert bridge.mean_image is None
    bridge.fit_images(values[:3])
    close(bridge.mean_image, normalize(values[:3], dim=-1).mean(0))


# Properties


@pytest.mark.parametrize("timesteps", [1, 7, 1000])
def test_the_schedule_falls_from_signal_to_noise(timesteps):
    alphas = Schedule(timesteps).alphas
    assert bool((alphas > 0).all())
    assert bool((alphas < 1).all())
    assert bool((alphas.diff() < 0).all())
    ratios = Schedule(timesteps).signal_to_noise(torch.arange(timesteps))
    assert bool((ratios.diff() < 0).all())


@settings(max_examples=60, deadline=None)
@given(start=st.integers(1, 1000), share=st.floats(0, 1))
def test_times_fall_to_the_end(start, share):
    steps = 1 + int(share * (start - 1))
    times = Schedule.times(start, steps)
    assert (times[0], times[-1], len(times)) == (start - 1, -1, steps + 1)
    assert all(later < earlier for earlier, later in pairwise(times))


@settings(max_examples=6, deadline=None)
@given(count=st.integers(1, 5), batch=st.integers(1, 5), seed=st.integers(0, 999))
def test_a_region_stands_alone_and_comes_out_with_length_one(count, batch, seed):
    bridge = tiny(batch=batch, steps=2)
    values = vectors(count, seed) * 10 ** torch.linspace(-3, 3, count).unsqueeze(1)
    out = bridge.bridge(RegionTokens.single(values, READS)).vectors()
    close(out.norm(dim=1), torch.ones(count))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    close(bridge.bridge(RegionTokens.single(values[order], READS)).vectors(), out[order])
    for row in range(count):
        close(bridge.bridge(RegionTokens.single(values[row : row + 1], READS)).vectors(), out[row : row + 1])


@pytest.mark.parametrize("compat", ["paper", "reference"])
def test_texts_of_training_depend_on_the_generator_alone(compat):
    bridge, values = tiny(compat=compat), vectors(5)
    first = bridge.corrupt(values, torch.Generator().manual_seed(1))
    torch.manual_seed(99)
    torch.rand(3)
    assert torch.equal(first, bridge.corrupt(values, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, bridge.corrupt(values, torch.Generator().manual_seed(2)))
    close(first.norm(dim=1), torch.ones(5))
    close(bridge.corrupt(3 * values, torch.Generator().manual_seed(1)), first)


def test_several_tokens_a_region_and_padding():
    bridge = tiny()
    tokens = vectors(6, 3).view(2, 3, 16)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    out = bridge.bridge(RegionTokens(tokens, mask, READS))
    assert out.tokens.shape == tokens.shape
    assert not bool(out.tokens[~mask].any())
    close(out.tokens[mask], bridge.bridge(RegionTokens.single(tokens[mask], READS)).vectors())
    assert bridge.bridge(RegionTokens.none(READS)).tokens.shape == (0, 1, 16)


def test_conforms():
    check_bridge(tiny(steps=2), writes=SPACE)


def test_a_decoder_is_chosen_by_how_its_texts_were_noised():
    assert DiffusionConfig().corruption == "diffusion(augment_step=400)"
    assert DiffusionConfig(augment_step=600, steps=10).corruption == "diffusion(augment_step=600, steps=10)"
    assert DiffusionConfig(compat="reference", image_mean="text").corruption == DiffusionConfig().corruption


# Weights


def test_weights_come_back_bit_for_bit(tmp_path):
    bridge = tiny(5)
    artifact = bridge.artifact()
    path = tmp_path / "d.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    header = read_header(path)
    assert (header.space, header.writes, header.config["mults"]) == (READS, SPACE, [1, 2])
    again = Diffusion.build(DiffusionConfig(), BuildContext(READS, SPACE, WeightFile(path, header)))
    assert again.config.mults == (1, 2)
    tokens = RegionTokens.single(vectors(4), READS)
    assert torch.equal(again.bridge(tokens).tokens, bridge.bridge(tokens).tokens)


def test_weights_without_a_mean_of_images(tmp_path):
    bridge = Diffusion.build(DiffusionConfig(**TINY), BuildContext(READS, SPACE))
    bridge.fit(vectors(9) + 1, [])
    artifact = bridge.artifact()
    assert "mean_image" not in artifact.tensors
    path = tmp_path / "d.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    file, tokens = WeightFile(path, read_header(path)), RegionTokens.single(vectors(4), READS)
    auto, text, image = (
        Diffusion.build(DiffusionConfig(image_mean=mean), BuildContext(READS, SPACE, file))
        for mean in ("auto", "text", "image")
    )
    assert torch.equal(auto.bridge(tokens).tokens, text.bridge(tokens).tokens)
    with pytest.raises(WeightsError, match="asked to take off the mean image vector, and its weights hold none"):
        image.bridge(tokens)


# What is refused


@pytest.mark.parametrize("value", [param(0.0, id="zero"), param(math.nan, id="nan"), param(math.inf, id="infinite")])
def test_a_vector_without_a_direction_is_refused(value):
    bridge, values = tiny(), vectors(3)
    values[1] = value
    with pytest.raises(FeatureError, match="got a vector for region 1 that is NaN, infinite or zero"):
        bridge.bridge(RegionTokens.single(values, READS))
    with pytest.raises(FeatureError, match="got embedding 1 that is NaN, infinite or zero"):
        bridge.corrupt(values, torch.Generator())


def test_a_vector_that_is_the_mean_itself_gives_no_nan():
    bridge = tiny()
    bridge.mean_image = normalize(vectors(1), dim=-1)[0]
    out = bridge.bridge(RegionTokens.single(vectors(1), READS)).vectors()
    assert bool(torch.isfinite(out).all())


def test_another_width_is_refused():
    with pytest.raises(FeatureError, match=r"vectors of width 8, it was made for grid/text\[16\]"):
        tiny().bridge(RegionTokens.single(vectors(2, dim=8), "grid/image[8]"))
    with pytest.raises(FeatureError, match=r"those of odd\[12\] do not divide by 8"):
        Diffusion(DiffusionConfig(weights="none"), "odd[12]")


def test_no_weights_are_no_accident():
    with pytest.raises(WeightsError, match="changes the texts of training with its own weights, and was given none"):
        Diffusion.build(DiffusionConfig(), BuildContext(READS, SPACE))


def test_no_mean_of_nothing():
    with pytest.raises(FeatureError, match="cannot take the mean of no text embeddings"):
        tiny().fit(torch.zeros(0, 16), [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"steps": 0}, "steps: 0 must be 1 or more", id="steps"),
        param({"inference_step": 1001}, r"inference_step: 1001 must lie between steps \(5\)", id="beyond"),
        param({"inference_step": 3}, r"inference_step: 3 must lie between", id="too-few"),
        param({"augment_step": 1000, "compat": "reference"}, "augment_step: 1000 must be less", id="one-further"),
        param({"scale": 0.0}, r"scale: 0\.0 must be more than 0", id="scale"),
        param({"dim": 7}, "dim: 7 must be even", id="dim"),
        param({"mults": ()}, r"mults: \(\) must be one or more", id="mults"),
        param({"mults": (1, 10**9)}, r"mults: \(1, 1000000000\) holds more than 1000000", id="huge-mults"),
        param({"timesteps": 10**14}, "timesteps: 100000000000000 is more than 1000000", id="huge-timesteps"),
        param({"heads": 10**11}, "heads: 100000000000 is more than 1000000", id="huge-heads"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        DiffusionConfig(**options)
