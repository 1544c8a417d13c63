"""The normalisation of answers in the evaluation of VQA.

Antol et al., VQA: Visual Question Answering, ICCV 2015, and the evaluation code of the benchmark. Where that code
departs from its own description, it is followed.
"""

from __future__ import annotations

import re

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
#: The release means to pass a flag, and limits the number of periods that are removed.
_MOST_PERIODS = int(re.UNICODE)

_NUMBERS = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6",
    "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip
_ARTICLES = frozenset({"a", "an", "the"})

_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
    o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
    someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've
    there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
    what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
    wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
#: Each contraction from its spellings without one of its apostrophes. The release has one entry the wrong way round.
CONTRACTIONS: dict[str, str] = {
    **{word[:at] + word[at + 1 :]: word for word in _CONTRACTED.split() for at, mark in enumerate(word) if mark == "'"},
    "somebody'd": "somebodyd",
}


def strip_punctuation(text: str) -> str:
    """Remove or split at punctuation.

    A mark goes without a trace where it stands beside a space somewhere in the text, or where the text holds a number
    such as 1,000; elsewhere it becomes a space. Periods go unless a digit follows. Apostrophes and colons stay.
    """
    number = _COMMA_IN_NUMBER.search(text) is not None
    result = text
    for mark in _MARKS:
        beside_space = f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if number or beside_space else " ")
    return _PERIOD.sub("", result, count=_MOST_PERIODS)


def plain_words(text: str) -> str:
    """Lower-case, write numbers up to ten as digits, drop articles, give contractions their apostrophes back."""
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def normalised(text: str) -> str:
    """Apply both steps."""
    return plain_words(strip_punctuation(text))
