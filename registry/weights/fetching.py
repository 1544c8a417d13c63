"""What a preset or a component needs from outside: what is here, what the hub has, what is to be fetched by hand."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from regionkit.core.archives import safe_name
from regionkit.core.errors import DataError, WeightsError
from regionkit.core.files import replacing, sha256_of
from regionkit.core.spec import Checkpoint, ComponentSpec
from regionkit.registry.registry import user_weight_folders
from regionkit.registry.schema import Part
from regionkit.registry.weights.bundles import verify
from regionkit.registry.weights.official import HUB_WEIGHTS, cached, installed_in
from regionkit.registry.weights.option_files import BESIDE, asked_for, find_options
from regionkit.registry.weights.reading import pin_of, spec_for
from regionkit.registry.weights.references import (
    Reference,
    check_hash,
    is_offline,
    locate,
    not_fetched,
    parse_reference,
)

#: Small files that say what weights are.
_ABOUT = ("*.json", "*.txt", "LICENSE*")


@dataclass(frozen=True, slots=True)
class Remote:
    """One file of a repository: its name there, its size in bytes, and its hash; 0 and empty where it is not told."""

    name: str
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that has to be here.

    Attributes:
        part: Whose it is, ``backbone clip``.
        kind: Kind of that part; empty for a repository that was named by itself.
        role: What it is to the part.
        names: File names as they are released, shell patterns.
        source: Reference, or words that say where to download it by hand.
        license: Licence of the file, empty where it is not known.
        sha256: Hash that it must have; empty for any.
        optional: True where the part does without it.
        shared: True for a file that several parts use.
        path: Where it is; None where it is not.
        remote: The files of the repository that will be fetched.
        told: How large it is, in words of the component that needs it; empty where it does not say.
        beside: True for what an option of the part names beside its weights.
    """

    part: str
    kind: str
    role: str
    names: tuple[str, ...] = ()
    source: str = ""
    license: str = ""
    sha256: str = ""
    optional: bool = False
    shared: bool = False
    path: Path | None = None
    remote: tuple[Remote, ...] = ()
    told: str = ""
    beside: bool = False

    @property
    def from_hub(self) -> bool:
        """Whether it can be fetched."""
        return self.source.startswith("hub:")

    @property
    def status(self) -> str:
        """``here``, ``to fetch``, ``by hand``, or ``optional`` for what is only there for those who want it."""
        if self.path is not None:
            return "here"
        if self.optional:
            return "optional"
        return "to fetch" if self.from_hub else "by hand"

    @property
    def size(self) -> int:
        """Bytes, here or there; 0 where they are not known."""
        if self.path is None:
            return sum(file.size for file in self.remote)
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.stat().st_size for file in files if file.is_file())


def needs_of_component(part: Part, out: Path | None = None) -> list[Need]:
    """Return what a component needs, with what of it is here.

    Args:
        part: The component with its options, which may decide about its files.
        out: A folder that is to hold all that can be fetched; without it the hub's cache and $REGIONKIT_WEIGHTS count
            as well.
    """
    spec, found = spec_for(part), dict[str, Path]()
    for folder in (*([out] if out is not None else []), *user_weight_folders()):
        if folder.is_dir():
            found = {**installed_in(part, folder), **found}
    return [need_of(spec, entry, found.get(entry.role) or cached(entry), out) for entry in spec.checkpoints]


def needs_of_options(part: Part, out: Path | None = None, *, offered: bool = False) -> list[Need]:
    """Return what the options of a part ask for beside its weights, with what of it is here.

    Args:
        part: The component.
        out: A folder that is to hold all that can be fetched.
        offered: Also return what they could ask for, as optional.
    """
    found, asked = find_options(part, out), asked_for(part)
    entries = part.spec.option_files if offered else asked
    needs = ((entry, need_of(part.spec, entry, found.get(entry.role), out)) for entry in entries)
    return [replace(need, beside=True, optional=entry not in asked) for entry, need in needs]


