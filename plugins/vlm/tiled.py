"""SmolVLM and Idefics3: a picture becomes tiles of one size, each of them as many tokens, with marks around."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regionkit.core.contracts import iter_batches
from regionkit.core.errors import RegionkitError, WeightsError
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.plugins.vlm.family import Family, Looked, Pictures, Shown
from regionkit.plugins.vlm.tiles import FRAME, GLOBAL, IMAGE, Tiling, marked, row_marks

#: Tiles that pass through the vision tower together.
_TILES = 32


class Tiled(Family):
    """A family whose vision tower sees squares, and whose connector merges squares of patches."""

    marks = (IMAGE, FRAME, GLOBAL)
    tower = ("vision_model", "connector")

    def __init__(self, name: str) -> None:
        self.name = name

    def fields(self, config: Any, tokenizer: LanguageTokenizer) -> dict[str, Any]:
        """Return the fields of the config of a new model."""
        vision = {
            "image_size": config.picture,
            "patch_size": config.patch,
            "hidden_size": config.vision_hidden,
            "num_hidden_layers": config.vision_layers,
            "num_attention_heads": config.vision_heads,
            "intermediate_size": config.vision_intermediate,
            "attention_dropout": config.dropout,
        }
        return {"text_config": {"model_type": "llama"}, "vision_config": vision, "scale_factor": config.merge}

    def sizes(self, made_of: Any, pictures: Tiling) -> dict[str, Any]:
        """Return the options of the vision side that a config stands for."""
        vision = made_of.vision_config
        return {
            "picture": vision.image_size,
            "patch": vision.patch_size,
            "merge": made_of.scale_factor,
            "vision_layers": vision.num_hidden_layers,
            "vision_heads": vision.num_attention_heads,
            "tiles": max(pictures.longest // pictures.side, 1) if pictures.split else 1,
        }

    def pictures_of_options(self, config: Any) -> Pictures:
        """Return how a new model's pictures are cut."""
        return Tiling(config.picture, config.picture * config.tiles, split=config.tiles > 1)

    def pictures_of_folder(self, path: Path, made_of: Any) -> Pictures:
        """Read a ``preprocessor_config.json``, whose tiles must be as large as the vision tower takes them."""
        side = made_of.vision_config.image_size
        tiling = Tiling.of_folder(path, side)
        if tiling.side != side:
            raise WeightsError(
                f"{path}: it cuts tiles of {tiling.side} pixels, the vision tower of "
                f"{path.parent / 'config.json'} takes {side}",
                "fetch the whole folder again",
            )
        return tiling

    def pictures_of_extra(self, stored: object, source: str | Path) -> Pictures:
        """Read what the header of a weight file keeps."""
        return Tiling.of_extra(stored, source)

    def bounded(self, pictures: Any, pixels: int) -> Pictures:
        """Refuse: tiles are all of one size."""
        raise RegionkitError(
            f"decoder 'vlm': pixels: '{self.name}' sees tiles of {pictures.side} x {pictures.side} pixels, how many is "
            "what its weights say",
            "leave decoder.pixels out",
        )

    def new_marks(self, config: Any) -> tuple[str, ...]:
        """Return the marks of pictures of at most ``tiles`` x ``tiles`` tiles."""
        return (*self.marks, *row_marks(config.tiles))

    def text(self, made_of: Any, grid: tuple[int, int]) -> str:
        """Return the text that stands for a picture of so many rows and columns of tiles."""
        side = made_of.vision_config.image_size // made_of.vision_config.patch_size // made_of.scale_factor
        return marked(grid, side * side)

    def look(self, model: Any, shown: Sequence[Shown]) -> list[Looked]:
        """Return the tokens of each picture, tile by tile."""
        found = _seen(model, shown, lambda seen: model.model.connector(seen))
        rows = torch.split(found, [len(one.pixels) for one in shown])
        return [Looked(row.flatten(0, 1), None) for row in rows]

    def features(self, model: Any, shown: Sequence[Shown]) -> Tensor:
        """Return the mean of what the tower sees, over patches, then over tiles."""
        means = _seen(model, shown, lambda seen: seen.mean(1))
        return torch.stack([row.mean(0) for row in torch.split(means, [len(one.pixels) for one in shown])])


def _seen(model: Any, shown: Sequence[Shown], made: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what is made of the vision tower's (n, patches, d_v), a few tiles at a time, of whichever pictures."""
    weight = model.get_input_embeddings().weight
    tiles, patch = torch.cat([one.pixels for one in shown]), model.config.vision_config.patch_size
    found = []
    for part in iter_batches(len(tiles), _TILES):
        pixels = tiles[part].to(device=weight.device, dtype=weight.dtype)
        grid = torch.ones(len(pixels), *(side // patch for side in pixels.shape[-2:]), dtype=torch.bool)
        seen = model.model.vision_model(pixel_values=pixels, patch_attention_mask=grid.to(pixels.device))
        found.append(made(seen.last_hidden_state))
    return torch.cat(found)
