"""Diffusion bridges for tests: the released vectors' network, tiny random ones, the noise schedule by hand."""

from __future__ import annotations

import math
import re

import torch
from golden import golden_file
from safetensors.torch import load_file
from torch import Tensor

from regionkit.core.contracts import BuildContext
from regionkit.plugins.patchioner.diffusion import Diffusion
from regionkit.plugins.patchioner.diffusion_config import DiffusionConfig

SPACE, READS = "grid/text[16]", "grid/image[16]"
TINY = {"dim": 8, "init_dim": 4, "mults": (1, 2), "heads": 1, "weights": "none"}


def released_vectors() -> dict[str, Tensor]:
    """The golden vectors of the released bridge."""
    return load_file(golden_file("diffusion_bridge.safetensors"))


def sizes_of(weights: dict[str, Tensor]) -> dict[str, object]:
    """Sizes of a released network, from the shapes of its tensors."""
    init_dim = len(weights["init_conv.weight"])
    levels = sum(bool(re.fullmatch(r"downs\.\d+\.3\.weight", name)) for name in weights)
    return {
        "init_dim": init_dim,
        "dim": weights["time_mlp.1.weight"].shape[1],
        "mults": tuple(len(weights[f"downs.{level}.3.weight"]) // init_dim for level in range(levels)),
        "heads": len(weights["mid_attn.fn.fn.to_qkv.weight"]) // 96,
    }


def network_of(golden: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("w."): tensor for name, tensor in golden.items() if name.startswith("w.")}


def released(golden: dict[str, Tensor], **options: object) -> Diffusion:
    weights = network_of(golden)
    timesteps, dim = len(golden["alphas_cumprod"]), golden["x"].shape[-1]
    config = DiffusionConfig(**sizes_of(weights), timesteps=timesteps, weights="none", **options)
    bridge = Diffusion(config, f"t[{dim}]", f"i[{dim}]")
    bridge.unet.load_state_dict(weights)
    return bridge.eval()


def tiny(seed: int = 0, reads: str = READS, **options: object) -> Diffusion:
    """A random bridge whose means are not zero."""
    bridge = Diffusion.build(DiffusionConfig(**{**TINY, **options}), BuildContext(reads, SPACE, seed=seed))
    generator = torch.Generator().manual_seed(seed + 1)
    bridge.fit(torch.randn(20, 16, generator=generator) + 0.5, [])
    bridge.fit_images(torch.randn(20, 16, generator=generator) - 0.5)
    return bridge.eval()


def vectors(count: int, seed: int = 0, dim: int = 16) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-5)


def alphas_by_hand(timesteps: int) -> list[float]:
    """Share of the signal's variance, one step after the other."""

    def curve(step: int) -> float:
        return math.cos((step / timesteps + 0.008) / 1.008 * math.pi / 2) ** 2

    left, found = 1.0, []
    for step in range(timesteps):
        left *= 1 - min(0.999, max(0.0, 1 - curve(step + 1) / curve(step)))
        found.append(left)
    return found
