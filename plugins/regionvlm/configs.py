"""Options and ports of the region encoder and the bridge, free of torch and numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from regionkit.core.spec import Port, Ports

Compat = Literal["paper", "reference"]
Order = Literal["given", "scan", "random"]
Prompt = Literal["points", "crop", "circle", "none"]

#: Width of an attention head in BERT and in every released Q-Former.
HEAD_WIDTH = 64
#: Most tokens of point text: enough for 15 points, the paper's most, and what the released code never sets higher.
MOST_TOKENS = {"paper": 64, "reference": 32}
#: The paper is silent: that of transformers' models, and torch's own, which the released code keeps.
NORM_EPS = {"paper": 1e-6, "reference": 1e-5}
#: Options that weights decide; they are stored in their header.
ARCHITECTURE: tuple[str, ...] = (
    "queries",
    "hidden",
    "layers",
    "heads",
    "intermediate",
    "cross_every",
    "positions",
    "vocabulary",
    "cls",
    "patch_positions",
    "norm_eps",
)
#: Options that say what a region means to weights. They are stored too, but who names weights may run them otherwise.
MEANING: tuple[str, ...] = ("points", "max_point_tokens", "compat", "order", "prompt", "empty_text")


@dataclass(frozen=True, slots=True)
class PointQFormerConfig:
    """Options of :class:`~regionkit.plugins.regionvlm.qformer.PointQFormer`; sizes are the released model's.

    Source: Lee et al., Toward Interactive Regional Understanding in Vision-Large Language Models; BLIP-2 for the sizes.

    Attributes:
        points: K, the most points of a region that become text.
        max_point_tokens: Tokens of point text, start and end included; what is more is cut at its end. 0 takes what
            ``compat`` says: 64, or the released code's 32, which cuts ten points in the middle of the eighth.
        compat: ``paper`` rounds hundredths. ``reference`` truncates them, cuts the text to 32 tokens and to 25 points,
            as the released code does.
        order: Order of the points in the text. ``given``: traces and clicks as they were drawn, pixels as they come.
            ``scan``: from top to bottom. ``random``: shuffled.
        draws: Seed of the pixels that stand for a region; a region's points follow from it and from the region alone.
        dilate: Side in pixels of the square kernel that masks are dilated with before points are drawn; 0 for none.
        prompt: How the region reaches the model. ``points``: as text. ``crop`` and ``circle``: drawn into the picture,
            with empty text. ``none``: not at all, the whole picture with empty text.
        circle_width: Width in pixels of the line of ``prompt: circle``. 0 takes a 64th of the longer side: the released
            code's 10 pixels in a picture of 640, which would fill a small one.
        empty_text: What the Q-Former reads where there are no points: ``tokens``, start and end alone, or ``none``,
            its queries without any text.
        queries: Learned queries, the tokens that a region becomes.
        hidden: Width of the Q-Former.
        layers: Its layers.
        heads: Attention heads of a layer; 0 for heads 64 wide.
        intermediate: Width of its feed-forward layers.
        cross_every: Every how many layers, the first included, the queries look at the picture.
        positions: Learned text positions.
        vocabulary: Rows of the word embedding; 0 for as many as the tokenizer has ids.
        dropout: Of attention and hidden states, in training only.
        tokenizer: For training from nothing. ``points``: brackets and the numerals 0 to 100. ``file:PATH``: a
            ``vocab.txt`` or ``tokenizer.json`` of BERT's kind, or a folder with one. Trained weights bring theirs.
        cls: ``auto`` puts the picture's class token before its patches where the backbone has one, ``none`` leaves it.
        patch_positions: ``none`` for vision transformers, whose patches know their place. ``sincos`` adds it to patches
            that do not, such as those of the mini backbones: without it no point can be found in the picture.
        norm_eps: Added to the variance in the normalisation of picture features. 0 takes what ``compat`` says: 1e-6, as
            in transformers, or the released code's 1e-5.
        attention_layers: Layers over which :meth:`attention` averages: ``all`` that look at the picture, or the
            ``last`` of them.
        batch_size: Regions that go through the Q-Former together; a region's result never depends on it.
        weights: ``auto`` chooses weights that were trained on the backbone's pictures, ``none`` starts untrained,
            ``file:PATH`` or a name of ``toolkit weights list`` says which.
    """

    points: int = 10  # paper, table 7: the model is trained with K = 10
    max_point_tokens: int = 0
    compat: Compat = "paper"
    order: Order = "given"  # released code: temporal order of traces is kept
    draws: int = 0
    dilate: int = 0  # paper, table 6: 0, 3, 7, 15
    prompt: Prompt = "points"
    circle_width: int = 0
    empty_text: Literal["tokens", "none"] = "tokens"  # released code; only its VQA leaves the text out
    queries: int = 32  # BLIP-2
    hidden: int = 768  # BERT base
    layers: int = 12  # BERT base
    heads: int = 0
    intermediate: int = 3072  # BERT base
    cross_every: int = 2  # BLIP-2
    positions: int = 512  # BERT base
    vocabulary: int = 0
    dropout: float = 0.1  # BERT base
    tokenizer: str = "points"
    cls: Literal["auto", "none"] = "auto"
    patch_positions: Literal["none", "sincos"] = "none"
    norm_eps: float = 0.0
    attention_layers: Literal["all", "last"] = "all"
    batch_size: int = 64
    weights: str = "auto"

    def __post_init__(self) -> None:
        for name in (
            "points", "queries", "hidden", "layers", "intermediate", "cross_every", "positions", "batch_size",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} must be 1 or more")
        for name in ("heads", "vocabulary", "dilate", "draws", "circle_width"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name)} must be 0 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout} must be at least 0 and less than 1")
        if not (math.isfinite(self.norm_eps) and self.norm_eps >= 0):
            raise ValueError(f"norm_eps: {self.norm_eps} must be 0 (as compat says) or more")
        if self.hidden % self.head_count:
            fitting = ", ".join(str(heads) for heads in range(1, self.hidden + 1) if self.hidden % heads == 0)
            raise ValueError(f"heads: {self.head_count} does not divide hidden {self.hidden}; these do: {fitting}")
        if self.max_point_tokens and not 2 <= self.max_point_tokens <= self.positions:
            raise ValueError(
                f"max_point_tokens: {self.max_point_tokens} must be 0 (as compat says), or at least 2 (start and end) "
                f"and at most positions, {self.positions}"
            )
        if self.positions < 2:
            raise ValueError(f"positions: {self.positions} has no room for the start and the end token")
        if self.tokenizer != "points" and not self.tokenizer.startswith("file:"):
            raise ValueError(f"tokenizer: '{self.tokenizer}' is neither 'points' nor file:PATH")

    @property
    def head_count(self) -> int:
        """Attention heads of a layer."""
        return self.heads or max(1, self.hidden // HEAD_WIDTH)

    @property
    def eps(self) -> float:
        """What is added to the variance in the normalisation of picture features."""
        return self.norm_eps or NORM_EPS[self.compat]

    @property
    def most_tokens(self) -> int:
        """Most tokens of point text, start and end included."""
        return self.max_point_tokens or min(MOST_TOKENS[self.compat], self.positions)


@dataclass(frozen=True, slots=True)
class LanguageProjectionConfig:
    """Options of :class:`~regionkit.plugins.regionvlm.projection.LanguageProjection`.

    Attributes:
        weights: ``auto`` chooses weights that were trained for what the region encoder writes, ``none`` starts
            untrained, ``file:PATH`` or a name of ``toolkit weights list`` says which.
    """

    weights: str = "auto"


def qformer_ports(config: PointQFormerConfig) -> Ports:
    """Return what ``point-qformer`` reads, and the space of its own that it writes, as wide as the Q-Former."""
    return Ports(Port("image"), Port(f"own[{config.hidden}]", many=True))
