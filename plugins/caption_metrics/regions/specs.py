"""Specs of the metrics of regions and answers."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, PaperSpec

_HERE = "regionkit.plugins.caption_metrics.regions"

COMPONENTS = [
    ComponentSpec(
        kind="metric",
        name="referring-iou",
        target=f"{_HERE}.referring:ReferringIou",
        summary="Overlap of the region that an expression was taken to mean with the one that it means (0 to 1)",
        paper="regionvlm",
    ),
]

PAPERS: list[PaperSpec] = []
