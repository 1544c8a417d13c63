"""Vision-language models of transformers: their configs from options, their vision towers, their layers by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regionkit.core.errors import RegionkitError, WeightsError
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.plugins.vlm.tiles import IMAGE

#: Families that this plugin knows how to show pictures to.
FAMILIES = ("smolvlm", "idefics3")
#: Fields of a config that say nothing of the model itself.
_VOLATILE = ("_name_or_path", "transformers_version", "architectures", "auto_map", "dtype", "torch_dtype", "use_cache")


def make_config(config: Any, tokenizer: LanguageTokenizer) -> Any:
    """Make the config of a new model from the options of ``vlm``.

    Raises:
        RegionkitError: The family has no such field, or the sizes describe no model.
    """
    text: dict[str, Any] = {
        "model_type": "llama",
        "vocab_size": tokenizer.size,
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads or config.heads,
        "intermediate_size": config.intermediate,
        "max_position_embeddings": config.positions,
        "attention_dropout": config.dropout,
        "bos_token_id": tokenizer.start[0] if tokenizer.start else None,
        "eos_token_id": tokenizer.end,
        "pad_token_id": tokenizer.pad,
    }
    vision = {
        "image_size": config.picture,
        "patch_size": config.patch,
        "hidden_size": config.vision_hidden,
        "num_hidden_layers": config.vision_layers,
        "num_attention_heads": config.vision_heads,
        "intermediate_size": config.vision_intermediate,
        "attention_dropout": config.dropout,
    }
    whole = {"text_config": text, "vision_config": vision, "scale_factor": config.merge}
    whole |= {"image_token_id": tokenizer.id_of(IMAGE), "pad_token_id": tokenizer.pad}
    for name, value in config.architecture.items():
        nested = isinstance(value, Mapping) and isinstance(whole.get(name), dict)
        whole[name] = {**whole[name], **value} if nested else value
    return _configured(config.model, whole, "decoder 'vlm'")


def restore_config(stored: Mapping[str, Any], source: str | Path) -> Any:
    """Read the config of a weight file or of a ``config.json``.

    Raises:
        WeightsError: It is of no family that this plugin knows, or does not make sense.
    """
    given = {name: value for name, value in stored.items() if name not in _VOLATILE}
    model = str(given.pop("model_type", ""))
    if model not in FAMILIES:
        raise WeightsError(
            f"{source}: this is a model of family '{model}', and decoder 'vlm' does not know how to show it pictures",
            f"families that it knows: {', '.join(FAMILIES)}",
        )
    try:
        return _configured(model, given, str(source))
    except RegionkitError as error:
        raise WeightsError(error.message, *error.hints) from None


def new_model(config: Any, who: str) -> Any:
    """Make a model with fresh weights, drawn from torch's random numbers.

    Raises:
        RegionkitError: The config describes no model.
    """
    from transformers import AutoModelForImageTextToText, GenerationConfig

    try:
        model = AutoModelForImageTextToText.from_config(config)
    except Exception as error:  # each family complains in its own way
        reason = " ".join(str(error).split())[:200]
        raise RegionkitError(f"{who}: no model can be made of these sizes: {type(error).__name__}: {reason}") from None
    text = config.get_text_config()
    # What a release suggests for generation must not silently join what is asked of each call.
    plain = GenerationConfig(
        bos_token_id=text.bos_token_id, eos_token_id=text.eos_token_id, pad_token_id=text.pad_token_id
    )
    model.generation_config = model.model.text_model.generation_config = plain
    return model.eval()


def sizes_of(config: Any, tiles: int) -> dict[str, Any]:
    """Return the options of ``vlm`` that a config stands for, for the header of a weight file."""
    text, vision = config.get_text_config(), config.vision_config
    return {
        "model": config.model_type,
        "hidden": text.hidden_size,
        "layers": text.num_hidden_layers,
        "heads": text.num_attention_heads,
        "kv_heads": text.num_key_value_heads,
        "intermediate": text.intermediate_size,
        "positions": text.max_position_embeddings,
        "picture": vision.image_size,
        "patch": vision.patch_size,
        "merge": config.scale_factor,
        "vision_hidden": vision.hidden_size,
        "vision_layers": vision.num_hidden_layers,
        "vision_heads": vision.num_attention_heads,
        "vision_intermediate": vision.intermediate_size,
        "tiles": tiles,
    }


def tokens_of(config: Any) -> int:
    """Return how many tokens of the language model a tile becomes."""
    side = config.vision_config.image_size // config.vision_config.patch_size // config.scale_factor
    return int(side * side)


def look(model: Any, pixels: Tensor) -> Tensor:
    """Return (n, patches, d_v): what the vision tower makes of tiles (n, 3, side, side), before the connector."""
    patch = model.config.vision_config.patch_size
    grid = torch.ones(len(pixels), *(side // patch for side in pixels.shape[-2:]), dtype=torch.bool)
    seen = model.model.vision_model(pixel_values=pixels, patch_attention_mask=grid.to(pixels.device))
    found: Tensor = seen.last_hidden_state
    return found


def connect(model: Any, seen: Tensor) -> Tensor:
    """Return (n, tokens, d): what the language model reads of tiles that the tower saw as (n, patches, d_v)."""
    found: Tensor = model.model.connector(seen)
    return found


def in_vision_tower(name: str) -> bool:
    """Say whether a layer or tensor of that name belongs to the vision tower or to the connector behind it."""
    return ".vision_model." in f".{name}." or ".connector." in f".{name}."


def _configured(model: str, given: Mapping[str, Any], who: str) -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        return CONFIG_MAPPING[model](**given)
    except Exception as error:  # families check their fields in their own ways
        reason = " ".join(str(error).split())[:200]
        raise RegionkitError(f"{who}: not a config of family '{model}': {reason}") from None
