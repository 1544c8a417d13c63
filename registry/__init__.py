"""Discovery, schema, planning and assembly: from names in YAML to a pipeline that runs.

Importing this package imports neither torch nor YAML; the functions below do, on use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from regionkit.core.errors import Problem
    from regionkit.core.pipeline import Pipeline
    from regionkit.registry.registry import Registry

__all__ = ["get_registry", "load", "validate"]


def get_registry() -> Registry:
    """Return the process-wide registry; plugins are discovered on the first call.

    Raises:
        RegionkitError: Two plugins register the same component or command.
    """
    from regionkit.registry.registry import get_registry as current

    return current()


def load(
    source: str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    device: str = "auto",
    allow_local_plugins: bool = False,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> Pipeline:
    """Assemble a pipeline.

    Args:
        source: A preset's name, the path of a pipeline YAML, or a mapping of the same form.
        overrides: ``a.b=c`` strings laid over it, as ``--set`` does.
        device: ``auto`` takes a GPU where there is one; otherwise a torch device string.
        allow_local_plugins: Run the code of plugins that the file brings under its key ``plugins``. Do so only with
            files that you trust.
        precision: In what backbone and decoder compute; bfloat16 may change captions.

    Raises:
        UnknownName: There is no such preset.
        ConfigError: The pipeline has mistakes; all of them are named, before any weight is read.
    """
    from regionkit.registry.assembly import build_pipeline
    from regionkit.registry.discovery.local_plugins import allow_local_plugins as allowing
    from regionkit.registry.document import read_pipeline
    from regionkit.registry.plan import plan_pipeline

    with allowing(allow_local_plugins):
        document = read_pipeline(source, overrides)
    return build_pipeline(plan_pipeline(document.data, document.line), device=device, precision=precision)


def validate(path: str | Path, *, overrides: Sequence[str] = (), allow_local_plugins: bool = False) -> list[Problem]:
    """Return every mistake of a pipeline, ablation or recipe file; an empty list is a good file.

    Args:
        path: The file.
        overrides: As for :func:`load`.
        allow_local_plugins: As for :func:`load`.
    """
    from regionkit.registry.discovery.local_plugins import allow_local_plugins as allowing
    from regionkit.registry.validation import check_file

    with allowing(allow_local_plugins):
        return list(check_file(path, overrides).problems)
