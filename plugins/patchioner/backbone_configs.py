"""Options and ports of the two backbones that come with official weights; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from regionkit.core.spec import Port, Ports

#: Width of an attention head in every ViT and text tower of CLIP and DINOv2.
HEAD_WIDTH = 64
#: Far beyond any model of this kind: what is more is a slip, and would fill the memory before anything is said.
MOST_PIXELS, MOST_LAYERS = 8192, 1000
#: Patch sizes of the models that ``clip`` knows by name.
CLIP_PATCHES = {"vit-b16": 16, "vit-b32": 32}
#: What 0 stands for in the options of CLIP's towers; both named models have these sizes.
CLIP_SIZES = {
    "width": 768,
    "layers": 12,
    "dim": 512,
    "text_width": 512,
    "text_layers": 12,
    "context": 77,
    "vocabulary": 49408,
}
#: What 0 stands for in the options of Talk2DINO: DINOv2 ViT-B/14 with the text tower of CLIP B/16.
TALK2DINO_SIZES = {
    "patch": 14,
    "width": 768,
    "layers": 12,
    "registers": 4,
    "text_dim": 512,
    "text_width": 512,
    "text_layers": 12,
    "context": 77,
    "vocabulary": 49408,
}
#: Attention heads that the released code of Patch-ioner takes for every model that is not a ViT-S.
REFERENCE_HEADS = 16


@dataclass(frozen=True)
class ClipConfig:
    """A CLIP model of which every patch is projected into the space of its pictures.

    Sizes of 0 are those of the named model; weights bring theirs.

    Attributes:
        model: ``vit-b16`` or ``vit-b32``, which names the spaces.
        resolution: Side of the preprocessed picture in pixels, a multiple of the patch; the paper takes 224 and, for
            B/16, 592. Learned positions are resampled to it.
        fit: ``squash`` to a square, as all of the paper's evaluations do, or ``crop``: the shorter side is resized and
            the centre taken.
        batch: Pictures that go through the network at once; features never depend on it.
        compat: With ``fit: crop``, how regions are mapped; see ``regionkit.core.frames.Frame.resize_crop``.
        weights: ``auto`` looks for the official files and for converted ones, ``none`` starts untrained from the seed,
            else a reference or a name of ``toolkit weights list``.
        width: Of the vision tower; a head is 64 wide.
        layers: Blocks of the vision tower.
        dim: Of the space that both towers are projected to.
        text_width: Of the text tower; a head is 64 wide.
        text_layers: Blocks of the text tower.
        context: Most tokens of a text, start and end included; what is longer loses the tokens before its end.
        vocabulary: Rows of the word embedding.
    """

    model: Literal["vit-b16", "vit-b32"] = "vit-b16"
    resolution: int = 224
    fit: Literal["squash", "crop"] = "squash"
    batch: int = 16
    compat: Literal["paper", "reference"] = "paper"
    weights: str = "auto"
    width: int = 0
    layers: int = 0
    dim: int = 0
    text_width: int = 0
    text_layers: int = 0
    context: int = 0
    vocabulary: int = 0

    def __post_init__(self) -> None:
        _check_picture(self.resolution, CLIP_PATCHES[self.model], self.batch)
        _check_sizes(self, CLIP_SIZES)

    @property
    def patch(self) -> int:
        """Side of a patch in preprocessed pixels."""
        return CLIP_PATCHES[self.model]


@dataclass(frozen=True)
class Talk2DinoConfig:
    """DINOv2 with registers, and CLIP's text tower projected into the space of its patches.

    Sizes of 0 are those of the release; weights bring theirs.

    Attributes:
        resolution: Side of the preprocessed picture in pixels, a multiple of the patch. Learned positions are resampled
            to it.
        fit: ``squash`` to a square, as all of the paper's evaluations do, or ``crop``: the shorter side is resized and
            the centre taken.
        batch: Pictures that go through the network at once; features never depend on it.
        attention_heads: Heads over which the logits of the attention map are averaged: the more, the flatter the map.
            0 is the model's own number (12) in compat ``paper`` and 16 in compat ``reference``.
        compat: ``reference`` keeps what the released code does: 16 heads, and with ``fit: crop`` its way of mapping
            regions (``regionkit.core.frames.Frame.resize_crop``).
        weights: ``auto`` looks for the official files and for converted ones, ``none`` starts untrained from the seed,
            else a reference or a name of ``toolkit weights list``.
        patch: Side of a patch in preprocessed pixels.
        width: Of DINOv2, and of both spaces; a head is 64 wide.
        layers: Blocks of DINOv2.
        registers: Register tokens of DINOv2.
        text_dim: Of CLIP's text features, which Talk2DINO projects.
        text_width: Of CLIP's text tower; a head is 64 wide.
        text_layers: Blocks of the text tower.
        context: Most tokens of a text, start and end included; what is longer loses the tokens before its end.
        vocabulary: Rows of the word embedding.
    """

    resolution: int = 518  # 37 x 37 patches, at which DINOv2 was trained last; all evaluations of the paper
    fit: Literal["squash", "crop"] = "squash"
    batch: int = 8
    attention_heads: int = 0
    compat: Literal["paper", "reference"] = "paper"
    weights: str = "auto"
    patch: int = 0
    width: int = 0
    layers: int = 0
    registers: int = 0
    text_dim: int = 0
    text_width: int = 0
    text_layers: int = 0
    context: int = 0
    vocabulary: int = 0

    def __post_init__(self) -> None:
        _check_sizes(self, TALK2DINO_SIZES)
        _check_picture(self.resolution, size(self, "patch"), self.batch)
        if self.attention_heads < 0:
            raise ValueError(f"attention_heads: {self.attention_heads} must be 0 (as compat says) or more")

    @property
    def heads(self) -> int:
        """Heads over which the attention map is averaged."""
        own = size(self, "width") // HEAD_WIDTH
        return self.attention_heads or (REFERENCE_HEADS if self.compat == "reference" else own)


def size(config: ClipConfig | Talk2DinoConfig, name: str) -> int:
    """Return a size of the architecture: the option, or what 0 stands for."""
    named = CLIP_SIZES if isinstance(config, ClipConfig) else TALK2DINO_SIZES
    value: int = getattr(config, name)
    return value or named[name]


def clip_spaces(config: ClipConfig) -> tuple[str, str]:
    """Return the space of pictures and the space of sentences."""
    return f"clip-{config.model}/image[{size(config, 'dim')}]", f"clip-{config.model}/text[{size(config, 'dim')}]"


def talk2dino_spaces(config: Talk2DinoConfig) -> tuple[str, str]:
    """Return the space of pictures and the space of sentences."""
    name, width = f"talk2dino-vit-b{size(config, 'patch')}", size(config, "width")
    return f"{name}/image[{width}]", f"{name}/text[{width}]"


def clip_blocks(config: ClipConfig) -> str:
    """Return the space of what CLIP's transformer blocks hand on, which is wider than that of its pictures."""
    return f"clip-vit-b{size(config, 'patch')}/blocks[{size(config, 'width')}]"


