"""Dense captioning, second half: average precision over a ranking of detections.

Precision is highest where a detection is right, so a ranking is told by the places of its right detections alone: the
i-th of them, at place p, has precision i / p and recall i / g. Letters: n detections, g merged ground-truth boxes, k of
these that a detection comes to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regionkit.core.errors import DataError
from regionkit.plugins.caption_metrics.regions.dense_matching import DenseImage, Floats, Integers, Matches, match
from regionkit.plugins.caption_metrics.regions.dense_ties import Contest, Ranking, Ties, ties_of

#: IoU that a detection needs at least, and similarity that its caption must exceed (DenseCap, section 4.2).
OVERLAPS = (0.3, 0.4, 0.5, 0.6, 0.7)
SIMILARITIES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)
#: A similarity that all captions exceed: whether the box is right is all that counts.
_ANY = -1.0

#: Judges captions against the captions of their ground truth, one or more each: values (k,), higher is better.
Similarity = Callable[[Sequence[str], Sequence[Sequence[str]]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False, slots=True)
class DenseResult:
    """Average precision of a data set.

    Attributes:
        precision: (5, 6) for each of :data:`OVERLAPS` and :data:`SIMILARITIES`; None where captions were not judged.
        detection: (5,) for each overlap, captions not regarded.
        truths: g, the merged ground-truth boxes that recall counts against.
        detections: n.
        ties: What ties do to ``value``.
    """

    precision: Floats | None
    detection: Floats
    truths: int
    detections: int
    ties: Ties

    @property
    def value(self) -> float:
        """Mean average precision; that of the boxes alone where captions were not judged."""
        return float((self.detection if self.precision is None else self.precision).mean())


def evaluate(
    images: Sequence[DenseImage],
    similarity: Similarity | None = None,
    *,
    inclusive: bool = False,
    count_empty: bool = False,
    recall_points: int = 100,
    tie_orders: int = 60,
    seed: int = 0,
) -> DenseResult:
    """Judge the detections and captions of a data set.

    Detections are ranked over all images by confidence, equal ones in the order given. Each is held against the merged
    ground-truth box that it overlaps most; only the first that comes to a box can be right, and it uses the box up
    even where its overlap or caption is not good enough.

    Args:
        images: Detections and ground truth.
        similarity: Judges captions; None judges the boxes alone.
        inclusive: See :func:`~regionkit.plugins.caption_metrics.regions.dense_matching.match`.
        count_empty: The same.
        recall_points: 100 asks for precision at recall 0, .01, ... .99, as all released programs do (the Lua loop up
            to 1 stops short of it by rounding); 101 asks for recall 1 too.
        tie_orders: See :func:`~regionkit.plugins.caption_metrics.regions.dense_ties.ties_of`.
        seed: The same.

    Raises:
        DataError: ``similarity`` gave something else than finite numbers.
    """
    matches = match(images, inclusive=inclusive, count_empty=count_empty)
    ranking, contest = Ranking.of(matches.scores), Contest.of(matches)
    similar = _similar(matches, contest, similarity)
    judged, recalls = similarity is not None, np.arange(recall_points)

    def table(winners: Integers, places: Integers) -> Floats:
        order = np.full(len(matches.scores) + 1, -1)  # sorts the winners by place, as there is one at most in each
        order[places] = winners
        places = np.flatnonzero(order >= 0)
        winners = order[places]
        overlap, alike = matches.overlap[winners], similar[winners]
        return _precisions(places, overlap, alike, len(matches.truths), recalls, judged=judged)

    def headline(winners: Integers, places: Integers) -> float:
        return float(table(winners, places)[:, 1 if judged else 0 :].mean())

    found = table(contest.first, ranking.places(ranking.stable)[contest.first])
    return DenseResult(
        precision=found[:, 1:] if judged else None,
        detection=found[:, 0],
        truths=len(matches.truths),
        detections=len(matches.scores),
        ties=ties_of(ranking, contest, headline, tie_orders, seed),
    )


def average_precision(places: Integers, truths: int, recalls: Integers) -> float:
    """Return the mean over recalls of the highest precision at that recall or more.

    Args:
        places: Places in the ranking, from 1 and rising, of the detections that are right.
        truths: Ground-truth boxes.
        recalls: In hundredths. They are compared as whole numbers, so that 7 of 100 reach .07 on every machine.
    """
    best = np.maximum.accumulate((np.arange(1, len(places) + 1) / places)[::-1])[::-1]
    needed = np.maximum(-(-recalls * truths // 100), 1)
    return float(best[needed[needed <= len(places)] - 1].sum() / len(recalls))


def _precisions(
    places: Integers, overlap: Floats, alike: Floats, truths: int, recalls: Integers, *, judged: bool
) -> Floats:
    """Return average precision (5, 7) of k detections at rising places: of boxes alone, then a similarity a column.

    Where captions are not judged there is the first column alone.
    """
    rows = []
    for least in OVERLAPS:
        right = overlap >= least
        places, overlap, alike = places[right], overlap[right], alike[right]  # the next overlap leaves fewer of these
        at, said, row = places, alike, []
        for floor in (_ANY, *(SIMILARITIES if judged else ())):
            right = said > floor
            at, said = at[right], said[right]
            row.append(average_precision(at, truths, recalls))
        rows.append(row)
    return np.array(rows)


def _similar(matches: Matches, contest: Contest, similarity: Similarity | None) -> Floats:
    """Judge the captions (n,) that can count in any order of ties; the others stand at 0.

    A judge may take milliseconds a caption, and what comes to its box after a surer one never counts.
    """
    similar = np.zeros(len(matches.scores))
    if similarity is None:
        return similar
    near = contest.members[matches.overlap[contest.members] >= OVERLAPS[0]]
    pairs = [(matches.captions[at], matches.truths[matches.truth[at]]) for at in near]
    distinct = list(dict.fromkeys(pairs))
    if not distinct:
        return similar
    values = np.asarray(similarity([caption for caption, _ in distinct], [list(texts) for _, texts in distinct]))
    if values.shape != (len(distinct),) or not np.isfinite(values).all():
        raise DataError(
            f"dense-map: the similarity of {len(distinct)} captions is no list of as many finite numbers",
            f"its shape is {values.shape}",
        )
    known = dict(zip(distinct, values.tolist(), strict=True))
    similar[near] = [known[pair] for pair in pairs]
    return similar
