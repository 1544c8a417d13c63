"""Reading released decoders of IFCap: ViECap's layout, and the layers that look at retrieved captions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from regionkit.core.contracts import WeightArtifact
from regionkit.plugins.zeroshot.gpt2_layout import BLOCK, read_prefix_decoder
from regionkit.plugins.zeroshot.ifcap import make_retrieval_mapper
from regionkit.plugins.zeroshot.ifcap_config import IfcapConfig
from regionkit.plugins.zeroshot.viecap_layout import VIECAP

#: What the release has beside ViECap's tensors.
LAYOUT: Mapping[str, str] = {
    r"mapping_network\.(rt_linear\.(?:weight|bias))": r"mapper.\1",
    rf"mapping_network\.(crossatt\.transformer\.layers\.0\.{BLOCK})": r"mapper.\1",
}


def read_ifcap(files: Mapping[str, Path], config: IfcapConfig) -> WeightArtifact:
    """Turn a released decoder into the tensors of ``ifcap``; its captions to retrieve are a bank, and not in the file.

    The file says neither in which space it was trained nor with which noise, only how wide the space is.

    Args:
        files: ``model``, the checkpoint, and ``tokenizer``, the file ``tokenizer.json`` of GPT-2.
        config: Options; ``heads`` and ``mapper_heads``, which no shape says, count.

    Raises:
        WeightsError: A file is missing or damaged, a tensor is unknown or missing, or the sizes contradict one another.
    """
    return WeightArtifact(*read_prefix_decoder(files, config, "ifcap", (VIECAP,), LAYOUT, make_retrieval_mapper))
