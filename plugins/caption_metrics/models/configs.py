"""Options of the metrics that judge with a model, torch-free."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageTextCosineConfig:
    """Options of ``image-text-cosine``.

    Attributes:
        backbone: Name of the backbone that judges, one with a class token and a text tower, such as ``mini-clip`` or
            ``clip``. It should be no part of the pipelines that it judges: what they were trained to agree with has no
            say on whether they do.
    """

    backbone: str
