"""Options of the metrics that judge with a model, torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

View = Literal["whole", "crop", "drawn-box"]


def _official_clip() -> dict[str, Any]:
    """Return the model that CLIPScore's release judges with."""
    return {"name": "clip", "model": "vit-b32", "fit": "crop"}


@dataclass(frozen=True)
class ImageTextCosineConfig:
    """Options of ``image-text-cosine``.

    Attributes:
        backbone: Name of the backbone that judges, one with a class token and a text tower, such as ``mini-clip`` or
            ``clip``. It should be no part of the pipelines that it judges: what they were trained to agree with has no
            say on whether they do.
    """

    backbone: str


@dataclass(frozen=True)
class ClipScoreConfig:
    """Options of ``clipscore``.

    Attributes:
        backbone: The backbone that judges, one with a class token and a text tower: its name, or a mapping with
            ``name`` and options. CLIP B/32, as the official code has it. It should be no part of the pipelines that it
            judges.
        variant: ``official`` is 2.5 times the cosine, cut at 0, of captions that follow ``A photo depicts``. ``vizer``
            is the cosine as it is, of captions alone: the numbers that ViZer (arXiv 2510.12931) reports, .25 to
            .28, are of this size; its paper says neither factor nor prefix.
        view: What is shown of a region. ``whole``: its picture, as official. ``crop``: its bounding box, cut out.
            ``drawn-box``: its picture with the bounding box in red. Of each the centre square is seen. The evaluation
            of Patch-ioner takes the latter two for regions; its drawing is not published, ours is 10 pixels wide.
    """

    backbone: str | dict[str, Any] = field(default_factory=_official_clip)
    variant: Literal["official", "vizer"] = "official"
    view: View = "whole"


@dataclass(frozen=True)
class RefClipScoreConfig:
    """Options of ``ref-clipscore``.

    Attributes:
        backbone: As in ``clipscore``.
        view: As in ``clipscore``.
    """

    backbone: str | dict[str, Any] = field(default_factory=_official_clip)
    view: View = "whole"


@dataclass(frozen=True)
class PacScoreConfig:
    """Options of ``pac-s``.

    Attributes:
        backbone: The backbone that judges, as in ``clipscore``, with the weights of PAC-S:
            ``{name: clip, model: vit-b32, weights: file:clip_ViT-B-32.pth}``. There is no default: with the weights of
            plain CLIP the number would be no PAC-S. The signature holds their hash.
        view: As in ``clipscore``.
    """

    backbone: str | dict[str, Any]
    view: View = "whole"


@dataclass(frozen=True)
class RefPacScoreConfig:
    """Options of ``ref-pac-s``.

    Attributes:
        backbone: As in ``pac-s``.
        variant: ``official`` is the harmonic mean of PAC-S and the best cosine of the caption with a reference.
            ``patchioner`` is that cosine alone, of the caption without full stops and blanks at its ends, which the
            tables of Patch-ioner (arXiv 2510.02898) call P, or RefPAC-S.
        view: As in ``clipscore``; variant ``patchioner`` looks at no picture.
    """

    backbone: str | dict[str, Any]
    variant: Literal["official", "patchioner"] = "official"
    view: View = "whole"

    def __post_init__(self) -> None:
        if self.variant == "patchioner" and self.view != "whole":
            raise ValueError("view: the variant patchioner looks at no picture, leave the option out")


@dataclass(frozen=True)
class BertScoreConfig:
    """Options of ``bert-score``.

    Attributes:
        weights: The encoder: ``auto`` looks for RoBERTa-large, the authors' choice for English, in $REGIONKIT_WEIGHTS
            and in the hub's cache; else the reference of a folder as the hub has it, ``file:DIR`` or
            ``hub://ORG/NAME``. ``none`` is a small untrained one, for tests.
        layer: After which of the encoder's blocks the states are compared, counted from 1. 17 is the authors' choice
            for RoBERTa-large; 9 for BERT-base, 18 for BERT-large, 10 for RoBERTa-base.
        idf: Whether a token weighs by how few references of the run hold it.
        baseline: F1 of sentences that have nothing to do with each other; values are rescaled so that it becomes 0, as
            option ``rescale_with_baseline`` of the authors' package does. Their table says 0.83122575 for
            RoBERTa-large, layer 17. 0 leaves values as they are.
    """

    weights: str = "auto"
    layer: int = 17
    idf: bool = False
    baseline: float = 0.0

    def __post_init__(self) -> None:
        if self.layer < 1:
            raise ValueError(f"layer: {self.layer} must be 1 or more")
        if not -1 < self.baseline < 1:
            raise ValueError(f"baseline: {self.baseline} must be a cosine below 1")


@dataclass(frozen=True)
class SemanticSimilarityConfig:
    """Options of ``semantic-similarity``.

    Attributes:
        weights: The sentence encoder: ``auto`` looks for all-MiniLM-L6-v2 in $REGIONKIT_WEIGHTS and in the hub's cache;
            else the reference of a folder as the hub has it, ``file:DIR``, ``hub://ORG/NAME`` or
            ``pkg:PACKAGE/FOLDER``. ``none`` is a small untrained one, for tests.
        cleaning: What is done to captions and references first: ``none``, or the protocols of ``osprey`` and
            ``videorefer`` for answers that name a category.
        references: Against several references the ``best`` counts, or their ``mean``.
    """

    weights: str = "auto"
    cleaning: Literal["none", "osprey", "videorefer"] = "none"
    references: Literal["best", "mean"] = "best"
