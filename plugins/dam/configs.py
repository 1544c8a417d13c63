"""Options and ports of the vision side; torch-free."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from regionkit.core.spec import Port, Ports

#: What 0 stands for in the sizes of ``siglip``: SigLIP so400m with patches of 14 pixels at 384, the tower of the
#: released models (the numbers stand in its config.json).
SIGLIP_SIZES = {"resolution": 384, "patch": 14, "width": 1152, "layers": 27, "heads": 16, "intermediate": 4304}
#: Published towers by width, layers and patch: the name that they go by.
_TOWERS = {(768, 12, 16): "base-patch16", (1024, 24, 16): "large-patch16", (1152, 27, 14): "so400m-patch14"}
#: Far beyond any tower: what is more is a slip, and would fill the memory before anything is said.
_MOST = {"resolution": 8192, "layers": 1000}
#: Projectors of several layers, as LLaVA names them.
MLP = re.compile(r"mlp([1-9]\d?)x_gelu")
_WEIGHTS_NAME = re.compile(r"[a-z0-9._-]*")


@dataclass(frozen=True)
class SiglipConfig:
    """The vision tower of SigLIP. Sizes of 0 are those of so400m-patch14-384; weights bring theirs.

    Attributes:
        model: Which weights of these sizes are meant: a word that becomes part of the names of the spaces. Empty for
            the original; a release that was tuned further brings its own.
        resolution: Side of the preprocessed picture in pixels. Another one than the weights were trained with resamples
            their learned positions.
        batch: Pictures that go through the network at once; features never depend on it.
        weights: ``auto`` looks for the official files and for converted ones, ``none`` starts untrained from the seed,
            else a reference or a name of ``toolkit weights list``.
        patch: Side of a patch in preprocessed pixels.
        width: Of the tokens.
        layers: Transformer blocks.
        heads: Attention heads of a block.
        intermediate: Hidden width of a block's feed-forward part.
    """

    model: str = ""
    resolution: int = 0
    batch: int = 8
    weights: str = "auto"
    patch: int = 0
    width: int = 0
    layers: int = 0
    heads: int = 0
    intermediate: int = 0

    def __post_init__(self) -> None:
        if not _WEIGHTS_NAME.fullmatch(self.model):
            raise ValueError(f"model: '{self.model}' is made of other signs than a-z, 0-9 and . _ -")
        for name in SIGLIP_SIZES:
            value = getattr(self, name)
            if value < 0 or value > _MOST.get(name, 1 << 20):
                raise ValueError(f"{name}: {value} is no size; 0 takes that of so400m-patch14-384 or of the weights")
        if self.batch < 1:
            raise ValueError(f"batch: {self.batch} must be 1 or more")
        if self.size("width") % self.size("heads"):
            raise ValueError(f"heads: {self.size('heads')} do not share a width of {self.size('width')} evenly")
        if self.size("resolution") < self.size("patch"):
            raise ValueError(f"resolution: {self.size('resolution')} is less than a patch, {self.size('patch')} pixels")

    def size(self, name: str) -> int:
        """Return a size: the option, or what 0 stands for."""
        value: int = getattr(self, name)
        return value or SIGLIP_SIZES[name]

    @property
    def grid(self) -> int:
        """Patches along a side; pixels beyond the last whole patch are not seen (384 is 27 times 14, and 6)."""
        return self.size("resolution") // self.size("patch")

    @property
    def label(self) -> str:
        """Name of the tower, as its spaces begin."""
        shape = (self.size("width"), self.size("layers"), self.size("patch"))
        named = _TOWERS.get(shape, f"{shape[0]}x{shape[1]}-patch{shape[2]}")
        return "-".join(word for word in ("siglip", self.model, named, str(self.size("resolution"))) if word)


def siglip_ports(config: SiglipConfig) -> Ports:
    """Return the space of ``siglip``'s patches and of what its blocks hand on; it has no text tower."""
    width = config.size("width")
    return Ports(writes=Port(f"{config.label}/image[{width}]"), blocks=f"{config.label}/blocks[{width}]")


