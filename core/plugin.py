"""The hooks through which every plugin, ours or a stranger's, enters the toolkit.

A plugin is a module (or package ``__init__``) that implements some of the hooks below::

    from regionkit.core.plugin import hookimpl
    from regionkit.core.spec import ComponentSpec, Port

    @hookimpl
    def regionkit_components() -> list[ComponentSpec]:
        return [ComponentSpec(kind="region_encoder", name="middle", target="my_pkg.middle:Middle",
                              writes=Port("image"), accepts=("image",), summary="The patch in the middle")]

Such a module holds strings and dataclasses only: importing it must import neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pluggy

from regionkit.core.spec import CommandSpec, ComponentSpec, PaperSpec

#: Name of the pluggy project and of the entry-point group.
PROJECT = "regionkit"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def regionkit_components() -> list[ComponentSpec]:
    """Components that the plugin brings."""
    raise NotImplementedError


@hookspec
def regionkit_papers() -> list[PaperSpec]:
    """Papers that the plugin's components come from."""
    raise NotImplementedError


@hookspec
def regionkit_presets() -> list[str]:
    """Folders of preset YAML files; a preset is named after its file."""
    raise NotImplementedError


@hookspec
def regionkit_published() -> list[str]:
    """Folders of YAML files with the tables that papers print: numbers that runs of presets are put beside."""
    raise NotImplementedError


@hookspec
def regionkit_weights() -> list[str]:
    """Folders of safetensors files whose headers say what they were trained for."""
    raise NotImplementedError


@hookspec
def regionkit_commands() -> list[CommandSpec]:
    """Commands of ``toolkit``."""
    raise NotImplementedError


@hookspec
def regionkit_stage_finished(stage: str, seconds: float, info: Mapping[str, Any]) -> None:
    """Called after a stage of a run (``backbone``, ``region_encoder``, ``bridge``, ``decoder``, ``metric``, ``trial``).

    Args:
        stage: The stage's name.
        seconds: Wall time of the stage.
        info: What the stage worked on: number of items, component names, trial id.
    """
