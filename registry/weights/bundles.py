"""Bundles: a folder with a pipeline, all the weights that it uses, and a manifest that pins them.

``weights.json`` lists every file with its hash, what it is for, its licence and where it came from; ``pipeline.yaml``
is the pipeline, whose weights lie beside it. Together they run on a machine without the hub or the original files.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from regionkit.core.archives import MAX_BYTES, refused, safe_name, unpack
from regionkit.core.errors import RegionkitError, RunFailed, WeightsError
from regionkit.core.files import is_file, is_free, replacing, replacing_folder, sha256_of
from regionkit.core.spec import PARTS, ComponentSpec
from regionkit.core.weights import WeightFile, write_weights
from regionkit.registry.plan import PipelinePlan, plan_pipeline
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import Part, with_defaults
from regionkit.registry.weights.bank_choice import memory_of
from regionkit.registry.weights.bundle_manifest import (
    MANIFEST,
    PIPELINE,
    Entry,
    parse_manifest,
    read_manifest,
)
from regionkit.registry.weights.conversion import Stated, complete, recipe_of
from regionkit.registry.weights.index import content_hash, files_of
from regionkit.registry.weights.option_files import BESIDE, OptionFile
from regionkit.registry.weights.reading import spec_for
from regionkit.registry.weights.references import is_reference

#: Bytes that a manifest may have; those of the presets have a few thousand.
_MAX_MANIFEST = 16 << 20
#: Time of all entries of an archive: the same bundle is the same file whenever it is made.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def make_bundle(data: Mapping[str, Any], plan: PipelinePlan, out: Path, name: str) -> list[Entry]:
    """Gather all weights of a pipeline in a folder or a ``.zip``, whole or not at all.

    Args:
        data: The pipeline as it was read.
        plan: The plan of it.
        out: A new folder, or a file that ends in ``.zip``.
        name: Name of the preset or file, for the manifest.

    Raises:
        WeightsError: A part cannot be bundled, or the bundle would not choose the same weights again.
    """
    if out.suffix != ".zip" and not is_free(out):
        raise WeightsError(f"--out {out} is there already", "name another folder, or move it away")
    _check_corpora(plan)
    try:
        if out.suffix != ".zip":
            with replacing_folder(out) as folder:
                return _fill(folder, data, plan, name)
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".part", dir=out.parent) as made:
            entries = _fill(Path(made), data, plan, name)
            _zip(Path(made), out)
            return entries
    except OSError as error:
        raise RunFailed(
            f"{out}: the bundle could not be written: {error.strerror or error}", "make room, or choose another --out"
        ) from None


def _fill(folder: Path, data: Mapping[str, Any], plan: PipelinePlan, name: str) -> list[Entry]:
    """Put the weights, the pipeline and the manifest into a folder, and check that it chooses the same weights."""
    entries = [_gather(plan.parts[kind], file, folder) for kind in PARTS if (file := plan.weights[kind]) is not None]
    whole = {content_hash(file) for file in plan.weights.values() if file is not None}
    # A bank that the bridge has as well lies there once.
    banks = [(kind, file) for kind, file in plan.banks.items() if content_hash(file) not in whole]
    entries += [_gather(memory_of(plan.parts[kind]), file, folder) for kind, file in banks]
    for kind, files in plan.files.items():
        part = plan.parts[kind]
        entries += [one for option in files for one in _gather_beside(part, option, files[option], folder)]
    pipeline = _without_weights(data)
    _check_choice(pipeline, plan, folder)
    _write_texts(folder, pipeline, plan, entries, name)
    return entries


def _check_corpora(plan: PipelinePlan) -> None:
    """Refuse a bridge that is fitted to sentences which lie on this machine alone."""
    from regionkit.registry.assembly import build

    for kind, corpus in plan.fit_corpus.items():
        if not getattr(build("corpus", corpus), "generated", False):
            backbone = plan.parts["backbone"].name
            raise WeightsError(
                f"{kind} '{plan.parts[kind].name}' is fitted to corpus '{corpus}', whose sentences are no weight file",
                f"make its bank one first: toolkit bank build --corpus {corpus} --backbone {backbone}",
            )


def _gather(part: Part, file: WeightFile, folder: Path) -> Entry:
    """Put the weights of a part into a folder: a file of ours as it is, official ones converted."""
    inner = PurePosixPath(part.kind) / f"{part.name if file.files else file.path.stem}.safetensors"
    target = folder / inner
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.files:
        # Of several releases the one that the weights say they are.
        spec = spec_for(with_defaults(part, file.header.config))
        choices = {entry.when for entry in spec.checkpoints if entry.when and entry.role in file.files}
        more = [word for choice in sorted(choices) for word in ("--set", choice)]
        header = complete(spec, file.header, file.files, Stated(), recipe_of(spec, file.files, target, more))
        write_weights(target, file.tensors(), header)
        source = "; ".join(_source(spec, role, path) for role, path in sorted(file.files.items()))
    else:
        header = file.header
        shutil.copyfile(file.path, target)
        source = file.path.name
    status = target.stat()
    return Entry(
        str(inner),
        part.kind,
        part.name,
        header.space,
        sha256_of(target),
        status.st_size,
        header.license,
        source,
        header.recipe,
    )


def _gather_beside(part: Part, option: str, found: OptionFile, folder: Path) -> Iterator[Entry]:
    """Copy a released file, or folder, that an option asks for beside the weights, as it is."""
    released = next(entry for entry in part.spec.option_files if entry.role == option)
    for file in files_of(found.path):
        inner = PurePosixPath(BESIDE, found.name, *file.relative_to(found.path).parts)
        target = folder / inner
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        what = (sha256_of(target), target.stat().st_size, released.license, f"{option} ({released.source})")
        yield Entry(str(inner), part.kind, part.name, "", *what, recipe="")


def _source(spec: ComponentSpec, role: str, path: Path) -> str:
    known = next((entry.source for entry in spec.checkpoints if entry.role == role and entry.source), "")
    return f"{role} {path.name}" + (f" ({known})" if known else "")


def _without_weights(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pipeline without any path: its parts take their weights from the folder that it lies in."""
    result: dict[str, Any] = {key: value for key, value in data.items() if key != "weights"}
    for kind in PARTS:
        if isinstance(result.get(kind), Mapping) and result[kind].get("weights") not in (None, "auto", "none"):
            result[kind] = {key: value for key, value in result[kind].items() if key != "weights"}
        if isinstance(result.get(kind), Mapping) and is_reference(str(result[kind].get("bank", ""))):
            result[kind] = {key: value for key, value in result[kind].items() if key != "bank"}
    return result


