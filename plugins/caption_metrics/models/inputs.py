"""Samples and captions as metrics with a model take them: what no model can read is refused by the sample's id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError
from regionkit.plugins.caption_metrics.inputs import checked_pairs


@dataclass(frozen=True, slots=True)
class Pair:
    """A caption and what it is held against.

    Attributes:
        sample: The sample.
        caption: Its caption.
        references: Its references; empty for a metric that looks at none.
    """

    sample: Sample
    caption: str
    references: tuple[str, ...]


def pairs_of(metric: str, samples: Sequence[Sample], captions: Sequence[str], *, references: bool) -> list[Pair]:
    """Check samples and captions and put them together.

    Args:
        metric: Name of the metric, for messages.
        samples: n samples.
        captions: n captions.
        references: Whether the metric holds captions against references, so that each sample must have some.

    Raises:
        DataError: A caption or a reference is no text, or a sample has no reference.
    """
    found = []
    for sample, caption in checked_pairs(metric, samples, captions, references=references):
        texts = sample.references if references else ()
        if references and not texts:
            raise DataError(f"{metric}: sample '{sample.id}' has no reference caption to be held against")
        found.append(Pair(sample, readable(caption), tuple(map(readable, texts))))
    return found


def readable(text: str) -> str:
    """Return a text that tokenizers can read: lone surrogates, which UTF-8 cannot hold, become U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= sign <= "\udfff" else sign for sign in text)
    return text
