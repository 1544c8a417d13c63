"""Checkpoints that others made: reading their tensors without running anything, and bringing their names into ours.

Two plugins' readers of official releases and ``toolkit weights convert`` meet here. Nothing in a checkpoint is code to
us: pickles go through torch's ``weights_only``, and what that refuses is refused; of TorchScript programs, such as the
official CLIP files, only the tensors are taken.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from regionkit.core.errors import WeightsError
from regionkit.core.unpickling import is_torchscript, read_torchscript

#: File name endings of pickles that torch writes.
PICKLES = (".pt", ".pth", ".bin", ".ckpt")
#: What a folder of the Hugging Face hub may hold, the surest first.
_FOLDER_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
#: Keys under which training scripts keep the weights beside optimiser and epoch.
_NESTS = ("state_dict", "model")


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint onto the CPU, in the types that they were stored in.

    Args:
        path: A ``.safetensors`` file, a pickle of torch (``.pt``, ``.pth``, ``.bin``, ``.ckpt``), or a folder as the
            Hugging Face hub has it, in one file or in several with an index. Weights one level down, under
            ``state_dict`` or ``model``, are found; a prefix ``module.`` that all names share is taken off.

    Raises:
        WeightsError: It is not there, damaged, or holds something that is no tensor.
    """
    path = Path(path)
    if path.is_dir():
        return _without_module(_read_folder(path))
    if not path.exists():
        raise WeightsError(f"there is no checkpoint {path}", "see which files a component reads: toolkit show NAME")
    if path.suffix == ".safetensors":
        return _without_module(_read_safetensors(path))
    if path.suffix in PICKLES:
        return _without_module(_read_pickle(path))
    raise WeightsError(
        f"{path} is no checkpoint: its name ends in '{path.suffix}'",
        f"checkpoints end in .safetensors, {', '.join(PICKLES)}, or are folders with {_FOLDER_FILES[0]}",
    )


def rename(
    tensors: Mapping[str, Tensor], rules: Mapping[str, str], source: str | Path, drop: Iterable[str] = ()
) -> dict[str, Tensor]:
    r"""Bring the names of a checkpoint into another layout; every name must be accounted for.

    Args:
        tensors: Tensors under their official names.
        rules: Regular expression of a whole official name -> new name, with ``\1`` for its groups.
        source: Where the tensors come from, for messages.
        drop: Regular expressions of names that are known and not needed.

    Raises:
        WeightsError: A name fits no rule, or more than one; or two names become one. The first three are named.
    """
    patterns = [(re.compile(old), new) for old, new in rules.items()]
    dropped = [re.compile(pattern) for pattern in drop]
    renamed: dict[str, Tensor] = {}
    strange: list[str] = []
    ambiguous: list[str] = []
    twice: list[str] = []
    for name, tensor in tensors.items():
        if any(pattern.fullmatch(name) for pattern in dropped):
            continue
        matches = [(match, new) for pattern, new in patterns if (match := pattern.fullmatch(name))]
        if len(matches) != 1:
            (ambiguous if matches else strange).append(name)
            continue
        target = matches[0][0].expand(matches[0][1])
        if target in renamed:
            twice.append(f"{name} as another {target}")
        renamed[target] = tensor
    faults = [
        f"{word}: {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for word, names in (("unknown", strange), ("fits two rules", ambiguous), ("twice", twice))
        if names
    ]
    if faults:
        raise WeightsError(f"{source}: not every tensor of this checkpoint is accounted for", *faults)
    return renamed


def _read_folder(folder: Path) -> dict[str, Tensor]:
    for name in _FOLDER_FILES:
        path = folder / name
        if not path.is_file():
            continue
        if name.endswith(".index.json"):
            return _read_shards(path)
        return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    raise WeightsError(
        f"{folder}: no checkpoint in this folder",
        f"looked for {', '.join(_FOLDER_FILES)}",
    )


def _read_shards(index: Path) -> dict[str, Tensor]:
    """Read the files that an index names; they lie beside it, and hold exactly what it says."""
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        places = {str(key): str(name) for key, name in weight_map.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(index, f"its index is unreadable: {type(error).__name__}") from None
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        if PurePosixPath(name).name != name or "\\" in name:
            raise WeightsError(f"{index}: it names '{name}', which does not lie in its own folder")
        path = index.parent / name
        if not path.is_file():
            raise WeightsError(f"{index}: the part {name} is not there", "fetch the whole folder again")
        tensors |= _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    differing = sorted(set(places) ^ set(tensors))
    if differing:
        raise _damaged(index, f"the index and its parts do not hold the same tensors: {', '.join(differing[:3])}")
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own types, OSError and UnicodeDecodeError
        raise _damaged(path, str(error)) from None


def _read_pickle(path: Path) -> dict[str, Tensor]:
    archive = _archive_names(path)
    if is_torchscript(path):
        return read_torchscript(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=bool(archive) or None)
    except UnpicklingError as error:
        raise _refused(path, str(error)) from None
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError and more on damaged files
        raise _damaged(path, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from None
    return _tensors_of(loaded, path)


def _archive_names(path: Path) -> list[str]:
    """Return the names inside the zip file that torch has written since version 1.6; none for older pickles."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return []


def _tensors_of(loaded: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors of an unpickled checkpoint, from one level down where they lie there."""
    if isinstance(loaded, Mapping):
        nested = [loaded[key] for key in _NESTS if isinstance(loaded.get(key), Mapping)]
        loaded = nested[0] if nested else loaded
    if not isinstance(loaded, Mapping) or not loaded:
        raise WeightsError(f"{path} holds {_what(loaded)}, and not tensors by name")
    others = [f"{key} is {_what(value)}" for key, value in loaded.items() if not isinstance(value, Tensor)]
    if others:
        raise WeightsError(f"{path} holds things that are no tensors: {', '.join(others[:3])}")
    return {str(key): value.detach() for key, value in loaded.items()}


def _without_module(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off the prefix that training on several devices puts before every name."""
    if all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def _what(value: object) -> str:
    if isinstance(value, Mapping | list | tuple) and not value:
        return f"an empty {type(value).__name__}"
    return f"a {type(value).__name__}"


def _refused(path: Path, reason: str) -> WeightsError:
    """Name what the pickle wants to call, without torch's advice to let it."""
    named = re.search(r"GLOBAL ([\w.]+)|global:? ([\w.]+)|class ([\w.]+)", reason)
    wanted = next((word for word in named.groups() if word), "") if named else ""
    if not named:
        return _damaged(path, reason.splitlines()[0] if reason else "it is no pickle of torch")
    return WeightsError(
        f"{path} holds more than tensors: reading it would call {wanted.rstrip('.')}; nothing was run",
        f"if you know where it comes from, convert it once: toolkit weights convert {path}",
    )


def _damaged(path: Path, reason: str) -> WeightsError:
    return WeightsError(f"{path}: the checkpoint is damaged: {reason}", "fetch it again")
