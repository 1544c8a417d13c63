"""Reading CLIP as it is released for ``invite``, which has no weights of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from regionkit.core.contracts import WeightArtifact
from regionkit.core.spec import Space
from regionkit.plugins.patchioner.backbones.clip_layouts import read_clip
from regionkit.plugins.patchioner.backbones.invite_config import InviteConfig, invite_spaces


def read_invite(files: Mapping[str, Path], config: InviteConfig) -> WeightArtifact:
    """Turn official checkpoints of CLIP into the tensors of ``invite``, under the names that ``clip`` has too.

    Args:
        files: As :func:`~regionkit.plugins.patchioner.backbones.clip_layouts.read_clip` takes them.
        config: Options; they say which model is meant.

    Raises:
        WeightsError: As there; or more blocks are to be masked than the checkpoint has.
    """
    artifact = read_clip(files, config, "invite")
    dim = Space.parse(artifact.header.space).dim
    space = invite_spaces(dataclasses.replace(config, dim=dim))[0]
    return dataclasses.replace(artifact, header=dataclasses.replace(artifact.header, name="invite", space=space))
