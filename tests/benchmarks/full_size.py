"""Models at the released sizes with random weights, and boxes to caption with them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from regionkit.core.contracts import BuildContext
from regionkit.core.regions import Box
from regionkit.plugins.patchioner.backbones.talk2dino import Talk2Dino
from regionkit.plugins.patchioner.backbones.talk2dino_config import Talk2DinoConfig
from regionkit.plugins.patchioner.configs import MemoryConfig
from regionkit.plugins.patchioner.decap import Decap
from regionkit.plugins.patchioner.decap_config import DecapConfig
from regionkit.plugins.patchioner.memory import Memory
from regionkit.plugins.patchioner.vocabulary import WordTokenizer

#: Width and height of the picture that is captioned.
PICTURE = (640, 480)


def talk2dino() -> Talk2Dino:
    """Make DINOv2 B/14 with registers at 518 pixels, with the 16 heads that the release counts."""
    return Talk2Dino.build(Talk2DinoConfig(weights="none", compat="reference"), BuildContext())


def decap(dim: int, *, device: str = "cpu") -> Decap:
    """Make a decoder of 4 layers, width 768 and 50257 rows that makes all 30 steps.

    At initialisation all captions are one; the prefix and the positions are made louder.
    """
    torch.manual_seed(0)
    tokenizer = WordTokenizer([f"w{number}" for number in range(50256)])
    decoder = Decap(DecapConfig(compat="reference"), f"random[{dim}]", tokenizer).eval().to(device)
    with torch.no_grad():
        decoder.clip_project.model[0].weight.mul_(20)
        decoder.decoder.transformer.wpe.weight.mul_(20)
    return decoder


def memory(bank: Tensor) -> Memory:
    """Make the bridge of the Talk2DINO release on a bank of unit rows (n, d), which is shared and not copied."""
    bridge = Memory(MemoryConfig(weights="none", normalise_bank=False), f"random[{bank.shape[1]}]")
    bridge.unit, bridge.norms = bank, torch.ones(len(bank), device=bank.device)
    return bridge


def some_boxes(count: int, seed: int = 3) -> list[Box]:
    """Draw boxes of all sizes that overlap, inside :data:`PICTURE`."""
    draw = np.random.default_rng(seed)
    width, height = PICTURE
    sides = draw.uniform(0.06, 0.5, (count, 2)) * (width, height)
    corners = draw.uniform(0, 1, (count, 2)) * ((width, height) - sides - 1)
    return [
        Box(*map(float, (x, y, x + across, y + down))) for (x, y), (across, down) in zip(corners, sides, strict=True)
    ]


def diverse_patches(bank: Tensor, side: int = 37, seed: int = 5) -> Tensor:
    """Return patches (side, side, d) near rows of the bank, a different one every few patches.

    A random backbone gives all boxes of a picture nearly the same vector, and a random decoder one caption for all of
    them, of which it says nothing that they are equal.
    """
    draw = torch.Generator().manual_seed(seed)
    cells = (side + 3) // 4
    rows = torch.randint(len(bank), (cells, cells), generator=draw)
    near = bank[rows.repeat_interleave(4, 0).repeat_interleave(4, 1)[:side, :side]]
    return 20 * (near + 0.02 * torch.randn(near.shape, generator=draw))
