"""What a dual encoder sees in pictures and reads in sentences, each looked at once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from regionkit.core.contracts import Backbone, iter_batches
from regionkit.core.errors import FeatureError
from regionkit.core.frames import crop_corner, resized
from regionkit.plugins.caption_metrics.models.formulas import Floats

Thing = TypeVar("Thing")

#: Pictures, and sentences, that go through a backbone together.
_PICTURES, _SENTENCES = 32, 128
#: Vectors that are remembered of one backbone; those that were not asked for longest go first. 2 KB each, for CLIP.
_REMEMBERED = 16384
#: A picture this many times longer than wide is cropped before it is scaled, so that memory stays in bounds.
_ELONGATED = 16
#: Side that the official code scales pictures to; backbones of another resolution are given theirs.
_SIDE = 224


class Judge:
    """A backbone with class token and text tower that metrics read vectors from.

    Vectors are remembered by the content of a picture or sentence and for the very object that made them, so that
    several metrics, and several runs, that judge with one backbone look at each picture once.

    Args:
        metric: Name of the metric, for messages.
        name: Name of the backbone, for messages.
        backbone: The backbone, frozen.

    Raises:
        FeatureError: It has no text tower.
    """

    def __init__(self, metric: str, name: str, backbone: Backbone) -> None:
        if not backbone.text_space:
            raise FeatureError(
                f"{metric} reads sentences as well, and backbone '{name}' has no text tower",
                "choose one with both, such as backbone: clip",
            )
        self.metric, self.name, self.backbone = metric, name, backbone

    @property
    def side(self) -> int:
        """Side in pixels of the square that the backbone is shown: what it makes of a picture of 224 x 224 pixels."""
        return min(self.backbone.frame((_SIDE, _SIDE)).size)

    def pictures(self, images: Sequence[Image.Image]) -> Floats:
        """Return the class tokens (n, d) of the centres of n pictures, as :func:`centre_square` cuts them.

        Raises:
            FeatureError: The backbone has no class token, or gave NaN or infinite values.
        """
        squares = [centre_square(image, self.side) for image in images]
        keys = [hashlib.sha256(square.tobytes()).digest() for square in squares]
        return _memory_of(self.backbone).pictures.rows(keys, squares, self._see)

    def sentences(self, texts: Sequence[str]) -> Floats:
        """Return the vectors (n, d) of n sentences; what is longer than the text tower's context is cut there.

        Raises:
            FeatureError: The backbone gave NaN or infinite values.
        """
        return _memory_of(self.backbone).sentences.rows(texts, texts, self._read)

    @torch.inference_mode()
    def _see(self, squares: Sequence[Image.Image]) -> list[NDArray[np.float32]]:
        rows: list[NDArray[np.float32]] = []
        for part in iter_batches(len(squares), _PICTURES):
            tokens = self.backbone.encode(squares[part]).cls
            if tokens is None:
                raise FeatureError(
                    f"{self.metric} reads the class token, and backbone '{self.name}' has none",
                    "choose one that has, such as backbone: clip",
                )
            rows += self._checked(tokens, "pictures")
        return rows

    @torch.inference_mode()
    def _read(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        rows: list[NDArray[np.float32]] = []
        for part in iter_batches(len(texts), _SENTENCES):
            rows += self._checked(self.backbone.encode_text(texts[part]), "sentences")
        return rows

    def _checked(self, vectors: Tensor, what: str) -> list[NDArray[np.float32]]:
        if not bool(torch.isfinite(vectors).all()):
            raise FeatureError(f"{self.metric}: backbone '{self.name}' gave NaN or infinite values for {what}")
        return list(vectors.float().cpu().numpy())


class _Remembered(Generic[Thing]):
    """Vectors by key, a bounded number of them."""

    def __init__(self) -> None:
        self._rows: OrderedDict[Hashable, NDArray[np.float32]] = OrderedDict()

    def rows(
        self,
        keys: Sequence[Hashable],
        things: Sequence[Thing],
        make: Callable[[Sequence[Thing]], list[NDArray[np.float32]]],
    ) -> Floats:
        """Return one row a thing (n, d), float64; what is not there yet is made in one call, each key once."""
        new = {key: thing for key, thing in zip(keys, things, strict=True) if key not in self._rows}
        self._rows.update(zip(new, make(list(new.values())), strict=True) if new else ())
        for key in keys:
            self._rows.move_to_end(key)
        found = [self._rows[key] for key in keys]
        while len(self._rows) > _REMEMBERED:
            self._rows.popitem(last=False)
        return np.stack(found).astype(np.float64) if found else np.zeros((0, 1))


class _Memory:
    """What one backbone has seen and read."""

    def __init__(self) -> None:
        self.pictures: _Remembered[Image.Image] = _Remembered()
        self.sentences: _Remembered[str] = _Remembered()


_MEMORIES: WeakKeyDictionary[Backbone, _Memory] = WeakKeyDictionary()


def _memory_of(backbone: Backbone) -> _Memory:
    return _MEMORIES.setdefault(backbone, _Memory())


def centre_square(image: Image.Image, side: int) -> Image.Image:
    """Scale the shorter side of a picture, bicubic, take the centre and make it RGB, in this order as CLIP does.

    A backbone that squashes or crops pictures to ``side`` x ``side`` pixels leaves such a square as it is, so what it
    sees is CLIP's own preprocessing whatever its option ``fit`` says.

    Args:
        image: A picture of any mode; it is scaled in its own.
        side: Side of the square in pixels.
    """
    width, height = image.size
    scaled = resized(image.size, side)
    left, top = crop_corner(scaled, (side, side))
    if max(scaled) <= _ELONGATED * side:
        whole = image if image.size == scaled else image.resize(scaled, Image.Resampling.BICUBIC)
        return whole.crop((left, top, left + side, top + side)).convert("RGB")
    x, y = width / scaled[0], height / scaled[1]
    box = (left * x, top * y, min(width, (left + side) * x), min(height, (top + side) * y))
    return image.resize((side, side), Image.Resampling.BICUBIC, box=box).convert("RGB")
