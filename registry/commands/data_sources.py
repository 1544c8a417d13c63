"""What a user downloaded: folders, files and archives, and which files of a release are in them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import click

from regionkit.core.archives import ENDINGS, is_archive, unpack
from regionkit.core.errors import DataError, RunFailed
from regionkit.core.files import is_file, is_folder
from regionkit.core.spec import DataFile
from regionkit.registry.commands.data_files import found_at, is_wild

try:
    import fcntl
except ImportError:  # Windows: nobody is kept out
    fcntl = None  # type: ignore[assignment]

#: What an archive of pictures may hold; those of single files are far smaller.
_MAX_ENTRIES, _MAX_BYTES = 5_000_000, 4 << 40
#: Below a data set's folder: where archives are unpacked before their files are moved where they belong.
STAGING = ".unpacked"
#: Endings of archives that are not read.
_UNREAD = (".rar", ".7z", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".tzst")


@dataclass(slots=True)
class Tree:
    """Files that a user handed over, or that were unpacked.

    Attributes:
        root: The folder, or the one file.
        archive: The archive that they were unpacked from, so that they are moved rather than linked; else None.
        files: All files below it, sorted.
        folders: All folders below it, itself included, sorted.
    """

    root: Path
    archive: Path | None = None
    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    @property
    def own(self) -> bool:
        """Whether the toolkit unpacked them."""
        return self.archive is not None

    @classmethod
    def of(cls, root: Path, *, archive: Path | None = None) -> Tree:
        """Look through a folder once; links are followed, in circles once."""
        found, root = cls(root.absolute(), archive), root.absolute()
        if root.is_file():
            found.files.append(root)
            return found
        seen: set[str] = set()
        for folder, inner, names in os.walk(root, followlinks=True):
            real = os.path.realpath(folder)
            inner[:] = sorted(name for name in inner if name != STAGING) if real not in seen else []
            if real not in seen:
                seen.add(real)
                found.folders.append(Path(folder))
                found.files += [Path(folder, name) for name in sorted(names)]
        return found


@dataclass(frozen=True, slots=True)
class Match:
    """A file that was handed over and belongs to a release.

    Attributes:
        source: Where it is.
        below: Where it belongs, below the data set's folder, as ``DataFile.path`` is written.
    """

    source: Path
    below: str


def matches(tree: Tree, file: DataFile, others: Sequence[DataFile]) -> list[Match]:
    """Return what a tree holds of a file of a release.

    A path of the tree that ends as the release says is surest. A file that stands elsewhere is taken by its name alone
    where no other file of the release is called so, and pictures that lie in another folder where that folder itself
    was handed over.

    Raises:
        DataError: Several files have the name, and nothing says which is meant.
    """
    ups, parts = _parts(file.path)
    paths = tree.files if is_wild(file.path) else [*tree.files, *tree.folders]
    found = []
    for path in paths:
        below = _ending(path, parts, tree.root)
        if below:
            found.append(Match(path, ups + below))
    if found and not is_wild(file.path):
        return [_only(file, found)]
    return found or _by_name(tree, file, others)


def _parts(pattern: str) -> tuple[str, tuple[str, ...]]:
    """Split the leading ``../`` of a path off, and the rest into names."""
    names = pattern.split("/")
    ups = 0
    while names[ups] == "..":
        ups += 1
    return "../" * ups, tuple(name for name in names[ups:] if name)


def _ending(path: Path, parts: tuple[str, ...], root: Path) -> str:
    """Return the end of a path that a pattern means; empty where it means none."""
    names = path.parts[1:]
    if "**" not in parts:
        end = names[-len(parts) :]
        fits = len(end) == len(parts) and all(map(fnmatchcase, end, parts))
        return "/".join(end) if fits else ""
    at = parts.index("**")
    head, tail = parts[:at], tuple(part for part in parts[at + 1 :] if part != "**")
    if not all(map(fnmatchcase, names[len(names) - len(tail) :], tail)):
        return ""
    # Whatever is between: what comes first is looked for from the folder that was handed over on.
    first = len(root.parts) - 2 if head else len(root.parts) - 1
    for start in range(max(first, 0), len(names) - len(head) - len(tail) + 1):
        if all(map(fnmatchcase, names[start : start + len(head)], head)):
            return "/".join(names[start:])
    return ""


def _by_name(tree: Tree, file: DataFile, others: Sequence[DataFile]) -> list[Match]:
    """Return what has the name of a file and stands elsewhere."""
    name = file.path.rpartition("/")[2]
    twins = [one for one in others if one is not file and one.path.rpartition("/")[2] == name]
    if twins:
        return []
    if is_wild(file.path):
        folder = file.path.rpartition("/")[0]
        if not folder or is_wild(folder) or tree.own or "." not in name:  # any file at all may be in there
            return []
        direct = [path for path in tree.files if path.parent == tree.root and fnmatchcase(path.name, name)]
        return [Match(path, f"{folder}/{path.name}") for path in direct]
    found = [Match(path, file.path) for path in tree.files if path.name == name]
    return [_only(file, found)] if found else []


def _only(file: DataFile, found: Sequence[Match]) -> Match:
    """Return the one that is meant: files that are one are one.

    Raises:
        DataError: There are several.
    """
    different = {os.path.realpath(one.source): one for one in found}
    if len(different) > 1:
        listed = sorted(str(one.source) for one in different.values())
        raise DataError(
            f"{len(listed)} files could be {file.path}: {', '.join(listed[:4])}",
            "name the right one, or its folder, with --from",
        )
    return found[0]


def handed_over(paths: Sequence[Path], files: Sequence[DataFile], folder: Path) -> Iterator[Tree]:
    """Yield what a user handed over, archives unpacked below the data set's folder.

    An archive is unpacked where it is handed over by itself, or where a folder holds one that the release names; one
    whose files are all in their places already is passed over.

    Raises:
        DataError: A path is not there, or an archive is refused.
    """
    with ExitStack() as held:
        staging = _Staging(folder, held)
        for path in paths:
            if is_folder(path):
                tree = Tree.of(path)
                yield tree
                for inner in tree.files:
                    released = [one for one in files if one.archive and fnmatchcase(inner.name, one.archive)]
                    plain = all(matches(tree, one, files) for one in released)
                    if is_archive(inner) and released and not plain and _wanted(inner, released, folder):
                        yield staging.unpacked(inner)
            elif not is_file(path):
                raise DataError(f"--from {path}: there is no such file or folder")
            elif is_archive(path) and not any(fnmatchcase(path.name, one.path.rpartition("/")[2]) for one in files):
                released = [one for one in files if one.archive and fnmatchcase(path.name, one.archive)]
                if _wanted(path, released, folder):
                    yield staging.unpacked(path)
            else:
                yield Tree.of(path)
        staging.clear()


def unopened(paths: Sequence[Path]) -> str:
    """Return a hint about archives that were not looked into, empty where there are none."""
    for path in paths:
        if path.is_dir():
            closed = [one.name for one in Tree.of(path).files if is_archive(one) or one.suffix.lower() in _UNREAD]
            if closed:
                return f"archives in it were not opened ({', '.join(closed[:4])}): hand one over by itself with --from"
        elif path.suffix.lower() in _UNREAD:
            return f"archives that are read: {', '.join(ENDINGS)}; unpack others first, and hand the folder over"
    return ""


def _wanted(archive: Path, released: Sequence[DataFile], folder: Path) -> bool:
    """Say whether an archive has to be unpacked: it was begun with, or a file that is released in it is not there."""
    if not released or _staged(archive, folder).exists():
        return True
    return any(next(found_at(folder, one.path), None) is None for one in released)


def _staged(archive: Path, folder: Path) -> Path:
    """Return where an archive is unpacked; another version of it is unpacked elsewhere."""
    state = archive.stat()
    digest = hashlib.sha256(f"{archive.absolute()} {state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:8]
    return folder / STAGING / f"{archive.name}-{digest}"


class _Staging:
    """The place below a data set's folder where archives are unpacked, held by one command at a time.

    Args:
        folder: The data set's folder.
        held: Lets go of the place when the command ends, however it does.
    """

    def __init__(self, folder: Path, held: ExitStack) -> None:
        self._folder, self._held, self._is_held = folder, held, False

    def unpacked(self, archive: Path) -> Tree:
        """Unpack an archive, unless that was done and interrupted later; half of one is never there.

        Raises:
            DataError: It is refused.
            RunFailed: Another command unpacks here.
        """
        self._hold()
        target = _staged(archive, self._folder)
        if not target.exists():
            click.echo(f"unpacking {archive}", err=True)
            unpack(archive, target, max_bytes=_MAX_BYTES, max_entries=_MAX_ENTRIES)
        return Tree.of(target, archive=archive)

    def clear(self) -> None:
        """Remove what archives held beside the files of the release, now that those are in their places."""
        place = self._folder / STAGING
        if place.is_dir():
            self._hold()
            shutil.rmtree(place, ignore_errors=True)

    def _hold(self) -> None:
        if not self._is_held:
            self._held.enter_context(_holding(self._folder))
            self._is_held = True


@contextmanager
def _holding(folder: Path) -> Iterator[None]:
    """Keep other commands out of the place, and remove what was half unpacked when one was killed; the system lets go.

    Raises:
        RunFailed: Another command is in there.
    """
    place = folder / STAGING
    place.mkdir(parents=True, exist_ok=True)
    handle = os.open(place, os.O_RDONLY) if fcntl is not None else None
    try:
        if handle is not None:
            _lock(handle, folder)
        for half in place.glob(".*.part"):
            shutil.rmtree(half, ignore_errors=True)
        yield
    finally:
        if handle is not None:
            os.close(handle)
        with suppress(OSError):  # they are not empty
            place.rmdir()
            folder.rmdir()


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunFailed(
            f"another import unpacks archives in {folder}", "start this one again when that one has ended"
        ) from None
    except OSError:  # a file system without locks
        return
