"""Which claims of an ablation hold, from the stored results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from regionkit.core.results import ResultStore
from regionkit.core.signatures import differences
from regionkit.core.statistics import LEVEL, Comparison, Evidence, Floats, compare, compare_evidence, holm
from regionkit.plugins.ablation.claims import Claim, Pair, match_trials
from regionkit.plugins.ablation.estimates import pool_of, rows_of
from regionkit.plugins.ablation.trials import AblationPlan


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim on one data set by one metric.

    Attributes:
        claim: What was claimed.
        on: Data set.
        by: Metric.
        comparison: The statistics; None where it could not be decided.
        reason: Why it could not.
        p_corrected: The p by Holm's method among all claims of the file; None for a claim with a tolerance, which its
            interval decides, and where there is no comparison.
        strict: Whether the corrected p decides.
    """

    claim: Claim
    on: str
    by: str
    comparison: Comparison | None
    reason: str = ""
    p_corrected: float | None = None
    strict: bool = False

    @property
    def shown(self) -> bool:
        """Whether the ordering shows: the stated direction, and p below 0.05.

        A claim with a tolerance shows where the whole 95 % interval of the difference keeps to it.
        """
        found, within = self.comparison, self.claim.within
        if found is None:
            return False
        if not within:
            return found.difference > 0 and self._decides(found) < LEVEL
        return found.low > -within and (not self.claim.alike or found.high < within)

    @property
    def shown_corrected(self) -> bool | None:
        """Whether the ordering shows by the corrected p as well; None where there is none."""
        if self.p_corrected is None or self.comparison is None:
            return None
        return self.comparison.difference > 0 and self.p_corrected < LEVEL

    @property
    def contradicted(self) -> bool:
        """Whether the opposite shows: p below 0.05 the other way, or an interval wholly outside the tolerance."""
        found, within = self.comparison, self.claim.within
        if found is None:
            return False
        if not within:
            return found.difference < 0 and self._decides(found) < LEVEL
        return found.high < -within or (self.claim.alike and found.low > within)

    def _decides(self, found: Comparison) -> float:
        return self.p_corrected if self.strict and self.p_corrected is not None else found.p

    @property
    def verdict(self) -> str:
        """What became of the claim.

        ``holds``; ``fails`` where the opposite shows; ``not shown`` where neither does; ``recorded`` for a claim that
        need not hold; ``undecided`` where trials are missing.
        """
        if self.comparison is None:
            return "undecided"
        if not self.claim.must:
            return "recorded"
        return "holds" if self.shown else "fails" if self.contradicted else "not shown"

    @property
    def ok(self) -> bool:
        """False where a claim that must hold does not."""
        return self.shown or not self.claim.must

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        claim = self.claim
        return {
            "say": claim.say,
            "on": self.on,
            "by": self.by,
            "where": {axis: list(values) for axis, values in claim.where.items()},
            "within": claim.within,
            "must": claim.must,
            "verdict": self.verdict,
            "shown": self.shown,
            "shown_corrected": self.shown_corrected,
            "reason": self.reason,
            **(asdict(self.comparison) if self.comparison is not None else {}),
            "p_corrected": self.p_corrected,
        }


def judge_claims(plan: AblationPlan, store: ResultStore) -> list[Verdict]:
    """Judge every claim on every data set by every metric that it names; p are corrected for being many."""
    trials = [trial.axes for trial in plan.trials]
    done = store.done()
    verdicts = []
    for claim in plan.spec.claims:
        for on in claim.on:
            pairs = match_trials(claim, on, trials, plan.spec.mates(claim.axis))
            wanted = {trial for pair in pairs for trial in (*pair.better, *pair.worse)}
            for by in claim.by:
                if wanted - done:
                    reason = f"{len(wanted - done)} of {len(wanted)} trials have no result"
                    verdicts.append(Verdict(claim, on, by, None, reason))
                else:
                    verdicts.append(judge_pairs(claim, on, by, pairs, store))
    return corrected(verdicts, strict=plan.spec.correction == "holm")


def corrected(verdicts: Sequence[Verdict], *, strict: bool = False) -> list[Verdict]:
    """Add to each verdict what Holm's method makes of its p among those of all of them, see :func:`holm`."""
    family = [one.comparison.p if one.comparison is not None and not one.claim.within else None for one in verdicts]
    return [replace(one, p_corrected=p, strict=strict) for one, p in zip(verdicts, holm(family), strict=True)]


