"""Vision-language models of transformers: their configs from options, their models, by family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from regionkit.core.errors import RegionkitError, WeightsError, did_you_mean
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.plugins.vlm.family import Family, Pictures
from regionkit.plugins.vlm.native import OneVision, Qwen3, Qwen25
from regionkit.plugins.vlm.tiled import Tiled

#: By ``model_type``.
FAMILIES: Mapping[str, Family] = {
    family.name: family for family in (Tiled("smolvlm"), Tiled("idefics3"), Qwen25(), Qwen3(), OneVision())
}
#: Fields of a config, and of the configs in it, that say nothing of the model itself.
_VOLATILE = ("_name_or_path", "transformers_version", "architectures", "auto_map", "dtype", "torch_dtype", "use_cache")


def make_config(config: Any, tokenizer: LanguageTokenizer) -> Any:
    """Make the config of a new model from the options of ``vlm``.

    Raises:
        RegionkitError: The family has no such field, or the sizes describe no model.
    """
    family = FAMILIES[config.model]
    whole = family.fields(config, tokenizer)
    special = {
        "bos_token_id": tokenizer.start[0] if tokenizer.start else None,
        "eos_token_id": tokenizer.end,
        "pad_token_id": tokenizer.pad,
    }
    whole["text_config"] |= special | {
        "vocab_size": tokenizer.size,
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads or config.heads,
        "intermediate_size": config.intermediate,
        "max_position_embeddings": config.positions,
        "attention_dropout": config.dropout,
    }
    whole |= {"image_token_id": tokenizer.id_of(family.marks[0]), "pad_token_id": tokenizer.pad}
    for name, value in config.architecture.items():
        nested = isinstance(value, Mapping) and isinstance(whole.get(name), dict)
        whole[name] = {**whole[name], **value} if nested else value
    return _configured(family, whole, "decoder 'vlm'")


def restore_config(stored: Mapping[str, Any], source: str | Path) -> Any:
    """Read the config of a weight file or of a ``config.json``.

    Raises:
        WeightsError: It is of no family that this plugin knows, or does not make sense.
    """
    given = _lasting(stored)
    model = str(given.pop("model_type", ""))
    if model not in FAMILIES:
        raise WeightsError(
            f"{source}: this is a model of family '{model}', and decoder 'vlm' does not know how to show it pictures",
            did_you_mean(model, FAMILIES) or f"families that it knows: {', '.join(FAMILIES)}",
        )
    try:
        return _configured(FAMILIES[model], given, str(source))
    except RegionkitError as error:
        raise WeightsError(error.message, *error.hints) from None


def new_model(config: Any, who: str) -> Any:
    """Make a model with fresh weights, drawn from torch's random numbers.

    Raises:
        RegionkitError: The config describes no model.
    """
    from transformers import AutoModelForImageTextToText, GenerationConfig

    own = FAMILIES[config.model_type].own_model()
    try:
        model = own[1](config) if own else AutoModelForImageTextToText.from_config(config)
    except Exception as error:  # each family complains in its own way
        reason = " ".join(str(error).split())[:200]
        raise RegionkitError(f"{who}: no model can be made of these sizes: {type(error).__name__}: {reason}") from None
    text = config.get_text_config()
    # What a release suggests for generation must not silently join what is asked of each call.
    plain = GenerationConfig(
        bos_token_id=text.bos_token_id, eos_token_id=text.eos_token_id, pad_token_id=text.pad_token_id
    )
    model.generation_config = plain
    if hasattr(model.model, "text_model"):
        model.model.text_model.generation_config = plain
    return model.eval()


def sizes_of(config: Any, pictures: Pictures) -> dict[str, Any]:
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
        "vision_hidden": vision.hidden_size,
        "vision_intermediate": vision.intermediate_size,
        **FAMILIES[config.model_type].sizes(config, pictures),
    }


def in_vision_tower(name: str) -> bool:
    """Say whether a layer or tensor of that name belongs to the vision tower or to the connector behind it."""
    return any(part in family.tower for family in FAMILIES.values() for part in name.split("."))


def with_marks(tokenizer: LanguageTokenizer, marks: Iterable[str]) -> LanguageTokenizer:
    """Return a tokenizer that knows marks as special tokens."""
    from tokenizers import AddedToken, Tokenizer

    lacking = [mark for mark in marks if tokenizer.id_of(mark) is None]
    changed = Tokenizer.from_str(tokenizer.text)
    changed.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in lacking])
    return replace(tokenizer, text=changed.to_str())


def _lasting(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what says nothing of the model, also of the configs within: no part may choose a type of its own."""
    return {
        name: _lasting(value) if isinstance(value, Mapping) else value
        for name, value in stored.items()
        if name not in _VOLATILE
    }


def _configured(family: Family, given: Mapping[str, Any], who: str) -> Any:
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if int(transformers.__version__.partition(".")[0]) < family.transformers:
        raise RegionkitError(
            f"{who}: models of family '{family.name}' need transformers {family.transformers} or later, and "
            f"{transformers.__version__} is installed",
            "install a later one: pip install -U transformers",
        )
    own = family.own_model()
    try:
        return (own[0] if own else CONFIG_MAPPING[family.name])(**given)
    except Exception as error:  # families check their fields in their own ways
        reason = " ".join(str(error).split())[:200]
        raise RegionkitError(f"{who}: not a config of family '{family.name}': {reason}") from None
