"""Pictures as the vision tower of SmolVLM and Idefics3 takes them: tiles of one size, and the whole beside them.

Laurençon et al., Building and better understanding vision-language models, arXiv 2408.12637, section 3.1. The rule is
that of the image processor of these families in transformers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from regionkit.core.errors import WeightsError
from regionkit.plugins.vlm.family import Pictures, Shown

#: No side of a picture gets longer than this.
_LONGEST = 4096
IMAGE, FRAME, GLOBAL = "<image>", "<fake_token_around_image>", "<global-img>"


@dataclass(frozen=True)
class Tiling(Pictures):
    """How a picture is prepared.

    Attributes:
        side: Side of a tile in pixels, that of the vision tower's picture.
        longest: What the longer side of a picture is scaled to before it is cut.
        split: Whether it is cut at all.
        resample: Filter, by its number in Pillow.
    """

    side: int
    longest: int
    split: bool = True
    resample: int = int(Image.Resampling.LANCZOS)

    @classmethod
    def of_folder(cls, path: Path, side: int) -> Self:
        """Read a ``preprocessor_config.json``.

        Args:
            path: The file.
            side: Side of the vision tower's picture, for one that leaves it out.

        Raises:
            WeightsError: It is damaged, or of a processor that does something else.
        """
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            largest = int(stored.get("max_image_size", {}).get("longest_edge", side))
            tiling = cls(
                side=largest,
                longest=int(stored.get("size", {}).get("longest_edge", 4 * largest)),
                split=bool(stored.get("do_image_splitting", True)),
                mean=tuple(map(float, stored.get("image_mean", (0.5, 0.5, 0.5)))),
                std=tuple(map(float, stored.get("image_std", (0.5, 0.5, 0.5)))),
                resample=int(stored.get("resample", Image.Resampling.LANCZOS)),
            )
            tiling.check()
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise WeightsError(f"{path}: it does not say how pictures are prepared: {error}") from None
        return tiling

    def check(self) -> None:
        """Check that the numbers make sense.

        Raises:
            ValueError: They do not.
        """
        if self.side < 1 or self.longest < 1 or len(self.mean) != 3 or len(self.std) != 3 or 0 in self.std:
            raise ValueError(f"{asdict(self)}")
        Image.Resampling(self.resample)

    def cut(self, picture: Image.Image) -> tuple[list[Image.Image], tuple[int, int]]:
        """Return the tiles of a picture, row by row, then the whole; and (rows, columns) of tiles, (0, 0) for none."""
        picture = self._scaled(picture.convert("RGB"))
        if not self.split:
            return [self._resized(picture, (self.side, self.side))], (0, 0)
        picture = self._resized(picture, self._grid_size(picture.size))
        columns, rows = picture.width // self.side, picture.height // self.side
        if rows == columns == 1:
            return [picture], (0, 0)
        corners = [(column * self.side, row * self.side) for row in range(rows) for column in range(columns)]
        tiles = [picture.crop((left, top, left + self.side, top + self.side)) for left, top in corners]
        return [*tiles, self._resized(picture, (self.side, self.side))], (rows, columns)

    def shown(self, picture: Image.Image) -> Shown:
        """Return the tiles of a picture as the vision tower takes them."""
        tiles, grid = self.cut(picture)
        return Shown(self.pixels(tiles), grid)

    def pixels(self, tiles: Sequence[Image.Image]) -> Tensor:
        """Return tiles as the vision tower reads them, (n, 3, side, side)."""
        normal = self._normal(np.stack([np.asarray(tile) for tile in tiles]))
        return torch.from_numpy(normal).permute(0, 3, 1, 2).contiguous()

    def _scaled(self, picture: Image.Image) -> Image.Image:
        """Scale the longer side to ``longest``; the shorter becomes even, upwards."""
        width, height = picture.size
        ratio = width / height
        if width >= height:
            size = self.longest, _even(self.longest / ratio)
        else:
            size = _even(self.longest * ratio), self.longest
        if max(size) > _LONGEST:
            ratio = size[0] / size[1]
            wide = size[0] >= size[1]
            size = (_LONGEST, max(int(_LONGEST / ratio), 1)) if wide else (max(int(_LONGEST * ratio), 1), _LONGEST)
        return self._resized(picture, size)

    def _grid_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size in whole tiles that a picture is stretched to."""
        width, height = size
        if width >= height:
            wide = self._whole(width)
            return wide, self._whole(int(wide / (width / height)))
        high = self._whole(height)
        return self._whole(int(high * (width / height))), high

    def _whole(self, length: int) -> int:
        return max(math.ceil(length / self.side), 1) * self.side

    def _resized(self, picture: Image.Image, size: tuple[int, int]) -> Image.Image:
        return picture if picture.size == size else picture.resize(size, Image.Resampling(self.resample))


def marked(grid: tuple[int, int], tokens: int) -> str:
    """Return the text that stands for a picture: ``tokens`` place holders a tile, and the marks around them.

    Args:
        grid: (rows, columns) of tiles; (0, 0) for a picture shown whole only.
        tokens: Tokens of a tile.
    """
    rows, columns = grid
    lines = ["".join(f"{FRAME}<row_{row}_col_{column}>{IMAGE * tokens}" for column in range(1, columns + 1)) + "\n"
             for row in range(1, rows + 1)]  # fmt: skip
    whole = f"{FRAME}{GLOBAL}{IMAGE * tokens}{FRAME}"
    return "".join(lines) + "\n" + whole if rows else whole


def row_marks(tiles: int) -> tuple[str, ...]:
    """Return the marks of the tiles of pictures of at most ``tiles`` x ``tiles``."""
    places = range(1, tiles + 1) if tiles > 1 else ()
    return tuple(f"<row_{row}_col_{column}>" for row in places for column in places)


def _even(length: float) -> int:
    whole = int(length)
    return max(whole + whole % 2, 1)
