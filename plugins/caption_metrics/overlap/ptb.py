"""Penn Treebank tokens as the official caption evaluation makes them, without Java.

The official evaluation (coco-caption, ``pycocoevalcap`` 1.2) runs the Stanford tokeniser of 2014 over all captions of
a run, one a line, lower-cases, and removes the punctuation that it lists. ``ptb`` gives the same tokens for one
caption. It was written from pairs of captions and official tokens. What it keeps of the official behaviour:

- Clitics and a few contractions are split ("dog 's", "ca n't", "gon na"); abbreviations and initials keep their dot.
- The list of punctuation is in upper case and the tokens are not, so brackets survive as ``-lrb-`` and ``-rrb-``;
  so do "!!", "?!", two curly quotes in a row, and dashes of five or more strokes.
- Pounds become ``#``, euros ``$``, ``½`` becomes ``1/2``. Letters newer than 2014, emoji and whatever else lies
  beyond the basic plane are dropped; they still part words.
- Mixed fractions, telephone numbers and tags with spaces are one token, with no-break spaces (U+00A0) in it. A scorer
  that splits a joined caption at any white space, as the official BLEU and CIDEr do, sees several.

Where it departs on purpose: a caption's tokens depend on that caption alone.

- The official tokeniser starts a new line at CR, VT, FF, U+2028 and U+2029, which shifts all later captions; here
  they are white space, as are the newline and U+0085.
- It looks beyond the end of a caption. "Wii U." gives "u." unless the next caption begins with one of some 45 words
  ("A", "The", "Many" ...), then "u"; "no." and "fig." keep their dot if the next one begins with a number. Here the end
  of the caption is followed by nothing: "u.", "no", "fig".
- It cannot read lone surrogates at all; here they are dropped.

Known to differ otherwise, about once in a thousand captions of random signs and never seen in real ones: a soft hyphen
at the edge of a joined word or inside an address, and a capital sigma alone after a hyphen.
"""

from __future__ import annotations

import re
from itertools import chain

from regionkit.plugins.caption_metrics.overlap.ptb_characters import DIGITS, LETTERS, MARKS, SYMBOLS
from regionkit.plugins.caption_metrics.overlap.ptb_rules import DOTTED, HOSTS, NUMBERS, STARTS, WORDS, Rule

# Of the official list, what a lower-cased token can be. "---" and "----" are put out as "--".
_REMOVED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";", ""])
#: What becomes of a character that no rule takes; symbols stand for themselves, all others are dropped.
_ALONE = {character: character for character in "#+/@_\u2044"} | {
    "(": "-lrb-",
    ")": "-rrb-",
    "[": "-lsb-",
    "]": "-rsb-",
    "{": "-lcb-",
    "}": "-rcb-",
    "£": "#",
    "€": "$",
    "¤": "$",
    "\u20a0": "$",
    "\x80": "$",
    "¢": "cents",
    "¼": "1/4",
    "½": "1/2",
    "¾": "3/4",
    "⅓": "1/3",
    "⅔": "2/3",
}
# Inside longer tokens: faces, telephone numbers, tags.
_INSIDE = str.maketrans({"(": "-lrb-", ")": "-rrb-", " ": "\u00a0", "\u00ad": None})
#: What rules see after the last word.
_END = "\n"
_SPLIT = frozenset(["cannot", "gimme", "gonna", "gotta", "lemme", "wanna"])  # all after the third letter
_PLAIN = re.compile(r"[A-Za-z]+(?=\s)")
_WORDLIKE = re.compile(f"[{LETTERS}{MARKS}\u00ad]")
_DIGIT = re.compile(f"[{DIGITS}]")
_SYMBOL = re.compile(f"[{SYMBOLS}]")
_HOSTED = re.compile(r"\.(?:com|net|org|edu)", re.IGNORECASE)
_CHUNK = re.compile(r"\S+")
# Between white space, these are tokenised alike whatever stands beside them.
_ALOOF = re.compile(
    r"(?P<plain>[A-Za-z]+[0-9]*)[,;:!?]?|(?P<word>[A-Za-z]+(?:[-'’][A-Za-z]+)*)(?:[,;:!?]|(?P<dot>\.))?|[,;!?]"
    r"|[A-Za-z]+_[A-Za-z0-9]+"
)
# Tokens of such chunks, filled as they come. Bounded, since captions may hold anything.
_KNOWN: dict[str, tuple[str, ...]] = {}
_MOST_KNOWN = 1 << 16
_LONGEST_KNOWN = 40


