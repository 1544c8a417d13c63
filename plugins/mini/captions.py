"""What the mini-world says about its scenes: phrases, captions of regions and of whole pictures, text corpora."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from regionkit.plugins.mini.layout import Draws, Layout, Placement, make_layout
from regionkit.plugins.mini.lexicon import PLURALS, RELATIONS

#: How a caption is built around its items; {is} agrees in number. The first is the usual one.
TEMPLATES: tuple[str, ...] = ("{items} on {ground}", "there {is} {items} on {ground}", "{ground} with {items}")
_ITEMS_FIRST = re.compile(r"^there (is|are) ")
_BETWEEN_ITEMS = re.compile("|".join(f" {words} " for words in ("and", ",", *RELATIONS)))
#: Text corpora draw their scenes from seeds far from those of pictures, so that no text describes a shown scene.
_CORPUS_SEED = 1_000_003
#: Of a hundred lines of a corpus, how many speak of one region; the others speak of the whole picture.
_REGION_PERCENT = 50


def describe(kind: tuple[str, str, str | None], count: int = 1) -> str:
    """Return a noun phrase such as "a small red car" or "two big dogs"; an empty size is not said."""
    noun, size, colour = kind
    adjectives = [word for word in (size, colour) if word]
    article, head = ("a", noun) if count == 1 else ("two", PLURALS[noun])
    return " ".join([article, *adjectives, head])


def phrases(objects: Sequence[Placement]) -> list[str]:
    """Return one phrase a kind, in the order of first mention; equal objects are counted together."""
    counts: dict[tuple[str, str, str | None], int] = {}
    for item in objects:
        counts[item.kind] = counts.get(item.kind, 0) + 1
    return [describe(kind, count) for kind, count in counts.items()]


def join(items: Sequence[str]) -> str:
    """Return "A", "A and B" or "A , B and C"."""
    if len(items) < 2:
        return "".join(items)
    return " , ".join(items[:-1]) + " and " + items[-1]


def say(template: str, items: Sequence[str], ground: str, relation: str | None = None) -> str:
    """Fill a template; two items with a relation are joined by it."""
    joined = f"{items[0]} {relation} {items[1]}" if relation and len(items) == 2 else join(items)
    single = len(items) == 1 and items[0].startswith("a ")
    return template.replace("{items}", joined).replace("{ground}", ground).replace("{is}", "is" if single else "are")


def split_caption(caption: str) -> list[str]:
    """Cut a caption into captions of one item each, from its words alone.

    "A and B on grass" becomes "A on grass" and "B on grass".
    """
    items, ground = _ITEMS_FIRST.sub("", caption), ""
    if " with " in items:
        ground, _, items = items.partition(" with ")
    else:
        items, _, ground = items.partition(" on ")
    return [f"{item} on {ground}" for item in _BETWEEN_ITEMS.split(items)]


def references(objects: Sequence[Placement], ground: str, relation: str | None = None) -> tuple[str, ...]:
    """Return the reference captions of some objects on a background: one a template."""
    return tuple(say(template, phrases(objects), ground, relation) for template in TEMPLATES)


def draw_template(draws: Draws) -> str:
    """Draw a template: the first in 60 of 100 draws, the others in 20 each."""
    return TEMPLATES[(0, 0, 0, 1, 2)[draws.below(5)]]


def picture_caption(layout: Layout) -> str:
    """Return the one caption with which a training picture comes; its wording is a function of the scene's id."""
    _, seed, index = layout.id.split("/")[:3]
    draws = Draws(7, int(seed), int(index))
    return say(draw_template(draws), phrases(layout.objects), layout.background, layout.relation)


def corpus(seed: int, count: int) -> Iterator[str]:
    """Yield captions without pictures, from the training distribution: half of regions, half of whole pictures."""
    for index in range(count):
        yield corpus_caption(seed, index)


def corpus_caption(seed: int, index: int) -> str:
    """Return one caption of :func:`corpus`, which depends on the seed and its number alone."""
    layout = make_layout("train", _CORPUS_SEED + seed, index)
    draws = Draws(11, seed, index)
    if draws.chance(_REGION_PERCENT):
        return say(draw_template(draws), phrases([draws.pick(layout.objects)]), layout.background)
    return picture_caption(layout)
