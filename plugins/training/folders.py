"""Where weights go, and whether the index looks there."""

from __future__ import annotations

import shlex
from pathlib import Path

from regionkit.registry import get_registry
from regionkit.registry.registry import user_weight_folders


def default_folder() -> Path:
    """Return the first folder of $REGIONKIT_WEIGHTS, or ``weights``."""
    folders = user_weight_folders()
    return folders[0] if folders else Path("weights")


def found_text(path: Path) -> str:
    """Say that pipelines find a weight file by themselves, or what to type so that they do."""
    folders = [folder.resolve() for folder in get_registry().weight_folders]
    if any(path.resolve().is_relative_to(folder) for folder in folders):
        return "pipelines find it by themselves"
    return f"for pipelines to find it: export REGIONKIT_WEIGHTS={shlex.quote(str(path.parent.resolve()))}"