def ptb(text: str) -> list[str]:
    """Return the official Penn Treebank tokens of one caption, lower-cased, without the listed punctuation.

    Any ``str`` is taken; no token is empty, and none holds white space but U+00A0 (see the head of this module).
    """
    chunks = text.split()
    if chunks and chunks[-1] == "." and chunks[-2:-1] != ["."]:
        chunks.pop()  # alone at the end of a caption it is removed; beside other dots it may be part of an ellipsis
    try:
        return list(chain.from_iterable(map(_KNOWN.__getitem__, chunks)))  # all in C: most chunks came before
    except KeyError:
        pass
    tokens: list[str] = []
    for chunk in chunks:
        known = _KNOWN.get(chunk)
        if known is None:
            known = _learn(chunk)
            if known is None:
                return _read(text)
        tokens += known
    return tokens


def _read(text: str) -> list[str]:
    """Tokenise a caption of which only some chunks stand for themselves; the others are read by the rules."""
    hosted = _HOSTED.search(text) is not None
    padded = text + _END
    tokens: list[str] = []
    position = 0
    for chunk in _CHUNK.finditer(text):
        start, end = chunk.span()
        if position <= start:
            position = start
            known = _KNOWN.get(chunk[0])
            if known is None:
                known = _learn(chunk[0])
            if known is not None:
                tokens += known
                position = end
        # A token may reach over white space into the next chunks: a tag, a fraction, a telephone number.
        position = _scan_to(end, padded, position, tokens, hosted=hosted)
    return tokens


def _learn(chunk: str) -> tuple[str, ...] | None:
    """Return the tokens of a chunk without white space, or None if they may depend on its neighbours."""
    match = _ALOOF.fullmatch(chunk)
    if match is None or (match["dot"] and (len(match["word"]) == 1 or match["word"].lower() in DOTTED)):
        return None
    # Most words need no rules: what follows them is removed.
    word = match["plain"] or (match["word"] if match["dot"] and match["word"].isalpha() else "")
    tokens = _plain(word) if word else tuple(_scan(chunk))
    if len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.clear()
    if len(chunk) <= _LONGEST_KNOWN:
        _KNOWN[chunk] = tokens
    return tokens


def _plain(word: str) -> tuple[str, ...]:
    """Return the tokens of a word of letters, and digits behind them."""
    word = word.lower()
    return (word[:3], word[3:]) if word in _SPLIT else (word,)


def _scan(text: str) -> list[str]:
    """Tokenise from left to right by the rules alone."""
    tokens: list[str] = []
    _scan_to(len(text), text + _END, 0, tokens, hosted=_HOSTED.search(text) is not None)
    return tokens


def _scan_to(end: int, text: str, position: int, tokens: list[str], *, hosted: bool) -> int:
    """Add the tokens from a position on until ``end`` is reached, and return where the last one stops."""
    while position < end:
        if text[position].isspace():
            position += 1
            continue
        word = _PLAIN.match(text, position)
        if word is None:
            token, size = _longest(_rules_at(text[position], hosted), text, position)
            position += size
            if token not in _REMOVED:
                tokens.append(token)
            continue
        tokens += _plain(word[0])
        position = word.end()
    return position


def _rules_at(first: str, hosted: bool) -> tuple[Rule, ...]:
    """Return the rules of tokens that may begin with a character, in a text that does or does not name a host."""
    if _WORDLIKE.match(first):
        rules = WORDS
    elif _DIGIT.match(first):
        rules = NUMBERS
    else:
        rules = STARTS.get(first, ())
    return rules + HOSTS if hosted else rules


def _longest(rules: tuple[Rule, ...], text: str, position: int) -> tuple[str, int]:
    """Return the token at a position, and how much of the text it took; the token is empty where it is dropped."""
    seen, size, token = position, 0, ""
    plain = text.isascii()
    for rule in rules:
        match = (rule.ascii_pattern if plain else rule.pattern).match(text, position)
        if match is not None and match.end() > seen:
            seen, size = match.end(), len(match[1])
            token = match[1] if rule.change is None else rule.change(match[1])
    if size == 0:
        first = text[position]
        return _ALONE.get(first) or (first.lower() if _SYMBOL.match(first) else ""), 1
    return token.translate(_INSIDE).lower(), size
