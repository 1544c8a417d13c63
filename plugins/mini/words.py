"""Word-level tokenizer of the mini language: a word list, four special words, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from regionkit.plugins.mini.lexicon import split_words, vocabulary

PAD, START, END, UNKNOWN = "<pad>", "<sot>", "<eot>", "<unk>"
#: Ids 0, 1, 2, 3.
SPECIALS: tuple[str, ...] = (PAD, START, END, UNKNOWN)


@dataclass(frozen=True)
class Words:
    """Sentences to word ids."""

    words: tuple[str, ...]

    @classmethod
    def of_language(cls) -> Words:
        """Return the words of the mini language after the special ones."""
        return cls(SPECIALS + vocabulary())

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: position for position, word in enumerate(self.words)}

    def encode(self, caption: str) -> list[int]:
        """Return the ids of a caption's words; a word that the mini language does not have becomes ``<unk>``."""
        return [self._ids.get(word, SPECIALS.index(UNKNOWN)) for word in split_words(caption)]

    def pad(self, captions: Sequence[str], length: int) -> list[list[int]]:
        """Encode captions to equally long lists of at most ``length`` ids, at least one, padded with ``<pad>``."""
        rows = [self.encode(caption)[:length] for caption in captions]
        longest = max([1, *map(len, rows)])
        return [row + [0] * (longest - len(row)) for row in rows]
