"""Reading released decoders of ClipCap's kind, GPT-2 behind a mapper, as CapDec, ViECap, MeaCap and IFCap save them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.errors import RegionkitError, WeightsError
from regionkit.core.language.causal import CAUSAL
from regionkit.core.language.models import make_config, released_model
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.official_names import moved, would_be
from regionkit.core.weights import UNNAMED, WeightHeader, check_fit
from regionkit.plugins.zeroshot.mappers import make_mapper
from regionkit.plugins.zeroshot.prefix_config import PrefixOptions

AGAIN = "fetch it again, or name another file"
_END = "<|endoftext|>"
#: Beginnings of our names.
_MAPPER, _MODEL = "mapper.", "model."
#: Names in a block of a mapper of transformer blocks.
BLOCK = (
    r"(?:norm[12]\.(?:weight|bias)|attn\.to_(?:queries|keys_values)\.weight|attn\.project\.(?:weight|bias)|"
    r"mlp\.fc[12]\.(?:weight|bias))"
)
_MAPPER_NAMES = rf"model\.\d+\.(?:weight|bias)|linear\.(?:weight|bias)|prefix_const|transformer\.layers\.\d+\.{BLOCK}"
_GPT2_NAMES = (
    r"transformer\.(?:wte|wpe)\.weight|transformer\.ln_f\.(?:weight|bias)|lm_head\.weight|"
    r"transformer\.h\.\d+\.(?:ln_[12]|attn\.c_(?:attn|proj)|mlp\.c_(?:fc|proj))\.(?:weight|bias)"
)
#: The files that such a decoder is read from: role, and what it is.
_ROLES = (("model", "its checkpoint"), ("tokenizer", "GPT-2's tokenizer, which its release does not hold"))


class Places(NamedTuple):
    """What a release calls its mapper and its GPT-2."""

    mapper: str
    model: str

    def rules(self) -> dict[str, str]:
        """Return what official names become, for :func:`~regionkit.core.checkpoints.rename`."""
        mapper, model = re.escape(self.mapper), re.escape(self.model)
        return {
            rf"{mapper}\.({_MAPPER_NAMES})": r"mapper.\1",
            rf"{mapper}\.(weight|bias)": r"mapper.model.0.\1",
            rf"{model}\.({_GPT2_NAMES})": r"model.\1",
        }

    def masks(self) -> tuple[str, ...]:
        """Return the names of causal masks, which older versions of transformers stored among the weights."""
        return (rf"{re.escape(self.model)}\.transformer\.h\.\d+\.attn\.(?:bias|masked_bias)",)

    def begin(self, names: Mapping[str, Tensor]) -> bool:
        """Say whether names of a checkpoint begin so."""
        return any(name.startswith((f"{self.mapper}.", f"{self.model}.")) for name in names)


def read_prefix_decoder(
    files: Mapping[str, Path],
    config: PrefixOptions,
    name: str,
    places: Sequence[Places],
    more: Mapping[str, str] | None = None,
    make: Callable[[Any, int], nn.Module] = make_mapper,
) -> tuple[dict[str, Tensor], WeightHeader]:
    """Read a released decoder, and say in a header what its shapes and its tokenizer tell.

    Args:
        files: ``model``, the checkpoint, and ``tokenizer``, the file ``tokenizer.json`` of GPT-2.
        config: Options; ``heads`` and ``mapper_heads``, which no shape says, count.
        name: Of the decoder.
        places: Where mapper and language model stand, of all releases that there are.
        more: Rules for further tensors of the mapper.
        make: Makes the mapper that options ask for, for vectors of a width.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown or missing, or the sizes contradict one another.
    """
    for role, what in _ROLES:
        if role not in files:
            raise WeightsError(f"decoder '{name}' needs {what}", f"the file with the role '{role}'")
    source = str(files["model"])
    saved = read_checkpoint(files["model"])
    place = next((one for one in places if one.begin(saved)), places[0])
    tensors = as_floats(rename(saved, {**place.rules(), **(more or {})}, source, place.masks()), source)
    tokenizer = read_tokenizer(files["tokenizer"])
    sizes, dim = _sizes(tensors, config, source)
    fields = {"architecture": {"vocab_size": tensors["model.transformer.wte.weight"].shape[0]}}
    try:
        options = type(config)(**sizes)
        made = make_config(CAUSAL, "gpt2", {**vars(options), **fields}, tokenizer, source)
    except (ValueError, RegionkitError) as error:
        raise WeightsError(f"{source}: its sizes make no decoder: {error}", "say decoder.heads: N") from None
    found = released_model(_below(tensors, _MODEL), made, tokenizer, CAUSAL, files["model"])
    with torch.device("meta"):
        mapper = make(options, dim)
    own = _below(tensors, _MAPPER)
    check_fit(mapper, own, source)
    extra = {"tokenizer": found.tokenizer.to_extra(), "model": found.stored}
    header = WeightHeader("decoder", name, f"{UNNAMED}[{dim}]", config=sizes, extra=extra, license="see its release")
    ours = {_MAPPER + one: tensor for one, tensor in own.items()}
    return {**ours, **{_MODEL + one: tensor for one, tensor in found.tensors.items()}}, header


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


def _below(tensors: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    """Return the tensors whose names start so, without it; the names still know how they stand in the file."""
    own = {name: one for name, one in tensors.items() if name.startswith(start)}
    return {moved(name, lambda long: long.removeprefix(start)): one for name, one in own.items()}


def _sizes(tensors: Mapping[str, Tensor], config: PrefixOptions, source: str) -> tuple[dict[str, Any], int]:
    """Return the options that shapes say, and the width of the vectors that the decoder reads."""
    hidden = _shape(tensors, "model.transformer.wte.weight", source)[1]
    sizes: dict[str, Any] = {
        "model": "gpt2",
        "hidden": hidden,
        "layers": _count(tensors, r"model\.transformer\.h"),
        "heads": config.heads,
        "kv_heads": config.heads,
        "intermediate": _shape(tensors, "model.transformer.h.0.mlp.c_fc.weight", source)[1],
        "positions": _shape(tensors, "model.transformer.wpe.weight", source)[0],
        "mapper_heads": config.mapper_heads,
    }
    layers = sorted(name for name in tensors if re.fullmatch(r"mapper\.model\.\d\.weight", name))
    if layers:
        dim = _shape(tensors, "mapper.model.0.weight", source)[1]
        kind = "linear" if layers == ["mapper.model.0.weight"] else "mlp"
        prefix = _shape(tensors, layers[-1], source)[0] // hidden
        return {**sizes, "mapper": kind, "prefix": prefix, "clip_length": 0}, dim
    whole, dim = _shape(tensors, "mapper.linear.weight", source)
    blocks = {"mapper_layers": _count(tensors, r"mapper\.transformer\.layers"), "clip_length": whole // hidden}
    prefix = _shape(tensors, "mapper.prefix_const", source)[0]
    return {**sizes, "mapper": "transformer", "prefix": prefix, **blocks}, dim


def _shape(tensors: Mapping[str, Tensor], name: str, source: str) -> tuple[int, ...]:
    """Return the shape of a matrix.

    Raises:
        WeightsError: It is not there, or is no matrix.
    """
    if name not in tensors:
        missing = f"missing: {would_be(name, tensors)}"
        raise WeightsError(f"{source}: the checkpoint of the decoder is not complete", missing, AGAIN)
    shape = tuple(tensors[name].shape)
    if len(shape) != 2:
        raise WeightsError(f"{source}: {name} is {shape}, and should be a matrix", AGAIN)
    return shape


def _count(tensors: Mapping[str, Tensor], place: str) -> int:
    """Return how many blocks there are below a place."""
    found = [match for name in tensors if (match := re.match(rf"{place}\.(\d+)\.", name))]
    return max((int(match[1]) + 1 for match in found), default=0)
