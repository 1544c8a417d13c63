"""The patterns under ``exclude``: which trials they take out, and which of them take out none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from regionkit.plugins.ablation.trials import Selection

Pattern = Mapping[str, Sequence[str]]


class Exclusion:
    """Patterns over axes, data sets and seeds, which remember whether they ever matched."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self.patterns = patterns
        self._used: set[int] = set()

    def takes_out(self, labels: Mapping[str, str], names: Mapping[str, str], selection: Selection) -> bool:
        """Say whether a trial matches a pattern in every axis that the pattern names."""
        if not self.patterns:
            return False
        words = {key: [word for word in (labels.get(key), names.get(key)) if word] for key in (*labels, *names)}
        words |= {"data": [selection.ref.label], "seed": [str(selection.seed)]}
        matching = {index for index, pattern in enumerate(self.patterns) if _matches(pattern, words)}
        self._used |= matching
        return bool(matching)

    def unused(self) -> list[int]:
        """Return the positions of patterns that matched no trial so far."""
        return [index for index in range(len(self.patterns)) if index not in self._used]


def _matches(pattern: Pattern, words: Mapping[str, Sequence[str]]) -> bool:
    return all(any(_is(word, value) for word in words.get(key, ()) for value in pattern[key]) for key in pattern)


def _is(word: str, value: str) -> bool:
    # A label may hold brackets, which a pattern would read as a choice of letters.
    return word == value or fnmatchcase(word, value)
