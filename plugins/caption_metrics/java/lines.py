"""What captions must be before they are written for another program: text, on one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from regionkit.core.errors import DataError
from regionkit.plugins.caption_metrics.inputs import check_text
from regionkit.plugins.caption_metrics.overlap.tokenisers import TOKENISERS

# What some program takes for the end of a line or of a text, or cannot write: control characters, Unicode's separators
# of lines and paragraphs, halves of surrogate pairs. Tabs and line ends separate words, and so shall all of these.
_NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def plain_line(text: str) -> str:
    """Return a text with a space for every character that is none of a line of text; others stay as they are."""
    return _NOT_IN_A_LINE.sub(" ", text)


def checked(metric: str, name: str, caption: object, references: Sequence[object]) -> None:
    """Check that a caption can be judged.

    Args:
        metric: Name of the metric.
        name: What to call the caption, such as ``sample '17'``.
        caption: The caption.
        references: Its references.

    Raises:
        DataError: There is no reference, or one of the texts is no text, such as None.
    """
    if isinstance(references, str) or not len(references):
        raise DataError(f"{metric}: {name} has no reference caption")
    for what, text in (("caption", caption), *(("reference", text) for text in references)):
        check_text(metric, what, name, text)


def prepared(tokeniser: str) -> Callable[[str], str]:
    """Return what a caption is turned into: its tokens joined by spaces, or the caption as it is for ``none``."""
    if tokeniser == "none":
        return str
    split = TOKENISERS[tokeniser]
    return lambda text: " ".join(split(text))
