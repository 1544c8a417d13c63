"""CLOSE's decoder: a T5 whose encoder reads a few soft tokens that one linear layer makes of a region's vector.

Gu, Clark and Kembhavi, I Can't Believe There's No Images! Learning Visual Tasks Using only Language Supervision, arXiv
2211.09778, section 3. Names of the layer's tensors are those of the release.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from regionkit.core.features import RegionTokens
from regionkit.core.language.rows import check_length
from regionkit.core.language.seq2seq import Seq2SeqDecoder
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.plugins.zeroshot.close_config import CLOSE_SIZES
from regionkit.plugins.zeroshot.mapped import MappedDecoder


class Tokens(nn.Module):
    """One linear layer from a vector to soft tokens, learned constants before them: (r, dim) to (r, t, hidden).

    Args:
        dim: Width of the vector.
        hidden: Width of the language model.
        tokens: Soft tokens of the layer.
        constants: Soft tokens that do not depend on the vector.
    """

    def __init__(self, dim: int, hidden: int, tokens: int, constants: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.lin = nn.Linear(dim, tokens * hidden)
        if constants:
            self.constant_tokens = nn.Parameter(torch.zeros(constants, hidden))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map vectors (r, dim)."""
        mapped: Tensor = self.lin(vectors).view(len(vectors), self.tokens, -1)
        if not hasattr(self, "constant_tokens"):
            return mapped
        return torch.cat([self.constant_tokens.expand(len(vectors), -1, -1), mapped], dim=1)


class Close(MappedDecoder, Seq2SeqDecoder):
    """Writes captions with a T5; see ``CloseConfig`` for its options.

    Args:
        config: Options.
        space: The space that it reads, ``name[dim]``.
        model: The language model.
        tokenizer: The ids that it writes.
    """

    name = "close"
    sizes = CLOSE_SIZES
    habits = ("normalise", "lowercase", "prompt")

    def __init__(self, config: Any, space: str, model: Any, tokenizer: LanguageTokenizer) -> None:
        super().__init__(config, space, model, tokenizer)
        hidden = model.get_input_embeddings().weight.shape[1]
        self.mapper = Tokens(self.width, hidden, config.tokens, config.constants)

    def encoder_inputs(self, tokens: RegionTokens, prompt: str | None = None) -> dict[str, Tensor]:
        """Return what the encoder reads: the soft tokens, and the prompt with its end token where there is one.

        Raises:
            FeatureError: A region has several tokens.
            RegionkitError: It is longer than the decoder's positions.
        """
        vectors = tokens.vectors()
        soft = self.mapper(normalize(vectors, dim=-1) if self.config.normalise else vectors)
        pieces = [(soft, tokens.mask.new_ones(soft.shape[:2]))]
        words = self.config.prompt if prompt is None else prompt
        if words:
            pieces += self._words([*self.tokenizer.encode(words), self.tokenizer.end], tokens)
        embeddings, valid = (torch.cat(parts, dim=1) for parts in zip(*pieces, strict=True))
        check_length(embeddings.shape[1], self.config.positions, "a region and the prompt", self._who())
        return {"inputs_embeds": embeddings, "attention_mask": valid.long()}

    def _targets(self, texts: Sequence[str], limit: int | None) -> tuple[Tensor, Tensor]:
        # Only training limits the length of texts; what is scored is scored as it stands.
        lower = self.config.lowercase and limit is not None
        return super()._targets([text.lower() for text in texts] if lower else texts, limit)
