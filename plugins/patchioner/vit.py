"""What the two ViT backbones share: pictures into pixels, timm's network, CLIP's text tower, building with weights."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import numpy as np
import torch
from PIL import Image
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from regionkit.core.contracts import Backbone, BuildContext, iter_batches
from regionkit.core.errors import WeightsError
from regionkit.core.features import Features
from regionkit.core.frames import Frame, crop_corner, resized
from regionkit.core.stored import drawn_from, with_memory, with_stored
from regionkit.core.weights import load_into
from regionkit.plugins.patchioner.backbone_configs import HEAD_WIDTH, ClipConfig, Talk2DinoConfig, size
from regionkit.plugins.patchioner.clip_text import encode_texts, text_tower
from regionkit.plugins.patchioner.vocabulary import MERGES, ClipTokenizer, clip_tokenizer_from

Config = TypeVar("Config", bound=ClipConfig | Talk2DinoConfig)

#: Mean and deviation of the pixels that the models were trained with, RGB in 0..1.
CLIP_PIXELS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET_PIXELS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: A picture this many times longer than wide is cropped before it is scaled, so that memory stays in bounds.
_ELONGATED = 16
_POSITIONS = "vision.pos_embed"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture becomes pixels (Patch-ioner's two transforms).

    Attributes:
        side: Side of the preprocessed picture.
        patch: Side of a patch in it.
        fit: ``squash`` ignores the aspect ratio, ``crop`` resizes the shorter side and takes the centre.
        compat: How a crop maps regions, see :meth:`Frame.resize_crop`.
        pixels: Mean and deviation, RGB in 0..1.
    """

    side: int
    patch: int
    fit: Literal["squash", "crop"]
    compat: Literal["paper", "reference"]
    pixels: tuple[tuple[float, ...], tuple[float, ...]]

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.side // self.patch

    def frame(self, image_size: tuple[int, int]) -> Frame:
        """Describe what is done to a picture of (width, height) pixels."""
        grid = (self.grid, self.grid)
        if self.fit == "squash":
            return Frame.squash(image_size, (self.side, self.side), grid)
        return Frame.resize_crop(image_size, self.side, self.side, grid, self.compat)

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        """Return normalised pixels (b, 3, side, side)."""
        if not images:
            return torch.zeros(0, 3, self.side, self.side)
        pixels = torch.from_numpy(np.stack([np.asarray(self._fitted(image)) for image in images]))
        mean, deviation = (torch.tensor(values) for values in self.pixels)
        scaled = (pixels.float() / 255 - mean) / deviation
        return scaled.permute(0, 3, 1, 2).contiguous()

    def _fitted(self, image: Image.Image) -> Image.Image:
        """Return a picture of side x side pixels in RGB, resampled as Pillow does."""
        image, square = image.convert("RGB"), (self.side, self.side)
        if self.fit == "squash":
            return image.resize(square, Image.Resampling.BICUBIC)
        width, height = image.size
        scaled = resized(image.size, self.side)
        left, top = crop_corner(scaled, square)
        if max(scaled) <= _ELONGATED * self.side:
            whole = image.resize(scaled, Image.Resampling.BICUBIC)
            return whole.crop((left, top, left + self.side, top + self.side))
        x, y = width / scaled[0], height / scaled[1]
        box = (left * x, top * y, min(width, (left + self.side) * x), min(height, (top + self.side) * y))
        return image.resize(square, Image.Resampling.BICUBIC, box=box)


