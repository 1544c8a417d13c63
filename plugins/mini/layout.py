"""What stands where in a scene: drawn from a seed, as whole numbers, before anything is painted.

The same (split, seed, index) is the same scene for every task and on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from regionkit.plugins.mini.lexicon import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT_COLOURS,
    HELD_OUT_SIZES,
    NOUNS,
    PAINTABLE,
    RELATIONS,
    SIZES,
    is_held_out,
)

#: Side of an ordinary picture, in pixels: the one that mini models look at.
SIDE = 96
#: Side of a wide picture: its objects are as many pixels as elsewhere, and a few once it is squashed to 96.
WIDE_SIDE = 384
#: Sides of the square cells that small and big sprites fill, in pixels.
SIDES: dict[str, tuple[int, ...]] = {"small": (24, 26, 28, 30), "big": (40, 42, 44, 46)}
_PLACING_ATTEMPTS = 12
#: In crowded wide scenes, how far beside an earlier object a new one may begin, in pixels.
_REACH = 56
T = TypeVar("T")


@dataclass(frozen=True)
class _Style:
    """How the scenes of a split are laid out.

    Attributes:
        side: Side of the picture, in pixels.
        fewest: Fewest objects that are wanted; where room runs out there are less.
        most: Most of them.
        share: Cells may share this part (one in ``share``) of the shorter side; 0 keeps them apart.
        held_out: The first object shows a pair that training never shows.
        huddled: Every second object looks for a place beside an earlier one.
    """

    side: int = SIDE
    fewest: int = 1
    most: int = 3
    share: int = 0
    held_out: bool = False
    huddled: bool = False


_WIDE = _Style(side=WIDE_SIDE, fewest=5, most=8, share=3, huddled=True)
#: Split -> style, in the order that seeds count them: append only.
_STYLES: dict[str, _Style] = {
    "train": _Style(),
    "test": _Style(),
    "clutter": _Style(fewest=4, most=6, share=2),
    "held-out": _Style(held_out=True),
    "wide-train": _WIDE,
    "wide": _WIDE,
}
SPLITS: tuple[str, ...] = tuple(_STYLES)


class Draws:
    """Whole numbers from a seed.

    Raw 64-bit words of PCG64, reduced by modulo: numpy promises the same words for ever, which it does not for the
    methods of ``Generator``. The bias of the modulo is below 2^-50 here.
    """

    def __init__(self, *entropy: int) -> None:
        """Seed from whole numbers, all >= 0."""
        self._words = np.random.PCG64(np.random.SeedSequence(entropy))
        self._pending: list[int] = []

    def below(self, bound: int) -> int:
        """Return a whole number in [0, bound)."""
        if not self._pending:
            self._pending = self._words.random_raw(64).tolist()
        return self._pending.pop() % bound

    def chance(self, percent: int) -> bool:
        """Return True in ``percent`` of a hundred draws."""
        return self.below(100) < percent

    def pick(self, options: Sequence[T]) -> T:
        """Return one of some options."""
        return options[self.below(len(options))]


@dataclass(frozen=True)
class Placement:
    """One object of a scene: what it is and the square cell (left, top, side), in pixels, that its sprite fills."""

    noun: str
    size: str
    colour: str | None
    left: int
    top: int
    side: int
    mirrored: bool

    @property
    def kind(self) -> tuple[str, str, str | None]:
        """Return (noun, size, colour): objects of one kind are counted together in a caption."""
        return self.noun, self.size, self.colour


@dataclass(frozen=True)
class Layout:
    """A scene as whole numbers. Objects are in the order in which they are painted and named.

    ``window`` is left, top and light (of 256) of the background; ``relation`` is how the first kind stands to the
    second, or None when the caption does not say; ``side`` is that of the picture, in pixels.
    """

    id: str
    background: str
    window: tuple[int, int, int]
    objects: tuple[Placement, ...]
    relation: str | None
    # It follows from the split, and fingerprints of data are made from the representation of everything else.
    side: int = field(default=SIDE, repr=False)


def make_layout(split: str, seed: int, index: int) -> Layout:
    """Draw scene ``index`` of a split under a seed."""
    if split not in SPLITS:
        raise ValueError(f"no split named '{split}' in the mini-world; there are: {', '.join(SPLITS)}")
    draws = Draws(SPLITS.index(split), seed, index)
    background = draws.pick(BACKGROUNDS)
    window = (draws.below(160), draws.below(160), 208 + draws.below(64))
    style = _STYLES[split]
    placed: list[Placement] = []
    for kind in _kinds(draws, style):
        placement = _place(draws, kind, placed, style)
        if placement is not None:
            placed.append(placement)
    relation = _relation(placed) if style.share == 0 and draws.chance(30) else None
    return Layout(f"{split}/{seed}/{index}", background, window, tuple(placed), relation, style.side)


def _kinds(draws: Draws, style: _Style) -> list[tuple[str, str, str | None]]:
    """Draw the kinds of a scene, a pair of equal objects twice; held-out kinds come first, so that they find room."""
    count = style.fewest + draws.below(style.most - style.fewest + 1)
    nouns: list[str] = []
    kinds: list[tuple[str, str, str | None]] = []
    while len(kinds) < count:
        kind = _held_out_kind(draws) if style.held_out and not kinds else _seen_kind(draws)
        if kind[0] in nouns:
            continue
        nouns.append(kind[0])
        kinds.append(kind)
        # A held-out kind is shown once: training never says the plural of a noun whose small size is held out.
        if len(kinds) < count and kind[1] == "small" and not is_held_out(*kind) and draws.chance(20):
            kinds.append(kind)
    return kinds


def _seen_kind(draws: Draws) -> tuple[str, str, str | None]:
    """Draw a kind of the training distribution."""
    while True:
        noun, size = draws.pick(NOUNS), draws.pick(SIZES)
        colour = draws.pick(COLOURS) if noun in PAINTABLE else None
        if not is_held_out(noun, size, colour):
            return noun, size, colour


def _held_out_kind(draws: Draws) -> tuple[str, str, str | None]:
    """Draw a kind whose size or colour training never shows on this noun."""
    if draws.chance(50):
        colour, noun = draws.pick(sorted(HELD_OUT_COLOURS))
        return noun, draws.pick(SIZES), colour
    size, noun = draws.pick(sorted(HELD_OUT_SIZES))
    return noun, size, None


def _place(draws: Draws, kind: tuple[str, str, str | None], placed: list[Placement], style: _Style) -> Placement | None:
    """Find room for a kind: cells keep apart, or share no more than the split's part of a side."""
    noun, size, colour = kind
    side = draws.pick(SIDES[size])
    mirrored = draws.chance(50)
    near = draws.pick(placed) if style.huddled and len(placed) % 2 == 1 else None
    for attempt in range(_PLACING_ATTEMPTS):
        # Where it is too crowded beside the other object, any place will do.
        beside = near if attempt < _PLACING_ATTEMPTS // 2 else None
        left, top = _corner(draws, style.side - side, beside)
        new = Placement(noun, size, colour, left, top, side, mirrored)
        if all(_clear(new, other, style.share) for other in placed):
            return new
    return None


