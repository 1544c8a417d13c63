"""How trials run, whatever they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regionkit.plugins.ablation.cache.space import LIMIT
from regionkit.plugins.ablation.cache.upkeep import stage_folder

#: Bytes of features that are held for later trials.
FEATURE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How trials run; none of it changes what they mean.

    Attributes:
        device: ``auto`` or a torch device.
        feature_bytes: Bytes of features to hold in memory.
        threads: CPU threads of torch; 0 chooses by the size of the models.
        model_bytes: Bytes that models may take together; None for most of the device's memory.
        cache: Folder of the cache of stages; None for none.
        cache_bytes: Most bytes that the cache may take.
    """

    device: str = "auto"
    feature_bytes: int = FEATURE_BYTES
    threads: int = 0
    model_bytes: int | None = None
    cache: Path | None = None
    cache_bytes: int = LIMIT


def run_options(given: Mapping[str, Any]) -> RunOptions:
    """Return how trials run from the options of a command: those that :func:`commands.shared_options` adds."""
    models = given["model_memory"]
    return RunOptions(
        device=given["device"],
        feature_bytes=given["feature_memory"] << 20,
        threads=given["threads"],
        model_bytes=None if models is None else models << 20,
        cache=stage_folder() if given["use_cache"] else None,
        cache_bytes=given["cache_limit"] << 20,
    )
