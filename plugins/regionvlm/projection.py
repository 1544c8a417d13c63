"""The linear layer between the Q-Former and its language model (BLIP-2; Lee et al., section 3.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from torch import nn

from regionkit.core.contracts import BuildContext, GapBridge, WeightArtifact
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.features import RegionTokens
from regionkit.core.spec import Space
from regionkit.core.stored import drawn_from
from regionkit.core.weights import WeightHeader, load_into


class LanguageProjection(nn.Module, GapBridge):
    """Maps every token of a region by itself into the space that a decoder reads.

    Args:
        reads: Space of the tokens, ``name[dim]``.
        writes: Space of the decoder's inputs.
    """

    def __init__(self, reads: str, writes: str) -> None:
        super().__init__()
        self.reads, self.space = reads, writes
        self.projection = nn.Linear(Space.parse(reads).dim, Space.parse(writes).dim)

    @classmethod
    def build(cls, config: object, context: BuildContext) -> Self:
        """Build with the weights of the context, or untrained from ``context.seed`` where it has none.

        Raises:
            WeightsError: The weights are damaged or of other widths.
        """
        with drawn_from(context.seed):
            bridge = cls(context.reads, context.writes)
        file = context.weights
        if file is not None:
            tensors = file.tensors()
            weight = tensors.get("projection.weight")
            if weight is not None and weight.shape != bridge.projection.weight.shape:
                raise WeightsError(
                    f"{file.path}: this projection maps vectors of width {weight.shape[1]} to {weight.shape[0]}, and "
                    f"{context.reads} to {context.writes} is needed here",
                    "take region encoder, projection and decoder of one release",
                )
            load_into(bridge, tensors, file.path)
        return bridge.eval()

    def bridge(self, tokens: RegionTokens) -> RegionTokens:
        """Project tokens (r, t, d) to (r, t, width of the decoder), of their own type; padding becomes zeros.

        Raises:
            FeatureError: A token has another width, or holds NaN or infinite values.
        """
        dim = self.projection.in_features
        if tokens.tokens.shape[-1] != dim:
            raise FeatureError(
                f"bridge 'language-projection' reads {self.reads} and got tokens of width {tokens.tokens.shape[-1]} in "
                f"{tokens.space}"
            )
        padding = ~tokens.mask.unsqueeze(-1)
        values = tokens.tokens.masked_fill(padding, 0)
        if not self.training:
            replace(tokens, tokens=values).check_finite("what bridge 'language-projection' reads: the region encoder")
        projected = self.projection(values.to(self.projection.weight))
        return RegionTokens(projected.to(values.dtype).masked_fill(padding, 0), tokens.mask, self.space)

    def artifact(self) -> WeightArtifact:
        """Return the weights."""
        header = WeightHeader("bridge", "language-projection", self.reads, writes=self.space)
        return WeightArtifact(self.state_dict(), header)
