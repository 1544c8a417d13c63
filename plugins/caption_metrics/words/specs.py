"""Specs of the metrics over words and phrases that captions hold."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, PaperSpec

_HERE = "regionkit.plugins.caption_metrics.words"

COMPONENTS = [
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
        name="semantic-iou",
        target=f"{_HERE}.semantic_iou:SemanticIou",
        config=f"{_HERE}.configs:SemanticIouConfig",
        summary="Words that a phrase shares with the category of its region, as on LVIS and PACO (0 to 1)",
        paper="osprey",
    ),
    ComponentSpec(
        kind="metric",
        name="chair",
        target=f"{_HERE}.chair:Chair",
        config=f"{_HERE}.configs:ChairConfig",
        summary="Captions, and mentions, of objects that the picture does not show (0 to 1, lower is better)",
        paper="chair",
    ),
    ComponentSpec(
        kind="metric",
        name="distinct-n",
        target=f"{_HERE}.diversity:Distinct",
        config=f"{_HERE}.configs:DistinctConfig",
        summary="Distinct n-grams of all captions over all their n-grams (0 to 1)",
        paper="distinct-n",
    ),
    ComponentSpec(
        kind="metric",
        name="length",
        target=f"{_HERE}.diversity:Length",
        config=f"{_HERE}.configs:LengthConfig",
        summary="Words a caption; neither more nor fewer is better",
    ),
    ComponentSpec(
        kind="metric",
        name="generic-rate",
        target=f"{_HERE}.generic:GenericRate",
        config=f"{_HERE}.configs:GenericRateConfig",
        summary="Captions that name nothing, or are the same for many pictures (0 to 1, lower is better)",
    ),
]

PAPERS: list[PaperSpec] = [
    PaperSpec(
        key="chair",
        title="Object Hallucination in Image Captioning",
        bibtex="""@inproceedings{rohrbach2018object,
  title     = {Object Hallucination in Image Captioning},
  author    = {Rohrbach, Anna and Hendricks, Lisa Anne and Burns, Kaylee and Darrell, Trevor and Saenko, Kate},
  booktitle = {Proceedings of the 2018 Conference on Empirical Methods in Natural Language Processing},
  year      = {2018}
}""",
    ),
    PaperSpec(
        key="distinct-n",
        title="A Diversity-Promoting Objective Function for Neural Conversation Models",
        bibtex="""@inproceedings{li2016diversity,
  title     = {A Diversity-Promoting Objective Function for Neural Conversation Models},
  author    = {Li, Jiwei and Galley, Michel and Brockett, Chris and Gao, Jianfeng and Dolan, Bill},
  booktitle = {Proceedings of the 2016 Conference of the North American Chapter of the Association for Computational
               Linguistics: Human Language Technologies},
  year      = {2016}
}""",
    ),
    PaperSpec(
        key="osprey",
        title="Osprey: Pixel Understanding with Visual Instruction Tuning",
        bibtex="""@inproceedings{yuan2024osprey,
  title     = {Osprey: Pixel Understanding with Visual Instruction Tuning},
  author    = {Yuan, Yuqian and Li, Wentong and Liu, Jian and Tang, Dongqi and Luo, Xinjie and Qin, Chi and Zhang, Lei
               and Zhu, Jianke},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2024}
}""",
    ),
]
