"""IFCap's decoder: soft tokens that look at retrieved captions, and the nouns that most of those agree on.

Lee et al., IFCap: Image-like Retrieval and Frequency-based Entity Filtering for Zero-shot Captioning, arXiv
2409.18046. Sizes, order of the layers and names of the tensors are those of the release.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean, pstdev
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from regionkit.core.contracts import BuildContext
from regionkit.core.features import RegionTokens, RegionViews
from regionkit.core.language.rows import check_pairs
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.plugins.zeroshot.entities import EntityDecoder
from regionkit.plugins.zeroshot.ifcap_config import IfcapConfig
from regionkit.plugins.zeroshot.mappers import Blocks, TransformerMapper
from regionkit.plugins.zeroshot.retrieval import TextMemory

#: More than rounding adds to a mean of numbers of captions, and less than any two thresholds differ by.
_ROUNDED = 1e-9


class Crossing(nn.Module):
    """One pre-norm block whose tokens look at others instead of themselves; the others are not normed."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.transformer = Blocks(width, heads, 1)

    def forward(self, tokens: Tensor, others: Tensor) -> Tensor:
        """Let tokens (r, t, width) look at others (r, k, width)."""
        block: Any = self.transformer.layers[0]
        tokens = tokens + block.attn(block.norm1(tokens), others)
        found: Tensor = tokens + block.mlp(block.norm2(tokens))
        return found


class RetrievalMapper(TransformerMapper):
    """The transformer of ViECap, whose tokens of the vector first look at the features of retrieved captions.

    Arguments are those of :class:`~regionkit.plugins.zeroshot.mappers.TransformerMapper`.

    Source: IFCap, section 3.3 (fusion module).
    """

    def __init__(self, dim: int, hidden: int, prefix: int, clip_length: int, layers: int, heads: int) -> None:
        super().__init__(dim, hidden, prefix, clip_length, layers, heads)
        self.rt_linear = nn.Linear(dim, hidden)
        self.crossatt = Crossing(hidden, heads)

    def forward(self, vectors: Tensor, features: Tensor | None = None) -> Tensor:
        """Map vectors (r, dim) beside features (r, k, dim); without any it is the transformer alone."""
        mapped = self.linear(vectors).view(len(vectors), self.clip_length, -1)
        if features is not None:
            mapped = self.crossatt(mapped, self.rt_linear(features))
        constants = self.prefix_const.expand(len(mapped), -1, -1)
        states: Tensor = self.transformer(torch.cat([mapped, constants], dim=1))
        return states[:, self.clip_length :]


def make_retrieval_mapper(config: IfcapConfig, dim: int) -> RetrievalMapper:
    """Make the mapper that options ask for, for vectors of a width."""
    length = config.clip_length or config.prefix
    return RetrievalMapper(dim, config.hidden, config.prefix, length, config.mapper_layers, config.mapper_heads)


def frequent_entities(said: Sequence[str], config: IfcapConfig) -> list[str]:
    """Return the words that are said often enough, by number and then by word, both descending.

    Args:
        said: Nouns of the captions of a region, as often as they are said.
        config: Says what often enough is.
    """
    counts = sorted(((count, word) for word, count in Counter(said).items()), reverse=True)
    if config.threshold == "fixed" or not counts:
        return [word for count, word in counts if count >= config.frequency]
    logarithms = config.threshold == "log-normal"
    numbers = torch.tensor([count for count, _ in counts], dtype=torch.float64)
    values = (numbers.log() if logarithms else numbers).tolist()
    # Of two nouns, mean and one deviation are the larger number itself: rounding must not decide what is beyond it.
    least = fmean(values) + config.deviations * pstdev(values) + _ROUNDED
    return [word for value, (_, word) in zip(values, counts, strict=True) if value > least]


