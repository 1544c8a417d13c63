"""Decoders on causal language models: a prompt with the region in it, then the text.

Two papers meet here: DAM puts region tokens into the prompt, models that look at pictures themselves (which ViZer
trains) their own tokens of the picture.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from regionkit.core.features import RegionTokens
from regionkit.core.language.decoder import LanguageDecoder
from regionkit.core.language.generation import Request, Written, write
from regionkit.core.language.models import Naming
from regionkit.core.language.prefix import Prefix
from regionkit.core.language.rows import check_length, inside

#: How the sizes of :class:`~regionkit.core.language.options.CausalOptions` are called in transformers.
CAUSAL = Naming(
    "causal",
    {
        "hidden": ("hidden_size",),
        "layers": ("num_hidden_layers",),
        "heads": ("num_attention_heads",),
        "kv_heads": ("num_key_value_heads",),
        "intermediate": ("intermediate_size", "ffn_dim", "n_inner"),
        "positions": ("max_position_embeddings",),
    },
)


class CausalDecoder(LanguageDecoder):
    """A decoder whose model reads a prompt, with the region's tokens in it, and the text behind it."""

    @abstractmethod
    def spliced(self, tokens: RegionTokens, prompt: str | None = None) -> tuple[Tensor, Tensor]:
        """Return the embeddings (r, t, d) that the model reads before a text, and which of them are no padding.

        No row is padding alone: there is always a state that predicts a text's first token.
        """

    def prefix(self, tokens: RegionTokens, prompt: str | None = None) -> Prefix:
        """Return what :meth:`spliced` does, and what else the model is told of each position; by default nothing."""
        return Prefix(*self.spliced(tokens, prompt))

    def model_inputs(self, prefix: Prefix) -> dict[str, Tensor]:
        """Return the inputs of the model for a prefix whose padding stands at one end."""
        return {"inputs_embeds": prefix.embeddings, "attention_mask": prefix.valid.long()}

    @contextmanager
    def reading(self, prefix: Prefix) -> Iterator[None]:
        """Do what a model needs while it reads a prefix; its own inputs say all by default."""
        yield

    def _write(self, tokens: RegionTokens, prompt: str | None, request: Request) -> Written:
        prefix = self.prefix(tokens, prompt)
        lengths = prefix.valid.sum(dim=1)
        longest, limit = int(lengths.max()), request.options.max_tokens
        check_length(longest + 1, self.config.positions, "the prompt, its region and a first token", self._who())
        if longest + limit <= self.config.positions:
            return self._written(prefix, request)
        # The positions end some captions. Rows of one length go together: none may end earlier for its batch mates.
        made: dict[int, tuple[list[int], bool, int, float]] = {}
        for length in sorted(set(lengths.tolist())):
            rows = (lengths == length).nonzero().flatten()
            room = min(limit, self.config.positions - length)
            least = min(request.options.min_tokens, room - 1)
            part = dataclasses.replace(
                request,
                options=dataclasses.replace(request.options, max_tokens=room, min_tokens=least),
                rows=[request.rows[row] for row in rows.tolist()],
            )
            written = self._written(prefix.rows(rows), part)
            scores = written.log_likelihood or [0.0] * len(rows)
            texts = zip(written.ids, written.finished, written.counted, scores, strict=True)
            made |= zip(rows.tolist(), texts, strict=True)
        ids, finished, counted, kept = zip(*(made[row] for row in range(len(made))), strict=True)
        return Written(list(ids), list(finished), list(counted), list(kept) if request.options.beams == 1 else None)

    def _written(self, prefix: Prefix, request: Request) -> Written:
        prefix = prefix.compacted(left=True)
        with self.reading(prefix):
            return write(self.model, self.model_inputs(prefix), request)

    def _logits(self, tokens: RegionTokens, ids: Tensor, lengths: Tensor, prompt: str | None) -> Tensor:
        return self._logits_behind(self.prefix(tokens, prompt), ids, lengths)

    def _logits_behind(self, prefix: Prefix, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return the logits of ids (r, s) behind a prefix."""
        whole, starts = self._whole(prefix, ids[:, :-1], lengths - 1)
        last = whole.valid.shape[1] - 1
        places = starts.unsqueeze(1) - 1 + torch.arange(ids.shape[1], device=ids.device)
        places = places.clamp(max=last)  # of padding, whose logits nobody reads
        with self.reading(whole):
            inputs = {**self.model_inputs(whole), "use_cache": False}
            if "logits_to_keep" not in inspect.signature(self.model.forward).parameters:
                return _at(self.model(**inputs).logits, places)
            first = int(starts.min()) - 1
            columns = torch.arange(first, last + 1, device=ids.device)
            return _at(self.model(**inputs, logits_to_keep=columns).logits, places - first)

    def _states(self, tokens: RegionTokens, ids: Tensor, lengths: Tensor, prompt: str | None, positions: str) -> Tensor:
        whole, starts = self._whole(self.prefix(tokens, prompt), ids, lengths)
        with self.reading(whole):
            inner = self.model.base_model(**self.model_inputs(whole), use_cache=False)
        before = 1 if positions == "pred" else 0
        places = starts.unsqueeze(1) - before + torch.arange(ids.shape[1], device=ids.device)
        return _at(inner.last_hidden_state, places.clamp(max=whole.valid.shape[1] - 1))

    def _whole(self, prefix: Prefix, ids: Tensor, lengths: Tensor) -> tuple[Prefix, Tensor]:
        """Return prompt, region and text, padded on the right, and where each text starts (r,)."""
        starts = prefix.valid.sum(dim=1)
        words = self.model.get_input_embeddings()(ids)
        whole = prefix.followed_by(words, inside(ids, lengths)).compacted()
        check_length(whole.valid.shape[1], self.config.positions, "the prompt, its region and the text", self._who())
        return whole, starts


def _at(values: Tensor, places: Tensor) -> Tensor:
    """Return (r, s, d) values of (r, t, d) at places (r, s)."""
    return values.gather(1, places.unsqueeze(-1).expand(-1, -1, values.shape[2]))
