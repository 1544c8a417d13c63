"""Fillers around the part under test: a backbone in another precision, texts, data, a decoder that can be trained.

They only have to be there; nothing is compared with their answers. Parts whose answers can be told are in ``fakes``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from regionkit.core.contracts import (
    Backbone,
    BuildContext,
    Corpus,
    Dataset,
    Decoder,
    GapBridge,
    RegionEncoder,
    Sample,
    WeightArtifact,
)
from regionkit.core.errors import DataError, FeatureError
from regionkit.core.features import Caption, Features, GenerateOptions, RegionTokens, RegionViews, Scene
from regionkit.core.frames import Frame
from regionkit.core.regions import Regions
from regionkit.core.spec import Space
from regionkit.core.testing.examples import SENTENCES, example_samples
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import WeightHeader


class Recast(Backbone):
    """A backbone with one change to everything that it gives: another type, another device, another value.

    Args:
        inner: The backbone.
        change: Applied to patches, class token, attention and sentence vectors.
    """

    def __init__(self, inner: Backbone, change: Callable[[Tensor], Tensor]) -> None:
        self.inner = inner
        self.change = change
        self.space, self.text_space = inner.space, inner.text_space
        self.block_space, self.prefix_tokens = inner.block_space, inner.prefix_tokens
        self.masked_space = inner.masked_space

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """Blocks of the backbone."""
        return self.inner.blocks

    def embed(self, pixels: Tensor) -> Tensor:
        """Return what enters its first block, changed."""
        return self.change(self.inner.embed(pixels))

    def preprocess(self, images: Sequence[Image.Image]) -> tuple[Tensor, tuple[Frame, ...]]:
        """Return its pixels as they are."""
        return self.inner.preprocess(images)

    def frame(self, image_size: tuple[int, int]) -> Frame:
        """Return its frame."""
        return self.inner.frame(image_size)

    def encode(self, images: Sequence[Image.Image]) -> Features:
        """Return its features, changed."""
        return self._changed(self.inner.encode(images))

    def encode_masked(self, images: Sequence[Image.Image], masks: Sequence[NDArray[np.bool_]]) -> Features:
        """Return its features of masked pictures, changed."""
        return self._changed(self.inner.encode_masked(images, masks))

    def _changed(self, features: Features) -> Features:
        return replace(
            features,
            patches=self.change(features.patches),
            cls=None if features.cls is None else self.change(features.cls),
            attention=None if features.attention is None else self.change(features.attention),
        )

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return its sentence vectors, changed."""
        return self.change(self.inner.encode_text(texts))

    def check_images(self, images: Sequence[Image.Image]) -> None:
        """Refuse what it refuses."""
        self.inner.check_images(images)


class Sentences(Corpus):
    """A corpus of a few sentences."""

    def __init__(self, texts: Sequence[str] = SENTENCES) -> None:
        self.given = tuple(texts)

    def texts(self) -> Sequence[str]:
        """Return the sentences."""
        return self.given


class Relabel(GapBridge):
    """A bridge that makes unit vectors and renames them, and keeps texts clean in training.

    Args:
        space: The space that it writes, ``name[dim]``.
    """

    def __init__(self, space: str) -> None:
        self.space = space

    def bridge(self, tokens: RegionTokens) -> RegionTokens:
        """Rename the tokens."""
        tokens.check_finite("the region encoder")
        return tokens.relabelled(self.space, unit=True)


class Pooled(RegionEncoder):
    """A region encoder that gives every region the mean of the patches of its picture."""

    def encode(self, scene: Scene, regions: Regions) -> RegionTokens:
        """Return tokens (r, 1, d)."""
        regions.require(self.accepts, "Pooled")
        if not len(regions):
            return RegionTokens.none(scene.backbone.space)
        return RegionTokens.single(scene.features.patches.mean((1, 2))[list(regions.image)], scene.backbone.space)


