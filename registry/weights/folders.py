"""Where weights go, and whether the index looks there."""

from __future__ import annotations

import shlex
from pathlib import Path

from regionkit.registry.registry import get_registry, user_weight_folders


def default_folder() -> Path:
    """Return the first folder of $REGIONKIT_WEIGHTS, or ``weights``."""
    folders = user_weight_folders()
    return folders[0] if folders else Path("weights")


def is_searched(path: Path) -> bool:
    """Say whether pipelines find a file by themselves."""
    folders = [folder.resolve() for folder in get_registry().weight_folders]
    return any(path.resolve().is_relative_to(folder) for folder in folders)


def found_text(path: Path) -> str:
    """Say that pipelines find a weight file by themselves, or what to type so that they do."""
    if is_searched(path):
        return "pipelines find it by themselves"
    return f"for pipelines to find it: export REGIONKIT_WEIGHTS={shlex.quote(str(path.parent.resolve()))}"
