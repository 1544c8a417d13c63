"""Specs of data sets of the user's own."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec

_HERE = "regionkit.plugins.datasets.own"
_TASKS = (
    "image", "point", "box", "box-set", "mask", "trace", "patch", "dense", "phrase", "keyword", "detail", "ris", "vqa",
    "vcr",
)  # fmt: skip

COMPONENTS = [
    ComponentSpec(
        kind="dataset",
        name="jsonl",
        target=f"{_HERE}.jsonl:Jsonl",
        config=f"{_HERE}.configs:JsonlConfig",
        summary="Pictures and regions of your own: a JSONL file and a folder",
        accepts=_TASKS,
        license="your own",
    ),
    ComponentSpec(
        kind="dataset",
        name="webdataset",
        target=f"{_HERE}.webdataset:Webdataset",
        config=f"{_HERE}.configs:WebdatasetConfig",
        summary="Pictures and captions in tar files, as webdataset and img2dataset write them",
        accepts=("image",),
        license="that of the shards",
    ),
]
