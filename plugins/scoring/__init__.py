"""Captions without a pipeline: ``score`` judges files of them, ``compare`` says whether two runs differ."""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import CommandSpec

_HERE = "regionkit.plugins.scoring"


@hookimpl
def regionkit_commands() -> list[CommandSpec]:
    """The commands of this plugin."""
    return [
        CommandSpec("score", f"{_HERE}.score_command:score", "Score a file of captions against references"),
        CommandSpec(
            "compare", f"{_HERE}.compare_command:compare", "Say whether two runs differ, by how much and where"
        ),
    ]
