"""Reading SigLIP 2 as it is released: transformers' layout of a whole SigLIP, in a folder with its tokenizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from regionkit.core.checkpoints import as_floats, config_beside, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.files import is_file, is_folder
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.vision.siglip_layout import (
    AGAIN,
    COUNTS,
    LAYER,
    TOWER_RULES,
    attention_heads,
    count_layers,
    tower_sizes,
)
from regionkit.plugins.patchioner.backbones.layouts import artifact_of
from regionkit.plugins.patchioner.backbones.siglip2 import Siglip2
from regionkit.plugins.patchioner.backbones.siglip2_config import (
    PATCH,
    SIDE,
    SIGLIP2_MODELS,
    Siglip2Config,
)

_HEAD = r"probe|attention\.in_proj_(?:weight|bias)|(?:attention\.out_proj|layernorm|mlp\.fc[12])\.(?:weight|bias)"
RULES: dict[str, str] = {
    **TOWER_RULES,
    rf"vision_model\.head\.({_HEAD})": r"vision.head.\1",
    r"text_model\.embeddings\.(token|position)_embedding\.weight": r"text.embeddings.\1_embedding.weight",
    r"text_model\.encoder\.layers\.(\d+)\." + LAYER: r"text.encoder.layers.\1.\2.\3",
    r"text_model\.(final_layer_norm|head)\.(weight|bias)": r"text.\1.\2",
}
#: Known and not needed: temperature and bias of the training loss.
_ASIDE = (r"logit_scale|logit_bias", COUNTS)
#: Files of a release that say which tokens end and pad a text.
_SPECIAL = ("tokenizer_config.json", "special_tokens_map.json")
_PATCHES = "vision_model.embeddings.patch_embedding.weight"


def read_siglip2(files: Mapping[str, Path], config: Siglip2Config) -> WeightArtifact:
    """Turn an official checkpoint into the tensors of ``siglip2``.

    Args:
        files: ``model``: the folder with its config.json and tokenizer.json, or a file with these beside it.
        config: Options; they say which model is meant.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown, missing or of another shape, or the files hold
            another model.
    """
    if "model" not in files:
        raise WeightsError("backbone 'siglip2' needs a model", "the folder of google/siglip2-base-patch16-512")
    path = files["model"]
    tensors = read_checkpoint(path)
    if _PATCHES in tensors and tensors[_PATCHES].ndim == 2:
        raise WeightsError(
            f"{path}: this is a NaFlex model, which reads pictures of any shape as lists of patches",
            f"take the one for square pictures: google/siglip2-{config.model}-{SIDE}",
        )
    tensors = as_floats(rename(tensors, RULES, path, _ASIDE), path)
    vision = tower_sizes(tensors, path)
    patch, resolution = vision.pop("patch"), vision.pop("resolution")
    sizes = {**vision, **text_sizes(tensors, path)}
    _check_model(config, patch, resolution, sizes, path)
    tokenizer = _tokenizer(path, sizes["vocabulary"])
    return artifact_of(
        Siglip2,
        config,
        tensors,
        tokenizer,
        sizes=sizes,
        side=resolution // patch * patch,
        source=str(path),
        license="Apache-2.0",
    )


def text_sizes(tensors: Mapping[str, Tensor], path: Path) -> dict[str, int]:
    """Return the sizes of the text tower under our names.

    Raises:
        WeightsError: A tensor that says them is missing or of an impossible shape, or its config.json is wrong.
    """
    names = ("embeddings.token_embedding", "embeddings.position_embedding", "encoder.layers.0.mlp.fc1")
    found = [tensors.get(f"text.{name}.weight") for name in names]
    words, positions, hidden = found
    if words is None or positions is None or hidden is None or any(one is None or one.ndim != 2 for one in found):
        raise WeightsError(f"{path}: this checkpoint has no text tower of SigLIP", AGAIN)
    vocabulary, width = words.shape
    return {
        "text_width": width,
        "text_layers": count_layers(tensors, r"text\.encoder\.layers"),
        "text_heads": attention_heads(config_beside(path, "text_config"), width, path),
        "text_intermediate": len(hidden),
        "context": len(positions),
        "vocabulary": vocabulary,
    }


def _check_model(config: Siglip2Config, patch: int, resolution: int, sizes: Mapping[str, int], path: Path) -> None:
    """Refuse a published model under the name of another; sizes that none was published with pass under any."""
    known = {model: (one["width"], one["layers"]) for model, one in SIGLIP2_MODELS.items()}
    if patch != PATCH:
        raise WeightsError(
            f"{path}: this model has patches of {patch} pixels, siglip2-{config.model} has {PATCH}",
            f"models are: {', '.join(known)}",
        )
    named = [model for model, shape in known.items() if shape == (sizes["width"], sizes["layers"])]
    if not named:
        return
    if named[0] != config.model:
        raise WeightsError(
            f"{path}: this is siglip2-{named[0]}, and {config.model} was asked for",
            f"write backbone.model: {named[0]}, or name the other file: backbone.weights: file:PATH",
            f"to convert it: --set model={named[0]}",
        )
    if resolution != SIDE:
        # Its text tower differs too, so its sentences would be of another space than those of the named model.
        raise WeightsError(
            f"{path}: this siglip2-{named[0]} was trained for {resolution} pixels, and is another model than the one "
            f"for {SIDE}",
            f"take google/siglip2-{named[0]}-{SIDE}; backbone.resolution may be any multiple of {PATCH}",
        )


def _tokenizer(path: Path, vocabulary: int) -> LanguageTokenizer:
    """Read the tokenizer beside the weights.

    Raises:
        WeightsError: It is not there, or knows more tokens than the text tower.
    """
    folder = path if is_folder(path) else path.parent
    tokenizer = _lone(folder / "tokenizer.json") or LanguageTokenizer.of_folder(folder)
    if tokenizer.size > vocabulary:
        raise WeightsError(
            f"{folder}: its tokenizer has {tokenizer.size} tokens, the text tower knows {vocabulary}",
            "take the tokenizer.json that was released with the model",
        )
    return tokenizer


def _lone(path: Path) -> LanguageTokenizer | None:
    """Read a tokenizer.json without the files that name its special tokens; they have the names that Gemma gave them.

    Returns:
        The tokenizer; None where there are such files, or the tokens have other names.
    """
    if not is_file(path) or any(is_file(path.with_name(name)) for name in _SPECIAL):
        return None
    try:
        found = LanguageTokenizer(path.read_text(encoding="utf-8"), end=0, pad=0)
        end, pad = found.id_of("<eos>"), found.id_of("<pad>")
    except Exception:  # the library raises plain Exceptions; whoever reads the folder next says what is wrong
        return None
    return None if end is None or pad is None else dataclasses.replace(found, end=end, pad=pad)