def _check_choice(pipeline: Mapping[str, Any], plan: PipelinePlan, folder: Path) -> None:
    """Plan the pipeline once more, from the folder: it must end up with the same weights and ports."""
    try:
        again = plan_pipeline({**pipeline, "weights": f"file:{folder}"})
    except RegionkitError as error:
        raise WeightsError(
            "the pipeline cannot be bundled: from the folder alone it does not fit together",
            *(line.replace(str(folder), "the bundle").strip() for line in str(error).splitlines()),
            "weights that are named outright for a part may be others than the pipeline asks for by itself",
        ) from None
    for kind, file in plan.weights.items():
        chosen = again.weights[kind]
        inside = chosen is None or chosen.path.is_relative_to(folder)
        same = (file is None) == (chosen is None) and again.ports[kind] == plan.ports[kind]
        if file is not None and chosen is not None and not file.files:
            same = same and content_hash(file) == content_hash(chosen)
        if not (same and inside):
            raise WeightsError(f"the pipeline cannot be bundled: from the folder alone, its {kind} takes other weights")
    for kind, files in plan.files.items():
        for option, one in files.items():
            found = again.files[kind][option]
            if not (found.path.is_relative_to(folder) and found.digest == one.digest):
                reason = f"from the folder alone, its {kind} takes another {option}"
                raise WeightsError(f"the pipeline cannot be bundled: {reason}")
    for kind, file in plan.banks.items():
        bank = again.banks.get(kind)
        if bank is None or not (bank.path.is_relative_to(folder) and (file.files or _same(file, bank))):
            raise WeightsError(
                f"the pipeline cannot be bundled: from the folder alone, its {kind} takes another bank",
                f"say its corpus: {kind}.bank: {file.header.corpus or 'NAME'}",
            )


def _same(first: WeightFile, second: WeightFile) -> bool:
    return content_hash(first) == content_hash(second)


