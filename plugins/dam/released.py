"""What the readers of a release share: the options beside its tensors, and a name for what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from regionkit.core.errors import WeightsError
from regionkit.core.files import is_folder

AGAIN = "fetch it again, or name another file"


def beside(path: Path, *nests: str) -> Mapping[str, Any] | None:
    """Return the ``config.json`` in a folder or beside a file, from one level down where one of ``nests`` is there.

    Raises:
        WeightsError: It cannot be read.
    """
    place = (path if is_folder(path) else path.parent) / "config.json"
    if not place.is_file():
        return None
    try:
        said = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{place}: it is no JSON: {type(error).__name__}", AGAIN) from None
    for nest in nests:
        said = said.get(nest, said) if isinstance(said, dict) else said
    if not isinstance(said, dict):
        raise WeightsError(f"{place}: it holds a {type(said).__name__}, and no options by name", AGAIN)
    return said


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """Return a short name for a release from some of its float32 tensors: two releases write two spaces."""
    seen = hashlib.sha256()
    for tensor in tensors:
        seen.update(tensor.contiguous().numpy().tobytes())
    return seen.hexdigest()[:8]
