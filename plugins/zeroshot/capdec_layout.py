"""Reading released decoders of CapDec, and that of Diffusion Bridge, which is built alike, as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import RegionkitError, WeightsError
from regionkit.core.language.causal import CAUSAL
from regionkit.core.language.models import make_config, released_model
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.official_names import would_be
from regionkit.core.weights import UNNAMED, WeightHeader, check_fit
from regionkit.plugins.zeroshot.capdec_config import CapDecConfig
from regionkit.plugins.zeroshot.mappers import make_mapper

_WHO = "decoder 'capdec'"
_AGAIN = "fetch it again, or name another file"
_END = "<|endoftext|>"
_MAPPER_NAMES = (
    r"model\.\d+\.(?:weight|bias)|linear\.(?:weight|bias)|prefix_const|"
    r"transformer\.layers\.\d+\.(?:norm[12]\.(?:weight|bias)|attn\.to_(?:queries|keys_values)\.weight|"
    r"attn\.project\.(?:weight|bias)|mlp\.fc[12]\.(?:weight|bias))"
)
_GPT2_NAMES = (
    r"transformer\.(?:wte|wpe)\.weight|transformer\.ln_f\.(?:weight|bias)|lm_head\.weight|"
    r"transformer\.h\.\d+\.(?:ln_[12]|attn\.c_(?:attn|proj)|mlp\.c_(?:fc|proj))\.(?:weight|bias)"
)


def _rules(mapper: str, model: str) -> dict[str, str]:
    """Return what official names become where the mapper and the language model are called so."""
    return {
        rf"{mapper}\.({_MAPPER_NAMES})": r"mapper.\1",
        rf"{mapper}\.(weight|bias)": r"mapper.model.0.\1",
        rf"{model}\.({_GPT2_NAMES})": r"\1",
    }


#: What CapDec saves is the state of its model.
CAPDEC = _rules("clip_project", "gpt")
#: What Diffusion Bridge saves is that of a training module around its own.
DIFFUSION_BRIDGE = _rules(r"model\.clip_project", r"model\.model")
#: Causal masks, which older versions of transformers stored among the weights.
_MASKS = (r"(?:gpt|model\.model)\.transformer\.h\.\d+\.attn\.(?:bias|masked_bias)",)


def read_capdec(files: Mapping[str, Path], config: CapDecConfig) -> WeightArtifact:
    """Turn a released decoder into the tensors of ``capdec``.

    The file says neither in which space it was trained nor with which noise, only how wide the space is.

    Args:
        files: ``model``, the checkpoint, and ``tokenizer``, the file ``tokenizer.json`` of GPT-2.
        config: Options; ``heads`` and ``mapper_heads``, which no shape says, count.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown or missing, or the sizes contradict one another.
    """
    for role, what in (
        ("model", "its checkpoint"),
        ("tokenizer", "GPT-2's tokenizer, which its release does not hold"),
    ):
        if role not in files:
            raise WeightsError(f"{_WHO} needs {what}", f"the file with the role '{role}'")
    source = str(files["model"])
    saved = read_checkpoint(files["model"])
    rules = DIFFUSION_BRIDGE if any(name.startswith("model.") for name in saved) else CAPDEC
    tensors = as_floats(rename(saved, rules, source, _MASKS), source)
    tokenizer = _read_tokenizer(files["tokenizer"])
    sizes, dim = _sizes(tensors, config, source)
    rows = tensors["transformer.wte.weight"].shape[0]
    try:
        options = CapDecConfig(**sizes)
        made = make_config(CAUSAL, "gpt2", {**vars(options), "architecture": {"vocab_size": rows}}, tokenizer, source)
    except (ValueError, RegionkitError) as error:
        raise WeightsError(f"{source}: its sizes make no decoder: {error}", "say decoder.heads: N") from None
    of_model = {name: one for name, one in tensors.items() if not name.startswith("mapper.")}
    found = released_model(of_model, made, tokenizer, CAUSAL, files["model"])
    others = {name: one for name, one in tensors.items() if name.startswith("mapper.")}
    check_fit(_mapper(options, dim), others, source)
    header = WeightHeader(
        "decoder",
        "capdec",
        f"{UNNAMED}[{dim}]",
        config=sizes,
        extra={"tokenizer": found.tokenizer.to_extra(), "model": found.stored},
        license="see its release",
    )
    return WeightArtifact({**others, **{f"model.{name}": one for name, one in found.tensors.items()}}, header)


def _read_tokenizer(path: Path) -> LanguageTokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exceptions
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path}: the tokenizer cannot be read: {reason}", "take tokenizer.json of GPT-2") from None
    end = tokenizer.token_to_id(_END)
    if end is None:
        raise WeightsError(f"{path}: this tokenizer has no {_END}, as GPT-2's has", "take tokenizer.json of GPT-2")
    return LanguageTokenizer(tokenizer.to_str(), end, end)


def _sizes(tensors: Mapping[str, Tensor], config: CapDecConfig, source: str) -> tuple[dict[str, Any], int]:
    """Return the options that shapes say, and the width of the vectors that it reads."""
    words = _shape(tensors, "transformer.wte.weight", source)
    hidden = words[1]
    sizes: dict[str, Any] = {
        "model": "gpt2",
        "hidden": hidden,
        "layers": _count(tensors, r"transformer\.h"),
        "heads": config.heads,
        "kv_heads": config.heads,
        "intermediate": _shape(tensors, "transformer.h.0.mlp.c_fc.weight", source)[1],
        "positions": _shape(tensors, "transformer.wpe.weight", source)[0],
    }
    if "mapper.linear.weight" in tensors:
        whole, dim = _shape(tensors, "mapper.linear.weight", source)
        prefix = _shape(tensors, "mapper.prefix_const", source)[0]
        layers = _count(tensors, r"mapper\.transformer\.layers")
        blocks = {"mapper_layers": layers, "mapper_heads": config.mapper_heads, "clip_length": whole // hidden}
        return {**sizes, "mapper": "transformer", "prefix": prefix, **blocks}, dim
    last = max(
        (name for name in tensors if re.fullmatch(r"mapper\.model\.\d\.weight", name)), default="mapper.model.0.weight"
    )
    dim = _shape(tensors, "mapper.model.0.weight", source)[1]
    kind = "linear" if last == "mapper.model.0.weight" else "mlp"
    prefix = _shape(tensors, last, source)[0] // hidden
    return {**sizes, "mapper": kind, "prefix": prefix, "clip_length": 0, "mapper_heads": config.mapper_heads}, dim


def _mapper(options: CapDecConfig, dim: int) -> nn.Module:
    """Return the mapper of such options without memory, under the name that it has in a file."""
    with torch.device("meta"):
        outer = nn.Module()
        outer.mapper = make_mapper(options, dim)
    return outer


def _shape(tensors: Mapping[str, Tensor], name: str, source: str) -> tuple[int, ...]:
    """Return the shape of a matrix.

    Raises:
        WeightsError: It is not there, or is no matrix.
    """
    if name not in tensors:
        raise WeightsError(
            f"{source}: the checkpoint of the decoder is not complete", f"missing: {would_be(name, tensors)}", _AGAIN
        )
    shape = tuple(tensors[name].shape)
    if len(shape) != 2:
        raise WeightsError(f"{source}: {name} is {shape}, and should be a matrix", _AGAIN)
    return shape


def _count(tensors: Mapping[str, Tensor], place: str) -> int:
    """Return how many blocks there are below a place."""
    found = [match for name in tensors if (match := re.match(rf"{place}\.(\d+)\.", name))]
    return max((int(match[1]) + 1 for match in found), default=0)
