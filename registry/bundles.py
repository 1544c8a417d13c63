"""Bundles: a folder with a pipeline, all the weights that it uses, and a manifest that pins them.

``weights.json`` lists every file with its hash, what it is for, its licence and where it came from; ``pipeline.yaml``
is the pipeline, whose weights lie beside it. Together they run on a machine without the hub or the original files.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from regionkit.core.archives import unpack
from regionkit.core.errors import DataError, RegionkitError, WeightsError
from regionkit.core.files import replacing
from regionkit.core.spec import PARTS
from regionkit.core.weights import WeightFile, write_weights
from regionkit.registry.conversion import Stated, complete, recipe_of
from regionkit.registry.plan import PipelinePlan, plan_pipeline
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import Part
from regionkit.registry.weight_index import content_hash

MANIFEST = "weights.json"
PIPELINE = "pipeline.yaml"
#: Files up to this size are hashed where weights are only listed.
_CHEAP = 64 << 20
#: Time of all entries of an archive: the same bundle is the same file whenever it is made.
_EPOCH = (1980, 1, 1, 0, 0, 0)


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
    if out.suffix != ".zip" and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WeightsError(f"--out {out} is there already", "name another folder, or move it away")
    _check_corpora(plan)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    try:
        entries = [
            _gather(plan.parts[kind], file, temporary) for kind in PARTS if (file := plan.weights[kind]) is not None
        ]
        pipeline = _without_weights(data)
        _check_choice(pipeline, plan, temporary)
        _write_texts(temporary, pipeline, plan, entries, name)
        if out.suffix == ".zip":
            _zip(temporary, out)
        else:
            temporary.chmod(0o755)
            temporary.replace(out)
    except OSError as error:
        raise WeightsError(f"{out}: the bundle could not be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
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
        header = complete(part.spec, file.header, file.files, Stated(), recipe_of(part.spec, file.files, target))
        write_weights(target, file.tensors(), header)
        source = "; ".join(_source(part, role, path) for role, path in sorted(file.files.items()))
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
        hash_of(target),
        status.st_size,
        header.license,
        source,
        header.recipe,
    )


def _source(part: Part, role: str, path: Path) -> str:
    known = next((entry.source for entry in part.spec.checkpoints if entry.role == role and entry.source), "")
    return f"{role} {path.name}" + (f" ({known})" if known else "")


def _without_weights(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pipeline without any path: its parts take their weights from the folder that it lies in."""
    result: dict[str, Any] = {key: value for key, value in data.items() if key != "weights"}
    for kind in PARTS:
        if isinstance(result.get(kind), Mapping) and result[kind].get("weights") not in (None, "auto", "none"):
            result[kind] = {key: value for key, value in result[kind].items() if key != "weights"}
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


def _write_texts(
    folder: Path, pipeline: Mapping[str, Any], plan: PipelinePlan, entries: list[Entry], name: str
) -> None:
    import yaml

    registry = get_registry()
    owners = {owner.plugin: owner for part in plan.parts.values() for owner in [registry.owner(part.spec)]}
    manifest = {
        "version": 1,
        "preset": name,
        "plugins": {
            plugin: f"{owner.distribution} {owner.version}".strip() for plugin, owner in sorted(owners.items())
        },
        "fitted_to": dict(plan.fit_corpus),
        "files": [asdict(entry) for entry in entries],
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    head = "# Made by `toolkit weights bundle`. Run it from anywhere:\n"
    head += f"#   toolkit caption PICTURE --preset DIR/{PIPELINE}\n"
    body = yaml.safe_dump(
        {"version": 1, **pipeline, "weights": "file:."}, sort_keys=False, allow_unicode=True, width=120
    )
    (folder / PIPELINE).write_text(head + body, encoding="utf-8")


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

    def check(unpacked: Path) -> None:
        found.extend(verify(unpacked, str(archive)))

    unpack(archive, folder, check=check)
    return found


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
    entries = read_manifest(folder / MANIFEST, name)
    for entry in entries:
        path = folder / entry.file
        if not path.is_file():
            raise WeightsError(f"{name}: {MANIFEST} lists {entry.file}, which is not there", "fetch the bundle again")
        found = hash_of(path)
        if found != entry.sha256:
            raise WeightsError(
                f"{name}: {entry.file} has another hash than {MANIFEST} says",
                f"wanted sha256 {entry.sha256}",
                f"found  sha256 {found}",
                "fetch the bundle again",
            )
    return entries


def read_manifest(path: Path, name: str) -> list[Entry]:
    """Read the manifest of a bundle.

    Raises:
        WeightsError: It is no manifest, or names a file outside the folder.
    """
    from regionkit.core.archives import safe_name

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        entries = [Entry(**entry) for entry in data["files"]]
        for entry in entries:
            safe_name(path, entry.file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError) as error:
        raise WeightsError(f"{name}: its {MANIFEST} cannot be read: {error}", "fetch the bundle again") from None
    return entries


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
        if listed and (size != listed[0].bytes or (size <= _CHEAP and hash_of(path) != listed[0].sha256)):
            return f"another file than {MANIFEST} of its bundle says; fetch the bundle again"
        return ""
    return ""


@functools.lru_cache(maxsize=64)
def _manifest(path: Path, _modified: int) -> list[Entry]:
    return read_manifest(path, str(path.parent))


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
