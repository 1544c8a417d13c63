"""Checkpoints that others made: reading their tensors without running anything, and bringing their names into ours.

Two plugins' readers of official releases and ``toolkit weights convert`` meet here. Nothing in a checkpoint is code to
us: pickles go through torch's ``weights_only``, and what that refuses is refused; of TorchScript programs only the
tensors are taken.
"""

from __future__ import annotations

import json
import os
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from regionkit.core.errors import WeightsError
from regionkit.core.files import TORCH_FILES, is_file, is_folder
from regionkit.core.official_names import Renamed, in_the_file, rules_of
from regionkit.core.unpickling import is_torchscript, read_pickle, read_torchscript

#: What a folder of the Hugging Face hub may hold, the surest first.
_FOLDER_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
#: Ending of the file that says which of several files holds which tensor.
_INDEX = ".index.json"
#: Keys under which training scripts keep the weights beside optimiser and epoch.
_NESTS = ("state_dict", "model")
#: First bytes of a zip, which torch has written since version 1.6, and of the pickles that it wrote before.
_ZIP, _OLD_TORCH = b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
#: What a server or a clone leaves in the place of a file: how it starts, what it is, what to do.
_NOT_THE_FILE = (
    (rb"\s*<(?:!doctype|html|head|body|\?xml|!--|error)", "it is a web page, not the file", "fetch it again"),
    (rb"version https://git-lfs", "it is the pointer of git-lfs to the file", "fetch the file itself: git lfs pull"),
    (rb'\s*[{\[]\s*"', "it is JSON, not the file", "fetch it again"),
    (rb"\0{8,}\Z", "it starts with nothing but zeros: a download that broke off", "fetch it again"),
    (rb"\Z", "it is empty", "fetch it again"),
)
_START = 256
_AGAIN = "fetch it again, or name another file"
_PLAIN = "take the file that holds its weights in float16 or float32"


def read_checkpoint(path: str | Path, nest: str = "") -> dict[str, Tensor]:
    """Read the tensors of a checkpoint onto the CPU, in the types that they were stored in.

    Args:
        path: A ``.safetensors`` file, a pickle of torch (``.pt``, ``.pth``, ``.bin``, ``.ckpt``), the ``.index.json``
            of a model in several files, or a folder as the Hugging Face hub has it, in one file or in several with an
            index. Weights one level down, under ``state_dict`` or ``model``, are found; a prefix ``module.`` that all
            names share is taken off.
        nest: Another key, under which they lie in a pickle that holds several: ``ema``.

    Raises:
        WeightsError: It is not there, damaged, or holds something that is no tensor; or a tensor is sparse, quantised,
            complex, has no numbers of its own, or holds NaN or infinite numbers. The first three are named.
    """
    path = Path(path)
    tensors = _without_module(_read_folder(path) if is_folder(path) else _read_file(path, nest))
    _check_usable(tensors, path)
    return tensors


def config_beside(path: Path, *nests: str) -> Mapping[str, Any] | None:
    """Return the ``config.json`` in a folder or beside a file, from one level down where one of ``nests`` is there.

    Raises:
        WeightsError: It cannot be read.
    """
    place = (path if is_folder(path) else path.parent) / "config.json"
    if not is_file(place):
        return None
    try:
        said = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{place}: it is no JSON: {type(error).__name__}", _AGAIN) from None
    for nest in nests:
        said = said.get(nest, said) if isinstance(said, dict) else said
    if not isinstance(said, dict):
        raise WeightsError(f"{place}: it holds a {type(said).__name__}, and no options by name", _AGAIN)
    return said


def as_floats(tensors: Mapping[str, Tensor], source: str | Path) -> dict[str, Tensor]:
    """Return tensors as float32.

    Args:
        tensors: Tensors, all of which should be weights.
        source: Where they come from, for messages.

    Raises:
        WeightsError: One holds whole numbers or truth values, as quantised weights do.
    """
    whole = [name for name, tensor in tensors.items() if not tensor.is_floating_point()]
    if whole:
        kind = str(tensors[whole[0]].dtype).removeprefix("torch.")
        raise WeightsError(f"{source}: {whole[0]} holds {kind} numbers, quantised weights are not read", _PLAIN)
    return {name: tensor.float() for name, tensor in tensors.items()}


