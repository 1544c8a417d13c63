"""The beam search of ClipCap's release, which CapDec's and ViECap's repeat.

Unlike that of transformers it keeps ended captions among the beams, where they take the places of others, and compares
all by their mean log-probability a token at every step. Source: the released captioning code of CapDec.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from regionkit.core.language.generation import Request

#: What stands behind the end of a beam; it is cut off.
_FILL = 0


def search(model: Any, before: Tensor, request: Request, also: int | None = None) -> tuple[list[int], bool]:
    """Write one text behind embeddings.

    Args:
        model: A causal language model of transformers.
        before: (t, d), without padding.
        request: What is to be written; of it the end token alone ends a text.
        also: A token that ends a text as well.

    Returns:
        The ids of the best beam without the end token, but with ``also``, and whether it ended.
    """
    options, count = request.options, request.options.beams
    output = model(inputs_embeds=before.unsqueeze(0), use_cache=True)
    cache = output.past_key_values
    cache.batch_repeat_interleave(count)
    first = _likely(output.logits, request, 0, also)[0]
    sums, chosen = first.topk(count)
    written, lengths = chosen.unsqueeze(1), torch.ones_like(sums)
    ends = torch.tensor([request.end, request.end if also is None else also], device=chosen.device)
    ended = torch.isin(chosen, ends)
    for step in range(1, options.max_tokens):
        if bool(ended.all()):
            break
        words = model.get_input_embeddings()(chosen).unsqueeze(1)
        output = model(inputs_embeds=words, past_key_values=cache, use_cache=True)
        likely = _likely(output.logits, request, step, also).masked_fill(ended.unsqueeze(1), -torch.inf)
        likely[ended, _FILL] = 0.0
        lengths = lengths + (~ended).to(lengths.dtype)
        means = (sums.unsqueeze(1) + likely) / (lengths**options.length_penalty).unsqueeze(1)
        best, places = means.flatten().topk(count)
        source, chosen = places // means.shape[1], places % means.shape[1]
        lengths, ended = lengths[source], ended[source]
        sums = best * lengths**options.length_penalty
        written = torch.cat([written[source], chosen.unsqueeze(1)], dim=1)
        ended = ended | torch.isin(chosen, ends)
        cache.reorder_cache(source)
    winner = int((sums / lengths**options.length_penalty).argmax())
    ids = written[winner, : int(lengths[winner])].tolist()
    return ids[:-1] if ids[-1] == request.end else ids, bool(ended[winner])


def _likely(logits: Tensor, request: Request, step: int, also: int | None) -> Tensor:
    """Return log-probabilities (r, ids) of the next token; what may not be written is impossible."""
    likely = logits[:, -1].float().log_softmax(dim=-1)
    likely[:, request.tokenizer.size :] = -torch.inf
    if step < request.options.min_tokens:
        likely[:, request.end] = -torch.inf
    if also is not None and step + 1 < request.options.min_tokens:  # it is part of the text that it ends
        likely[:, also] = -torch.inf
    return likely
