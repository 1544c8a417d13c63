"""Reading released decoders of ViECap and MeaCap as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import DataError, RegionkitError, WeightsError
from regionkit.core.language.causal import CAUSAL
from regionkit.core.language.models import make_config, released_model
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.texts import bank_tensors
from regionkit.core.unpickling import read_pickle, read_torch
from regionkit.core.weights import UNNAMED, WeightHeader, check_fit
from regionkit.plugins.zeroshot.entities import ENTRIES
from regionkit.plugins.zeroshot.entities_config import EntityOptions
from regionkit.plugins.zeroshot.mappers import make_mapper
from regionkit.plugins.zeroshot.meacap import MEMORY
from regionkit.plugins.zeroshot.meacap_config import MeacapConfig
from regionkit.plugins.zeroshot.viecap_config import ViecapConfig
from regionkit.plugins.zeroshot.vocabularies import read_vocabulary

_AGAIN = "fetch it again, or name another file"
_END = "<|endoftext|>"
_MAPPER = (
    r"linear\.(?:weight|bias)|prefix_const|transformer\.layers\.\d+\.(?:norm[12]\.(?:weight|bias)|"
    r"attn\.to_(?:queries|keys_values)\.weight|attn\.project\.(?:weight|bias)|mlp\.fc[12]\.(?:weight|bias))"
)
_GPT2 = (
    r"transformer\.(?:wte|wpe)\.weight|transformer\.ln_f\.(?:weight|bias)|lm_head\.weight|"
    r"transformer\.h\.\d+\.(?:ln_[12]|attn\.c_(?:attn|proj)|mlp\.c_(?:fc|proj))\.(?:weight|bias)"
)
#: Names of ViECap's release, which MeaCap and Patch-ioner have too.
RELEASED: dict[str, str] = {rf"mapping_network\.({_MAPPER})": r"mapper.\1", rf"gpt\.({_GPT2})": r"model.\1"}
#: Beginnings of our names -> of those of the release, for messages.
_OFFICIAL = {"mapper": "mapping_network.", "model": "gpt."}
#: Causal masks, which older versions of transformers stored among the weights.
MASKS = (r"gpt\.transformer\.h\.\d+\.attn\.(?:bias|masked_bias)",)


def read_viecap(files: Mapping[str, Path], config: ViecapConfig) -> WeightArtifact:
    """Turn a released decoder into the tensors of ``viecap``.

    The file says neither in which space it was trained nor with which noise, only how wide the space is.

    Args:
        files: ``model``, the checkpoint; ``tokenizer``, the file ``tokenizer.json`` of GPT-2; and ``vocabulary``, the
            pickled vectors of the words of the option ``vocabulary``, where they are there.
        config: Options; ``heads`` and ``mapper_heads``, which no shape says, count.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown or missing, or the sizes contradict one another.
    """
    tensors, header = read_decoder(files, config, "viecap")
    if "vocabulary" not in files:
        return WeightArtifact(tensors, header)
    dim = tensors["mapper.linear.weight"].shape[1]
    words = read_vocabulary(config.vocabulary)
    vectors = read_vectors(files["vocabulary"], dim, len(words), f"the {len(words)} words of its vocabulary")
    entries = {ENTRIES + name: one for name, one in bank_tensors(vectors, words).items()}
    return WeightArtifact({**tensors, **entries}, header)


def read_meacap(files: Mapping[str, Path], config: MeacapConfig) -> WeightArtifact:
    """Turn ViECap's decoder and a released memory into the tensors of ``meacap``.

    Args:
        files: ``model`` and ``tokenizer`` as for :func:`read_viecap`; and the memory, where it is there:
            ``memory_embeddings``, a tensor that torch saved, and ``memory_captions``, a JSON list.
        config: As for :func:`read_viecap`.

    Raises:
        WeightsError: As for :func:`read_viecap`; or only one of the memory's files is there.
    """
    tensors, header = read_decoder(files, config, "meacap")
    there = [role for role in ("memory_embeddings", "memory_captions") if role in files]
    if not there:
        return WeightArtifact(tensors, header)
    if len(there) == 1:
        raise WeightsError(
            f"{files[there[0]]}: a memory is two files, and one of them is not here",
            "memory_clip_embeddings.pt and memory_captions.json lie in one folder of the release",
        )
    captions = _captions(files["memory_captions"])
    dim = tensors["mapper.linear.weight"].shape[1]
    vectors = read_vectors(files["memory_embeddings"], dim, len(captions), f"{len(captions)} captions")
    memory = {MEMORY + name: one for name, one in bank_tensors(vectors, captions).items()}
    return WeightArtifact({**tensors, **memory}, header)


def read_decoder(
    files: Mapping[str, Path],
    config: EntityOptions,
    name: str,
    rules: Mapping[str, str] | None = None,
    more: Sequence[str] = (),
) -> tuple[dict[str, Tensor], WeightHeader]:
    """Read mapper and language model of a checkpoint; raises as :func:`read_viecap`.

    Args:
        files: ``model`` and ``tokenizer``.
        config: Options.
        name: Of the decoder, for messages.
        rules: Rules of :func:`~regionkit.core.checkpoints.rename` for further tensors.
        more: Beginnings of our names of those, which are not checked here.
    """
    for role, what in (
        ("model", "its checkpoint"),
        ("tokenizer", "GPT-2's tokenizer, which its release does not hold"),
    ):
        if role not in files:
            raise WeightsError(f"decoder '{name}' needs {what}", f"the file with the role '{role}'")
    source = str(files["model"])
    tensors = as_floats(rename(read_checkpoint(files["model"]), {**RELEASED, **(rules or {})}, source, MASKS), source)
    tokenizer = read_tokenizer(files["tokenizer"])
    sizes, dim = _sizes(tensors, config, source)
    rows = tensors["model.transformer.wte.weight"].shape[0]
    try:
        options = EntityOptions(**sizes)
        made = make_config(CAUSAL, "gpt2", {**vars(options), "architecture": {"vocab_size": rows}}, tokenizer, source)
    except (ValueError, RegionkitError) as error:
        raise WeightsError(f"{source}: its sizes make no decoder: {error}", "say decoder.heads: N") from None
    of_model = {key.removeprefix("model."): one for key, one in tensors.items() if key.startswith("model.")}
    found = released_model(of_model, made, tokenizer, CAUSAL, files["model"])
    others = {key: one for key, one in tensors.items() if not key.startswith("model.")}
    check_fit(
        _mapper(options, dim), {key: one for key, one in others.items() if not key.startswith(tuple(more))}, source
    )
    extra = {"tokenizer": found.tokenizer.to_extra(), "model": found.stored}
    header = WeightHeader(
        "decoder", "viecap", f"{UNNAMED}[{dim}]", config=sizes, extra=extra, license="see its release"
    )
    return {**others, **{f"model.{key}": one for key, one in found.tensors.items()}}, header


def read_tokenizer(path: Path) -> LanguageTokenizer:
    """Read ``tokenizer.json`` of GPT-2.

    Raises:
        WeightsError: It is damaged, or that of another model.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exceptions
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path}: the tokenizer cannot be read: {reason}", "take tokenizer.json of GPT-2") from None
    end = tokenizer.token_to_id(_END)
    if end is None:
        raise WeightsError(f"{path}: this tokenizer has no {_END}, as GPT-2's has", "take tokenizer.json of GPT-2")
    return LanguageTokenizer(tokenizer.to_str(), end, end)