class SampleData(Dataset):
    """A data set of the samples that metrics are checked with: drawn pictures, regions that are whole images."""

    def samples(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> Sequence[Sample]:
        """Return the first samples; the task does not matter."""
        return example_samples(6 if limit is None else limit)

    def image(self, image_id: str) -> Image.Image:
        """Draw the picture of that number."""
        number = image_id.removeprefix("image-")
        if not number.isdigit():
            raise DataError(f"there is no picture '{image_id}'")
        return picture(seed=int(number))

    def fingerprint(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> str:
        """Return the number of samples: nothing else changes."""
        return str(limit)

    def lexicon(self, kind: str) -> Mapping[str, str]:
        """Return the nouns or attributes that the samples name."""
        words = {word for sample in example_samples() for word in sample.info.get(kind, ())}
        return {word: word for word in sorted(words)} if words else super().lexicon(kind)


class Drawn(RegionEncoder):
    """A region encoder that hands on whole pictures, for decoders that read those."""

    def encode(self, scene: Scene, regions: Regions) -> RegionViews:
        """Return the picture of each region."""
        return RegionViews(tuple(scene.images[index] for index in regions.image))


class WordDecoder(nn.Module, Decoder):
    """A decoder of one word a caption, small enough to be trained in a moment.

    Args:
        space: The space that it reads, ``name[dim]``.
        words: The words that it knows.
        seed: Of its initial weights.
    """

    def __init__(self, space: str, words: Sequence[str], seed: int = 0) -> None:
        super().__init__()
        self.space, self.words = space, tuple(words)
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter(torch.randn(len(self.words), Space.parse(space).dim, generator=generator))

    @classmethod
    def build(cls, config: object, context: BuildContext) -> Self:
        """Take the words from the corpus of the context."""
        texts = context.parts["corpus"].texts()
        return cls(context.reads, sorted({word for text in texts for word in text.split()}), context.seed)

    def generate(
        self, inputs: RegionTokens | RegionViews, prompt: str | None = None, options: GenerateOptions | None = None
    ) -> list[Caption]:
        """Write the likeliest word of each region."""
        best = self._logits(inputs).log_softmax(-1).max(-1)
        pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [Caption(self.words[index], score, (index,)) for score, index in pairs]

    def score(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return the log-likelihood of the first word of each text."""
        return self._logits(inputs).log_softmax(-1).gather(1, self._ids(texts).unsqueeze(1)).squeeze(1)

    def loss(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return the cross-entropy of the first word of each text."""
        return cross_entropy(self._logits(inputs), self._ids(texts))

    def hidden_states(
        self,
        inputs: RegionTokens | RegionViews,
        texts: Sequence[str],
        prompt: str | None = None,
        positions: Literal["pred", "tok"] = "pred",
    ) -> RegionTokens:
        """Return (r, 1, d): what it read, weighed by the rows of its table, or the row of the word itself."""
        rows = self._logits(inputs).softmax(-1) @ self.table if positions == "pred" else self.table[self._ids(texts)]
        return RegionTokens.single(rows, "words/states[" + str(self.table.shape[1]) + "]")

    def artifact(self) -> WeightArtifact:
        """Return the weights."""
        return WeightArtifact(self.state_dict(), WeightHeader("decoder", "word-decoder", self.space))

    def _ids(self, texts: Sequence[str]) -> Tensor:
        firsts = [text.split()[0] for text in texts]
        return torch.tensor([self.words.index(word) for word in firsts], dtype=torch.long)

    def _logits(self, inputs: RegionTokens | RegionViews) -> Tensor:
        if isinstance(inputs, RegionViews):
            raise FeatureError("WordDecoder reads tokens, not pictures")
        vectors = inputs.vectors()
        if vectors.shape[1] != self.table.shape[1]:
            raise FeatureError(f"WordDecoder reads {self.space}, not vectors of width {vectors.shape[1]}")
        if not self.training:
            inputs.check_finite("what WordDecoder reads")
        return linear(vectors.to(self.table), self.table).float()
