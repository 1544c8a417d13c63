"""Specs of the metrics that judge with a model."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, PaperSpec

_HERE = "regionkit.plugins.caption_metrics.models"

COMPONENTS = [
    ComponentSpec(
        kind="metric",
        name="image-text-cosine",
        target=f"{_HERE}.agreement:ImageTextCosine",
        config=f"{_HERE}.configs:ImageTextCosineConfig",
        summary="Cosine of a caption and the whole picture in a backbone that is no part of the pipeline (-1 to 1)",
        paper="clipscore",
        needs=("backbone",),
        tiny="{backbone: stand-in}",
    ),
]

PAPERS: list[PaperSpec] = [
    PaperSpec(
        key="clipscore",
        title="CLIPScore: A Reference-free Evaluation Metric for Image Captioning",
        bibtex="""@inproceedings{hessel2021clipscore,
  title     = {{CLIPScore}: A Reference-free Evaluation Metric for Image Captioning},
  author    = {Hessel, Jack and Holtzman, Ari and Forbes, Maxwell and Le Bras, Ronan and Choi, Yejin},
  booktitle = {Proceedings of the 2021 Conference on Empirical Methods in Natural Language Processing},
  year      = {2021}
}""",
    ),
]
