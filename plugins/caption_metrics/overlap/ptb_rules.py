"""What the official tokeniser takes for one token, as rules found from its behaviour.

A rule is a regular expression: its first group is the token, what it matches after that must follow the token but stays
for the next one. Where several rules match, the one that sees most of the text wins, what must follow included; between
equals the earlier one. This is how the official tokeniser, a generated lexer, decides too; the rules themselves were
written from pairs of captions and tokens, none is a copy.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from regionkit.plugins.caption_metrics.overlap.ptb_characters import DIGITS, LETTERS, MARKS


@dataclass(frozen=True, eq=False)
class Rule:
    """One kind of token.

    Attributes:
        expression: Its regular expression; the first group is the token.
        change: What makes the token from the text that it took (None: as it stands).
    """

    expression: str
    change: Callable[[str], str] | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The compiled expression. Compiling all takes some tenths of a second, so each waits until it is needed."""
        return re.compile(self.expression)

    @cached_property
    def ascii_pattern(self) -> re.Pattern[str]:
        """What matches the same in a text of ASCII alone, as most captions are; it compiles in a tenth of the time."""
        expression = self.expression
        for every, plain in _IN_ASCII:
            expression = expression.replace(every, plain)
        return re.compile(expression)


#: Insides of character classes, and what of them is ASCII.
_IN_ASCII = ((LETTERS, "A-Za-z"), (DIGITS, "0-9"), (MARKS, ""))


# Abbreviations that keep their dot in any casing.
_TITLES = (
    "adj adm adv alex assoc asst atty attys ave brig capt cf cie cmdr col comdr cpl dept det dr drs elec ens ft gen "
    "gov govs hon insp invt jos lt maj messrs mlle mme mr mrs ms msgr mt natl pfc ph pres prof profs pvt rep reps "
    "rev sen sens sfc sgt spc st ste supt treas vs wm"
)
# Those that may end a sentence.
_ENDINGS = (
    "al ala apr ariz assn aug bhd bldg blvd bros calif co colo conn corp cos ct dak dec esq est etc ext feb fla fri "
    "ga inc ind intl jan jr jul jun kan kans ky ltd mar md mich minn mo mon mont neb nev nov oct okla penn plc rd "
    "rt sep sept seq sq sr sys tel tenn thu thurs tue tues univ va vt wed wis wisc wyo"
)
# Those that are words too when in lower case, and a few that are not in upper case.
_CASED = (
    "Ark ARK Az AZ Del DEL Ill ILL La LA Mass MASS Miss MISS Ore ORE Pa PA Tex TEX Wash WASH "
    "Ppte ppte Ppty ppty Pte pte Ptes ptes Pty pty Ptys ptys"
)
_BEFORE_NUMBERS = "art ca fig figs no nos op pp prop"
# After a single capital letter and its dot, these begin a sentence: the dot is then no part of the letter.
_STARTERS = (
    "A About According Additionally After An As At But Earlier He Her Here However If In It Last Many More Now Once "
    "One Other Our She Since So Some Such That The Their Then There These They This We What When While Yet You"
)


def _any(words: str) -> str:
    return "|".join(sorted(words.split(), key=len, reverse=True))


_LETTER = f"[{LETTERS}{MARKS}\u00ad]"
_ALNUM = f"[{LETTERS}{DIGITS}\u00ad]"  # with the soft hyphen, which words keep until they are put out
_WORD = f"{_LETTER}[{LETTERS}{DIGITS}{MARKS}\u00ad]*"
_HYPHEN = "[-\u058a\u2010\u2011]"
_SPACE = "[ \u00a0]"
_INNER = "(?:['’‘`‛\x91\x92]|&apos;)"  # an apostrophe inside a word
_CLITIC = "(?:['’\x92]|&apos;)"  # one that begins a clitic
_NUMBER = f"(?:[{DIGITS}]*(?:[.,:\u066b\u066c][{DIGITS}]+)+|[{DIGITS}]+)"
_TITLE = rf"(?:(?i:{_any(_TITLES)})|[Mm]fg|[Mm]tg)\."
_ENDING = rf"(?:(?i:{_any(_ENDINGS)})|{_any(_CASED)}|(?:[Pp][Hh]|[Ee][Dd])\.[Dd])\."
_INITIALS = r"[A-Za-z](?:\.[A-Za-z])+"
# Parts of hyphenated words: "o'clock" counts as one, "5.5", "U.S." and "St." only as the first.
_PART = rf"(?:[DdLlOo]{_INNER}(?={_ALNUM}{{2}}))?{_ALNUM}+"
_FIRST = "[A-Za-z0-9][A-Za-z0-9.,]{0,99}"  # bounded, as below: no chunk may take time that grows with its square
_SLASHED = "[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
_FREE = r"[^\s\"<>|(){}\ud800-\udfff]"  # inside an address
_SUFFIX = (
    "html?|docx?|jpe?g|java|jar|bat|bmp|cgi|cpp|dll|exe|gif|mov|pdf|php|png|ppt|sql|tar|txt|wav|xml|zip|gz|pl|ps|py"
    "|c|h|x"
)
_NAME = "[A-Za-z][-A-Za-z0-9_:.]*"
_EYES = r"[<>]?[:;=]"
_CHEEK = "[-'<=>^~]"


