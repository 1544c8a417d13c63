"""Reading weights as their authors released them, with a component's own reader, and keeping what it made."""

from __future__ import annotations

import functools
import importlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regionkit.core.errors import RegionkitError, WeightsError
from regionkit.core.spec import PARTS, Checkpoint, ComponentSpec
from regionkit.core.weights import WeightFile, WeightHeader
from regionkit.registry.schema import Part, owner_text
from regionkit.registry.weights.index import files_of
from regionkit.registry.weights.references import check_hash, parse_reference

if TYPE_CHECKING:
    from torch import Tensor

    from regionkit.core.contracts import WeightArtifact


@dataclass(frozen=True, slots=True)
class _Question:
    """What a reader is asked for.

    Attributes:
        reader: Its name.
        options: The options as JSON; a config may hold what cannot be hashed.
        versions: Role, path and version of each file.
        config: The options.
        owner: Who brings the reader.
    """

    reader: str
    options: str
    versions: tuple[tuple[str, Path, int, int], ...]
    config: Any = field(compare=False)
    owner: str = field(compare=False)


def spec_for(part: Part) -> ComponentSpec:
    """Return the spec of a part with the checkpoints that belong to its options."""
    chosen = tuple(entry for entry in part.spec.checkpoints if _is_meant(entry, part.config))
    return part.spec if chosen == part.spec.checkpoints else replace(part.spec, checkpoints=chosen)


def _is_meant(entry: Checkpoint, config: Any) -> bool:
    option, _, value = entry.when.partition("=")
    return not option or str(getattr(config, option, "")) == value


def check_pins(spec: ComponentSpec, files: Mapping[str, Path]) -> None:
    """Check that files have the hashes that their component pins; each version of a file is read once.

    Raises:
        WeightsError: One has another hash.
    """
    for entry in spec.checkpoints:
        pin = pin_of(entry)
        if pin and entry.role in files:
            check_hash(files[entry.role], pin, f"{spec.kind} '{spec.name}', {entry.role}")


def pin_of(entry: Checkpoint) -> str:
    """Return the hash that a file must have, as it is written beside its source or in it; empty for any."""
    return entry.sha256 or (parse_reference(entry.source).sha256 if entry.source.startswith("hub:") else "")


def read_official(
    part: Part, files: Mapping[str, Path], place: Path, originals: Mapping[str, Path] | None = None
) -> WeightFile:
    """Read official checkpoints with the component's own reader.

    The header is kept while the files stay as they are. The tensors are kept until they are taken, and made again for
    who asks once more: a plan that is never built should not hold a model in memory.

    Args:
        part: The component.
        files: Paths by role.
        place: The file or folder that they are known by.
        originals: What they were made of, where they are no released files themselves.

    Raises:
        WeightsError: A file has another hash than the component pins, or the reader refuses one.
    """
    check_pins(spec_for(part), originals or files)
    question = _question(part, files)
    return WeightFile(place, _header(question), dict(files), functools.partial(_take, question))


def said_by(part: Part, files: Mapping[str, Path]) -> WeightHeader:
    """Return what official checkpoints say of themselves; raises as :func:`read_official`, but for pinned hashes."""
    return _header(_question(part, files))


def forget(part: Part, files: Mapping[str, Path]) -> None:
    """Let go of what a reader made of files that nobody will take."""
    _made.pop(_question(part, files), None)


def _question(part: Part, files: Mapping[str, Path]) -> _Question:
    versions = tuple((role, path, *_version(path)) for role, path in sorted(files.items()))
    options = json.dumps(part.to_dict(), default=str)
    return _Question(part.spec.reader, options, versions, part.config, owner_text(part.spec))


#: What readers made and nobody has taken yet: as many as one pipeline has parts.
_made: OrderedDict[_Question, WeightArtifact] = OrderedDict()


@functools.lru_cache(maxsize=256)
def _header(question: _Question) -> WeightHeader:
    artifact = _made[question] = _ask(question)
    while len(_made) > len(PARTS):
        _made.popitem(last=False)
    return artifact.header


def _take(question: _Question) -> Mapping[str, Tensor]:
    return (_made.pop(question, None) or _ask(question)).tensors


def _ask(question: _Question) -> WeightArtifact:
    module, _, name = question.reader.partition(":")
    files = {role: path for role, path, *_ in question.versions}
    try:
        artifact: WeightArtifact = getattr(importlib.import_module(module), name)(files, question.config)
    except RegionkitError:
        raise
    except Exception as error:  # a stranger's reader, or a checkpoint of a shape that it never met
        raise WeightsError(
            f"{', '.join(str(path) for path in files.values())}: cannot be read: {type(error).__name__}: {error}",
            "the files may be damaged or of another model; "
            f"otherwise this is a fault of {question.owner}: {question.reader}",
        ) from error
    return artifact


def _version(path: Path) -> tuple[int, int]:
    """Return what changes when a file, or a file of a folder, does."""
    status = [inner.stat() for inner in files_of(path)]
    return max((one.st_mtime_ns for one in status), default=0), sum(one.st_size for one in status)
