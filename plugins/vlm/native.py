"""Families that look at a picture as large as it is: Qwen2.5-VL, Qwen3-VL, LLaVA-OneVision-1.5.

Bai et al., Qwen2.5-VL Technical Report, arXiv 2502.13923; Qwen3-VL, Qwen team, 2025; An et al., LLaVA-OneVision-1.5,
arXiv 2509.23661.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regionkit.core.errors import RegionkitError, WeightsError
from regionkit.core.language.prefix import Prefix
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.plugins.vlm.family import Family, Looked, Pictures, Shown
from regionkit.plugins.vlm.patching import Patching

_PLACE, _START, _END, _VIDEO = "<|image_pad|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>"
_USER = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
_SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
#: Older files name the two sides so; transformers put both under ``model``.
_RENAMED = (
    (re.compile(r"^visual\."), "model.visual."),
    (re.compile(r"^model\.(?!language_model\.|visual\.)"), "model.language_model."),
)
#: A layer of the vision tower in so many attends to the whole picture in Qwen2.5-VL.
_WHOLE_EVERY = 8
#: What becomes of Qwen2.5-VL's windows: so many patches along each side.
_WINDOW = 8


class Native(Family):
    """A family whose tower sees patches in any number, a square of which becomes one token.

    Pictures pass through the tower one at a time: they differ in size, and none depends on its batch mates.
    """

    marks = (_PLACE, _START, _END, _VIDEO, "<|im_start|>", "<|im_end|>")
    template = _SYSTEM + _USER
    tower = ("visual",)
    transformers = 5
    frames = 2

    def fields(self, config: Any, tokenizer: LanguageTokenizer) -> dict[str, Any]:
        """Return the fields of the config of a new model."""
        vision = {
            "depth": config.vision_layers,
            "hidden_size": config.vision_hidden,
            "num_heads": config.vision_heads,
            "intermediate_size": config.vision_intermediate,
            "patch_size": config.patch,
            "spatial_merge_size": config.merge,
            "temporal_patch_size": self.frames,
        }
        ids = {
            "vision_start_token_id": tokenizer.id_of(_START),
            "vision_end_token_id": tokenizer.id_of(_END),
            "video_token_id": tokenizer.id_of(_VIDEO),
        }
        return {"text_config": {}, "vision_config": vision, **ids}

    def sizes(self, made_of: Any, pictures: Patching) -> dict[str, Any]:
        """Return the options of the vision side that a config stands for."""
        vision = made_of.vision_config
        return {
            "picture": math.isqrt(pictures.most),
            "patch": vision.patch_size,
            "merge": vision.spatial_merge_size,
            "vision_layers": vision.depth,
            "vision_heads": vision.num_heads,
            "tiles": 1,
        }

    def pictures_of_options(self, config: Any) -> Pictures:
        """Return how a new model's pictures are prepared: at most ``picture`` x ``picture`` pixels."""
        most = config.picture**2
        return Patching(
            config.patch, config.merge, self.frames, min(4 * (config.patch * config.merge) ** 2, most), most
        )

    def pictures_of_folder(self, path: Path, made_of: Any) -> Pictures:
        """Read a ``preprocessor_config.json``, whose patches must be those of the vision tower."""
        patching, vision = Patching.of_folder(path), made_of.vision_config
        own = (vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size)
        if (patching.patch, patching.merge, patching.frames) != own:
            raise WeightsError(
                f"{path}: it cuts patches of {patching.patch} pixels, {patching.merge} x {patching.merge} a token, "
                f"{patching.frames} frames deep; those of {path.parent / 'config.json'} are {own[0]}, {own[1]} x "
                f"{own[1]}, {own[2]}",
                "fetch the whole folder again",
            )
        return patching

    def pictures_of_extra(self, stored: object, source: str | Path) -> Pictures:
        """Read what the header of a weight file keeps."""
        return Patching.of_extra(stored, source)

    def bounded(self, pictures: Patching, pixels: int) -> Pictures:
        """Return pictures of at most so many pixels, a token's at the least."""
        if pixels < pictures.factor**2:
            raise RegionkitError(
                f"decoder 'vlm': pixels: {pixels} is less than one token of '{self.name}' shows, "
                f"{pictures.factor} x {pictures.factor}",
                f"set decoder.pixels to {pictures.factor**2} or more",
            )
        most = min(pictures.most, pixels)
        return replace(pictures, most=most, least=min(pictures.least, most))

    def text(self, made_of: Any, grid: tuple[int, int]) -> str:
        """Return the text that stands for a picture of so many rows and columns of patches."""
        count = grid[0] * grid[1] // made_of.vision_config.spatial_merge_size**2
        return f"{_START}{_PLACE * count}{_END}"

    def renamed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a release's tensors by the names that the models have today."""
        (tower, tower_now), (words, words_now) = _RENAMED
        return {words.sub(words_now, tower.sub(tower_now, name)): tensor for name, tensor in tensors.items()}

    def look(self, model: Any, shown: Sequence[Shown]) -> list[Looked]:
        """Return the tokens of each picture, row by row, with their places where the model is told them."""
        found = []
        for one in shown:
            seen = _seen(model, one)
            tokens = seen.pooler_output
            layers = getattr(seen, "deepstack_features", None)
            deep = torch.stack(list(layers)) if layers else None
            places = self.places(model, one.grid)
            found.append(Looked(tokens, None if places is None else places.to(tokens.device), deep))
        return found

    def places(self, model: Any, grid: tuple[int, int]) -> Tensor | None:
        """Return (n, 2) row and column of each token of a picture of so many patches."""
        merge = model.config.vision_config.spatial_merge_size
        return torch.cartesian_prod(torch.arange(grid[0] // merge), torch.arange(grid[1] // merge))

    def features(self, model: Any, shown: Sequence[Shown]) -> Tensor:
        """Return the mean over patches of the tower's last states, which the merger would make tokens of."""
        return torch.stack([_seen(model, one).last_hidden_state.mean(0) for one in shown])


class Qwen25(Native):
    """Qwen2.5-VL: three position numbers a token, windows in most layers of the tower."""

    name = "qwen2_5_vl"
    spreads = True

    def check(self, made_of: Any, source: str | Path) -> None:
        """Check the shares of rotary positions."""
        _check_rope(made_of, source)

    def fields(self, config: Any, tokenizer: LanguageTokenizer) -> dict[str, Any]:
        """Return the fields of the config of a new model."""
        found = super().fields(config, tokenizer)
        whole = list(range(_WHOLE_EVERY - 1, config.vision_layers, _WHOLE_EVERY)) or [config.vision_layers - 1]
        found["vision_config"] |= {
            "fullatt_block_indexes": whole,
            "window_size": _WINDOW * config.patch,
            "out_hidden_size": config.hidden,
        }
        found["text_config"] |= {"rope_parameters": _rope(config, 1_000_000.0)}
        return found


class Qwen3(Native):
    """Qwen3-VL: as Qwen2.5-VL, and what three layers of the tower see joins the first layers of the language model."""

    name = "qwen3_vl"
    spreads = True
    template = _USER

    def check(self, made_of: Any, source: str | Path) -> None:
        """Check the shares of rotary positions."""
        _check_rope(made_of, source)

    def fields(self, config: Any, tokenizer: LanguageTokenizer) -> dict[str, Any]:
        """Return the fields of the config of a new model; layers at each quarter of the tower are the deep ones."""
        found = super().fields(config, tokenizer)
        deep = sorted({max(config.vision_layers * part // 4 - 1, 0) for part in (1, 2, 3)})[: config.layers]
        found["vision_config"] |= {"deepstack_visual_indexes": deep, "out_hidden_size": config.hidden}
        rope = {**_rope(config, 5_000_000.0), "mrope_interleaved": True}
        found["text_config"] |= {"rope_parameters": rope, "head_dim": config.hidden // config.heads}
        return found

    def layers(self, model: Any) -> Sequence[Any]:
        """Return the layers of the language model."""
        found: Sequence[Any] = model.model.language_model.layers
        return found


class OneVision(Native):
    """LLaVA-OneVision-1.5: its tower is RICE-ViT, its language model is told of no rows and columns."""

    name = "llavaonevision1_5"
    frames = 1

    def fields(self, config: Any, tokenizer: LanguageTokenizer) -> dict[str, Any]:
        """Return the fields of the config of a new model."""
        found = super().fields(config, tokenizer)
        found["vision_config"] |= {"text_hidden_size": config.hidden}
        found["text_config"] |= {"head_dim": config.hidden // config.heads}
        return found

    def own_model(self) -> tuple[Any, Any] | None:
        """Return config and model class; transformers has none under this name."""
        from regionkit.plugins.vlm.onevision import OneVisionConfig, OneVisionModel

        return OneVisionConfig, OneVisionModel

    def places(self, model: Any, grid: tuple[int, int]) -> Tensor | None:
        """Return None: a token's position is its place in the sequence."""
        return None


def _check_rope(made_of: Any, source: str | Path) -> None:
    """Refuse rotary positions whose shares for time, rows and columns are not all there is of a head."""
    text = made_of.get_text_config()
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    section = (text.rope_parameters or {}).get("mrope_section")
    if not isinstance(section, list | tuple) or len(section) != 3 or sum(section) * 2 != head:
        raise WeightsError(
            f"{source}: mrope_section is {section}, and should be three numbers that add up to half the width of a "
            f"head, {head // 2}",
            "fetch config.json again",
        )


def spread_positions(prefix: Prefix) -> Tensor:
    """Return (4, r, t): the number of each position, then its numbers in time, rows and columns.

    A picture begins where the words before it end; its tokens count rows and columns from there, and words behind it go
    on after the longer of its sides (M-RoPE; Wang et al., arXiv 2409.12191, section 2.1).

    Args:
        prefix: With ``places`` (r, t, 3): 1, row and column at a picture's tokens, zeros elsewhere; without them where
            there is no picture. At most one picture a row.
    """
    index = (prefix.valid.long().cumsum(1) - 1).clamp(min=0)
    places = prefix.beside.get("places", index.new_zeros(*index.shape, 3))
    inside = places[..., 0].bool()
    count = inside.sum(1, keepdim=True)
    start = index.masked_fill(~inside, index.shape[1]).amin(1, keepdim=True)
    span = (places[..., 1:].amax((1, 2)).unsqueeze(1) + 1) * (count > 0)
    words = index - (count - span) * (index >= start + count)
    numbers = torch.zeros_like(places)
    numbers[..., 1:] = places[..., 1:]
    numbers = torch.where(inside.unsqueeze(-1), start.unsqueeze(-1) + numbers, words.unsqueeze(-1))
    return torch.cat([index.unsqueeze(0), numbers.permute(2, 0, 1)])


def _rope(config: Any, theta: float) -> dict[str, Any]:
    """Return rotary positions of which rows and columns get three eighths each, and time the rest."""
    half = config.hidden // config.heads // 2
    side = 3 * half // 8
    return {"rope_type": "default", "rope_theta": theta, "mrope_section": [half - 2 * side, side, side]}


def _seen(model: Any, shown: Shown) -> Any:
    weight = model.get_input_embeddings().weight
    pixels = shown.pixels.to(device=weight.device, dtype=weight.dtype)
    return model.model.visual(pixels, grid_thw=torch.tensor([[1, *shown.grid]], device=weight.device))