def read_vectors(path: Path, dim: int, count: int, what: str) -> Tensor:
    """Read a tensor (count, dim) that torch or pickle saved, as float32.

    Raises:
        WeightsError: It is damaged, holds something else, or is of another shape.
    """
    found = read_torch(path) if path.suffix in (".pt", ".pth") else read_pickle(path)
    if not isinstance(found, Tensor):
        raise WeightsError(f"{path}: it holds a {type(found).__name__}, and no table of vectors", _AGAIN)
    if tuple(found.shape) != (count, dim):
        raise WeightsError(
            f"{path}: it holds vectors {tuple(found.shape)}, and {what} take {(count, dim)}",
            "the files do not belong together: those of one release have one suffix",
        )
    vectors = found.detach().float()
    if not bool(torch.isfinite(vectors).all()):
        raise WeightsError(f"{path}: it holds NaN or infinite numbers", _AGAIN)
    return vectors


def _captions(path: Path) -> list[str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise ValueError("it holds no list of captions")
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: the captions of the memory cannot be read: {error}", _AGAIN) from None
    if not found:
        raise DataError(f"{path}: it holds no captions", _AGAIN)
    return [" ".join(one.split()) for one in found]


def _sizes(tensors: Mapping[str, Tensor], config: EntityOptions, source: str) -> tuple[dict[str, Any], int]:
    """Return the options that shapes say, and the width of the vectors that the decoder reads."""
    hidden = _shape(tensors, "model.transformer.wte.weight", source)[1]
    whole, dim = _shape(tensors, "mapper.linear.weight", source)
    sizes: dict[str, Any] = {
        "model": "gpt2",
        "hidden": hidden,
        "layers": _count(tensors, r"model\.transformer\.h"),
        "heads": config.heads,
        "kv_heads": config.heads,
        "intermediate": _shape(tensors, "model.transformer.h.0.mlp.c_fc.weight", source)[1],
        "positions": _shape(tensors, "model.transformer.wpe.weight", source)[0],
        "mapper": "transformer",
        "prefix": _shape(tensors, "mapper.prefix_const", source)[0],
        "mapper_layers": _count(tensors, r"mapper\.transformer\.layers"),
        "mapper_heads": config.mapper_heads,
        "clip_length": whole // hidden,
    }
    return sizes, dim


def _mapper(options: EntityOptions, dim: int) -> nn.Module:
    """Return the mapper of such options without memory, under the name that it has in a file."""
    with torch.device("meta"):
        outer = nn.Module()
        outer.mapper = make_mapper(options, dim)
    return outer


def _shape(tensors: Mapping[str, Tensor], name: str, source: str) -> tuple[int, ...]:
    if name not in tensors:
        official = _OFFICIAL[name.partition(".")[0]] + name.partition(".")[2]
        raise WeightsError(f"{source}: the checkpoint of the decoder is not complete", f"missing: {official}", _AGAIN)
    shape = tuple(tensors[name].shape)
    if len(shape) != 2:
        raise WeightsError(f"{source}: {name} is {shape}, and should be a matrix", _AGAIN)
    return shape


def _count(tensors: Mapping[str, Tensor], place: str) -> int:
    """Return how many blocks there are below a place."""
    found = [match for name in tensors if (match := re.match(rf"{place}\.(\d+)\.", name))]
    return max((int(match[1]) + 1 for match in found), default=0)
