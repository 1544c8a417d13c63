"""Decoders on an encoder and decoder of the T5 family: the encoder reads the region and a prompt, the decoder writes.

Two papers meet here: RegionVLM's captioner reads region tokens as they are, CLOSE's what a linear layer makes of one.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache

from regionkit.core.features import RegionTokens
from regionkit.core.language.decoder import LanguageDecoder
from regionkit.core.language.generation import Request, Written, write
from regionkit.core.language.models import Naming, untie_output
from regionkit.core.language.rows import check_length

#: How the sizes of :class:`~regionkit.core.language.options.Seq2SeqOptions` are called in transformers.
SEQ2SEQ = Naming(
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


class Seq2SeqDecoder(LanguageDecoder):
    """A decoder whose encoder reads a region and a prompt, and whose decoder writes the text."""

    naming = SEQ2SEQ

    @classmethod
    def filled(cls, config: Any) -> Any:
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

    @abstractmethod
    def encoder_inputs(self, tokens: RegionTokens, prompt: str | None = None) -> dict[str, Tensor]:
        """Return what the encoder reads, ``inputs_embeds`` (r, t, d) and ``attention_mask`` (r, t), padded at the end.

        Raises:
            FeatureError: The tokens are not what the decoder reads.
            RegionkitError: It is longer than the decoder's positions.
        """

    def _words(self, ids: Sequence[int], tokens: RegionTokens) -> list[tuple[Tensor, Tensor]]:
        """Return the embeddings (r, n, d) of words that every row reads, and that none of them is padding."""
        words = self._embed(ids).expand(len(tokens), -1, -1)
        return [(words, tokens.mask.new_ones(words.shape[:2]))]

    def _write(self, tokens: RegionTokens, prompt: str | None, request: Request) -> Written:
        options = request.options
        if options.max_tokens > self.config.positions:
            least = min(options.min_tokens, self.config.positions - 1)
            options = dataclasses.replace(options, max_tokens=self.config.positions, min_tokens=least)
        inputs = self.encoder_inputs(tokens, prompt)
        # The cache that transformers makes by itself has as many layers as the encoder.
        cache: Any = EncoderDecoderCache(DynamicCache(), DynamicCache())
        return write(self.model, {**inputs, "past_key_values": cache}, dataclasses.replace(request, options=options))

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
