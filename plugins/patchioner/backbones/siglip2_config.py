"""Options and spaces of ``siglip2``; torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from regionkit.plugins.patchioner.backbones.sizes import MOST_LAYERS, check_picture
from regionkit.plugins.patchioner.backbones.square_config import SquareConfig

#: Side of a patch in all models that ``siglip2`` knows by name, and of the pictures that they were trained with last.
PATCH, SIDE = 16, 512
_TEXT = {"context": 64, "vocabulary": 256000}
_BASE = {"width": 768, "layers": 12, "heads": 12, "intermediate": 3072}
_LARGE = {"width": 1024, "layers": 24, "heads": 16, "intermediate": 4096}
_SO400M = {"width": 1152, "layers": 27, "heads": 16, "intermediate": 4304}


def _both(tower: Mapping[str, int]) -> dict[str, int]:
    """Return the sizes of a model: its text tower is as large as its vision tower."""
    return {**tower, **{f"text_{name}": size for name, size in tower.items()}, **_TEXT}


#: The published models for pictures of 512 pixels: what 0 stands for in their sizes.
SIGLIP2_MODELS = {"base-patch16": _both(_BASE), "large-patch16": _both(_LARGE), "so400m-patch16": _both(_SO400M)}
#: Far beyond any tower: what is more is a slip, and would fill the memory before anything is said.
_MOST_WIDTH, _MOST_WORDS = 1 << 16, 1 << 22


@dataclass(frozen=True)
class Siglip2Config(SquareConfig):
    """SigLIP 2 for square pictures, of which every patch goes through the pooling head alone.

    Sizes of 0 are those of the named model; weights bring theirs.

    Attributes:
        model: ``base-patch16`` (the paper's), ``large-patch16`` or ``so400m-patch16``, each as it was released for
            pictures of 512 pixels; it names the spaces.
        resolution: Side of the preprocessed picture in pixels, a multiple of 16. Learned positions are resampled to it.
        fit: ``squash`` to a square, as SigLIP 2 was trained and all of the paper's evaluations do, or ``crop``: the
            shorter side is resized and the centre taken.
        filter: How pictures are resized: ``bicubic``, as the paper's transforms do, or ``bilinear``, as the model's own
            preprocessor_config.json says.
        compat: With ``fit: crop``, how regions are mapped; see ``regionkit.core.frames.Frame.resize_crop``. The
            released code has no SigLIP 2, so nothing else depends on it.
        width: Of the vision tower, and of both spaces.
        layers: Blocks of the vision tower.
        heads: Attention heads of its blocks and of its pooling head.
        intermediate: Hidden width of their feed-forward parts.
        text_width: Of the text tower.
        text_layers: Blocks of the text tower.
        text_heads: Attention heads of its blocks.
        text_intermediate: Hidden width of their feed-forward parts.
        context: Tokens of a text: shorter ones are padded to it, longer ones lose the tokens before their end.
        vocabulary: Rows of the word embedding.
    """

    model: Literal["base-patch16", "large-patch16", "so400m-patch16"] = "base-patch16"
    resolution: int = SIDE  # the paper's section 7
    filter: Literal["bicubic", "bilinear"] = "bicubic"
    width: int = 0
    layers: int = 0
    heads: int = 0
    intermediate: int = 0
    text_width: int = 0
    text_layers: int = 0
    text_heads: int = 0
    text_intermediate: int = 0
    context: int = 0
    vocabulary: int = 0

    SIZES: ClassVar[Mapping[str, int]] = SIGLIP2_MODELS["base-patch16"]

    def __post_init__(self) -> None:
        check_picture(self.resolution, PATCH, self.batch)
        for name in self.SIZES:
            most = MOST_LAYERS if name.endswith("layers") else _MOST_WORDS if name == "vocabulary" else _MOST_WIDTH
            value: int = getattr(self, name)
            if not 0 <= value <= most:
                raise ValueError(f"{name}: {value} must be 0 (as the named model says) or more, and at most {most}")
        for tower in ("", "text_"):
            width, heads = self.size(f"{tower}width"), self.size(f"{tower}heads")
            if width % heads:
                raise ValueError(f"{tower}heads: {heads} do not share a width of {width} evenly")
        if self.size("context") < 2:
            raise ValueError(f"context: {self.context} has no room for a word and the end token")

    @property
    def patch(self) -> int:
        """Side of a patch in preprocessed pixels."""
        return PATCH

    def size(self, name: str) -> int:
        """Return a size of the architecture: the option, or what 0 stands for in the named model."""
        value: int = getattr(self, name)
        return value or SIGLIP2_MODELS[self.model][name]

    def spaces(self) -> tuple[str, str]:
        """Return the space of pictures and the space of sentences."""
        name, width = f"siglip2-{self.model}", self.size("width")
        return f"{name}/image[{width}]", f"{name}/text[{width}]"

    @property
    def block_space(self) -> str:
        """Space of what the vision tower's blocks hand on, before its last norm and its head."""
        return f"siglip2-{self.model}/blocks[{self.size('width')}]"
