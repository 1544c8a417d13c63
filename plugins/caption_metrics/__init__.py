"""Metrics: consensus with references, agreement with pictures, words, regions and answers."""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, PaperSpec
from regionkit.plugins.caption_metrics.java import specs as java
from regionkit.plugins.caption_metrics.models import specs as models
from regionkit.plugins.caption_metrics.overlap import specs as overlap
from regionkit.plugins.caption_metrics.regions import specs as regions
from regionkit.plugins.caption_metrics.words import specs as words

_FAMILIES = (overlap, java, models, words, regions)


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """The metrics of this plugin."""
    return [spec for family in _FAMILIES for spec in family.COMPONENTS]


@hookimpl
def regionkit_papers() -> list[PaperSpec]:
    """Papers that the metrics come from."""
    return [paper for family in _FAMILIES for paper in family.PAPERS]
