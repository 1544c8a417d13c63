"""Reading SigLIP's vision tower as it is released, alone or as the tower of a whole model, into ``siglip``'s names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regionkit.core.checkpoints import as_floats, read_checkpoint, rename
from regionkit.core.contracts import WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.vision.siglip_layout import COUNTS, TOWER, TOWER_RULES, tower_sizes
from regionkit.core.weights import UNNAMED, WeightHeader, check_fit
from regionkit.plugins.dam.configs import SiglipConfig
from regionkit.plugins.dam.released import AGAIN
from regionkit.plugins.dam.siglip import Siglip

#: The embedding of masks that a release keeps in its tower; it is the focal prompt's.
MASK_EMBEDDING = TOWER + r"embeddings\.mask_patch_embedding\.(weight|bias)"
#: Known and not needed.
_ASIDE = (
    MASK_EMBEDDING,
    TOWER + r"head\..*",  # pools the patches into one vector, which no part here reads
    COUNTS,
    r"text_model\..*|logit_scale|logit_bias",  # the other tower of a whole SigLIP
    r"(?:llm|mm_projector|context_provider)\..*",  # the other parts of a whole captioner, each with its own reader
)


def read_siglip(files: Mapping[str, Path], config: SiglipConfig) -> WeightArtifact:
    """Turn an official checkpoint into the tensors of ``siglip``.

    Args:
        files: ``vision``: a file, or a folder with its ``config.json``.
        config: Options.

    Raises:
        WeightsError: It is damaged, a tensor is unknown, missing or of another shape, or its sizes cannot be told.
    """
    path = files["vision"]
    found = read_checkpoint(path)
    tensors = as_floats(rename(found, TOWER_RULES, path, _ASIDE), path)
    sizes = tower_sizes(tensors, path)
    tuned = any(re.fullmatch(MASK_EMBEDDING, name) for name in found)
    # A tower that was tuned with masks is another space than the original of the same sizes.
    options: dict[str, Any] = {"model": config.model or ("dam" if tuned else ""), **sizes}
    try:
        whole = dataclasses.replace(config, **options)
    except ValueError as error:
        raise WeightsError(f"{path}: the checkpoint has impossible sizes: {error}", AGAIN) from None
    check_fit(Siglip.skeleton(whole), tensors, path)
    # The space's name is made of what stands in `config` here, so only its width is said.
    header = WeightHeader(
        "backbone",
        "siglip",
        f"{UNNAMED}[{sizes['width']}]",
        config=options,
        license="see its repository",
    )
    return WeightArtifact(tensors, header)
