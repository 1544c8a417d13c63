"""Options of the ``prefix-lm`` decoder, free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from regionkit.plugins.zeroshot.prefix_config import PrefixOptions


@dataclass(frozen=True)
class PrefixLmConfig(PrefixOptions):
    """Options of :class:`~regionkit.plugins.zeroshot.prefix_lm.PrefixLm`.

    One linear map to one soft token, as the larger decoders of Patch-ioner's table 4 have it.
    """

    max_length: int = 20  # released training script of Patch-ioner
    label_smoothing: float = 0.1  # released training script of Patch-ioner
