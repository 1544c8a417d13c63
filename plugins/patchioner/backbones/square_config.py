"""Options that all backbones of this folder share, and the ports that follow from them; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regionkit.core.spec import Port, Ports
from regionkit.plugins.patchioner.backbones.sizes import Sized, check_picture, check_sizes


@dataclass(frozen=True)
class SquareConfig(Sized):
    """What every backbone for square pictures can be asked for; a model overrides the defaults that it has its own of.

    A model names its spaces in :meth:`spaces` and, where its transformer blocks are exposed or it takes masks, in
    :attr:`block_space` and :attr:`masked_space`. Its sizes are ``SIZES``.

    Attributes:
        resolution: Side of the preprocessed picture in pixels, a multiple of the patch. Learned positions are resampled
            to it.
        fit: ``squash`` to a square, as all of the paper's evaluations do, or ``crop``: the shorter side is resized and
            the centre taken.
        batch: Pictures that go through the network at once; features never depend on it.
        compat: With ``fit: crop``, how regions are mapped; see ``regionkit.core.frames.Frame.resize_crop``.
        weights: ``auto`` looks for the official files and for converted ones, ``none`` starts untrained from the seed,
            else a reference or a name of ``toolkit weights list``.
    """

    resolution: int = 0
    fit: Literal["squash", "crop"] = "squash"
    batch: int = 8
    compat: Literal["paper", "reference"] = "paper"
    weights: str = "auto"

    def __post_init__(self) -> None:
        check_sizes(self)
        check_picture(self.side, self.size("patch"), self.batch)

    @property
    def side(self) -> int:
        """Side of the preprocessed picture in pixels."""
        return self.resolution

    def spaces(self) -> tuple[str, str]:
        """Return the space of pictures and the space of sentences, ``name[dim]``."""
        raise NotImplementedError(f"{type(self).__name__} names no spaces")

    @property
    def block_space(self) -> str:
        """Space of what the transformer blocks hand on, ``name[dim]``; empty for a network that exposes none."""
        return ""

    @property
    def masked_space(self) -> str:
        """Space of pictures that come with masks, ``name[dim]``; empty for a network that takes none."""
        return ""


@dataclass(frozen=True)
class ClipText(SquareConfig):
    """Sizes of a text tower of CLIP; 0 is what ``SIZES`` says.

    Attributes:
        text_width: Of the text tower; a head is 64 wide.
        text_layers: Blocks of the text tower.
        context: Most tokens of a text, start and end included; what is longer loses the tokens before its end.
        vocabulary: Rows of the word embedding.
    """

    text_width: int = 0
    text_layers: int = 0
    context: int = 0
    vocabulary: int = 0


def ports_of(config: SquareConfig) -> Ports:
    """Return the spaces of a backbone with these options; every spec of this folder names this function."""
    image, text = config.spaces()
    return Ports(writes=Port(image), text=text, blocks=config.block_space, masked=config.masked_space)
