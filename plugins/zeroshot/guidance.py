"""What guides a language model from outside: unit vectors of texts, and the model's cache in pairs of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import DynamicCache

from regionkit.core.contracts import iter_batches
from regionkit.core.errors import FeatureError
from regionkit.core.texts import BATCH

Encode = Callable[[Sequence[str]], Tensor]
#: Keys and values of each layer, (rows, heads, tokens, width of a head).
Pairs = list[tuple[Tensor, Tensor]]


class TextVectors:
    """Unit vectors of texts, each text encoded once.

    Args:
        encode: A text tower: n sentences to (n, d).
        who: Whom it guides, for messages: ``decoder 'NAME'``.
        device: Where the vectors are wanted.
    """

    def __init__(self, encode: Encode, who: str, device: torch.device) -> None:
        self._encode, self._who, self._device = encode, who, device
        self._rows: dict[str, int] = {}
        self._vectors: list[Tensor] = []

    @torch.no_grad()
    def cosines(self, vectors: Tensor, texts: Sequence[Sequence[str]]) -> Tensor:
        """Return (r, k) cosines between r unit vectors (r, d) and k texts of each.

        Raises:
            FeatureError: The text tower gives NaN.
        """
        self._take([text for row in texts for text in row])
        known = torch.cat(self._vectors)
        self._vectors = [known]
        places = [[self._rows[text] for text in row] for row in texts]
        return torch.einsum("rd,rkd->rk", vectors, known[torch.tensor(places, device=self._device)])

    def _take(self, texts: Sequence[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if text not in self._rows]
        for part in iter_batches(len(new), BATCH):
            found = normalize(self._encode(new[part]).detach().to(self._device).float(), dim=-1)
            if not bool(found.isfinite().all()):
                bad = int((~found.isfinite()).any(dim=1).nonzero()[0])
                raise FeatureError(
                    f"the text tower that guides {self._who} gives NaN or infinite values for '{new[part][bad]}'",
                    "check the backbone's weights: toolkit weights list; half precision can overflow: try float32",
                )
            self._rows |= {text: len(self._rows) + place for place, text in enumerate(new[part])}
            self._vectors.append(found)


def pairs_of(cache: Any) -> Pairs:
    """Return the keys and values that a cache of transformers holds."""
    return [(layer.keys, layer.values) for layer in cache.layers]


def inputs_of(ids: Tensor, pairs: Pairs) -> dict[str, Any]:
    """Return the inputs of a model of transformers for ids (rows, t) behind keys and values, which gradients reach.

    All that stands there counts, so the mask is full; without one the model wonders whether an id means padding.
    """
    past = pairs[0][0].shape[2] if pairs else 0
    cache = DynamicCache(ddp_cache_data=pairs) if pairs else None
    mask = ids.new_ones(ids.shape[0], past + ids.shape[1])
    return {"input_ids": ids, "attention_mask": mask, "past_key_values": cache, "use_cache": True}


def picked(pairs: Pairs, rows: Tensor) -> Pairs:
    """Return some rows of keys and values, one as often as it is named."""
    return [(keys[rows], values[rows]) for keys, values in pairs]


def check_numbers(logits: Tensor, who: str) -> None:
    """Check the logits (rows, ids) of a model.

    Raises:
        FeatureError: One is NaN.
    """
    lost = logits.isnan().any(dim=-1)
    if bool(lost.any()):
        raise FeatureError(
            f"{who} computed NaN for {int(lost.sum())} of {len(lost)} texts, so it wrote no caption",
            "its weights are damaged, or numbers were too large for the type that it computes in",
            "check them with: toolkit weights list; or compute in float32",
        )
