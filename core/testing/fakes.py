"""Parts to run others on: they see and read as real ones do, without weights, so their answers can be told by hand.

What only has to be there, around a part that is checked, is in ``stand_ins``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from regionkit.core.contracts import Backbone, Decoder
from regionkit.core.errors import FeatureError
from regionkit.core.features import Caption, Features, GenerateOptions, RegionTokens, RegionViews
from regionkit.core.frames import Frame, resized
from regionkit.core.images import check_masks

#: Colour words that the text tower of :class:`GridBackbone` knows; other words get a small vector of their own.
COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "cyan": (0, 255, 255),
    "green": (0, 255, 0),
    "magenta": (255, 0, 255),
    "red": (255, 0, 0),
    "white": (255, 255, 255),
    "yellow": (255, 255, 0),
}


def picture(size: tuple[int, int] = (64, 48), seed: int = 0, cells: int = 4) -> Image.Image:
    """Draw ``cells`` x ``cells`` blocks of random colours, slightly textured, on ``size`` = (width, height) pixels."""
    random = np.random.default_rng(seed)
    width, height = size
    colours = random.integers(0, 256, size=(cells, cells, 3))
    rows = np.arange(height) * cells // height
    columns = np.arange(width) * cells // width
    texture = random.integers(-8, 9, size=(height, width, 1))
    return Image.fromarray(np.clip(colours[rows[:, None], columns[None, :]] + texture, 0, 255).astype(np.uint8))


class GridBackbone(Backbone):
    """A backbone of pixel statistics: a patch's vector says its mean colour and how much it varies.

    It is exact and fast, needs no weights, and sees nothing beyond the patch, so a region's vector can be predicted
    by hand. A sentence's vector is that of a solid patch of its colour words, plus a small fixed vector for any
    other word.

    Args:
        grid: (rows, columns) of patches.
        patch: Side of a patch in preprocessed pixels.
        dim: Width d, at least 6: mean RGB, deviation of RGB, then fixed waves of the mean colour.
        fit: ``squash`` or ``crop`` (shorter side resized, centre crop; needs a square grid).
        cls: Whether there is a class token (mean over the picture, rotated by one so that it is no patch mean).
        attention: Whether there is an attention map (brightness, summing to 1).
        text: Whether there is a text tower.

    Attributes:
        forwards: Number of calls of :meth:`encode`.
        encoded: Number of pictures in all these calls.
    """

    def __init__(
        self,
        grid: tuple[int, int] = (4, 4),
        patch: int = 8,
        dim: int = 16,
        *,
        fit: Literal["squash", "crop"] = "squash",
        cls: bool = True,
        attention: bool = True,
        text: bool = True,
    ) -> None:
        if dim < 6 or (fit == "crop" and grid[0] != grid[1]):
            raise ValueError("GridBackbone needs dim >= 6, and a square grid for fit='crop'")
        self.space = f"grid/image[{dim}]"
        self.text_space = f"grid/text[{dim}]" if text else ""
        self.grid, self.patch, self.dim, self.fit = grid, patch, dim, fit
        self._cls, self._attention = cls, attention
        self.forwards = 0
        self.encoded = 0

    def frame(self, image_size: tuple[int, int]) -> Frame:
        """Describe the squash or the crop."""
        rows, columns = self.grid
        if self.fit == "squash":
            return Frame.squash(image_size, (columns * self.patch, rows * self.patch), self.grid)
        side = rows * self.patch
        return Frame.resize_crop(image_size, side, side, self.grid)

    def preprocess(self, images: Sequence[Image.Image]) -> tuple[Tensor, tuple[Frame, ...]]:
        """Return pixels (b, 3, height, width) in 0..1 and the frames."""
        frames = tuple(self.frame(image.size) for image in images)
        arrays = []
        for image, frame in zip(images, frames, strict=True):
            size = frame.size if self.fit == "squash" else resized(image.size, frame.size[0])
            scaled = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
            left, top = (int(offset) for offset in frame.offset)
            scaled = scaled.crop((left, top, left + frame.size[0], top + frame.size[1]))
            arrays.append(np.asarray(scaled, dtype=np.float32) / 255)
        rows, columns = self.grid
        stacked = np.stack(arrays) if arrays else np.zeros((0, rows * self.patch, columns * self.patch, 3), np.float32)
        return torch.from_numpy(stacked).permute(0, 3, 1, 2), frames

    def encode(self, images: Sequence[Image.Image]) -> Features:
        """Encode b pictures; counted in :attr:`forwards` and :attr:`encoded`."""
        self.forwards += 1
        self.encoded += len(images)
        pixels, frames = self.preprocess(images)
        rows, columns = self.grid
        cells = pixels.reshape(len(images), 3, rows, self.patch, columns, self.patch).permute(0, 2, 4, 3, 5, 1)
        patches = self._vectors(cells.flatten(3, 4))
        brightness = patches[..., :3].sum(-1).exp()
        return Features(
            patches=patches,
            frames=frames,
            cls=self._vectors(pixels.flatten(2).transpose(1, 2)).roll(1, -1) if self._cls else None,
            attention=brightness / brightness.sum((1, 2), keepdim=True) if self._attention else None,
        )

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode n sentences as (n, d): the mean of their words' vectors."""
        if not self.text_space:
            return super().encode_text(texts)
        rows = [torch.stack([self._word(word) for word in re.findall(r"\w+", text.lower()) or [""]]) for text in texts]
        return torch.stack([row.mean(0) for row in rows]) if rows else torch.zeros(0, self.dim)

    def _vectors(self, pixels: Tensor) -> Tensor:
        """Turn pixels (..., n, 3) into vectors (..., d)."""
        mean = pixels.mean(-2) - 0.5
        spread = pixels.std(-2, correction=0) if pixels.numel() else mean  # of nothing, torch warns
        turns = torch.arange(1, 3 * (self.dim - 6) + 1, dtype=torch.float32).reshape(3, -1)
        # Summed by hand: a matrix product may round otherwise in another batch size.
        waves = torch.sin((mean.unsqueeze(-1) * (turns.sin() * 4)).sum(-2))
        return torch.cat([mean, spread, waves], dim=-1)

    def _word(self, word: str) -> Tensor:
        if word in COLOURS:
            return self._vectors(torch.tensor([COLOURS[word]], dtype=torch.float32) / 255)
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
        return 0.3 * torch.randn(self.dim, generator=torch.Generator().manual_seed(seed))


