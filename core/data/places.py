"""Where data files are: as the path says, or below $REGIONKIT_DATA."""

from __future__ import annotations

import os
from pathlib import Path

from regionkit.core.errors import DataError
from regionkit.core.files import is_folder

#: The variable that names the folder of data sets.
DATA_VARIABLE = "REGIONKIT_DATA"


def data_file(name: str) -> Path:
    """Return the regular file that a path means: relative to the working folder, then to $REGIONKIT_DATA.

    Raises:
        DataError: It is in neither, or is no regular file; both places are named.
    """
    path = Path(os.path.expanduser(name))  # Path.expanduser raises for a user that does not exist
    root = os.environ.get(DATA_VARIABLE, "")
    places = [path]
    if root and not path.is_absolute():
        places.append(Path(root) / path)
    for place in places:
        if _exists(place):
            if not place.is_file():
                raise DataError(f"{place}: this is {_what(place)}, not a file of sentences")
            return place
    looked = " and ".join(str(place.absolute()) for place in places)
    hint = "" if root or path.is_absolute() else f"data below another folder are found with: export {DATA_VARIABLE}=DIR"
    raise DataError(f"{name}: no such file", f"looked for: {looked}", hint)


def data_folder(root: str, folder: str, name: str) -> Path:
    """Return the folder of a data set: the one that its option ``root`` names, or its own below $REGIONKIT_DATA.

    Args:
        root: A path, relative to the working folder, then to $REGIONKIT_DATA; empty for the data set's own folder.
        folder: Its own folder.
        name: The data set.

    Raises:
        DataError: It is not there; the message says where it was looked for.
    """
    data = os.environ.get(DATA_VARIABLE, "")
    places = [Path(os.path.expanduser(root))] if root else []
    if data:
        places.append(Path(os.path.expanduser(data)) / (root or folder))
    for place in places:
        if is_folder(place):
            return place
    looked = " and ".join(str(place.absolute()) for place in places)
    raise DataError(
        f"data set '{name}' is not here: " + (f"no folder {looked}" if looked else f"{DATA_VARIABLE} is not set"),
        f"what it needs and where to get it: toolkit data list {name}",
        "" if data else f"data below one folder are found with: export {DATA_VARIABLE}=DIR",
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # longer than a file's name can be, a folder that may not be read, links in a circle
        return False


def _what(path: Path) -> str:
    return "a folder" if path.is_dir() else "a pipe or a device"
