"""Options of the ``magic`` decoder, free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from regionkit.plugins.zeroshot.caption_lm_config import CaptionLmOptions


@dataclass(frozen=True)
class MagicConfig(CaptionLmOptions):
    """Options of :class:`~regionkit.plugins.zeroshot.magic.Magic`; the defaults are those of the release for COCO.

    Source: Su et al., MAGIC, arXiv 2205.02655, section 3, and its released script.

    Attributes:
        k: Candidates at each place, the likeliest tokens; all tokens where there are fewer.
        alpha: Weight of the degeneration penalty; the model's confidence has ``1 - alpha``.
        beta: Weight of the guide; 0 is plain contrastive search, for which the guide is not asked.
        scale: What the cosines of the guide are multiplied with before their softmax; CLIP's own is 100.
        length: Longest caption in tokens, with the start token and the prompt before it; the call's ``max_tokens``
            counts as well.
        guide_tokens: The guide reads the last so many tokens of a caption.
        compat: ``reference`` shows the guide special tokens as they are spelled, as the released code does: a candidate
            that ends a caption is compared with ``<|endoftext|>`` behind its text. ``paper`` shows it the text alone.
    """

    k: int = 45
    alpha: float = 0.1
    beta: float = 2.0
    scale: float = 100.0  # exp(logit_scale) of CLIP, which the release multiplies with
    length: int = 16
    guide_tokens: int = 60  # clip_text_max_len of the release

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("k", "length", "guide_tokens")
        self.check_share("alpha")
        self.check_finite("beta", "scale")