class MaskedBackbone(GridBackbone):
    """A :class:`GridBackbone` that takes masks: what lies outside a mask is seen at a quarter of its contrast.

    Args:
        dim: Width of its vectors, at least 6.
    """

    def __init__(self, dim: int = 16) -> None:
        super().__init__(dim=dim)
        self.masked_space = self.space

    def encode_masked(self, images: Sequence[Image.Image], masks: Sequence[NDArray[np.bool_]]) -> Features:
        """Encode b pictures with b masks; counted as :meth:`encode` counts.

        Raises:
            FeatureError: A mask does not belong to its picture.
        """
        check_masks(images, masks)
        dimmed = []
        for image, mask in zip(images, masks, strict=True):
            pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
            dimmed.append(Image.fromarray(np.where(mask[..., None], pixels, 96 + pixels / 4).astype(np.uint8)))
        return self.encode(dimmed)


class BlockBackbone(GridBackbone):
    """A :class:`GridBackbone` with transformer blocks that parts may work between, random and frozen.

    Its features are still those of pixels alone; the blocks have a class token in front.

    Args:
        dim: Width of features and blocks, an even number of at least 6.
        depth: Number of blocks.
    """

    prefix_tokens = 1

    def __init__(self, dim: int = 16, depth: int = 3) -> None:
        super().__init__(dim=dim)
        self.block_space = f"grid/blocks[{dim}]"
        rows, columns = self.grid
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._patches = nn.Conv2d(3, dim, self.patch, self.patch).requires_grad_(False)
            self._places = torch.randn(1, 1 + rows * columns, dim)
            layers = (
                nn.TransformerEncoderLayer(dim, 2, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
                for _ in range(depth)
            )
            self._blocks = tuple(layer.requires_grad_(False).eval() for layer in layers)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The blocks, in order."""
        return self._blocks

    def embed(self, pixels: Tensor) -> Tensor:
        """Return (b, 1 + rows * columns, dim), the class token first."""
        patches = self._patches(pixels).flatten(2).transpose(1, 2)
        first = torch.zeros(len(patches), 1, self.dim)
        return torch.cat([first, patches], 1) + self._places


class NearestTextDecoder(Decoder):
    """A decoder that answers with the nearest of given sentences, and says its log-probability among them.

    Args:
        texts: The n sentences.
        embeddings: Their vectors (n, d), in the space that the decoder reads.
        sharpness: Inverse temperature of the probabilities.
    """

    def __init__(self, texts: Sequence[str], embeddings: Tensor, sharpness: float = 10.0) -> None:
        self.texts = tuple(texts)
        self.embeddings = normalize(embeddings, dim=-1)
        self.sharpness = sharpness

    def generate(
        self,
        inputs: RegionTokens | RegionViews,
        prompt: str | None = None,
        options: GenerateOptions | None = None,
    ) -> list[Caption]:
        """Write the nearest sentence of each region."""
        best = self._log_probabilities(inputs).max(-1)
        pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [Caption(self.texts[index], score, (index,)) for score, index in pairs]

    def score(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return the log-probability of one of the known sentences a region."""
        table = self._log_probabilities(inputs)
        columns = torch.tensor([self.texts.index(text) for text in texts], dtype=torch.long)
        return table.gather(1, columns.unsqueeze(1)).squeeze(1)

    def loss(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return the mean negative log-probability."""
        return -self.score(inputs, texts).mean()

    def _log_probabilities(self, inputs: RegionTokens | RegionViews) -> Tensor:
        if isinstance(inputs, RegionViews):
            raise FeatureError("NearestTextDecoder reads tokens, not pictures")
        vectors, dim = inputs.vectors(), self.embeddings.shape[1]
        if vectors.shape[1] != dim:
            raise FeatureError(f"NearestTextDecoder reads vectors of width {dim}, not {vectors.shape[1]}")
        inputs.check_finite("what NearestTextDecoder reads")
        unit = normalize(vectors.float(), dim=-1)
        # One row at a time: the caption of a region must not depend on its batch mates, not even in the last bit.
        rows = [(self.embeddings * row).sum(-1) * self.sharpness for row in unit]
        return torch.stack(rows).log_softmax(-1) if rows else torch.zeros(0, len(self.texts))
