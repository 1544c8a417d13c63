"""Options of narratives with traces, torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from regionkit.core.data.options import FileOptions


@dataclass(frozen=True)
class LocalizedNarrativesConfig(FileOptions):
    """Which Localized Narratives are read, and how they are cut.

    Attributes:
        root: The data set's folder; empty for its own below ``$REGIONKIT_DATA``, which ``toolkit data list NAME`` says,
            with the files that belong into it.
        on_bad: What happens to records that cannot be used: ``leave-out`` names and counts them, ``stop`` ends with
            the first. Pieces without a point are part of the protocol: they are left out under both.
        source: Whose pictures: ``coco``, ``flickr30k``, ``ade20k`` or ``open-images``; each has splits of its own.
        cut: Where a narrative is cut for the task ``trace``. ``paper``: at full stops and commas, as RegionVLM's
            paper says. ``released``: as its code does, also at "and", and numbers are cut, too. ``sentences``: at full
            stops alone, as the trace-captioning benchmark.
        align: How words find their points. ``words``: the points drawn during each word of the piece. ``window``: all
            from its first word to its last, pauses included. ``running``: RegionVLM's released rule, which adds up the
            lengths of utterances and drifts where the caption is not their exact join; points at the border of two
            words count twice, and of pieces with one text the last counts.
    """

    source: Literal["coco", "flickr30k", "ade20k", "open-images"] = "coco"
    cut: Literal["paper", "released", "sentences"] = "paper"
    align: Literal["words", "window", "running"] = "words"


@dataclass(frozen=True)
class VideoNarrativesConfig(FileOptions):
    """Which samples are made of Video Localized Narratives.

    Attributes:
        root: The data set's folder; empty for its own below ``$REGIONKIT_DATA``, which ``toolkit data list NAME`` says,
            with the files that belong into it.
        on_bad: What happens to records that cannot be used: ``leave-out`` names and counts them, ``stop`` ends with
            the first.
        unit: What a sample is. ``actor``: an actor on a keyframe, with all that was drawn there, and the actor's whole
            caption. ``segment``: a noun segment of the caption, with what was drawn on a keyframe during its words.
            ``subject``: RegionVLM's recipe: every actor of a record but the last, none whose subject is a "group", what
            was drawn on a keyframe during the words before the first "is" (without one, up to the subject), and the
            whole caption.
        time_base: When a recording begins. ``official``: as the record says. ``released``: with its first point, as in
            RegionVLM's code, which is 1.0 to 8.9 seconds late in the published sample. It has no say in ``actor``.
        background: Whether the narrative called "background" counts; ``subject`` never takes the last one.
    """

    unit: Literal["actor", "segment", "subject"] = "actor"
    time_base: Literal["official", "released"] = "official"
    background: Literal["keep", "leave-out"] = "keep"


@dataclass(frozen=True)
class TraceCaptionsConfig(FileOptions):
    """Where the trace-captioning benchmark is, and how ``toolkit data make`` makes it of Localized Narratives.

    Attributes:
        root: The data set's folder; empty for its own below ``$REGIONKIT_DATA``, which ``toolkit data list NAME`` says,
            with the files that belong into it.
        on_bad: What happens to records that cannot be used: ``leave-out`` names and counts them, ``stop`` ends with
            the first.
        source: Whose pictures, ``coco`` or ``flickr30k``.
        narratives: To make it: the folder of the Localized Narratives; empty for theirs below ``$REGIONKIT_DATA``.
        images: To make it: which pictures. A file with an id a line, Karpathy's ``dataset_coco.json`` with its splits,
            or COCO's ``images``; ``all`` for those of the narratives' own split. Empty is ``coco/dataset_coco.json``
            for ``coco``, and ``all`` for ``flickr30k``, whose narratives have Karpathy's splits.
        trim: To make it: share of the points of a sentence that is dropped at its beginning, and again at its end.
        min_points: To make it: how many points in the picture a sentence needs after that.
        judge: To make it: the language model that rewrites sentences, a judge's name or its name with options; empty
            for rules.
        attempts: To make it: how often a question is asked whose reply cannot be read.
        unanswered: To make it: what becomes of a sentence whose reply cannot be read or never came: ``drop`` it, or
            hand it to the ``rules``. Both are counted.
    """

    source: Literal["coco", "flickr30k"] = "coco"
    narratives: str = ""
    images: str = ""
    trim: float = 0.15
    min_points: int = 1
    judge: str | dict[str, Any] = field(default="")
    attempts: int = 2
    unanswered: Literal["drop", "rules"] = "drop"

    def __post_init__(self) -> None:
        if not 0 <= self.trim < 0.5:
            raise ValueError(f"trim: {self.trim} must be at least 0 and less than 0.5, being taken off both ends")
        if self.min_points < 1:
            raise ValueError(f"min_points: {self.min_points} must be at least 1")
        if self.attempts < 1:
            raise ValueError(f"attempts: {self.attempts} must be at least 1")
