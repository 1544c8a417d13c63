"""What a run came to, column by column and sample by sample, wherever it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionkit.core.statistics import Evidence, Pool

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measured:
    """A column of a run.

    Attributes:
        value: The corpus value.
        signature: What it depends on.
        higher_is_better: Direction.
        per_sample: (n,) values of samples, NaN for those that could not be judged; None where the metric has none.
        statistics: (n, k) what each sample adds to the corpus value; None where it is a mean, or was not kept.
        pool: Corpus values from sums of ``statistics``; None without them.
        metric: Name of the component; empty where it is not known.
        options: Its options, filled.
        part: Which of its values this is.
        unjudged: Why samples could not be judged, by position; their rows of ``statistics`` are zeros.
    """

    value: float
    signature: str
    higher_is_better: bool = True
    per_sample: Floats | None = None
    statistics: Floats | None = None
    pool: Pool | None = None
    metric: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    part: str = ""
    unjudged: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_mean(self) -> bool:
        """Whether the corpus value is the mean of those of the samples, but for rounding."""
        if self.statistics is not None or self.per_sample is None or np.isnan(self.per_sample).all():
            return False
        return abs(float(np.nanmean(self.per_sample)) - self.value) <= 1e-9 * max(1.0, abs(self.value))

    @property
    def evidence(self) -> Evidence | None:
        """What the corpus value is made of: its statistics, or values whose mean it is; None for anything else."""
        if self.statistics is not None and self.pool is not None:
            return Evidence(self.statistics, self.pool)
        return self.mean_evidence if self.is_mean else None

    @property
    def mean_evidence(self) -> Evidence | None:
        """What the mean of the values of samples is made of, whether or not it is the corpus value."""
        return None if self.per_sample is None else Evidence.of_mean(self.per_sample.tolist())


@dataclass(frozen=True, eq=False)
class Run:
    """Captions and what metrics say of them.

    Attributes:
        name: How messages call it.
        ids: Of n samples.
        captions: One a sample.
        columns: What metrics say.
        images: Key of each sample's picture.
        references: Digest of what was judged against; empty where it is not known.
        failed: Metrics that could say nothing at all, and why.
        about: What tells it from the other trials of its run folder; empty where there is nothing to tell.
        data: ``TASK@NAME``, for a trial of a run folder; empty for a file.
    """

    name: str
    ids: Sequence[str]
    captions: Sequence[str]
    columns: Mapping[str, Measured]
    images: Sequence[str]
    references: str = ""
    failed: Mapping[str, str] = field(default_factory=dict)
    about: str = ""
    data: str = ""

    @property
    def unjudged(self) -> dict[str, Mapping[int, str]]:
        """Columns with samples that could not be judged, and why."""
        return {name: one.unjudged for name, one in self.columns.items() if one.unjudged}

    @cached_property
    def places(self) -> dict[str, int]:
        """Position of each sample by its id."""
        return {name: at for at, name in enumerate(self.ids)}
