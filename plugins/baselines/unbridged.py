"""No bridge: the modality gap as it is."""

from __future__ import annotations

from typing import Self

from regionkit.core.contracts import BuildContext, GapBridge
from regionkit.core.errors import PortError
from regionkit.core.features import RegionTokens
from regionkit.core.spec import Space
from regionkit.plugins.baselines.configs import UnbridgedConfig


class Unbridged(GapBridge):
    """Hand image vectors to a decoder of text as if there were no gap; reports mark such a pipeline "unbridged".

    Args:
        config: Options.
        space: The text space whose name the vectors get, ``name[dim]``; their own where it is empty.
    """

    def __init__(self, config: UnbridgedConfig | None = None, space: str = "") -> None:
        self.config = config or UnbridgedConfig()
        self.space = space

    @classmethod
    def build(cls, config: UnbridgedConfig, context: BuildContext) -> Self:
        """Make the bridge.

        Raises:
            PortError: Image and text space differ in width, so that no relabelling can join them.
        """
        if context.reads and context.writes:
            reads, writes = Space.parse(context.reads), Space.parse(context.writes)
            if reads.dim != writes.dim:
                raise PortError(
                    f"bridge 'none' cannot join {reads} and {writes}: they differ in width",
                    "choose a bridge that changes the width: toolkit list-components --kind bridge",
                )
        return cls(config, context.writes)

    def bridge(self, tokens: RegionTokens) -> RegionTokens:
        """Relabel tokens (r, t, d) as text, as unit vectors unless ``normalise`` is off.

        Raises:
            FeatureError: A value is NaN or infinite.
        """
        tokens.check_finite("the region encoder before bridge 'none'")
        return tokens.relabelled(self.space, unit=self.config.normalise)
