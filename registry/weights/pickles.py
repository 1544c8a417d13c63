"""Pickled vocabularies, embeddings and checkpoints into JSON or safetensors, without a component's reader."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from regionkit.core.errors import WeightsError
from regionkit.core.files import PICKLE_FILES, TORCH_FILES, replacing, write_text
from regionkit.core.pickle_values import printable, shown
from regionkit.core.unpickling import as_list, is_torchscript, plain, read_pickle, read_torch, read_torchscript
from regionkit.registry.weights.conversion import CONFIG_CLASSES

#: Key of the one tensor of a file that holds a single one, such as the embeddings of a vocabulary.
ONLY_TENSOR = "embeddings"
#: Numbers of a tensor that JSON is fit for.
_FEW = 100_000
#: Times that the tensors of a file may repeat its numbers: tied weights are there twice or thrice.
_MAX_COPIES, _TRIFLE = 8, 64 << 20


def convert_plain(path: Path, out: Path, *, records: Collection[str] = (), names: Path | None = None) -> str:
    """Write what a pickle or checkpoint holds as ``.json`` or ``.safetensors``.

    Args:
        path: A plain pickle, or a file of ``torch.save`` or ``torch.jit.save``.
        out: The file to make; its ending says which kind.
        records: Further classes whose fields are to be read, as shell patterns of their full names.
        names: For embeddings, a ``.json`` list or a text file of one name a line, which go into the metadata.

    Returns:
        What was written, in a few words.

    Raises:
        WeightsError: The file is refused or damaged, or cannot be written in that form.
    """
    value = _read(path, (*CONFIG_CLASSES, *records))
    if out.suffix == ".json":
        if names is not None:
            raise WeightsError("--names goes with the embeddings of a .safetensors file", "leave it out for JSON")
        return _write_json(value, path, out)
    if out.suffix == ".safetensors":
        return _write_tensors(value, path, out, names)
    raise WeightsError(f"--out {out}: write a .json or a .safetensors file")


def _read(path: Path, records: Collection[str]) -> Any:
    if not path.is_file():
        raise WeightsError(f"{path} is {'a folder' if path.is_dir() else 'not there'}, and one pickle is read here")
    if path.suffix in PICKLE_FILES:
        return read_pickle(path, records=records)
    if path.suffix in TORCH_FILES:
        return read_torchscript(path) if is_torchscript(path) else read_torch(path, records=records)
    known = ", ".join((*PICKLE_FILES, *TORCH_FILES))
    raise WeightsError(
        f"{path}: files that can be converted alone end in {known}",
        "for the weights of a component name it first: toolkit weights convert COMPONENT FILE --out X.safetensors",
    )


def _write_json(value: Any, path: Path, out: Path) -> str:
    def leaf(found: Any) -> Any:
        size = found.numel() if hasattr(found, "numel") else getattr(found, "size", 1)
        if size > _FEW:
            raise WeightsError(
                f"{path}: it holds {size:,} numbers, which JSON is not made for", "write them as --out X.safetensors"
            )
        return as_list(found)

    content = plain(value, path, leaf)
    try:
        text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
        write_text(out, text + "\n")
    except UnicodeEncodeError:
        raise WeightsError(f"{path}: it cannot be written as JSON: a text in it is no Unicode") from None
    except ValueError:
        raise WeightsError(f"{path}: it cannot be written as JSON: it holds NaN or infinity") from None
    return _described(content)


def _described(content: Any) -> str:
    if isinstance(content, dict):
        keys = ", ".join(printable(key) for key in list(content)[:5])
        return f"an object of {_counted(len(content), 'key')}: {keys}" + (", ..." if len(content) > 5 else "")
    return f"a list of {_counted(len(content), 'value')}" if isinstance(content, list) else "one value"


def _write_tensors(value: Any, path: Path, out: Path, names: Path | None) -> str:
    from safetensors.torch import save_file

    tensors, own = _tensors(value, path)
    words = _names(names) if names is not None else own
    metadata = {"source": path.name}
    if words is not None:
        if list(tensors) != [ONLY_TENSOR] or len(words) != len(tensors[ONLY_TENSOR]):
            rows = {printable(name): tuple(tensor.shape) for name, tensor in list(tensors.items())[:3]}
            raise WeightsError(f"{names or path}: {len(words)} names do not go with tensors of {rows}")
        metadata["names"] = json.dumps(list(words), ensure_ascii=False)
    _check_size(tensors, path)
    whole = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    with replacing(out) as temporary:
        save_file(whole, temporary, metadata=metadata)
    first = [
        f"{printable(name)} {tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
        for name, tensor in list(whole.items())[:3]
    ]
    text = f"{_counted(len(whole), 'tensor')}: {', '.join(first)}" + (", ..." if len(whole) > 3 else "")
    return text + (f", with {len(words)} names" if words is not None else "")


def _check_size(tensors: Mapping[str, Any], path: Path) -> None:
    """Refuse tensors that share their numbers so often that writing each by itself makes a huge file of a small one."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size > _MAX_COPIES * path.stat().st_size + _TRIFLE:
        raise WeightsError(f"{path}: its tensors share their numbers, and written one by one they have {size:,} bytes")


def _tensors(value: Any, path: Path) -> tuple[dict[str, Any], Sequence[str] | None]:
    """Return tensors by name, and names of their rows where the pickle is a pair of names and a tensor."""
    value = _as_tensor(value)
    if _is_tensor(value):
        return {ONLY_TENSOR: value}, None
    if isinstance(value, (list, tuple)) and len(value) == 2:
        words, tensor = value[0], _as_tensor(value[1])
        if _is_tensor(tensor) and isinstance(words, (list, tuple)) and all(isinstance(word, str) for word in words):
            return {ONLY_TENSOR: tensor}, words
    if isinstance(value, Mapping):
        nested = [value[key] for key in ("state_dict", "model") if isinstance(value.get(key), Mapping)]
        items = _named(nested[0] if nested else value, path)
        others = [printable(name) for name, item in items.items() if not _is_tensor(item)]
        if items and not others:
            return items, None
        if others:
            raise WeightsError(
                f"{path}: not everything in it is a tensor: {', '.join(others[:3])}", "write it as --out X.json"
            )
    raise WeightsError(f"{path}: it holds no tensors", "write it as --out X.json")


def _named(value: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    items: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, (str, int)):
            raise WeightsError(f"{path}: a {type(key).__name__} is no name of a tensor", "write it as --out X.json")
        name = str(key)
        if name in items:
            raise WeightsError(f"{path}: two keys are both written {shown(name)}")
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise WeightsError(f"{path}: the name {shown(name)} is no Unicode")
        items[name] = _as_tensor(item)
    return items


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _as_tensor(value: Any) -> Any:
    """Return an array of numbers as a tensor, anything else as it is."""
    import numpy as np
    import torch

    if isinstance(value, np.ndarray) and value.dtype.kind in "bif" and value.dtype.itemsize <= 8:
        return torch.from_numpy(value.astype(value.dtype.newbyteorder("=")))
    return value


def _names(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        words = (
            json.loads(text) if path.suffix == ".json" else [line.strip() for line in text.splitlines() if line.strip()]
        )
    except (OSError, ValueError) as error:
        raise WeightsError(f"--names {path}: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise WeightsError(f"--names {path}: it is no list of texts")
    return words


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
