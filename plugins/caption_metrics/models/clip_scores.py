"""CLIPScore and PAC-S, with and without references, over any backbone with a class token and a text tower."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from PIL import Image

from regionkit.core.contracts import BuildContext, Dataset, Metric, Sample, Score, iter_batches
from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.signatures import signature
from regionkit.core.visual_prompts import Style, render
from regionkit.plugins.caption_metrics.averages import mean_of
from regionkit.plugins.caption_metrics.models.configs import (
    ClipScoreConfig,
    PacScoreConfig,
    RefClipScoreConfig,
    RefPacScoreConfig,
)
from regionkit.plugins.caption_metrics.models.formulas import (
    CLIP_FACTOR,
    PAC_FACTOR,
    Floats,
    best_reference,
    cosines,
    picture_score,
    with_references,
)
from regionkit.plugins.caption_metrics.models.inputs import Pair, pairs_of
from regionkit.plugins.caption_metrics.models.judge import Judge

#: What both releases put before every caption and every reference.
PREFIX = "A photo depicts "
#: Samples that are judged together.
_TOGETHER = 64
#: View -> how the region is shown.
_STYLES: dict[str, Style] = {"crop": "crop", "drawn-box": "box"}
#: Digits of a weights' hash in a signature.
_DIGITS = 12

Config = ClipScoreConfig | RefClipScoreConfig | PacScoreConfig | RefPacScoreConfig


class DualEncoderScore(Metric):
    """Mean over samples of a score that a dual encoder gives a caption.

    Args:
        config: Options.
        judge: The dual encoder.
        dataset: Where the pictures of samples are; None for a score that looks at none.
        digest: Content hash of the judge's weights, for the signature; empty for none.

    Attributes:
        name: Of the metric.
        factor: Of its release.
    """

    name: ClassVar[str]
    factor: ClassVar[float]

    def __init__(self, config: Config, judge: Judge, dataset: Dataset | None, digest: str = "") -> None:
        self.config = config
        self.judge = judge
        self.dataset = dataset
        self.digest = digest
        self._scores: list[float] = []

    @classmethod
    def build(cls, config: Config, context: BuildContext) -> Self:
        """Take the judge of ``context.parts``, and the data set for its pictures.

        Raises:
            DataError: There is no judge, or no data set and pictures are looked at.
            FeatureError: The judge reads no sentences.
        """
        backbone, dataset = context.parts.get("backbone"), context.parts.get("dataset")
        if backbone is None:
            raise DataError(f"{cls.name} judges with a backbone, and none was given")
        if dataset is None and cls.looks(config):
            raise DataError(
                f"{cls.name} looks at the pictures of a data set, and none was given",
                "captions without pictures are judged by metrics that hold them against references, such as cider-d",
            )
        return cls(config, Judge(cls.name, _named(config), backbone), dataset, context.hashes.get("backbone", ""))

    @classmethod
    def looks(cls, config: Config) -> bool:
        """Say whether pictures are looked at."""
        return True

    @property
    def prefix(self) -> str:
        """What stands before each caption and each reference."""
        return PREFIX

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions of samples, in order.

        Raises:
            FeatureError: The judge has no class token, or one of its vectors is NaN or infinite.
            DataError: A caption is no text, a picture cannot be loaded, or a sample lacks references.
        """
        pairs = pairs_of(self.name, samples, captions, references="references" in self.needs)
        for part in iter_batches(len(pairs), _TOGETHER):
            self._scores += self.scores(pairs[part]).tolist()

    @abstractmethod
    def scores(self, pairs: Sequence[Pair]) -> Floats:
        """Return the scores (n,) of n captions."""

    def compute(self) -> Score:
        """Judge everything taken in so far; 0 for nothing."""
        told = signature(self.name, **self.fields(), n=len(self._scores))
        return Score(mean_of(self._scores), tuple(self._scores), told)

    def fields(self) -> dict[str, object]:
        """Return what the score depends on beside the number of samples."""
        looks = self.looks(self.config)
        return {
            "variant": getattr(self.config, "variant", "official"),
            "backbone": _described(self.config),
            "weights": self.digest[:_DIGITS] or "untrained",
            "prefix": self.prefix or "none",
            "view": self.config.view if looks else None,
            "pixels": self.judge.side if looks else None,
        }

    def captions_of(self, pairs: Sequence[Pair]) -> Floats:
        """Return the vectors (n, d) of n captions."""
        return self.judge.sentences([self.prefix + pair.caption for pair in pairs])

    def pictures_of(self, pairs: Sequence[Pair]) -> Floats:
        """Return the vectors (n, d) of what n captions are about."""
        assert self.dataset is not None
        images: dict[str, Image.Image] = {}
        views = []
        for pair in pairs:
            try:
                if pair.sample.image_id not in images:
                    images[pair.sample.image_id] = self.dataset.image(pair.sample.image_id)
                image = images[pair.sample.image_id]
                style = _STYLES.get(self.config.view)
                views.append(render(image, pair.sample.region, style) if style else image)
            except RegionkitError as error:
                raise DataError(
                    f"{self.name}: the picture of sample '{pair.sample.id}': {error.message}", *error.hints
                ) from error
        return self.judge.pictures(views)

    def best_of(self, pairs: Sequence[Pair], captions: Floats) -> Floats:
        """Return the largest cosine (n,) of each caption with one of its references."""
        texts = [self.prefix + text for pair in pairs for text in pair.references]
        owner = np.repeat(np.arange(len(pairs)), [len(pair.references) for pair in pairs])
        return best_reference(captions, self.judge.sentences(texts), owner)


