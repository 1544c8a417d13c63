"""The protocols under which benchmarks ask for captions, answers and regions: components of the kind ``task``."""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec
from regionkit.plugins.tasks.specs import COMPONENTS


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """Return the tasks."""
    return COMPONENTS
