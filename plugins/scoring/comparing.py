"""Two runs held against each other, column by column on the same samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from regionkit.core.errors import DataError, UnknownName, did_you_mean
from regionkit.core.signatures import differences
from regionkit.core.statistics import LEVEL, Comparison, Evidence, Seeds, compare_evidence, holm, over_seeds
from regionkit.plugins.scoring.runs import Measured, Run
from regionkit.plugins.scoring.words import listed, short

#: What the values of a column are, where they are compared.
CORPUS, MEANS, NO_SAMPLES = "corpus value", "mean over samples", "no values of samples"


@dataclass(frozen=True, slots=True)
class Change:
    """A sample: its values on both sides, means over the runs of each, and the captions of the first runs."""

    id: str
    first: float
    second: float
    captions: tuple[str, str]


@dataclass(frozen=True, slots=True)
class ColumnResult:
    """What a column says.

    Attributes:
        name: Of the column.
        first: Value of the first side, over its runs.
        second: Of the second.
        basis: What these values are: corpus values, means over samples that stand in for them, or corpus values that
            no sample has a share in.
        higher_is_better: Direction.
        comparison: The second side minus the first; None where no sample has a value, or all are drawn together.
        corrected: p by Holm's method over all columns that were compared; None without p.
        changes: The samples whose values differ, most first.
        judged: Samples that were judged in all runs; the others have no part in anything here.
    """

    name: str
    first: Seeds
    second: Seeds
    basis: str
    higher_is_better: bool
    comparison: Comparison | None
    corrected: float | None = None
    changes: tuple[Change, ...] = ()
    judged: int = 0

    @property
    def found(self) -> bool:
        """Whether there is a difference, as many columns as were looked at: by the corrected p and the interval."""
        return self.comparison is not None and self.comparison.found and (self.corrected or 0.0) < LEVEL


@dataclass(slots=True)
class Compared:
    """Two sides held against each other.

    Attributes:
        n: Samples that both have.
        pictures: How many pictures those are of.
        columns: What each column says.
        overridden: Reasons not to compare them that were overridden.
    """

    n: int
    pictures: int
    columns: list[ColumnResult] = field(default_factory=list)
    overridden: list[str] = field(default_factory=list)


def compare_runs(
    first: Sequence[Run],
    second: Sequence[Run],
    columns: Sequence[str] = (),
    *,
    by_sample: bool = False,
    any_signature: bool = False,
    most: int = 10,
    seed: int = 0,
) -> Compared:
    """Compare two sides, each of one run or of several that differ in their seeds alone.

    Args:
        first: Runs of the first side.
        second: As many of the second.
        columns: Which to compare; none for all that all runs have.
        by_sample: Draw and permute every sample by itself; samples of one picture are no independent witnesses, and
            are otherwise drawn together.
        any_signature: Compare what was scored differently or on other samples all the same, on the samples in common.
        most: Changed samples that are kept of a column.
        seed: Of the draws.

    Raises:
        UnknownName: There is no such column.
        DataError: The runs have no column or sample in common, or were scored differently.
    """
    runs = [*first, *second]
    if len(first) != len(second):
        raise DataError(f"{len(first)} runs against {len(second)}", "give as many seeds on both sides")
    names = _columns(runs, columns)
    reasons = _reasons(runs, names)
    if reasons and not any_signature:
        hint = "to compare them all the same, on the samples that all have, add --any-signature"
        raise DataError(f"{_both(runs)} were not scored alike", *reasons, hint)
    common = [name for name in runs[0].ids if all(name in run.places for run in runs[1:])]
    if not common and _has_samples(runs, names):
        raise DataError(f"{_both(runs)} have no sample in common")
    first, second = ([_restricted(run, common, names) for run in side] for side in (first, second))
    groups = first[0].ids if by_sample else first[0].images
    found = []
    for name in names:
        here, there, kept = _judged(name, first, second)
        changes = tuple(islice(_changes(name, here, there), most))
        column = _column(name, here, there, [groups[at] for at in kept], seed)
        found.append(replace(column, changes=changes, judged=len(kept)))
    return Compared(len(common), len(set(first[0].images)), _corrected(found), reasons)


def _judged(name: str, first: Sequence[Run], second: Sequence[Run]) -> tuple[list[Run], list[Run], Sequence[int]]:
    """Return the runs on the samples that were judged by a column in all of them, and the positions of those.

    Raises:
        DataError: There is none.
    """
    lost = {at for run in (*first, *second) for at in run.columns[name].unjudged}
    ids = first[0].ids
    kept = [at for at in range(len(ids)) if at not in lost]
    if not lost:
        return list(first), list(second), kept
    if not kept:
        raise DataError(f"no sample was judged by {name} on both sides", "leave it out: --metric COLUMN names others")
    common = [ids[at] for at in kept]
    here, there = ([_restricted(run, common, [name]) for run in side] for side in (first, second))
    return here, there, kept


def _both(runs: Sequence[Run]) -> str:
    return f"{short(runs[0].name, 200)} and {short(runs[-1].name, 200)}"


def _reasons(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """Return why these columns of the runs should not be compared."""
    others = _other_samples(runs) if _has_samples(runs, names) else ()
    return [*others, *_other_references(runs), *_other_signatures(runs, names)]


def _has_samples(runs: Sequence[Run], names: Sequence[str]) -> bool:
    """Say whether any value of these columns follows from samples."""
    columns = [run.columns[name] for run in runs for name in names]
    return any(one.per_sample is not None or one.statistics is not None for one in columns)


def _columns(runs: Sequence[Run], wanted: Sequence[str]) -> list[str]:
    shared = [name for name in runs[0].columns if all(name in run.columns for run in runs)]
    for name in wanted:
        if name not in shared:
            hint = did_you_mean(name, shared)
            raise UnknownName(f"no column '{name}' in all runs", hint, f"they share: {', '.join(shared) or 'none'}")
    if not shared:
        raise DataError(
            "the runs have no column in common",
            *(f"{short(run.name, 200)} has: {', '.join(run.columns) or 'none'}" for run in runs),
        )
    return list(dict.fromkeys(wanted)) or shared


def _other_samples(runs: Sequence[Run]) -> Iterator[str]:
    """Yield which samples a run has that another lacks."""
    everything = dict.fromkeys(name for run in runs for name in run.ids)
    for run in runs:
        lacking = [name for name in everything if name not in run.places]
        if lacking:
            yield f"{short(run.name, 200)} lacks {len(lacking):,} of the samples: {listed(lacking)}"


def _other_references(runs: Sequence[Run]) -> Iterator[str]:
    known = {run.references: run.name for run in runs if run.references}
    if len(known) > 1:
        told = (f"{digest} for {short(name, 200)}" for digest, name in known.items())
        yield f"references: other texts or ids, by their digests {', '.join(told)}"


def _other_signatures(runs: Sequence[Run], names: Sequence[str]) -> Iterator[str]:
    for name in names:
        signatures = [run.columns[name].signature for run in runs]
        other = next((one for one in signatures[1:] if one != signatures[0]), None)
        if other is not None:
            yield f"{name}: {'; '.join(differences(signatures[0], other))}"


def _restricted(run: Run, ids: Sequence[str], names: Sequence[str]) -> Run:
    """Return certain columns of a run on certain samples, in that order; what follows from samples is made anew."""
    if list(run.ids) == list(ids):
        return run
    rows = np.array([run.places[name] for name in ids], np.intp)
    columns = {name: _taken(run.columns[name], rows, fewer=len(ids) < len(run.ids)) for name in names}
    return Run(
        run.name, ids, [run.captions[row] for row in rows], columns, [run.images[row] for row in rows], run.references
    )


def _taken(one: Measured, rows: np.ndarray, *, fewer: bool) -> Measured:
    found = replace(
        one,
        unjudged={at: one.unjudged[row] for at, row in enumerate(rows.tolist()) if row in one.unjudged},
        per_sample=None if one.per_sample is None else one.per_sample[rows],
        statistics=None if one.statistics is None else one.statistics[rows],
    )
    if not fewer or one.evidence is None:
        return found
    if found.statistics is not None and found.pool is not None:
        return replace(found, value=Evidence(found.statistics, found.pool).value)
    assert found.per_sample is not None
    if len(found.unjudged) == len(rows):
        return found
    return replace(found, value=float(np.nanmean(found.per_sample)))


def _column(name: str, first: Sequence[Run], second: Sequence[Run], groups: Sequence[str], seed: int) -> ColumnResult:
    here, there = [run.columns[name] for run in first], [run.columns[name] for run in second]
    both = [*here, *there]
    # Statistics of two components are no rows of one kind, and one cannot change places with the other.
    alike = len({(one.metric, one.part) for one in both}) == 1
    whole = (alike and all(one.statistics is not None for one in both)) or all(one.is_mean for one in both)
    evidence = [one.evidence if whole else one.mean_evidence for one in both]
    known = [one for one in evidence if one is not None]
    if len(known) < len(both):
        values = [over_seeds([one.value for one in side]) for side in (here, there)]
        return ColumnResult(name, values[0], values[1], NO_SAMPLES, here[0].higher_is_better, None)
    ours, theirs = known[: len(here)], known[len(here) :]
    several = len(set(groups)) > 1  # of a single one nothing can be drawn
    return ColumnResult(
        name,
        over_seeds([one.value for one in ours]),
        over_seeds([one.value for one in theirs]),
        CORPUS if whole else MEANS,
        here[0].higher_is_better,
        compare_evidence(Evidence.mean_of(theirs), Evidence.mean_of(ours), groups, seed) if several else None,
    )


def _changes(name: str, first: Sequence[Run], second: Sequence[Run]) -> Iterator[Change]:
    """Yield the samples whose values differ, those that differ most first, of equals as they come."""
    sides = [[run.columns[name].per_sample for run in side] for side in (first, second)]
    if any(one is None for side in sides for one in side):
        return
    here, there = (np.mean(side, axis=0) for side in sides)  # type: ignore[arg-type]
    difference = np.abs(there - here)
    for at in np.argsort(-difference, kind="stable"):
        if not difference[at]:
            return
        captions = first[0].captions[at], second[0].captions[at]
        yield Change(first[0].ids[at], float(here[at]), float(there[at]), captions)


def _corrected(found: Sequence[ColumnResult]) -> list[ColumnResult]:
    """Add what Holm's method makes of the p values."""
    family = holm([None if one.comparison is None else one.comparison.p for one in found])
    return [replace(one, corrected=p) for one, p in zip(found, family, strict=True)]
