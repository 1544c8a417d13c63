"""An interpreter for pickles that cannot run what is inside them.

Python's own unpickler imports what a pickle names and calls it. This one reads the opcodes with :mod:`pickletools`, and
the only calls it makes are to the short functions of this module and of :mod:`regionkit.core.pickle_types`: a name that
is not on their list is refused before anything is made of it, and a class that the caller allows becomes a
:class:`Record`, which keeps its state and has no behaviour.
"""

from __future__ import annotations

import io
import pickletools
import sys
from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase
from typing import IO, Any

from regionkit.core.pickle_values import (
    Damaged,
    Keys,
    Known,
    Maker,
    Record,
    check_depth,
    damaged,
    printable,
    reason_of,
    refused,
    shown,
)

#: Opcodes that one pickle may have. The largest vocabulary of the releases has half a million.
MAX_STEPS = 10_000_000
#: Bytes that values made of other values may have: so many for each byte of the pickle, and so many more.
ROOM_PER_BYTE, ROOM = 64, 64 << 20
#: Letters of a name of a type.
MAX_NAME = 500


class Machine:
    """Runs one pickle.

    Args:
        stream: The pickle.
        source: The file, for messages.
        known: Full names that may occur, with what is called in their place.
        records: Shell patterns of full names of classes that become records.
        persistent: Turns a persistent id into an object; without it such ids are refused.
        room: Bytes that copies may have beyond what the size of the pickle allows. Recalling a value takes two bytes of
            a pickle, and making another of it takes three; without a limit kilobytes would become gigabytes.
        steps: Opcodes that it may have.
    """

    def __init__(
        self,
        stream: IO[bytes],
        source: str,
        known: Mapping[str, Maker | None],
        records: Collection[str] = (),
        persistent: Callable[[Any], Any] | None = None,
        room: int | None = None,
        steps: int | None = None,
    ) -> None:
        self.stream = stream
        self.source = source
        self.known = known
        self.records = records
        self.persistent = persistent
        self.stack: list[Any] = []
        #: Stacks below the open marks.
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.key = Keys()
        here = stream.tell()
        size = stream.seek(0, io.SEEK_END) - here
        stream.seek(here)
        self.room = size * ROOM_PER_BYTE + (ROOM if room is None else room)
        self.steps = MAX_STEPS if steps is None else steps

    def run(self) -> Any:
        """Return what the pickle holds.

        Raises:
            WeightsError: It names something that is not on the list, is damaged, or is too large or too deep.
        """
        try:
            result = self._steps()
            check_depth(result)
        except Damaged as error:
            raise damaged(self.source, str(error)) from None
        except MemoryError:
            raise damaged(self.source, "it asks for more memory than there is") from None
        # RuntimeError is torch's word for impossible tensors, and what a value too deep for Python's stack raises.
        except (ValueError, LookupError, TypeError, ArithmeticError, AttributeError, EOFError, RuntimeError) as error:
            raise damaged(self.source, reason_of(error)) from None
        return result

    def _charge(self, *values: Any) -> None:
        """Count the bytes of values that are about to be copied, or were made."""
        self.room -= sum(map(sys.getsizeof, values))
        if self.room < 0:
            raise Damaged("it makes far more of its values than it holds, by recalling them again and again")

    def _steps(self) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(self.stream)):
            if count > self.steps:
                raise Damaged(f"it has more than {self.steps} steps")
            if opcode.name == "STOP":
                return self._pop()
            step = _STEPS.get(opcode.name)
            if step is None:
                raise Damaged(f"it uses the opcode {opcode.name}, which no file of weights or words needs")
            step(self, argument)
        raise Damaged("it ends before its end mark")

    def _pop(self) -> Any:
        if not self.stack:
            raise Damaged("it takes a value where there is none")
        return self.stack.pop()

    def _pop_mark(self) -> list[Any]:
        """Return the values since the last mark."""
        if not self.below:
            raise Damaged("it closes a group that was never opened")
        values, self.stack = self.stack, self.below.pop()
        return values

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def _put(self, index: Any) -> None:
        if not self.stack:
            raise Damaged("it remembers a value where there is none")
        self.memo[int(index)] = self.stack[-1]

    def _get(self, index: Any) -> None:
        if int(index) not in self.memo:
            raise Damaged(f"it recalls the value {shown(int(index))}, which it never remembered")
        self._push(self.memo[int(index)])

    def _tuple(self, length: int) -> None:
        values = [self._pop() for _ in range(length)]
        self._push(tuple(reversed(values)))

    def _append(self, values: list[Any]) -> None:
        target = self._top(list, "appends to")
        target.extend(values)

    def _set_items(self, values: list[Any]) -> None:
        target = self._top(dict, "sets items of")
        if len(values) % 2:
            raise Damaged("it sets an item without a value")
        target.update({self.key(key): value for key, value in zip(values[::2], values[1::2], strict=True)})

    def _add_items(self, values: list[Any]) -> None:
        target = self._top(set, "adds to")
        target.update(map(self.key, values))

    def _top(self, kind: type, verb: str) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise Damaged(f"it {verb} something that is no {kind.__name__}")
        return self.stack[-1]

    def _name(self, module: Any, name: Any) -> Known:
        """Look a name up: this is the gate, and there is no other way to anything outside the pickle."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise Damaged("it names a type by something that is no text")
        if len(module) + len(name) > MAX_NAME:
            raise Damaged(f"it names a type of more than {MAX_NAME} letters: {printable(f'{module[:60]}.{name[:60]}')}")
        full = f"{_MOVED.get(module, module)}.{name}"
        if full in self.known:
            return Known(full, self.known[full])
        if any(fnmatchcase(full, pattern) for pattern in self.records):
            return Known(full, lambda *arguments: Record(full, arguments))
        raise refused(self.source, f"{module}.{name}")

    def _global(self, argument: Any) -> None:
        module, _, name = str(argument).partition(" ")
        self._push(self._name(module, name))

    def _stack_global(self, _: Any) -> None:
        name = self._pop()
        self._push(self._name(self._pop(), name))

    def _call(self, what: Any, arguments: Any) -> None:
        if not isinstance(arguments, tuple):
            raise Damaged("it calls something with arguments that are no tuple")
        if isinstance(what, Known) and what.name in ("copyreg._reconstructor", "copyreg.__newobj__"):
            what, arguments = _class_and_arguments(what.name, arguments)
        if not isinstance(what, Known) or what.make is None:
            raise Damaged(f"it calls {what.name if isinstance(what, Known) else 'something that is no type'}")
        self._charge(*arguments)
        self._push(what.make(*arguments))
        self._charge(self.stack[-1])

    def _reduce(self, _: Any) -> None:
        arguments = self._pop()
        self._call(self._pop(), arguments)

    def _newobj_ex(self, _: Any) -> None:
        named, arguments = self._pop(), self._pop()
        if not isinstance(named, dict) or not isinstance(arguments, tuple):
            raise Damaged("it makes an object with arguments that are none")
        self._call(self._pop(), arguments)
        if named:
            if not isinstance(self.stack[-1], Record):
                raise Damaged("it makes a plain value with named arguments")
            self._charge(named)
            self.stack[-1].build(named)

    def _instance(self, argument: Any) -> None:
        module, _, name = str(argument).partition(" ")
        values = self._pop_mark()
        self._call(self._name(module, name), tuple(values))

    def _object(self, _: Any) -> None:
        values = self._pop_mark()
        if not values:
            raise Damaged("it makes an object of no class")
        self._call(values[0], tuple(values[1:]))

    def _build(self, _: Any) -> None:
        from regionkit.core.pickle_types import build

        state = self._pop()
        if not self.stack:
            raise Damaged("it gives a state to nothing")
        self._charge(*(state if isinstance(state, tuple) else (state,)))
        build(self.stack[-1], state)

    def _persistent(self, identity: Any) -> None:
        if self.persistent is None:
            raise Damaged("it refers to data outside itself")
        self._push(self.persistent(identity))


def _class_and_arguments(name: str, arguments: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """Undo the two indirections of copyreg: ``_reconstructor(class, base, state)`` and ``__newobj__(class, ...)``."""
    if not arguments:
        raise Damaged(f"{name} is called without a class")
    return arguments[0], arguments[1:] if name == "copyreg.__newobj__" else ()


#: Where pickles of other versions of Python and numpy look for what they name.
_MOVED = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
}


def _constant(value: Any) -> Callable[[Machine, Any], None]:
    return lambda machine, _: machine._push(value)


def _argument(machine: Machine, argument: Any) -> None:
    machine._push(argument)


def _nothing(machine: Machine, _: Any) -> None:
    """PROTO and FRAME say nothing about the values."""


def _two(machine: Machine, take: Callable[[list[Any]], None], count: int) -> None:
    values = [machine._pop() for _ in range(count)]
    take(values[::-1])


_PUSHED = (
    "INT LONG LONG1 LONG4 BININT BININT1 BININT2 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8"
)

_STEPS: dict[str, Callable[[Machine, Any], object]] = {
    **dict.fromkeys(_PUSHED.split(), _argument),
    **dict.fromkeys(("PROTO", "FRAME"), _nothing),
    "BYTEARRAY8": lambda m, data: m._push(bytes(data)),
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "EMPTY_LIST": lambda m, _: m._push([]),
    "EMPTY_DICT": lambda m, _: m._push({}),
    "EMPTY_SET": lambda m, _: m._push(set()),
    "EMPTY_TUPLE": _constant(()),
    "MARK": Machine._mark,
    "POP": lambda m, _: m._pop() if m.stack else m._pop_mark(),
    "POP_MARK": lambda m, _: m._pop_mark(),
    "DUP": lambda m, _: m.stack.extend(m.stack[-1:]),
    "LIST": lambda m, _: m._push(m._pop_mark()),
    "TUPLE": lambda m, _: m._push(tuple(m._pop_mark())),
    "TUPLE1": lambda m, _: m._tuple(1),
    "TUPLE2": lambda m, _: m._tuple(2),
    "TUPLE3": lambda m, _: m._tuple(3),
    "FROZENSET": lambda m, _: m._push(frozenset(map(m.key, m._pop_mark()))),
    "APPEND": lambda m, _: _two(m, m._append, 1),
    "APPENDS": lambda m, _: m._append(m._pop_mark()),
    "SETITEM": lambda m, _: _two(m, m._set_items, 2),
    "SETITEMS": lambda m, _: m._set_items(m._pop_mark()),
    "ADDITEMS": lambda m, _: m._add_items(m._pop_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), Machine._put),
    "MEMOIZE": lambda m, _: m._put(len(m.memo)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Machine._get),
    "GLOBAL": Machine._global,
    "STACK_GLOBAL": Machine._stack_global,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), Machine._reduce),
    "NEWOBJ_EX": Machine._newobj_ex,
    "INST": Machine._instance,
    "OBJ": Machine._object,
    "BUILD": Machine._build,
    "BINPERSID": lambda m, _: m._persistent(m._pop()),
    "PERSID": Machine._persistent,
}


def _dict_step(machine: Machine, _: Any) -> None:
    values = machine._pop_mark()
    machine._push({})
    machine._set_items(values)


_STEPS["DICT"] = _dict_step
