"""Tasks that ask for a caption."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError
from regionkit.core.features import Caption, GenerateOptions
from regionkit.core.regions import MaskTrack
from regionkit.core.tasks import Task, said
from regionkit.plugins.tasks.configs import (
    DenseOptions,
    KeywordOptions,
    TaskOptions,
    VideoOptions,
)

#: Metrics of captions against references, as all captioning papers report them.
CAPTION_METRICS = ("bleu", "meteor", "rouge-l", "cider-d", "spice")


class Asking(Task):
    """What all tasks of this plugin do: ask the prompt of their options, and write answers as those say.

    Args:
        config: Options.
    """

    usual: ClassVar[tuple[str, ...]] = CAPTION_METRICS

    def __init__(self, config: TaskOptions) -> None:
        self.config = config
        self.metrics = self.usual
        self.generation = generation_of(config)

    def prompt(self, sample: Sample) -> str | None:
        """Return the prompt of the options; None where they name none."""
        return self.config.prompt or None


def generation_of(config: TaskOptions) -> GenerateOptions | None:
    """Return how answers are written; None where the options leave all of it to the decoder."""
    found = GenerateOptions(
        max_tokens=config.max_tokens or GenerateOptions().max_tokens,
        min_tokens=config.min_tokens,
        beams=config.beams,
        length_penalty=config.length_penalty,
        temperature=config.temperature,
        top_p=config.top_p,
    )
    return None if found == GenerateOptions() and not config.max_tokens else found


class Image(Asking):
    """A caption of the whole picture (Patch-ioner, section 4.1; COCO, Flickr30k, NoCaps)."""


class OneRegion(Asking):
    """A caption of what one region shows, against reference captions of it (points, boxes, masks, patches)."""


class BoxSet(Asking):
    """One caption of several boxes together, as COCO Entities and Flickr30k Entities ask (Patch-ioner, section 4.1)."""


class Trace(Asking):
    """A caption of what a mouse passed over (Patch-ioner, sections 4.1 and 13; RegionVLM, Localized Narratives)."""


class Phrase(Asking):
    """A noun phrase for a region, against the one phrase of Flickr30k Entities (Describe Anything, section 5)."""


class Dense(Asking):
    """Captions of all boxes of a picture (Patch-ioner, section 4.1: ground-truth boxes; Johnson et al., DenseCap)."""

    usual = ("dense-map", "meteor", "cider-d")

    def __init__(self, config: DenseOptions) -> None:
        super().__init__(config)
        self._strip = config.strip

    def answer(self, sample: Sample, caption: Caption) -> Caption:
        """Take full stops and blanks off both ends."""
        return said(caption, caption.text.strip(" .")) if self._strip else caption


class Keyword(Asking):
    """The category of a region, open-class (Osprey on LVIS and PACO; Describe Anything, section 5)."""

    usual = ("semantic-similarity", "semantic-iou")

    def __init__(self, config: KeywordOptions) -> None:
        super().__init__(config)
        self._clean = config.clean

    def prepare(self, sample: Sample) -> Sample | None:
        """Return the sample with its category cleaned."""
        if self._clean == "none":
            return sample
        return replace(sample, references=tuple(clean_category(text, self._clean) for text in sample.references))

    def answer(self, sample: Sample, caption: Caption) -> Caption:
        """Return the answer as it is compared with the category."""
        return caption if self._clean == "none" else said(caption, clean_answer(caption.text, self._clean))


def clean_category(text: str, how: str) -> str:
    """Return a category as the released evaluations compare it; ``how`` is ``osprey`` or ``videorefer``."""
    return _spaced(text, "_:") if how == "osprey" else _videorefer(text)


def clean_answer(text: str, how: str) -> str:
    """Return an answer as the released evaluations compare it; ``how`` is ``osprey`` or ``videorefer``.

    Of an answer ``category:subcategory`` Osprey's keeps the second part alone. Each character becomes one blank, and
    blanks that follow each other stay as many.
    """
    if how == "videorefer":
        return _videorefer(text)
    text = text.strip()
    if ":" in text:
        text = text.split(":")[1]
    return _spaced(text, ".:,")


def _videorefer(text: str) -> str:
    return _spaced(text, "_:,.()").strip().lower()


def _spaced(text: str, characters: str) -> str:
    return text.translate({ord(one): " " for one in characters})


class Detail(Asking):
    """A detailed description of a region (Describe Anything, section 5: DLC-Bench, Ref-L4).

    DLC-Bench has no reference and needs a judge, which nobody but the user can name: ``metrics: [{name: dlc-bench,
    judge: ...}]``. Where there are references, captions are compared with them.
    """


class Video(Asking):
    """A description of a thing in a clip (Describe Anything, section 5: HC-STVG, VideoRefer-Bench-D)."""

    def __init__(self, config: VideoOptions) -> None:
        super().__init__(config)
        self._single = config.frames == "single"

    def prepare(self, sample: Sample) -> Sample | None:
        """Return the sample with one frame and its mask where the options ask for one.

        Raises:
            DataError: It names a frame that the clip does not have.
        """
        track = sample.region
        if not (self._single and isinstance(track, MaskTrack)):
            return sample
        frame = sample.info.get("frame")
        if frame is not None and not (type(frame) is int and 0 <= frame < len(track.masks)):
            raise DataError(
                f"sample '{sample.id}' names frame {frame!r}, and its track has {len(track.masks)}",
                "info['frame'] is a position in the track, from 0",
            )
        if frame is None or track.masks[frame] is None:
            frame = next(at for at, mask in enumerate(track.masks) if mask is not None)
        mask = track.masks[frame]
        assert mask is not None  # a track holds at least one
        return replace(sample, region=mask, image_id=f"{sample.image_id}#{frame}")
