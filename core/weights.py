"""Weight files: safetensors with a header that says what the weights were trained for.

Headers are read without torch and without the tensors, so that a grid over bridges and backbones can choose the
matching decoder before anything is loaded.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regionkit.core.errors import WeightsError
from regionkit.core.files import replacing
from regionkit.core.official_names import in_the_file, would_be
from regionkit.core.spec import Space

if TYPE_CHECKING:
    from torch import Tensor

#: Key of our JSON in the safetensors metadata.
METADATA_KEY = "regionkit"
#: Name of a space in the header of weights that say no more of it than its width.
UNNAMED = "?"


@dataclass(frozen=True, slots=True)
class WeightHeader:
    """What a weight file is for.

    Attributes:
        kind: Kind of the component that the weights belong to.
        name: Its name.
        space: The space that it was trained in, ``name[dim]``: what a decoder or a projector reads, what a backbone
            writes, the text space of a memory bank. Official checkpoints that do not say it leave it empty, or write
            ``?[dim]`` where they say the width at least.
        writes: The space that it writes where that is another one (a projector's language model).
        corruption: What the training embeddings went through, ``none`` or for example ``noise(std=0.08)``.
        corpus: Name of the texts or pictures it was trained on.
        recipe: Command or file that makes these weights again.
        config: Options that shape the architecture; they are laid under the user's options when the part is built.
        extra: Anything else that the component needs with its tensors, such as a word list.
        license: Licence of the weights.

    Raises:
        ValueError: A space is not of the form ``name[dim]``.
    """

    kind: str
    name: str
    space: str = ""
    writes: str = ""
    corruption: str = "none"
    corpus: str = ""
    recipe: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    license: str = "Apache-2.0"

    def __post_init__(self) -> None:
        for space in (self.space, self.writes):
            if space:
                Space.parse(space)


@dataclass(frozen=True, slots=True)
class WeightFile:
    """Weights on disk with their header; the tensors are read by :meth:`tensors`.

    Attributes:
        path: The file; for official checkpoints the one, or the folder, that was named.
        header: What they were trained for.
        files: For official checkpoints, the files by role; empty for a file of ours.
        read: For official checkpoints, lets the component's reader make its tensors of those files.
    """

    path: Path
    header: WeightHeader
    files: Mapping[str, Path] = field(default_factory=dict)
    read: Callable[[], Mapping[str, Tensor]] | None = field(default=None, compare=False, repr=False)

    @property
    def label(self) -> str:
        """What messages and results call them: the file's stem, or the names of the official files."""
        return ", ".join(path.name for path in self.files.values()) or self.path.stem

    @property
    def says_space(self) -> bool:
        """Whether the weights themselves say in which space they were trained."""
        return bool(self.header.space) and not self.header.space.startswith(UNNAMED)

    def tensors(self) -> dict[str, Tensor]:
        """Read all tensors, on the CPU, half precision widened to float32.

        Raises:
            WeightsError: The file is damaged.
        """
        from safetensors.torch import load_file

        try:
            loaded = load_file(self.path) if self.read is None else self.read()
        except WeightsError:
            raise
        except Exception as error:  # safetensors raises its own types, OSError and UnicodeDecodeError
            raise _damaged(self.path, str(error)) from None
        return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in loaded.items()}


def read_header(path: str | Path) -> WeightHeader | None:
    """Return the header of a weight file, or None where the file is a safetensors file without one.

    Raises:
        WeightsError: The file cannot be read, is cut short, or is no safetensors file.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            if length + 8 > size:
                raise _damaged(path, "it ends inside its header")
            table = json.loads(stream.read(length))
        end = max((entry["data_offsets"][1] for key, entry in table.items() if key != "__metadata__"), default=0)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, str(error)) from None
    if 8 + length + end != size:
        raise _damaged(path, f"{size} bytes are there, its header promises {8 + length + end}")
    text = table.get("__metadata__", {}).get(METADATA_KEY)
    if text is None:
        return None
    try:
        return WeightHeader(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise _damaged(path, f"its regionkit header is unreadable: {error}") from None


def write_weights(path: str | Path, tensors: Mapping[str, Tensor], header: WeightHeader, *, half: bool = False) -> None:
    """Write tensors and header, whole or not at all.

    Args:
        path: The file to make.
        tensors: Tensors by name; they are copied to the CPU and made contiguous.
        header: What they were trained for.
        half: Store floating-point tensors as float16.
    """
    import torch
    from safetensors.torch import save_file

    def stored(tensor: Tensor) -> Tensor:
        tensor = tensor.detach().cpu()
        if half and tensor.is_floating_point():
            tensor = tensor.to(torch.float16)
        return tensor.contiguous().clone()

    metadata = {METADATA_KEY: json.dumps(asdict(header), sort_keys=True)}
    with replacing(path) as temporary:
        save_file({name: stored(tensor) for name, tensor in sorted(tensors.items())}, temporary, metadata=metadata)


def load_into(module: Any, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Load tensors into a ``torch.nn.Module``; every key must be accounted for, in both directions.

    Raises:
        WeightsError: As :func:`check_fit`.
    """
    check_fit(module, tensors, source)
    module.load_state_dict(dict(tensors))


def check_fit(module: Any, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Check that tensors are exactly those of a ``torch.nn.Module``, by name and shape, without loading them.

    Raises:
        WeightsError: Keys are missing or left over, or shapes differ; the first three are named, as they stand in the
            checkpoint where names remember that: see :func:`regionkit.core.checkpoints.rename`.
    """
    own = module.state_dict()
    official = {str(name): in_the_file(name) for name in tensors}
    missing = list(dict.fromkeys(would_be(name, tensors) for name in own if name not in tensors))
    unknown = list(dict.fromkeys(official[name] for name in tensors if name not in own))
    shapes = [
        f"{official[name]} is {tuple(tensors[name].shape)}, the model has {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    faults = [f"missing: {_first_three(missing)}"] if missing else []
    faults += [f"left over: {_first_three(unknown)}"] if unknown else []
    faults += [f"shape: {line}" for line in shapes[:3]]
    if faults:
        what = getattr(module, "fitted", type(module).__name__)
        raise WeightsError(f"{source}: the weights do not fit {what}", *faults)


def _first_three(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _damaged(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"{path}: the weight file is damaged: {reason}",
        "fetch it again, or make it again with the recipe that `toolkit weights list` names for its component",
    )
