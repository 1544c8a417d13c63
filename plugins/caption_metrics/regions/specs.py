"""Specs of the metrics of regions and answers."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, PaperSpec
from regionkit.plugins.caption_metrics.regions import dense_specs

_HERE = "regionkit.plugins.caption_metrics.regions"

COMPONENTS = [
    ComponentSpec(
        kind="metric",
        name="referring-iou",
        target=f"{_HERE}.referring:ReferringIou",
        summary="Overlap of the region that an expression was taken to mean with the one that it means (0 to 1)",
        paper="regionvlm",
    ),
    ComponentSpec(
        kind="metric",
        name="vqa-accuracy",
        target=f"{_HERE}.answers:VqaAccuracy",
        config=f"{_HERE}.configs:VqaAccuracyConfig",
        summary="Agreement of short answers with those of people, as VQA, A-OKVQA or GQA count it (0 to 1)",
        paper="vqa",
        # The kit's references are sentences; the release normalises articles away in predictions alone.
        tiny="{normalise: both}",
    ),
    ComponentSpec(
        kind="metric",
        name="vcr",
        target=f"{_HERE}.vcr:Vcr",
        config=f"{_HERE}.configs:VcrConfig",
        summary="Right choices among four answers, four reasons, and both (0 to 1)",
        paper="vcr",
    ),
    *dense_specs.COMPONENTS,
]

PAPERS: list[PaperSpec] = [
    PaperSpec(
        key="vqa",
        title="VQA: Visual Question Answering",
        bibtex="""@inproceedings{antol2015vqa,
  title     = {{VQA}: Visual Question Answering},
  author    = {Antol, Stanislaw and Agrawal, Aishwarya and Lu, Jiasen and Mitchell, Margaret and Batra, Dhruv and
               Zitnick, C. Lawrence and Parikh, Devi},
  booktitle = {Proceedings of the IEEE International Conference on Computer Vision},
  year      = {2015}
}""",
    ),
    PaperSpec(
        key="vcr",
        title="From Recognition to Cognition: Visual Commonsense Reasoning",
        bibtex="""@inproceedings{zellers2019recognition,
  title     = {From Recognition to Cognition: Visual Commonsense Reasoning},
  author    = {Zellers, Rowan and Bisk, Yonatan and Farhadi, Ali and Choi, Yejin},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2019}
}""",
    ),
    *dense_specs.PAPERS,
]
