"""Options of the ``zerocap`` decoder, free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regionkit.core.language.options import names_file
from regionkit.core.spec import RELEASED
from regionkit.plugins.zeroshot.caption_lm_config import CaptionLmOptions


@dataclass(frozen=True)
class ZeroCapConfig(CaptionLmOptions):
    """Options of :class:`~regionkit.plugins.zeroshot.zerocap.ZeroCap`; the defaults are those of the release.

    Source: Tewel et al., ZeroCap, arXiv 2111.14447, section 3, and its released code.

    Attributes:
        prompt: Words that stand before every caption; the guide reads them too.
        end: The token that ends a caption, where the tokenizer knows it.
        length: Longest caption in tokens, behind the prompt; the call's ``max_tokens`` counts as well.
        beams: Beams, where the call asks for none.
        choose: Which beam becomes the caption: the one that is most ``similar`` to the region, without the prompt, or
            the ``likeliest``.
        iterations: Steps of gradient descent on the cached keys and values for each token.
        candidates: The likeliest tokens that the guide weighs; all tokens where there are fewer.
        temperature: Of the guide's distribution over candidates.
        clip_scale: Weight of the cross-entropy between that and the model's own distribution.
        ce_scale: Weight of the divergence from the distribution before any step.
        step: Length of a step.
        norm_power: The gradient of each layer's keys, and of its values, is divided by its norm to this power.
        fusion: Share of the new distribution in the geometric mean with the old one.
        end_factor: What the logit of the end token is raised by, from the token number ``end_from`` on, counted from 0.
        end_from: See ``end_factor``.
        start_penalty: What the logit of the end token is lowered by at the first token.
        repetition: What the logits of the last four tokens are lowered by; 1 leaves them.
        forbidden: ``file:PATH`` of ids that are hardly ever to be written: numbers in a text file, or in one of numpy;
            ``released`` for the release's ``forbidden_tokens.npy``; empty for none. They belong to one tokenizer.
        forbidden_factor: What their logits are lowered by.
        compat: ``reference`` does as the released code: the new distributions of all beams are divided by one sum, and
            the text of a candidate is spelled for itself, special tokens as they are. ``paper`` divides each by its
            own, and spells prompt, caption and candidate together.
    """

    prompt: str = "Image of a"
    end: str = "."
    length: int = 15
    beams: int = 5
    choose: Literal["similar", "likeliest"] = "similar"
    iterations: int = 5
    candidates: int = 512
    temperature: float = 0.01
    clip_scale: float = 1.0
    ce_scale: float = 0.2
    step: float = 0.3
    norm_power: float = 0.9
    fusion: float = 0.99
    end_factor: float = 1.01
    end_from: int = 1
    start_penalty: float = 1.6
    repetition: float = 1.0
    forbidden: str = ""
    forbidden_factor: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("length", "beams", "candidates")
        for name in ("iterations", "end_from"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} must be 0 or more")
        self.check_share("fusion")
        self.check_finite("clip_scale", "ce_scale", "step", "norm_power")
        self.check_finite("temperature", "end_factor", "start_penalty", "repetition", "forbidden_factor", above=True)
        if self.forbidden not in ("", RELEASED) and not names_file(self.forbidden):
            raise ValueError(f"forbidden: '{self.forbidden}' must be {RELEASED}, or file:PATH, a file of token ids")