def rename(
    tensors: Mapping[str, Tensor], rules: Mapping[str, str], source: str | Path, drop: Iterable[str] = ()
) -> dict[str, Tensor]:
    r"""Bring the names of a checkpoint into another layout; every name must be accounted for.

    Args:
        tensors: Tensors under their official names.
        rules: Regular expression of a whole official name -> new name, with ``\1`` for its groups. New names remember
            the official ones, which :func:`regionkit.core.weights.check_fit` tells.
        source: Where the tensors come from, for messages.
        drop: Regular expressions of names that are known and not needed.

    Raises:
        WeightsError: A name fits no rule, or more than one; or two names become one. The first three are named.
    """
    patterns = [(re.compile(old), new) for old, new in rules.items()]
    dropped = [re.compile(pattern) for pattern in drop]
    kept = rules_of(rules)
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
        renamed[Renamed(target, in_the_file(name), kept)] = tensor
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
        if is_file(path):
            return _read_file(path)
    raise WeightsError(
        f"{folder}: no checkpoint in this folder",
        f"looked for {', '.join(_FOLDER_FILES)}",
    )


def _read_file(path: Path, nest: str = "") -> dict[str, Tensor]:
    """Read one file, or the files of an index, by the ending of its name."""
    if not is_file(path):  # a pipe would be waited for without end
        if os.path.lexists(path):
            raise WeightsError(f"{path} is no file, or a link to none", "name a file, or a folder of the hub")
        raise WeightsError(f"there is no checkpoint {path}", "see which files a component reads: toolkit show NAME")
    if path.name.endswith(_INDEX):
        return _read_shards(path)
    if path.suffix != ".safetensors" and path.suffix not in TORCH_FILES:
        raise WeightsError(
            f"{path} is no checkpoint: its name ends in '{path.suffix}'",
            f"checkpoints end in .safetensors, {', '.join(TORCH_FILES)}, {_INDEX}, "
            f"or are folders with {_FOLDER_FILES[0]}",
        )
    start = _start_of(path)
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path, start, nest)


