"""What all backbones of this folder share: square pictures, batches, a text tower, building with weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn

from regionkit.core.batch_sizes import batches_that_fit, named
from regionkit.core.contracts import Backbone, BuildContext, WeightArtifact
from regionkit.core.features import Features
from regionkit.core.frames import Frame
from regionkit.core.stored import drawn_from, with_memory, with_stored
from regionkit.core.weights import WeightHeader, load_into
from regionkit.plugins.patchioner.backbones.clip_text import encode_texts, text_tower
from regionkit.plugins.patchioner.backbones.preprocessing import Preprocessing
from regionkit.plugins.patchioner.backbones.square_config import SquareConfig
from regionkit.plugins.patchioner.vocabulary import MERGES, ClipTokenizer, clip_tokenizer_from

Config = TypeVar("Config", bound=SquareConfig)


class SquareBackbone(nn.Module, Backbone, Generic[Config]):
    """A network for square pictures and a text tower, CLIP's unless a model brings its own, as ``vision`` and ``text``.

    A model says the class variables that have no value here, makes its network (:meth:`vision_tower`) and reads it
    (:meth:`read`); all else may be overridden where it differs. The spaces are those of its options.

    Args:
        config: Options and sizes.
        tokenizer: Of the text tower.
    """

    #: Of the component, as its spec and weight files say it.
    component: ClassVar[str]
    #: Options that weights decide: the sizes, and names or numbers that are no sizes.
    architecture: ClassVar[tuple[str, ...]]
    #: The size that says the width of the text tower's features.
    text_dim: ClassVar[str]
    #: Of the text tower's feed-forward parts; OpenAI's models have QuickGELU.
    text_activation: ClassVar[str] = "quick_gelu"
    #: Mean and deviation of the pixels that the network was trained with.
    pixels: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]]

    def __init__(self, config: Config, tokenizer: Any) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.preprocessing = self.pixels_of(config)
        self.vision = self.vision_tower(config)
        self.text = self.sentence_tower(config, tokenizer)
        self.space, self.text_space = config.spaces()
        self.block_space, self.masked_space = config.block_space, config.masked_space

    @classmethod
    def build(cls, config: Config, context: BuildContext) -> Self:
        """Make the backbone with the weights of the context; without any it starts from ``context.seed``.

        Raises:
            WeightsError: The weights are damaged, or of another model or size than the options ask for.
        """
        file = context.weights
        if file is None:
            with drawn_from(context.seed):
                return cls(config, cls.fresh_tokenizer(config)).eval()
        config = with_stored(config, file.header.config, cls.architecture, kind="backbone", source=str(file.path))
        tensors = file.tensors()
        tokenizer = cls.stored_tokenizer(file.header.extra, file.path, tensors)
        backbone = with_memory(cls.skeleton(config, tokenizer))
        load_into(backbone, backbone.placed(tensors), file.path)
        return backbone.eval()

    @classmethod
    def skeleton(cls, config: Config, tokenizer: Any) -> Self:
        """Return the network without memory for its weights, to hold the names and shapes of a checkpoint against."""
        with torch.device("meta"):
            return cls(config, tokenizer)

    @staticmethod
    @abstractmethod
    def vision_tower(config: Any) -> Any:
        """Make the network for square pictures, untrained; a ``torch.nn.Module``."""

    @classmethod
    def pixels_of(cls, config: Config) -> Preprocessing:
        """Return how pictures become pixels."""
        return Preprocessing(config.side, config.size("patch"), config.fit, config.compat, cls.pixels)

    @classmethod
    def sentence_tower(cls, config: Config, tokenizer: Any) -> Any:
        """Make the network for sentences, untrained; a ``torch.nn.Module``."""
        return text_tower(
            width=config.size("text_width"),
            layers=config.size("text_layers"),
            dim=config.size(cls.text_dim),
            context=config.size("context"),
            vocabulary=config.size("vocabulary"),
            tokenizer=tokenizer,
            activation=cls.text_activation,
        )

    @classmethod
    def fresh_tokenizer(cls, config: Config) -> Any:
        """Return the tokenizer of a backbone without weights."""
        return ClipTokenizer()

    @classmethod
    def stored_tokenizer(cls, extra: Mapping[str, Any], source: Path, tensors: Mapping[str, Tensor]) -> Any:
        """Rebuild the tokenizer that weights carry in the ``extra`` of their header and in their tensors.

        Raises:
            WeightsError: They carry none, or another.
        """
        return clip_tokenizer_from(extra, source, tensors)

    @classmethod
    def kept_tokenizer(cls, tokenizer: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return what :meth:`stored_tokenizer` reads: an entry of the header's ``extra``, and tensors."""
        return tokenizer.to_extra(), tokenizer.to_tensors()

    def artifact(self) -> WeightArtifact:
        """Return the weights, with positions for this resolution, the tokenizer and the sizes."""
        extra, tensors = self.kept_tokenizer(self.tokenizer)
        sizes = {name: self.config.size(name) for name in self.architecture if name in self.config.SIZES}
        config = {**self.named_options(self.config), **sizes}
        header = WeightHeader("backbone", self.component, self.space, config=config, extra={"tokenizer": extra})
        return WeightArtifact({**self.state_dict(), **tensors}, header)

    @classmethod
    def named_options(cls, config: Config) -> dict[str, Any]:
        """Return those options that weights decide and that are no sizes; one of 0 says nothing."""
        named = {name: getattr(config, name) for name in cls.architecture if name not in config.SIZES}
        return {name: value for name, value in named.items() if value}

    def placed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the network's own tensors out of those of a file, such as positions resampled to its grid."""
        return {name: tensor for name, tensor in tensors.items() if name != MERGES}

    def frame(self, image_size: tuple[int, int]) -> Frame:
        """Describe what preprocessing does to an image of (width, height) pixels."""
        return self.preprocessing.frame(image_size)

    def preprocess(self, images: Sequence[Image.Image]) -> tuple[Tensor, tuple[Frame, ...]]:
        """Return normalised pixels (b, 3, side, side) and the frames."""
        return self.preprocessing(images), tuple(self.frame(image.size) for image in images)

    @torch.no_grad()
    def encode(self, images: Sequence[Image.Image]) -> Features:
        """Encode pictures, ``config.batch`` at a time or as many as a GPU has room for; nothing is normalised."""
        weight = next(self.vision.parameters())
        parts = []
        size, default = named(self.config, "batch"), self.config.batch
        batches = batches_that_fit(self, len(images), size, default=default, device=weight.device)
        for part in batches if images else [slice(0, 0)]:
            pixels, frames = self.preprocess(images[part])
            parts.append(self.read(pixels.to(weight), frames))
        return Features.cat(parts)

    @abstractmethod
    def read(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Features:
        """Return the features of preprocessed pixels (b, 3, side, side)."""

    def grid_of(self, tokens: Tensor) -> Tensor:
        """Return patch tokens (b, n, ...) as (b, h, w, ...)."""
        grid = self.preprocessing.grid
        return tokens.reshape(len(tokens), grid, grid, *tokens.shape[2:])

    @torch.no_grad()
    def clip_texts(self, texts: Sequence[str]) -> Tensor:
        """Return the text tower's features (n, text_dim) at the end token, not normalised."""
        return encode_texts(self.text, self.tokenizer, texts)
