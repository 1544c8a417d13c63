"""Options of the ``ifcap`` decoder, free of torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from regionkit.plugins.zeroshot.entities_config import EntityOptions


@dataclass(frozen=True)
class IfcapConfig(EntityOptions):
    """Options of :class:`~regionkit.plugins.zeroshot.ifcap.Ifcap`. Defaults are those of the paper for COCO.

    ``training_entities`` also says how the nouns of retrieved captions are found; the release has ``nouns``.

    Attributes:
        bank: The captions that are retrieved: the name of a corpus, a reference to a bank, ``auto`` or ``none``, as the
            bridge ``memory`` has it.
        retrieved: Retrieved captions that the soft tokens are made with.
        captions: Retrieved captions whose nouns are counted; 7 for Flickr30k.
        threshold: Which nouns are entities: those said at least ``frequency`` times (``fixed``), or more often than the
            mean of their numbers by ``deviations`` standard deviations (``normal``), or the same of the numbers'
            logarithms (``log-normal``).
        frequency: How often an entity is said, at least; 3 for Flickr30k.
        deviations: Standard deviations above the mean of an adaptive threshold.
        query_noise: In training, standard deviation of the noise on the sentence that captions are retrieved with, so
            that it finds what a picture would; the paper's variance is 0.04.
        distinct: Keep each sentence of the bank once.
        compat: ``reference`` reproduces the released code, as for ``viecap``; and in training only one of several equal
            sentences is left out of what is retrieved for it.
    """

    bank: str = "auto"
    retrieved: int = 5
    captions: int = 9
    threshold: Literal["fixed", "normal", "log-normal"] = "fixed"
    frequency: int = 5
    deviations: float = 1.0
    query_noise: float = 0.2
    distinct: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("retrieved", "captions", "frequency")
        if self.mapper != "transformer":
            raise ValueError(f"mapper: '{self.mapper}' cannot look at retrieved captions, only transformer can")
        if not math.isfinite(self.deviations):
            raise ValueError(f"deviations: {self.deviations} must be a finite number")
        if not (math.isfinite(self.query_noise) and self.query_noise >= 0):
            raise ValueError(f"query_noise: {self.query_noise} must be 0 (none) or more")
