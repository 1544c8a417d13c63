"""Official checkpoints into one file of ours: which file is which, safe reading first, then the part's own reader."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regionkit.core.errors import RunFailed, UnknownName, WeightsError, did_you_mean
from regionkit.core.files import PICKLE_FILES
from regionkit.core.spec import KINDS, ComponentSpec, Space
from regionkit.core.weights import UNNAMED, WeightFile, WeightHeader, write_weights
from regionkit.registry.merging import apply_override
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import Part, fill
from regionkit.registry.weights.official import describe_missing, files_in, files_text, missing_roles, role_of, whole
from regionkit.registry.weights.reading import read_official

if TYPE_CHECKING:
    from torch import Tensor

#: Classes of which a pickled config may consist; only their fields are read.
CONFIG_CLASSES = ("transformers.*Config", "argparse.Namespace", "types.SimpleNamespace")
_NO_LICENSE = WeightHeader("", "").license


@dataclass(frozen=True, slots=True)
class Stated:
    """What the user says of weights that do not say it themselves; empty strings say nothing."""

    space: str = ""
    corpus: str = ""
    corruption: str = ""
    license: str = ""


def find_component(text: str) -> ComponentSpec | None:
    """Return the component that ``NAME`` or ``KIND/NAME`` means; None where there is none.

    Raises:
        WeightsError: Several kinds have a component of that name.
        UnknownName: The kind is one, and has none of that name.
    """
    kind, slash, name = text.partition("/")
    registry = get_registry()
    if slash and kind in KINDS:
        return registry.find(kind, name)
    every = [spec for spec in registry.specs() if spec.name == text]
    with_reader = [spec for spec in every if spec.reader]
    found = with_reader or every
    if len(found) > 1:
        names = ", ".join(f"{spec.kind}/{spec.name}" for spec in found)
        raise WeightsError(f"several components are named '{text}'", f"write one of: {names}")
    return found[0] if found else None


def part_of(spec: ComponentSpec, overrides: Sequence[str] = ()) -> Part:
    """Return a component with ``option=value`` strings, or ``KIND.option=value``, laid over its defaults.

    Raises:
        ConfigError: An option is unknown, or a value is none of its.
    """
    data: dict[str, Any] = {"part": {"name": spec.name}}
    lines: dict[str, str] = {}
    for text in overrides:
        data = apply_override(data, lines, f"part.{text.removeprefix(f'{spec.kind}.')}")
    part = fill(spec.kind, data["part"], lambda path: "--set" if path != spec.kind else "")
    assert part is not None  # without a list to take them, mistakes are raised
    return part


def unknown_component(text: str) -> UnknownName:
    """Return the error of a word that names neither a component nor a file."""
    registry = get_registry()
    readers = [spec.name for spec in registry.specs() if spec.reader]
    return UnknownName(
        f"'{text}' is neither a component nor a file",
        did_you_mean(text, [spec.name for spec in registry.specs()]),
        f"components with a released layout: {', '.join(readers)}" if readers else "",
        *registry.skipped(),
    )


def match_files(spec: ComponentSpec, paths: Sequence[Path], named: Mapping[str, Path]) -> dict[str, Path]:
    """Say which file is which.

    Args:
        spec: The component.
        paths: Files, matched by their names, and folders that hold them. One file of another name is the one role that
            is left, if there is only one that is needed.
        named: Paths by role, as the user named them.

    Raises:
        WeightsError: A role does not exist, a file is none of its files or one of two for a role, or one is missing.
    """
    roles = {entry.role: entry for entry in spec.checkpoints}
    for role in named:
        if role not in roles:
            raise WeightsError(
                f"{spec.kind} '{spec.name}' has no file '{role}'", did_you_mean(role, roles), files_text(spec)
            )
    found = dict(named)
    strange: list[Path] = []
    for path in paths:
        if not path.exists():
            raise WeightsError(f"there is no file {path}")
        held = _roles_of(spec, path)
        for role, one in held.items():
            if role in found and found[role] != one:
                raise WeightsError(
                    f"{found[role]} and {one} are both '{role}' of {spec.kind} '{spec.name}'",
                    f"say which: --role {role}=PATH",
                )
            found[role] = one
        if not held and whole(path) not in strange:
            strange.append(whole(path))
    left = [entry.role for entry in spec.checkpoints if entry.role not in found and not entry.optional]
    if len(strange) == 1 and len(left) == 1:
        found[left[0]] = strange.pop()
    if strange:
        raise WeightsError(
            f"{strange[0]} is none of the files of {spec.kind} '{spec.name}' by its name",
            files_text(spec),
            f"say which it is: --role ROLE={strange[0]}",
        )
    lacking = missing_roles(spec, found)
    if lacking:
        raise WeightsError(f"{spec.kind} '{spec.name}' needs more files than were given", *describe_missing(lacking))
    return found


def _roles_of(spec: ComponentSpec, path: Path) -> dict[str, Path]:
    """Return the role that a file has by its name, or those of the files in a folder.

    A pickle is read as the JSON that it could have been.
    """
    role = role_of(spec, path.with_suffix(".json") if path.suffix in PICKLE_FILES else path)
    if role is None and path.is_dir():
        pickles = [inner for ending in PICKLE_FILES for inner in sorted(path.rglob(f"*{ending}"))]
        return {role: pickle for pickle in pickles for role in _roles_of(spec, pickle)} | files_in(spec, path)
    return {} if role is None else {role: whole(path)}


def convert(
    part: Part, files: Mapping[str, Path], stated: Stated, recipe: str
) -> tuple[dict[str, Tensor], WeightHeader]:
    """Return the component's own tensors and a complete header.

    Args:
        part: The component with the options that its reader is to know.
        files: Paths by role.
        stated: What the files do not say.
        recipe: The command that makes the file again.

    Raises:
        WeightsError: The reader refuses a file, a pickle names more than harmless types, or the files say another
            space than the user does.
    """
    with readable(files) as safe:
        try:
            read = read_official(part, safe, next(iter(safe.values())), files)
        except WeightsError as error:
            raise _about_originals(error, files, safe) from None
    return read.tensors(), complete(part.spec, read.header, files, stated, recipe)


def complete(
    spec: ComponentSpec, header: WeightHeader, files: Mapping[str, Path], stated: Stated, recipe: str
) -> WeightHeader:
    """Fill in what a reader could not know: the user's words, the licences of the files, the command."""
    used = [entry.license for entry in spec.checkpoints if entry.role in files and entry.license]
    licence = header.license if header.license != _NO_LICENSE or not used else " and ".join(dict.fromkeys(used))
    return replace(
        header,
        space=_space(header.space, stated.space),
        corpus=stated.corpus or header.corpus,
        corruption=stated.corruption or header.corruption,
        license=stated.license or licence,
        recipe=header.recipe or recipe,
    )


