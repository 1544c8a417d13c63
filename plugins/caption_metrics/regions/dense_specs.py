"""Spec of dense captioning."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, PaperSpec

_HERE = "regionkit.plugins.caption_metrics.regions"

COMPONENTS = [
    ComponentSpec(
        kind="metric",
        name="dense-map",
        target=f"{_HERE}.dense:DenseMap",
        config=f"{_HERE}.dense_configs:DenseMapConfig",
        summary="Mean average precision of boxes and their captions, and what tied confidences do to it (0 to 1)",
        paper="densecap",
        extra="meteor",
        programs=("java",),
        tiny="{similarity: none}",
    ),
]

PAPERS = [
    PaperSpec(
        key="densecap",
        title="DenseCap: Fully Convolutional Localization Networks for Dense Captioning",
        bibtex="""@inproceedings{johnson2016densecap,
  title     = {{DenseCap}: Fully Convolutional Localization Networks for Dense Captioning},
  author    = {Johnson, Justin and Karpathy, Andrej and Fei-Fei, Li},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition},
  year      = {2016}
}""",
    ),
]
