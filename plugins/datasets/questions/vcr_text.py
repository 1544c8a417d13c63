"""Sentences of VCR: lists of words, among them lists of the objects that are meant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from regionkit.core.data.records import Unusable
from regionkit.plugins.datasets.questions.fields import shown

#: Words that stand without a space behind the one before: what was cut off it, and the marks that end something.
_CLINGS = re.compile(r"n't|'(s|re|ve|ll|d|m)|[.,?!;:%)\]]+|\.\.\.", re.IGNORECASE)
_OPENS = ("(", "$", "#")

#: A sentence: words, and lists of numbers of objects.
Tokens = Sequence[str | Sequence[int]]


def tokens_of(value: Any, objects: int) -> Tokens:
    """Return a sentence of the release, checked.

    Args:
        value: A list of words and of lists of objects, counted from 0.
        objects: Number of objects in the picture.

    Raises:
        Unusable: It is none, or speaks of an object that is not there.
    """
    if not isinstance(value, list) or not value:
        raise Unusable(f"a sentence is {shown(value)}, and should be a list of words and of lists of objects")
    for token in value:
        if isinstance(token, str):
            continue
        if not isinstance(token, list) or not token:
            raise Unusable(f"a sentence holds {shown(token)}, which is neither a word nor a list of objects")
        for number in token:
            if isinstance(number, bool) or not isinstance(number, int):
                raise Unusable(f"a sentence speaks of object {shown(number)}, which is no whole number")
            if not 0 <= number < objects:
                raise Unusable(f"a sentence speaks of object {shown(number)}, and there are {objects}, counted from 0")
    return value


def mentioned_in(sentences: Sequence[Tokens]) -> list[int]:
    """Return the objects that sentences speak of, each once, in the order in which they come first."""
    found = [number for sentence in sentences for token in sentence if not isinstance(token, str) for number in token]
    return list(dict.fromkeys(found))


def written(sentence: Tokens, places: Mapping[int, int]) -> str:
    """Return a sentence as people write it, objects as ``[0]``, several together as ``[0], [1] and [2]``.

    Args:
        sentence: Its tokens.
        places: The number to be written for each object.
    """
    text = ""
    for token in sentence:
        word = token if isinstance(token, str) else _several([f"[{places[number]}]" for number in token])
        clings = not text or text.endswith(_OPENS) or _CLINGS.fullmatch(word) is not None
        text += word if clings else f" {word}"
    return text


def _several(marks: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(marks[:-1]), marks[-1]) if part)
