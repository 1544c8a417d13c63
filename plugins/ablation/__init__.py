"""Ablations, the commands ``ablate`` and ``run``: grids of pipelines over data sets, resumable, with checked claims."""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import CommandSpec

_HERE = "regionkit.plugins.ablation"


@hookimpl
def regionkit_commands() -> list[CommandSpec]:
    """The commands of this plugin."""
    return [
        CommandSpec(
            "ablate",
            f"{_HERE}.commands:ablate",
            "Run every trial of an ablation YAML, or go on with it",
            files=("data", "metrics", "grid", "zip", "include", "exclude", "seeds", "claims"),
            check=f"{_HERE}.planning:check_file",
            pipelines=("base",),
        ),
        CommandSpec("run", f"{_HERE}.commands:run", "Score one pipeline on data sets"),
    ]
