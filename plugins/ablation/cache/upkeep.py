"""What lies in the stage cache and beside it, whether it is whole, and its removal. Torch-free."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regionkit.core.cache import cache_folder
from regionkit.core.errors import DataError
from regionkit.plugins.ablation.cache.entries import Damage, Held, Unfinished, read_entry, read_head, walk

#: What of an entry's head is a name. Other text is not printed: nobody has checked the head of a damaged file.
_NAME = re.compile(r"[\w.:@/+-]{1,80}")
#: What the toolkit keeps beside outputs of stages, by folder.
_OTHERS = {
    "banks": "embedded corpora of memory bridges",
    "data": "indexes and splits of data sets",
    "judges": "replies of judges, which may have cost money",
    "spice": "parsed captions of the metric SPICE",
    "stage-costs.json": "what stages cost here, for the estimates of --plan",
}


@dataclass(frozen=True, slots=True)
class Known:
    """An entry and what it says of itself.

    Attributes:
        held: The entry.
        stage: The stage that made it, ``?`` where its head cannot be read.
        component: The component of that stage.
        seconds: What it took to make, 0 where that is unknown.
    """

    held: Held
    stage: str
    component: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Fault:
    """An entry that cannot be used.

    Attributes:
        held: The entry.
        reason: What is wrong with it.
        damaged: Whether its content is wrong; otherwise the system did not let it be read.
        removed: Whether it was removed.
    """

    held: Held
    reason: str
    damaged: bool
    removed: bool


@dataclass(frozen=True, slots=True)
class Other:
    """A folder or file of the toolkit's cache that holds no outputs of stages.

    Attributes:
        name: Its name.
        what: What it holds, empty where the toolkit does not know it.
        files: How many files it holds.
        size: Their bytes.
    """

    name: str
    what: str
    files: int
    size: int


def stage_folder() -> Path:
    """Return where outputs of stages lie: ``stages`` in the toolkit's cache."""
    return cache_folder() / "stages"


def listing(folder: Path) -> tuple[list[Held], list[Unfinished]]:
    """Return the entries of a folder, and what is being written.

    Raises:
        DataError: The folder cannot be listed.
    """
    try:
        return walk(folder)
    except OSError as error:
        raise DataError(
            f"{folder}: the cache cannot be listed: {error.strerror or error}",
            "keep it elsewhere: export REGIONKIT_CACHE=DIR",
        ) from None


def known(entries: Iterable[Held]) -> Iterator[Known]:
    """Yield entries with what they say of themselves, unchecked; those that have just gone are left out."""
    for held in entries:
        about: dict[str, Any] = {}
        try:
            about = read_head(held.path)[0].about
        except FileNotFoundError:
            continue
        except (Damage, OSError):
            pass
        yield Known(held, _name(about, "stage"), _name(about, "component"), _seconds(about))


def _name(about: dict[str, Any], field: str) -> str:
    value = about.get(field)
    return value if isinstance(value, str) and _NAME.fullmatch(value) else "?"


def _seconds(about: dict[str, Any]) -> float:
    value = about.get("seconds")
    return float(value) if isinstance(value, (int, float)) and 0 <= value < 1e9 else 0.0


def last_used(entries: Iterable[Held]) -> float:
    """Return when the latest of some entries was used, in seconds since 1970; a time to come counts as now."""
    return min(max(one.used for one in entries) / 1e9, time.time())


def faults(entries: Iterable[Held]) -> Iterator[Fault | None]:
    """Read entries to their end, remove those that are damaged, and yield what is wrong with each, None for nothing."""
    for held in entries:
        try:
            read_entry(held.path)
        except FileNotFoundError:
            yield None
        except Damage as damage:
            yield Fault(held, str(damage), damaged=True, removed=not failed_to_remove(held))
        except OSError as error:
            yield Fault(held, error.strerror or str(error), damaged=False, removed=False)
        else:
            yield None


def failed_to_remove(held: Held) -> str:
    """Remove an entry and return why that failed, empty where it is gone.

    A process that is reading the entry goes on doing so; another one computes it again.
    """
    try:
        held.path.unlink(missing_ok=True)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def others(folder: Path) -> list[Other]:
    """Return what else lies in the toolkit's cache, by name."""
    found = []
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path != stage_folder():
                sizes = list(_sizes(path))
                found.append(Other(path.name, _OTHERS.get(path.name, ""), len(sizes), sum(sizes)))
    return found


def _sizes(path: Path) -> Iterator[int]:
    paths = (os.path.join(top, name) for top, _, names in os.walk(path) for name in names)
    for one in paths if path.is_dir() and not path.is_symlink() else [path]:
        with suppress(OSError):
            status = os.lstat(one)
            if stat.S_ISREG(status.st_mode):
                yield status.st_size
