"""Looking up in texts the terms of a lexicon, whose forms may be several words long."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

#: English plurals that no rule gives, for the nouns that lexicons of objects hold.
_IRREGULAR = {
    "calf": "calves", "child": "children", "foot": "feet", "goose": "geese", "half": "halves", "knife": "knives",
    "leaf": "leaves", "life": "lives", "loaf": "loaves", "mouse": "mice", "ox": "oxen", "person": "people",
    "scarf": "scarves", "shelf": "shelves", "thief": "thieves", "tooth": "teeth", "wife": "wives", "wolf": "wolves",
}  # fmt: skip
#: Nouns whose plural is the word itself.
_UNCHANGED = frozenset({"aircraft", "buffalo", "deer", "fish", "moose", "series", "sheep", "species"})
#: Ends in "-man" and is no kind of man.
_NO_MEN = frozenset({"human", "german", "roman", "caiman", "talisman", "ottoman"})


class Lexicon:
    """The forms of terms, looked up in tokenised texts: where several forms start at a word, the longest counts.

    Args:
        terms: Form -> the term it stands for; the words of a form are joined by single spaces. A form that stands for
            the empty term is passed over, and so are the shorter forms inside it.
    """

    def __init__(self, terms: Mapping[str, str]) -> None:
        self.terms = dict(terms)
        self._longest: dict[str, int] = {}  # words of the longest form that begins with a word
        for form in self.terms:
            first = form.split(" ", 1)[0]
            self._longest[first] = max(self._longest.get(first, 0), form.count(" ") + 1)

    def __len__(self) -> int:
        return len(self.terms)

    @cached_property
    def digest(self) -> str:
        """The first 12 digits of a hash of all forms and their terms, for signatures."""
        return hashlib.sha256(repr(sorted(self.terms.items())).encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def mentions(self, words: Sequence[str]) -> list[tuple[str, str]]:
        """Return (form, term) of every mention in a tokenised text, in order."""
        found, position = [], 0
        while position < len(words):
            step = 1
            longest = self._longest.get(words[position], 0)
            for length in range(min(longest, len(words) - position), 0, -1):
                form = " ".join(words[position : position + length])
                term = self.terms.get(form)
                if term is not None:
                    found += [(form, term)] if term else []
                    step = length
                    break
            position += step
        return found

    def find(self, words: Sequence[str]) -> frozenset[str]:
        """Return the terms that a tokenised text names."""
        return frozenset(term for _, term in self.mentions(words))


def with_plurals(terms: Mapping[str, str]) -> dict[str, str]:
    """Add the plurals of all forms; a form that is there already keeps its term."""
    plurals: dict[str, str] = {}
    for form, term in terms.items():
        for plural in plurals_of(form):
            plurals.setdefault(plural, term)
    return {**plurals, **terms}


def plurals_of(form: str) -> tuple[str, ...]:
    """Return the English plurals of a noun of one or more words, of which the last is inflected.

    Two are given where both are in use (``buffalo``: ``buffalos``, ``buffaloes``), and regular ones beside irregular
    ones: a form that nobody writes does no harm in a lexicon.
    """
    *rest, last = form.split(" ")
    found = [] if last in _UNCHANGED else [_IRREGULAR[last]] if last in _IRREGULAR else []
    found += _regular(last)
    return tuple(" ".join([*rest, plural]) for plural in dict.fromkeys(found) if plural != last)


def _regular(word: str) -> Iterable[str]:
    if word.endswith("man") and word not in _NO_MEN:
        return [f"{word[:-2]}en"]
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return [f"{word}es"]
    if word.endswith("y") and word[-2:-1] not in tuple("aeiou"):
        return [f"{word[:-1]}ies"]
    if word.endswith("o"):
        return [f"{word}s", f"{word}es"]
    return [f"{word}s"]
