"""The component ``close`` as the registry knows it; strings and dataclasses only."""

from __future__ import annotations

from regionkit.core.spec import Checkpoint, ComponentSpec, Port

_HERE = "regionkit.plugins.zeroshot"
_RELEASE = "https://ai2-prior-close.s3.us-west-2.amazonaws.com/models/s-cap/r0/state-ep8.pth"

CLOSE = ComponentSpec(
    kind="decoder",
    name="close",
    target=f"{_HERE}.close:Close",
    config=f"{_HERE}.close_config:CloseConfig",
    summary="CLOSE: a T5 whose encoder reads four tokens of the vector, trained on text only",
    paper="close",
    reads=Port("weights"),
    weights="index",
    reader=f"{_HERE}.close_layout:read_close",
    checkpoints=(
        Checkpoint(
            role="model",
            files=("state-ep8.pth", "state-ep*.pth", "best-state.pth"),
            source=_RELEASE,
            license="Apache-2.0",
            size="about 890 MB for 223 million weights in float32",
        ),
        Checkpoint(
            role="language",
            files=("t5-base", "t5-*", "t5_model"),
            source="hub://google-t5/t5-base",
            license="Apache-2.0",
            size="892 MB for 223 million weights in float32",
            shared=True,
        ),
    ),
    tiny="{weights: none, hidden: 32, layers: 2, decoder_layers: 2, heads: 4, ff: 48, positions: 128}",
)
