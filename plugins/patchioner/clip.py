"""CLIP with dense features: every token of the last layer is projected into the space of pictures.

Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021; read as Patch-ioner (arXiv
2510.02898) reads it: all blocks, final norm and projection on every token, nothing masked and nothing normalised.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from regionkit.core.contracts import BuildContext, WeightArtifact
from regionkit.core.features import Features
from regionkit.core.frames import Frame
from regionkit.core.weights import WeightHeader, load_into
from regionkit.plugins.patchioner.backbone_configs import CLIP_SIZES, ClipConfig, clip_spaces, size
from regionkit.plugins.patchioner.clip_text import text_tower
from regionkit.plugins.patchioner.stored import untrained, with_memory, with_stored
from regionkit.plugins.patchioner.vit import CLIP_PIXELS, Preprocessing, ViTBackbone, at_grid, vision_transformer
from regionkit.plugins.patchioner.vocabulary import MERGES, ClipTokenizer, clip_tokenizer_from

#: Options that weights decide.
ARCHITECTURE = ("model", *CLIP_SIZES)
_POSITIONS = "vision.pos_embed"


class Clip(ViTBackbone):
    """CLIP B/16 or B/32; patches, class token and sentences as they leave the projections, not normalised.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    def __init__(self, config: ClipConfig, tokenizer: ClipTokenizer) -> None:
        width, dim = size(config, "width"), size(config, "dim")
        vision = vision_transformer(
            img_size=config.resolution,
            patch_size=config.patch,
            embed_dim=width,
            depth=size(config, "layers"),
            num_classes=0,
            pre_norm=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-5),
            act_layer="quick_gelu",
        )
        vision.head = nn.Linear(width, dim, bias=False)
        text = text_tower(
            width=size(config, "text_width"),
            layers=size(config, "text_layers"),
            dim=dim,
            context=size(config, "context"),
            vocabulary=size(config, "vocabulary"),
            tokenizer=tokenizer,
        )
        preprocessing = Preprocessing(config.resolution, config.patch, config.fit, config.compat, CLIP_PIXELS)
        super().__init__(vision, text, tokenizer, preprocessing, config.batch)
        self.config = config
        self.space, self.text_space = clip_spaces(config)

    @classmethod
    def build(cls, config: ClipConfig, context: BuildContext) -> Self:
        """Make the backbone with the weights of the context; without any it starts from ``context.seed``.

        Raises:
            WeightsError: The weights are damaged, or of another model or size than the options ask for.
        """
        file = context.weights
        if file is None:
            with untrained(context.seed):
                return cls(config, ClipTokenizer()).eval()
        config = with_stored(config, file.header.config, ARCHITECTURE, str(file.path))
        tensors = file.tensors()
        tokenizer = clip_tokenizer_from(file.header.extra, file.path, tensors)
        with torch.device("meta"):
            hollow = cls(config, tokenizer)
        backbone = with_memory(hollow)
        load_into(backbone, _placed(tensors, backbone.preprocessing.grid), file.path)
        return backbone.eval()

    def read(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Features:
        """Return patches (b, h, w, dim) and class tokens (b, dim) of pixels (b, 3, side, side)."""
        tokens = self.embed(pixels)
        for block in self.blocks:
            tokens = block(tokens)
        projected = self.vision.head(self.vision.norm(tokens))
        return Features(self.grid_of(projected[:, 1:]), frames, projected[:, 0])

    def encode_text(self, texts: Any) -> Tensor:
        """Encode n sentences as (n, dim), not normalised; what is beyond the context is cut, the end token kept."""
        return self.clip_texts(texts)

    def artifact(self) -> WeightArtifact:
        """Return the weights, with positions for this resolution, the tokenizer and the sizes."""
        options = {name: size(self.config, name) for name in CLIP_SIZES}
        header = WeightHeader(
            "backbone",
            "clip",
            self.space,
            config={"model": self.config.model, **options},
            extra={"tokenizer": self.tokenizer.to_extra()},
        )
        return WeightArtifact({**self.state_dict(), **self.tokenizer.to_tensors()}, header)


def _placed(tensors: Mapping[str, Tensor], grid: int) -> dict[str, Tensor]:
    """Return the network's own tensors, positions resampled to the grid."""
    own = {name: tensor for name, tensor in tensors.items() if name != MERGES}
    if _POSITIONS in own:
        own[_POSITIONS] = at_grid(own[_POSITIONS], grid, prefix=1)
    return own


def skeleton(config: ClipConfig, tokenizer: ClipTokenizer) -> Clip:
    """Return the network without memory for its weights, to hold the names and shapes of a checkpoint against."""
    with torch.device("meta"):
        return Clip(config, tokenizer)
