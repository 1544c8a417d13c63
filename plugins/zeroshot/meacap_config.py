"""Options of the ``meacap`` decoder, free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from regionkit.core.language.options import names_file
from regionkit.core.spec import RELEASED
from regionkit.plugins.zeroshot.entities_config import EntityOptions


@dataclass(frozen=True)
class MeacapConfig(EntityOptions):
    """Options of :class:`~regionkit.plugins.zeroshot.meacap.Meacap`. Defaults are those of Patch-ioner.

    Attributes:
        bank: The bank of captions that is its memory: the name of a corpus, a reference to a file, or ``auto``.
        captions: Captions that are retrieved for a region.
        parser: How captions become scene graphs: ``rules`` takes the words of ``vocabulary`` as things and the words
            right before them as attributes; ``file:FOLDER`` is a T5 that was trained for it, as the Hugging Face hub
            has it; ``released`` is that of the release, lizhuang144/flan-t5-base-VG-factual-sg.
        similarity: Which things are one: ``words``, those of one spelling but for the plural; ``file:FOLDER``, those
            whose vectors of an encoder of sentences have a cosine above 0.55; ``released`` is that of the release,
            all-MiniLM-L6-v2.
    """

    bank: str = "auto"
    captions: int = 5
    parser: str = "rules"
    similarity: str = "words"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("captions")
        for name, word in (("parser", "rules"), ("similarity", "words")):
            value = getattr(self, name)
            if value not in (word, RELEASED) and not names_file(value):
                raise ValueError(f"{name}: '{value}' must be {word}, {RELEASED}, or file:FOLDER")
