"""How well captions agree with their pictures, in the eyes of a dual encoder that had no part in writing them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Self

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cosine_similarity

from regionkit.core.contracts import Backbone, BuildContext, Dataset, Metric, Sample, Score, iter_batches
from regionkit.core.errors import DataError, FeatureError
from regionkit.core.signatures import signature
from regionkit.plugins.caption_metrics.averages import mean_of
from regionkit.plugins.caption_metrics.models.configs import ImageTextCosineConfig
from regionkit.plugins.caption_metrics.models.inputs import pairs_of

#: Pictures, and captions, that go through the judge together.
_TOGETHER = 32
#: Digits of a weights' hash in a signature.
_DIGITS = 12


class ImageTextCosine(Metric):
    """Mean over samples of the cosine between the class token of the picture and the caption, from -1 to 1.

    The picture is judged as a whole, also where a caption is about a region of it. References are not looked at: a
    caption that fits the picture scores as it does, whether or not anybody wrote something like it.

    Args:
        config: Which backbone judges; only its name is used here.
        backbone: The judge, with a class token and a text tower.
        dataset: Where the pictures of samples are.
        digest: Content hash of the judge's weights, for the signature; empty for none.

    Raises:
        FeatureError: The backbone has no text tower.

    Source: Hessel et al., CLIPScore, arXiv 2104.08718, section 3, without its factor 2.5 and without its cut at 0,
    which are made for the cosines of one certain model.
    """

    needs = ("image",)

    def __init__(self, config: ImageTextCosineConfig, backbone: Backbone, dataset: Dataset, digest: str = "") -> None:
        if not backbone.text_space:
            raise FeatureError(
                f"image-text-cosine reads sentences as well, and backbone '{config.backbone}' has no text tower",
                "choose one with both, such as backbone: clip",
            )
        self.config = config
        self.backbone = backbone
        self.dataset = dataset
        self.digest = digest
        self._scores: list[float] = []

    @classmethod
    def build(cls, config: ImageTextCosineConfig, context: BuildContext) -> Self:
        """Take the judge and the data set of ``context.parts``.

        Raises:
            DataError: One of them is not there.
            FeatureError: The judge reads no sentences.
        """
        for kind in ("backbone", "dataset"):
            if context.parts.get(kind) is None:
                raise DataError(f"image-text-cosine judges with a backbone and a data set, and no {kind} was given")
        return cls(config, context.parts["backbone"], context.parts["dataset"], context.hashes.get("backbone", ""))

    @torch.inference_mode()
    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions of samples, in order.

        Raises:
            FeatureError: The judge has no class token, or one of its vectors is NaN or infinite.
            DataError: A caption is no text, or a picture cannot be loaded.
        """
        pairs = pairs_of("image-text-cosine", samples, captions, references=False)
        for part in iter_batches(len(pairs), _TOGETHER):
            keys = list(dict.fromkeys(pair.sample.image_id for pair in pairs[part]))
            seen = self._seen([self.dataset.image(key) for key in keys])
            rows = [keys.index(pair.sample.image_id) for pair in pairs[part]]
            said = self.backbone.encode_text([pair.caption for pair in pairs[part]]).float()
            found = cosine_similarity(seen[rows], said, dim=-1)
            if not bool(torch.isfinite(found).all()):
                raise FeatureError(f"image-text-cosine: backbone '{self.config.backbone}' gave NaN or infinite values")
            self._scores += found.tolist()

    def compute(self) -> Score:
        """Judge everything taken in so far; 0 for nothing."""
        told = signature(
            "image-text-cosine",
            backbone=self.config.backbone,
            weights=self.digest[:_DIGITS] or "untrained",
            spaces=f"{self.backbone.space} and {self.backbone.text_space}",
            prefix="none",
            view="whole",
            n=len(self._scores),
        )
        return Score(mean_of(self._scores), tuple(self._scores), told)

    def _seen(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Return the class tokens (b, d) of pictures; those of one patch grid go through the backbone together."""
        places: defaultdict[Hashable, list[int]] = defaultdict(list)
        for place, picture in enumerate(pictures):
            places[self.backbone.frame(picture.size).grid].append(place)
        found: dict[int, Tensor] = {}
        for same in places.values():
            tokens = self.backbone.encode([pictures[place] for place in same]).cls
            if tokens is None:
                raise FeatureError(
                    f"image-text-cosine reads the class token, and backbone '{self.config.backbone}' has none",
                    "choose one that has, such as backbone: clip",
                )
            found |= zip(same, tokens.float(), strict=True)
        return torch.stack([found[place] for place in range(len(pictures))])
