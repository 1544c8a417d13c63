"""Talk2DINO: sentences of CLIP brought into the space of DINOv2's patches.

Barsellotti et al., Talking to DINO: Bridging Self-Supervised Vision Backbones with Language for Open-Vocabulary
Segmentation, arXiv 2411.19331; the backbone of Patch-ioner's main rows (arXiv 2510.02898).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from regionkit.core.features import Features
from regionkit.core.frames import Frame
from regionkit.plugins.patchioner.backbones.dinov2 import Dinov2Backbone
from regionkit.plugins.patchioner.backbones.talk2dino_config import TALK2DINO_SIZES, Talk2DinoConfig
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer


class TextProjection(nn.Module):
    """Two linear layers with tanh between them, under the names that official checkpoints give them.

    Args:
        inputs: Width of CLIP's text features.
        outputs: Width of DINOv2's patches.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear_layer = nn.Linear(inputs, outputs)
        self.hidden_layers = nn.ModuleList([nn.Linear(outputs, outputs)])

    def forward(self, texts: Tensor) -> Tensor:
        """Project text features (n, inputs) as CLIP gives them to (n, outputs), in float32.

        They must not be normalised before: tanh makes of a unit vector another sentence.
        """
        first, second = self.linear_layer, self.hidden_layers[0]
        assert isinstance(second, nn.Linear)
        hidden = linear(texts.float(), first.weight.float(), first.bias.float()).tanh()
        return linear(hidden, second.weight.float(), second.bias.float())


class Talk2Dino(Dinov2Backbone[Talk2DinoConfig]):
    """DINOv2 with registers for pictures, CLIP's text tower and a projection for sentences; nothing is normalised.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    component = "dinov2-talk2dino"
    architecture = tuple(TALK2DINO_SIZES)

    def __init__(self, config: Talk2DinoConfig, tokenizer: ClipTokenizer) -> None:
        super().__init__(config, tokenizer)
        self.projection = TextProjection(config.size("text_dim"), config.size("width"))

    def read(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Features:
        """Return patches (b, h, w, width), class tokens (b, width) and attention (b, h, w) of pixels (b, 3, s, s)."""
        tokens, attention = self.seen(pixels)
        patches = tokens[:, self.vision.num_prefix_tokens :]
        return Features(self.grid_of(patches), frames, tokens[:, 0], self.grid_of(attention))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode n sentences as (n, width), float32, not normalised.

        What is beyond the context of CLIP's text tower is cut, the end token kept.
        """
        with torch.no_grad():
            vectors: Tensor = self.projection(self.clip_texts(texts))
        return vectors
