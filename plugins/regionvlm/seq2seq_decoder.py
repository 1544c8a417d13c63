"""Region tokens and a prompt into an encoder and decoder of the T5 family.

Lee et al., Toward Interactive Regional Understanding in Vision-Large Language Models (RegionVLM), arXiv 2403.18260,
section 3, on BLIP-2's way into FlanT5: the tokens of a region stand before the embedded prompt in the encoder's input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from regionkit.core.features import RegionTokens
from regionkit.core.language.decoder import LanguageDecoder
from regionkit.core.language.generation import Request, Written, write
from regionkit.core.language.models import Naming, untie_output
from regionkit.core.language.regions import pieces_of, shares_of
from regionkit.core.language.rows import check_length, compact
from regionkit.plugins.regionvlm.seq2seq_config import SIZES, Seq2SeqTokensConfig

NAMING = Naming(
    "seq2seq",
    {
        "hidden": ("d_model", "hidden_size"),
        "layers": ("num_layers", "encoder_layers"),
        "decoder_layers": ("num_decoder_layers", "decoder_layers"),
        "heads": ("num_heads", "num_attention_heads"),
        "head_width": ("d_kv",),
        "ff": ("d_ff", "encoder_ffn_dim"),
        "ff_type": ("feed_forward_proj",),
        "tied": ("scale_decoder_outputs", "tie_word_embeddings"),  # transformers ties T5 always and keeps this of it
        "positions": ("max_position_embeddings",),
    },
)


class Seq2SeqTokens(LanguageDecoder):
    """Writes captions with an encoder and decoder; see :class:`Seq2SeqTokensConfig` for its options."""

    name = "seq2seq-tokens"
    naming = NAMING
    sizes = SIZES
    places_regions = True

    @classmethod
    def filled(cls, config: Seq2SeqTokensConfig) -> Seq2SeqTokensConfig:
        """Say the sizes that follow from others."""
        return dataclasses.replace(
            config,
            decoder_layers=config.decoder_layers or config.layers,
            head_width=config.head_width or config.hidden // config.heads,
        )

    @classmethod
    @torch.no_grad()
    def start_fresh(cls, model: Any) -> None:
        """Give an output layer of its own the weights that T5 gives a tied one by scaling: logits start small."""
        output = model.get_output_embeddings()
        if not getattr(model.config, "scale_decoder_outputs", True):
            untie_output(model)
            output.weight.mul_(output.weight.shape[1] ** -0.5)

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

    def _words(self, ids: Sequence[int], tokens: RegionTokens) -> list[tuple[Tensor, Tensor]]:
        """Return the embeddings (r, n, d) of words that every row reads, and that none of them is padding."""
        words = self._embed(ids).expand(len(tokens), -1, -1)
        return [(words, tokens.mask.new_ones(words.shape[:2]))]

    def _write(self, tokens: RegionTokens, prompt: str | None, request: Request) -> Written:
        options = request.options
        if options.max_tokens > self.config.positions:
            least = min(options.min_tokens, self.config.positions - 1)
            options = dataclasses.replace(options, max_tokens=self.config.positions, min_tokens=least)
        return write(self.model, self.encoder_inputs(tokens, prompt), dataclasses.replace(request, options=options))

    def _logits(self, tokens: RegionTokens, ids: Tensor, lengths: Tensor, prompt: str | None) -> Tensor:
        inputs = self.encoder_inputs(tokens, prompt)
        found: Tensor = self.model(**inputs, decoder_input_ids=self._shifted(ids)[:, :-1], use_cache=False).logits
        return found

    def _states(self, tokens: RegionTokens, ids: Tensor, lengths: Tensor, prompt: str | None, positions: str) -> Tensor:
        inputs = self.encoder_inputs(tokens, prompt)
        seen = self.model.get_encoder()(**inputs).last_hidden_state
        states: Tensor = self.model.get_decoder()(
            input_ids=self._shifted(ids),
            encoder_hidden_states=seen,
            encoder_attention_mask=inputs["attention_mask"],
            use_cache=False,
        ).last_hidden_state
        return states[:, :-1] if positions == "pred" else states[:, 1:]

    def _shifted(self, ids: Tensor) -> Tensor:
        """Return the start token and all ids (r, s + 1)."""
        check_length(ids.shape[1], self.config.positions, "a text's tokens", self._who())
        start = torch.full_like(ids[:, :1], self.model.config.decoder_start_token_id)
        return torch.cat([start, ids], dim=1)
