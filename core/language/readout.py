"""From last hidden states to logits, as each family of transformers does it behind its output layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from regionkit.core.errors import FeatureError

#: Fields by which a family caps logits softly (Gemma 2, arXiv 2408.00118, section 2), multiplies them, divides them.
_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
_FACTORS = ("logit_scale", "lm_head_multiplier")
_DIVISORS = ("logits_scaling",)
#: How far logits may be from the model's own, as a share of the largest, by rounding alone.
_CLOSE, _CLOSE_HALF = 1e-3, 5e-2


def read_out(model: Any, states: Tensor) -> Tensor:
    """Return logits (..., ids) of last hidden states (..., d), scaled and capped as the model's config says.

    Families disagree on what a field means; :func:`check_read_out` sees whether this is what the model does.
    """
    config = model.config
    if getattr(config, "scale_decoder_outputs", False):  # T5, where the layer is that of the words
        states = states * config.d_model**-0.5
    logits: Tensor = model.get_output_embeddings()(states)
    for factor in _numbers(model, _FACTORS):
        logits = logits * factor
    for divisor in _numbers(model, _DIVISORS):
        logits = logits / divisor
    for cap in _numbers(model, _CAPS):
        logits = (logits / cap).tanh() * cap
    bias = getattr(model, "final_logits_bias", None)  # of the BART family
    return logits if bias is None else logits + bias


def check_read_out(model: Any, states: Tensor, own: Tensor, who: str) -> None:
    """Check that :func:`read_out` makes of last hidden states what the model itself made of them.

    Args:
        model: A language model of transformers.
        states: (..., d).
        own: (..., ids) the model's logits there.
        who: Whose model it is, for messages: ``decoder 'NAME'``.

    Raises:
        FeatureError: It does not, beyond rounding.
    """
    if _same(read_out(model, states), own):
        return
    said = _text_config(model).to_dict()
    names = (*_CAPS, *_FACTORS, *_DIVISORS, "output_multiplier")
    fields = ", ".join(f"{name}: {said[name]}" for name in names if said.get(name) not in (None, 1))
    raise FeatureError(
        f"{who}: models of family '{model.config.model_type}' change what their output layer says"
        f"{f' ({fields})' if fields else ''} in a way that is not known here, so its logits cannot be read",
        "choose a decoder of another family, or a training that needs no distribution of words",
    )


@contextmanager
def evaluating(part: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode for a while, and each part of it back into its own."""
    modes = [(inner, inner.training) for inner in part.modules()]
    part.eval()  # dropout would set two runs apart
    try:
        yield
    finally:
        for inner, mode in modes:
            inner.training = mode


def _same(found: Tensor, own: Tensor) -> bool:
    """Say whether logits are equal but for rounding."""
    if found.shape != own.shape:
        return False
    half = min(torch.finfo(found.dtype).bits, torch.finfo(own.dtype).bits) < 32
    found, own = found.float(), own.float()
    largest = own[own.isfinite()].abs().max().item() if bool(own.isfinite().any()) else 0.0
    return torch.allclose(found, own, rtol=0.0, atol=(_CLOSE_HALF if half else _CLOSE) * largest, equal_nan=True)


def _numbers(model: Any, names: Sequence[str]) -> list[float]:
    config = _text_config(model)
    found = [getattr(config, name, None) for name in names]
    return [float(value) for value in found if isinstance(value, int | float) and value]


def _text_config(model: Any) -> Any:
    """Return the config of the part that writes: a model of pictures or with an encoder keeps one of its own for it."""
    for name in ("text_config", "decoder"):
        inner = getattr(model.config, name, None)
        if hasattr(inner, "to_dict"):
            return inner
    return model.config
