"""Folders of models that a decoder reads, as the Hugging Face hub has them."""

from __future__ import annotations

import os
from pathlib import Path

from regionkit.core.errors import WeightsError
from regionkit.core.files import is_folder
from regionkit.core.language.options import FILE

#: Folders of weights, separated as in $PATH.
_VARIABLE = "REGIONKIT_WEIGHTS"


def model_folder(value: str, option: str, released: str, who: str) -> Path:
    """Return the folder that ``file:FOLDER`` means: as the path says, or in a folder of $REGIONKIT_WEIGHTS.

    Args:
        value: What was asked for.
        option: Its option, for messages.
        released: A repository of the hub that has such a model: that of the release, or ``ORG/NAME``.
        who: Whose it is, for messages: ``decoder 'NAME'``.

    Raises:
        WeightsError: There is no such folder.
    """
    path = Path(os.path.expanduser(value.removeprefix(FILE)))
    roots = os.environ.get(_VARIABLE, "").split(os.pathsep)
    places = [path, *(Path(root) / path for root in roots if root and not path.is_absolute())]
    for place in places:
        if is_folder(place):
            return place
    raise WeightsError(
        f"{who}: {option}: {value}: there is no such folder",
        f"looked for: {' and '.join(str(place.absolute()) for place in places)}",
        f"fetch the whole repository from the Hugging Face hub: hf download {released} --local-dir FOLDER",
    )