# Two quotation marks in a row, of these, are one token; what each becomes.
_QUOTES = dict.fromkeys("‘‹‛`\x91", "`") | dict.fromkeys("’›\x92", "'")
_QUOTES |= dict.fromkeys("“«\x93", "``") | dict.fromkeys("”»\x94", "''") | {quote: quote for quote in "„‚‟"}


def _straight(token: str) -> str:
    return re.sub(_CLITIC, "'", token)


def _unescaped(token: str) -> str:
    return re.sub("(?i)&amp;", "&", token)


def _rules(*rules: str | tuple[str, Callable[[str], str]]) -> tuple[Rule, ...]:
    return tuple(Rule(*rule) if isinstance(rule, tuple) else Rule(rule) for rule in rules)


_TAG = rf"(?:<[!?][A-Za-z-][^>\n\r]*>|</?{_NAME}(?: +{_NAME}(?: *= *(?:'[^'\n\r]*'|\"[^\"\n\r]*\"))?)* */?>)"
_MAIL = (
    rf"((?:<|&lt;)?[A-Za-z0-9]{_FREE}{{0,99}}@(?:[^\s\"<>|(){{}}.\ud800-\udfff]+\.)*[^\s\"<>|(){{}}.\ud800-\udfff]+>?)"
)
_PHONE = (
    rf"((?:\+?[0-9]{{2,4}}[- \u00a0](?:[0-9]{{2,4}}[- \u00a0])?|\([0-9]{{2,3}}\){_SPACE}?)"
    r"[0-9]{3,4}[- \u00a0]?[0-9]{3,5})"
)
_PATH = r"/[^\s\"()<>|\ud800-\udfff]+[^\s\"()<>|{}.,!?\-\ud800-\udfff]"
_HOST = r"((?:[^\sA-Z0-9!\"$'(),\-./:;<=>?@\[\\\]^_`{|}\ud800-\udfff]+\.)+(?i:com|net|org|edu)(?:" + _PATH + ")?)"
_JOINED = (
    rf"({_PART}(?:(?:{_HYPHEN}|_){_PART})*)",
    rf"({_FIRST}(?:-(?:{_INITIALS}\.|[A-Za-z0-9]+))+)",
    rf"({_SLASHED}(?:\\?/{_SLASHED}){{1,2}})",
)

# Any word keeps its dot before a comma, colon or semicolon.
_BEFORE_COMMA = rf"(?:{_WORD}(?:[.!?]{_WORD})*|{_JOINED[0][1:-1]}|{_JOINED[1][1:-1]}|[A-Z]+(?:[&+][A-Z]+)+)"

#: Of tokens that begin with a letter.
WORDS = _rules(
    r"((?i:can(?=not)|gon(?=na)|got(?=ta)|gim(?=me)|lem(?=me)|wan(?=na)))(?i:not|na|ta|me)",
    rf"({_WORD}(?:[.!?]{_WORD})*){_CLITIC}(?i:[sdm]|ll|re|ve)",
    rf"([A-Za-z]*[A-MO-Za-mo-z])[nN]{_INNER}[tT]",
    (rf"([nN]{_INNER}[tT])", _straight),
    rf"({_WORD}(?:[.!?]{_WORD})*)",
    rf"({_ENDING})[\s\S]{{0,2}}",
    *_JOINED,
    (r"([A-Z]+(?:(?:&(?i:amp;)?|\+)[A-Z]+)+)", _unescaped),
    rf"({_TITLE})",
    rf"((?i:{_any(_BEFORE_NUMBERS)})\.)\s*[{DIGITS}]",
    rf"({_BEFORE_COMMA}\.)[,;:\u00ad\u3001]",
    rf"([A-Za-z])\.\s+(?:{_any(_STARTERS)}|{_any(_STARTERS.upper())}|M[RSrs]\.)\s",
    rf"([A-Za-z])\.\s+{_TAG}",
    rf"({_INITIALS}\.|[A-Za-z]\.)",
    rf"((?i:o'o|c'est|c'mon|cap'n|li'l|nat'l|ev'ry|s'mores|somethin'|dunkin'|e{_INNER}er|ol{_CLITIC}))",
    rf"([A-HJ-XZn]{_INNER}[{LETTERS}]{{2,}})",
    rf"([DdJjLl]{_CLITIC})",
    rf"([Yy]{_CLITIC})[A-Za-z]",
    rf"([{LETTERS}]*(?:[{LETTERS}][AEIOUYaeiouy]|[Qq][Uu]){_INNER}[A-Zaeiou][{LETTERS}]*)",
    r"([A-Z]+\$)",
    r"([Cc]\+\+|[CFcf]#)",
    rf"(x_(?:{_CHEEK}|x))",
    _MAIL,
    rf"((?i:https?)://{_FREE}+[^\s\"<>|(){{}}.,!?\-\ud800-\udfff])",
    rf"((?i:www)\.(?:{_WORD}\.)+[A-Za-z]{{2,4}}{_PATH})",
)
#: Of tokens that begin with a digit.
NUMBERS = _rules(
    rf"({_NUMBER})",
    *_JOINED,
    rf"({_JOINED[0][1:-1]}\.)[,;:]",
    r"((?:[0-9]{1,4}[- \u00a0])?[0-9]{1,4}(?:\\?/|\u2044)[0-9]{1,4})",
    _PHONE,
    r"([0-9]{1,2}[-/][0-9]{1,2}[-/][0-9]{2,4})",
    rf"((?:[0-9A-Za-z]+\.)+(?i:{_SUFFIX}))[\s.,!?]",
    _MAIL,
)

