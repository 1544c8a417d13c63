"""References to weights: ``file:PATH``, ``pkg:PACKAGE/PATH`` and ``hub://ORG/NAME[@REVISION][/PATH]``.

Any of them may end in ``#sha256=HEX``, and is then refused unless the file has that hash.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from regionkit.core.errors import WeightsAbsent, WeightsError, did_you_mean
from regionkit.core.files import is_file, sha256_of
from regionkit.core.files import is_folder as is_folder_path

_HUB = re.compile(r"(?P<location>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?(/(?P<inner>.+))?")
_HASH = re.compile(r"sha256=(?P<hash>[0-9a-fA-F]{64})")
_FORMS = "write file:PATH, pkg:PACKAGE/PATH, hub://ORG/NAME[@REVISION][/PATH], or a name of: toolkit weights list"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where weights lie.

    Attributes:
        scheme: ``file``, ``pkg`` or ``hub``.
        location: A path, a package, or ``ORG/NAME``.
        inner: Path inside a package or repository; empty for all of a repository.
        revision: Branch, tag or commit of a repository.
        sha256: Hash that the file must have; empty for any.
    """

    scheme: str
    location: str
    inner: str = ""
    revision: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        """Write it without its hash, as messages name it."""
        inner = f"/{self.inner}" if self.inner else ""
        if self.scheme != "hub":
            return f"{self.scheme}:{self.location}{inner}"
        return f"hub://{self.location}{f'@{self.revision}' if self.revision else ''}{inner}"


def is_reference(text: str) -> bool:
    """Say whether a text names a place rather than an indexed file."""
    return ":" in text


def parse_reference(text: str) -> Reference:
    """Read a reference.

    Raises:
        WeightsError: It is of no known form.
    """
    body, mark, pin = text.partition("#")
    match = _HASH.fullmatch(pin)
    if mark and match is None:
        raise WeightsError(f"weights '{text}': what follows # must be sha256= and 64 hexadecimal digits")
    sha256 = match["hash"].lower() if match else ""
    scheme, _, rest = body.partition(":")
    if scheme == "file" and rest:
        return Reference("file", rest, sha256=sha256)
    if scheme == "pkg" and rest:
        package, _, inner = rest.partition("/")
        return Reference("pkg", package, inner, sha256=sha256)
    hub = _HUB.fullmatch(rest.removeprefix("//"))
    inner = (hub["inner"] or "").rstrip("/") if hub else ""
    if scheme == "hub" and hub and not inner.startswith("/") and ".." not in inner.split("/"):
        return Reference("hub", hub["location"], inner, hub["revision"] or "", sha256)
    if scheme == "hub":
        raise WeightsError(
            f"weights '{text}' name no repository", "write hub://ORG/NAME, with @REVISION and /PATH if needed"
        )
    raise WeightsError(f"weights '{text}' cannot be read: '{scheme}:' is not supported", _FORMS)


def locate(text: str, *, download: bool = False) -> Path:
    """Return the file or folder that a reference means.

    Args:
        text: The reference.
        download: True to fetch a repository into the hub's cache. Only ``toolkit weights pull`` does, which shows sizes
            and licences first: whatever reads a file never uses the network. ``--offline`` wins over it.

    Raises:
        WeightsError: It is not there, or a file has another hash than the reference pins.
    """
    reference = parse_reference(text)
    if reference.scheme == "hub":
        path = _hub_path(reference, download=download and not is_offline())
    elif reference.scheme == "pkg":
        path = _package_path(reference)
    else:
        path = Path(os.path.expanduser(reference.location))
    if not is_file(path) and not is_folder_path(path):
        raise _not_there(path)
    if reference.sha256:
        check_hash(path, reference.sha256, str(reference))
    return path


def is_folder(text: str) -> bool:
    """Say whether a text refers to a folder, such as a repository or a bundle, rather than to one file.

    Raises:
        WeightsError: It is a reference to nothing that is there.
    """
    return is_reference(text) and locate(text).is_dir()


def is_offline() -> bool:
    """Say whether the network is not to be used: ``--offline``, or the variables that mean it."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in ("REGIONKIT_OFFLINE", "HF_HUB_OFFLINE"))


def check_hash(path: Path, sha256: str, what: str) -> None:
    """Check that a file has a hash; each version of a file is read once.

    Raises:
        WeightsError: It has another one, or is a folder.
    """
    if path.is_dir():
        raise WeightsError(f"{what} is a folder, and a hash can be pinned for a file only")
    found = sha256_of(path)
    if found != sha256.lower():
        raise WeightsError(
            f"{what}: the file {path} has another hash than was asked for",
            f"wanted sha256 {sha256.lower()}",
            f"found  sha256 {found}",
            "fetch it again; if you trust the new file, change the hash where it is written",
        )


def _not_there(path: Path) -> WeightsError:
    try:
        near = [other.name for other in path.parent.iterdir()] if is_folder_path(path.parent) else []
    except OSError:  # a folder that may not be read
        near = []
    return WeightsError(
        f"there is no weight file {path}",
        did_you_mean(path.name, near),
        "see: toolkit weights list",
    )


def _package_path(reference: Reference) -> Path:
    """Return the path of a file shipped inside an installed package."""
    try:
        spec = find_spec(reference.location)
    except (ImportError, ValueError):
        spec = None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise WeightsError(f"weights '{reference}': there is no package '{reference.location}'")
    found = [Path(folder) / reference.inner for folder in folders if (Path(folder) / reference.inner).exists()]
    return found[0] if found else Path(folders[0]) / reference.inner


def _hub_path(reference: Reference, *, download: bool) -> Path:
    """Return the path of a repository, or of one of its files or folders, in the hub's cache."""
    from huggingface_hub import hf_hub_download, snapshot_download

    name, revision, cached = reference.location, reference.revision or None, not download
    try:
        if reference.inner and cached:
            folder = Path(snapshot_download(name, revision=revision, local_files_only=True)) / reference.inner
            if folder.is_dir():
                return folder
        if reference.inner:
            return Path(hf_hub_download(name, reference.inner, revision=revision, local_files_only=cached))
        return Path(snapshot_download(name, revision=revision, local_files_only=cached))
    except Exception as error:  # the client raises its own types, those of its HTTP library, and OSError
        raise not_fetched(reference, error, download=download) from None


def not_fetched(reference: Reference, error: Exception, *, download: bool) -> WeightsError:
    """Return the error of a repository that is not in the hub's cache, or cannot be fetched."""
    if not download:
        return WeightsAbsent(
            f"{reference} is not in the cache of the hub" + (", and this is --offline" if is_offline() else ""),
            f"fetch it first: toolkit weights pull {reference}",
            "or download it by hand and name the folder: --weights file:DIR",
        )
    reason = (str(error).strip().splitlines() or [""])[0]
    return WeightsError(
        f"{reference} cannot be fetched: {type(error).__name__}: {reason}",
        "check the name and the network; for a repository with conditions accept them and set HF_TOKEN",
        "or download it by hand and name it with --weights file:DIR",
    )
