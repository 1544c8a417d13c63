"""Ablations, the commands ``ablate`` and ``run``: grids of pipelines over data sets, resumable, with checked claims."""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import CommandSpec, ComponentSpec

_HERE = "regionkit.plugins.ablation"


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """The launcher of this plugin."""
    return [
        ComponentSpec(
            kind="launcher",
            name="local",
            target=f"{_HERE}.launching.local:Local",
            config=f"{_HERE}.launching.configs:LocalConfig",
            summary="Trials in this process, or in worker processes of this machine, a GPU each",
            tiny="{workers: 2}",
        )
    ]


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
        CommandSpec("run", f"{_HERE}.run_command:run", "Score one pipeline on data sets"),
        CommandSpec(
            "worker", f"{_HERE}.worker_command:worker", "Join a run from another shell, GPU, machine or Slurm step"
        ),
        CommandSpec("rerun", f"{_HERE}.rerun_command:rerun", "Run recorded trials again: does the same come out?"),
        CommandSpec("cache", f"{_HERE}.cache_command:cache", "Outputs of stages on disk: list, verify, clear"),
    ]
