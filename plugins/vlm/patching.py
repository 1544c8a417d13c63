"""Pictures as vision towers take them that look at any size: patches in the order in which they are merged.

The rule is that of Qwen2-VL (Wang et al., arXiv 2409.12191, section 2.1) and of its image processor in transformers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image

from regionkit.core.errors import WeightsError
from regionkit.plugins.vlm.family import Shown


@dataclass(frozen=True)
class Patching:
    """How a picture is prepared.

    Attributes:
        patch: Side of a patch in pixels.
        merge: Patches along each side that become one token.
        frames: How often a still picture is repeated, for towers whose patches last so many frames.
        least: Fewest pixels of a picture; smaller ones are enlarged.
        most: Most pixels; larger ones are made smaller.
        mean: Taken off each colour, in 0..1.
        std: Divides it then.
        resample: Filter, by its number in Pillow.
    """

    patch: int
    merge: int
    frames: int
    least: int
    most: int
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
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
                least=int(stored.get("min_pixels") or size["shortest_edge"]),
                most=int(stored.get("max_pixels") or size["longest_edge"]),
                mean=tuple(map(float, stored["image_mean"])),
                std=tuple(map(float, stored["image_std"])),
                resample=int(stored.get("resample", Image.Resampling.BICUBIC)),
            )
            patching.check()
        except KeyError as error:
            raise WeightsError(f"{path}: it does not say how pictures are prepared: {error} is missing") from None
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise WeightsError(f"{path}: it does not say how pictures are prepared: {error}") from None
        return patching

    @classmethod
    def of_extra(cls, stored: object, source: str | Path) -> Self:
        """Read what :meth:`to_extra` wrote.

        Raises:
            WeightsError: It is damaged.
        """
        try:
            given: dict[str, Any] = dict(stored)  # type: ignore[call-overload]
            patching = cls(**{**given, "mean": tuple(given["mean"]), "std": tuple(given["std"])})
            patching.check()
        except (ValueError, TypeError, KeyError) as error:
            raise WeightsError(f"{source}: its header does not say how pictures are prepared: {error}") from None
        return patching

    def to_extra(self) -> Mapping[str, Any]:
        """Return what the header of a weight file keeps."""
        return asdict(self)

    def check(self) -> None:
        """Check that the numbers make sense.

        Raises:
            ValueError: They do not.
        """
        whole = min(self.patch, self.merge, self.frames) >= 1 and self.least >= 1 and self.most >= self.factor**2
        if not whole or self.least > self.most or len(self.mean) != 3 or len(self.std) != 3 or 0 in self.std:
            raise ValueError(f"{asdict(self)}")
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
        array = np.asarray(picture, dtype=np.float32) / np.float32(255)
        normal = (array - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        rows, columns, merge, patch = size[1] // self.patch, size[0] // self.patch, self.merge, self.patch
        cut = normal.reshape(rows // merge, merge, patch, columns // merge, merge, patch, 3)
        cut = cut.transpose(0, 3, 1, 4, 6, 2, 5)  # tokens, patches of a token, colour, and the patch
        cut = np.repeat(cut[:, :, :, :, :, None], self.frames, axis=5)
        return Shown(torch.from_numpy(np.ascontiguousarray(cut.reshape(rows * columns, -1))), (rows, columns))
