"""ViZer's mapper: from a language model's hidden states of a caption to what its vision encoder saw.

Byun et al., Unifying Vision-Language Latents for Zero-label Image Caption Enhancement, arXiv 2510.12931, section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from regionkit.core.contracts import BuildContext, GapBridge, WeightArtifact
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.features import RegionTokens
from regionkit.core.spec import Space
from regionkit.core.stored import drawn_from, with_stored
from regionkit.core.weights import WeightHeader, load_into
from regionkit.plugins.vizer.configs import ARCHITECTURE, MapperConfig

#: Key of ``WeightHeader.extra`` under which stage 1 says how it trained a mapper, and what became of it.
NOTES = "vizer"
_UNKNOWN = "?[1]"


class Mapper(nn.Module, GapBridge):
    """An MLP h on hidden states (r, t, d_t) of captions, whose results (r, 1, d_v) lie where visual features do.

    Args:
        config: Depth, width, pooling, centring.
        reads: Space of the hidden states, ``name[d_t]``.
        writes: Space of the visual features, ``name[d_v]``.
        seed: Of the initial weights.
        notes: How it was trained, as the header of its weights says; None for one that is not.

    Attributes:
        mean: (d_v,) running mean of the targets, taken off them with ``center``.
        seen: Targets that went into it.
    """

    mean: Tensor
    seen: Tensor

    def __init__(
        self, config: MapperConfig, reads: str, writes: str, seed: int = 0, notes: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.seed = seed
        self.notes = notes
        self.trained = False
        self._shape(reads, writes)

    @classmethod
    def build(cls, config: MapperConfig, context: BuildContext) -> Self:
        """Build with the weights of the context, or untrained where it has none.

        Raises:
            WeightsError: The weights are damaged, or of another shape than the options ask for.
        """
        file = context.weights
        if file is None:
            return cls(config, context.reads, context.writes, context.seed)
        header = file.header
        config = with_stored(config, header.config, ARCHITECTURE, kind="mapper", source=str(file.path), words_ask=False)
        mapper = cls(config, header.space, header.writes, context.seed, header.extra.get(NOTES, {}))
        load_into(mapper, file.tensors(), file.path)
        mapper.trained = True
        return mapper.eval()

    def fit_to(self, reads: str, writes: str) -> None:
        """Take the spaces of a recipe's decoder and targets, known only once its parts are built.

        An untrained mapper is made anew from its seed; trained weights must have been made for these spaces.

        Raises:
            WeightsError: They were made for others.
        """
        if (self.reads, self.writes) == (reads, writes):
            return
        if not self.trained:
            place = next(self.parameters()).device
            self._shape(reads, writes)
            self.to(place)
        else:
            raise WeightsError(
                f"the mapper's weights lead from {self.reads} to {self.writes}, "
                f"and this recipe needs {reads} to {writes}",
                "train one for this decoder and backbone: toolkit train with the recipe mapper-alignment",
            )

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Map hidden states (r, t, d_t) of which ``mask`` (r, t) tells padding, to (r, d_v)."""
        mask = mask.unsqueeze(-1)
        states = states.masked_fill(~mask, 0.0)
        counts = mask.sum(1).clamp(min=1).to(states.dtype)
        if self.config.pool == "mean":
            return self.network(states.sum(1) / counts)  # type: ignore[no-any-return]
        if self.config.pool == "last":
            places = torch.arange(states.shape[1], device=states.device) * mask.squeeze(-1)
            return self.network(states[torch.arange(len(states)), places.argmax(1)])  # type: ignore[no-any-return]
        mapped = self.network(states)
        if self.config.pool == "token":
            mapped = normalize(mapped, dim=-1)
        return mapped.masked_fill(~mask, 0.0).sum(1) / counts  # type: ignore[no-any-return]

    def bridge(self, tokens: RegionTokens) -> RegionTokens:
        """Map the hidden states (r, t, d_t) of r captions to one visual vector each, (r, 1, d_v).

        With ``center`` it is what the features differ from their mean by.

        Raises:
            FeatureError: They have another width, no token at all, or a value is NaN or infinite.
        """
        return RegionTokens.single(self._mapped(tokens).to(tokens.tokens.dtype), self.writes)

    def alignment_loss(self, tokens: RegionTokens, targets: Tensor) -> Tensor:
        """Return 1 - cos(F_I, F_T), the mean over regions: the loss of both stages.

        In training mode the running mean of the targets takes these in first.

        Args:
            tokens: Hidden states (r, t, d_t) of r captions.
            targets: (r, d_v) visual features F_I.

        Raises:
            FeatureError: As for :meth:`bridge`, or the targets have another width.

        Source: Byun et al., arXiv 2510.12931, section 3.1; ``pool: token`` has the mean over tokens of one cosine each.
        """
        return 1 - self.similarity(self._mapped(tokens), self.centred(targets)).mean()

    def similarity(self, mapped: Tensor, targets: Tensor) -> Tensor:
        """Return (r,) cosines of mapped captions (r, d_v) and targets (r, d_v) that are centred already."""
        if self.config.pool == "token":  # the mean of unit vectors, which is not one
            return (mapped * normalize(targets, dim=-1)).sum(-1)
        return cosine_similarity(mapped, targets, dim=-1)

    def centred(self, targets: Tensor) -> Tensor:
        """Take the mean off targets (r, d_v); in training mode that of all targets so far, these included.

        Raises:
            FeatureError: They have another width than the mapper writes, or a value is NaN or infinite.
        """
        if targets.ndim != 2 or targets.shape[1] != self.mean.shape[0]:
            raise FeatureError(f"the mapper writes {self.writes} and got targets {tuple(targets.shape)}")
        if not bool(torch.isfinite(targets).all()):
            raise FeatureError("a target of the mapper is NaN or infinite", "check the backbone's weights")
        targets = targets.to(self.mean)
        if not self.config.center:
            return targets
        if self.training and len(targets):
            with torch.no_grad():
                self.seen += len(targets)
                self.mean += (targets - self.mean).sum(0) / self.seen
        return targets - self.mean

    def artifact(self) -> WeightArtifact:
        """Return the weights; how they were trained is the recipe's to add."""
        config = {name: getattr(self.config, name) for name in ARCHITECTURE}
        extra = {NOTES: dict(self.notes)} if self.notes else {}
        header = WeightHeader("bridge", "mapper", self.reads, self.writes, config=config, extra=extra)
        return WeightArtifact(self.state_dict(), header)

    def _shape(self, reads: str, writes: str) -> None:
        self.reads, self.writes = reads, writes
        inner, outer = _widths(reads, writes)
        sizes = [inner, *[self.config.width] * (self.config.depth - 1), outer]
        layers: list[nn.Module] = []
        with drawn_from(self.seed):
            for first, second in pairwise(sizes):
                layers += [nn.Linear(first, second), nn.GELU()]
        self.network = nn.Sequential(*layers[:-1])
        self.register_buffer("mean", torch.zeros(outer))
        self.register_buffer("seen", torch.zeros(()))

    def _mapped(self, tokens: RegionTokens) -> Tensor:
        states = tokens.tokens
        inner, _ = _widths(self.reads, self.writes)
        if states.shape[-1] != inner:
            raise FeatureError(
                f"bridge 'mapper' reads {self.reads} and got vectors of width {states.shape[-1]} in {tokens.space}"
            )
        if not bool(tokens.mask.any(1).all()):
            raise FeatureError("a text without a single hidden state cannot be mapped")
        tokens.check_finite("what bridge 'mapper' reads: the decoder's hidden states")
        mapped: Tensor = self(states.to(self.mean), tokens.mask)
        return mapped


def _widths(reads: str, writes: str) -> tuple[int, int]:
    """Return both widths; spaces that nobody named yet are one wide, until :meth:`Mapper.fit_to` says them."""
    return Space.parse(reads or _UNKNOWN).dim, Space.parse(writes or _UNKNOWN).dim
