"""CLIP with dense features: every token of the last layer is projected into the space of pictures.

Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021; read as Patch-ioner (arXiv
2510.02898) reads it: all blocks, final norm and projection on every token, nothing masked and nothing normalised.
"""

from __future__ import annotations

from typing import ClassVar

from regionkit.core.contracts import WeightArtifact
from regionkit.core.weights import WeightHeader
from regionkit.plugins.patchioner.backbones.clip_config import CLIP_SIZES, ClipConfig, clip_blocks, clip_spaces
from regionkit.plugins.patchioner.backbones.clip_vit import ClipViT
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer


class Clip(ClipViT[ClipConfig]):
    """CLIP B/16 or B/32; patches, class token and sentences as they leave the projections, not normalised.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    #: Of the component, as weight files say it.
    component: ClassVar[str] = "clip"
    architecture = ("model", "heads", *CLIP_SIZES)

    def __init__(self, config: ClipConfig, tokenizer: ClipTokenizer) -> None:
        super().__init__(config, tokenizer)
        self.space, self.text_space = clip_spaces(config)
        self.block_space = clip_blocks(config)

    def artifact(self) -> WeightArtifact:
        """Return the weights, with positions for this resolution, the tokenizer and the sizes."""
        options = {name: self.config.size(name) for name in CLIP_SIZES}
        options |= {"heads": self.config.heads} if self.config.heads else {}
        header = WeightHeader(
            "backbone",
            self.component,
            self.space,
            config={"model": self.config.model, **options},
            extra={"tokenizer": self.tokenizer.to_extra()},
        )
        return WeightArtifact({**self.state_dict(), **self.tokenizer.to_tensors()}, header)
