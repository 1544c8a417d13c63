"""Tar files by pattern: ``*`` and ranges such as ``{000..123}``, in the working folder or in ``$REGIONKIT_DATA``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from regionkit.core.data.places import DATA_VARIABLE
from regionkit.core.errors import DataError
from regionkit.core.files import is_file

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_SHARDS = 100_000
#: Letters that make a part of a pattern stand for several names.
_WILD = "*?[{"


def fixed_part(pattern: str) -> PurePath:
    """Return what a pattern begins with, up to the first part that stands for several names."""
    parts = PurePath(pattern).parts
    varied = (at for at, part in enumerate(parts) if any(letter in part for letter in _WILD))
    return PurePath(*parts[: next(varied, len(parts) - 1)])


def roots_of(pattern: str) -> tuple[Path, ...]:
    """Return the folders below which the files may be: what the pattern begins with, here and in the data folder."""
    fixed = Path(os.path.expanduser(str(fixed_part(pattern))))
    data = os.environ.get(DATA_VARIABLE, "")
    return (fixed, Path(os.path.expanduser(data)) / fixed) if data and not fixed.is_absolute() else (fixed,)


def matching_files(pattern: str, below: str, what: str) -> list[tuple[Path, str]]:
    """Return root and name of every file that a pattern means, sorted by name.

    Args:
        pattern: The pattern, whose beginning says where to look.
        below: What is looked for below that place, patterns spelt as in ``pattern``.
        what: What messages say is not there.

    Raises:
        DataError: There is none, or ranges stand for too many.
    """
    roots = roots_of(pattern)
    for root in roots:
        names = {name: None for one in _spelt_out(below) for name in _matching(root, one)}
        if names:
            return [(root, name) for name in sorted(names)]
    looked = " and ".join(str(root.absolute() / below) for root in roots)
    raise DataError(what, f"looked for: {looked}")


def _matching(root: Path, pattern: str) -> Iterator[str]:
    """Yield the names of the files below a folder that a pattern with ``*`` and ``?`` means."""
    if not any(letter in pattern for letter in "*?["):
        if is_file(root / pattern):
            yield pattern
        return
    yield from (path.relative_to(root).as_posix() for path in root.glob(pattern) if path.is_file())


def _spelt_out(pattern: str) -> Iterator[str]:
    """Yield what ranges such as ``{000..123}`` stand for.

    Raises:
        DataError: They stand for too many.
    """
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    first, last = int(found[1]), int(found[2])
    if last - first >= _MOST_SHARDS:
        raise DataError(f"{pattern}: more than {_MOST_SHARDS:,} tar files")
    for number in range(first, last + 1):
        yield from _spelt_out(f"{pattern[: found.start()]}{number:0{len(found[1])}d}{pattern[found.end() :]}")
