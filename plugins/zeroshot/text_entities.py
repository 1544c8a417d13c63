"""Entities of a sentence, for training from text alone."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

from regionkit.core.errors import MissingExtra, RegionkitError

#: What the release calls a person, whoever it is.
PERSON = "person"
PERSONS: frozenset[str] = frozenset(
    {
        "people", "person", "man", "men", "woman", "women", "adult", "boy", "girl", "kid", "children", "child", "baby",
        "guy", "player", "male", "female", "worker",
    }
)  # fmt: skip
_IRREGULAR = {"man": "men", "woman": "women", "person": "people", "child": "children", "mouse": "mice", "foot": "feet"}
_IRREGULAR |= {"tooth": "teeth", "goose": "geese", "sheep": "sheep", "fish": "fish", "deer": "deer"}
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
#: Nouns that say nothing of what is in a picture.
_EMPTY = frozenset({"photo", "image", "picture", "pic", "side", "part", "background", "front", "top", "bottom", "back"})


def plurals(word: str) -> set[str]:
    """Return the spellings that the plural of an English word may have."""
    head, _, last = word.rpartition(" ")
    if last in _IRREGULAR:
        found = {_IRREGULAR[last]}
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        found = {f"{last[:-1]}ies"}
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        found = {f"{last}es", f"{last}s"}
    elif last.endswith(("fe", "lf", "af")):
        found = {f"{last.removesuffix('e')[:-1]}ves", f"{last}s"}
    else:
        found = {f"{last}s", *([f"{last}es"] if last.endswith("o") else [])}
    return {f"{head} {one}".strip() for one in found}


class EntityFinder:
    """Finds the entities of sentences, each once, in the order in which they are first said.

    Args:
        method: ``vocabulary``: words of the vocabulary, the longest first, in the singular and the plural. ``nouns``:
            the nouns that NLTK finds, in their dictionary form.
        vocabulary: The words.
        objects: With ``nouns``, the words that may be entities; none for all.

    Source: ViECap's released preparation of its training data; persons of all kinds become "person".
    """

    def __init__(
        self, method: Literal["vocabulary", "nouns"], vocabulary: Sequence[str], objects: Sequence[str] = ()
    ) -> None:
        self.method = method
        self.vocabulary = tuple(vocabulary)
        self.objects = frozenset(word for word in objects if " " not in word)

    def find(self, text: str) -> list[str]:
        """Return the entities of a sentence.

        Raises:
            MissingExtra: ``nouns`` takes NLTK, which is not installed.
            RegionkitError: NLTK is there, and its models are not.
        """
        found = (entity for _, entity in self.pieces(text)) if self.method == "vocabulary" else self._nouns(text)
        return list(dict.fromkeys(entity for entity in found if entity))

    def occurrences(self, text: str) -> list[str]:
        """Return what a sentence names, as often as it is said; with ``nouns`` every noun, also of persons.

        Raises:
            MissingExtra, RegionkitError: As :meth:`find`.
        """
        if self.method == "nouns":
            return self._lemmas(text)
        return [entity for _, entity in self.pieces(text) if entity]

    def pieces(self, text: str) -> Iterator[tuple[str, str]]:
        """Yield a sentence piece by piece, in lower case: a spelling of an entity and the entity, or a word and ""."""
        words = _WORD.findall(text.lower())
        place = 0
        while place < len(words):
            lengths = range(min(self._longest, len(words) - place), 1, -1)
            spelt = (" ".join(words[place : place + length]) for length in lengths)
            piece = next((one for one in spelt if one in self._forms), words[place])
            yield piece, self._forms.get(piece, "")
            place += piece.count(" ") + 1

    @cached_property
    def _forms(self) -> dict[str, str]:
        """Every spelling -> the entity."""
        forms = {plural: word for word in self.vocabulary for plural in plurals(word)}
        forms |= {word: word for word in self.vocabulary}
        return forms | {form: PERSON for word in PERSONS for form in (word, *plurals(word))}

    @cached_property
    def _longest(self) -> int:
        return max(form.count(" ") + 1 for form in self._forms)

    def _lemmas(self, text: str) -> list[str]:
        """Return the nouns of a sentence in their dictionary form, as often as they are said."""
        nltk, lemmatise = self._nltk
        try:
            tagged = nltk.pos_tag(nltk.word_tokenize(text))
            return [lemmatise(word.lower().strip()) for word, tag in tagged if tag in ("NN", "NNS")]
        except LookupError:
            raise RegionkitError(
                "training_entities: nouns needs NLTK's tokeniser, tagger and WordNet, and not all of them are here",
                "fetch them once: python -m nltk.downloader punkt_tab averaged_perceptron_tagger_eng wordnet",
            ) from None

    def _nouns(self, text: str) -> Iterator[str]:
        for noun in self._lemmas(text):
            if noun in PERSONS:
                yield PERSON
            elif len(noun) > 1 and noun not in _EMPTY and (not self.objects or noun in self.objects):
                yield noun

    @cached_property
    def _nltk(self) -> tuple[Any, Any]:
        try:
            nltk = importlib.import_module("nltk")
            stems = importlib.import_module("nltk.stem")
        except ImportError:
            raise MissingExtra("training_entities: nouns", "nltk", "") from None
        return nltk, stems.WordNetLemmatizer().lemmatize
