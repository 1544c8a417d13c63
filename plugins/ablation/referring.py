"""Samples spread out into the regions that are encoded for them, and referring tasks.

Of several candidate regions, a pipeline picks the one that an expression speaks of: the decoder scores the expression
given each candidate, as RegionVLM does for referring segmentation (Lee et al., arXiv 2403.18260, section 4.3); the
answer is the position of the likeliest. Where a sample has several wordings of its expression, each candidate counts
with the one that suits it best, so that no method is held to another one's wording.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from regionkit.core.blame import who
from regionkit.core.contracts import Decoder, Sample
from regionkit.core.errors import FeatureError
from regionkit.core.features import Caption, RegionTokens, RegionViews
from regionkit.core.seams import scored
from regionkit.core.tasks import regions_of

#: Candidates whose expressions are scored together.
_SCORED_TOGETHER = 128


@dataclass(frozen=True)
class Candidates:
    """The regions of samples as samples of their own, so that they can be encoded like any region.

    They are the candidates of a referring sample, the regions that a question mentions, or a sample's one region.

    Attributes:
        samples: All of them, those of one sample after the other.
        owner: For each of them the position of the sample that it belongs to.
    """

    samples: tuple[Sample, ...]
    owner: tuple[int, ...]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Candidates:
        """Spread out the regions of samples."""
        pairs = [(position, one) for position, sample in enumerate(samples) for one in _spread(sample)]
        return cls(tuple(one for _, one in pairs), tuple(position for position, _ in pairs))

    def members(self) -> dict[int, list[int]]:
        """Return for each sample the positions of its regions, in their order."""
        found: dict[int, list[int]] = {}
        for position, owner in enumerate(self.owner):
            found.setdefault(owner, []).append(position)
        return found

    def answers(self, scores: Mapping[int, float], count: int) -> list[Caption | None]:
        """Return for each of ``count`` samples the position of its likeliest candidate, None where none has a score.

        Args:
            scores: Log-likelihood of the expression by position in ``samples``.
            count: Number of samples.
        """
        best: dict[int, tuple[float, int]] = {}
        first: dict[int, int] = {}
        for position, owner in enumerate(self.owner):
            first.setdefault(owner, position)
            score = scores.get(position)
            if score is not None and (owner not in best or score > best[owner][0]):
                best[owner] = (score, position - first[owner])
        return [Caption(str(best[owner][1]), best[owner][0]) if owner in best else None for owner in range(count)]


def _spread(sample: Sample) -> Sequence[Sample]:
    if not (sample.candidates or sample.mentioned):
        return [sample]
    return [
        replace(sample, id=f"{sample.id}/{number}", region=region, candidates=(), mentioned=())
        for number, region in enumerate(regions_of(sample))
    ]


def expression_scores(
    decoder: Decoder, inputs: RegionTokens | RegionViews, samples: Sequence[Sample], prompt: str | None = None
) -> Sequence[float]:
    """Return for each region the log-likelihood of its sample's expression, in the wording that suits it best.

    Raises:
        FeatureError: A log-likelihood is NaN, or the decoder gave something else.
    """
    rows = [(at, wording) for at, sample in enumerate(samples) for wording in dict.fromkeys(sample.references)]
    scores: list[Tensor] = []
    for start in range(0, len(rows), _SCORED_TOGETHER):
        part = rows[start : start + _SCORED_TOGETHER]
        told = [wording for _, wording in part]
        scores.append(scored(decoder, picked(inputs, [at for at, _ in part]), told, prompt).cpu())
    best = [-float("inf")] * len(samples)
    for (at, _), score in zip(rows, torch.cat(scores).tolist(), strict=True):
        if math.isnan(score):
            raise FeatureError(
                f"{who(decoder, 'decoder')}: score() gave NaN",
                "check its weights with `toolkit weights list`; half precision can overflow: try float32",
            )
        best[at] = max(best[at], score)
    return best


def picked(inputs: RegionTokens | RegionViews, rows: Sequence[int]) -> RegionTokens | RegionViews:
    """Return certain regions of a batch, in that order."""
    if isinstance(inputs, RegionViews):
        return RegionViews(tuple(inputs.pictures[row] for row in rows))
    return replace(inputs, tokens=inputs.tokens[list(rows)], mask=inputs.mask[list(rows)])
