"""Backbones at their official size, beside timm's own forward pass, and the attention map beside that of all tokens."""

from __future__ import annotations

import pytest
import released_procedure as released
import torch
from full_size import PICTURE, talk2dino
from side_by_side import Goal, Table, interleaved
from torch.utils._python_dispatch import TorchDispatchMode

from regionkit.core.contracts import BuildContext
from regionkit.core.testing import picture
from regionkit.plugins.patchioner.backbones.clip import Clip
from regionkit.plugins.patchioner.backbones.clip_config import ClipConfig
from regionkit.plugins.patchioner.backbones.talk2dino import Talk2Dino
from regionkit.plugins.patchioner.backbones.talk2dino_config import Talk2DinoConfig

pytestmark = pytest.mark.benchmark
param = pytest.param
NO_GOAL = 20


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        param(Clip, ClipConfig(weights="none"), id="clip B/16 224"),
        param(Clip, ClipConfig(weights="none", resolution=592), id="clip B/16 592"),
        param(Talk2Dino, Talk2DinoConfig(weights="none"), id="dinov2-talk2dino 518"),
    ],
)
@torch.inference_mode()
def test_encoding_beside_timms_own_forward_pass(table: Table, cls, config, request):
    backbone = cls.build(config, BuildContext())
    image = picture(PICTURE, 1)
    pixels, _ = backbone.preprocess([image])
    texts = [f"a photo of a dog, number {number}" for number in range(32)]
    timings = interleaved(
        {
            "timm": lambda: backbone.vision.forward_features(pixels),
            "ours": lambda: backbone.encode([image]),
            "text": lambda: backbone.encode_text(texts),
        },
        {"timm": 3, "ours": 3, "text": 1},
    )
    prefix = backbone.vision.num_prefix_tokens
    patches = timings.results["timm"][:, prefix:]
    if cls is Talk2Dino:
        assert torch.allclose(timings.results["ours"].patches.flatten(1, 2), patches, atol=1e-4)
    assert timings.results["text"].isfinite().all()
    count = sum(parameter.numel() for parameter in backbone.parameters())
    table.add(
        NO_GOAL,
        f"{request.node.callspec.id}, one picture with all that it gives; {count:,} parameters, 32 sentences "
        f"{timings.said('text')}",
        f"timm's forward pass: {timings.said('timm')}",
        timings.said("ours"),
        timings.ratio("timm", "ours"),
    )


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that is made inside a ``with`` block."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.elements = max(self.elements, made.numel())
        return made


@torch.no_grad()
def test_the_attention_map_beside_that_of_all_tokens(table: Table):
    """The release makes the whole (tokens x tokens) map of every head, and tokens from it; one row of it is read."""
    backbone = talk2dino()
    draw = torch.Generator().manual_seed(4)
    tokens, patches = torch.randn(1, 1374, 768, generator=draw), torch.randn(1, 1369, 768, generator=draw)
    last = backbone.blocks[-1]
    qkv = last.attn.qkv(last.norm1(tokens))  # made by the forward pass anyway: no part of what the release adds
    timings = interleaved(
        {
            "release": lambda: released.whole_attention(qkv, patches, 5),
            "ours": lambda: backbone.attention(tokens),
        },
        7,
    )
    assert torch.allclose(timings.results["ours"], timings.results["release"][0], atol=1e-7)
    with Largest() as made:
        backbone.attention(tokens)
    assert 0 < made.elements < 1374 * 1374
    error = float((timings.results["ours"] - timings.results["release"][0]).abs().max())
    table.add(
        5,
        f"CLS attention map, 1374 tokens; no (tokens x tokens) matrix, error {error:.0e}",
        f"whole map, average token and a token a head: {timings.said('release')}",
        timings.said("ours"),
        timings.ratio("release", "ours"),
        Goal(50),
    )
