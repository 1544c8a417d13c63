"""Weights as their authors released them: finding the files of a component by their names, and reading them."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from regionkit.core.errors import RegionkitError, WeightsError
from regionkit.core.spec import Checkpoint, ComponentSpec
from regionkit.core.weights import WeightFile
from regionkit.registry.references import locate
from regionkit.registry.registry import user_weight_folders
from regionkit.registry.schema import Part, owner_text
from regionkit.registry.weight_index import files_of


def find_official(part: Part, place: Path) -> WeightFile | None:
    """Return the official checkpoints that lie in a folder, or that one file and those beside it are.

    Roles that the folder lacks are looked for in $REGIONKIT_WEIGHTS and in the hub's cache of their source.

    Args:
        part: The component.
        place: A folder, or one of the files.

    Returns:
        The weights; None for a folder that holds nothing of this component.

    Raises:
        WeightsError: A file is missing, or the reader refuses one.
    """
    if not part.spec.reader:
        return None
    files = _named_file(part.spec, place) if place.is_file() else files_in(part.spec, place)
    if not set(files) - {entry.role for entry in part.spec.checkpoints if entry.optional or entry.shared}:
        return None
    return read_official(part, _completed(part.spec, files), place)


def find_installed(part: Part) -> WeightFile | None:
    """Return official checkpoints from $REGIONKIT_WEIGHTS and the hub's cache, where all of them are there.

    Files that do not say their space are not taken without being named: they might be for another backbone.

    Raises:
        WeightsError: The reader refuses a file.
    """
    if not part.spec.reader:
        return None
    files = _elsewhere(part.spec, [entry for entry in part.spec.checkpoints if not entry.optional])
    if not files or missing_roles(part.spec, files):
        return None
    file = read_official(part, files, next(iter(files.values())))
    return file if file.says_space else None


def files_in(spec: ComponentSpec, folder: Path) -> dict[str, Path]:
    """Return the files of a component in a folder, by role; a sub-folder named after its kind or name goes first."""
    places = [
        folder / spec.kind,
        folder / spec.name,
        folder,
        *sorted(path for path in folder.glob("*") if path.is_dir()),
    ]
    found: dict[str, Path] = {}
    for entry in spec.checkpoints:
        matches = (path for place in places if place.is_dir() for path in _matching(entry, place))
        first = next(matches, None)
        if first is not None:
            found[entry.role] = first
    return found


def missing_roles(spec: ComponentSpec, files: Mapping[str, Path]) -> list[Checkpoint]:
    """Return the files that a component needs and does not have."""
    return [entry for entry in spec.checkpoints if not entry.optional and entry.role not in files]


def describe_missing(entries: Iterable[Checkpoint]) -> list[str]:
    """Return one line a missing file: its role, its name and where it can be had."""
    return [
        f"missing {entry.role}: {' or '.join(entry.files)}" + (f", from {entry.source}" if entry.source else "")
        for entry in entries
    ]


def read_official(part: Part, files: Mapping[str, Path], place: Path) -> WeightFile:
    """Read official checkpoints with the component's own reader; the result is kept while the files stay as they are.

    Args:
        part: The component.
        files: Paths by role.
        place: The file or folder that they are known by.

    Raises:
        WeightsError: The reader refuses a file.
    """
    versions = tuple((role, path, *_version(path)) for role, path in sorted(files.items()))
    artifact = _read(part.spec.reader, part.config, versions, owner_text(part.spec))
    return WeightFile(place, artifact.header, dict(files), artifact.tensors)


@functools.lru_cache(maxsize=8)
def _read(reader: str, config: Any, versions: Sequence[tuple[str, Path, int, int]], owner: str) -> Any:
    module, _, name = reader.partition(":")
    files = {role: path for role, path, *_ in versions}
    try:
        function = getattr(importlib.import_module(module), name)
        artifact = function(files, config)
        return replace(artifact, tensors=dict(artifact.tensors))
    except RegionkitError:
        raise
    except Exception as error:  # a stranger's reader, or a checkpoint of a shape that it never met
        raise WeightsError(
            f"{', '.join(str(path) for path in files.values())}: cannot be read: {type(error).__name__}: {error}",
            f"the files may be damaged or of another model; otherwise this is a fault of {owner}: {reader}",
        ) from error


def _named_file(spec: ComponentSpec, path: Path) -> dict[str, Path]:
    """Return the role of one file by its name, or the only one that is needed, with what lies beside it."""
    required = [entry for entry in spec.checkpoints if not entry.optional and not entry.shared]
    roles = [entry for entry in spec.checkpoints if any(fnmatch(path.name, pattern) for pattern in entry.files)]
    chosen = roles[0] if roles else required[0] if len(required) == 1 else None
    if chosen is None:
        listed = "; ".join(f"{entry.role}: {' or '.join(entry.files)}" for entry in spec.checkpoints)
        raise WeightsError(
            f"{path.name} is none of the files of {spec.kind} '{spec.name}'",
            f"its files are {listed}",
            "give it one of these names, or convert it: toolkit weights convert --help",
        )
    return {**files_in(spec, path.parent), chosen.role: path}


def _completed(spec: ComponentSpec, files: Mapping[str, Path]) -> dict[str, Path]:
    """Add roles from elsewhere, and refuse what is still incomplete."""
    complete = {**_elsewhere(spec, missing_roles(spec, files)), **files}
    missing = missing_roles(spec, complete)
    if missing:
        there = ", ".join(f"{role} {path.name}" for role, path in sorted(files.items()))
        raise WeightsError(
            f"{spec.kind} '{spec.name}' needs more files than are there ({there})",
            *describe_missing(missing),
            f"fetch what can be fetched: toolkit weights pull {spec.name}",
        )
    return complete


def _elsewhere(spec: ComponentSpec, wanted: Iterable[Checkpoint]) -> dict[str, Path]:
    """Return files from $REGIONKIT_WEIGHTS, else from the hub's cache of their source; nothing is fetched."""
    found: dict[str, Path] = {}
    installed = [files_in(spec, folder) for folder in user_weight_folders() if folder.is_dir()]
    for entry in wanted:
        path = next((files[entry.role] for files in installed if entry.role in files), None) or _cached(entry)
        if path is not None:
            found[entry.role] = path
    return found


def _cached(entry: Checkpoint) -> Path | None:
    if not entry.source.startswith("hub:"):
        return None
    try:
        return locate(entry.source)
    except WeightsError:
        return None


def _matching(entry: Checkpoint, folder: Path) -> list[Path]:
    return [path for pattern in entry.files for path in sorted(folder.glob(pattern)) if not path.name.startswith(".")]


def _version(path: Path) -> tuple[int, int]:
    """Return what changes when a file, or a file of a folder, does."""
    status = [inner.stat() for inner in files_of(path)]
    return max((one.st_mtime_ns for one in status), default=0), sum(one.st_size for one in status)
