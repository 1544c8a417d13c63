"""A digest of source code, so that results and caches know which code made them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path


def digest_packages(modules: Iterable[str], extra: Iterable[str] = ()) -> str:
    """Return 16 hexadecimal digits over all ``.py`` files of these packages and some strings.

    A module that is a package stands for its whole folder, any other for its one file.
    """
    digest = hashlib.sha256()
    for module in sorted(modules):
        digest.update(f"{module}={_module_digest(module)}\n".encode())
    for text in extra:
        digest.update(f"{text}\n".encode())
    return digest.hexdigest()[:16]


@functools.cache
def _module_digest(module: str) -> str:
    """Digest one package or module; the code of a running process does not change, so once is enough."""
    spec = find_spec(module)
    if spec is None:
        return ""
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = [(path, folder) for folder in folders for path in sorted(folder.rglob("*.py"))]
    if not folders and spec.origin is not None:
        files = [(Path(spec.origin), Path(spec.origin).parent)]
    digest = hashlib.sha256()
    for path, folder in files:
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
