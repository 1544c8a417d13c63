"""Weights as their authors released them: finding the files of a component by their names, and reading them."""

from __future__ import annotations

import functools
import importlib
import json
import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regionkit.core.errors import RegionkitError, WeightsError
from regionkit.core.files import is_file
from regionkit.core.spec import PARTS, Checkpoint, ComponentSpec
from regionkit.core.weights import WeightFile, WeightHeader
from regionkit.registry.registry import user_weight_folders
from regionkit.registry.schema import Part, owner_text
from regionkit.registry.values import plain
from regionkit.registry.weights.index import files_of
from regionkit.registry.weights.references import check_hash, is_reference, locate, parse_reference

if TYPE_CHECKING:
    from torch import Tensor

    from regionkit.core.contracts import WeightArtifact

#: Weights of a repository, the surest first, under the names that the hub's own libraries give them.
HUB_WEIGHTS = ("model.safetensors", "model-*.safetensors", "pytorch_model.bin", "pytorch_model-*.bin", "*.safetensors")
#: Names of the parts of a model in several files, and of the file that says which tensor lies in which.
_PART = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<total>\d{5})(?P<ending>\.safetensors|\.bin)")
_INDEX = ".index.json"


@dataclass(frozen=True, slots=True)
class _Question:
    """What a reader is asked for.

    Attributes:
        reader: Its name.
        options: The options as JSON; a config may hold what cannot be hashed.
        versions: Role, path and version of each file.
        config: The options.
        owner: Who brings the reader.
    """

    reader: str
    options: str
    versions: tuple[tuple[str, Path, int, int], ...]
    config: Any = field(compare=False)
    owner: str = field(compare=False)


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
        part: The component. Where it names the folder itself, and not its pipeline does, the folder may be the model.
        place: A folder, or one of the files.

    Returns:
        The weights; None for a folder that holds nothing of this component.

    Raises:
        WeightsError: A file is missing, or the reader refuses one.
    """
    if not part.spec.reader:
        return None
    spec = spec_for(part)
    own = is_reference(str(getattr(part.config, "weights", "")))
    files = _named_file(spec, place) if place.is_file() else _named_folder(spec, place, own=own)
    if not any(entry.role in files for entry in _telling(spec)):
        return None
    return read_official(part, _completed(part, files), place)


def find_installed(part: Part) -> WeightFile | None:
    """Return official checkpoints from $REGIONKIT_WEIGHTS and the hub's cache, where all of them are there.

    Raises:
        WeightsError: The reader refuses a file.
    """
    if not part.spec.reader or missing_installed(part):
        return None
    files = _installed(part)
    return read_official(part, files, next(iter(files.values())))


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
    question = _question(part, files)
    try:
        said = _header(question).config
    except WeightsError:
        return None
    if all(said.get(name, value) == value for name, value in written.items()):
        return True
    _made.pop(question, None)  # nobody will take its tensors
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


def check_pins(spec: ComponentSpec, files: Mapping[str, Path]) -> None:
    """Check that files have the hashes that their component pins; each version of a file is read once.

    Raises:
        WeightsError: One has another hash.
    """
    for entry in spec.checkpoints:
        pin = pin_of(entry)
        if pin and entry.role in files:
            check_hash(files[entry.role], pin, f"{spec.kind} '{spec.name}', {entry.role}")


def pin_of(entry: Checkpoint) -> str:
    """Return the hash that a file must have, as it is written beside its source or in it; empty for any."""
    return entry.sha256 or (parse_reference(entry.source).sha256 if entry.source.startswith("hub:") else "")


def read_official(
    part: Part, files: Mapping[str, Path], place: Path, originals: Mapping[str, Path] | None = None
) -> WeightFile:
    """Read official checkpoints with the component's own reader.

    The header is kept while the files stay as they are. The tensors are kept until they are taken, and made again for
    who asks once more: a plan that is never built should not hold a model in memory.

    Args:
        part: The component.
        files: Paths by role.
        place: The file or folder that they are known by.
        originals: What they were made of, where they are no released files themselves.

    Raises:
        WeightsError: A file has another hash than the component pins, or the reader refuses one.
    """
    check_pins(spec_for(part), originals or files)
    question = _question(part, files)
    return WeightFile(place, _header(question), dict(files), functools.partial(_take, question))


def _question(part: Part, files: Mapping[str, Path]) -> _Question:
    versions = tuple((role, path, *_version(path)) for role, path in sorted(files.items()))
    options = json.dumps(part.to_dict(), default=str)
    return _Question(part.spec.reader, options, versions, part.config, owner_text(part.spec))


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
    module, _, name = question.reader.partition(":")
    files = {role: path for role, path, *_ in question.versions}
    try:
        artifact: WeightArtifact = getattr(importlib.import_module(module), name)(files, question.config)
    except RegionkitError:
        raise
    except Exception as error:  # a stranger's reader, or a checkpoint of a shape that it never met
        raise WeightsError(
            f"{', '.join(str(path) for path in files.values())}: cannot be read: {type(error).__name__}: {error}",
            "the files may be damaged or of another model; "
            f"otherwise this is a fault of {question.owner}: {question.reader}",
        ) from error
    return artifact


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


def _version(path: Path) -> tuple[int, int]:
    """Return what changes when a file, or a file of a folder, does."""
    status = [inner.stat() for inner in files_of(path)]
    return max((one.st_mtime_ns for one in status), default=0), sum(one.st_size for one in status)
