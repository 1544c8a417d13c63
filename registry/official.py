"""Weights as their authors released them: finding the files of a component by their names, and reading them."""

from __future__ import annotations

import functools
import importlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regionkit.core.errors import RegionkitError, WeightsError
from regionkit.core.spec import PARTS, Checkpoint, ComponentSpec
from regionkit.core.weights import WeightFile, WeightHeader
from regionkit.registry.references import locate
from regionkit.registry.registry import user_weight_folders
from regionkit.registry.schema import Part, owner_text
from regionkit.registry.weight_index import files_of

if TYPE_CHECKING:
    from torch import Tensor

    from regionkit.core.contracts import WeightArtifact

#: What a reader is asked for: its name, the config, role, path and version of each file, and who brings it.
_Question = tuple[str, Any, tuple[tuple[str, Path, int, int], ...], str]

#: Weights of a repository, the surest first, under the names that the hub's own libraries give them.
HUB_WEIGHTS = ("model.safetensors", "model-*.safetensors", "pytorch_model.bin", "pytorch_model-*.bin", "*.safetensors")


def spec_for(part: Part) -> ComponentSpec:
    """Return the spec of a part with the checkpoints that belong to its options."""
    chosen = tuple(entry for entry in part.spec.checkpoints if _is_meant(entry, part.config))
    return part.spec if chosen == part.spec.checkpoints else replace(part.spec, checkpoints=chosen)


def _is_meant(entry: Checkpoint, config: Any) -> bool:
    option, _, value = entry.when.partition("=")
    return not option or str(getattr(config, option, "")) == value


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
    spec = spec_for(part)
    files = _named_file(spec, place) if place.is_file() else files_in(spec, place)
    if not set(files) - {entry.role for entry in spec.checkpoints if entry.optional or entry.shared}:
        return None
    return read_official(part, _completed(spec, files), place)


def find_installed(part: Part) -> WeightFile | None:
    """Return official checkpoints from $REGIONKIT_WEIGHTS and the hub's cache, where all of them are there.

    Files that do not say their space are not taken without being named: they might be for another backbone.

    Raises:
        WeightsError: The reader refuses a file.
    """
    if not part.spec.reader:
        return None
    spec = spec_for(part)
    files = _elsewhere(spec, [entry for entry in spec.checkpoints if not entry.optional])
    if not files or missing_roles(spec, files):
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
    """Read official checkpoints with the component's own reader.

    The header is kept while the files stay as they are. The tensors are kept until they are taken, and made again for
    who asks once more: a plan that is never built should not hold a model in memory.

    Args:
        part: The component.
        files: Paths by role.
        place: The file or folder that they are known by.

    Raises:
        WeightsError: The reader refuses a file.
    """
    versions = tuple((role, path, *_version(path)) for role, path in sorted(files.items()))
    question = (part.spec.reader, part.config, versions, owner_text(part.spec))
    return WeightFile(place, _header(question), dict(files), functools.partial(_take, question))


#: What readers made and nobody has taken yet: as many as one pipeline has parts.
_made: OrderedDict[_Question, WeightArtifact] = OrderedDict()


@functools.lru_cache(maxsize=256)
def _header(question: _Question) -> WeightHeader:
    artifact = _made[question] = _ask(question)
    while len(_made) > len(PARTS):
        _made.popitem(last=False)
    return artifact.header


def _take(question: _Question) -> Mapping[str, Tensor]:
    return (_made.pop(question, None) or _ask(question)).tensors


def _ask(question: _Question) -> WeightArtifact:
    reader, config, versions, owner = question
    module, _, name = reader.partition(":")
    files = {role: path for role, path, *_ in versions}
    try:
        artifact: WeightArtifact = getattr(importlib.import_module(module), name)(files, config)
    except RegionkitError:
        raise
    except Exception as error:  # a stranger's reader, or a checkpoint of a shape that it never met
        raise WeightsError(
            f"{', '.join(str(path) for path in files.values())}: cannot be read: {type(error).__name__}: {error}",
            f"the files may be damaged or of another model; otherwise this is a fault of {owner}: {reader}",
        ) from error
    return artifact


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
        path = next((files[entry.role] for files in installed if entry.role in files), None) or cached(entry)
        if path is not None:
            found[entry.role] = path
    return found


def cached(entry: Checkpoint) -> Path | None:
    """Return where the hub's cache has a file; a repository of which it has other files alone does not count."""
    try:
        path = locate(entry.source) if entry.source.startswith("hub:") else None
    except WeightsError:
        return None
    if path is not None and path.is_dir():
        names = [inner.name for inner in path.iterdir()]
        wanted = (*entry.files, *HUB_WEIGHTS)
        return path if any(fnmatch(name, pattern) for name in names for pattern in wanted) else None
    return path


def _matching(entry: Checkpoint, folder: Path) -> list[Path]:
    return [path for pattern in entry.files for path in sorted(folder.glob(pattern)) if not path.name.startswith(".")]


def _version(path: Path) -> tuple[int, int]:
    """Return what changes when a file, or a file of a folder, does."""
    status = [inner.stat() for inner in files_of(path)]
    return max((one.st_mtime_ns for one in status), default=0), sum(one.st_size for one in status)
