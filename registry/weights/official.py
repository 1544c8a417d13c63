"""Weights as their authors released them: finding the files of a component by their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Any

from regionkit.core.errors import WeightsError
from regionkit.core.files import is_file
from regionkit.core.spec import Checkpoint, ComponentSpec
from regionkit.core.weights import WeightFile
from regionkit.registry.registry import user_weight_folders
from regionkit.registry.schema import Part
from regionkit.registry.values import plain
from regionkit.registry.weights.reading import forget, read_official, said_by, spec_for
from regionkit.registry.weights.references import is_reference, locate

#: Says of weights that were read whether they may be the ones that are meant.
Fits = Callable[[WeightFile], bool]
#: Weights of a repository, the surest first, under the names that the hub's own libraries give them.
HUB_WEIGHTS = ("model.safetensors", "model-*.safetensors", "pytorch_model.bin", "pytorch_model-*.bin", "*.safetensors")
#: Names of the parts of a model in several files, and of the file that says which tensor lies in which.
_PART = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<total>\d{5})(?P<ending>\.safetensors|\.bin)")
_INDEX = ".index.json"


def find_official(part: Part, place: Path, fits: Fits | None = None) -> WeightFile | None:
    """Return the official checkpoints that lie in a folder, or that one file and those beside it are.

    Roles that the folder lacks are looked for in $REGIONKIT_WEIGHTS and in the hub's cache of their source.

    Args:
        part: The component. Where it names the folder itself, and not its pipeline does, the folder may be the model.
        place: A folder, or one of the files.
        fits: Tells files apart whose names say as much; without it the first goes.

    Returns:
        The weights; None for a folder that holds nothing of this component.

    Raises:
        WeightsError: A file is missing, or the reader refuses one; or several may be meant.
    """
    if not part.spec.reader:
        return None
    spec = spec_for(part)
    own = is_reference(str(getattr(part.config, "weights", "")))
    files = _named_file(spec, place) if place.is_file() else _named_folder(spec, place, own=own)
    if not any(entry.role in files for entry in _telling(spec)):
        return None
    return _the_one(part, _completed(part, files), place, None if place.is_file() else fits)


def find_installed(part: Part, fits: Fits | None = None) -> WeightFile | None:
    """Return official checkpoints from $REGIONKIT_WEIGHTS and the hub's cache, where all of them are there.

    Raises:
        WeightsError: The reader refuses a file; or several may be meant.
    """
    if not part.spec.reader or missing_installed(part):
        return None
    files = _installed(part)
    return _the_one(part, files, next(iter(files.values())), fits)


def _the_one(part: Part, files: Mapping[str, Path], place: Path, fits: Fits | None) -> WeightFile:
    """Read files, or those of the same names beside them that fit where they do not.

    Raises:
        WeightsError: As :func:`read_official`; or several fit, and nothing says which is meant.
    """
    choices = _alternatives(spec_for(part), files) if fits is not None else []
    if fits is None or len(choices) < 2:
        return read_official(part, files, place)
    fitting = []
    for one in choices:
        try:
            read = read_official(part, one, place)
        except WeightsError:
            continue  # one that cannot be read is told of where no other fits
        if fits(read):
            fitting.append(one)
        else:
            forget(part, one)
    if len(fitting) > 1:
        names = [str(path) for one in fitting for role, path in one.items() if _differs(role, fitting)]
        raise WeightsError(
            f"{len(fitting)} files may be the weights of {part.kind} '{part.name}', and nothing says which is meant",
            *names,
            f"name one of them: {part.kind}.weights: file:{names[0]}",
        )
    return read_official(part, fitting[0] if fitting else files, place)


def _differs(role: str, choices: Iterable[Mapping[str, Path]]) -> bool:
    return len({one[role] for one in choices}) > 1


def _alternatives(spec: ComponentSpec, files: Mapping[str, Path]) -> list[dict[str, Path]]:
    """Return files first, then the same with another one in the place of a role: it lies beside, its name says as much.

    One model in two formats, which differ by the ending alone, is no choice.
    """
    found = [dict(files)]
    for entry in _telling(spec):
        path = files.get(entry.role)
        pattern = next((name for name in entry.files if path is not None and path.match(name)), "")
        if path is None or not pattern:
            continue
        top = path.parents[len(PurePath(pattern).parts) - 1]
        stems = {path.with_suffix("")}
        for other in _matching(replace(entry, files=(pattern,)), top):
            if other.with_suffix("") not in stems and not other.samefile(path):
                stems.add(other.with_suffix(""))
                found.append({**files, entry.role: other})
    return found


def is_released(part: Part) -> bool:
    """Say whether weights were released for a part's options; what many models share makes none of them."""
    return any(not entry.shared and not entry.optional for entry in spec_for(part).checkpoints)


