"""What all readers of released weights here share: what shapes say, tokenizer files, and what a reader returns."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.official_names import in_the_file, moved, would_be
from regionkit.core.weights import WeightHeader, check_fit
from regionkit.plugins.patchioner.backbones.square import SquareBackbone
from regionkit.plugins.patchioner.backbones.square_config import SquareConfig
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer

Config = TypeVar("Config", bound=SquareConfig)

AGAIN = "fetch it again, or name another file"


def artifact_of(
    model: type[SquareBackbone[Any]],
    config: SquareConfig,
    tensors: Mapping[str, Tensor],
    tokenizer: Any,
    *,
    sizes: Mapping[str, int],
    side: int,
    source: str,
    license: str,
    resampled: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> WeightArtifact:
    """Hold tensors against the network of their sizes, and return them with the header that says so.

    Args:
        model: What the tensors are for.
        config: Options of the user.
        tensors: Of the whole network, under its own names.
        tokenizer: Of the text tower.
        sizes: Options that the shapes decide.
        side: Side in pixels of the picture that the positions were learned at.
        source: The checkpoints, for messages.
        license: Theirs.
        resampled: Whether positions fit after being resampled only, where two towers were trained at different sizes.
        extra: What else the header keeps.

    Raises:
        WeightsError: The sizes are impossible, or a tensor is missing or of another shape.
    """
    whole = with_sizes(config, side, sizes, source)
    skeleton = model.skeleton(whole, tokenizer)
    check_fit(skeleton, skeleton.placed(tensors) if resampled else tensors, source)
    kept, more = model.kept_tokenizer(tokenizer)
    header = WeightHeader(
        "backbone",
        model.component,
        skeleton.space,
        config={**model.named_options(config), **sizes},
        extra={"tokenizer": kept, **(extra or {})},
        license=license,
    )
    return WeightArtifact({**{str(name): tensor for name, tensor in tensors.items()}, **more}, header)


def with_sizes(config: Config, side: int, sizes: Mapping[str, int], source: str) -> Config:
    """Return options with the sizes of a checkpoint, at the resolution that its positions were learned at.

    Raises:
        WeightsError: The options do not allow such sizes.
    """
    more: dict[str, Any] = {"resolution": side, **sizes}
    try:
        return dataclasses.replace(config, **more)
    except ValueError as error:
        raise WeightsError(f"{source}: the checkpoint has impossible sizes: {error}", AGAIN) from None


def require(files: Mapping[str, Path], roles: Mapping[str, str], name: str, hint: str = "") -> None:
    """Refuse to read without a file.

    Args:
        files: Paths by role.
        roles: The roles that must be there, and what each file is.
        name: Of the backbone.
        hint: Which files are meant.

    Raises:
        WeightsError: A role has no file.
    """
    for role, what in roles.items():
        if role not in files:
            meant = f"; {hint}" if hint else ""
            raise WeightsError(f"backbone '{name}' needs {what}", f"the file with the role '{role}'{meant}")


def merges_tokenizer(files: Mapping[str, Path], vocabulary: int, name: str) -> ClipTokenizer:
    """Read the merges that belong to a text tower.

    Raises:
        WeightsError: They are not there, or are those of another model.
    """
    if "merges" not in files:
        raise WeightsError(
            f"backbone '{name}' needs the merges file of CLIP's tokenizer",
            "put merges.txt or bpe_simple_vocab_16e6.txt.gz beside the other files",
        )
    tokenizer = ClipTokenizer(files["merges"])
    if tokenizer.size != vocabulary:
        raise WeightsError(
            f"{files['merges']}: these merges make {tokenizer.size} tokens, the text tower knows {vocabulary}",
            "take the merges file that was released with the model",
        )
    return tokenizer


def shape_of(tensors: Mapping[str, Tensor], name: str, source: str, dims: int = 2) -> tuple[int, ...]:
    """Return the shape of a tensor.

    Raises:
        WeightsError: There is no such tensor, or it has another number of dimensions.
    """
    if name not in tensors:
        raise WeightsError(f"{source}: the checkpoint has no {would_be(name, tensors)}", AGAIN)
    shape = tuple(tensors[name].shape)
    if len(shape) != dims:
        named = next(in_the_file(other) for other in tensors if other == name)
        raise WeightsError(f"{source}: {named} is {shape}, and should have {dims} dimensions", AGAIN)
    return shape


def count_blocks(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Return how many different numbers follow ``prefix.``; blocks left out in between are found missing later."""
    return len({match[1] for name in tensors if (match := re.match(prefix + r"\.(\d+)\.", name))})


def first(tensors: Mapping[str, Tensor]) -> str:
    """Return the first three names of a checkpoint, for messages."""
    return ", ".join(list(tensors)[:3]) or "nothing"


def cut_attention(tensors: dict[str, Tensor], source: Path) -> dict[str, Tensor]:
    """Cut joint ``.self_attn.qkv.`` of a text tower into query, key and value, as transformers has them.

    Raises:
        WeightsError: One does not fall into three parts.
    """
    for name in [name for name in tensors if ".self_attn.qkv." in name]:
        tensor = tensors.pop(name)
        if not tensor.ndim or len(tensor) % 3:
            shape = tuple(tensor.shape)
            raise WeightsError(f"{source}: {in_the_file(name)} is {shape}, which is not query, key and value", AGAIN)
        for letter, third in zip("qkv", tensor.chunk(3), strict=True):
            tensors[moved(name, partial(_letter, letter))] = third.contiguous()
    return tensors


def _letter(letter: str, name: str) -> str:
    return name.replace(".qkv.", f".{letter}_proj.")
