"""Reading released decoders of IFCap: ViECap's layout, and the layers that look at retrieved captions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from regionkit.core.contracts import WeightArtifact
from regionkit.core.weights import check_fit
from regionkit.plugins.zeroshot.ifcap import RetrievalMapper
from regionkit.plugins.zeroshot.ifcap_config import IfcapConfig
from regionkit.plugins.zeroshot.viecap_layout import read_decoder

_BLOCK = (
    r"norm[12]\.(?:weight|bias)|attn\.to_(?:queries|keys_values)\.weight|attn\.project\.(?:weight|bias)|"
    r"mlp\.fc[12]\.(?:weight|bias)"
)
#: What the release has beside ViECap's tensors.
LAYOUT: Mapping[str, str] = {
    r"mapping_network\.(rt_linear\.(?:weight|bias))": r"mapper.\1",
    rf"mapping_network\.(crossatt\.transformer\.layers\.0\.(?:{_BLOCK}))": r"mapper.\1",
}
_MAPPER = "mapper."
_MORE = (f"{_MAPPER}rt_linear.", f"{_MAPPER}crossatt.")


def read_ifcap(files: Mapping[str, Path], config: IfcapConfig) -> WeightArtifact:
    """Turn a released decoder into the tensors of ``ifcap``; its captions to retrieve are a bank, and not in the file.

    The file says neither in which space it was trained nor with which noise, only how wide the space is.

    Args:
        files: ``model``, the checkpoint, and ``tokenizer``, the file ``tokenizer.json`` of GPT-2.
        config: Options; ``heads`` and ``mapper_heads``, which no shape says, count.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown or missing, or the sizes contradict one another.
    """
    tensors, header = read_decoder(files, config, "ifcap", LAYOUT, _MORE)
    sizes = dict(header.config)
    with torch.device("meta"):
        mapper = RetrievalMapper(
            tensors["mapper.linear.weight"].shape[1],
            sizes["hidden"],
            sizes["prefix"],
            sizes["clip_length"],
            sizes["mapper_layers"],
            sizes["mapper_heads"],
        )
    own: dict[str, Tensor] = {name[len(_MAPPER) :]: tensors[name] for name in tensors if name.startswith(_MAPPER)}
    check_fit(mapper, own, files["model"])
    return WeightArtifact(tensors, dataclasses.replace(header, name="ifcap"))
