"""Decoders that map a region's vector to soft tokens before a causal language model.

The frame of ClipCap (Mokady et al., arXiv 2111.09734), with which most zero-shot captioners of Patch-ioner's tables
write: soft tokens, then perhaps words that say what is known of the region, then the caption.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from regionkit.core.features import RegionTokens, RegionViews
from regionkit.core.language.causal import CAUSAL, CausalDecoder
from regionkit.core.language.prefix import Prefix
from regionkit.core.language.rows import check_pairs, inside, no_loss
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.plugins.zeroshot.mapped import MappedDecoder
from regionkit.plugins.zeroshot.mappers import make_mapper
from regionkit.plugins.zeroshot.prefix_config import PREFIX_SIZES


class PrefixDecoder(MappedDecoder, CausalDecoder):
    """Writes captions with a causal language model behind soft tokens.

    Args:
        config: Options, :class:`~regionkit.plugins.zeroshot.prefix_config.PrefixOptions` or more.
        space: The space that it reads, ``name[dim]``.
        model: The language model.
        tokenizer: The ids that it writes.
    """

    naming = CAUSAL
    sizes = PREFIX_SIZES
    habits: ClassVar[tuple[str, ...]] = ("normalise", "prompt")

    def __init__(self, config: Any, space: str, model: Any, tokenizer: LanguageTokenizer) -> None:
        super().__init__(config, space, model, tokenizer)
        self.mapper: nn.Module = make_mapper(config, self.width)
        if config.frozen:
            self.model.requires_grad_(False)

    @classmethod
    def filled(cls, config: Any) -> Any:
        """Say the sizes that follow from others."""
        return dataclasses.replace(config, kv_heads=config.kv_heads or config.heads)

    def soft(self, vectors: Tensor) -> Tensor:
        """Return soft tokens (r, ``prefix``, ``hidden``) of vectors (r, d)."""
        mapped: Tensor = self.mapper(normalize(vectors, dim=-1) if self.config.normalise else vectors)
        return mapped

    def words(self, tokens: RegionTokens, prompt: str | None) -> list[str]:
        """Return the words that stand with the soft tokens, one string a region; the same for all by default."""
        return [self.config.prompt if prompt is None else prompt] * len(tokens)

    def training_words(self, tokens: RegionTokens, texts: Sequence[str], prompt: str | None) -> list[str]:
        """Return the words with which given texts are learned; by default those of :meth:`words`."""
        return self.words(tokens, prompt)

    def spliced(self, tokens: RegionTokens, prompt: str | None = None) -> tuple[Tensor, Tensor]:
        """Return soft tokens and words (r, t, d), words padded, and which of them are no padding.

        Raises:
            FeatureError: A region has more than one token.
        """
        return self.joined(tokens, self.words(tokens, prompt))

    def joined(self, tokens: RegionTokens, words: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the soft tokens of regions with their own words behind them (r, t, d), and which are no padding."""
        soft = self.soft(tokens.vectors())
        ids, lengths = self._padded([self.tokenizer.encode(text) if text else [] for text in words])
        hard = self.model.get_input_embeddings()(ids)
        valid = torch.cat([lengths.new_ones(soft.shape[:2], dtype=torch.bool), inside(ids, lengths)], dim=1)
        return torch.cat([soft.to(hard.dtype), hard], dim=1), valid

    def loss(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return the mean cross-entropy of the texts' tokens, end tokens included; of no tokens it is 0.

        Texts are cut to ``max_length`` tokens and lose their end token then. What stands before them does not count.
        """
        check_pairs(inputs, texts)
        tokens = self._tokens(inputs)
        ids, lengths, counted = self.learned(texts)
        if not bool(counted.any()):
            return no_loss(tokens.tokens, *self.parameters())
        prefix = Prefix(*self.joined(tokens, self.training_words(tokens, texts, prompt)))
        logits = self._logits_behind(prefix, ids, lengths)
        smoothing = self.config.label_smoothing
        return cross_entropy(logits.float()[counted], ids[counted], label_smoothing=smoothing)

    def loss_terms(self, texts: Sequence[str]) -> int:
        """Return the number of tokens that the loss is a mean of."""
        return int(self.learned(texts)[2].sum())

    def learned(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids (r, s) that texts are learned as, their number (r,), and which of them the loss counts (r, s)."""
        ids, lengths = self._targets(texts, self.config.max_length)
        return ids, lengths, inside(ids, lengths)

    def train(self, mode: bool = True) -> Self:
        """Switch training on or off; a frozen language model stays as it is at inference, without dropout."""
        super().train(mode)
        if self.config.frozen:
            self.model.eval()
        return self
