"""Released files and folders that options name beside the weights, such as a parser that a decoder runs."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regionkit.core.errors import WeightsAbsent, WeightsError
from regionkit.core.files import sha256_of
from regionkit.core.spec import RELEASED, Checkpoint
from regionkit.registry.registry import user_weight_folders
from regionkit.registry.schema import Part
from regionkit.registry.weights.index import files_of
from regionkit.registry.weights.official import cached, files_in, holds_model
from regionkit.registry.weights.reading import pin_of
from regionkit.registry.weights.references import check_hash, locate, parse_reference

#: The folder among weights in which these files go: a model that lies there is not taken for another part's.
BESIDE = "beside"
#: What is said where nobody knows how large a file is.
UNKNOWN_SIZE = "size not known"


@dataclasses.dataclass(frozen=True)
class OptionFile:
    """A file, or folder, that an option asks for.

    Attributes:
        path: Where it is; a repository in the hub's cache lies in a folder named after a commit.
        name: What its release calls it.
    """

    path: Path
    name: str

    @functools.cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over its content; each version of a file is read once."""
        try:
            if not self.path.is_dir():
                return sha256_of(self.path)[:16]
            inner = files_of(self.path)
            listed = "".join(f"{one.relative_to(self.path).as_posix()}={sha256_of(one)};" for one in inner)
        except OSError as error:
            raise WeightsError(f"{self.path} cannot be read: {error.strerror or error}") from None
        return hashlib.sha256(listed.encode()).hexdigest()[:16]


def asked_for(part: Part) -> tuple[Checkpoint, ...]:
    """Return the files that the options of a part ask for by the word ``released``."""
    return tuple(entry for entry in part.spec.option_files if getattr(part.config, entry.role, None) == RELEASED)


def find_options(part: Part, out: Path | None = None) -> dict[str, Path]:
    """Return what is here of the released files that options may ask for, by option.

    Args:
        part: The component.
        out: A folder to look in before the pipeline's own, those of the user, and the hub's cache.
    """
    spec = dataclasses.replace(part.spec, checkpoints=part.spec.option_files)
    found: dict[str, Path] = {}
    for folder in (*([out] if out is not None else []), *_own_folder(part), *user_weight_folders()):
        for place in (folder / BESIDE, folder):
            here = files_in(spec, place) if place.is_dir() and os.access(place, os.R_OK | os.X_OK) else {}
            whole = (entry.role for entry in spec.checkpoints if _is_whole(entry, here.get(entry.role)))
            found = {**{role: here[role] for role in whole}, **found}
    rest = {entry.role: path for entry in spec.checkpoints if (path := cached(entry)) is not None}
    return {**rest, **found}


def _own_folder(part: Part) -> list[Path]:
    """Return the folder of the part's pipeline; none where it names none, or a repository that is not here yet."""
    try:
        return [locate(part.folder)] if part.folder else []
    except WeightsError:
        return []


def _is_whole(entry: Checkpoint, path: Path | None) -> bool:
    """Say whether what has the name of a file is one, and what has that of a repository a folder with a model."""
    if path is None:
        return False
    is_folder = entry.source.startswith("hub:") and not parse_reference(entry.source).inner
    if path.is_dir() != is_folder or not os.access(path, os.R_OK):
        return False
    return not is_folder or holds_model(path)


def locate_option(part: Part, entry: Checkpoint) -> OptionFile:
    """Return where a file is that an option of a part asks for.

    Raises:
        WeightsAbsent: It is not here.
        WeightsError: It has another hash than its component pins.
    """
    path, who = find_options(part).get(entry.role), f"{part.kind} '{part.name}'"
    if path is None:
        raise WeightsAbsent(
            f"no released {entry.role} of {who} here",
            described(entry.files, entry.source, entry.license, entry.size),
            "get it with the pipeline: toolkit weights pull, and its preset or file",
            f"or name another: {part.kind}.{entry.role}: file:PATH",
        )
    if pin := pin_of(entry):
        check_hash(path, pin, f"{who}, {entry.role}")
    return OptionFile(path, path.name if path.name in entry.files else entry.files[0])


def with_files(config: Any, files: Mapping[str, OptionFile]) -> Any:
    """Return a config in which ``file:PATH`` stands where an option asked for a released file."""
    options = {option: f"file:{file.path}" for option, file in files.items()}
    return dataclasses.replace(config, **options) if options else config


def described(names: Sequence[str], source: str, licence: str, size: str) -> str:
    """Say of a released file how it is called, where it can be had, its licence and size."""
    called = " or ".join(names) or "all of it"
    return f"{called}, from {source}; licence {licence or 'not known'}, {size or UNKNOWN_SIZE}"
