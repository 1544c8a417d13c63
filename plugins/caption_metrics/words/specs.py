"""Specs of the metrics over words and phrases that captions hold."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, PaperSpec

_HERE = "regionkit.plugins.caption_metrics.words"

COMPONENTS = [
    ComponentSpec(
        kind="metric",
        name="noun-f1",
        target=f"{_HERE}.terms:NounF1",
        config=f"{_HERE}.configs:TermF1Config",
        summary="F1 between the nouns that a caption names and those of its region (0 to 1)",
    ),
    ComponentSpec(
        kind="metric",
        name="attribute-f1",
        target=f"{_HERE}.terms:AttributeF1",
        config=f"{_HERE}.configs:TermF1Config",
        summary="F1 between the attributes that a caption names and those of its region (0 to 1)",
    ),
]

PAPERS: list[PaperSpec] = []
