"""What the readers of a release share: a name for what its tensors are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from torch import Tensor

AGAIN = "fetch it again, or name another file"


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """Return a short name for a release from some of its float32 tensors: two releases write two spaces."""
    seen = hashlib.sha256()
    for tensor in tensors:
        seen.update(tensor.contiguous().numpy().tobytes())
    return seen.hexdigest()[:8]
