"""Official pickles and TorchScript archives, read without running anything that is inside them."""

from __future__ import annotations

import io
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regionkit.core.errors import WeightsError
from regionkit.core.pickle_machine import Machine
from regionkit.core.pickle_types import KNOWN, STORAGES, TORCHSCRIPT, storage_type
from regionkit.core.pickle_values import (
    MAX_DEPTH,
    Damaged,
    Known,
    Maker,
    Record,
    damaged,
    printable,
    reason_of,
    shown,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Record", "is_torchscript", "plain", "read_pickle", "read_torch", "read_torchscript"]

#: Bytes of a pickle: vocabularies are megabytes, and weights come in formats of their own.
MAX_BYTES = 1 << 30
#: Values that :func:`plain` writes out; a pickle that repeats itself may be short and mean billions.
MAX_VALUES = 10_000_000

#: Letters and digits of the texts and numbers that :func:`plain` writes out, for the same reason.
MAX_LETTERS = 1 << 28
#: Bits of a whole number. JSON knows no limit, but Python writes no more than 4,300 digits.
MAX_BITS = 13_000
#: Attributes of all modules of a TorchScript archive, each as often as it has a name: modules may share others.
MAX_ATTRIBUTES = 300_000
#: Letters of the name of a tensor.
MAX_NAME = 1000
#: Bytes of the program of a TorchScript archive, which may be compressed.
MAX_CODE = 64 << 20


def read_pickle(path: str | Path, *, records: Collection[str] = ()) -> Any:
    """Read a pickle of plain values, numpy arrays and torch tensors, without running anything.

    Args:
        path: The file.
        records: Shell patterns of full names of classes, ``transformers.*.GPT2Config``, of which only the fields are
            wanted. Such objects become :class:`Record`; their classes are not imported.

    Raises:
        WeightsError: It names any other type, is damaged, too large or too deep. Nothing was run.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise WeightsError(f"{path}: the pickle has {size} bytes, and more than {MAX_BYTES} are not read")
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: the pickle cannot be read: {error.strerror or error}") from None
    return Machine(io.BytesIO(data), str(path), KNOWN, records).run()


def plain(value: Any, source: str | Path, leaf: Callable[[Any], Any] | None = None) -> Any:
    """Return a value of :func:`read_pickle` as JSON can hold it.

    Sets become sorted lists, tuples lists, records mappings with their type under ``_type``.

    Args:
        value: The value.
        source: The file, for messages.
        leaf: Writes what JSON does not know, arrays and tensors; without it, or where it returns :func:`as_list`, they
            become nested lists. What it returns is looked at in turn.

    Raises:
        WeightsError: It refers to itself, two keys are the same in JSON, it is too large, or JSON has no such value.
    """
    try:
        return _Plain(leaf or as_list).write(value, 0)
    except Damaged as error:
        raise WeightsError(f"{source}: it cannot be written as JSON: {error}") from None
    except MemoryError:
        raise WeightsError(f"{source}: it cannot be written as JSON: there is not enough memory") from None
    except (ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        raise WeightsError(f"{source}: it cannot be written as JSON: {reason_of(error)}") from None


class _Plain:
    def __init__(self, leaf: Callable[[Any], Any]) -> None:
        self.leaf = leaf
        self.count = 0
        self.letters = 0

    def write(self, value: Any, depth: int) -> Any:
        self._take(1)
        if depth > MAX_DEPTH:
            raise Damaged(f"it is nested more than {MAX_DEPTH} deep, or holds itself")
        if value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, (int, str)):
            return self._counted(value)
        if isinstance(value, Record):
            named = {"_type": value.type, **value.state}
            return self.write({**named, "_arguments": value.arguments} if value.arguments else named, depth)
        if isinstance(value, dict):
            return self._mapping(value, depth)
        if isinstance(value, (set, frozenset)):
            return [self.write(item, depth + 1) for item in sorted(value, key=_rank)]
        if isinstance(value, (list, tuple)):
            return [self.write(item, depth + 1) for item in value]
        if isinstance(value, bytes):
            raise Damaged("it holds bytes that are no text")
        return self._leaf(value, depth)

    def _leaf(self, value: Any, depth: int) -> Any:
        size = value.numel() if hasattr(value, "numel") else getattr(value, "size", 1)
        self._take(int(size))  # before it becomes a list of as many
        self.count -= int(size)
        found = self.leaf(value)
        if type(found) is type(value):  # numpy's wide floats are lists of themselves
            raise Damaged(f"it holds a {type(value).__name__}")
        return self.write(found, depth + 1)

    def _take(self, count: int) -> None:
        self.count += count
        if self.count > MAX_VALUES:
            raise Damaged(f"it holds more than {MAX_VALUES} values")

    def _counted(self, value: Any) -> Any:
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise Damaged(f"it holds a whole number of more than {MAX_BITS} bits")
        self.letters += len(value) if isinstance(value, str) else value.bit_length() // 3
        if self.letters > MAX_LETTERS:
            raise Damaged(f"its texts have more than {MAX_LETTERS} letters")
        return value

    def _mapping(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, item in value.items():
            name = self._counted(key if isinstance(key, str) else str(key))
            if name in result:
                raise Damaged(f"two keys are both written {shown(name)}")
            result[name] = self.write(item, depth + 1)
        return result


def _rank(item: Any) -> tuple[str, Any]:
    """Return what members of a set are sorted by: texts and numbers by themselves, what has no order by its text."""
    ordered = isinstance(item, (str, bytes, int, float))
    return type(item).__name__, item if ordered else repr(item)


def as_list(value: Any) -> Any:
    """Return an array or a tensor as nested lists, and a type that stands for itself as its name.

    Raises:
        Damaged: It is none of these.
    """
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Known):  # such as torch.float32 in a config
        return value.name
    raise Damaged(f"it holds a {type(value).__name__}")


def is_torchscript(path: str | Path) -> bool:
    """Tell whether a file is an archive that ``torch.jit.save`` made: one with code in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
    return any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names)


