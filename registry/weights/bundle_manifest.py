"""The manifest of a bundle: which files it holds, with their hashes, licences and where they came from."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

from regionkit.core.archives import safe_name
from regionkit.core.errors import DataError, WeightsError
from regionkit.core.files import sha256_of

MANIFEST = "weights.json"
PIPELINE = "pipeline.yaml"
#: Files up to this size are hashed where weights are only listed.
_CHEAP = 64 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One weight file of a bundle.

    Attributes:
        file: Path inside the bundle.
        kind: Kind of the part.
        name: Its name.
        space: Space that the weights were trained in, empty where they do not say it.
        sha256: Hash of the file.
        bytes: Its size.
        license: Licence of the weights.
        source: Where they came from: file names, and addresses where they are known.
        recipe: Command that makes them again.
    """

    file: str
    kind: str
    name: str
    space: str
    sha256: str
    bytes: int
    license: str
    source: str
    recipe: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``weights.json`` says.

    Attributes:
        files: The weight files.
        sizes: Bytes of every file that the bundle may hold beside the manifest: the weights, and the pipeline.
        hashes: Their SHA-256.
    """

    files: list[Entry]
    sizes: dict[str, int]
    hashes: dict[str, str]


def read_manifest(path: Path, name: str) -> Manifest:
    """Read the manifest of a bundle.

    Raises:
        WeightsError: It is no manifest, or names a file outside the folder.
    """
    try:
        return parse_manifest(path.read_bytes(), name)
    except OSError as error:
        raise _unreadable(name, error) from None


def parse_manifest(text: bytes, name: str) -> Manifest:
    """Read the text of a manifest, in which ``name`` is the bundle, for messages.

    Raises:
        WeightsError: As for :func:`read_manifest`.
    """
    try:
        data = json.loads(text.decode("utf-8"))
        entries = [Entry(**entry) for entry in data["files"]]
        listed = [(entry.file, entry.bytes, entry.sha256) for entry in entries]
        if "pipeline" in data:
            listed.append((PIPELINE, data["pipeline"]["bytes"], data["pipeline"]["sha256"]))
        for file, size, sha256 in listed:
            safe_name(Path(name), file)
            if type(size) is not int or size < 0 or not isinstance(sha256, str):
                raise ValueError(f"{file} has no size or no hash")
    except RecursionError:
        raise _unreadable(name, "it is nested too deep") from None
    except (ValueError, KeyError, TypeError, AttributeError, DataError) as error:
        raise _unreadable(name, error) from None
    return Manifest(entries, {file: size for file, size, _ in listed}, {file: sha256 for file, _, sha256 in listed})


def _unreadable(name: str, reason: object) -> WeightsError:
    return WeightsError(f"{name}: its {MANIFEST} cannot be read: {reason}", "fetch the bundle again")


def status_in_bundle(path: Path) -> str:
    """Say what is wrong with a weight file that lies in a bundle; empty where nothing is, or where it is in none.

    Sizes are always compared, hashes only of files that are quickly read.
    """
    for folder in list(path.parents)[:2]:
        manifest = folder / MANIFEST
        if not manifest.is_file():
            continue
        try:
            entries = _manifest(manifest, manifest.stat().st_mtime_ns)
        except WeightsError as error:
            return error.message
        listed = [entry for entry in entries if entry.file == path.relative_to(folder).as_posix()]
        size = path.stat().st_size
        if listed and (size != listed[0].bytes or (size <= _CHEAP and sha256_of(path) != listed[0].sha256)):
            return f"another file than {MANIFEST} of its bundle says; fetch the bundle again"
        return ""
    return ""


@functools.lru_cache(maxsize=64)
def _manifest(path: Path, _modified: int) -> list[Entry]:
    return read_manifest(path, str(path.parent)).files