def need_of(spec: ComponentSpec, entry: Checkpoint, path: Path | None, out: Path | None) -> Need:
    """Return one file of a component as a need; without an ``out``, what is here counts wherever it lies.

    Raises:
        WeightsError: It is here with another hash than is pinned, and no other can be fetched in its place.
    """
    from_hub = entry.source.startswith("hub:")
    if path is not None and out is not None and from_hub and not path.resolve().is_relative_to(out.resolve()):
        path = None
    pin = pin_of(entry)
    if path is not None and not _has(path, pin, f"{spec.kind} {spec.name}, {entry.role}", fetchable=from_hub):
        path = None
    return Need(
        f"{spec.kind} {spec.name}",
        spec.kind,
        entry.role,
        entry.files,
        entry.source,
        entry.license,
        pin,
        entry.optional,
        entry.shared,
        path,
        told=entry.size,
    )


def _has(path: Path, sha256: str, what: str, *, fetchable: bool) -> bool:
    """Say whether what is here has the hash that is asked for; empty asks for none.

    Raises:
        WeightsError: It has not, and no other can be fetched in its place.
    """
    try:
        if sha256:
            check_hash(path, sha256, what)
    except WeightsError:
        if fetchable and not is_offline():
            return False
        raise
    return True


def needs_of_reference(text: str, out: Path | None = None) -> list[Need]:
    """Return the one need that a reference is.

    Of a repository, or a folder of one, the cache may hold a part, so that it counts as here only where the hub cannot
    be asked.
    """
    reference = parse_reference(text)
    if reference.scheme != "hub":
        return [Need(str(reference), "", "weights", source=str(reference), path=locate(text))]
    need = Need(str(reference), "", "weights", source=str(reference), sha256=reference.sha256)
    if out is not None:
        return [need]
    try:
        path = locate(str(reference))
    except WeightsError:
        return [need]
    if path.is_dir() and not is_offline():
        return [need]
    return [replace(need, path=path)] if _has(path, need.sha256, str(reference), fetchable=True) else [need]


def with_remote(need: Need) -> Need:
    """Ask the hub which files are to be fetched, and how large they are.

    Raises:
        WeightsError: There is no such repository or file, or no network.
    """
    from huggingface_hub import HfApi

    reference = parse_reference(need.source)
    try:
        info = HfApi().model_info(reference.location, revision=reference.revision or None, files_metadata=True)
    except Exception as error:  # the client raises its own types, those of its HTTP library, and OSError
        raise not_fetched(reference, error, download=True) from None
    files = [Remote(file.rfilename, file.size or 0, _hash_told(file)) for file in info.siblings or []]
    chosen = _chosen(reference, need, files)
    strange = [file.name for file in chosen if not _is_inside(file.name)]
    if strange:
        raise WeightsError(f"{reference} holds a file named '{strange[0]}', which leads out of its folder")
    if not chosen:
        listed = ", ".join(sorted(file.name for file in files)[:8])
        what = f"no file {reference.inner}" if reference.inner else f"nothing of {need.part}"
        raise WeightsError(f"{replace(reference, inner='')} holds {what}", f"its files are: {listed}")
    licence = need.license or str(getattr(info.card_data, "license", None) or "")
    return replace(need, remote=tuple(chosen), license=licence)


def _hash_told(file: Any) -> str:
    """Return the hash that the hub tells of a file; it does of the large ones."""
    return str(getattr(file.lfs, "sha256", None) or "")


def _chosen(reference: Reference, need: Need, files: Sequence[Remote]) -> list[Remote]:
    """Return what is fetched of a repository: the file that was named, all, or one set of weights with its config."""
    if reference.inner:
        return [file for file in files if file.name == reference.inner or file.name.startswith(f"{reference.inner}/")]
    if not need.names:
        return [file for file in files if not file.name.startswith(".")]
    top = [file for file in files if "/" not in file.name and not file.name.startswith(".")]
    for pattern in (*need.names, *HUB_WEIGHTS):
        weights = [file for file in top if fnmatch(file.name, pattern)]
        if weights:
            return [*weights, *(file for file in top if file not in weights and _matches(file.name, _ABOUT))]
    return []