class ClipScore(DualEncoderScore):
    """CLIP-S: 2.5 times the cosine of picture and caption, cut at 0; in variant ``vizer`` the cosine as it is.

    Source: Hessel et al., arXiv 2104.08718, equation 1.
    """

    name, factor = "clipscore", CLIP_FACTOR
    needs = ("image",)
    config: ClipScoreConfig

    @property
    def prefix(self) -> str:
        """What stands before each caption; nothing in variant ``vizer``."""
        return "" if self.config.variant == "vizer" else PREFIX

    def scores(self, pairs: Sequence[Pair]) -> Floats:
        """Return CLIP-S (n,)."""
        pictures, captions = self.pictures_of(pairs), self.captions_of(pairs)
        if self.config.variant == "vizer":
            return cosines(pictures, captions)
        return picture_score(pictures, captions, self.factor)

    def fields(self) -> dict[str, object]:
        """Return what the score depends on beside the number of samples."""
        raw = self.config.variant == "vizer"
        return {**super().fields(), "w": 1 if raw else self.factor, "cut": None if raw else 0}


class PacScore(DualEncoderScore):
    """PAC-S: twice the cosine of picture and caption, cut at 0, under a CLIP that was tuned for it.

    Source: Sarto et al., arXiv 2303.12112, section 3.2, and its release.
    """

    name, factor = "pac-s", PAC_FACTOR
    needs = ("image",)

    def scores(self, pairs: Sequence[Pair]) -> Floats:
        """Return PAC-S (n,)."""
        return picture_score(self.pictures_of(pairs), self.captions_of(pairs), self.factor)

    def fields(self) -> dict[str, object]:
        """Return what the score depends on beside the number of samples."""
        return {**super().fields(), "w": self.factor, "cut": 0}


class RefClipScore(DualEncoderScore):
    """RefCLIP-S: the harmonic mean of CLIP-S and the best cosine of the caption with a reference.

    Source: Hessel et al., arXiv 2104.08718, equation 2, as its release computes it; see :func:`with_references`.
    """

    needs: tuple[str, ...] = ("references", "image")
    name, factor = "ref-clipscore", CLIP_FACTOR

    def scores(self, pairs: Sequence[Pair]) -> Floats:
        """Return RefCLIP-S (n,)."""
        captions = self.captions_of(pairs)
        own = picture_score(self.pictures_of(pairs), captions, self.factor)
        return with_references(own, self.best_of(pairs, captions))

    def fields(self) -> dict[str, object]:
        """Return what the score depends on beside the number of samples."""
        return {**super().fields(), "w": self.factor, "references": "best"}


class RefPacScore(RefClipScore):
    """RefPAC-S: the same of PAC-S; in variant ``patchioner`` the best cosine with a reference alone.

    Source: Sarto et al., arXiv 2303.12112, and its release; the variant is what the release of Patch-ioner (arXiv
    2510.02898) computes for the numbers that its tables call P. It looks at no picture.
    """

    name, factor = "ref-pac-s", PAC_FACTOR
    config: RefPacScoreConfig

    def __init__(self, config: Config, judge: Judge, dataset: Dataset | None, digest: str = "") -> None:
        super().__init__(config, judge, dataset, digest)
        if not self.looks(config):
            self.needs = ("references",)

    @classmethod
    def looks(cls, config: Config) -> bool:
        """Say whether pictures are looked at."""
        return getattr(config, "variant", "") != "patchioner"

    def scores(self, pairs: Sequence[Pair]) -> Floats:
        """Return RefPAC-S (n,)."""
        return super().scores(pairs) if self.looks(self.config) else self.best_of(pairs, self.captions_of(pairs))

    def captions_of(self, pairs: Sequence[Pair]) -> Floats:
        """Return the vectors (n, d) of n captions; the variant's release takes full stops and blanks off their ends."""
        if self.looks(self.config):
            return super().captions_of(pairs)
        return self.judge.sentences([self.prefix + pair.caption.strip(" .") for pair in pairs])

    def fields(self) -> dict[str, object]:
        """Return what the score depends on beside the number of samples."""
        found = super().fields()
        return found if self.looks(self.config) else {**found, "w": None, "strip": "blanks,stops"}


def _named(config: Config) -> str:
    """Return the name of the backbone."""
    return str(config.backbone["name"]) if isinstance(config.backbone, Mapping) else config.backbone


def _described(config: Config) -> str:
    """Return the backbone with the options that were written; the weights' hash says which weights."""
    if not isinstance(config.backbone, Mapping):
        return config.backbone
    options: dict[str, Any] = {key: config.backbone[key] for key in sorted(config.backbone)}
    told = ",".join(f"{key}:{value}" for key, value in options.items() if key not in ("name", "weights"))
    return f"{_named(config)}({told})" if told else _named(config)