def read_torchscript(path: str | Path) -> dict[str, Tensor]:
    """Read the parameters and buffers of a TorchScript archive, as its ``state_dict`` would be; no code is compiled.

    A released model may be such an archive. Its modules become records, whose tensors get dotted names, such as
    ``visual.conv1.weight``; a module that stands in several places has a name for each, as in a ``state_dict``.

    Raises:
        WeightsError: It is no such archive, is damaged, or names a type beyond tensors and its own modules.
    """
    with _opened(path) as archive:
        return archive.state_dict()


def read_torch(path: str | Path, *, records: Collection[str] = ()) -> Any:
    """Read what ``torch.save`` wrote, also where there are objects beside the tensors, without running anything.

    Args:
        path: The file, in the zip format that torch has written since version 1.6.
        records: As for :func:`read_pickle`.

    Raises:
        WeightsError: It is no such file, is damaged, or names a type that is neither harmless nor in ``records``.
    """
    with _opened(path) as archive:
        return archive.value(records)


@contextmanager
def _opened(path: str | Path) -> Iterator[_Archive]:
    try:
        with zipfile.ZipFile(path) as file:
            yield _Archive(file, str(path))
    except (OSError, zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or reason_of(error).strip("\"'")
        raise damaged(str(path), f"no readable archive of torch: {reason}") from None


class _Archive:
    """The parts of one archive of torch, with a program in it or without."""

    def __init__(self, file: zipfile.ZipFile, source: str) -> None:
        self.file = file
        self.source = source
        marks = [name for name in file.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(marks) != 1:
            raise damaged(source, "it holds no data.pkl, as archives of torch do")
        self.root = marks[0].removesuffix("data.pkl")
        self.storages: dict[str, Tensor] = {}
        #: Bytes that entries may still have. Tensors are stored as they are; only the program may be compressed.
        self.left = Path(source).stat().st_size
        self.code_left = MAX_CODE
        #: Attributes that modules may still have.
        self.attributes_left = MAX_ATTRIBUTES

    def value(self, records: Collection[str]) -> Any:
        """Return what the archive holds."""
        order = f"{self.root}byteorder"
        if order in self.file.namelist() and self._read(order).decode(errors="replace").strip() != sys.byteorder:
            raise damaged(self.source, f"its numbers have another byte order than this machine's, {sys.byteorder}")
        known: dict[str, Maker | None] = {**KNOWN, **TORCHSCRIPT}
        known |= {f"torch.{name}Storage": None for name in STORAGES}
        data = io.BytesIO(self._read(f"{self.root}data.pkl"))
        return Machine(data, self.source, known, records, self._storage).run()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the parameters and buffers of the module that it holds."""
        top = self.value(["__torch__.*"])
        tensors: dict[str, Tensor] = {}
        self._collect(top, "", self._declared(), tensors)
        return tensors

    def _read(self, name: str) -> bytes:
        """Read an entry, which no compression and no second name of the same bytes makes larger than the file."""
        size = self.file.getinfo(name).file_size
        if name.startswith(f"{self.root}code/"):
            self.code_left -= size
        else:
            self.left -= size
        if self.code_left < 0:
            raise damaged(self.source, f"its program claims more than {MAX_CODE} bytes")
        if self.left < 0 or size > MAX_BYTES:
            raise damaged(self.source, f"{printable(name)} claims to be larger than the whole archive")
        return self.file.read(name)

    def _storage(self, identity: Any) -> Tensor:
        """Return the storage of a persistent id ``('storage', type, key, device, length)`` as a tensor (length,)."""
        import torch

        if not isinstance(identity, tuple) or len(identity) != 5 or identity[0] != "storage":
            raise Damaged("it refers to something that is no storage")
        _, kind, key, _, length = identity
        dtype = storage_type(kind)
        if not isinstance(key, str) or type(length) is not int:
            raise Damaged("it refers to a storage without a name or a length")
        if key not in self.storages:
            data = bytearray(self._read(f"{self.root}data/{key}"))
            if len(data) != length * dtype.itemsize:
                promised = f"{shown(length)} values of {dtype} were promised"
                raise Damaged(f"storage {shown(key)} has {len(data)} bytes, {promised}")
            self.storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self.storages[key]

    def _declared(self) -> Mapping[str, set[str]]:
        """Return the parameters and buffers of each class, as the text of the archive's code lists them.

        The text is searched, never run. It tells parameters from tensors that a module only computes with.
        """
        listed: dict[str, set[str]] = {}
        for name in self.file.namelist():
            if not (name.startswith(f"{self.root}code/") and name.endswith(".py")):
                continue
            module = name.removeprefix(f"{self.root}code/").removesuffix(".py").replace("/", ".")
            for block in re.split(r"^class ", self._read(name).decode(errors="replace"), flags=re.MULTILINE)[1:]:
                lists = re.findall(r"^  __(?:parameters|buffers)__ = \[([^]\n]*)\]", block, flags=re.MULTILINE)
                words = {word for text in lists for word in re.findall(r'"([^"]+)"', text)}
                listed[f"{module}.{re.split(r'[(:]', block, maxsplit=1)[0]}"] = words
        return listed

    def _collect(
        self, record: Any, prefix: str, declared: Mapping[str, set[str]], into: dict[str, Tensor], depth: int = 0
    ) -> None:
        import torch

        if not isinstance(record, Record):
            raise damaged(self.source, "its data.pkl holds no module")
        if depth > MAX_DEPTH:
            raise damaged(self.source, f"its modules are nested more than {MAX_DEPTH} deep, or hold themselves")
        # Not the modules are counted but their names: forty that hold the next one twice have a billion of them.
        self.attributes_left -= len(record.state) + 1
        if self.attributes_left < 0:
            reason = f"its modules, which share others, have more than {MAX_ATTRIBUTES} attributes"
            raise damaged(self.source, reason)
        if len(prefix) > MAX_NAME:
            raise damaged(self.source, f"its modules have names of more than {MAX_NAME} letters")
        own = declared.get(record.type)
        for name, value in record.state.items():
            if isinstance(value, Record):
                self._collect(value, f"{prefix}{name}.", declared, into, depth + 1)
            elif isinstance(value, torch.Tensor) and (own is None or name in own):
                into[f"{prefix}{name}"] = value
