"""How captions become tokens."""

from __future__ import annotations

import re
from collections.abc import Callable

from regionkit.plugins.caption_metrics.overlap.ptb import ptb

# Words keep inner apostrophes, hyphens, dots and commas ("o'clock", "t-shirt", "7.5", "1,000"); everything else that is
# not a space is a token of its own.
_TOKEN = re.compile(r"\w+(?:['’.,\-]\w+)*|[^\w\s]+")

#: Tokens that the official caption evaluation (coco-caption) removes after Penn Treebank tokenisation.
PUNCTUATION: frozenset[str] = frozenset(
    ["''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)


def words(text: str) -> list[str]:
    """Lower-case, split punctuation off the words, and drop the punctuation of the official list.

    On captions of plain words this equals the official Penn Treebank tokens, which ``ptb`` gives for any caption.
    Here clitics stay with their word ("dog's"), and brackets and double quotes are not renamed.
    """
    return [token for token in _TOKEN.findall(text.lower()) if token not in PUNCTUATION]


def tokens(text: str) -> list[str]:
    """Split text that is tokenised already; any run of spaces separates."""
    return text.split()


#: Name in a config and in a signature -> the function.
TOKENISERS: dict[str, Callable[[str], list[str]]] = {"ptb": ptb, "words": words, "tokens": tokens}
