"""Rewriting sentences of narratives without a language model: what is spoken about the picture goes, the thing stays.

The benchmark's authors ask a language model (:mod:`~regionkit.plugins.datasets.narratives.prompt`); these rules are our
own, for where there is none. They shorten and never invent, but for the subject of a sentence that has a pronoun.
"""

from __future__ import annotations

import re

_PICTURE = (
    r"(?:image|picture|photo|photograph|photography|pic|frame|screenshot|scene|view|snap|shot|foreground|background)"
)
_IMAGE = r"(?:images?|pictures?|photos?|photographs?|photography|pics?|frame|screenshot|snap)"
_THIS = r"(?:this|the|that|given|above)"
_SIDE = (
    r"(?:(?:extreme |far |top |bottom |upper |lower |left |right )?"
    r"(?:left|right|bottom|top|middle|cent(?:er|re)|front|back|foreground|background|corner|side|edge|part|portion|area)"
    r"(?:[ -]hand)?(?:[ -](?:left|right|side|corner|part|portion|area|most|top|bottom|edge)){0,3})"
)
_OF_PICTURE = rf"(?: (?:of|in|on) {_THIS} {_IMAGE})"
#: "in the background", "on the left side of the image", "in this picture".
_PLACE = (
    rf"(?:(?:in|on|at|to|towards?|from|of|coming to|behind|with(?:in)?)(?: the| this| that)? "
    rf"(?:{_SIDE}{_OF_PICTURE}?|{_IMAGE}))"
)
_SPEAKER = r"(?:we|i|you|one|u)"
_ALSO = r"(?:(?:also|even|clearly|just|only|then|again|now|mainly|still|well|barely) )?"
_SEE = r"(?:see|observe|find|notice|view|watch|look at|identify|spot|have|got)"
#: Words that begin a sentence and say nothing.
_OPENER = (
    r"(?:and|also|then|so|next(?! to)|well|now|okay|ok|here|moreover|additionally|furthermore|finally|um|uh|but|where)"
)
_BE = r"(?:is|are|was|were)"

#: Sentences about the picture, or guesses: nothing that is seen at a place.
_VAGUE = re.compile(
    "|".join(
        (
            r"\bblur(?:red|ry|red out|s)?\b",
            r"\b(?:edited|photoshopped|watermarks?)\b",
            r"(?:^|(?<!in )(?<!on )(?<!of )(?<!at )\b(?:this|the|that|entire|whole|complete) )"
            r"(?:image|picture|photo|photograph|photography|pic|screenshot|snap) "
            r"(?:is|was|has been|looks|seems|appears|might|may|could)(?! (?:of|about)\b)",
            r"\b(?:in|out)doors?[ -](?:scene|view|image|picture|photo|photograph|shot|location|place|setting|area)\b",
            rf"^(?:it|this|that|these|{_THIS} {_PICTURE})\b.*\b(?:in|out)(?:doors?|side)[.!]?$",
            r"^(?:it|this|that) (?:is|was) (?:taken|captured|clicked|shot|a (?:sunny|cloudy|rainy|bright|clear) day|"
            r"(?:day|night) ?time)\b",
            r"^(?:it|this|that) (?:is|was) (?:an? )?(?:[\w-]+ ){0,3}(?:image|picture|photo|photograph)\b(?! of\b)",
            r"\bseem(?:s|ed)?\b",
            r"\bappears? to\b",
            r"\bi (?:think|guess|believe|feel|suppose|assume)\b",
            r"\b(?:might|may|could|must) (?:also )?be\b",
            r"\b(?:maybe|probably|perhaps|possibly|not sure|unclear|not clear|not visible|cannot see|can't see)\b",
            r"\b(?:i|we) (?:do not|don't|am|cannot|can't|could not|couldn't)\b",
        )
    ),
    re.IGNORECASE,
)

#: What is taken off the beginning, again and again; each ends before the thing.
_PREFIXES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"^{_OPENER}\b[, ]+",
        rf"^{_PLACE}(?:(?: and)? {_PLACE})?(?:,| ,|(?= ))\s*(?=\S)(?!of\b|and\b)",
        rf"^{_SPEAKER} (?:can |could |are able to |will |are |am )?{_ALSO}(?:{_SEE}|seeing|looking at)\b"
        r"(?: that\b)?[, ]*",
        r"^there (?=(?:we|i|you)\b)",
        rf"^there {_ALSO}(?:{_BE}|exists?|lies|can be seen)\b(?: also\b)?[, ]*",
        r"^there's\b[, ]*",
        rf"^(?:it|this|that|these|those)(?: {_IMAGE})? (?:looks?|sounds) like\b[, ]*",
        rf"^(?:{_THIS} )?{_PICTURE} (?:also |mainly )?(?:consists? of|contains?|has|have|had|shows?|depicts?|includes?|"
        r"comprises?(?: of)?|features?|represents?|displays?|captures?|is (?:of|about))\b[, ]*",
        r"^(?:it|this|that|these|those) (?:also )?(?:consists? of|contains?|has|have|shows?|depicts?|includes?)\b[, ]*",
        rf"^(?:it|this|that) {_BE} (?:an?|the) (?:image|picture|photo|photograph|view|scene) of (?=\w)",
        rf"^(?:it|this|that|these|those) {_BE} (?=(?:an?|the|some|many|few|several|two|three|four|five|lots?|one)\b)",
        r"^(?:these|those) are (?!\w+ing\b)(?=\w)",
        r"^(?:able to )?see (?:that )?(?=(?:an?|the|some|many|few|two|three|there)\b)",
        r"^[,;:.\-–—\s]+",
    )
)