def _is_inside(name: str) -> bool:
    try:
        safe_name(Path(name), name)
    except DataError:
        return False
    return True


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def fetch(need: Need, out: Path | None) -> Path:
    """Fetch a need into the hub's cache, or below a folder, and check its hashes.

    Args:
        need: What :func:`with_remote` returned.
        out: The folder; None for the cache. In the folder of its kind, a repository becomes a folder of its name, a
            folder of it keeps its path, and a single file its name.

    Returns:
        The file, or the folder that holds the files.

    Raises:
        WeightsError: It cannot be fetched, or a file has another hash. What was fetched is taken away again; what was
            there before stays as it was.
    """
    reference = parse_reference(need.source)
    if need.sha256 and len(need.remote) != 1:
        raise WeightsError(f"{need.source} is a folder, and a hash can be pinned for a file only")
    paths = []
    for file in need.remote:
        one = Reference("hub", reference.location, file.name, reference.revision)
        hashes = [sha256 for sha256 in (need.sha256, file.sha256) if sha256]
        paths.append(_into_cache(one, hashes) if out is None else _bring(one, _place(need, file, out), out, hashes))
    if len(paths) == 1 and reference.inner == need.remote[0].name:
        return paths[0]
    folder = paths[0].parents[len(Path(need.remote[0].name).parts) - 1] / reference.inner
    verify(folder, need.source)
    return folder


def _place(need: Need, file: Remote, out: Path) -> Path:
    """Return where a file goes: a file by its name, the folder of a repository by its path, the whole by its name."""
    reference = parse_reference(need.source)
    if need.kind == "":
        return out / file.name
    folder = folder_of(need, out)
    if reference.inner == file.name:
        return folder / Path(file.name).name
    return folder / file.name if reference.inner else folder / reference.location.split("/")[1] / file.name


def folder_of(need: Need, out: Path) -> Path:
    """Return the folder below one of weights in which a need is looked for."""
    if need.beside:
        return out / BESIDE
    return out if need.shared or not need.kind else out / need.kind


def _into_cache(reference: Reference, hashes: Sequence[str]) -> Path:
    """Return a file in the hub's cache, fetched where it is not there yet."""
    before = _cached(reference)
    old = before.resolve() if before is not None else None
    path = locate(str(reference), download=True)
    try:
        _check(path, hashes, reference)
    except WeightsError as error:
        if path.resolve() == old:
            raise WeightsError(error.message, *error.hints, f"it was in the cache already: {path}") from None
        for wrong in (path.resolve(), path):  # a link and what it points to
            wrong.unlink(missing_ok=True)
        raise
    return path


def _bring(reference: Reference, target: Path, out: Path, hashes: Sequence[str]) -> Path:
    """Copy a file from the hub's cache, or fetch it; it takes its name when it is whole and has the right hash."""
    from huggingface_hub import hf_hub_download

    if hashes and target.is_file() and _is_right(target, hashes):
        return target
    cached = _cached(reference)
    try:
        if cached is not None and _is_right(cached, hashes):
            with replacing(target) as temporary:
                shutil.copyfile(cached, temporary)
            return target
        out.mkdir(parents=True, exist_ok=True)
        # A folder of this call alone: another process may be fetching into the same place.
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=out, ignore_cleanup_errors=True) as folder:
            found = hf_hub_download(
                reference.location,
                reference.inner,
                revision=reference.revision or None,
                local_dir=folder,
                force_download=cached is not None,  # the client would copy the wrong file of the cache
            )
            _check(Path(found), hashes, reference)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(found, target)
    except WeightsError:
        raise
    except Exception as error:  # the client raises its own types, those of its HTTP library, and OSError
        raise not_fetched(reference, error, download=True) from None
    return target


#: How the names of folders begin in which files lie while they are fetched.
_UNFINISHED = ".fetching-"


def _cached(reference: Reference) -> Path | None:
    try:
        return locate(str(reference))
    except WeightsError:
        return None


def _check(path: Path, hashes: Sequence[str], reference: Reference) -> None:
    for sha256 in hashes:
        check_hash(path, sha256, str(reference))


def _is_right(path: Path, hashes: Sequence[str]) -> bool:
    return all(sha256_of(path) == sha256 for sha256 in hashes)


def by_hand(needs: Iterable[Need], folder: Path) -> Iterator[str]:
    """Say for each thing that cannot be fetched where it is and where it goes."""
    for need in needs:
        names = " or ".join(need.names) or "it"
        source, place = need.source or "its authors", folder_of(need, folder)
        yield f"{need.part}, {need.role}: download {names} from {source} and put it into {place}"
