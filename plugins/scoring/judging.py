"""Scores of captions by the metrics of a command line, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from regionkit.core.contracts import Sample, Score, column
from regionkit.core.errors import DataError, RunFailed
from regionkit.core.statistics import Pool, intervals
from regionkit.plugins.scoring.judges import Judge, Jury
from regionkit.plugins.scoring.matching import Matched
from regionkit.plugins.scoring.references import References
from regionkit.plugins.scoring.runs import Measured, Run
from regionkit.plugins.scoring.words import listed


def judge(name: str, jury: Jury, matched: Matched, references: References) -> Run:
    """Score captions by all metrics.

    Raises:
        DataError: Samples lack what a metric needs, or pictures are missing.
        RunFailed: A metric gives no finite number.
    """
    for one in jury.judges:
        check_carries(one, matched.samples)
    if jury.pictures is not None:
        jury.pictures.find((sample.image_id for sample in matched.samples), references.pictures)
    columns: dict[str, Measured] = {}
    for one in jury.judges:
        columns |= _columns(one, matched.samples, matched.captions)
    return Run(
        name,
        [sample.id for sample in matched.samples],
        matched.captions,
        columns,
        [sample.image_id for sample in matched.samples],
        references.digest(),
    )


def check_carries(judge: Judge, samples: Sequence[Sample]) -> None:
    """Check that samples carry what a metric needs.

    Raises:
        DataError: Some do not; they are named.
    """
    for need in judge.metric.needs:
        if need == "references":
            lacking = [sample.id for sample in samples if not sample.references]
            what, how = "references", 'write {"ID": ["reference", ...]}'
        else:
            lacking = [sample.id for sample in samples if need not in sample.info]
            what, how = f"'{need}'", f'write {{"ID": {{"references": [...], "{need}": ...}}}}'
        if lacking:
            raise DataError(f"{judge.ref.label} needs {what}, which {len(lacking):,} ids lack: {listed(lacking)}", how)


def interval_of(run: Run, seed: int) -> Mapping[str, tuple[float, float]]:
    """Return the 95 % intervals of the columns whose values follow from samples."""
    evidence = {name: one.evidence for name, one in run.columns.items()}
    return intervals({name: one for name, one in evidence.items() if one is not None}, seed)


def _columns(judge: Judge, samples: Sequence[Sample], captions: Sequence[str]) -> dict[str, Measured]:
    judge.metric.update(samples, captions)
    score = judge.metric.compute()
    label, options = judge.ref.label, judge.ref.to_dict()
    del options["name"]
    found = {}
    for part, one in (score.parts or {"": score}).items():
        name = column(label, part)
        _check(name, one, len(samples))
        pool = None if one.statistics is None else _pool(judge, part)
        found[name] = Measured(
            float(one.value),
            one.signature,
            judge.metric.higher_is_better,
            None if one.per_sample is None else np.array(one.per_sample, np.float64),
            one.statistics,
            pool,
            judge.ref.part.name,
            options,
            part,
        )
    return found


def _pool(judge: Judge, part: str) -> Pool:
    metric = type(judge.metric)
    return lambda sums: metric.pool(part, sums)


def _check(name: str, score: Score, samples: int) -> None:
    """Check that a score is one.

    Raises:
        RunFailed: It is no finite number, or does not have one value a sample.
    """
    fault = "this is a fault of the metric: its compute() must return finite numbers, one a sample in order"
    if not all(map(math.isfinite, (score.value, *(score.per_sample or ())))):
        raise RunFailed(f"metric '{name}' gave a value that is not a finite number", fault)
    for held in (score.per_sample, score.statistics):
        if held is not None and len(held) != samples:
            raise RunFailed(f"metric '{name}' gave {len(held):,} values for {samples:,} samples", fault)
