"""Judges: language models behind an address, in a folder or on record, and the metrics that ask them."""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, PaperSpec
from regionkit.plugins.judges.backends import specs as backend_specs
from regionkit.plugins.judges.metrics import specs as metric_specs


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """The judges, and the metrics that need one."""
    return [*backend_specs.COMPONENTS, *metric_specs.COMPONENTS]


@hookimpl
def regionkit_papers() -> list[PaperSpec]:
    """Papers that the metrics come from."""
    return metric_specs.PAPERS
