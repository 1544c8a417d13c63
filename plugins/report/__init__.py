"""Reports: the page that a run ends in, by itself and as the command ``report``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import CommandSpec

_HERE = "regionkit.plugins.report"


@hookimpl
def regionkit_commands() -> list[CommandSpec]:
    """The commands of this plugin."""
    return [CommandSpec("report", f"{_HERE}.commands:report", "Write the page of a run: tables, plots, samples")]


@hookimpl
def regionkit_stage_finished(stage: str, info: Mapping[str, Any]) -> None:
    """Write the report of a run that has ended and asks for one."""
    if stage == "run" and info.get("report") and info.get("folder"):
        from pathlib import Path

        from regionkit.plugins.report.writing import write_report

        write_report(Path(info["folder"]))