class Ifcap(EntityDecoder):
    """Writes captions with what captions of similar sentences say; see :class:`IfcapConfig` for its options.

    Its bank of captions is no part of its weights: it is in ``context.bank``, or taken by :meth:`fit`.

    Args:
        config: Options.
        space: The space that it reads, ``name[dim]``.
        model: The language model.
        tokenizer: The ids that it writes.
    """

    name = "ifcap"
    habits = (*EntityDecoder.habits, "retrieved")  # how nouns are counted is no matter of training
    config: IfcapConfig

    def __init__(self, config: Any, space: str, model: Any, tokenizer: LanguageTokenizer) -> None:
        super().__init__(config, space, model, tokenizer)
        self.mapper = make_retrieval_mapper(config, self.width)
        self.memory = TextMemory(space, self._who(), distinct=config.distinct)
        self._given: Tensor | None = None
        self._found: tuple[Tensor, Tensor] | None = None

    @classmethod
    def build(cls, config: Any, context: BuildContext) -> Self:
        """Build as elsewhere, with the bank of the context where there is one.

        Raises:
            WeightsError, RegionkitError: As elsewhere; or the bank is damaged or of another width.
        """
        decoder = super().build(config, context)
        if context.bank is not None:
            decoder.memory.load(context.bank)
        return decoder

    def fit(self, embeddings: Tensor, texts: Sequence[str]) -> None:
        """Take the captions to retrieve from n texts and their embeddings (n, d).

        Raises:
            FeatureError: An embedding is NaN, infinite or of another width, or there is not one text an embedding.
        """
        self.memory.fit(embeddings, texts)
        self._found = None

    def entities(self, tokens: RegionTokens) -> list[list[str]]:
        """Return the nouns that the captions nearest to r regions of one token agree on.

        Raises:
            WeightsError: There is no bank.
        """
        rows = self._retrieved(tokens.vectors())[:, : self.config.captions].tolist()
        texts = self.memory.texts
        return [
            frequent_entities([noun for at in some for noun in self._finder.occurrences(texts[at])], self.config)
            for some in rows
        ]

    def soft(self, vectors: Tensor) -> Tensor:
        """Return soft tokens (r, ``prefix``, ``hidden``) of vectors (r, d), with the captions nearest to them.

        Raises:
            WeightsError: There is no bank.
        """
        features = self._given
        if features is None:
            features = self.memory.embeddings[self._retrieved(vectors)[:, : self.config.retrieved]]
        unit = normalize(vectors, dim=-1) if self.config.normalise else vectors
        mapped: Tensor = self.mapper(unit, features.to(vectors))  # the bank stays float32 where the weights do not
        return mapped

    def loss(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return the mean cross-entropy as elsewhere, with captions retrieved as a picture would retrieve them.

        The query is the sentence itself with noise, in training, from torch's global generator; the sentence is left
        out of what it finds. A sentence that the bank lacks is looked for with its vector as it came in.

        Raises:
            WeightsError: There is no bank.
        """
        check_pairs(inputs, texts)
        with self._looking_at(self.image_like(self._tokens(inputs), texts)):
            return super().loss(inputs, texts, prompt)

    @torch.no_grad()
    def image_like(self, tokens: RegionTokens, texts: Sequence[str]) -> Tensor:
        """Return the features (r, k, d) of captions that are retrieved for r sentences in training; raises as there.

        Source: IFCap, section 3.2 (image-like retrieval).
        """
        self.memory.check_filled()
        rows = [self.memory.rows_of(text) for text in texts]
        queries = normalize(tokens.vectors().float(), dim=-1)
        for at, own in enumerate(rows):
            if own:
                queries[at] = normalize(self.memory.embeddings[own[0]], dim=0)
        if self.training and self.config.query_noise:
            queries = queries + self.config.query_noise * torch.randn(queries.shape).to(queries)
        without = [own[:1] for own in rows] if self.config.compat == "reference" else rows
        found = self.memory.nearest(queries, self.config.retrieved, without)[1]
        return self.memory.embeddings[found]

    def _retrieved(self, vectors: Tensor) -> Tensor:
        """Return rows of the bank (r, k), the nearest first; the last answer is kept, since each is asked for twice."""
        if self._found is None or not _same(self._found[0], vectors):
            count = max(self.config.retrieved, self.config.captions)
            self._found = (vectors.detach().clone(), self.memory.nearest(vectors.detach(), count)[1])
        return self._found[1]

    @contextmanager
    def _looking_at(self, features: Tensor) -> Iterator[None]:
        """Let soft tokens be made with given features for a while."""
        self._given = features
        try:
            yield
        finally:
            self._given = None


def _same(known: Tensor, vectors: Tensor) -> bool:
    """Say whether vectors are those known; of another type, or elsewhere, since the decoder was moved, they are not."""
    return (known.device, known.dtype) == (vectors.device, vectors.dtype) and torch.equal(known, vectors)
