"""Options and ports of ``dinotxt``; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from regionkit.core.spec import Port, Ports
from regionkit.plugins.patchioner.backbones.sizes import HEAD_WIDTH, Sized, check_picture, check_sizes
from regionkit.plugins.patchioner.backbones.talk2dino_config import REFERENCE_HEADS

#: What 0 stands for in the options of DINO.txt: dinov2_vitl14_reg4_dinotxt_tet1280d20h24l.
DINOTXT_SIZES = {
    "patch": 14,
    "width": 1024,
    "layers": 24,
    "registers": 4,
    "head_layers": 2,
    "text_dim": 2048,
    "text_width": 1280,
    "text_layers": 24,
    "context": 77,
    "vocabulary": 49408,
}


@dataclass(frozen=True)
class DinoTxtConfig(Sized):
    """DINO.txt: a frozen DINOv2 ViT-L/14, a vision head on its tokens, and a text tower trained with it.

    Sizes of 0 are those of the release; weights bring theirs.

    Attributes:
        head: Whether the vision head, with which the text tower was trained, is on top. None is true in compat
            ``paper``, which is DINO.txt as its authors released it, and false in compat ``reference``: the released
            code of Patch-ioner compares texts with the patches of DINOv2 itself. The space of pictures without the
            head has another name.
        text: Which half of a text vector is read. ``patch``, the second, was trained against the mean of the patches;
            all of the paper. ``global``, the first, was trained against the class token: for whole pictures, with
            weighting ``cls``. ``both`` is all of it; each patch is then [class token | patch], so that the mean of all
            patches is the vector that DINO.txt gives a picture.
        resolution: Side of the preprocessed picture in pixels, a multiple of the patch. Learned positions are resampled
            to it.
        fit: ``squash`` to a square, as all of the paper's evaluations do, or ``crop``: the shorter side is resized and
            the centre taken.
        batch: Pictures that go through the network at once; features never depend on it.
        attention_heads: Heads over which the logits of the attention map are averaged: the more, the flatter the map.
            0 is the model's own number in compat ``paper`` and 16 in compat ``reference``, which is the same for
            ViT-L.
        compat: ``reference`` keeps what the released code does: no head, and with ``fit: crop`` its way of mapping
            regions (``regionkit.core.frames.Frame.resize_crop``).
        weights: ``auto`` looks for the official files and for converted ones, ``none`` starts untrained from the seed,
            else a reference or a name of ``toolkit weights list``.
        patch: Side of a patch in preprocessed pixels.
        width: Of DINOv2 and of the head; a head of attention is 64 wide.
        layers: Blocks of DINOv2.
        registers: Register tokens of DINOv2.
        head_layers: Blocks of the vision head.
        text_dim: Of a whole text vector: twice the width.
        text_width: Of the text tower; a head of attention is 64 wide.
        text_layers: Blocks of the text tower.
        context: Most tokens of a text, start and end included; what is longer loses the tokens before its end.
        vocabulary: Rows of the word embedding.
    """

    head: bool | None = None
    text: Literal["patch", "global", "both"] = "patch"
    resolution: int = 518  # 37 x 37 patches, at which DINOv2 was trained last; all evaluations of the paper
    fit: Literal["squash", "crop"] = "squash"
    batch: int = 4
    attention_heads: int = 0
    compat: Literal["paper", "reference"] = "paper"
    weights: str = "auto"
    patch: int = 0
    width: int = 0
    layers: int = 0
    registers: int = 0
    head_layers: int = 0
    text_dim: int = 0
    text_width: int = 0
    text_layers: int = 0
    context: int = 0
    vocabulary: int = 0

    SIZES: ClassVar[Mapping[str, int]] = DINOTXT_SIZES

    def __post_init__(self) -> None:
        check_sizes(self)
        check_picture(self.resolution, self.size("patch"), self.batch)
        if self.attention_heads < 0:
            raise ValueError(f"attention_heads: {self.attention_heads} must be 0 (as compat says) or more")
        if self.size("text_dim") != 2 * self.size("width"):
            raise ValueError(
                f"text_dim: {self.size('text_dim')} is not twice the width, {self.size('width')}: "
                "one half belongs to the class token, one to the patches"
            )

    @property
    def with_head(self) -> bool:
        """Whether the vision head is on top."""
        return self.compat == "paper" if self.head is None else self.head

    @property
    def heads(self) -> int:
        """Heads over which the attention map is averaged."""
        own = self.size("width") // HEAD_WIDTH
        return self.attention_heads or (REFERENCE_HEADS if self.compat == "reference" else own)

    @property
    def dim(self) -> int:
        """Width of both spaces."""
        return self.size("width") * (2 if self.text == "both" else 1)


def dinotxt_spaces(config: DinoTxtConfig) -> tuple[str, str]:
    """Return the space of pictures and the space of sentences.

    Parts that were trained on the patches of one head, or on one half of the text vectors, never pass for the other.
    """
    name = f"dinotxt-vit-l{config.size('patch')}"
    head = "" if config.with_head else "-headless"
    whole = "-both" if config.text == "both" else ""
    half = "" if config.text == "patch" else f"-{config.text}"
    return f"{name}{head}{whole}/image[{config.dim}]", f"{name}{half}/text[{config.dim}]"


def dinotxt_blocks(config: DinoTxtConfig) -> str:
    """Return the space of what DINOv2's transformer blocks hand on, before the last norm and the vision head."""
    return f"dinotxt-vit-l{config.size('patch')}/blocks[{config.size('width')}]"


def dinotxt_ports(config: DinoTxtConfig) -> Ports:
    """Return the spaces of ``dinotxt``."""
    image, text = dinotxt_spaces(config)
    return Ports(writes=Port(image), text=text, blocks=dinotxt_blocks(config))
