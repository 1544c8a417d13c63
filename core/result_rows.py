"""The rows of a database of results: what a trial, a sample and a score are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SampleRow:
    """What became of a sample: a caption, or the reason why there is none.

    Attributes:
        sample: Id of the sample.
        image: Key of its picture.
        caption: The caption; None where there is none.
        error: Why there is none.
        kind: Kind of its region; empty where nobody said it.
        area: Area of its region in square pixels of the picture; None for a kind that has none.
    """

    sample: str
    image: str
    caption: str | None
    error: str = ""
    kind: str = ""
    area: float | None = None


@dataclass(frozen=True, slots=True)
class MetricRow:
    """What a metric says of a trial, or one of its parts.

    Attributes:
        metric: The column.
        value: The corpus value.
        signature: What it depends on.
        higher_is_better: Direction.
        per_sample: One value for each sample with a caption, NaN for those that could not be judged; None without any.
        statistics: (n, k) what each sample with a caption adds to the corpus value; None where it is a mean or follows
            from no sums.
        unjudged: Why samples could not be judged, by their position among those with a caption.
        component: Name of the metric, whose ``pool`` makes corpus values of statistics; empty where it is not known.
        part: Which of its values this is.
    """

    metric: str
    value: float
    signature: str
    higher_is_better: bool
    per_sample: tuple[float, ...] | None
    statistics: NDArray[np.float64] | None = field(default=None, compare=False)
    unjudged: Mapping[int, str] = field(default_factory=dict)
    component: str = ""
    part: str = ""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """What a list says of a trial that has ended: ``data`` is ``TASK@NAME``, ``status`` is ``done`` or ``failed``."""

    id: str
    data: str
    seed: int
    status: str


@dataclass(frozen=True, slots=True)
class TrialResult:
    """A trial that has ended.

    Attributes:
        id: Id of the trial.
        data: ``TASK@NAME``.
        seed: Evaluation seed.
        config: Everything that went into the id.
        status: ``done``, or ``failed`` with a reason.
        reason: Why it failed.
        samples: Every sample in order.
        metrics: Scores; empty where it failed.
        seconds: Wall time by stage.
        notes: What a reader has to know of how it came about, a sentence each.
    """

    id: str
    data: str
    seed: int
    config: Mapping[str, Any]
    status: str
    reason: str
    samples: tuple[SampleRow, ...]
    metrics: tuple[MetricRow, ...]
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """Samples without a caption."""
        return sum(row.caption is None for row in self.samples)