def talk2dino_blocks(config: Talk2DinoConfig) -> str:
    """Return the space of what DINOv2's transformer blocks hand on, before the last norm."""
    return f"talk2dino-vit-b{size(config, 'patch')}/blocks[{size(config, 'width')}]"


def clip_ports(config: ClipConfig) -> Ports:
    """Return the spaces of ``clip``."""
    image, text = clip_spaces(config)
    return Ports(writes=Port(image), text=text, blocks=clip_blocks(config))


def talk2dino_ports(config: Talk2DinoConfig) -> Ports:
    """Return the spaces of ``dinov2-talk2dino``."""
    image, text = talk2dino_spaces(config)
    return Ports(writes=Port(image), text=text, blocks=talk2dino_blocks(config))


def _check_picture(resolution: int, patch: int, batch: int) -> None:
    if resolution < patch or resolution % patch:
        below = max(patch, resolution // patch * patch)
        raise ValueError(
            f"resolution: {resolution} is no multiple of the patch, {patch} pixels; {below} and {below + patch} are"
        )
    if resolution > MOST_PIXELS:
        raise ValueError(f"resolution: {resolution} is more than {MOST_PIXELS}")
    if batch < 1:
        raise ValueError(f"batch: {batch} must be 1 or more")


def _check_sizes(config: Any, named: dict[str, int]) -> None:
    for name in named:
        value = getattr(config, name)
        if value < 0:
            raise ValueError(f"{name}: {value} must be 0 (as the named model says) or more")
        if name in ("layers", "text_layers") and value > MOST_LAYERS:
            raise ValueError(f"{name}: {value} is more than {MOST_LAYERS}")
        if name in ("width", "text_width") and value % HEAD_WIDTH:
            raise ValueError(f"{name}: {value} is no multiple of {HEAD_WIDTH}, the width of a head")
    if 0 < config.context < 2:
        raise ValueError(f"context: {config.context} has no room for the start and the end token")
