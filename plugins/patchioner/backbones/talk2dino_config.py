"""Options and ports of ``dinov2-talk2dino``; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from regionkit.core.spec import Port, Ports
from regionkit.plugins.patchioner.backbones.sizes import HEAD_WIDTH, TEXT_SIZES, Sized, check_picture, check_sizes

#: What 0 stands for in the options of Talk2DINO: DINOv2 ViT-B/14 with the text tower of CLIP B/16.
TALK2DINO_SIZES = {
    "patch": 14,
    "width": 768,
    "layers": 12,
    "registers": 4,
    "text_dim": 512,
    **TEXT_SIZES,
}
#: Attention heads that the released code of Patch-ioner takes for every model that is not a ViT-S.
REFERENCE_HEADS = 16


@dataclass(frozen=True)
class Talk2DinoConfig(Sized):
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

    SIZES: ClassVar[Mapping[str, int]] = TALK2DINO_SIZES

    def __post_init__(self) -> None:
        check_sizes(self)
        check_picture(self.resolution, self.size("patch"), self.batch)
        if self.attention_heads < 0:
            raise ValueError(f"attention_heads: {self.attention_heads} must be 0 (as compat says) or more")

    @property
    def heads(self) -> int:
        """Heads over which the attention map is averaged."""
        own = self.size("width") // HEAD_WIDTH
        return self.attention_heads or (REFERENCE_HEADS if self.compat == "reference" else own)


def talk2dino_spaces(config: Talk2DinoConfig) -> tuple[str, str]:
    """Return the space of pictures and the space of sentences."""
    name, width = f"talk2dino-vit-b{config.size('patch')}", config.size("width")
    return f"{name}/image[{width}]", f"{name}/text[{width}]"


def talk2dino_blocks(config: Talk2DinoConfig) -> str:
    """Return the space of what DINOv2's transformer blocks hand on, before the last norm."""
    return f"talk2dino-vit-b{config.size('patch')}/blocks[{config.size('width')}]"


def talk2dino_ports(config: Talk2DinoConfig) -> Ports:
    """Return the spaces of ``dinov2-talk2dino``."""
    image, text = talk2dino_spaces(config)
    return Ports(writes=Port(image), text=text, blocks=talk2dino_blocks(config))