def missing_installed(part: Part) -> list[Checkpoint]:
    """Return the files of a component that are neither in $REGIONKIT_WEIGHTS nor in the hub's cache."""
    return missing_roles(spec_for(part), _installed(part))


def _installed(part: Part) -> dict[str, Path]:
    """Return what a component needs, and what it does without where that lies beside files that are its alone."""
    spec = spec_for(part)
    found = _elsewhere(part, [entry for entry in spec.checkpoints if not entry.optional])
    places = {found[entry.role].parent for entry in _telling(spec) if entry.role in found}
    optional = {entry.role for entry in spec.checkpoints if entry.optional}
    for place in sorted(places):
        beside = files_in(spec, place)
        found |= {role: path for role, path in beside.items() if role in optional and role not in found}
    return found


def _telling(spec: ComponentSpec) -> list[Checkpoint]:
    """Return the files that show that a component is there: what it needs and shares with none, else what it needs."""
    required = [entry for entry in spec.checkpoints if not entry.optional]
    return [entry for entry in required if not entry.shared] or required


def files_in(spec: ComponentSpec, folder: Path) -> dict[str, Path]:
    """Return the files of a component in a folder, by role; a sub-folder named after its kind or name goes first.

    Of a model in several files it is the folder that holds them.
    """
    own = [folder / spec.kind, folder / spec.name]
    inner = [path for place in (*own, folder) for path in sorted(place.glob("*"))]
    places = [*own, folder, *(path for path in inner if path.is_dir() and not path.name.startswith("."))]
    found: dict[str, Path] = {}
    for entry in spec.checkpoints:
        matches = (path for place in places if place.is_dir() for path in _matching(entry, place))
        first = next(matches, None)
        if first is not None:
            found[entry.role] = first
    return found


def installed_in(part: Part, folder: Path) -> dict[str, Path]:
    """Return what :func:`files_in` does, from the first place in a folder that holds the model which is meant.

    Models whose files have the same names are told apart by what they say of themselves, and only of an option that was
    written: one that was not takes whatever can be read. Nothing is returned where all there is are other models.
    """
    spec = spec_for(part)
    files = files_in(spec, folder)
    choices = {entry.when.partition("=")[0] for entry in part.spec.checkpoints if entry.when}
    if not choices or not files:
        return files
    written = {name: plain(getattr(part.config, name)) for name in choices & part.given}
    own = [folder / spec.kind, folder / spec.name]
    inner = [path for place in (*own, folder) for path in sorted(place.glob("*")) if path.is_dir()]
    found = (files_in(spec, path) for path in inner if not path.name.startswith(".") and path not in own)
    candidates = [files, *(one for one in found if any(entry.role in one for entry in _telling(spec)))]
    verdicts = ((one, _is_meant_by(part, one, written)) for one in candidates)
    right = next((one for one, verdict in verdicts if verdict), None)
    if right is not None:
        return right
    # Whoever wants files that cannot be read is told what is wrong with them.
    return files if _is_meant_by(part, files, written) is None else {}


def _is_meant_by(part: Part, files: Mapping[str, Path], written: Mapping[str, Any]) -> bool | None:
    """Say whether files are of the model that the written options name; None where they cannot be read."""
    try:
        said = said_by(part, files).config
    except WeightsError:
        return None
    if all(said.get(name, value) == value for name, value in written.items()):
        return True
    forget(part, files)
    return False


def role_of(spec: ComponentSpec, path: Path) -> str | None:
    """Return the role that a file or folder has by its name; an index has that of the file that it stands for."""
    path = path.absolute()  # "." has no name
    path = path.with_name(path.name.removesuffix(_INDEX)) if path.name else path
    return next((entry.role for entry in spec.checkpoints if any(map(path.match, entry.files))), None)


def missing_roles(spec: ComponentSpec, files: Mapping[str, Path]) -> list[Checkpoint]:
    """Return the files that a component needs and does not have."""
    return [entry for entry in spec.checkpoints if not entry.optional and entry.role not in files]


def describe_missing(entries: Iterable[Checkpoint]) -> list[str]:
    """Return one line a missing file: its role, its name and where it can be had."""
    return [
        f"missing {entry.role}: {' or '.join(entry.files)}" + (f", from {entry.source}" if entry.source else "")
        for entry in entries
    ]


