"""Specs of the tasks."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec

_HERE = "regionkit.plugins.tasks"


def _task(name: str, target: str, summary: str, config: str = "TaskOptions", paper: str = "") -> ComponentSpec:
    return ComponentSpec(
        kind="task",
        name=name,
        target=f"{_HERE}.{target}",
        config=f"{_HERE}.configs:{config}",
        summary=summary,
        paper=paper,
    )


COMPONENTS = [
    _task("image", "captioning:Image", "Caption a whole picture", paper="patchioner"),
    _task("point", "captioning:OneRegion", "Caption what a point shows"),
    _task("box", "captioning:OneRegion", "Caption what a box shows"),
    _task("mask", "captioning:OneRegion", "Caption what a mask shows"),
    _task("patch", "captioning:OneRegion", "Caption one patch of a grid", paper="patchioner"),
    _task("trace", "captioning:Trace", "Caption what a mouse passed over", paper="patchioner"),
    _task("box-set", "captioning:BoxSet", "Caption several boxes together", paper="patchioner"),
    _task("dense", "captioning:Dense", "Caption all boxes of a picture", "DenseOptions", "patchioner"),
    _task("phrase", "captioning:Phrase", "Name what a region shows with a phrase", paper="dam"),
    _task("keyword", "captioning:Keyword", "Name the category of a region, open-class", "KeywordOptions", "dam"),
    _task("detail", "captioning:Detail", "Describe a region in detail", "DetailOptions", "dam"),
    _task("video", "captioning:Video", "Describe a thing in a clip", "VideoOptions", "dam"),
    _task("ris", "questions:Ris", "Find which region an expression means", "RisOptions", "regionvlm"),
    _task("vqa", "questions:Vqa", "Answer a question about a picture", "VqaOptions", "regionvlm"),
    _task("vcr", "questions:Vcr", "Choose among answers about numbered regions", "VcrOptions", "regionvlm"),
]