def judge_pairs(claim: Claim, on: str, by: str, pairs: Sequence[Pair], store: ResultStore) -> Verdict:
    """Judge a claim by one metric: average the matched trials sample by sample, pool the seeds, compare."""
    if any(by not in store.scores(trial) for pair in pairs for trial in (*pair.better, *pair.worse)):
        return Verdict(claim, on, by, None, f"{by} does not judge {on}: it is for another kind of task")
    apart = _unlike(pairs, by, store)
    if apart and not claim.any_signature:
        reason = f"the scores are not comparable: {apart}; any_signature: true compares them all the same"
        return Verdict(claim, on, by, None, reason)
    higher = store.scores(pairs[0].better[0])[by][2]
    trials = [trial for pair in pairs for trial in (*pair.better, *pair.worse)]
    if all(store.sample_statistics(trial, by) for trial in trials):
        return _judge_corpus(claim, on, by, pairs, store, 1.0 if higher else -1.0)
    found: dict[tuple[int, str], list[float]] = {}
    # A picture that several seeds show is one scene still: its samples stay together in the statistics.
    images: dict[tuple[int, str], str] = {}
    for pair in pairs:
        better, worse = (_averages(store, side, by) for side in (pair.better, pair.worse))
        for sample in better.keys() & worse.keys():
            key = (pair.seed, sample)
            found.setdefault(key, []).append(better[sample][1] - worse[sample][1])
            images[key] = better[sample][0]
    if not found:
        return Verdict(
            claim, on, by, None, f"{by} gives no value for single samples, or no sample succeeded on both sides"
        )
    keys = sorted(found)
    sign = 1.0 if higher else -1.0
    apart_by = [sign * sum(found[key]) / len(found[key]) for key in keys]
    return Verdict(claim, on, by, compare(apart_by, [images[key] for key in keys]))


#: A trial's place among the matched trials: which pair of its seed, and which of each side are set against each other.
_Place = tuple[int, int, int]


def _judge_corpus(claim: Claim, on: str, by: str, pairs: Sequence[Pair], store: ResultStore, sign: float) -> Verdict:
    """Judge a claim by a metric whose corpus value is no mean over samples: samples are pooled, and values compared.

    Seeds are pooled as if they were one corpus; of several matched pairs, corpus values are averaged.
    """
    pool = pool_of(store, pairs[0].better[0], by)
    if pool is None:
        return Verdict(claim, on, by, None, f"the metric that gave {by} is not installed")
    sides: list[dict[_Place, list[Floats]]] = [{}, {}]
    images: list[tuple[int, str]] = []
    for seed in dict.fromkeys(pair.seed for pair in pairs):
        placed = _placed([pair for pair in pairs if pair.seed == seed])
        tables = {trial: rows_of(store, trial, by) or {} for couple in placed.values() for trial in couple}
        first, *others = tables.values()
        common = [name for name in first if all(name in table for table in others)]
        images += [(seed, first[name][0]) for name in common]
        for place, couple in placed.items():
            for side, trial in zip(sides, couple, strict=True):
                rows = [tables[trial][name][1] for name in common]
                side.setdefault(place, []).append(np.array(rows))
    if not images:
        return Verdict(claim, on, by, None, "no sample succeeded on both sides")
    if len({tuple(len(rows) for rows in held) for side in sides for held in side.values()}) > 1:
        return Verdict(claim, on, by, None, "the seeds do not have the same trials")
    better, worse = (
        Evidence.mean_of([Evidence(np.concatenate(held), lambda sums: sign * pool(sums)) for held in side.values()])
        for side in sides
    )
    # A picture that several seeds show is one scene still: its samples stay together.
    return Verdict(claim, on, by, compare_evidence(better, worse, [image for _, image in images]))


def _placed(pairs: Sequence[Pair]) -> dict[_Place, tuple[str, str]]:
    """Set every trial of a pair's better side against every one of its worse: both sides have equally many then."""
    return {
        (number, here, there): (better, worse)
        for number, pair in enumerate(pairs)
        for here, better in enumerate(pair.better)
        for there, worse in enumerate(pair.worse)
    }


def _unlike(pairs: Sequence[Pair], metric: str, store: ResultStore) -> str:
    """Say in what the signatures of compared scores differ; empty where they do not."""
    for pair in pairs:
        first, *others = (store.scores(trial)[metric][1] for trial in (*pair.better, *pair.worse))
        for other in others:
            if apart := differences(first, other):
                return ", ".join(apart)
    return ""


def _averages(store: ResultStore, trials: Sequence[str], metric: str) -> Mapping[str, tuple[str, float]]:
    """Return sample -> (image, mean value) over trials, for samples that succeeded in all of them."""
    tables = [store.sample_scores(trial, metric) for trial in trials]
    common = set.intersection(*(set(table) for table in tables))
    return {
        sample: (tables[0][sample][0], sum(table[sample][1] for table in tables) / len(tables)) for sample in common
    }
