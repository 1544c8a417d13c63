"""Where data files are: as the path says, or below $REGIONKIT_DATA."""

from __future__ import annotations

import os
from pathlib import Path

from regionkit.core.errors import DataError

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


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # longer than a file's name can be, a folder that may not be read, links in a circle
        return False


def _what(path: Path) -> str:
    return "a folder" if path.is_dir() else "a pipe or a device"
