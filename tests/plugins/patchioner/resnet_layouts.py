"""CLIP's modified ResNet at a small size under its official names, and the same network as formulas in float64."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from dinotxt_release import linear_state, norm_state
from official_layouts import DIM
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

#: Channels of its stem, blocks of its stages, places along a side of the last one.
CHANNELS, STAGES, PLACES = 8, (1, 2, 1, 1), 3
LAST = 32 * CHANNELS


def resnet_state(prefix: str, generator: torch.Generator) -> dict[str, Tensor]:
    """A trunk and its attention pool, every name below ``prefix.``; batch norms without a count of steps."""
    out: dict[str, Tensor] = {}
    stem = ((3, CHANNELS // 2), (CHANNELS // 2, CHANNELS // 2), (CHANNELS // 2, CHANNELS))
    for place, (inputs, outputs) in enumerate(stem, 1):
        out |= convolution_state(prefix, f"{place}", inputs, outputs, 3, generator)
    inputs = CHANNELS
    for stage, blocks in enumerate(STAGES, 1):
        width = CHANNELS * 2 ** (stage - 1)
        for block in range(blocks):
            place = f"{prefix}.layer{stage}.{block}"
            out |= convolution_state(place, "1", inputs, width, 1, generator)
            out |= convolution_state(place, "2", width, width, 3, generator)
            out |= convolution_state(place, "3", width, 4 * width, 1, generator)
            if block == 0:
                shortcut = convolution_state(place, "", inputs, 4 * width, 1, generator)
                out |= {
                    key.replace("conv.", "downsample.0."): value for key, value in shortcut.items() if "conv" in key
                }
                out |= {key.replace("bn.", "downsample.1."): value for key, value in shortcut.items() if "bn." in key}
            inputs = 4 * width
    positions = 0.1 * torch.randn(1 + PLACES**2, inputs, generator=generator)
    out[f"{prefix}.attnpool.positional_embedding"] = positions
    for letter in "qkv":
        out |= linear_state(f"{prefix}.attnpool.{letter}_proj", inputs, inputs, generator)
    return out | linear_state(f"{prefix}.attnpool.c_proj", inputs, DIM, generator)


def convolution_state(
    prefix: str, place: str, inputs: int, outputs: int, kernel: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """A convolution of variance-keeping size and its batch norm's weights and statistics."""
    weight = torch.randn(outputs, inputs, kernel, kernel, generator=generator) * (inputs * kernel**2) ** -0.5
    out = {f"{prefix}.conv{place}.weight": weight, **norm_state(f"{prefix}.bn{place}", outputs, generator)}
    out[f"{prefix}.bn{place}.running_mean"] = 0.1 * torch.randn(outputs, generator=generator)
    out[f"{prefix}.bn{place}.running_var"] = 0.5 + torch.rand(outputs, generator=generator)
    return out


# ---------------------------------------------------------------- the formulas


def convolved(x: Tensor, state: Mapping[str, Tensor], convolution: str, norm: str, **how: int) -> Tensor:
    """A convolution and the batch norm behind it, by its stored statistics."""
    x = conv2d(x, state[f"{convolution}.weight"], **how)
    mean, variance, weight, bias = (
        state[f"{norm}.{name}"][:, None, None] for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def bottleneck(x: Tensor, state: Mapping[str, Tensor], block: str, stride: int) -> Tensor:
    out = convolved(x, state, f"{block}.conv1", f"{block}.bn1").relu()
    out = convolved(out, state, f"{block}.conv2", f"{block}.bn2", padding=1).relu()
    out = avg_pool2d(out, stride) if stride > 1 else out
    out = convolved(out, state, f"{block}.conv3", f"{block}.bn3")
    if f"{block}.downsample.0.weight" in state:
        x = avg_pool2d(x, stride) if stride > 1 else x
        x = convolved(x, state, f"{block}.downsample.0", f"{block}.downsample.1")
    return (out + x).relu()


def trunk_by_formula(pixels: Tensor, state: Mapping[str, Tensor], prefix: str) -> Tensor:
    """CLIP's modified ResNet: three convolutions and an average pool, then every stride an average pool."""
    x, state = pixels.double(), doubled(state)
    x = convolved(x, state, f"{prefix}.conv1", f"{prefix}.bn1", stride=2, padding=1).relu()
    x = convolved(x, state, f"{prefix}.conv2", f"{prefix}.bn2", padding=1).relu()
    x = avg_pool2d(convolved(x, state, f"{prefix}.conv3", f"{prefix}.bn3", padding=1).relu(), 2)
    for stage, blocks in enumerate(STAGES, 1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            x = bottleneck(x, state, f"{prefix}.layer{stage}.{block}", stride)
    return x


def affine(x: Tensor, state: Mapping[str, Tensor], name: str) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def pool_by_formula(places: Tensor, state: Mapping[str, Tensor], prefix: str) -> Tensor:
    """Attention pool of one picture: places (c, h, w) to (1 + h w, dim), every token a query, heads of 64."""
    places, state, pool = places.double(), doubled(state), f"{prefix}.attnpool"
    x = places.flatten(1).T
    x = torch.cat([x.mean(0, keepdim=True), x]) + state[f"{pool}.positional_embedding"]
    query, key, value = (affine(x, state, f"{pool}.{letter}_proj") for letter in "qkv")
    mixed = []
    for start in range(0, x.shape[1], 64):
        part = slice(start, start + 64)
        logits = query[:, part] @ key[:, part].T / math.sqrt(64)
        mixed.append(logits.softmax(-1) @ value[:, part])
    return affine(torch.cat(mixed, dim=1), state, f"{pool}.c_proj")


def doubled(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.double() for name, tensor in state.items()}
