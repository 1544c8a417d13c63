"""Where the official programs are: jars that the user has, looked for and looked over before anything is run."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from regionkit.core.files import sha256_of
from regionkit.plugins.caption_metrics.java.runtime import INSTALL, MissingJava

#: The variable that names a folder with jars.
FOLDER_VARIABLE = "REGIONKIT_JARS"


def find_jar(who: str, name: str, package_folder: str, option: str = "") -> Path:
    """Return the jar of an official program.

    Args:
        who: Who needs it, such as ``metric 'meteor'``.
        name: Its file name.
        package_folder: The folder that it has in the package pycocoevalcap and may have in $REGIONKIT_JARS.
        option: A file or folder from the options; empty where the user named none there.

    Raises:
        MissingJava: It is nowhere; the message says what to install.
    """
    if option:
        given = Path(option).expanduser()
        path = given if given.suffix == ".jar" else first_file(name, (given, given / package_folder))
        if path is None or not path.is_file():
            raise MissingJava(
                f"{who} needs the file '{name}'; option jar names '{option}', and it is not there",
                f"name the file or its folder, or leave the option out and: {INSTALL}",
            )
        return path.resolve()
    found = first_file(name, jar_folders(package_folder))
    if found is None:
        named = os.environ.get(FOLDER_VARIABLE)
        raise MissingJava(
            f"{who} needs the file '{name}' of the package 'pycocoevalcap', which is not installed",
            f"install it with: {INSTALL}",
            f"or name the folder that it is in: {FOLDER_VARIABLE}=FOLDER" + (f" (now {named})" if named else ""),
        )
    return found.resolve()


def jar_folders(package_folder: str) -> list[Path]:
    """Return the folders in which a program's jars may be: the user's, then that of the package pycocoevalcap."""
    folders = []
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        folders += [Path(named).expanduser(), Path(named).expanduser() / package_folder]
    # The package's code is never imported: it would start programs and write into its own folder.
    spec = find_spec("pycocoevalcap")
    places = spec.submodule_search_locations if spec is not None else None
    return folders + [Path(place) / package_folder for place in places or ()]


def first_file(name: str, folders: Iterable[Path]) -> Path | None:
    """Return the first file of that name in the folders; None where there is none."""
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def check_jar(who: str, path: Path, member: str, source: str) -> None:
    """Check that a jar is whole and is the program that it should be.

    Args:
        who: Who needs it.
        path: The jar.
        member: What must be in it: the name of an entry, or where the names of entries start.
        source: Where to get it again.

    Raises:
        MissingJava: It is cut short, or something else.
    """
    entries = _entries(str(path), path.stat().st_size)
    if entries is None:
        raise MissingJava(f"{who} needs {path}, which is no whole jar: it may be cut short", source)
    if not any(entry.startswith(member) for entry in entries):
        raise MissingJava(f"{who} needs {path}, which is another program: it has no {member}", source)


@lru_cache(maxsize=32)
def _entries(path: str, size: int) -> Sequence[str] | None:
    """Return the names of what is in a jar; None for a file that is no whole jar, whose directory is at its end."""
    try:
        with zipfile.ZipFile(path) as jar:
            return tuple(jar.namelist())
    except (OSError, zipfile.BadZipFile):
        return None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, computed once as long as the file stays the same."""
    state = path.stat()
    return _sha256(str(path), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=32)
def _sha256(path: str, size: int, modified: int) -> str:
    return sha256_of(Path(path))
