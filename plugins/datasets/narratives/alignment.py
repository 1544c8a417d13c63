"""Pieces of a narrative and the points that were drawn while they were spoken."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from regionkit.plugins.datasets.narratives.recording import Narrative, TracePoint, Utterance

#: Where narratives are cut. Points and commas inside numbers stay but for the released rule, which knows no numbers.
_CUTS = {
    "paper": re.compile(r"(?<!\d)[.,]|[.,](?!\d)"),
    "released": re.compile(r"\. ?| and |,"),
    "sentences": re.compile(r"(?<!\d)\.|\.(?!\d)"),
}
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
#: Pairs of words that are compared where a caption and its utterances differ; with more, their order alone decides.
_MOST_PAIRS = 1_000_000


@dataclass(frozen=True)
class Piece:
    """A piece of a caption.

    Attributes:
        text: Its words, without the mark that it was cut at.
        start: Its first character in the caption.
        points: What was drawn meanwhile, by time.
    """

    text: str
    start: int
    points: tuple[TracePoint, ...] = ()

    @property
    def end(self) -> int:
        """The character behind its last."""
        return self.start + len(self.text)


def pieces(caption: str, rule: str) -> list[Piece]:
    """Cut a caption; blank pieces are none."""
    found, start = [], 0
    for stop, after in [*(match.span() for match in _CUTS[rule].finditer(caption)), (len(caption), len(caption))]:
        text = caption[start:stop]
        if text.strip():
            found.append(Piece(text.strip(), start + len(text) - len(text.lstrip())))
        start = after
    return found


def spoken(narrative: Narrative, rule: str, align: str) -> list[Piece]:
    """Cut a narrative and give each piece its points; those without one come with none.

    Args:
        narrative: The narrative.
        rule: ``paper``, ``released`` or ``sentences``.
        align: ``words``, ``window`` or ``running``; see ``LocalizedNarrativesConfig``.
    """
    cut = pieces(narrative.caption, rule)
    if align == "running":
        return _running(narrative, cut)
    windows: list[list[tuple[float, float]]] = [[] for _ in cut]
    starts = [piece.start for piece in cut]
    for utterance, places in zip(narrative.utterances, word_places(narrative), strict=True):
        for number in sorted({bisect_right(starts, place) - 1 for place in places} - {-1}):
            windows[number].append((utterance.start, utterance.end))
    if align == "window":
        windows = [[(min(one)[0], max(end for _, end in one))] if one else [] for one in windows]
    times = [point.t for point in narrative.points]
    return [
        replace(piece, points=tuple(narrative.points[at] for at in _drawn(times, several)))
        for piece, several in zip(cut, windows, strict=True)
    ]


def word_places(narrative: Narrative) -> list[tuple[int, ...]]:
    """Return for each utterance the characters of the caption at which its words begin.

    The longest common sequence of words binds the two. What was misheard between bound words is spread over the words
    that stand there in the caption; where there are none, it goes with the bound word before it.
    """
    written = [(match.start(), match[0].casefold()) for match in _WORD.finditer(narrative.caption)]
    heard = [(number, word) for number, one in enumerate(narrative.utterances) for word in _words(one)]
    found: list[list[int]] = [[] for _ in narrative.utterances]
    if written:
        bound = bind([word for _, word in heard], [word for _, word in written])
        for (number, _), place in zip(heard, bound, strict=True):
            found[number].append(written[place][0])
    return [tuple(places) for places in found]


def bind(heard: Sequence[str], written: Sequence[str]) -> list[int]:
    """Return for every heard word the position of a written one, never decreasing; there is at least one written."""
    head, most = 0, min(len(heard), len(written))
    while head < most and heard[head] == written[head]:
        head += 1
    tail = 0
    while tail < most - head and heard[-1 - tail] == written[-1 - tail]:
        tail += 1
    middle = _common(heard[head : len(heard) - tail], written[head : len(written) - tail])
    anchors = [(at, at) for at in range(head)]
    anchors += [(head + one, head + other) for one, other in middle]
    anchors += [(len(heard) - tail + at, len(written) - tail + at) for at in range(tail)]
    found: list[int] = []
    last = -1
    for one, other in [*anchors, (len(heard), len(written))]:
        open_words, gap = one - len(found), other - last - 1
        lone = last if last >= 0 else min(other, len(written) - 1)
        found += [last + 1 + at * gap // open_words if gap else lone for at in range(open_words)]
        if one < len(heard):
            found.append(other)
        last = other
    return found


def _common(one: Sequence[str], other: Sequence[str]) -> list[tuple[int, int]]:
    """Return the pairs of positions of a longest common sequence; none where it would take too long to find."""
    if not one or not other or len(one) * len(other) > _MOST_PAIRS:
        return []
    lengths = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i in range(len(one) - 1, -1, -1):
        row, below, word = lengths[i], lengths[i + 1], one[i]
        for j in range(len(other) - 1, -1, -1):
            row[j] = below[j + 1] + 1 if word == other[j] else max(below[j], row[j + 1])
    pairs, i, j = [], 0, 0
    while i < len(one) and j < len(other):
        if one[i] == other[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif lengths[i + 1][j] >= lengths[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _words(utterance: Utterance) -> list[str]:
    return [match[0].casefold() for match in _WORD.finditer(utterance.text)]


def _drawn(times: Sequence[float], windows: Iterable[tuple[float, float]]) -> list[int]:
    """Return the points of some windows, both ends included, each point once."""
    found: set[int] = set()
    for start, end in windows:
        found.update(range(bisect_left(times, start), bisect_right(times, end)))
    return sorted(found)


def _running(narrative: Narrative, cut: Sequence[Piece]) -> list[Piece]:
    """Give pieces their points as RegionVLM's released code does; see ``LocalizedNarrativesConfig.align``."""
    times = [point.t for point in narrative.points]
    offset, placed = 0, []
    for utterance in narrative.utterances:
        drawn = narrative.points[bisect_left(times, utterance.start) : bisect_right(times, utterance.end)]
        placed.append((offset, drawn))
        offset += len(utterance.text) + 1
    by_text: dict[str, Piece] = {}
    for piece in cut:
        own = tuple(point for start, drawn in placed if piece.start <= start <= piece.end for point in drawn)
        if own:
            by_text[piece.text] = replace(piece, points=own)
    lost = [piece for piece in cut if piece.text not in by_text]
    return sorted([*by_text.values(), *lost], key=lambda piece: piece.start)
