"""The component ``magic`` as the registry knows it; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import Checkpoint, ComponentSpec, Port

_HERE = "regionkit.plugins.zeroshot"

MAGIC = ComponentSpec(
    kind="decoder",
    name="magic",
    target=f"{_HERE}.magic:Magic",
    config=f"{_HERE}.magic_config:MagicConfig",
    summary="A language model beside which a text tower chooses each token, by contrastive search",
    paper="magic",
    reads=Port("text"),
    weights="index",
    reader=f"{_HERE}.caption_lm_layout:read_caption_lm",
    checkpoints=(
        Checkpoint(
            role="model",
            files=("magic_mscoco",),
            source="hub://cambridgeltl/magic_mscoco",
            license="see its repository",
            size="about 500 MB",
        ),
    ),
    tiny="{weights: none, hidden: 32, layers: 2, heads: 4, intermediate: 48, positions: 64, k: 6}",
)
