"""The types that a pickle may hold: containers, numpy arrays and torch tensors, each made by code of our own."""

from __future__ import annotations

import io
import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regionkit.core.errors import WeightsError
from regionkit.core.pickle_machine import Machine
from regionkit.core.pickle_values import Damaged, Keys, Known, Maker, Record, shown

#: Kinds of numpy arrays that hold nothing but numbers and texts, as numpy spells them.
_DTYPE = re.compile(r"[<>|=]?(?:[biufcSU]\d+|[?bBhHiIlLqQefdgFD])")
#: Dimensions of an array, as in numpy; and the entries that an empty one may have along the axes that are not empty:
#: written as lists it has as many, though it takes no byte.
_MAX_AXES, _MAX_EMPTY = 64, 1 << 20

#: Storage types of torch by the names that pickles have for them.
STORAGES = {
    "Bool": "bool",
    "Byte": "uint8",
    "Char": "int8",
    "Short": "int16",
    "Int": "int32",
    "Long": "int64",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Float": "float32",
    "Double": "float64",
}


def build(target: Any, state: Any) -> None:
    """Give an object the state that a BUILD opcode has for it.

    Raises:
        Damaged: It is no object that has a state, or the state is not one of its kind.
    """
    import numpy as np

    if isinstance(target, (Record, Dtype)):
        target.build(state)
    elif isinstance(target, np.ndarray):
        _build_array(target, state)
    elif not isinstance(target, dict):  # an ordered dictionary may carry attributes; nothing reads them
        raise Damaged(f"it gives a state to a {type(target).__name__}")


def _set(values: Any = ()) -> set[Any]:
    return set(map(Keys(), _sequence(values)))


def _sequence(values: Any) -> Any:
    if isinstance(values, (list, tuple, set, frozenset)):
        return values
    raise Damaged(f"it makes a container of a {type(values).__name__}")


def _mapping(values: Any = ()) -> dict[Any, Any]:
    pairs = values.items() if isinstance(values, dict) else [_pair(pair) for pair in _sequence(values)]
    checked = Keys()
    return OrderedDict((checked(key), value) for key, value in pairs)


def _pair(value: Any) -> tuple[Any, Any]:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return value[0], value[1]
    raise Damaged("it makes a dictionary of something that is no pair")


def _default_dict(_factory: Any = None, values: Any = ()) -> dict[Any, Any]:
    return _mapping(values)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Make bytes as protocols 0 to 2 write them."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Damaged("it makes bytes in another way than pickles do")
    return text.encode("latin-1")


def _bytes(value: Any = b"") -> bytes:
    if not isinstance(value, bytes):
        raise Damaged(f"it makes bytes of a {type(value).__name__}")
    return value


def _complex(real: Any, imaginary: Any) -> complex:
    return complex(float(real), float(imaginary))


@dataclass(eq=False, slots=True)
class Dtype:
    """A numpy type while its byte order is not known yet: REDUCE names it, BUILD gives the order."""

    text: str
    order: str = "="

    def build(self, state: Any) -> None:
        """Take the byte order from the state; a type of several fields is refused."""
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise Damaged("it holds a numpy array of fields or objects")
        if state[1] not in ("<", ">", "|", "="):
            raise Damaged("it holds a numpy type without a byte order")
        self.order = state[1]

    def numpy(self) -> Any:
        """Return the numpy type."""
        import numpy as np

        plain = np.dtype(self.text)
        return plain if self.order in ("|", "=") else plain.newbyteorder(">" if self.order == ">" else "<")


def _dtype(text: Any, *_flags: Any) -> Dtype:
    if not isinstance(text, str) or not _DTYPE.fullmatch(text):
        raise Damaged(f"it holds a numpy array of the type {shown(text)}, which is not of plain numbers or texts")
    if re.fullmatch(r"[^1-9]+0", text):  # so many of them as one likes would take no byte
        raise Damaged(f"it holds a numpy array of the type {shown(text)}, whose values have no size")
    return Dtype(text)


def _empty_array(kind: Any, _shape: Any = (), _code: Any = b"b") -> Any:
    import numpy as np

    if getattr(kind, "name", "") != "numpy.ndarray":
        raise Damaged("it makes an array of a class that is not numpy's own")
    return np.empty(0)


def _build_array(array: Any, state: Any) -> None:
    if not isinstance(state, tuple) or len(state) != 5:
        raise Damaged("the state of an array is not of five parts")
    _, shape, dtype, fortran, data = state
    content = data.encode("latin-1") if isinstance(data, str) else data  # Python 2 wrote texts
    if not isinstance(dtype, Dtype) or not isinstance(content, bytes):
        raise Damaged("it holds a numpy array of objects")
    kind = dtype.numpy()
    if math.prod(_sizes(shape)) * kind.itemsize != len(content):
        raise Damaged(f"an array of shape {shown(shape)} has {len(content)} bytes")
    array.__setstate__((1, shape, kind, bool(fortran), content))


def _array_of_buffer(data: Any, dtype: Any, shape: Any, order: Any = "C") -> Any:
    import numpy as np

    if not isinstance(dtype, Dtype) or not isinstance(data, bytes) or order not in ("C", "F"):
        raise Damaged("it holds a numpy array of objects")
    return np.frombuffer(data, dtype=dtype.numpy()).reshape(_sizes(shape), order=order).copy(order=order)


def _scalar(dtype: Any, data: Any = b"") -> Any:
    import numpy as np

    content = data.encode("latin-1") if isinstance(data, str) else data
    if not isinstance(dtype, Dtype) or not isinstance(content, bytes):
        raise Damaged("it holds a numpy scalar of an object")
    return np.frombuffer(content, dtype=dtype.numpy(), count=1)[0]


