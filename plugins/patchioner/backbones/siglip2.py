"""SigLIP 2 with dense features: every patch goes through the head that pools the whole picture.

Tschannen et al., SigLIP 2: Multilingual Vision-Language Encoders with Improved Semantic Understanding, Localization,
and Dense Features, arXiv 2502.14786; read as Patch-ioner (arXiv 2510.02898, section 7) reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from regionkit.core.errors import WeightsError
from regionkit.core.features import Features
from regionkit.core.frames import Frame
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.vision.siglip_tower import TowerSizes, at_grid, blocks_of, states_of, vision_tower
from regionkit.plugins.patchioner.backbones.preprocessing import HALF_PIXELS, Preprocessing
from regionkit.plugins.patchioner.backbones.siglip2_config import (
    PATCH,
    SIGLIP2_MODELS,
    Siglip2Config,
)
from regionkit.plugins.patchioner.backbones.siglip2_text import (
    TOKENIZER,
    encode_texts,
    text_tower,
    tokenizer_extra,
    tokenizer_from,
    tokenizer_tensors,
)
from regionkit.plugins.patchioner.backbones.square import SquareBackbone

SIZES = tuple(SIGLIP2_MODELS["base-patch16"])


class Siglip2(SquareBackbone[Siglip2Config]):
    """SigLIP 2 for pictures of one size; patches, class token and sentences as they leave the heads, not normalised.

    The class token is the pooled picture, which is what the model was trained to compare with sentences. The attention
    map is that of the pooling head's probe, the mean over its heads; the paper does not use it.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    component = "siglip2"
    architecture = ("model", *SIZES)
    text_dim = "width"
    pixels = HALF_PIXELS

    @staticmethod
    def vision_tower(config: Siglip2Config) -> Any:
        """Make the vision tower with its pooling head."""
        sizes = {name: config.size(name) for name in ("width", "layers", "heads", "intermediate")}
        return vision_tower(TowerSizes(resolution=config.resolution, patch=PATCH, **sizes), head=True)

    @classmethod
    def sentence_tower(cls, config: Siglip2Config, tokenizer: LanguageTokenizer) -> Any:
        """Make the text tower; its head projects into the space of pictures."""
        sizes = {name: config.size(f"text_{name}") for name in ("width", "layers", "heads", "intermediate")}
        more = {name: config.size(name) for name in ("context", "vocabulary")}
        return text_tower(dim=config.size("width"), **sizes, **more)

    @classmethod
    def pixels_of(cls, config: Siglip2Config) -> Preprocessing:
        """Return how pictures become pixels in -1..1."""
        return Preprocessing(config.resolution, PATCH, config.fit, config.compat, cls.pixels, config.filter)

    @classmethod
    def fresh_tokenizer(cls, config: Siglip2Config) -> LanguageTokenizer:
        """Return a tokenizer of bytes, for a backbone without weights.

        Raises:
            WeightsError: The word embedding has fewer rows than there are bytes.
        """
        tokenizer = LanguageTokenizer.of_bytes()
        if config.size("vocabulary") < tokenizer.size:
            raise WeightsError(
                f"backbone.vocabulary: {config.vocabulary} rows are too few for an untrained 'siglip2'",
                f"it reads bytes and three special tokens: {tokenizer.size} or more, or 0 as the named model says",
            )
        return tokenizer

    @classmethod
    def stored_tokenizer(
        cls, extra: Mapping[str, Any], source: Path, tensors: Mapping[str, Tensor]
    ) -> LanguageTokenizer:
        """Rebuild the tokenizer that weights carry."""
        return tokenizer_from(extra, source, tensors)

    @classmethod
    def kept_tokenizer(cls, tokenizer: LanguageTokenizer) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the tokenizer as weights carry it."""
        return tokenizer_extra(tokenizer), tokenizer_tensors(tokenizer)

    def placed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the network's own tensors, positions resampled to its grid."""
        own = {name: tensor for name, tensor in tensors.items() if name != TOKENIZER}
        return at_grid(own, self.preprocessing.grid)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks of the vision tower, in order."""
        return blocks_of(self.vision)

    def embed(self, pixels: Tensor) -> Tensor:
        """Return the tokens (b, n, width) that enter the first block: patches and their positions, row-major."""
        tokens: Tensor = self.vision.embeddings(pixels)
        return tokens

    def read(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Features:
        """Return patches (b, h, w, width), pooled pictures (b, width) and attention (b, h, w) of pixels."""
        states = states_of(self.vision, pixels)
        vectors, attention = pooled(self.vision.head, states)
        patches = each_alone(self.vision.head, states)
        return Features(self.grid_of(patches), frames, vectors, self.grid_of(attention))

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode n sentences as (n, width), not normalised; what is beyond the context is cut, the end token kept."""
        return encode_texts(self.text, self.tokenizer, texts, self.config.size("context"))


def pooled(head: Any, states: Tensor) -> tuple[Tensor, Tensor]:
    """Return the vector of whole pictures (b, d), and what each patch counts for it (b, n), the mean over heads.

    Args:
        head: The head of transformers' vision tower of SigLIP.
        states: (b, n, d) after the closing LayerNorm.
    """
    if not len(states):  # torch cannot reshape the heads of nothing
        return states[:, 0], states[..., 0]
    attended, attention = head.attention(head.probe.expand(len(states), -1, -1), states, states)
    return _finished(head, attended[:, 0]), attention[:, 0]


def each_alone(head: Any, states: Tensor) -> Tensor:
    """Return what a pooling head makes of each patch as if it were a whole picture, (b, n, d).

    A softmax over one key is 1, so the probe and the queries and keys drop out: the attention is
    ``out_proj(W_v h + b_v)``, whatever the heads. The feed-forward part follows as for the whole picture.

    Args:
        head: The head of transformers' vision tower of SigLIP.
        states: (b, n, d) after the closing LayerNorm.
    """
    weight, bias = head.attention.in_proj_weight.chunk(3)[2], head.attention.in_proj_bias.chunk(3)[2]
    return _finished(head, head.attention.out_proj(linear(states, weight, bias)))


def _finished(head: Any, attended: Tensor) -> Tensor:
    """Return what the head's feed-forward part makes of attended states (..., d)."""
    finished: Tensor = attended + head.mlp(head.layernorm(attended))
    return finished
