"""Options of the ``capdec`` decoder, free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regionkit.plugins.zeroshot.prefix_config import PrefixOptions


@dataclass(frozen=True)
class CapDecConfig(PrefixOptions):
    """Options of :class:`~regionkit.plugins.zeroshot.capdec.CapDec`; the defaults are those of the released training.

    Source: Nukrai et al., CapDec, arXiv 2211.00575, and its public training script. The noise is an option of the
    bridge in front: ``{name: noise, variance: 0.016}``.

    Attributes:
        max_length: Tokens of a training caption. The released script cuts at the mean length plus ten standard
            deviations, which no caption of COCO reaches.
        stop: The sign that ends a caption, and is not part of it. Where the tokenizer lacks it, its end token does.
        compat: ``paper`` learns each caption up to the sign that ends it, which is added where it is missing. Beams are
            those of transformers. ``reference`` does as the released code: captions are learned as they are written,
            tokens of id 0, which is "!" in GPT-2, do not count, and beams keep ended captions among them, compared by
            their mean log-probability a token.
    """

    mapper: Literal["linear", "mlp", "transformer"] = "transformer"  # released script: mapping_type
    prefix: int = 40  # released script: prefix_length
    clip_length: int = 40  # released script: prefix_length_clip
    max_length: int = 67  # released captioning: entry_length
    stop: str = "."  # released captioning: stop_token
    compat: Literal["paper", "reference"] = "paper"
