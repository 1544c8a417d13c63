"""Options and spaces of ``dinotxt``; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from regionkit.plugins.patchioner.backbones.dinov2_config import Dinov2Config

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
class DinoTxtConfig(Dinov2Config):
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
        attention_heads: Heads over which the logits of the attention map are averaged: the more, the flatter the map.
            0 is the model's own number in compat ``paper`` and 16 in compat ``reference``, which is the same for
            ViT-L.
        compat: ``reference`` keeps what the released code does: no head, and with ``fit: crop`` its way of mapping
            regions (``regionkit.core.frames.Frame.resize_crop``).
        width: Of DINOv2 and of the head; a head of attention is 64 wide.
        head_layers: Blocks of the vision head.
        text_dim: Of a whole text vector: twice the width.
        text_width: Of the text tower; a head of attention is 64 wide.
    """

    head: bool | None = None
    text: Literal["patch", "global", "both"] = "patch"
    batch: int = 4
    head_layers: int = 0

    SIZES: ClassVar[Mapping[str, int]] = DINOTXT_SIZES

    def __post_init__(self) -> None:
        super().__post_init__()
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
    def dim(self) -> int:
        """Width of both spaces."""
        return self.size("width") * (2 if self.text == "both" else 1)

    def spaces(self) -> tuple[str, str]:
        """Return the space of pictures and the space of sentences.

        Parts that were trained on the patches of one head, or on one half of the text vectors, never pass for the
        other.
        """
        name = f"dinotxt-vit-l{self.size('patch')}"
        head = "" if self.with_head else "-headless"
        whole = "-both" if self.text == "both" else ""
        half = "" if self.text == "patch" else f"-{self.text}"
        return f"{name}{head}{whole}/image[{self.dim}]", f"{name}{half}/text[{self.dim}]"

    @property
    def block_space(self) -> str:
        """Space of what DINOv2's transformer blocks hand on, before the last norm and the vision head."""
        return f"dinotxt-vit-l{self.size('patch')}/blocks[{self.size('width')}]"
