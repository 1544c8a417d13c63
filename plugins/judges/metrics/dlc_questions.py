"""DLC-Bench's questions: how they are put to a judge, and how the answers are read.

Facts of the prompt, of the plural classes and of the seven steps are those of the released evaluation code of Describe
Anything (arXiv 2504.16072).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from regionkit.core.judging import Unreadable

#: The released prompt, to the letter.
PROMPT = """\
Answer the multiple-choice question based on the text description of an object in an image. You need to follow these \
rules:
1. Do not output any reasoning. Do not perform correction. Please output exactly one answer from the choices for each \
question. Do not repeat the question.
2. There is no need for exact matching. Please choose the closest option based on the description.

The description is:
{caption}

From the description above, please answer the following question with one of the choices:
{question}
"""
_SINGULAR = (
    "Is it likely that the object in the description is {name} or an object of a similar type? "
    "Again, It does not have to be an exact match."
)
_PLURAL = (
    "Is it likely that the objects in the description are {name} or objects of a similar type? "
    "Again, It does not have to be an exact match."
)
#: Letters of the choices; the benchmark has at most four, the released reader knows five.
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_KNOWN = "abcde"
#: Ends of singular words that look like plurals: bus, glass, tennis.
_NO_PLURALS = ("ss", "us", "is")
#: Taken for a plural by the library that the released code asks.
_TAKEN_FOR_PLURAL = ("wine glass",)
#: Words that begin with a vowel's letter and a consonant's sound, and the other way round.
_AS_CONSONANT = re.compile(r"e[uw]|onc?e\b|uni(?![nmd])|unimo|u[bcfghjkqrst][aeiou]|us|u[.-]")
_AS_VOWEL = re.compile(r"hour(?!i)|heir|honest|hono|[fhlmnrsx][.-]")


def prompt_of(caption: str, question: str, choices: Sequence[str]) -> str:
    """Return a question about a caption with its choices, one a line after its letter."""
    lines = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)]
    asked = "\n".join([question, *lines]).strip()
    head, middle, tail = re.split(r"\{caption\}|\{question\}", PROMPT)
    return head + caption + middle + asked + tail  # captions may hold braces


def recognition_question(name: str) -> str:
    """Return the question whether a description is of an object of a class; its choices are yes and no."""
    return _PLURAL.format(name=name) if is_plural(name) else _SINGULAR.format(name=f"{article(name)} {name}")


def is_plural(name: str) -> bool:
    """Say whether the name of a class is taken for a plural, as the release takes those of its own classes."""
    last = name.lower().split()[-1] if name.split() else ""
    return name.lower() in _TAKEN_FOR_PLURAL or (last.endswith("s") and not last.endswith(_NO_PLURALS))


def article(name: str) -> str:
    """Return ``a`` or ``an``, by the sound with which a name begins."""
    word = name.lower().lstrip()
    if _AS_VOWEL.match(word):
        return "an"
    return "an" if word[:1] in tuple("aeiou") and not _AS_CONSONANT.match(word) else "a"


def choice_of(reply: str, choices: Sequence[str]) -> int:
    """Return the choice that a reply names, counted from 0.

    Raises:
        Unreadable: It names none of them.
    """
    choice = choice_in(reply, choices)
    if choice is None:
        raise Unreadable("it names no choice")
    if choice >= len(choices):
        raise Unreadable(f"its letter is beyond the {len(choices)} choices")
    return choice


def choice_in(reply: str, choices: Sequence[str]) -> int | None:
    """Return the choice that a reply names, counted from 0, in the seven steps of the released reader.

    None is no choice; a letter beyond the choices is returned as it is, both as in the release.

    Raises:
        Unreadable: The released reader breaks off: the reply is empty, or a single letter beyond the choices.
    """
    said = reply.lower().strip()
    plain = [choice.lower().strip() for choice in choices]
    for at, choice in enumerate(plain):
        letter = LETTERS[at].lower()
        if said in (choice, f"{letter}. {choice}", letter):
            return at
    held = [at for at, choice in enumerate(plain) if choice in said]
    if len(held) == 1:
        return held[0]
    if not said:
        raise Unreadable("it is empty")
    if len(said) == 1 and said in _KNOWN:
        raise Unreadable(f"its letter '{said}' is beyond the choices")
    if said[0] in _KNOWN and said[1:2] == ".":
        return _KNOWN.index(said[0])
    if held:
        return max(held, key=lambda at: (said.find(plain[at]), len(plain[at]), -at))
    around = [at for at, choice in enumerate(plain) if said in choice]
    if around:
        return max(around, key=lambda at: (len(plain[at]), -at))
    if said[0] in _KNOWN and said[1:2] == "\n":
        return _KNOWN.index(said[0])
    return None
