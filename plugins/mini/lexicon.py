"""The words of the mini-world: what can be drawn, what can be said, and which pairs are kept out of training.

Torch-free and numpy-free, so that listing a vocabulary costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Noun -> the emoji that draws it. The order is the order of the cells in the sprite sheet: append only.
NOUN_EMOJI: dict[str, str] = {
    "dog": "🐕", "cat": "🐈", "horse": "🐎", "cow": "🐄", "pig": "🐖", "sheep": "🐑", "elephant": "🐘",
    "lion": "🦁", "bear": "🐻", "monkey": "🐒", "frog": "🐸", "snake": "🐍", "turtle": "🐢", "snail": "🐌",
    "bee": "🐝", "butterfly": "🦋", "ladybug": "🐞", "shark": "🦈", "octopus": "🐙", "crab": "🦀",
    "penguin": "🐧", "owl": "🦉", "duck": "🦆", "parrot": "🦜", "flamingo": "🦩", "zebra": "🦓",
    "panda": "🐼", "fox": "🦊", "banana": "🍌", "pear": "🍐", "lemon": "🍋", "strawberry": "🍓",
    "watermelon": "🍉", "carrot": "🥕", "pizza": "🍕", "donut": "🍩", "cake": "🎂", "pineapple": "🍍",
    "mushroom": "🍄", "bus": "🚌", "truck": "🚚", "tractor": "🚜", "bicycle": "🚲", "plane": "✈",
    "boat": "⛵", "key": "🔑", "hat": "🎩", "clock": "⏰", "ball": "⚽", "tree": "🌳", "cactus": "🌵",
    "house": "🏠", "car": "🚗", "balloon": "🎈", "book": "📕", "umbrella": "☂", "cap": "🧢", "dress": "👗",
    "shoe": "👟", "scooter": "🛵", "backpack": "🎒", "bell": "🔔", "guitar": "🎸", "heart": "❤",
}  # fmt: skip
NOUNS: tuple[str, ...] = tuple(NOUN_EMOJI)

_IRREGULAR_PLURALS = {
    "sheep": "sheep",
    "butterfly": "butterflies",
    "octopus": "octopuses",
    "fox": "foxes",
    "strawberry": "strawberries",
    "bus": "buses",
    "cactus": "cactuses",
}
PLURALS: dict[str, str] = {noun: _IRREGULAR_PLURALS.get(noun, f"{noun}s") for noun in NOUNS}

SIZES: tuple[str, ...] = ("small", "big")
COLOURS: tuple[str, ...] = ("red", "blue", "green", "yellow", "purple")
#: Nouns that are repainted, so that their colour word is true of their pixels; the others carry no colour word.
PAINTABLE: tuple[str, ...] = NOUNS[NOUNS.index("car") :]
BACKGROUNDS: tuple[str, ...] = ("grass", "gravel", "sand", "snow", "water", "brick", "wood", "carpet")
RELATIONS: tuple[str, ...] = ("left of", "right of", "above", "below")
FUNCTION_WORDS: tuple[str, ...] = (
    "a", "two", "and", ",", "on", "with", "there", "is", "are", "left", "right", "of", "above", "below",
)  # fmt: skip

#: (colour, noun) pairs that no training picture and no training text holds: one a paintable noun.
HELD_OUT_COLOURS: frozenset[tuple[str, str]] = frozenset(
    (COLOURS[(3 * position + 1) % len(COLOURS)], noun) for position, noun in enumerate(PAINTABLE)
)
#: (size, noun) pairs kept out in the same way: one in four of the nouns without colour.
HELD_OUT_SIZES: frozenset[tuple[str, str]] = frozenset(
    (SIZES[(position // 4) % 2], noun)
    for position, noun in enumerate(NOUNS)
    if noun not in PAINTABLE and position % 4 == 1
)


def is_held_out(noun: str, size: str, colour: str | None) -> bool:
    """Say whether an object shows an attribute pair that training never sees."""
    return (size, noun) in HELD_OUT_SIZES or (colour, noun) in HELD_OUT_COLOURS


def vocabulary() -> tuple[str, ...]:
    """Return every word of the mini language, in a fixed order (token ids are counted from it)."""
    words = [*FUNCTION_WORDS, *SIZES, *COLOURS, *BACKGROUNDS, *NOUNS, *PLURALS.values()]
    return tuple(dict.fromkeys(words))


#: Every form of a noun -> the noun.
SINGULAR: dict[str, str] = {plural: noun for noun, plural in PLURALS.items()} | {noun: noun for noun in NOUNS}


def nouns_in(caption: str) -> frozenset[str]:
    """Return the nouns that a caption names, in the singular; backgrounds are not nouns."""
    return frozenset(SINGULAR[word] for word in split_words(caption) if word in SINGULAR)


def split_words(caption: str) -> list[str]:
    """Split a caption into words; a comma is a word of its own and a full stop is dropped."""
    return caption.lower().replace(",", " , ").replace(".", " ").split()


def unknown_words(captions: Iterable[str]) -> set[str]:
    """Return the words of some captions that the mini language does not have."""
    known = set(vocabulary())
    return {word for caption in captions for word in split_words(caption)} - known
