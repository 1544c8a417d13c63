"""Metrics over captions: CIDEr-D, F1 over the nouns and attributes that they name, agreement with the picture."""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, PaperSpec

_HERE = "regionkit.plugins.caption_metrics"


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """The metrics of this plugin."""
    return [
        ComponentSpec(
            kind="metric",
            name="cider-d",
            target=f"{_HERE}.cider:CiderD",
            config=f"{_HERE}.configs:CiderDConfig",
            summary="Consensus of n-grams with the references, weighted by how rare they are (0 to 10)",
            paper="cider",
        ),
        ComponentSpec(
            kind="metric",
            name="noun-f1",
            target=f"{_HERE}.terms:NounF1",
            config=f"{_HERE}.configs:TermF1Config",
            summary="F1 between the nouns that a caption names and those of its region (0 to 1)",
        ),
        ComponentSpec(
            kind="metric",
            name="attribute-f1",
            target=f"{_HERE}.terms:AttributeF1",
            config=f"{_HERE}.configs:TermF1Config",
            summary="F1 between the attributes that a caption names and those of its region (0 to 1)",
        ),
        ComponentSpec(
            kind="metric",
            name="referring-iou",
            target=f"{_HERE}.referring:ReferringIou",
            summary="Overlap of the region that an expression was taken to mean with the one that it means (0 to 1)",
            paper="regionvlm",
        ),
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


@hookimpl
def regionkit_papers() -> list[PaperSpec]:
    """Papers that the metrics come from."""
    return [
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
