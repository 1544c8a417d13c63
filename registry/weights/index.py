"""Weight files by what they were trained for, read from their headers without torch and without their tensors."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from regionkit.core.errors import WeightsAbsent, WeightsError, did_you_mean
from regionkit.core.files import is_file, sha256_of
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
        seen: set[str] = set()
        for folder in folders:
            for path in sorted(folder.rglob("*.safetensors")):
                # What is hidden is being made or fetched just now; a pipe would be waited for.
                hidden = any(name.startswith(".") for name in path.relative_to(folder).parts)
                real = os.path.realpath(path)
                if hidden or real in seen or (os.path.exists(path) and not is_file(path)):
                    continue
                seen.add(real)
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
        known = self._by_part.get((kind, name), ())
        return [file for file in known if _fits(file.header, kind, name, space, corruption, corpus)]

    @functools.cached_property
    def _by_part(self) -> dict[tuple[str, str], list[WeightFile]]:
        found: dict[tuple[str, str], list[WeightFile]] = {}
        for file in self.files:
            found.setdefault((file.header.kind, file.header.name), []).append(file)
        return found

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
            WeightsAbsent: There is none.
            WeightsError: There are several, or it is damaged.
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
        raise WeightsAbsent(
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
    own = [
        file for file in files if any(Path(os.path.realpath(file.path)).is_relative_to(folder) for folder in folders)
    ]
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


def open_file(path: Path) -> WeightFile | None:
    """Return a weight file of ours; None for a file or folder that has no header of ours.

    Raises:
        WeightsError: It is a damaged safetensors file.
    """
    if path.is_dir() or path.suffix != ".safetensors":
        return None
    try:
        header = read_header(path)
    except WeightsError as error:
        raise with_recipe(DamagedFile(path, error, _salvaged_header(path))) from None
    return WeightFile(path, header) if header is not None else None


def content_hash(file: WeightFile) -> str:
    """Return 16 hexadecimal digits over the content of weights; each version of a file is read once."""
    if not file.files:
        return sha256_of(file.path)[:16]
    inner = [(role, one) for role, path in sorted(file.files.items()) for one in files_of(path)]
    return hashlib.sha256("".join(f"{role}={sha256_of(path)[:16]};" for role, path in inner).encode()).hexdigest()[:16]


def files_of(path: Path) -> list[Path]:
    """Return a file itself, or all files of a folder."""
    return sorted(inner for inner in path.rglob("*") if inner.is_file()) if path.is_dir() else [path]