#: What is taken off the end.
_SUFFIXES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf",? (?:which |that |who )?(?:{_BE} |can (?:also )?be |could be ){_ALSO}"
        rf"(?:seen|visible|observed|noticed|present|found|there|displayed)(?:,? {_PLACE})?$",
        rf",? (?:that |which )?{_SPEAKER} can (?:also )?(?:see|observe|find|notice)(?: here)?(?:,? {_PLACE})?$",
        rf",? {_PLACE}$",
        r",? (?:as well|also|too|here|and so on|etc|and|or|with|which|that|visible|so)$",
        r"[,;:.!?\-–—\s]+$",
    )
)

_NO_VERB = r"(?!\w+ing\b|in\b|on\b|of\b|with\b|near\b|at\b|and\b|is\b|are\b|has\b|from\b|by\b|which\b|who\b|that\b)"
#: What is changed inside, all of it shorter than it was, or as long.
_INSIDE: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), by)
    for pattern, by in (
        (rf" (?:on|at|in|to) the {_SIDE}{_OF_PICTURE}(?=[ ,])", ""),
        (rf" in {_THIS} {_IMAGE}(?=[ ,])", ""),
        (rf",? (?:which|who|that) {_BE} (?=\w)", " "),
        (rf" {_BE} (?:present|visible|seen) (?=(?:in|on|at|near|behind|beside|under|above|over|with|around)\b)", " "),
        (rf"^((?:{_NO_VERB}[\w'-]+ ){{1,4}})(?:which|that|who) (?!{_BE}\b|we\b|i\b|you\b)(?=\w)", r"\1"),
        (rf"(?:,| and)? (?:we|i|you) can {_ALSO}{_SEE} (?:that )?(?=(?:an?|the|some|many|few|two|three|four|\w+s)\b)",
         " and "),
        (r"(?<=\w) and there (?:is|are) ", " and "),
        (r"^he is (?=\w+ing\b|in\b|on\b|with\b)", "A man "),
        (r"^she is (?=\w+ing\b|in\b|on\b|with\b)", "A girl "),
        (r"^they are (?=\w+ing\b|in\b|on\b|with\b)", "People "),
        (r"(?<=\S) +(?=[,;])|\s{2,}", ""),
    )
)  # fmt: skip

#: "Behind the man there is a fence", to be told the other way round.
_WHERE_FIRST = re.compile(
    r"^(behind|besides?|in front of|near|under|above|next to|on|in|over|around|between|below|at|inside) "
    r"((?:[\w'-]+ ){0,5}[\w'-]+),? there (?:is|are|was|were) ([^,]+)$",
    re.IGNORECASE,
)

#: What may be left of a sentence that spoke of nothing.
_EMPTY = re.compile(
    rf"(?:(?:an?|the|this|that|it|its|there|here|{_SPEAKER}|is|are|of|in|on|at|and|to|with|he|she|they|things?|objects?|"
    rf"something|some|other|{_PICTURE}|{_IMAGE}|can|see|also|left|right|side|top|bottom|which|who|has|have)\b\W*)*",
    re.IGNORECASE,
)
_QUOTES = "\"'“”‘’` "
#: Characters of the longest sentence; what is longer is no caption.
_LONGEST = 1000
_PRONOUN = re.compile(r"(?:it|this|that|these|those|he|she|they|we|i|you)\b", re.IGNORECASE)


def rewrite(sentence: str) -> str | None:
    """Return a sentence as a caption, None where it describes nothing that can be pointed at.

    A caption is never empty and never longer than the sentence, and is its own caption. It ends with a full stop where
    there is room for one.
    """
    text = before = " ".join(sentence.split())
    if len(text) > _LONGEST or _VAGUE.search(text):
        return None
    while True:
        text = _once(text)
        if _VAGUE.search(text) or _EMPTY.fullmatch(text):
            return None
        if text == before:
            break
        before = text
    if _PRONOUN.match(text) or not any(letter.isalnum() for letter in text):
        return None  # what a pronoun stands for was said in another sentence
    room = len(text) < len(sentence)
    return f"{text}." if room else text


def same(sentence: str, caption: str) -> bool:
    """Say whether a caption is the sentence itself, but for case, blanks and the mark at its end."""
    return _plain(sentence) == _plain(caption)


def _plain(text: str) -> str:
    return " ".join(text.split()).strip(" .!?").casefold()


def _once(text: str) -> str:
    """Take off, and change, what one pass finds; the first letter becomes a capital."""
    text = text.strip(_QUOTES)
    for pattern in (*_PREFIXES, *_SUFFIXES):
        text = pattern.sub("", text, count=1)
    for pattern, by in _INSIDE:
        text = pattern.sub(by, text)
    text = _WHERE_FIRST.sub(lambda found: f"{found[3]} {found[1].lower()} {found[2]}", text.strip())
    capital = text[:1].upper()
    return capital + text[1:] if len(capital) == 1 else text
