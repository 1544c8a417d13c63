"""Specs of the metrics that ask a judge."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, PaperSpec

_HERE = "regionkit.plugins.judges.metrics"

COMPONENTS = [
    ComponentSpec(
        kind="metric",
        name="clair",
        target=f"{_HERE}.clair:Clair",
        config=f"{_HERE}.configs:ClairConfig",
        summary="How likely a judge finds it that caption and references are of one image (0 to 1)",
        paper="clair",
        needs=("judge",),
        tiny="{judge: stand-in}",
    ),
    ComponentSpec(
        kind="metric",
        name="dlc-bench",
        target=f"{_HERE}.dlc_bench:DlcBench",
        config=f"{_HERE}.configs:DlcBenchConfig",
        summary="Points for details that a caption has right, and for those it leaves out rightly",
        paper="dam",
        needs=("judge",),
        tiny="{judge: stand-in}",
    ),
    ComponentSpec(
        kind="metric",
        name="videorefer-d",
        target=f"{_HERE}.videorefer_d:VideoReferD",
        config=f"{_HERE}.configs:VideoReferConfig",
        summary="Four scores of a description of an object in a clip, and their mean (0 to 5)",
        paper="videorefer",
        needs=("judge",),
        tiny="{judge: stand-in}",
    ),
    ComponentSpec(
        kind="metric",
        name="caption-reward",
        target=f"{_HERE}.caption_reward:CaptionReward",
        config=f"{_HERE}.configs:CaptionRewardConfig",
        summary="Mark from A to E that a judge gives a caption beside its reference (0 to 1)",
        paper="vizer",
        needs=("judge",),
        tiny="{judge: stand-in}",
    ),
]

PAPERS = [
    PaperSpec(
        key="clair",
        title="CLAIR: Evaluating Image Captions with Large Language Models",
        bibtex="""@inproceedings{chan2023clair,
  title     = {{CLAIR}: Evaluating Image Captions with Large Language Models},
  author    = {Chan, David M. and Petryk, Suzanne and Gonzalez, Joseph E. and Darrell, Trevor and Canny, John},
  booktitle = {Proceedings of the 2023 Conference on Empirical Methods in Natural Language Processing},
  year      = {2023}
}""",
    ),
    PaperSpec(
        key="videorefer",
        title="VideoRefer Suite: Advancing Spatial-Temporal Object Understanding with Video LLM",
        bibtex="""@inproceedings{yuan2025videorefer,
  title     = {{VideoRefer} Suite: Advancing Spatial-Temporal Object Understanding with Video {LLM}},
  author    = {Yuan, Yuqian and others},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year      = {2025}
}""",
    ),
]