def _write_texts(
    folder: Path, pipeline: Mapping[str, Any], plan: PipelinePlan, entries: list[Entry], name: str
) -> None:
    import yaml

    registry = get_registry()
    owners = {owner.plugin: owner for part in plan.parts.values() for owner in [registry.owner(part.spec)]}
    head = "# Made by `toolkit weights bundle`. Run it from anywhere:\n"
    head += f"#   toolkit caption PICTURE --preset DIR/{PIPELINE}\n"
    body = yaml.safe_dump(
        {"version": 1, **pipeline, "weights": "file:."}, sort_keys=False, allow_unicode=True, width=120
    )
    path = folder / PIPELINE
    path.write_bytes((head + body).encode())  # the same bytes on every system, as its hash is stored
    manifest = {
        "version": 1,
        "preset": name,
        "plugins": {
            plugin: f"{owner.distribution} {owner.version}".strip() for plugin, owner in sorted(owners.items())
        },
        "fitted_to": dict(plan.fit_corpus),
        "pipeline": {"file": PIPELINE, "sha256": sha256_of(path), "bytes": path.stat().st_size},
        "files": [asdict(entry) for entry in entries],
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _zip(folder: Path, out: Path) -> None:
    """Write a folder as a zip. Tensors do not shrink, so they are stored as they are."""
    with replacing(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for path in sorted(inner for inner in folder.rglob("*") if inner.is_file()):
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            info.external_attr = 0o644 << 16
            with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, 1 << 20)


def unpack_bundle(archive: Path, folder: Path) -> list[Entry]:
    """Unpack a bundle and check every file against its manifest, whole or not at all.

    Returns:
        What its manifest lists; nothing for an archive without one.

    Raises:
        DataError: The archive is refused.
        WeightsError: A file is missing or is another one than the manifest says.
    """
    found: list[Entry] = []
    limit = _check_zip(archive)

    def check(unpacked: Path) -> None:
        found.extend(verify(unpacked, str(archive)))
        if (unpacked / MANIFEST).is_file():
            sizes = read_manifest(unpacked / MANIFEST, str(archive)).sizes
            for path in sorted(inner for inner in unpacked.rglob("*") if inner.is_file()):
                _check_listed(archive, path.relative_to(unpacked).as_posix(), path.stat().st_size, sizes)

    unpack(archive, folder, check=check, max_bytes=limit)
    return found


def _check_zip(archive: Path) -> int:
    """Hold the list of a zip, which claims the size of every entry, against its manifest before anything is unpacked.

    Returns:
        Bytes that its files may have: those of any archive where it is no readable zip or has no manifest.

    Raises:
        DataError: The manifest does not list an entry, or with another size.
        WeightsError: The manifest cannot be read.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            infos = file.infolist()
            own = [info for info in infos if info.filename == MANIFEST]
            if not own or own[0].file_size > _MAX_MANIFEST:
                return MAX_BYTES
            manifest = parse_manifest(file.read(own[0]), str(archive))
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError):
        return MAX_BYTES
    for info in infos:
        if not info.is_dir():
            name = safe_name(archive, info.filename).as_posix()
            _check_listed(archive, name, info.file_size, manifest.sizes)
    return min(sum(info.file_size for info in infos), MAX_BYTES)


def _check_listed(archive: Path, name: str, size: int, sizes: Mapping[str, int]) -> None:
    if name == MANIFEST or (name == PIPELINE and name not in sizes):  # a manifest by hand may leave the pipeline out
        return
    if name not in sizes:
        raise refused(archive, f"its {MANIFEST} does not list '{name}'", "fetch the bundle again")
    if size != sizes[name]:
        reason = f"'{name}' has {size:,} bytes, its {MANIFEST} says {sizes[name]:,}"
        raise refused(archive, reason, "fetch the bundle again")


def verify(folder: Path, name: str) -> list[Entry]:
    """Check every file of a bundle against its manifest.

    Args:
        folder: The bundle.
        name: What to call it in messages.

    Returns:
        What the manifest lists; nothing where there is no manifest.

    Raises:
        WeightsError: The manifest cannot be read, or a file is missing or another one.
    """
    if not (folder / MANIFEST).is_file():
        return []
    manifest = read_manifest(folder / MANIFEST, name)
    for file, wanted in manifest.hashes.items():
        path = folder / file
        if not is_file(path):
            raise WeightsError(f"{name}: {MANIFEST} lists {file}, which is not there", "fetch the bundle again")
        size = path.stat().st_size
        if size != manifest.sizes[file]:
            raise WeightsError(
                f"{name}: {file} has {size:,} bytes, {MANIFEST} says {manifest.sizes[file]:,}",
                "fetch the bundle again",
            )
        found = sha256_of(path)
        if found != wanted:
            raise WeightsError(
                f"{name}: {file} has another hash than {MANIFEST} says",
                f"wanted sha256 {wanted}",
                f"found  sha256 {found}",
                "fetch the bundle again",
            )
    return manifest.files
