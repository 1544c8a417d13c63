"""Reading the decoders and banks of Patch-ioner's release as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import DataError, WeightsError
from regionkit.core.files import is_file
from regionkit.core.released_banks import read_released_bank
from regionkit.core.texts import bank_tensors
from regionkit.core.weights import UNNAMED, WeightHeader
from regionkit.plugins.patchioner.backbones.layouts import count_blocks, shape_of
from regionkit.plugins.patchioner.configs import MemoryConfig, NearestTextConfig
from regionkit.plugins.patchioner.decap_config import DecapConfig
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer

_AGAIN = "fetch it again, or name another file"
_HEAD = "decoder.lm_head.weight"
_WORDS = "decoder.transformer.wte.weight"
_BLOCK_PARTS = r"ln_[12]|attn\.c_(?:attn|proj)|mlp\.c_(?:fc|proj)"
#: Official names are ours.
DECAP: dict[str, str] = {
    r"(clip_project\.model\.0\.(?:weight|bias))": r"\1",
    r"(decoder\.transformer\.(?:wte|wpe)\.weight)": r"\1",
    r"(decoder\.transformer\.ln_f\.(?:weight|bias))": r"\1",
    rf"(decoder\.transformer\.h\.\d+\.(?:{_BLOCK_PARTS})\.(?:weight|bias))": r"\1",
    r"(decoder\.lm_head\.weight)": r"\1",
}
#: Causal masks, which older versions of transformers stored among the weights.
_MASKS = (r"decoder\.transformer\.h\.\d+\.attn\.(?:bias|masked_bias)",)
#: Fields of GPT2Config that change what is computed, and the only values that were released.
_FIXED: dict[str, tuple[Any, ...]] = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
    "n_inner": (None,),
    "layer_norm_epsilon": (1e-5,),
}


def read_decap(files: Mapping[str, Path], config: DecapConfig) -> WeightArtifact:
    """Turn an official decoder into the tensors of ``decap``.

    The file does not say in which space it was trained, only how wide that is.

    Args:
        files: ``model``, ``merges``, and ``config``, the JSON of its GPT2Config, where there is one: shapes say all
            sizes but the number of heads.
        config: Options; ``heads`` counts where there is no JSON.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown or missing, or the sizes contradict one another.
    """
    for role, what in (("model", "its checkpoint"), ("merges", "the merges file of CLIP's tokenizer")):
        if role not in files:
            raise WeightsError(f"decoder 'decap' needs {what}", f"the file with the role '{role}'")
    source = str(files["model"])
    tensors = as_floats(rename(read_checkpoint(files["model"]), DECAP, source, _MASKS), source)
    vocabulary, hidden = shape_of(tensors, _WORDS, source)
    _check_tied(tensors, source)
    stored = _read_config(files["config"]) if "config" in files else {}
    sizes = {
        "hidden": hidden,
        "layers": count_blocks(tensors, r"decoder\.transformer\.h"),
        "heads": int(stored.get("n_head", config.heads)),
        "positions": shape_of(tensors, "decoder.transformer.wpe.weight", source)[0],
        "vocabulary": vocabulary,
    }
    _check_sizes(sizes, stored, source)
    _check_complete(tensors, sizes, source)
    tokenizer = ClipTokenizer(files["merges"])
    if tokenizer.size > vocabulary:
        raise WeightsError(
            f"{files['merges']}: these merges make {tokenizer.size} tokens, the decoder writes {vocabulary}",
            "take the merges file of CLIP: bpe_simple_vocab_16e6.txt.gz",
        )
    dim = shape_of(tensors, "clip_project.model.0.weight", source)[1]
    header = WeightHeader(
        "decoder",
        "decap",
        f"{UNNAMED}[{dim}]",
        config=sizes,
        extra={"tokenizer": tokenizer.to_extra()},
        license="see its release",
    )
    return WeightArtifact({**tensors, **tokenizer.to_tensors()}, header)


def read_memory(files: Mapping[str, Path], config: MemoryConfig | NearestTextConfig) -> WeightArtifact:
    """Turn a bank of the release (HDF5) into the tensors of ``memory``.

    The file does not say in which space it was made, only how wide that is; its name for the corpus is kept.

    Raises:
        MissingExtra: h5py is not installed.
        WeightsError: The file is missing, damaged or no bank.
    """
    if "bank" not in files:
        raise WeightsError("bridge 'memory' needs a bank", "the file with the role 'bank'")
    try:
        bank = read_released_bank(files["bank"], columns=config.columns)
    except DataError as error:
        raise WeightsError(error.message, *(error.hints or (_AGAIN,))) from None
    space = f"{UNNAMED}[{bank.embeddings.shape[1]}]"
    said = {"columns": config.columns} if config.columns != "all" else {}
    header = WeightHeader("bridge", "memory", space, corpus=bank.name, config=said, license="see its release")
    return WeightArtifact(bank_tensors(bank.embeddings, bank.texts), header)


def _read_config(path: Path) -> dict[str, Any]:
    """Read the fields of a GPT2Config, which a pickle holds in the release and `toolkit weights convert` writes out."""
    try:
        if not is_file(path):  # a pipe would be waited for without end
            raise ValueError("it is no file")
        fields = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(fields, dict):
            raise ValueError("it holds no mapping")
    except (OSError, ValueError, RecursionError) as error:  # a decoding error is a ValueError too
        if isinstance(error, RecursionError):
            error = ValueError("it is nested too deep")
        raise WeightsError(
            f"{path}: the decoder's config cannot be read: {error}",
            "it is made of decoder_config.pkl with: toolkit weights convert",
        ) from None
    if type(fields.get("n_head", 1)) is not int:  # true is an int to isinstance
        raise WeightsError(f"{path}: n_head is {fields['n_head']!r}, not a number of heads", _AGAIN)
    wrong = [name for name, allowed in _FIXED.items() if name in fields and fields[name] not in allowed]
    if wrong:
        raise WeightsError(f"{path}: {wrong[0]} is {fields[wrong[0]]!r}, which decoder 'decap' does not know", _AGAIN)
    return fields


def _check_tied(tensors: dict[str, Tensor], source: str) -> None:
    """Take the output layer away where it is the word embedding again."""
    head = tensors.pop(_HEAD, None)
    if head is not None and not torch.equal(head, tensors[_WORDS]):
        raise WeightsError(f"{source}: its output layer is not its word embedding, as decoder 'decap' has it", _AGAIN)


def _check_sizes(sizes: Mapping[str, int], stored: Mapping[str, Any], source: str) -> None:
    names = {"hidden": "n_embd", "layers": "n_layer", "positions": "n_positions", "vocabulary": "vocab_size"}
    for own, official in names.items():
        if official in stored and stored[official] != sizes[own]:
            raise WeightsError(
                f"{source}: its config says {official} {stored[official]}, its tensors say {sizes[own]}",
                "the two files do not belong together",
            )
    if sizes["heads"] < 1 or sizes["hidden"] % sizes["heads"]:
        raise WeightsError(
            f"{source}: {sizes['heads']} heads do not divide its width {sizes['hidden']}",
            "say how many it has: decoder.heads: N",
        )


def _check_complete(tensors: Mapping[str, Tensor], sizes: Mapping[str, int], source: str) -> None:
    """Check that every tensor is there, in the shape that the width of the word embedding asks for."""
    width, layers = sizes["hidden"], sizes["layers"]
    parts: dict[str, tuple[int, ...]] = {  # transformers' Conv1D keeps its weight as (in, out)
        "ln_1": (width,),
        "attn.c_attn": (width, 3 * width),
        "attn.c_proj": (width, width),
        "ln_2": (width,),
        "mlp.c_fc": (width, 4 * width),
        "mlp.c_proj": (4 * width, width),
    }
    wanted: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        for part, shape in parts.items():
            wanted[f"decoder.transformer.h.{layer}.{part}.weight"] = shape
            wanted[f"decoder.transformer.h.{layer}.{part}.bias"] = shape[-1:]
    wanted |= dict.fromkeys(("decoder.transformer.ln_f.weight", "decoder.transformer.ln_f.bias"), (width,))
    wanted["decoder.transformer.wpe.weight"] = (sizes["positions"], width)
    wanted["clip_project.model.0.bias"] = (width,)
    missing = [name for name in (*wanted, "clip_project.model.0.weight") if name not in tensors]
    if missing or not layers:
        raise WeightsError(
            f"{source}: the checkpoint of the decoder is not complete",
            f"missing: {', '.join(missing[:3])}" if missing else "it has no blocks",
            _AGAIN,
        )
    wanted["clip_project.model.0.weight"] = (width, *tensors["clip_project.model.0.weight"].shape[1:])
    wrong = [name for name, shape in wanted.items() if tuple(tensors[name].shape) != shape]
    if wrong:
        found, shape = tuple(tensors[wrong[0]].shape), wanted[wrong[0]]
        raise WeightsError(f"{source}: {wrong[0]} is {found}, and should be {shape}", _AGAIN)
