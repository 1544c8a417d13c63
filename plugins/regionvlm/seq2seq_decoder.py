"""Region tokens and a prompt into an encoder and decoder of the T5 family.

Lee et al., Toward Interactive Regional Understanding in Vision-Large Language Models (RegionVLM), arXiv 2403.18260,
section 3, on BLIP-2's way into FlanT5: the tokens of a region stand before the embedded prompt in the encoder's input.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regionkit.core.features import RegionTokens
from regionkit.core.language.options import SEQ2SEQ_SIZES
from regionkit.core.language.regions import pieces_of, shares_of
from regionkit.core.language.rows import check_length, compact
from regionkit.core.language.seq2seq import Seq2SeqDecoder


class Seq2SeqTokens(Seq2SeqDecoder):
    """Writes captions with an encoder and decoder; see ``Seq2SeqTokensConfig`` for its options."""

    name = "seq2seq-tokens"
    sizes = SEQ2SEQ_SIZES
    places_regions = True

    def encoder_inputs(self, tokens: RegionTokens, prompt: str | None = None) -> dict[str, Tensor]:
        """Return what the encoder reads: region tokens, then the prompt and its end token (alone if it is empty).

        Where the prompt has marks, the tokens of each region stand in its mark's place; each piece of text between
        them is tokenised for itself, as the released code embeds them, and the end token comes last alone.

        Raises:
            FeatureError: The tokens cannot be shared out equally among the marks.
            RegionkitError: It is longer than the decoder's positions.
        """
        first, *others = pieces_of(self.config.prompt if prompt is None else prompt)
        shares = shares_of(tokens, len(others), self._who()) if others else [tokens]
        # Without a mark the region stands before all text; with marks, the piece before the first comes before it.
        ids = [self.tokenizer.encode(piece) for piece in others or [first]]
        ids[-1] = [*ids[-1], self.tokenizer.end]
        pieces = self._words(self.tokenizer.encode(first), tokens) if others else []
        for share, words in zip(shares, ids, strict=True):
            pieces += [(share.tokens, share.mask), *self._words(words, tokens)]
        # Positions are relative: a gap of padding between region and prompt would move them apart.
        embeddings, valid = compact(*(torch.cat(parts, dim=1) for parts in zip(*pieces, strict=True)))
        check_length(embeddings.shape[1], self.config.positions, "a region and the prompt", self._who())
        return {"inputs_embeds": embeddings, "attention_mask": valid.long()}
