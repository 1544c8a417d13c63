"""Backbones at their official size, random weights, one picture of 640 x 480, one thread: `pytest -m benchmark -s`."""

import time

import pytest
import torch

from regionkit.core.contracts import BuildContext
from regionkit.core.testing import picture
from regionkit.plugins.patchioner.backbone_configs import ClipConfig, Talk2DinoConfig
from regionkit.plugins.patchioner.clip import Clip
from regionkit.plugins.patchioner.talk2dino import Talk2Dino

pytestmark = pytest.mark.benchmark
param = pytest.param
#: Pictures that are encoded one after the other; the fastest counts.
_ROUNDS = 3


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        param(Clip, ClipConfig(weights="none"), id="clip B/16 224"),
        param(Clip, ClipConfig(weights="none", resolution=592), id="clip B/16 592"),
        param(Talk2Dino, Talk2DinoConfig(weights="none"), id="dinov2-talk2dino 518"),
    ],
)
def test_encoding_beside_timms_own_forward_pass(cls, config, request):
    backbone = cls.build(config, BuildContext())
    image = picture((640, 480), 1)
    pixels, _ = backbone.preprocess([image])
    texts = [f"a photo of a dog, number {number}" for number in range(32)]
    ours, timms, text = [], [], []
    with torch.no_grad():
        for _ in range(_ROUNDS):
            timms.append(seconds(lambda: backbone.vision.forward_features(pixels)))
            ours.append(seconds(lambda: backbone.encode([image])))
            text.append(seconds(lambda: backbone.encode_text(texts)))
    count = sum(parameter.numel() for parameter in backbone.parameters())
    name = request.node.callspec.id
    print(
        f"\n{name}: picture {min(ours):.2f} s, {min(ours) / min(timms):.2f}x timm's forward pass; "
        f"32 sentences {min(text):.2f} s; {count:,} parameters"
    )


def test_the_attention_map_beside_that_of_all_tokens():
    """The released code makes the whole (tokens x tokens) map of every head; one row of it is read."""
    backbone = Talk2Dino.build(Talk2DinoConfig(weights="none"), BuildContext())
    tokens = torch.randn(1, 1374, 768)
    last, heads = backbone.blocks[-1], 12

    def whole():
        qkv = last.attn.qkv(last.norm1(tokens)).view(1, 1374, 3, heads, 64).permute(2, 0, 3, 1, 4)
        logits = (qkv[0] @ qkv[1].transpose(-1, -2)) * 0.125
        return logits[:, :, 0, 5:].mean(1).softmax(-1)

    with torch.no_grad():
        one = min(seconds(lambda: backbone.attention(tokens)) for _ in range(5))
        full = min(seconds(whole) for _ in range(5))
        assert torch.allclose(backbone.attention(tokens), whole(), atol=1e-6)
    print(f"\nattention map: {one * 1e3:.1f} ms, {full / one:.0f}x faster than the whole map ({full * 1e3:.0f} ms)")


def seconds(call):
    start = time.process_time()
    call()
    return time.process_time() - start
