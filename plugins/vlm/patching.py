"""Pictures as vision towers take them that look at any size: patches in the order in which they are merged.

The rule is that of Qwen2-VL (Wang et al., arXiv 2409.12191, section 2.1) and of its image processor in transformers.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from PIL import Image

from regionkit.core.errors import WeightsError
from regionkit.plugins.vlm.family import Pictures, Shown

#: Largest side of a patch or token, and largest area that a picture may be enlarged to, that are no mistake.
_MOST_SIDE, _MOST_PIXELS = 4096, 1 << 26
_LEAST_STD = 1e-6


@dataclass(frozen=True)
class Patching(Pictures):
    """How a picture is prepared.

    Attributes:
        patch: Side of a patch in pixels.
        merge: Patches along each side that become one token.
        frames: How often a still picture is repeated, for towers whose patches last so many frames.
        least: Fewest pixels of a picture; smaller ones are enlarged.
        most: Most pixels; larger ones are made smaller.
        resample: Filter, by its number in Pillow.
    """

    patch: int
    merge: int
    frames: int
    least: int
    most: int
    resample: int = int(Image.Resampling.BICUBIC)

    @classmethod
    def of_folder(cls, path: Path) -> Self:
        """Read a ``preprocessor_config.json``.

        Raises:
            WeightsError: It is damaged, or of a processor that does something else.
        """
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            size = stored.get("size") or {}
            patching = cls(
                patch=int(stored["patch_size"]),
                merge=int(stored["merge_size"]),
                frames=int(stored["temporal_patch_size"]),
                least=int(stored["min_pixels"] if "min_pixels" in stored else size["shortest_edge"]),
                most=int(stored["max_pixels"] if "max_pixels" in stored else size["longest_edge"]),
                mean=tuple(map(float, stored["image_mean"])),
                std=tuple(map(float, stored["image_std"])),
                resample=int(stored.get("resample", Image.Resampling.BICUBIC)),
            )
            patching.check()
        except KeyError as error:
            raise WeightsError(f"{path}: {error} is missing, or no number", f"fetch {path.name} again") from None
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise WeightsError(
                f"{path}: it does not say how pictures are prepared: {error}", f"fetch {path.name} again"
            ) from None
        return patching

    def check(self) -> None:
        """Check that the numbers make sense.

        Raises:
            ValueError: They do not.
        """
        for name, value, most in (
            ("patch_size", self.patch, _MOST_SIDE),
            ("merge_size", self.merge, _MOST_SIDE),
            ("temporal_patch_size", self.frames, _MOST_SIDE),
            ("the fewest pixels", self.least, _MOST_PIXELS),
            ("the most pixels", self.most, None),
        ):
            if value < 1 or (most is not None and value > most):
                raise ValueError(f"{name}: {value} must be 1 or more{f', at most {most}' if most else ''}")
        if self.most < max(self.least, self.factor**2):
            raise ValueError(
                f"the most pixels, {self.most}, are fewer than the fewest, {self.least}, or than a token's"
            )
        for name, colours in (("image_mean", self.mean), ("image_std", self.std)):
            if len(colours) != 3 or not all(map(math.isfinite, colours)):
                raise ValueError(f"{name}: {list(colours)} must be three numbers")
        if min(map(abs, self.std)) < _LEAST_STD:
            raise ValueError(f"image_std: {list(self.std)} must be numbers that a colour can be divided by")
        Image.Resampling(self.resample)

    @property
    def factor(self) -> int:
        """Side of what becomes one token, in pixels."""
        return self.patch * self.merge

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the (width, height) that a picture is stretched to: whole tokens, its area between the two bounds.

        Both sides are rounded each for itself, so that the shape changes a little.
        """
        factor = self.factor
        wide, high = round(width / factor) * factor, round(height / factor) * factor
        if wide * high > self.most:
            shrink = math.sqrt(width * height / self.most)
            wide, high = (max(factor, math.floor(one / shrink / factor) * factor) for one in (width, height))
        elif wide * high < self.least:
            grow = math.sqrt(self.least / (width * height))
            wide, high = (math.ceil(one * grow / factor) * factor for one in (width, height))
        return wide, high

    def shown(self, picture: Image.Image) -> Shown:
        """Return the patches (n, 3 * frames * patch * patch) of a picture, and how many there are along its sides.

        The patches that become one token stand together; a patch's values run over colours, frames, rows, columns.
        """
        picture = picture.convert("RGB")
        size = self.size(*picture.size)
        if picture.size != size:
            picture = picture.resize(size, Image.Resampling(self.resample))
        normal = self._normal(np.asarray(picture))
        rows, columns, merge, patch = size[1] // self.patch, size[0] // self.patch, self.merge, self.patch
        cut = normal.reshape(rows // merge, merge, patch, columns // merge, merge, patch, 3)
        cut = cut.transpose(0, 3, 1, 4, 6, 2, 5)  # tokens, patches of a token, colour, and the patch
        cut = np.repeat(cut[:, :, :, :, :, None], self.frames, axis=5)
        return Shown(torch.from_numpy(np.ascontiguousarray(cut.reshape(rows * columns, -1))), (rows, columns))
