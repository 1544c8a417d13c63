"""Reading CLIP as it is released for ``invite``, which has no weights of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from regionkit.core.contracts import WeightArtifact
from regionkit.plugins.patchioner.backbones.clip_layout import read_clip
from regionkit.plugins.patchioner.backbones.invite import Invite
from regionkit.plugins.patchioner.backbones.invite_config import InviteConfig


def read_invite(files: Mapping[str, Path], config: InviteConfig) -> WeightArtifact:
    """Turn official checkpoints of CLIP into the tensors of ``invite``, under the names that ``clip`` has too.

    Args:
        files: As :func:`~regionkit.plugins.patchioner.backbones.clip_layout.read_clip` takes them.
        config: Options; they say which model is meant.

    Raises:
        WeightsError: As there; or more blocks are to be masked than the checkpoint has.
    """
    return read_clip(files, config, Invite)