def _sizes(shape: Any) -> tuple[int, ...]:
    sizes = _whole(shape)
    if 0 in sizes and math.prod(size for size in sizes if size) > _MAX_EMPTY:
        raise Damaged(f"an empty array claims the shape {shown(sizes)}")
    return sizes


def _whole(numbers: Any) -> tuple[int, ...]:
    if (
        isinstance(numbers, tuple)
        and len(numbers) <= _MAX_AXES
        and all(type(number) is int and 0 <= number < 1 << 63 for number in numbers)
    ):
        return numbers
    raise Damaged("a shape is not a tuple of whole numbers")


def _storage(data: Any) -> Any:
    """Return the values of a storage that was pickled by itself, as a tensor (n,).

    Its bytes are what ``torch.save`` wrote before version 1.6: pickles of a magic number, a version, the machine, the
    storage and its key, then the number of values and the values. They are read here as any pickle is, since torch's
    own reader knows no limit of what a few bytes may ask for.
    """
    import torch

    if not isinstance(data, bytes):
        raise Damaged("a torch storage is not made of bytes")
    stream = io.BytesIO(data)
    known = {f"torch.{name}Storage": None for name in STORAGES}
    try:
        read = [
            Machine(stream, "its bytes", known, persistent=_identity, room=1 << 20, steps=1000).run() for _ in range(5)
        ]
    except WeightsError as error:
        raise Damaged(f"a torch storage cannot be read: {error.message}") from None
    magic, _, _, identity, _ = read
    if magic != _MAGIC or not isinstance(identity, tuple) or len(identity) != 6 or identity[5] is not None:
        raise Damaged("a torch storage cannot be read: its bytes are not those of one storage")
    dtype, length = storage_type(identity[1]), identity[4]
    values = bytearray(data[stream.tell() + 8 :])
    if type(length) is not int or len(values) != length * dtype.itemsize:
        raise Damaged(f"a torch storage of {shown(length)} values has {len(values)} bytes")
    return torch.frombuffer(values, dtype=dtype) if values else torch.empty(0, dtype=dtype)


#: The number that such files begin with.
_MAGIC = 0x1950A86A20F9469CFC6C


def _identity(identity: Any) -> Any:
    return identity


def storage_type(kind: Any) -> Any:
    """Return the torch type of the values of a storage, of the class that a pickle names.

    Raises:
        Damaged: It names no such class.
    """
    import torch

    name = kind.name.removeprefix("torch.").removesuffix("Storage") if isinstance(kind, Known) else shown(kind)
    if name not in STORAGES:
        raise Damaged(f"it has a storage of the unknown type {name}")
    return getattr(torch, STORAGES[name])


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_rest: Any) -> Any:
    """Return a view of a storage; never more elements than it has, so that a few bytes cannot claim gigabytes."""
    import torch

    if not isinstance(storage, torch.Tensor) or storage.ndim != 1:
        raise Damaged("a tensor is made of something that is no storage")
    size, stride = _sizes(size), _whole(stride)
    if type(offset) is not int or offset < 0 or len(size) != len(stride):
        raise Damaged("a tensor's offset, size and strides do not go together")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    count = math.prod(size)
    if count and (last >= len(storage) or count > len(storage)):
        raise Damaged(f"a tensor of shape {shown(size)} is larger than its storage of {len(storage)}")
    return storage.as_strided(size, stride, offset) if count else storage.new_empty(size)


def _parameter(tensor: Any, *_rest: Any) -> Any:
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise Damaged("a parameter is made of something that is no tensor")
    return tensor


def _size(values: Any = ()) -> tuple[Any, ...]:
    return tuple(_sequence(values))


def _stay(*arguments: Any) -> Any:
    """Return the first argument: for the wrappers that TorchScript puts around typed lists and dictionaries."""
    if not arguments:
        raise Damaged("it wraps nothing")
    return arguments[0]


def _device(*arguments: Any) -> str:
    return ":".join(str(part) for part in arguments if isinstance(part, (str, int)))


_NUMBERS = (
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
)

#: Everything that a plain pickle may name, with what is called in its place.
KNOWN: Mapping[str, Maker | None] = {
    "builtins.set": _set,
    "builtins.frozenset": lambda values=(): frozenset(_set(values)),
    "builtins.list": lambda values=(): list(_sequence(values)),
    "builtins.tuple": lambda values=(): tuple(_sequence(values)),
    "builtins.dict": _mapping,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.complex": _complex,
    "builtins.object": None,
    "builtins.int": None,
    "_codecs.encode": _encode,
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": _default_dict,
    "collections.Counter": _mapping,
    "copyreg._reconstructor": None,
    "copyreg.__newobj__": None,
    "numpy.ndarray": None,
    "numpy.dtype": _dtype,
    "numpy._core.multiarray._reconstruct": _empty_array,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _array_of_buffer,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.storage._load_from_bytes": _storage,
    "torch.Size": _size,
    "torch.device": _device,
    # Types of numbers, which configs name: each stands for itself.
    **{f"torch.{name}": None for name in _NUMBERS},
}

#: What TorchScript names beyond that.
TORCHSCRIPT: Mapping[str, Maker | None] = {
    **{name: _stay for name in ("torch.jit._pickle.restore_type_tag",)},
    **{f"torch.jit._pickle.build_{kind}list": _stay for kind in ("int", "double", "bool", "tensor")},
}
