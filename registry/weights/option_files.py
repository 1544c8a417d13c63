"""Released files and folders that options name beside the weights, such as a parser that a decoder runs."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regionkit.core.errors import WeightsError
from regionkit.core.files import sha256_of
from regionkit.core.spec import RELEASED, Checkpoint
from regionkit.registry.registry import user_weight_folders
from regionkit.registry.schema import Part
from regionkit.registry.weights.index import files_of
from regionkit.registry.weights.official import cached, files_in, pin_of
from regionkit.registry.weights.references import check_hash, locate

#: The folder among weights in which these files go: a model that lies there is not taken for another part's.
BESIDE = "beside"


def asked_for(part: Part) -> tuple[Checkpoint, ...]:
    """Return the files that the options of a part ask for by the word ``released``."""
    return tuple(entry for entry in part.spec.option_files if getattr(part.config, entry.role, None) == RELEASED)


def find_options(part: Part, out: Path | None = None) -> dict[str, Path]:
    """Return what is here of the released files that options may ask for, by option.

    Args:
        part: The component.
        out: A folder to look in before the pipeline's own, those of the user, and the hub's cache.
    """
    spec = dataclasses.replace(part.spec, checkpoints=part.spec.option_files)
    own = [locate(part.folder)] if part.folder else []
    found: dict[str, Path] = {}
    for folder in (*([out] if out is not None else []), *own, *user_weight_folders()):
        for place in (folder / BESIDE, folder):
            if place.is_dir():
                found = {**files_in(spec, place), **found}
    for entry in spec.checkpoints:
        path = found.get(entry.role) or cached(entry)
        if path is not None:
            found[entry.role] = path
    return found


def locate_options(part: Part) -> dict[str, Path]:
    """Return where the files are that the options of a part ask for, by option.

    Raises:
        WeightsError: One is not here, or has another hash than its component pins.
    """
    if not asked_for(part):
        return {}
    found = find_options(part)
    who = f"{part.kind} '{part.name}'"
    lacking = [entry for entry in asked_for(part) if entry.role not in found]
    if lacking:
        roles = " and ".join(entry.role for entry in lacking)
        raise WeightsError(
            f"no released {roles} of {who} here",
            *(f"{entry.role}: {described(entry)}" for entry in lacking),
            "fetch what can be fetched: toolkit weights pull PRESET, or FILE; other files are named by "
            + " and ".join(f"{part.kind}.{entry.role}: file:PATH" for entry in lacking),
        )
    for entry in asked_for(part):
        if pin := pin_of(entry):
            check_hash(found[entry.role], pin, f"{who}, {entry.role}")
    return {entry.role: found[entry.role] for entry in asked_for(part)}


def with_files(config: Any, files: Mapping[str, Path]) -> Any:
    """Return a config in which ``file:PATH`` stands where an option asked for a released file."""
    options = {option: f"file:{path}" for option, path in files.items()}
    return dataclasses.replace(config, **options) if options else config


def described(entry: Checkpoint) -> str:
    """Say of a released file how it is called, where it can be had, its licence and size."""
    names, size = " or ".join(entry.files), entry.size or "size not known"
    return f"{names}, from {entry.source}; licence {entry.license or 'not known'}, {size}"


def digest_of(path: Path) -> str:
    """Return 16 hexadecimal digits over the content of a file or folder; each version of a file is read once."""
    if not path.is_dir():
        return sha256_of(path)[:16]
    listed = (f"{inner.relative_to(path).as_posix()}={sha256_of(inner)};" for inner in files_of(path))
    return hashlib.sha256("".join(listed).encode()).hexdigest()[:16]
