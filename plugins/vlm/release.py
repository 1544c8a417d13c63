"""Reading vision-language models of the Hugging Face hub as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from regionkit.core.checkpoints import as_floats, read_checkpoint
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.language.models import check_tensors, stored_config
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.weights import WeightHeader
from regionkit.plugins.vlm.config import VlmConfig
from regionkit.plugins.vlm.families import FAMILIES, new_model, restore_config, sizes_of

_ROLES = ("model", "config", "tokenizer", "preprocessor")


def read_vlm(files: Mapping[str, Path], config: VlmConfig) -> WeightArtifact:
    """Turn the folder of a model of the hub into the tensors of ``vlm``, which keep their names.

    Args:
        files: ``model`` (weights, or their index), ``config`` (config.json), ``tokenizer`` (tokenizer.json, with
            tokenizer_config.json beside it) and ``preprocessor`` (preprocessor_config.json).
        config: Options; none of them counts here.

    Raises:
        WeightsError: Something is missing, damaged, of another kind of model, or not accounted for.
    """
    missing = [role for role in _ROLES if role not in files]
    if missing:
        raise WeightsError(
            f"decoder 'vlm' needs the whole folder of a model, and its {missing[0]} is missing",
            "files by role: model.safetensors, config.json, tokenizer.json, preprocessor_config.json",
        )
    made_of = restore_config(_json(files["config"]), files["config"])
    tokenizer = LanguageTokenizer.of_folder(files["tokenizer"].parent)
    family = FAMILIES[made_of.model_type]
    lacking = [mark for mark in family.marks if tokenizer.id_of(mark) is None]
    if lacking:
        raise WeightsError(
            f"{files['tokenizer']}: this tokenizer has no {lacking[0]}, so it is that of another model",
            "fetch the whole folder again",
        )
    family.check(made_of, files["config"])
    if made_of.image_token_id != tokenizer.id_of(family.marks[0]):
        raise WeightsError(
            f"{files['config']}: a picture's token is {made_of.image_token_id} there, and {family.marks[0]} is "
            f"{tokenizer.id_of(family.marks[0])} in {files['tokenizer'].name}",
            "one of the two is that of another model: fetch the whole folder again",
        )
    pictures = family.pictures_of_folder(files["preprocessor"], made_of)
    tensors = family.renamed(as_floats(read_checkpoint(files["model"]), files["model"]))
    layers = made_of.get_text_config().num_hidden_layers
    if layers > len(tensors):  # making them all would take forever
        raise WeightsError(
            f"{files['config']}: it says {layers} layers, and {files['model']} holds {len(tensors)} tensors",
            "one of the two is that of another model: fetch the whole folder again",
        )
    with torch.device("meta"):
        model = new_model(made_of, str(files["config"]))
    check_tensors(model, tensors, files["model"])
    rows = model.get_input_embeddings().weight.shape[0]
    if tokenizer.size > rows:
        raise WeightsError(
            f"{files['tokenizer']}: its tokenizer has {tokenizer.size} ids, its model has {rows} word embeddings",
            "the tokenizer is that of another model: fetch the whole folder again",
        )
    extra = {"tokenizer": tokenizer.to_extra(), "model": stored_config(model), "pictures": pictures.to_extra()}
    sizes = sizes_of(made_of, pictures)
    return WeightArtifact(tensors, WeightHeader("decoder", "vlm", config=sizes, extra=extra))


def _json(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(stored, dict)
    except (OSError, ValueError, AssertionError, RecursionError) as error:
        raise WeightsError(f"{path}: unreadable: {type(error).__name__}", "fetch it again") from None
    return stored
