"""The pretrained language model that a prefix decoder starts from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from regionkit.core.errors import WeightsError
from regionkit.core.files import is_folder
from regionkit.core.language.models import Naming, ReleasedModel, load_tensors, new_model, read_folder
from regionkit.core.language.options import FILE

#: Folders of weights, separated as in $PATH.
_VARIABLE = "REGIONKIT_WEIGHTS"


def start_model(start: str, naming: Naming, who: str) -> tuple[ReleasedModel, Any]:
    """Read a language model to start from.

    Args:
        start: ``file:FOLDER``, a folder as the Hugging Face hub has it, relative to the working folder, then to the
            folders of $REGIONKIT_WEIGHTS.
        naming: Which kind of model it has to be.
        who: Whose it is to be, for messages: ``decoder 'NAME'``.

    Returns:
        What the folder says, and the model with its weights.

    Raises:
        WeightsError: The folder is missing, damaged, or of another kind of model.
    """
    folder = _folder(start, who)
    found = read_folder(folder, naming, who)
    model = new_model(naming, found.config, str(folder))
    load_tensors(model, found.tensors, folder)
    return found, model


def _folder(start: str, who: str) -> Path:
    path = Path(start.removeprefix(FILE)).expanduser()
    roots = os.environ.get(_VARIABLE, "").split(os.pathsep)
    places = [path, *(Path(root) / path for root in roots if root and not path.is_absolute())]
    for place in places:
        if is_folder(place):
            return place
    raise WeightsError(
        f"{who}: start: {start}: there is no such folder",
        f"looked for: {' and '.join(str(place.absolute()) for place in places)}",
        "fetch the whole repository of the model from the Hugging Face hub: hf download ORG/NAME --local-dir FOLDER",
    )
