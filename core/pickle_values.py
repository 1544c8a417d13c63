"""What reading a pickle makes and says: records, names on the list, keys, and the errors of a file that is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from regionkit.core.errors import WeightsError

#: Values nested in each other.
MAX_DEPTH = 100
#: Keys of one hash. Chance gives two; a file that is made for it gives thousands, and each is compared with all others.
MAX_ALIKE = 64
#: Parts of a tuple that is a key: its hash is counted anew whenever it is used.
MAX_KEY_PARTS = 64
#: Letters of a foreign text that a message repeats.
SHOWN = 120

Maker = Callable[..., Any]


class Damaged(Exception):
    """The pickle is not what it says it is; the message says why, and the reader of the file names the file."""


@dataclass(eq=False, slots=True)
class Record:
    """What a pickle says of an object, without the object.

    Attributes:
        type: Full name of its class.
        arguments: What its class would have been called with.
        state: Its attributes by name; a state that is no mapping of texts stands under ``state``.
    """

    type: str
    arguments: tuple[Any, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)

    def build(self, state: Any) -> None:
        """Take in a state as BUILD gives it: attributes, or a pair of attributes and slots."""
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        if not all(part is None or _is_named(part) for part in parts):
            parts = ({"state": state},)
        for part in parts:
            self.state.update(part or {})


def _is_named(part: Any) -> bool:
    return isinstance(part, dict) and all(isinstance(name, str) for name in part)


@dataclass(frozen=True, eq=False, slots=True)
class Known:
    """A name on the list: ``make`` is called in its place, and where that is None it only stands for itself."""

    name: str
    make: Maker | None = None


class Keys:
    """Checks the keys of dictionaries and members of sets.

    Python hashes texts with a secret, so that no file can make many of one hash. Numbers and tuples of them have hashes
    that a file can choose: large integers are refused, and of tuples and complex numbers only a few may share a hash.
    """

    def __init__(self) -> None:
        self._alike: dict[int, set[Any]] = {}

    def __call__(self, value: Any) -> Any:
        """Return a value that may be a key.

        Raises:
            Damaged: It is none: containers would let a short pickle ask for a hash that takes for ever.
        """
        if type(value) is str:  # what nearly all are
            return value
        parts = value[: MAX_KEY_PARTS + 1] if isinstance(value, tuple) else (value,)
        if not all(_is_flat(part) for part in parts):
            raise Damaged(f"it uses a {type(value).__name__} as a key; only texts, numbers and tuples of them are read")
        if isinstance(value, tuple) and len(value) > MAX_KEY_PARTS:
            raise Damaged(f"it uses a tuple of {len(value)} parts as a key")
        if isinstance(value, (tuple, complex)):
            alike = self._alike.setdefault(hash(value), set())
            if value not in alike:
                if len(alike) == MAX_ALIKE:
                    raise Damaged(f"more than {MAX_ALIKE} of its keys share a hash, which is made to take for ever")
                alike.add(value)
        return value

    def all(self, values: Iterable[Any]) -> Iterator[Any]:
        """Yield the values, each checked."""
        return map(self, values)


def _is_flat(value: Any) -> bool:
    if isinstance(value, int) and value.bit_length() > 64:
        raise Damaged("it uses a whole number of more than 64 bits as a key")
    return isinstance(value, (str, bytes, int, float, complex, type(None)))


def check_depth(value: Any) -> None:
    """Raise Damaged where values are nested too deep. Shared and circular values are looked at once."""
    seen: set[int] = set()
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer) if not _seen(inner, seen)]
        if not level:
            return
    raise Damaged(f"its values are nested more than {MAX_DEPTH} deep")


def _seen(value: Any, seen: set[int]) -> bool:
    if not isinstance(value, (list, tuple, dict, set, frozenset, Record)) or id(value) in seen:
        return True
    seen.add(id(value))
    return False


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, Record):
        yield from value.arguments
        yield from value.state.values()
    elif isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, (list, tuple)):
        yield from value


def printable(text: str, limit: int = SHOWN) -> str:
    """Return a foreign text as a message may repeat it: short, on one line, and of letters that a terminal can show."""
    kept = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[:limit])
    return kept + ("..." if len(text) > limit else "")


def shown(value: Any) -> str:
    """Return a foreign value as a message may repeat it: in a few letters, whatever it holds."""
    if isinstance(value, str):
        return f"'{printable(value, 60)}'"
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and value.bit_length() <= 64):
        return repr(value)
    if isinstance(value, tuple) and all(type(part) is int and part.bit_length() <= 64 for part in value[:8]):
        return f"({', '.join(map(str, value[:8]))}{',' if len(value) == 1 else ''}{', ...' if len(value) > 8 else ''})"
    return f"<{type(value).__name__}>"


def reason_of(error: Exception) -> str:
    """Return the first line of what an error says, which may repeat a part of the file."""
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0], 300)


def damaged(source: str, reason: str) -> WeightsError:
    """Return the error of a pickle that cannot be read."""
    return WeightsError(f"{source}: the pickle is damaged: {reason}", "nothing was run; fetch the file again")


def refused(source: str, name: str) -> WeightsError:
    """Return the error of a pickle that names something which is not on the list."""
    name = printable(name)
    looks_like_class = name.rpartition(".")[2][:1].isupper()
    return WeightsError(
        f"{source}: the pickle wants {name}, which is not on the list of harmless types; nothing was run",
        "harmless are plain containers, texts, numbers, numpy arrays and torch tensors",
        f"to read only the fields of such an object: toolkit weights convert ... --record {name}"
        if looks_like_class
        else "",
    )
