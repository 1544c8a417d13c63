"""The diffusion bridge as its training script saves it: files that load, files that are refused."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from diffusion_toys import (
    READS,
    SPACE,
    alphas_by_hand,
    network_of,
    released_vectors,
    sizes_of,
    vectors,
)
from official_layouts import context_of
from safetensors.torch import load_file, save_file
from torch import Tensor

from regionkit.core.errors import WeightsError
from regionkit.core.features import RegionTokens
from regionkit.core.weights import read_header
from regionkit.plugins.patchioner.diffusion import Diffusion
from regionkit.plugins.patchioner.diffusion_config import DiffusionConfig
from regionkit.plugins.patchioner.diffusion_layouts import read_diffusion
from regionkit.registry.cli import root

param = pytest.param


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return released_vectors()


def tables(timesteps: int = 1000) -> dict[str, Tensor]:
    """What the released class keeps beside its network, by hand."""
    left = torch.tensor(alphas_by_hand(timesteps), dtype=torch.float64)
    before = torch.cat([torch.ones(1, dtype=torch.float64), left[:-1]])
    betas = 1 - left / before
    variance = betas * (1 - before) / (1 - left)
    found = {
        "betas": betas,
        "alphas_cumprod": left,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": left.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - left).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - left).log(),
        "sqrt_recip_alphas_cumprod": (1 / left).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / left - 1).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * before.sqrt() / (1 - left),
        "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - left),
        "loss_weight": left / (1 - left),
    }
    return {name: table.float() for name, table in found.items()}


def write_release(folder: Path, golden: dict[str, Tensor], dim: int = 16, **changed: Tensor) -> dict[str, Path]:
    """What the training script saves, with the network under the names of the released vectors; and the two means."""
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(3)
    drawn = {
        f"model.{name}": tensor + 0.05 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in network_of(golden).items()
    }
    model = {**tables(), **drawn, **changed}
    average = {**tables(), **{name: 0.5 * tensor for name, tensor in drawn.items()}}
    saved = {
        "step": 3_000_000,
        "model": model,
        "opt": {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 8e-5}]},
        "ema": {
            "initted": torch.tensor([1.0]),
            "step": torch.tensor([7]),
            **{f"online_model.{name}": tensor for name, tensor in model.items()},
            **{f"ema_model.{name}": tensor for name, tensor in average.items()},
        },
        "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 3},
        "version": "2.0.15",
    }
    torch.save(saved, folder / "model-300.pt")
    files = {"model": folder / "model-300.pt"}
    for kind, seed in (("text", 1), ("image", 2)):
        files[f"mean_{kind}"] = folder / f"normalized_{kind}_embed_mean.safetensors"
        save_file({"embeddings": 0.1 * vectors(1, seed, dim)}, files[f"mean_{kind}"])
    return files


def test_official_files_load_with_nothing_missing_and_nothing_left_over(golden, tmp_path):
    files = write_release(tmp_path, golden)
    stored = torch.load(files["model"], weights_only=True)
    for average, weights, prefix in ((False, stored["model"], ""), (True, stored["ema"], "ema_model.")):
        artifact = read_diffusion(files, DiffusionConfig(average=average))
        wanted = {name: value for name, value in sizes_of(network_of(golden)).items() if name != "mults"}
        assert wanted.items() <= artifact.header.config.items()
        assert artifact.header.space == "?[16]"
        bridge = Diffusion.build(DiffusionConfig(), context_of(artifact, files, READS, SPACE))
        assert torch.equal(bridge.mean_image, 0.1 * vectors(1, 2)[0])
        own = bridge.unet.state_dict()
        assert len(own) == len(network_of(golden))
        assert all(torch.equal(own[name], weights[f"{prefix}model.{name}"]) for name in own)
        assert bridge.bridge(RegionTokens.single(vectors(3), READS)).space == SPACE


def test_official_files_without_a_mean_of_images(golden, tmp_path):
    files = write_release(tmp_path, golden)
    del files["mean_image"]
    assert "mean_image" not in read_diffusion(files, DiffusionConfig()).tensors


def test_official_files_are_converted_from_pickled_means(golden, tmp_path):
    write_release(tmp_path / "release", golden)
    for kind in ("text", "image"):
        path = tmp_path / f"release/normalized_{kind}_embed_mean.safetensors"
        path.with_suffix(".pkl").write_bytes(pickle.dumps(load_file(path)["embeddings"]))
        path.unlink()
    out = tmp_path / "bridge.safetensors"
    words = ["weights", "convert", "bridge/diffusion", str(tmp_path / "release"), "--out", str(out), "--space", READS]
    result = CliRunner().invoke(root, [*words, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)
    assert read_header(out).space == READS
    torch.testing.assert_close(load_file(out)["mean_text"], 0.1 * vectors(1, 1)[0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        param({"model.extra.weight": torch.ones(2)}, "unknown: model.extra.weight", id="unknown"),
        param({"model.downs.0.3.bias": torch.ones(3)}, r"model\.downs\.0\.3\.bias is \(3,\)", id="shape"),
        param({"loss_weight": torch.ones(1000)}, "trained to predict something else", id="objective"),
        param({"alphas_cumprod": torch.linspace(1, 0, 1000)}, "not trained with the cosine schedule", id="schedule"),
        param({"betas": torch.ones(500)}, "not trained with the cosine schedule", id="timesteps"),
    ],
)
def test_other_networks_are_refused(golden, tmp_path, changed, message):
    files = write_release(tmp_path, golden, **changed)
    with pytest.raises(WeightsError) as caught:
        read_diffusion(files, DiffusionConfig())
    assert re.search(message, " ".join((caught.value.message, *caught.value.hints)))


def test_a_network_with_parts_missing_is_refused_with_the_first_three(golden, tmp_path):
    files = write_release(tmp_path, golden)
    stored = torch.load(files["model"], weights_only=True)
    for name in [name for name in stored["model"] if name.startswith("model.mid_attn.fn.fn.to_out")]:
        del stored["model"][name]
    torch.save(stored, files["model"])
    with pytest.raises(WeightsError, match="do not fit Diffusion") as caught:
        read_diffusion(files, DiffusionConfig())
    assert "missing: model.mid_attn.fn.fn.to_out.weight, model.mid_attn.fn.fn.to_out.bias" in caught.value.hints
    torch.save({"model": stored["model"]}, files["model"])
    with pytest.raises(WeightsError, match="holds no tensors under 'ema'"):
        read_diffusion(files, DiffusionConfig(average=True))


@pytest.mark.parametrize("role", ["model", "mean_text"])
def test_missing_files_are_named(golden, tmp_path, role):
    files = write_release(tmp_path, golden)
    del files[role]
    with pytest.raises(WeightsError, match="bridge 'diffusion' needs") as caught:
        read_diffusion(files, DiffusionConfig())
    assert caught.value.hints == (f"the file with the role '{role}'",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        param("{", "this mean cannot be read", id="no-json"),
        param("[[1, 2], [3, 4]]", r"a mean is one vector, this one is \(2, 2\)", id="two"),
        param("[1, NaN]", "this mean is NaN or infinite", id="nan"),
    ],
)
def test_a_mean_that_is_none_is_refused(golden, tmp_path, text, message):
    files = write_release(tmp_path, golden)
    files["mean_text"] = tmp_path / "normalized_text_embed_mean.json"
    files["mean_text"].write_text(text)
    with pytest.raises(WeightsError, match=message):
        read_diffusion(files, DiffusionConfig())
