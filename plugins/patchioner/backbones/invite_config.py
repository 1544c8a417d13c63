"""Options and spaces of ``invite``; torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from regionkit.plugins.patchioner.backbones.clip_config import ClipConfig


@dataclass(frozen=True)
class InviteConfig(ClipConfig):
    """A CLIP model in whose last blocks every token attends to itself alone; all other options are those of ``clip``.

    Attributes:
        masked: How many of the last blocks; the paper takes 1. 0 masks none, and the features are those of ``clip``.
            With all blocks masked a patch is encoded from its own pixels alone, and the class token from none.
        compat: ``reference`` resamples learned positions as INViTE's code does, bicubic without a filter against
            aliasing; ``paper`` as timm does, as for ``clip``. With ``fit: crop`` it also says how regions are mapped;
            see ``regionkit.core.frames.Frame.resize_crop``.
    """

    masked: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        layers = self.size("layers")
        if not 0 <= self.masked <= layers:
            raise ValueError(f"masked: {self.masked} must be from 0 (none) to {layers}, the blocks of the vision tower")

    def spaces(self) -> tuple[str, str]:
        """Return the space of pictures and that of sentences, which is CLIP's own: its decoders and banks fit."""
        return f"clip-{self.model}-invite/image[{self.size('dim')}]", super().spaces()[1]

    @property
    def block_space(self) -> str:
        """Space of what the transformer blocks hand on."""
        return f"clip-{self.model}-invite/blocks[{self.size('width')}]"
