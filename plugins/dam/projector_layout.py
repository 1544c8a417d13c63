"""Reading a released projector into ``mlp-downsample``; its type is told from its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.weights import UNNAMED, WeightHeader, check_fit
from regionkit.plugins.dam.configs import MlpDownsampleConfig
from regionkit.plugins.dam.projector import layers_of
from regionkit.plugins.dam.released import fingerprint

_RULES = {r"(?:mm_projector\.)?layers\.((?:\d+\.)?(?:weight|bias))": r"layers.\1"}
#: The other parts of a whole captioner, each with its own reader.
_ASIDE = (r"(?:llm|vision_tower|context_provider)\..*",)


def read_projector(files: Mapping[str, Path], config: MlpDownsampleConfig) -> WeightArtifact:
    """Turn a released projector into the tensors of ``mlp-downsample``.

    Args:
        files: ``projector``: a file or a folder.
        config: Options; ``type`` is told from the tensors.

    Raises:
        WeightsError: It is damaged, a tensor is unknown, missing or of another shape, or it is of no known type.
    """
    path = files["projector"]
    tensors = as_floats(rename(read_checkpoint(path), _RULES, path, _ASIDE), path)
    kind = _type_of(tensors, path)
    first = "layers.weight" if kind == "linear" else "layers.2.weight" if "down" in kind else "layers.0.weight"
    out, width = tensors[first].shape
    if "down" in kind:
        width //= 4
    # The order of tokens is no matter of tensors: released projectors were trained with the released code's.
    options = {"type": kind, "order": "column"}
    layers = layers_of(MlpDownsampleConfig(type=kind), width, out)
    check_fit(layers, {name.removeprefix("layers."): tensor for name, tensor in tensors.items()}, path)
    name = fingerprint(tensors[name] for name in sorted(tensors) if tensors[name].ndim == 1)
    header = WeightHeader(
        "bridge",
        "mlp-downsample",
        f"{UNNAMED}[{width}]",
        writes=f"mlp-downsample/{name}[{out}]",
        config=options,
        license="see its repository",
    )
    return WeightArtifact(tensors, header)


def _type_of(tensors: Mapping[str, Tensor], path: Path) -> str:
    shapes = {name: tensor.ndim for name, tensor in tensors.items()}
    if shapes.get("layers.weight") == 2:
        return "linear"
    if shapes.get("layers.1.weight") == 1 and shapes.get("layers.2.weight") == 2:
        return "mlp_downsample"
    numbers = [int(match[1]) for name in tensors if (match := re.fullmatch(r"layers\.(\d+)\.weight", name))]
    if numbers and shapes.get("layers.0.weight") == 2:
        return f"mlp{len(numbers)}x_gelu"
    raise WeightsError(
        f"{path}: this is no projector of a known type; it holds {', '.join(list(tensors)[:3]) or 'nothing'}",
        "types are: mlp_downsample, linear, mlp2x_gelu",
    )
