"""Training from recipe files, and making banks of text embeddings."""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import CommandSpec, ComponentSpec

_HERE = "regionkit.plugins.training"


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """The recipe that trains any pipeline whose parts learn."""
    return [
        ComponentSpec(
            kind="recipe",
            name="captioning",
            target=f"{_HERE}.captioning:Captioning",
            config=f"{_HERE}.captioning_config:CaptioningConfig",
            summary="Train region encoder, bridge and decoder together on regions and their captions",
            needs=("backbone", "region_encoder", "bridge", "decoder", "dataset"),
            trains=("backbone", "region_encoder", "bridge", "decoder"),
            tiny="{splits: [test], steps: 2, batch_size: 4, images: 4, evaluated: 2}",
        )
    ]


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