def recipe_of(spec: ComponentSpec, files: Mapping[str, Path], out: Path, more: Sequence[str] = ()) -> str:
    """Return the command that converts files again; they are named without folders, which differ from disk to disk."""
    words = ["toolkit", "weights", "convert", f"{spec.kind}/{spec.name}"]
    words += [word for role, path in files.items() for word in ("--role", f"{role}={path.name}")]
    return shlex.join([*words, "--out", out.name, *more])


def _space(own: str, stated: str) -> str:
    """Join what the files say of their space with what the user says."""
    if not stated:
        return own
    try:
        wanted = Space.parse(stated)
    except ValueError as error:
        raise WeightsError(f"--space: {error}") from None
    if not own or own == stated:
        return stated
    said = Space.parse(own)
    if said.name == UNNAMED and said.dim == wanted.dim:
        return stated
    what = f"are {said.dim} wide" if said.name == UNNAMED else f"say that they are for {own}"
    raise WeightsError(f"--space {stated}: the files {what}", "leave --space out, or give the one that is true")


@contextmanager
def readable(files: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Yield files that a reader opens without running anything.

    Pickled configs become JSON files that live until the end of the block. All other files stay what they are.
    """
    with tempfile.TemporaryDirectory(prefix="regionkit-") as folder:
        yield {role: _readable(path, Path(folder) / role) for role, path in files.items()}


def _readable(path: Path, folder: Path) -> Path:
    from regionkit.core.unpickling import plain, read_pickle

    if path.suffix not in PICKLE_FILES:
        return path
    value = plain(read_pickle(path, records=CONFIG_CLASSES), path)
    folder.mkdir()
    result = folder / f"{path.stem}.json"
    result.write_text(json.dumps(value), encoding="utf-8")
    return result


def _about_originals(error: WeightsError, files: Mapping[str, Path], safe: Mapping[str, Path]) -> WeightsError:
    """Let an error name the user's files instead of what was made of them for a moment."""

    def renamed(text: str) -> str:
        for role, path in safe.items():
            text = text.replace(str(path), str(files[role]))
        return text

    return WeightsError(renamed(error.message), *(renamed(hint) for hint in error.hints))


def save(path: Path, tensors: Mapping[str, Tensor], header: WeightHeader, *, half: bool = False) -> WeightFile:
    """Write a weight file, and let the index find it.

    Raises:
        RunFailed: The disk refuses it.
    """
    from safetensors import SafetensorError

    from regionkit.registry.weights.index import get_index

    try:
        write_weights(path, tensors, header, half=half)
    except (OSError, SafetensorError) as error:  # safetensors wraps what the system says in a type of its own
        raise RunFailed(
            f"{path}: the weights could not be written: {error}", "make room, or choose another --out"
        ) from None
    get_index.cache_clear()
    return WeightFile(path, header)
