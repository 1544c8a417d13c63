"""Text encoders as they are released: a folder of the Hugging Face hub becomes tensors and what a header says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regionkit.core.checkpoints import as_floats, read_checkpoint
from regionkit.core.errors import WeightsError
from regionkit.core.files import is_file
from regionkit.core.language.encoders import Reading, fits, make_model

#: What releases hold beside the encoder: heads of their training, a pooling layer, and buffers that counts follow from.
_ASIDE = re.compile(
    r"(?:.*\.)?(?:pooler|cls|lm_head|classifier|lm_predictions|mask_predictions|vocab_(?:transform|layer_norm|projector)"
    r"|generator_\w+|discriminator_\w+|predictions|sop_classifier)\..*|(?:.*\.)?embeddings\.(?:position_ids|token_type_ids)"
)
#: Names that old files have for the weights of a norm.
_OLD = {".gamma": ".weight", ".beta": ".bias"}
#: Families whose tokenizer sees words behind a space, so that the first one needs one too.
_SPACED = ("roberta",)
#: Families that count positions from behind the id of padding.
_SHIFTED = ("roberta", "xlm-roberta", "camembert", "mpnet")
_AGAIN = "fetch the whole folder again"


def read_encoder(folder: Path, **more: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read an encoder of a folder.

    Args:
        folder: The folder: config.json, weights and a tokenizer.
        more: Fields of :class:`~regionkit.core.language.encoders.Reading` that its files do not say.

    Returns:
        Its tensors; and what a header keeps of it, for :func:`~regionkit.core.language.encoders.load_encoder`.

    Raises:
        WeightsError: Something is missing, damaged, of another family, or not accounted for.
    """
    config = _config(_json(folder / "config.json", {}), folder)
    tensors = _tensors(folder)
    fits(config, tensors, folder)
    tokenizer = _tokenizer(folder)
    extra = {
        "model": config,
        "tokenizer": json.loads(tokenizer.to_str()),
        "reading": asdict(_reading(folder, config, tokenizer, **more)),
    }
    return tensors, extra


def read_sentence_encoder(folder: Path, who: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read an encoder of sentences of a folder as sentence-transformers writes it.

    Args:
        folder: The folder.
        who: Whose it is, for messages.

    Returns:
        As :func:`read_encoder`.

    Raises:
        WeightsError: As there; or its sentences are made in another way than by mean or class token.
    """
    modules = _json(folder / "modules.json", []) if is_file(folder / "modules.json") else []
    kinds = [str(one.get("type", "")).rpartition(".")[2] for one in modules if isinstance(one, Mapping)]
    strange = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if strange:
        raise WeightsError(
            f"{folder}: its modules.json asks for a module '{strange[0]}', which {who} does not run",
            "choose an encoder of Transformer, Pooling and Normalize alone, such as all-MiniLM-L6-v2",
        )
    return read_encoder(folder, pooling=_pooling(folder, who), **_limits(folder))


def _config(stored: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a config with the numbers of blocks and positions under the names that most families have for them."""
    with torch.device("meta"):
        model = make_model(stored, folder)
    sizes = {name: getattr(model.config, name) for name in ("num_hidden_layers", "max_position_embeddings")}
    dropped = ("torch_dtype", "dtype", "_name_or_path", "transformers_version", "n_layers")  # the last is distilbert's
    return {**{name: value for name, value in stored.items() if name not in dropped}, **sizes}


def _tensors(folder: Path) -> dict[str, Tensor]:
    """Read the tensors of the encoder alone, by the names that it has without a head on top."""
    found = {name: one for name, one in read_checkpoint(folder).items() if not _ASIDE.fullmatch(name)}
    prefixes = {name.partition(".")[0] for name in found}
    bare = {"embeddings", "encoder", "transformer", "embeddings_project", "rel_embeddings"}
    if len(prefixes) == 1 and not prefixes & bare:
        found = {name.partition(".")[2]: one for name, one in found.items()}
    renamed: dict[str, Tensor] = {}
    for name, one in found.items():
        ending = next((old for old in _OLD if name.endswith(old)), "")
        renamed[name.removesuffix(ending) + _OLD.get(ending, "")] = one
    return as_floats(renamed, str(folder))


def _tokenizer(folder: Path) -> Any:
    """Read tokenizer.json as it is, or let transformers convert an older form."""
    from tokenizers import Tokenizer

    try:
        if is_file(folder / "tokenizer.json"):
            return Tokenizer.from_file(str(folder / "tokenizer.json"))
        from transformers import AutoTokenizer

        found: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return Tokenizer.from_str(found.backend_tokenizer.to_str())
    except Exception as error:  # the libraries raise whatever their readers and converters do
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{folder}: its tokenizer cannot be read: {type(error).__name__}: {reason}",
            "fetch it again; the surest form is tokenizer.json",
        ) from None


def _reading(folder: Path, config: Mapping[str, Any], tokenizer: Any, **more: Any) -> Reading:
    """Say how texts become ids for an encoder of a folder."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    whole = tokenizer.encode("a", add_special_tokens=True).ids
    places = range(len(whole) - len(plain) + 1)
    start = next((place for place in places if plain and whole[place : place + len(plain)] == plain), 0)
    before, after = tuple(whole[:start]), tuple(whole[start + len(plain) :])
    if not before or not after:
        raise WeightsError(
            f"{folder}: its tokenizer does not put a text between two special tokens, as encoders are trained",
            "the tokenizer is that of another model: fetch the whole folder again",
        )
    family, pad = str(config["model_type"]), config.get("pad_token_id")
    pad = 0 if pad is None else int(pad)
    positions = int(config["max_position_embeddings"]) - (pad + 1 if family in _SHIFTED else 0)
    said = _json(folder / "tokenizer_config.json", {}) if is_file(folder / "tokenizer_config.json") else {}
    limits = [positions, *(int(value) for value in (said.get("model_max_length"), more.pop("longest", None)) if value)]
    if tokenizer.get_vocab_size(with_added_tokens=True) > int(config.get("vocab_size", 0)):
        raise WeightsError(
            f"{folder}: its tokenizer has more ids than its encoder has word embeddings",
            "the tokenizer is that of another model: fetch the whole folder again",
        )
    return Reading(before, after, pad, min(limits), space=family in _SPACED, **more)


def _pooling(folder: Path, who: str) -> str:
    path = folder / "1_Pooling" / "config.json"
    said = _json(path, {}) if is_file(path) else {}
    chosen = [name for name, value in said.items() if name.startswith("pooling_mode_") and value is True]
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if not chosen:
        return "mean"
    if len(chosen) > 1 or chosen[0] not in known:
        raise WeightsError(
            f"{path}: its sentences are made by {', '.join(chosen)}, which {who} does not know",
            f"it knows: {', '.join(known)}",
        )
    return known[chosen[0]]


def _limits(folder: Path) -> dict[str, Any]:
    path = folder / "sentence_bert_config.json"
    said = _json(path, {}) if is_file(path) else {}
    return {"longest": said.get("max_seq_length"), "lower": bool(said.get("do_lower_case", False))}


def _json(path: Path, empty: Any) -> Any:
    """Read a JSON file of the kind of ``empty``.

    Raises:
        WeightsError: It is not there, or holds something else.
    """
    if not is_file(path):
        raise WeightsError(f"{path.parent}: there is no {path.name} in this folder", _AGAIN)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, type(empty)):
            raise ValueError("it holds something else")
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: unreadable: {type(error).__name__}", _AGAIN) from None
    return found
