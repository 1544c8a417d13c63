"""Data sets and sentences from files: benchmarks as their authors release them, and data of the user's own."""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec
from regionkit.plugins.datasets.captions import specs as captions
from regionkit.plugins.datasets.narratives import specs as narratives
from regionkit.plugins.datasets.own import specs as own
from regionkit.plugins.datasets.questions import specs as questions
from regionkit.plugins.datasets.regions import specs as regions
from regionkit.plugins.datasets.video import specs as video

_HERE = "regionkit.plugins.datasets"


@hookimpl
def regionkit_components() -> list[ComponentSpec]:
    """Return the data sets, and the corpora that read caption files."""
    return [
        *captions.COMPONENTS,
        *narratives.COMPONENTS,
        *own.COMPONENTS,
        *questions.COMPONENTS,
        *regions.COMPONENTS,
        *video.COMPONENTS,
        ComponentSpec(
            kind="corpus",
            name="coco-captions",
            target=f"{_HERE}.corpora:CocoCaptions",
            config=f"{_HERE}.configs:CocoCaptionsConfig",
            summary="Captions of a COCO caption file, or of Karpathy's dataset_coco.json with its splits",
        ),
        ComponentSpec(
            kind="corpus",
            name="text-lines",
            target=f"{_HERE}.corpora:TextLines",
            config=f"{_HERE}.configs:TextLinesConfig",
            summary="A text file with one sentence a line, .txt or .txt.gz",
        ),
        ComponentSpec(
            kind="corpus",
            name="webdataset",
            target=f"{_HERE}.corpora_shards:WebdatasetTexts",
            config=f"{_HERE}.configs:WebdatasetTextsConfig",
            summary="Texts beside pictures in tar files, .tar or .tar.gz, as webdataset and img2dataset write them",
        ),
        ComponentSpec(
            kind="corpus",
            name="references",
            target=f"{_HERE}.corpora_references:References",
            config=f"{_HERE}.configs:ReferencesConfig",
            summary="All references of a task and split of a data set, for ground-truth memories",
            needs=("dataset",),
            tiny="{dataset: mini, task: image, split: test, limit: 4}",
        ),
        ComponentSpec(
            kind="corpus",
            name="joined",
            target=f"{_HERE}.corpora_references:Joined",
            config=f"{_HERE}.configs:JoinedConfig",
            summary="Two or three corpora, one after the other",
            needs=("first:corpus", "second:corpus", "third:corpus"),
            tiny="{first: {name: mini-captions, size: 8}, second: {name: mini-captions, size: 8, seed: 1}}",
        ),
    ]