def _corner(draws: Draws, largest: int, beside: Placement | None) -> tuple[int, int]:
    """Draw left and top of a cell, both at most ``largest``, near those of another object where one is given."""
    if beside is None:
        return draws.below(largest + 1), draws.below(largest + 1)
    left, top = (draws.below(2 * _REACH + 1) - _REACH for _ in range(2))
    return min(max(beside.left + left, 0), largest), min(max(beside.top + top, 0), largest)


def _clear(one: Placement, other: Placement, share: int) -> bool:
    """Say whether two cells keep apart, or share at most one in ``share`` of the shorter side, across or down."""
    slack = min(one.side, other.side) // share if share else 0
    across = min(one.left + one.side, other.left + other.side) - max(one.left, other.left)
    down = min(one.top + one.side, other.top + other.side) - max(one.top, other.top)
    return across <= slack or down <= slack


def _relation(placed: list[Placement]) -> str | None:
    """Return how the first of exactly two different objects stands to the second, where one axis clearly decides."""
    if len(placed) != 2 or placed[0].kind == placed[1].kind:
        return None
    first, second = placed
    across = 2 * (second.left - first.left) + second.side - first.side
    down = 2 * (second.top - first.top) + second.side - first.side
    if abs(across) >= 2 * abs(down):
        return RELATIONS[0] if across > 0 else RELATIONS[1]
    if abs(down) >= 2 * abs(across):
        return RELATIONS[2] if down > 0 else RELATIONS[3]
    return None


def without(layout: Layout, position: int) -> Layout:
    """Return a scene without one of its objects: a counterfactual picture that differs in nothing else."""
    objects = tuple(item for at, item in enumerate(layout.objects) if at != position)
    return replace(layout, id=f"{layout.id}/without-{position}", objects=objects, relation=None)