@dataclass(frozen=True)
class FocalPromptConfig:
    """A region through two views: the whole picture and a crop around the region, both with its mask.

    The rows of the paper's ablation of visual prompts (Table 8) are choices of the first two options:

    ====================================  =========  ===================
    row                                   ``crop``   ``context``
    ====================================  =========  ===================
    Full Image Only                       full       none
    Local Crop Only                       tight      none
    Full + Local Crop, no XAttn           tight      concat
    Full + Local Crop, XAttn              tight      cross-attention
    Focal Crop Only                       focal      none
    Full + Focal Crop, XAttn (the model)  focal      cross-attention
    ====================================  =========  ===================

    Attributes:
        crop: The local view. ``focal``: the region's box, ``scale`` times as wide and high, with a smallest side;
            ``context``: the same without one; ``tight``: the box alone; ``masked``: the box alone, black outside the
            region; ``full``: the whole picture.
        context: How the whole picture joins it: ``cross-attention``, gated, after every block; ``concat``, its tokens
            in front of those of the local view, twice as many; ``none``, not at all.
        scale: How many times as wide and high as the region's box the view is, the paper's alpha.
        min_side: Smallest side in pixels of the original picture; 0 for none. Edges of the picture still cut it.
        min_on: What ``min_side`` holds for: ``expanded``, the crop (the paper); ``base``, the region's box before it is
            scaled (the released code), so that crops are at least ``scale`` times as large; ``auto``, as ``compat``
            says.
        select_layer: Which hidden state of the backbone is handed on, counted as transformers does: 0 is what enters
            the first block, -1 what leaves the last. Blocks after it are not run.
        point_radius: Points and the points of traces become discs of this radius in pixels of the original picture; 0
            is the pixel that a point lies in. -1 scales with the picture: a fiftieth of its shorter side, at least one
            pixel.
        identical_views: What is handed on where both views are the same picture and mask: ``global``, what the plain
            backbone makes of it (the released code); ``regional``, it attends to itself as any crop does.
        masked_attention: Whether the crop attends to those patches of the whole picture alone that the region touches.
        gate: The adapter's form. ``tanh``: gates go through tanh and the feed-forward part reads the state before the
            cross-attention (eq. 6 and 7); ``scalar``: plain numbers, and it reads the state after it (the released
            code); ``auto``, as ``compat`` says.
        heads: Heads of the cross-attention; 0 takes the backbone's.
        intermediate: Hidden width of an adapter's feed-forward part; 0 is four times the backbone's width.
        batch_size: Views that go through the backbone at once; tokens never depend on it.
        compat: ``reference`` follows the released code where it differs: ``min_on``, ``gate``, and pictures and masks
            that are rounded to half precision on their way into the backbone.
        weights: ``auto`` takes those trained for this backbone, ``none`` starts untrained from the seed: all that is
            added then changes nothing yet. Else a reference or a name of ``toolkit weights list``.
    """

    crop: Literal["focal", "context", "tight", "masked", "full"] = "focal"
    context: Literal["cross-attention", "concat", "none"] = "cross-attention"
    scale: float = 3.0  # section 3.2.1
    min_side: int = 48  # section 3.2.1
    min_on: Literal["auto", "base", "expanded"] = "auto"
    select_layer: int = -2  # the release; the paper does not say
    point_radius: float = -1.0
    identical_views: Literal["global", "regional"] = "global"
    masked_attention: bool = False
    gate: Literal["auto", "tanh", "scalar"] = "auto"
    heads: int = 0
    intermediate: int = 0
    batch_size: int = 16
    compat: Literal["paper", "reference"] = "paper"
    weights: str = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.scale <= 1000:
            raise ValueError(f"scale: {self.scale:g} must be at least 1, so that the region is seen, and at most 1000")
        if not 0 <= self.min_side <= 1 << 20:
            raise ValueError(f"min_side: {self.min_side} must be 0 (none) or more pixels")
        if self.point_radius != -1 and not 0 <= self.point_radius <= 1 << 20:
            raise ValueError(
                f"point_radius: {self.point_radius:g} must be 0 (one pixel) or more, or -1 (scales with the picture)"
            )
        for name in ("heads", "intermediate"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} must be 0 (as the backbone has) or more")
        if self.batch_size < 1:
            raise ValueError(f"batch_size: {self.batch_size} must be 1 or more")

    @property
    def smallest(self) -> str:
        """What the smallest side holds for: ``base`` or ``expanded``."""
        return {"paper": "expanded", "reference": "base"}[self.compat] if self.min_on == "auto" else self.min_on

    @property
    def form(self) -> str:
        """The adapter's form: ``tanh`` or ``scalar``."""
        return {"paper": "tanh", "reference": "scalar"}[self.compat] if self.gate == "auto" else self.gate


@dataclass(frozen=True)
class MlpDownsampleConfig:
    """The projector from visual tokens to the embeddings of a language model.

    Attributes:
        type: ``mlp_downsample``: 2 x 2 tokens become one, then normalisation and two layers (DAM); ``linear``;
            ``mlp2x_gelu``, with any number of layers; ``identity``, for equal widths. All but the first keep the number
            of tokens.
        order: Order of the merged tokens: ``column``, down the columns of the grid first, as the released code has it
            (the paper does not say), or ``row``.
        grids: How many square grids of tokens a region is made of, one after the other, each merged on its own; 0 takes
            one where the tokens form a square and two where each half does, as with ``context: concat``.
        weights: ``auto`` takes those trained between these two spaces, ``none`` starts untrained from the seed, else a
            reference or a name of ``toolkit weights list``.
    """

    type: str = "mlp_downsample"
    order: Literal["column", "row"] = "column"
    grids: int = 0
    weights: str = "auto"

    def __post_init__(self) -> None:
        if self.type not in ("mlp_downsample", "linear", "identity") and not MLP.fullmatch(self.type):
            raise ValueError(
                f"type: '{self.type}' is no projector; they are: mlp_downsample, linear, identity, mlp2x_gelu "
                "(any number of layers)"
            )
        if self.grids < 0:
            raise ValueError(f"grids: {self.grids} must be 0 (one or two, as fits) or more")

    @property
    def corruption(self) -> str:
        """Decoders behind a projector are trained through it, on what it makes of clean tokens."""
        return "none"
