"""Specs of the metrics over n-grams that captions share with references."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, PaperSpec

_HERE = "regionkit.plugins.caption_metrics.overlap"

COMPONENTS = [
    ComponentSpec(
        kind="metric",
        name="cider-d",
        target=f"{_HERE}.cider:CiderD",
        config=f"{_HERE}.configs:CiderDConfig",
        summary="Consensus of n-grams with the references, weighted by how rare they are (0 to 10)",
        paper="cider",
    ),
]

PAPERS: list[PaperSpec] = [
    PaperSpec(
        key="cider",
        title="CIDEr: Consensus-based Image Description Evaluation",
        bibtex="""@inproceedings{vedantam2015cider,
  title     = {CIDEr: Consensus-based Image Description Evaluation},
  author    = {Vedantam, Ramakrishna and Zitnick, C. Lawrence and Parikh, Devi},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition},
  year      = {2015}
}""",
    ),
]
