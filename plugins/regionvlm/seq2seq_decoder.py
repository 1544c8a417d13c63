"""Region tokens and a prompt into an encoder and decoder of the T5 family.

Lee et al., Toward Interactive Regional Understanding in Vision-Large Language Models (RegionVLM), arXiv 2403.18260,
section 3, on BLIP-2's way into FlanT5: the tokens of a region stand before the embedded prompt in the encoder's input.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from regionkit.core.features import RegionTokens
from regionkit.core.language.decoder import LanguageDecoder, check_length, compact
from regionkit.core.language.generation import Request, Written, write
from regionkit.core.language.models import Naming, untie_output
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

        Raises:
            RegionkitError: It is longer than the decoder's positions.
        """
        text = self.config.prompt if prompt is None else prompt
        words = self._embed([*self.tokenizer.encode(text), self.tokenizer.end]).expand(len(tokens), -1, -1)
        valid = torch.cat([tokens.mask, tokens.mask.new_ones(words.shape[:2])], dim=1)
        # Positions are relative: a gap of padding between region and prompt would move them apart.
        embeddings, valid = compact(torch.cat([tokens.tokens, words], dim=1), valid)
        check_length(embeddings.shape[1], self.config.positions, "a region and the prompt", self._who())
        return {"inputs_embeds": embeddings, "attention_mask": valid.long()}

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
