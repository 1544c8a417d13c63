"""What stands where in a scene: drawn from a seed, as whole numbers, before anything is painted.

The same (split, seed, index) is the same scene for every task and on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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

#: Side of a picture, in pixels.
SIDE = 96
#: Sides of the square cells that small and big sprites fill, in pixels.
SIDES: dict[str, tuple[int, ...]] = {"small": (24, 26, 28, 30), "big": (40, 42, 44, 46)}
SPLITS: tuple[str, ...] = ("train", "test", "clutter", "held-out")
_PLACING_ATTEMPTS = 12
T = TypeVar("T")


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
    second, or None when the caption does not say.
    """

    id: str
    background: str
    window: tuple[int, int, int]
    objects: tuple[Placement, ...]
    relation: str | None


def make_layout(split: str, seed: int, index: int) -> Layout:
    """Draw scene ``index`` of a split under a seed."""
    if split not in SPLITS:
        raise ValueError(f"no split named '{split}' in the mini-world; there are: {', '.join(SPLITS)}")
    draws = Draws(SPLITS.index(split), seed, index)
    background = draws.pick(BACKGROUNDS)
    window = (draws.below(160), draws.below(160), 208 + draws.below(64))
    wanted = _kinds(draws, split)
    placed: list[Placement] = []
    for kind in wanted:
        placement = _place(draws, kind, placed, crowded=split == "clutter")
        if placement is not None:
            placed.append(placement)
    relation = _relation(placed) if split != "clutter" and draws.chance(30) else None
    return Layout(f"{split}/{seed}/{index}", background, window, tuple(placed), relation)


def _kinds(draws: Draws, split: str) -> list[tuple[str, str, str | None]]:
    """Draw the kinds of a scene, a pair of equal objects twice; held-out kinds come first, so that they find room."""
    count = 4 + draws.below(3) if split == "clutter" else 1 + draws.below(3)
    nouns: list[str] = []
    kinds: list[tuple[str, str, str | None]] = []
    while len(kinds) < count:
        kind = _held_out_kind(draws) if split == "held-out" and not kinds else _seen_kind(draws)
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


def _place(
    draws: Draws, kind: tuple[str, str, str | None], placed: list[Placement], *, crowded: bool
) -> Placement | None:
    """Find room for a kind: cells keep apart, or overlap by less than half a side in the clutter split."""
    noun, size, colour = kind
    side = draws.pick(SIDES[size])
    mirrored = draws.chance(50)
    for _ in range(_PLACING_ATTEMPTS):
        left, top = draws.below(SIDE - side + 1), draws.below(SIDE - side + 1)
        new = Placement(noun, size, colour, left, top, side, mirrored)
        if all(_clear(new, other, crowded) for other in placed):
            return new
    return None


def _clear(one: Placement, other: Placement, crowded: bool) -> bool:
    """Say whether two cells keep apart; ``crowded`` lets them share up to half of the shorter side both ways."""
    slack = min(one.side, other.side) // 2 if crowded else 0
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
