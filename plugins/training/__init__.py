"""Training from recipe files, and making banks of text embeddings."""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import CommandSpec

_HERE = "regionkit.plugins.training"


@hookimpl
def regionkit_commands() -> list[CommandSpec]:
    """``toolkit train`` and ``toolkit bank``."""
    return [
        CommandSpec(
            "train",
            f"{_HERE}.train_command:train",
            "Train the part that a recipe file describes",
            files=("recipe",),
            check=f"{_HERE}.recipe_file:check_file",
        ),
        CommandSpec("bank", f"{_HERE}.bank_command:bank", "Make banks of text embeddings for the memory bridge"),
    ]