class ViTBackbone(nn.Module, Backbone, Generic[Config]):
    """A vision transformer of timm with a text tower of CLIP, as ``vision`` and ``text``.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    #: Options that weights decide.
    architecture: ClassVar[tuple[str, ...]]
    #: The size that says the width of the text tower's features.
    text_dim: ClassVar[str]
    #: Mean and deviation of the pixels that the vision tower was trained with.
    pixels: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]]
    #: Learned positions in front that belong to no patch.
    position_prefix: ClassVar[int]

    def __init__(self, config: Config, tokenizer: ClipTokenizer) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.preprocessing = Preprocessing(
            config.resolution, size(config, "patch"), config.fit, config.compat, self.pixels
        )
        self.vision = self.vision_tower(config)
        self.prefix_tokens = self.vision.num_prefix_tokens
        self.text = text_tower(
            width=size(config, "text_width"),
            layers=size(config, "text_layers"),
            dim=size(config, self.text_dim),
            context=size(config, "context"),
            vocabulary=size(config, "vocabulary"),
            tokenizer=tokenizer,
        )

    @classmethod
    def build(cls, config: Config, context: BuildContext) -> Self:
        """Make the backbone with the weights of the context; without any it starts from ``context.seed``.

        Raises:
            WeightsError: The weights are damaged, or of another model or size than the options ask for.
        """
        file = context.weights
        if file is None:
            with drawn_from(context.seed):
                return cls(config, ClipTokenizer()).eval()
        config = with_stored(config, file.header.config, cls.architecture, kind="backbone", source=str(file.path))
        tensors = file.tensors()
        tokenizer = clip_tokenizer_from(file.header.extra, file.path, tensors)
        backbone = with_memory(cls.skeleton(config, tokenizer))
        load_into(backbone, backbone._placed(tensors), file.path)
        return backbone.eval()

    @classmethod
    def skeleton(cls, config: Config, tokenizer: ClipTokenizer) -> Self:
        """Return the network without memory for its weights, to hold the names and shapes of a checkpoint against."""
        with torch.device("meta"):
            return cls(config, tokenizer)

    @staticmethod
    @abstractmethod
    def vision_tower(config: Any) -> VisionTransformer:
        """Make the vision transformer for square pictures, untrained."""

    def _placed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the network's own tensors, positions resampled to its grid."""
        own = {name: tensor for name, tensor in tensors.items() if name != MERGES}
        if _POSITIONS in own:
            own[_POSITIONS] = at_grid(own[_POSITIONS], self.preprocessing.grid, self.position_prefix)
        return own

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks of the vision tower, in order."""
        return list(self.vision.blocks)

    def embed(self, pixels: Tensor) -> Tensor:
        """Return the tokens (b, n, width) that enter the first block; class token and registers come first."""
        # timm has no public name for this step; the class token's and the registers' places are settled in it.
        tokens: Tensor = self.vision.norm_pre(self.vision._pos_embed(self.vision.patch_embed(pixels)))
        return tokens

    def frame(self, image_size: tuple[int, int]) -> Frame:
        """Describe what preprocessing does to an image of (width, height) pixels."""
        return self.preprocessing.frame(image_size)

    def preprocess(self, images: Sequence[Image.Image]) -> tuple[Tensor, tuple[Frame, ...]]:
        """Return normalised pixels (b, 3, side, side) and the frames."""
        return self.preprocessing(images), tuple(self.frame(image.size) for image in images)

    @torch.no_grad()
    def encode(self, images: Sequence[Image.Image]) -> Features:
        """Encode pictures, ``config.batch`` at a time; nothing is normalised."""
        weight = self.vision.patch_embed.proj.weight
        parts = []
        for part in iter_batches(len(images), self.config.batch) if images else [slice(0, 0)]:
            pixels, frames = self.preprocess(images[part])
            parts.append(self.read(pixels.to(weight), frames))
        return Features.cat(parts)

    @abstractmethod
    def read(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Features:
        """Return the features of preprocessed pixels (b, 3, side, side)."""

    def grid_of(self, tokens: Tensor) -> Tensor:
        """Return patch tokens (b, n, ...) as (b, h, w, ...)."""
        grid = self.preprocessing.grid
        return tokens.reshape(len(tokens), grid, grid, *tokens.shape[2:])

    @torch.no_grad()
    def clip_texts(self, texts: Sequence[str]) -> Tensor:
        """Return CLIP's text features (n, text_dim) at the end token, not normalised."""
        return encode_texts(self.text, self.tokenizer, texts)


def at_grid(positions: Tensor, grid: int, prefix: int) -> Tensor:
    """Resample learned positions (1, prefix + n, d) to a square grid, bicubic and antialiased, as timm does at load.

    Args:
        positions: Positions of ``prefix`` tokens and of a square of n patches.
        grid: Patches along a side of the new grid.
        prefix: Positions in front that belong to no patch.

    Raises:
        WeightsError: The patches form no square.
    """
    square_side(positions.shape[1] - prefix)
    resampled: Tensor = resample_abs_pos_embed(positions.float(), [grid, grid], num_prefix_tokens=prefix)
    return resampled


def square_side(patches: int, source: str = "the weights") -> int:
    """Return the side of the square that learned positions of so many patches form.

    Raises:
        WeightsError: They form none.
    """
    side = math.isqrt(max(patches, 0))
    if side < 1 or side * side != patches:
        raise WeightsError(f"{source}: the learned positions belong to {patches} patches, which form no square")
    return side


def vision_transformer(**sizes: Any) -> VisionTransformer:
    """Make a vision transformer of timm as DINOv2 and CLIP share it; ``sizes`` are timm's own arguments."""
    return VisionTransformer(num_heads=sizes["embed_dim"] // HEAD_WIDTH, **sizes)
