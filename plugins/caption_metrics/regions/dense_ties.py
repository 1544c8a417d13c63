"""Dense captioning: what tied confidences do to average precision.

Average precision depends on an order, and detections of equal confidence have none. It matters where all are equal, as
they are when ground-truth boxes are captioned. Confidences enter twice: in each image the surest detection takes a
ground-truth box, and over all images detections are ranked. The released programs sort twice, and a sort leaves ties in
any order, one time thus and the other time otherwise. Letters: n detections, k ground-truth boxes that some come to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, permutations, product
from math import factorial
from typing import Self

import numpy as np

from regionkit.plugins.caption_metrics.regions.dense_matching import Integers, Matches


@dataclass(frozen=True, slots=True)
class Spread:
    """A value over the orders of ties.

    Attributes:
        mean: Over the orders that were tried.
        deviation: Standard deviation over them.
        orders: How many were tried.
        exact: True where those are all there are; otherwise the mean errs by ``deviation / sqrt(orders)``.
    """

    mean: float
    deviation: float
    orders: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Ties:
    """What ties do to a value.

    Attributes:
        share: Detections whose confidence another one has too, of all, from 0 to 1.
        sorted: Both sorts of the released programs leave ties in a random order, each for itself.
        broken: Tied confidences differ by a little noise, the same in both sorts. It is higher: of several detections
            that come to a box the right one is then ranked before the others, in whichever images they are.
    """

    share: float
    sorted: Spread
    broken: Spread


@dataclass(frozen=True, eq=False, slots=True)
class Ranking:
    """Detections by confidence.

    Attributes:
        stable: (n,) the surest first, equal ones in the order given.
        runs: Lengths of its runs of equal confidences.
    """

    stable: Integers
    runs: Integers

    @classmethod
    def of(cls, scores: np.ndarray) -> Self:
        """Rank detections by scores (n,)."""
        stable = np.argsort(-scores, kind="stable")
        ranked = scores[stable]
        starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1])) if len(scores) else stable
        return cls(stable, np.diff(starts, append=len(scores)))

    @property
    def tied(self) -> int:
        """Detections whose confidence another one has too."""
        return int(self.runs[self.runs > 1].sum())

    def places(self, order: Integers) -> Integers:
        """Return the place (n,), from 1, of each detection in an order (n,) of detections."""
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(1, len(order) + 1)
        return places

    def orders(self) -> Iterator[Integers]:
        """Yield all orders that ties leave open."""
        runs = np.split(self.stable, np.cumsum(self.runs)[:-1])
        return (np.fromiter(chain(*found), np.int64) for found in product(*map(permutations, runs)))

    def draw(self, generator: np.random.Generator) -> Integers:
        """Draw one of them."""
        run = np.repeat(np.arange(len(self.runs)), self.runs)
        return self.stable[np.argsort(run + generator.random(len(run)))]


@dataclass(frozen=True, eq=False, slots=True)
class Contest:
    """Who may take each of k ground-truth boxes: of those that overlap it most of all boxes, the surest.

    Attributes:
        members: (c,) detections, one box after the other, each in the order given.
        starts: (k,) where those of a box begin.
    """

    members: Integers
    starts: Integers

    @classmethod
    def of(cls, matches: Matches) -> Self:
        """Find the surest detections of every box that some detection comes to."""
        held = np.flatnonzero(matches.truth >= 0)
        truth, scores = matches.truth[held], matches.scores[held]
        surest = np.full(len(matches.truths), -np.inf)
        np.maximum.at(surest, truth, scores)
        members = held[scores == surest[truth]]
        members = members[np.argsort(matches.truth[members], kind="stable")]
        return cls(members, np.unique(matches.truth[members], return_index=True)[1])

    @property
    def counts(self) -> Integers:
        """Members (k,) of each box."""
        return np.diff(self.starts, append=len(self.members))

    @property
    def first(self) -> Integers:
        """The member (k,) that comes first in the order given."""
        return self.members[self.starts]

    def winners(self) -> Iterator[Integers]:
        """Yield all ways (k,) in which the boxes can be taken."""
        return (np.array(found, np.int64) for found in product(*np.split(self.members, self.starts[1:])))

    def draw(self, generator: np.random.Generator) -> Integers:
        """Draw one of them."""
        return self.members[self.starts + (generator.random(len(self.starts)) * self.counts).astype(np.int64)]


def ties_of(
    ranking: Ranking,
    contest: Contest,
    value: Callable[[Integers, Integers], float],
    most: int,
    seed: int,
) -> Ties:
    """Say what ties do to a value.

    Args:
        ranking: All detections.
        contest: Which of them may take a box.
        value: Of the detections (k,) that took a box each, and their places (k,) in the ranking.
        most: Orders to try. Where there are no more than that, all are tried and the mean is exact.
        seed: Of the orders, where they are drawn.
    """
    generator = np.random.default_rng(seed)

    def sort(winners: Integers, order: Integers) -> float:
        return value(winners, ranking.places(order)[winners])

    def noise(order: Integers) -> float:
        places = np.minimum.reduceat(ranking.places(order)[contest.members], contest.starts)
        return value(order[places - 1], places)

    if not ranking.tied or not len(contest.members):
        alone = Spread(sort(contest.first, ranking.stable), 0.0, 1, exact=True)
        return Ties(ranking.tied / max(len(ranking.stable), 1), alone, alone)
    orders = _count((factorial(min(run, 20)) for run in ranking.runs.tolist()), most)  # 20! is more than anyone tries
    ways = _count((orders, *contest.counts.tolist()), most)
    pairs: Iterable[tuple[Integers, Integers]] = product(contest.winners(), ranking.orders()) if ways <= most else ()
    drawn = ((contest.draw(generator), ranking.draw(generator)) for _ in range(most))
    sorts = [sort(winners, order) for winners, order in (pairs if ways <= most else drawn)]
    every = ranking.orders() if orders <= most else (ranking.draw(generator) for _ in range(most))
    return Ties(
        share=ranking.tied / len(ranking.stable),
        sorted=_spread(sorts, exact=ways <= most),
        broken=_spread([noise(order) for order in every], exact=orders <= most),
    )


def _count(factors: Iterable[int], most: int) -> int:
    """Multiply, and stop at some number above ``most``."""
    count = 1
    for factor in factors:
        count *= factor
        if count > most:
            break
    return count


def _spread(values: list[float], *, exact: bool) -> Spread:
    ddof = 0 if exact or len(values) == 1 else 1
    return Spread(float(np.mean(values)), float(np.std(values, ddof=ddof)), len(values), exact)