def _start_of(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises:
        WeightsError: It cannot be read, or is what servers and clones leave in the place of a file.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(_START)
    except OSError as error:
        raise WeightsError(f"{path}: the checkpoint cannot be read: {error.strerror or error}") from None
    for pattern, what, hint in _NOT_THE_FILE:
        if re.match(pattern, start, re.IGNORECASE):
            raise _damaged(path, what, hint)
    return start


def _read_shards(index: Path) -> dict[str, Tensor]:
    """Read the files that an index names; they lie beside it, and each holds exactly what it says."""
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        places = {str(key): str(name) for key, name in weight_map.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(index, f"its index is unreadable: {type(error).__name__}") from None
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        if PurePosixPath(name).name != name or "\\" in name:
            raise WeightsError(f"{index}: it names '{name}', which does not lie in its own folder", _AGAIN)
        path = index.parent / name
        if not is_file(path):
            raise WeightsError(f"{index}: the part {name} is not there", "fetch the whole folder again")
        if name.endswith(_INDEX):
            raise WeightsError(f"{index}: it names '{name}', another index", _AGAIN)
        part = _read_file(path)
        differing = sorted({key for key, place in places.items() if place == name} ^ set(part))
        if differing:
            raise _damaged(
                index, f"the index and its part {name} do not hold the same tensors: {', '.join(differing[:3])}"
            )
        tensors |= part
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own types, OSError and UnicodeDecodeError
        raise _damaged(path, str(error)) from None


def _read_pickle(path: Path, start: bytes, nest: str) -> dict[str, Tensor]:
    zipped = start.startswith(_ZIP)
    if zipped and not zipfile.is_zipfile(path):
        raise _damaged(path, "it is cut short: the list at the end of its archive is missing")
    if not zipped and not start.startswith(_OLD_TORCH):
        raise _no_file_of_torch(path, start)
    if is_torchscript(path):
        return read_torchscript(path)
    try:
        with warnings.catch_warnings():  # torch's are for those who wrote the file
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None)
    except UnpicklingError as error:
        raise _refused(path, str(error)) from None
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError and more on damaged files
        raise _damaged(path, _reason(error)) from None
    return _tensors_of(loaded, path, nest)


def _no_file_of_torch(path: Path, start: bytes) -> WeightsError:
    """Return what to say of a file that torch did not write; a plain pickle is read for the name of what it calls."""
    if not start.startswith(b"\x80") and b"\n" not in start:  # pickles before protocol 2 are lines of text
        return _damaged(path, "it is neither an archive nor a pickle of torch")
    try:
        read_pickle(path)
    except WeightsError as error:
        wanted = re.search(r"the pickle wants ([\w.]+),", error.message)
        return _calls(path, wanted[1]) if wanted else _damaged(path, "it is neither an archive nor a pickle of torch")
    return WeightsError(
        f"{path} is a plain pickle, and no file of torch", f"convert it: toolkit weights convert {path}"
    )


def _reason(error: Exception) -> str:
    """Return the first sentence of an error of torch, without its advice."""
    words = " ".join(str(error).split()).partition(". ")[0].rstrip(".")
    if isinstance(error, EOFError) and not words:
        return "it ends too early"
    if not words or "weights_only" in words or "Weights only" in words:
        return f"torch cannot read it ({type(error).__name__})"
    return f"torch cannot read it: {words}"


def _tensors_of(loaded: Any, path: Path, nest: str = "") -> dict[str, Tensor]:
    """Return the tensors of an unpickled checkpoint, from one level down where they lie there."""
    if nest:
        if not isinstance(loaded, Mapping) or not isinstance(loaded.get(nest), Mapping):
            raise WeightsError(f"{path} holds no tensors under '{nest}'", _AGAIN)
        loaded = loaded[nest]
    elif isinstance(loaded, Mapping):
        nested = [loaded[key] for key in _NESTS if isinstance(loaded.get(key), Mapping)]
        loaded = nested[0] if nested else loaded
    if not isinstance(loaded, Mapping) or not loaded:
        raise WeightsError(f"{path} holds {_what(loaded)}, and not tensors by name", _AGAIN)
    others = [f"{key} is {_what(value)}" for key, value in loaded.items() if not isinstance(value, Tensor)]
    if others:
        raise WeightsError(f"{path} holds things that are no tensors: {', '.join(others[:3])}", _AGAIN)
    return {str(key): value.detach() for key, value in loaded.items()}


def _without_module(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off the prefix that training on several devices puts before every name."""
    if all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def _check_usable(tensors: Mapping[str, Tensor], source: Path) -> None:
    """Refuse tensors that no weight can be: without numbers, of another kind than real, or not finite."""
    found = [(name, _fault(tensor)) for name, tensor in tensors.items()]
    faults = [f"{name} {fault}" for name, fault in found if fault]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise WeightsError(f"{source}: {'; '.join(faults[:3])}{more}", f"{_AGAIN}; {_PLAIN}")


def _fault(tensor: Tensor) -> str:
    """Say what keeps a tensor from being a weight; empty where nothing does."""
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_quantized:
        return f"holds {kind} numbers, quantised weights are not read"
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"is not dense: it is stored as {str(tensor.layout).removeprefix('torch.')}"
    if tensor.device.type != "cpu":
        return f"holds no numbers: it is on the device '{tensor.device.type}'"
    if tensor.is_complex():
        return f"holds {kind} numbers, and weights are real"
    stored = tensor.untyped_storage().nbytes() // tensor.dtype.itemsize
    if tensor.numel() > stored:
        return f"is {tuple(tensor.shape)}, for which only {stored} numbers are stored"
    return _unreal(tensor) if tensor.is_floating_point() else ""


def _unreal(tensor: Tensor) -> str:
    """Name the numbers of a tensor that are not finite.

    A sum is finite only where all numbers are, and costs a third of asking each; it may overflow, so then each is.
    """
    values = tensor.float() if tensor.dtype.itemsize == 1 else tensor  # torch computes nothing in eight bits
    total = values.sum(dtype=torch.float64 if values.dtype == torch.float64 else torch.float32)
    if bool(total.isfinite()) or bool(values.isfinite().all()):
        return ""
    if bool(values.isnan().any()):
        return "holds NaN"
    # A causal mask that was stored among the weights.
    return "" if bool(((values == 0) | (values == -torch.inf)).all()) else "holds infinite numbers"


def _what(value: object) -> str:
    if isinstance(value, Mapping | list | tuple) and not value:
        return f"an empty {type(value).__name__}"
    return f"a {type(value).__name__}"


def _refused(path: Path, reason: str) -> WeightsError:
    """Name what the pickle wants to call, without torch's advice to let it."""
    named = re.search(r"GLOBAL ([\w.]+)|global:? (?!GLOBAL)([\w.]+)|class ([\w.]+)", reason)
    wanted = next((word for word in named.groups() if word), "") if named else ""
    if not wanted:
        return _damaged(path, "its list of tensors is no pickle that torch reads")
    return _calls(path, wanted.rstrip("."))


def _calls(path: Path, wanted: str) -> WeightsError:
    return WeightsError(
        f"{path} holds more than tensors: reading it would call {wanted}; nothing was run",
        f"if you know where it comes from, convert it once: toolkit weights convert {path}",
    )


def _damaged(path: Path, reason: str, hint: str = "fetch it again") -> WeightsError:
    return WeightsError(f"{path}: the checkpoint is damaged: {reason}", hint)
