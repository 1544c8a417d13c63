"""Files of data sets as their specs name them: where they belong and which are there. Nothing is imported or read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from regionkit.core.errors import DataError
from regionkit.core.spec import ComponentSpec, DataFile, DataRelease

#: The variable that names the folder of data sets.
DATA_VARIABLE = "REGIONKIT_DATA"
_WILD = "*?["
_SAY_WHERE = (f"say where data sets are: export {DATA_VARIABLE}=DIR", "or where this one is: --set root=DIR")


@dataclass(frozen=True, slots=True)
class FileState:
    """A file of a release and where it is.

    Attributes:
        file: The file.
        found: The first path that it is at, None where it is at none.
    """

    file: DataFile
    found: Path | None


def folder_of(spec: ComponentSpec, root: str = "") -> Path | None:
    """Return the folder in which the reader of a data set looks, whether or not it is there.

    Args:
        spec: The data set.
        root: Its option of that name: a path, relative to the working folder, then to $REGIONKIT_DATA.

    Returns:
        None where nothing says where the data are.
    """
    data = os.environ.get(DATA_VARIABLE, "")
    places = [Path(os.path.expanduser(root))] if root else []
    own = root or (spec.release.folder if spec.release else "")
    if data and own:
        places.append(Path(os.path.expanduser(data)) / own)
    return next((place for place in places if place.is_dir()), places[0] if places else None)


def need_folder(spec: ComponentSpec, root: str = "") -> Path:
    """Return the same folder.

    Raises:
        DataError: Nothing says where it is, or it cannot be a folder.
    """
    folder = folder_of(spec, root)
    if folder is None:
        raise DataError(*no_folder(spec.name))
    nearest = next((place for place in (folder, *folder.absolute().parents) if os.path.exists(place)), folder)
    if not nearest.is_dir():
        raise DataError(
            f"no folder {folder} for '{spec.name}': {nearest} is a file",
            *_SAY_WHERE,
        )
    return folder


def no_folder(name: str) -> tuple[str, ...]:
    """Return what is wrong where nothing says where a data set is, and what to do about it."""
    return (f"no folder for '{name}': {DATA_VARIABLE} is not set", *_SAY_WHERE)


def is_wild(pattern: str) -> bool:
    """Say whether a path is a pattern."""
    return any(letter in pattern for letter in _WILD)


def placed(folder: Path, pattern: str) -> tuple[Path, str]:
    """Return the folder that a path of a release starts in, and the path below it: ``../`` leads to a sibling."""
    while pattern.startswith("../"):
        # A folder that is a link has the siblings of what it points to: that is where the system looks, too.
        folder = (folder.resolve() if folder.is_dir() else folder).parent
        pattern = pattern[3:]
    return folder, pattern


def found_at(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the files that a path of a release means, in no order, or the folder that it means."""
    base, below = placed(folder, pattern)
    if is_wild(below):
        yield from base.glob(below)
    elif (base / below).is_file() or ((base / below).is_dir() and any((base / below).iterdir())):
        yield base / below


def states(spec: ComponentSpec, folder: Path | None) -> list[FileState]:
    """Return the files of a release and where they are."""
    files = spec.release.files if spec.release else ()
    return [FileState(one, None if folder is None else next(found_at(folder, one.path), None)) for one in files]


def missing_of(held: Sequence[FileState], split: str | None = None) -> list[DataFile]:
    """Return the files that the reader needs and that are not there, of one split or of all."""
    return [
        one.file
        for one in held
        if not one.found and not one.file.optional and (split is None or split in (one.file.splits or (split,)))
    ]


def lacks(held: Sequence[FileState], split: str) -> bool:
    """Say whether any file of a split is not there, those included that the reader may do without."""
    return any(not one.found and split in (one.file.splits or (split,)) for one in held)


def here(held: Sequence[FileState]) -> str:
    """Say how much of a release is there: ``yes``, ``no``, ``1 of 3 files``; ``-`` where it has no files.

    Files that the reader may do without count only where there are no others.
    """
    counted = [one for one in held if not one.file.optional] or held
    if not counted:
        return "-"
    count = sum(one.found is not None for one in counted)
    return {0: "no", len(counted): "yes"}.get(count, f"{count} of {len(counted)} files")


def where_to_get(file: DataFile, spec: ComponentSpec) -> str:
    """Say of a file in one line what it is and where it can be had."""
    release = spec.release or DataRelease("")
    words = [file.path, f" ({about(file)})" if about(file) else ""]
    words.append(f": get it from {file.source or release.homepage or 'its authors'}")
    words.append(f", in {archive_of(file)}" if archive_of(file) else "")
    return f"{''.join(words)}; licence {file.license or spec.license or 'unknown'}"


def archive_of(file: DataFile) -> str:
    """Return the archive that a file is released in; empty where its source says so already."""
    return "" if file.source.rpartition("/")[2] == file.archive else file.archive


def about(file: DataFile) -> str:
    """Return what a file holds and who needs it."""
    words = [file.what, f"for {', '.join(file.splits)}" if file.splits else "", "optional" if file.optional else ""]
    return ", ".join(word for word in words if word)


def release_facts(spec: ComponentSpec) -> dict[str, Any]:
    """Return all that is known of a data set's files in plain values."""
    folder = folder_of(spec)
    held = states(spec, folder)
    release = spec.release or DataRelease("")
    return {
        "name": spec.name,
        "summary": spec.summary,
        "tasks": list(spec.accepts),
        "splits": list(release.splits),
        "license": spec.license,
        "homepage": release.homepage,
        "folder": str(folder) if folder is not None else "",
        "here": here(held),
        "files": [
            {**asdict(one.file), "license": one.file.license or spec.license, "found": str(one.found or "")}
            for one in held
        ],
        "counts": [asdict(one) for one in release.counts],
    }
