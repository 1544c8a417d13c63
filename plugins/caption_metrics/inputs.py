"""Samples and captions as all metrics of this plugin take them: what is no text is refused by the sample's id."""

from __future__ import annotations

from collections.abc import Sequence

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError


def checked_pairs(
    metric: str, samples: Sequence[Sample], captions: Sequence[str], *, references: bool = False
) -> list[tuple[Sample, str]]:
    """Pair samples with captions. All are checked before any is returned, so that a refusal leaves nothing behind.

    Args:
        metric: Name of the metric, for messages.
        samples: n samples.
        captions: n captions.
        references: Whether the metric reads references, which must then be texts too. Whether a sample needs one is for
            the metric to say.

    Raises:
        DataError: A caption or a reference is no text, such as None.
    """
    pairs = list(zip(samples, captions, strict=True))
    for sample, caption in pairs:
        check_text(metric, "caption", f"sample '{sample.id}'", caption)
        for text in sample.references if references else ():
            check_text(metric, "reference", f"sample '{sample.id}'", text)
    return pairs


def check_text(metric: str, what: str, owner: str, text: object) -> str:
    """Return a text as it is.

    Args:
        metric: Name of the metric, for the message.
        what: ``caption`` or ``reference``.
        owner: Whose it is, such as ``sample '17'``.
        text: What should be text.

    Raises:
        DataError: It is none.
    """
    if isinstance(text, str):
        return text
    found = "None" if text is None else f"{text!r:.60} ({type(text).__name__})"
    raise DataError(
        f"{metric}: the {what} of {owner} is {found}, and must be text",
        "an empty caption is '', which scores like any other",
    )
