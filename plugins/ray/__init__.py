"""Runs on a Ray cluster: ``launcher: ray``. Ray, which the extra ``ray`` brings, is imported when a run starts."""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec

_HERE = "regionkit.plugins.ray"


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """The launcher."""
    return [
        ComponentSpec(
            kind="launcher",
            name="ray",
            target=f"{_HERE}.launcher:RayLauncher",
            config=f"{_HERE}.configs:RayConfig",
            requires=("ray",),
            extra="ray",
            summary="Trials on the workers of a Ray cluster, or on one that it starts here",
            tiny="{address: local, workers: 2}",
        )
    ]
