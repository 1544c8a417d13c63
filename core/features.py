"""What flows between the parts of a pipeline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from PIL import Image

from regionkit.core.errors import FeatureError, RegionkitError
from regionkit.core.frames import Frame
from regionkit.core.spec import Space

if TYPE_CHECKING:  # plans are made without torch
    from torch import Tensor

    from regionkit.core.contracts import Backbone


@dataclass(frozen=True, eq=False, slots=True)
class Features:
    """Dense features of b images.

    Attributes:
        patches: (b, h, w, d), row-major over the preprocessed picture, not normalised.
        frames: b frames that map original pixels to the patch grid.
        cls: (b, d) class token or other whole-image token, where the backbone has one.
        attention: (b, h, w) weights of the class token over the patches, each image summing to 1, where there are any.
    """

    patches: Tensor
    frames: tuple[Frame, ...]
    cls: Tensor | None = None
    attention: Tensor | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Self:
        """Return the features of one image as a batch of one.

        Raises:
            IndexError: There is no such image; iterating would not end without it.
        """
        place = range(len(self))[index]
        one = slice(place, place + 1)
        return replace(
            self,
            patches=self.patches[one],
            frames=self.frames[one],
            cls=None if self.cls is None else self.cls[one],
            attention=None if self.attention is None else self.attention[one],
        )

    @classmethod
    def cat(cls, batches: Sequence[Self]) -> Self:
        """Join batches of one backbone along the images."""
        import torch

        first = batches[0]
        return cls(
            patches=torch.cat([batch.patches for batch in batches]),
            frames=tuple(frame for batch in batches for frame in batch.frames),
            cls=None if first.cls is None else torch.cat([batch.cls for batch in batches if batch.cls is not None]),
            attention=None
            if first.attention is None
            else torch.cat([batch.attention for batch in batches if batch.attention is not None]),
        )

    def widened(self) -> Self:
        """Return the same features in float32, whatever they were computed in."""
        values = {name: getattr(self, name) for name in ("patches", "cls", "attention")}
        return replace(self, **{name: value.float() for name, value in values.items() if value is not None})

    def check_finite(self, who: str) -> None:
        """Check that no value is NaN or infinite.

        Raises:
            FeatureError: One is; the message names the image.
        """
        import torch

        for name in ("patches", "cls", "attention"):
            values = getattr(self, name)
            if values is not None and not bool(torch.isfinite(values).all()):
                bad = (~torch.isfinite(values)).flatten(1).any(1).nonzero().flatten().tolist()
                raise FeatureError(
                    f"{who} produced NaN or infinite {name} for image {bad[0]} of its batch",
                    "check the picture, and the weights with `toolkit weights list`; half precision can overflow: "
                    "try float32",
                )


class Scene:
    """The images of a batch, the backbone that sees them, and its features, computed once.

    Args:
        images: b pictures.
        backbone: The backbone that every region encoder of this scene uses.
        features: Features of these images from an earlier scene, to share one forward pass between pipelines.
    """

    def __init__(self, images: Sequence[Image.Image], backbone: Backbone, features: Features | None = None) -> None:
        self.images = tuple(images)
        self.backbone = backbone
        self._features = features

    @property
    def features(self) -> Features:
        """Features of all images, from one forward pass that is made on first use.

        Raises:
            FeatureError: The backbone produced NaN or infinite values, or no features of these images.
        """
        if self._features is None:
            from regionkit.core.compute import device_of, fast_products
            from regionkit.core.seams import seen

            with fast_products(device_of(self.backbone)):
                self._features = seen(self.backbone, self.images)
        return self._features


@dataclass(frozen=True, eq=False, slots=True)
class RegionTokens:
    """Vectors of r regions.

    Attributes:
        tokens: (r, t, d).
        mask: (r, t) boolean, False where a token is padding.
        space: The space they live in, ``name[dim]``.
    """

    tokens: Tensor
    mask: Tensor
    space: str

    def __len__(self) -> int:
        return self.tokens.shape[0]

    @classmethod
    def single(cls, vectors: Tensor, space: str) -> Self:
        """Wrap one vector a region, (r, d)."""
        import torch

        tokens = vectors.unsqueeze(1)
        return cls(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device), space)

    @classmethod
    def none(cls, space: str) -> Self:
        """Return the tokens (0, 1, d) of no regions, for which no backbone has to run."""
        import torch

        return cls.single(torch.zeros(0, Space.parse(space).dim), space)

    def vectors(self) -> Tensor:
        """Return (r, d) for regions of exactly one token.

        Raises:
            FeatureError: A region has more tokens, or a value is NaN or infinite.
        """
        if self.tokens.shape[1] != 1:
            raise FeatureError(
                f"this part reads one token a region and got {self.tokens.shape[1]}",
                "choose a region encoder that pools, such as patch-pool",
            )
        return self.tokens[:, 0]

    def relabelled(self, space: str, *, unit: bool) -> Self:
        """Return the same vectors under the name of another space, for bridges that change nothing else.

        Args:
            space: The new space, ``name[dim]``; empty keeps the name.
            unit: Scale them to length 1. Padding of zeros stays zero.
        """
        from torch.nn.functional import normalize

        tokens = self.tokens
        if unit:  # in float32: half precision makes NaN of padding
            tokens = normalize(tokens.float(), dim=-1).to(tokens.dtype)
        return replace(self, tokens=tokens, space=space or self.space)

    def check_finite(self, who: str) -> None:
        """Check that no value is NaN or infinite.

        Raises:
            FeatureError: One is; the message names the first region.
        """
        import torch

        bad = (~torch.isfinite(self.tokens)).flatten(1).any(1)
        if bool(bad.any()):
            raise FeatureError(
                f"{who} produced NaN or infinite values for region {int(bad.nonzero()[0])}",
                "check the features it reads and its options; half precision can overflow: try float32",
            )


@dataclass(frozen=True, eq=False, slots=True)
class RegionViews:
    """Pictures of r regions, for decoders that read pictures: a crop, a red circle, a drawn box."""

    pictures: tuple[Image.Image, ...]

    def __len__(self) -> int:
        return len(self.pictures)


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption of one region.

    Attributes:
        text: The caption.
        score: Sum of the log-probabilities of its tokens up to and including the end token.
        tokens: Token ids, without the end token.
        finished: False where the length limit cut it off.
    """

    text: str
    score: float
    tokens: tuple[int, ...] = ()
    finished: bool = True


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """How captions are generated. Greedy by default; a decoder refuses what it cannot do.

    Attributes:
        max_tokens: Longest caption in tokens, the end token included.
        batch_size: Regions decoded together; a caption never depends on it. On a GPU the default stands for as many as
            its memory has room for, see :mod:`regionkit.core.batch_sizes`.
        min_tokens: Shortest caption in tokens, the end token not included.
        beams: Beams of a beam search; 1 for none.
        length_penalty: Exponent of the length by which a beam's score is divided.
        temperature: Sample from the distribution sharpened by it; 0 takes the likeliest token.
        top_p: Sample among the likeliest tokens of this mass only.
        seed: Of the samples. Region number k of a call draws from its own stream, whatever its batch mates.
    """

    max_tokens: int = 30
    batch_size: int = 256
    min_tokens: int = 0
    beams: int = 1
    length_penalty: float = 1.0
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_tokens", "batch_size", "beams"):
            if getattr(self, name) < 1:
                raise RegionkitError(f"{name}: {getattr(self, name)} must be 1 or more")
        if not 0 <= self.min_tokens < self.max_tokens:
            raise RegionkitError(f"min_tokens: {self.min_tokens} must be at least 0 and less than max_tokens")
        if not (math.isfinite(self.length_penalty) and math.isfinite(self.temperature) and self.temperature >= 0):
            raise RegionkitError("temperature must be 0 or more, and length_penalty a finite number")
        if not 0 < self.top_p <= 1:
            raise RegionkitError(f"top_p: {self.top_p} must be more than 0 and at most 1")
        if self.beams > 1 and self.temperature > 0:
            raise RegionkitError("a beam search does not sample", "set either beams or temperature")

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken at each step and nothing else is asked for."""
        return self.beams == 1 and self.temperature == 0 and self.min_tokens == 0
