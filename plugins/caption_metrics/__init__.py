"""Metrics: consensus with references, agreement with pictures, words, regions and answers."""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import CommandSpec, ComponentSpec, PaperSpec
from regionkit.plugins.caption_metrics.java import specs as java_specs
from regionkit.plugins.caption_metrics.models import specs as models_specs
from regionkit.plugins.caption_metrics.overlap import specs as overlap_specs
from regionkit.plugins.caption_metrics.regions import specs as regions_specs
from regionkit.plugins.caption_metrics.words import specs as words_specs

_FAMILIES = (overlap_specs, java_specs, models_specs, words_specs, regions_specs)


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """The metrics of this plugin."""
    return [spec for family in _FAMILIES for spec in family.COMPONENTS]


@hookimpl
def regionkit_papers() -> list[PaperSpec]:
    """Papers that the metrics come from."""
    return [paper for family in _FAMILIES for paper in family.PAPERS]


@hookimpl
def regionkit_commands() -> list[CommandSpec]:
    """The command that makes tables of document frequencies."""
    return [
        CommandSpec(
            "idf",
            "regionkit.plugins.caption_metrics.overlap.idf_command:idf",
            "Count document frequencies of references, for cider-d",
        )
    ]
