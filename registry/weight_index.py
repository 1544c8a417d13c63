"""Weight files by what they were trained for, read from their headers without torch and without their tensors."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from regionkit.core.errors import WeightsError, did_you_mean
from regionkit.core.weights import METADATA_KEY, WeightFile, WeightHeader, read_header
from regionkit.registry.registry import get_registry, user_weight_folders


@dataclass(frozen=True, slots=True)
class DamagedFile:
    """A weight file that cannot be read; ``header`` is there where at least its beginning could be."""

    path: Path
    error: WeightsError
    header: WeightHeader | None


class WeightIndex:
    """The weight files of some folders.

    Attributes:
        files: All sound files that carry our header.
        damaged: Files that are cut short or otherwise unreadable.
    """

    def __init__(self, files: list[WeightFile], damaged: list[DamagedFile]) -> None:
        self.files = files
        self.damaged = damaged

    @classmethod
    def scan(cls, folders: Iterable[Path]) -> WeightIndex:
        """Read the headers of all ``.safetensors`` files in and below these folders; a missing folder is empty."""
        files: list[WeightFile] = []
        damaged: list[DamagedFile] = []
        seen: set[Path] = set()
        for folder in folders:
            for path in sorted(folder.rglob("*.safetensors")):
                if path.resolve() in seen or path.name.startswith("."):
                    continue
                seen.add(path.resolve())
                try:
                    header = read_header(path)
                except WeightsError as error:
                    damaged.append(DamagedFile(path, error, _salvaged_header(path)))
                    continue
                if header is not None:
                    files.append(WeightFile(path, header))
        return cls(files, damaged)

    def find(
        self,
        kind: str,
        name: str,
        space: str | None = None,
        corruption: str | None = None,
        corpus: str | None = None,
    ) -> list[WeightFile]:
        """Return the files that were trained for all that is given; None asks for nothing in particular."""
        return [file for file in self.files if _fits(file.header, kind, name, space, corruption, corpus)]

    def find_damaged(
        self, kind: str, name: str, space: str | None = None, corruption: str | None = None, corpus: str | None = None
    ) -> list[DamagedFile]:
        """Return damaged files that would have been found, as far as can be told."""
        return [
            file
            for file in self.damaged
            if file.header is not None and _fits(file.header, kind, name, space, corruption, corpus)
        ]

    def named(self, name: str) -> WeightFile:
        """Return the file of a name, with or without ``.safetensors``.

        Raises:
            WeightsError: There is none, several, or it is damaged.
        """
        stem = name.removesuffix(".safetensors")
        every: list[WeightFile | DamagedFile] = [*self.files, *self.damaged]
        matches = sound([file for file in every if file.path.stem == stem])
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise WeightsError(
                f"several weight files are named '{name}': {', '.join(str(file.path) for file in matches)}",
                "say which with weights: file:PATH",
            )
        raise WeightsError(
            f"no weight file named '{name}'",
            did_you_mean(stem, [file.path.stem for file in self.files]),
            "a path is written file:PATH; see: toolkit weights list",
        )


def _fits(
    header: WeightHeader, kind: str, name: str, space: str | None, corruption: str | None, corpus: str | None
) -> bool:
    return (
        (header.kind, header.name) == (kind, name)
        and space in (None, header.space)
        and corruption in (None, header.corruption)
        and corpus in (None, header.corpus)
    )


def _salvaged_header(path: Path) -> WeightHeader | None:
    """Read what a damaged file was for; a file cut inside its tensors still says so."""
    try:
        with path.open("rb") as stream:
            length = struct.unpack("<Q", stream.read(8))[0]
            if length > path.stat().st_size:
                return None
            table = json.loads(stream.read(length))
        return WeightHeader(**json.loads(table["__metadata__"][METADATA_KEY]))
    except (OSError, ValueError, TypeError, KeyError, struct.error):
        return None


def with_recipe(broken: DamagedFile) -> WeightsError:
    """Return the error of a damaged file, with the recipe that makes it again where its header could be read."""
    recipe = broken.header.recipe if broken.header else ""
    return (
        WeightsError(broken.error.message, f"fetch it again, or make it again with: {recipe}")
        if recipe
        else broken.error
    )


def sound(files: Sequence[WeightFile | DamagedFile]) -> list[WeightFile]:
    """Return the files that lie in $REGIONKIT_WEIGHTS where any do: what a user puts there wins.

    Raises:
        WeightsError: One of those is damaged. Other weights are never taken in its place.
    """
    folders = [folder.resolve() for folder in user_weight_folders()]
    own = [file for file in files if any(file.path.resolve().is_relative_to(folder) for folder in folders)]
    for file in own or files:
        if isinstance(file, DamagedFile):
            raise with_recipe(file)
    return [file for file in own or files if isinstance(file, WeightFile)]


@functools.cache
def get_index() -> WeightIndex:
    """Return the process-wide index of $REGIONKIT_WEIGHTS and the plugins' folders.

    ``get_index.cache_clear()`` makes it look again, after weights were made.
    """
    return WeightIndex.scan(get_registry().weight_folders)


def open_reference(reference: str) -> WeightFile:
    """Return the weight file that ``file:PATH``, ``pkg:PACKAGE/PATH`` or the name of an indexed file means.

    Raises:
        WeightsError: It is not there, is damaged, or has no header of ours.
    """
    scheme, colon, rest = reference.partition(":")
    if not colon:
        return get_index().named(reference)
    if scheme == "file":
        path = Path(os.path.expanduser(rest))
    elif scheme == "pkg":
        path = _package_path(rest)
    else:
        raise WeightsError(
            f"weights '{reference}' cannot be read: '{scheme}:' is not supported here",
            "write auto, none, file:PATH, pkg:PACKAGE/PATH, or a name of: toolkit weights list",
        )
    if not path.is_file():
        near = [other.name for other in path.parent.glob("*.safetensors")] if path.parent.is_dir() else []
        raise WeightsError(
            f"there is no weight file {path}", did_you_mean(path.name, near), "see: toolkit weights list"
        )
    try:
        header = read_header(path)
    except WeightsError as error:
        raise with_recipe(DamagedFile(path, error, _salvaged_header(path))) from None
    if header is None:
        raise WeightsError(
            f"{path} does not say what it was trained for: it has no regionkit header",
            "only weights made by toolkit train, or converted for it, can be used",
        )
    return WeightFile(path, header)


def _package_path(text: str) -> Path:
    """Return the path of ``PACKAGE/PATH``, a file shipped inside an installed package."""
    package, _, inner = text.partition("/")
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise WeightsError(f"weights 'pkg:{text}': there is no package '{package}'")
    found = [Path(folder) / inner for folder in folders if (Path(folder) / inner).is_file()]
    return found[0] if found else Path(folders[0]) / inner


def content_hash(file: WeightFile) -> str:
    """Return 16 hexadecimal digits over the content of a weight file; read once for each version of the file."""
    status = file.path.stat()
    return _content_hash(file.path, status.st_mtime_ns, status.st_size)


@functools.cache
def _content_hash(path: Path, modified: int, size: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