def _named_file(spec: ComponentSpec, path: Path) -> dict[str, Path]:
    """Return the role of one file by its name, or the only one that is needed, with what lies beside it."""
    telling = _telling(spec)
    chosen = role_of(spec, path)
    chosen = telling[0].role if chosen is None and len(telling) == 1 else chosen
    if chosen is None:
        raise WeightsError(
            f"{path.name} is none of the files of {spec.kind} '{spec.name}'",
            files_text(spec),
            "give it one of these names, or convert it: toolkit weights convert --help",
        )
    return {**files_in(spec, path.parent), chosen: whole(path)}


def _named_folder(spec: ComponentSpec, folder: Path, *, own: bool) -> dict[str, Path]:
    """Return the files in a folder, by role; a model may be the folder itself.

    Args:
        spec: The component.
        folder: The folder.
        own: True where the folder was named for this component alone. It then is the only file that is needed, whatever
            it is called; otherwise it has to be called as the file is.
    """
    found, telling = files_in(spec, folder), _telling(spec)
    if any(entry.role in found for entry in telling):
        return found
    role = role_of(spec, folder.absolute())
    if role is None and own and len(telling) == 1:
        role = telling[0].role
    if role is not None and _is_model(folder):
        found[role] = folder
    return found


def _is_model(folder: Path) -> bool:
    """Say whether a folder holds weights under the names that the hub's own libraries give them."""
    single = ("model.safetensors", "pytorch_model.bin")
    names = [*single, *(f"{name}{_INDEX}" for name in single)]
    return any((folder / name).is_file() for name in names) or any(
        _PART.fullmatch(one.name) for one in folder.iterdir()
    )


def whole(path: Path) -> Path:
    """Return the folder for the index or a part of a model in several files, and any other path as it is."""
    return path.parent if path.name.endswith(_INDEX) or _PART.fullmatch(path.name) else path


def files_text(spec: ComponentSpec) -> str:
    """List the roles of a component with the names of their files."""
    listed = "; ".join(f"{entry.role}: {' or '.join(entry.files)}" for entry in spec.checkpoints)
    return f"its files are {listed}"


def _completed(part: Part, files: Mapping[str, Path]) -> dict[str, Path]:
    """Add roles from elsewhere, and refuse what is still incomplete."""
    spec = spec_for(part)
    complete = {**_elsewhere(part, missing_roles(spec, files)), **files}
    missing = missing_roles(spec, complete)
    if missing:
        there = ", ".join(f"{role} {path.name}" for role, path in sorted(files.items()))
        raise WeightsError(
            f"{spec.kind} '{spec.name}' needs more files than are there ({there})",
            *describe_missing(missing),
            f"fetch what can be fetched: toolkit weights pull {spec.name}",
        )
    return complete


def _elsewhere(part: Part, wanted: Iterable[Checkpoint]) -> dict[str, Path]:
    """Return files from $REGIONKIT_WEIGHTS, else from the hub's cache of their source; nothing is fetched."""
    found: dict[str, Path] = {}
    installed = [installed_in(part, folder) for folder in user_weight_folders() if folder.is_dir()]
    for entry in wanted:
        path = next((files[entry.role] for files in installed if entry.role in files), None) or cached(entry)
        if path is not None:
            found[entry.role] = path
    return found


def cached(entry: Checkpoint) -> Path | None:
    """Return where the hub's cache has a file; a repository of which it lacks the weights or some does not count."""
    try:
        path = locate(entry.source) if entry.source.startswith("hub:") else None
    except WeightsError:
        return None
    return None if path is not None and path.is_dir() and not holds_model(path, entry.files) else path


def holds_model(folder: Path, names: Iterable[str] = ()) -> bool:
    """Say whether a folder holds weights, whole, under the names of the hub's own libraries, or others."""
    inner = [path.name for path in folder.iterdir()]
    there = any(fnmatch(name, pattern) for name in inner for pattern in (*names, *HUB_WEIGHTS))
    return there and not _lacks_parts(inner)


def _lacks_parts(names: Iterable[str]) -> bool:
    """Say whether of a model in several files only some are there."""
    counts = Counter(match.group("stem", "total", "ending") for name in names if (match := _PART.fullmatch(name)))
    return any(count != int(total) for (_, total, _), count in counts.items())


def _matching(entry: Checkpoint, folder: Path) -> list[Path]:
    """Return what has a name of a file in a folder; a file in several parts has that of its index."""
    named = [path for name in entry.files for end in ("", _INDEX) for path in sorted(folder.glob(name + end))]
    # A link that leads nowhere is not there; a pipe or a device would be waited for.
    there = [path for path in named if not path.name.startswith(".") and (is_file(path) or path.is_dir())]
    return [whole(path) for path in there]