_SIGNED = _rules(rf"([-+]?{_NUMBER})", _PHONE)
_FACES = _rules(
    rf"({_EYES}[-*'o]?[()\[\]{{|\\@DPdpO])[^A-Za-z0-9]",
    rf"((?:{_CHEEK}|x)_(?:{_CHEEK}|x))",
)
_TAGS = _rules(
    f"({_TAG})",
    _MAIL,
    r"(<<)",
)
_APOSTROPHES = _rules(
    (rf"({_CLITIC}(?i:[sdm]|ll|re|ve))[^A-Za-z]", _straight),
    (r"((?:[’\x92]|&apos;)(?i:[sdm]|ll|re|ve))", _straight),
    rf"({_CLITIC}(?i:tills?|till?|cause|em))",
    rf"({_CLITIC}[nN]{_CLITIC})",
    rf"({_CLITIC}[nN])\s",
    r"('')",
    r"((?:[’\x92]|&apos;)[nN](?:[’\x92]|&apos;)?)",
    rf"({_CLITIC}[2-9]0s)",
    rf"({_CLITIC}[0-9][0-9])\s",
    r"('[tT])(?i:is|was)",
)
_ENTITIES = _rules(
    (r"(&(?i:amp|lt|gt);)", lambda token: {"a": "&", "l": "<", "g": ">"}[token[1].lower()]),
    (r"(&(?:quot|apos|nbsp|mdash|ndash);)", lambda token: ""),
    r"(&#[0-9]+;|&[AEIOUaeiou](?:acute|grave|uml);)",
)
_RUNS = _rules(
    r"([!?]{2,}|_+|\*+|#+|>>|(?:\\\*)+|-{5,})",
    (r"(-{1,4}|\.{3,5}|\.(?: \.){2,4})", lambda token: ""),
    r"([\u00b2\u00b3\u00b9\u2070\u2074-\u207c]+|[\u2080-\u208c]+)",
)
_PAIRS = _rules((f"([{''.join(_QUOTES)}]{{2}})", lambda token: "".join(_QUOTES[quote] for quote in token)))
_HANDLES = _rules(r"(@[A-Za-z_][A-Za-z0-9_]*|@{2,})", rf"(#{_LETTER}+)")
_BRACKETS = _rules(_PHONE, rf"(\({_CHEEK}[_.]?{_CHEEK}\))")

#: Words, in lower case, after which a dot may be more than the end of a sentence.
DOTTED = frozenset(f"{_TITLES} mfg mtg {_ENDINGS} {_CASED.lower()} {_BEFORE_NUMBERS}".split())

#: First character -> the rules of tokens that begin with it, where it is neither letter nor digit.
STARTS: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(".,:\u066b\u066c", _SIGNED + _FACES + _RUNS),
    **dict.fromkeys("+-", _SIGNED + _FACES + _RUNS),
    **dict.fromkeys(";=^~", _FACES),
    **dict.fromkeys("<", _TAGS + _FACES),
    **dict.fromkeys(">", _FACES + _RUNS),
    **dict.fromkeys("(", _BRACKETS),
    **dict.fromkeys("@", _HANDLES),
    **dict.fromkeys("#", _HANDLES + _RUNS),
    **dict.fromkeys("&", _APOSTROPHES + _ENTITIES),
    **dict.fromkeys(_QUOTES, _PAIRS),
    **dict.fromkeys("'", _APOSTROPHES + _FACES),
    **dict.fromkeys("’\x92", _APOSTROPHES + _PAIRS),
    **dict.fromkeys("!?_*\\\u00b2\u00b3\u00b9\u2070\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207c", _RUNS),
    **dict.fromkeys("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089\u208a\u208b\u208c", _RUNS),
}
#: Tokens that may begin with nearly any character, in texts that hold an address.
HOSTS = _rules(_HOST)
