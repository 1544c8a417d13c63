"""Where no batch size is named, decoders and backbones take batches that fit a device's memory; results stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from regionkit.core import batch_sizes
from regionkit.core.contracts import BuildContext
from regionkit.core.features import GenerateOptions, RegionTokens
from regionkit.plugins.patchioner.backbones.clip import Clip
from regionkit.plugins.patchioner.backbones.clip_config import ClipConfig
from regionkit.plugins.patchioner.decap import Decap
from regionkit.plugins.patchioner.decap_config import DecapConfig
from regionkit.plugins.patchioner.vocabulary import WordTokenizer

SPACE = "tiny/text[8]"


class Room:
    """A device that has room for so many items, as it finds after the first batch."""

    def __init__(self, items: int) -> None:
        self.items = items

    def free(self) -> int:
        return int(1000 * (self.items + 0.5) / batch_sizes.SHARE)

    def begin(self) -> None:
        self.batch = 0

    def taken(self) -> int:
        return 1000 * self.batch


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    device = Room(20)
    monkeypatch.setattr(batch_sizes, "_reader", lambda where: device)
    return device


def watched(monkeypatch: pytest.MonkeyPatch, model: Any, method: str, room: Room) -> list[int]:
    """Return a list of the batches that a method gets."""
    sizes: list[int] = []
    inner: Callable[..., Any] = getattr(model, method)

    def watch(given: Any, *rest: Any) -> Any:
        sizes.append(len(given))
        room.batch = len(given)
        return inner(given, *rest)

    monkeypatch.setattr(model, method, watch)
    return sizes


def test_a_decoder_writes_as_many_captions_at_once_as_fit(monkeypatch: pytest.MonkeyPatch, room: Room) -> None:
    torch.manual_seed(0)
    config = DecapConfig(hidden=16, layers=1, heads=2, positions=16)
    decoder = Decap(config, SPACE, WordTokenizer([f"word{number}" for number in range(9)])).eval()
    regions = RegionTokens.single(normalize(torch.randn(60, 8), dim=-1), SPACE)
    sizes = watched(monkeypatch, decoder, "decode", room)
    found = decoder.generate(regions, None, GenerateOptions(max_tokens=5))
    assert sizes == [16, 20, 20, 4]
    sizes.clear()
    named = decoder.generate(regions, None, GenerateOptions(max_tokens=5, batch_size=50))
    assert sizes == [50, 10]
    assert [one.text for one in named] == [one.text for one in found]
    sizes.clear()
    decoder.generate(regions, None, GenerateOptions(max_tokens=5))
    assert sizes == [20, 20, 20]
    decoder.generate(regions, None, GenerateOptions(max_tokens=9))
    assert sizes[3:] == [16, 20, 20, 4]


def test_a_backbone_sees_as_many_pictures_at_once_as_fit(monkeypatch: pytest.MonkeyPatch, room: Room) -> None:
    small = {"weights": "none", "resolution": 64, "width": 64, "layers": 1, "dim": 32, "vocabulary": 514}
    backbone = Clip.build(ClipConfig(text_width=64, text_layers=1, **small), BuildContext())
    pictures = [Image.new("RGB", (32, 32), (7 * number, 0, 0)) for number in range(30)]
    sizes = watched(monkeypatch, backbone, "read", room)
    found = backbone.encode(pictures)
    assert sizes == [16, 14]
    sizes.clear()
    room.items = 5
    assert torch.allclose(backbone.encode(pictures).patches, found.patches, atol=1e-6)
    assert sizes == [5] * 6
