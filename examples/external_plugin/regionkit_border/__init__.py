"""An example plugin: a region encoder that looks at a region's rim, a metric, and a preset that uses both worlds.

Strings only: importing this module must import neither torch nor numpy.
"""

from __future__ import annotations

from pathlib import Path

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import STILL_REGIONS, ComponentSpec, Port


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """The region encoder and the metric."""
    return [
        ComponentSpec(
            kind="region_encoder",
            name="border",
            target="regionkit_border.encoder:Border",
            config="regionkit_border.configs:BorderConfig",
            summary="Mean of the patches along a region's rim",
            reads=Port("image"),
            writes=Port("image"),
            accepts=STILL_REGIONS,
        ),
        ComponentSpec(
            kind="metric",
            name="distinct-words",
            target="regionkit_border.metric:DistinctWords",
            config="regionkit_border.configs:DistinctWordsConfig",
            summary="Share of a caption's words that it has not said before (0 to 1)",
        ),
    ]


@hookimpl
def regionkit_presets() -> list[str]:
    """Folders of YAML files, each a pipeline under the name of its file."""
    return [str(Path(__file__).parent / "presets")]
