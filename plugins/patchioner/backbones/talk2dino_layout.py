"""Reading Talk2DINO as it is released: DINOv2, CLIP's text tower and the projection lie in three files.

Two different projections are released under the one name ``vitb_mlp_infonce.pth``:

================  ==================================================================================================
sha256            where, and for what
================  ==================================================================================================
5f6efcc520f22916  Talk2DINO's own repository (md5 ccd4242bfc5486d91c72d971aca3d637)
5db3e85d8745a621  the copy in Patch-ioner's repository (md5 5250b546d0ff468ed1775161c75d8f02); it fits the released
                  vocabulary of ViECap in this space (cosine 0.996, against 0.905 of the other) and so, almost
                  certainly, the released decoders and memories
================  ==================================================================================================

The header says which one was read: ``extra["projection_sha256"]``, all 64 digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.files import sha256_of
from regionkit.plugins.patchioner.backbones.clip_layout import read_clip_towers, text_sizes
from regionkit.plugins.patchioner.backbones.dinov2_layout import dinov2_sizes, read_dinov2
from regionkit.plugins.patchioner.backbones.layouts import artifact_of, merges_tokenizer, require
from regionkit.plugins.patchioner.backbones.talk2dino import Talk2Dino
from regionkit.plugins.patchioner.backbones.talk2dino_config import Talk2DinoConfig

PROJECTION: dict[str, str] = {
    r"linear_layer\.(weight|bias)": r"projection.linear_layer.\1",
    r"hidden_layers\.0\.(weight|bias)": r"projection.hidden_layers.0.\1",
    r"linear_layer2\.(weight|bias)": r"projection.hidden_layers.0.\1",  # older files
}
#: First digits of the hash of the projection that Patch-ioner's released decoders and memories do not fit.
_OWN_PROJECTION = "5f6efcc520f22916"
_NOTE = (
    "its projection is the file of Talk2DINO's own repository; the decoders and memories that Patch-ioner released fit "
    "the other file of this name (sha256 5db3e85d8745a621...), see docs/weights.md"
)
_ROLES = {"vision": "DINOv2 ViT-B/14 with registers", "text": "CLIP B/16", "projection": "the projection of Talk2DINO"}


def read_talk2dino(files: Mapping[str, Path], config: Talk2DinoConfig) -> WeightArtifact:
    """Turn official checkpoints into the tensors of ``dinov2-talk2dino``.

    Args:
        files: ``vision``, ``text``, ``projection`` and ``merges``.
        config: Options.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown, missing or of another shape, or the files do
            not belong together.
    """
    require(files, _ROLES, "dinov2-talk2dino")
    tensors = read_dinov2(files["vision"])
    tensors |= read_clip_towers(files["text"], vision=False)
    tensors |= read_projection(files["projection"])
    vision, side = dinov2_sizes(tensors, str(files["vision"]))
    sizes = {**vision, **text_sizes(tensors, str(files["text"]))}
    projection = files["projection"]
    return artifact_of(
        Talk2Dino,
        config,
        tensors,
        merges_tokenizer(files, sizes["vocabulary"], "dinov2-talk2dino"),
        sizes=sizes,
        side=side * sizes["patch"],
        source=", ".join(str(files[role]) for role in _ROLES),
        license="Apache-2.0 (DINOv2), MIT (CLIP), Talk2DINO: see its repository",
        extra=_said_of(projection),
    )


def _said_of(projection: Path) -> dict[str, object]:
    """Return what the header says of the projection: which one it is, and a note where it is the other one."""
    if not projection.is_file():
        return {}
    digest = sha256_of(projection)
    return {"projection_sha256": digest, **({"notes": [_NOTE]} if digest.startswith(_OWN_PROJECTION) else {})}


def read_projection(path: Path) -> dict[str, Tensor]:
    """Read Talk2DINO's projection, under our names.

    Raises:
        WeightsError: A tensor is not accounted for.
    """
    return as_floats(rename(read_checkpoint(path), PROJECTION, path), path)
