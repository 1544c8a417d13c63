"""Options that decoders with a sentence of entities before the caption have in common, free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regionkit.core.language.options import names_file
from regionkit.core.spec import Port, Ports
from regionkit.plugins.zeroshot.prefix_config import PrefixOptions

#: Where the entities stand in ``prompt``.
PLACE = "{}"
#: Vocabularies whose words come with the toolkit.
SHIPPED: tuple[str, ...] = ("coco", "mini")
#: Vocabularies that papers name and whose words are files of their releases.
NAMED: tuple[str, ...] = ("visual_genome", "open_image", "vinvl_vg", "vinvl_vgoi")


@dataclass(frozen=True)
class EntityOptions(PrefixOptions):
    """Options of :class:`~regionkit.plugins.zeroshot.entities.EntityDecoder`. Defaults are those of Patch-ioner.

    Attributes:
        mapper: As elsewhere; the papers have a ``transformer``.
        prefix: Soft tokens a region.
        prompt: Words that stand before the caption, with ``{}`` where the entities are.
        soft_first: Whether the soft tokens stand before those words, and not behind them.
        full_stop: Whether a caption ends at its first full stop, as those of the releases do. Where the tokenizer has
            no full stop, and where this is false, it ends at the tokenizer's end token.
        vocabulary: Words that may be entities: ``coco`` (its 80 categories), ``mini`` (the nouns of the mini-world), or
            ``file:PATH``: one a line, JSON, CSV, or a pickle of a release. ``auto`` takes those whose vectors came with
            the weights, else ``coco``.
        max_entities: Entities that a training sentence has at most.
        mask: In training, the probability with which each entity is left out.
        training_entities: How the entities of a training sentence are found: ``vocabulary`` looks for the words of the
            vocabulary, in the singular and the plural; ``nouns`` takes the nouns that NLTK finds, as the release does.
        objects: With ``nouns``, ``file:PATH``, a vocabulary: only its single words are entities, besides persons. The
            release takes that of Visual Genome.
        compat: ``reference`` reproduces the released code: words of different lengths are filled up with ``!``, which
            the model reads, so that a caption depends on its batch mates; the score is the perplexity of the caption
            without its picture; beams are compared by their mean log-probability a token at every step; captions are
            learned as they are written, without a full stop where they have none, and the loss leaves id 0 out.
    """

    mapper: Literal["linear", "mlp", "transformer"] = "transformer"
    prefix: int = 10
    prompt: str = f"There are {PLACE} in image."
    soft_first: bool = True
    full_stop: bool = True
    vocabulary: str = "auto"
    max_entities: int = 10
    mask: float = 0.4
    training_entities: Literal["vocabulary", "nouns"] = "vocabulary"
    objects: str = ""
    compat: Literal["paper", "reference"] = "paper"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("max_entities")
        if not 0 <= self.mask <= 1:
            raise ValueError(f"mask: {self.mask} must be a probability, from 0 to 1")
        if self.prompt and PLACE not in self.prompt:
            raise ValueError(f"prompt: '{self.prompt}' must say with {PLACE} where the entities stand")
        names = ("auto", *SHIPPED, *NAMED)
        if self.vocabulary not in names and not names_file(self.vocabulary):
            raise ValueError(f"vocabulary: '{self.vocabulary}' must be one of {', '.join(names)}, or file:PATH")
        if self.objects and not names_file(self.objects):
            raise ValueError(f"objects: '{self.objects}' must be file:PATH, a vocabulary")


def entity_ports(config: EntityOptions) -> Ports:
    """Return what a decoder reads: the space of its weights, or, without any, that of sentences, which it learns in."""
    return Ports(reads=Port("text" if config.weights == "none" else "weights"))
