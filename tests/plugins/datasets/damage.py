"""Damage to files, drawn from a seed: cut off, bytes changed, and values of JSON and pickles replaced in many ways."""

from __future__ import annotations

import gzip
import json
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Text that stands for what ``json.dumps`` will not write: numbers that JSON has not, brackets without an end.
_RAW = {
    "@nan@": "NaN",
    "@infinity@": "-Infinity",
    "@many-digits@": "9" * 5000,
    "@deep@": "[" * 100_000 + "]" * 100_000,
    "@half@": "\\ud800",
}
_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 3.5, 1e308, 10**18, 10**400, "", " ", "x", "../../etc/passwd", "\0", "²", [], {}, [[]], [{}],
    [None], {"x": 1}, {"": ""}, [1, 2, 3], ["a", 1], [[[[0]]]], *_RAW,
)  # fmt: skip


def damage(path: Path, seed: random.Random) -> str:
    """Change a file; return what was done to it."""
    content = path.read_bytes()
    kind = seed.choice(("cut", "bytes", "value", "value", "value", "value", "key"))
    if kind in ("value", "key") and path.suffix in (".json", ".jsonl", ".p"):
        return _values(path, content, seed, drop=kind == "key")
    at = seed.randrange(len(content))
    if kind == "cut":
        packed = gzip.compress(content)
        path.write_bytes(seed.choice((content[:at], packed[: 10 + at % (len(packed) - 10)])))
        return f"cut off at byte {at}, or packed and cut off"
    junk = seed.choice(
        (b"\xff", b"\0", b"\n", b'"', b"{", b"]", b",", b"\t", b"9" * 30, b"\xed\xa0\x80", b"<!DOCTYPE x>")
    )
    path.write_bytes(content[:at] + junk + content[at + seed.choice((0, 1, len(junk))) :])
    return f"{junk!r} at byte {at}"


def _values(path: Path, content: bytes, seed: random.Random, *, drop: bool) -> str:
    if path.suffix == ".p":
        held = pickle.loads(content)
    elif path.suffix == ".jsonl":
        held = [json.loads(line) for line in content.splitlines()]
    else:
        held = json.loads(content)
    places = [place for place in _places(held) if not drop or isinstance(place[0], dict)]
    owner, key = seed.choice(places)
    if drop:
        del owner[key]
        said = f"without {key!r}"
    else:
        owner[key] = seed.choice(_VALUES)
        said = f"{key!r} is {str(owner[key])[:40]}"
    if path.suffix == ".p":
        path.write_bytes(pickle.dumps(held, protocol=2))
        return said
    written = "".join(json.dumps(one) + "\n" for one in held) if path.suffix == ".jsonl" else json.dumps(held)
    for word, raw in _RAW.items():
        written = written.replace(f'"{word}"', f'"{raw}"' if word == "@half@" else raw)
    path.write_text(written)
    return said


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every mapping and list with every key or index."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in pairs:
        yield value, key
        yield from _places(held)
