"""Specs of narratives with traces."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, DataCount, DataFile, DataRelease

_HERE = "regionkit.plugins.datasets.narratives"
_PAGE = "https://google.github.io/localized-narratives"
_FILES = "https://storage.googleapis.com/localized-narratives/annotations"
_VIDEO_PAGE = "https://google.github.io/video-localized-narratives"
_LICENSE = "CC-BY-4.0"


def _narratives(start: str, split: str, parts: int = 1) -> list[DataFile]:
    names = [f"{start}_localized_narratives.jsonl"]
    if parts > 1:
        names = [f"{start}_localized_narratives-{part:05}-of-{parts:05}.jsonl" for part in range(parts)]
    return [DataFile(name, f"{_FILES}/{name}", splits=(split,), what="narratives", optional=True) for name in names]


_LOCALIZED = DataRelease(
    folder="localized_narratives",
    homepage=_PAGE,
    files=(
        *_narratives("coco_val", "val"),
        *_narratives("coco_train", "train", 4),
        *_narratives("flickr30k_test", "test"),
        *_narratives("flickr30k_val", "val"),
        *_narratives("flickr30k_train", "train"),
        *_narratives("ade20k_validation", "validation"),
        *_narratives("ade20k_train", "train"),
        *_narratives("open_images_validation", "validation"),
        *_narratives("open_images_test", "test"),
        *_narratives("open_images_train_v6", "train", 10),
    ),
    counts=(
        DataCount("image", "val", 8_573),
        DataCount("image", "train", 134_272),
        DataCount("image", "validation", 41_691, options=("source=open-images",)),
        DataCount("image", "test", 126_020, options=("source=open-images",)),
        DataCount("image", "train", 507_444, options=("source=open-images",)),
    ),
    splits=("val", "train", "validation", "test"),
)

_VIDEO = DataRelease(
    folder="video_localized_narratives",
    homepage=_VIDEO_PAGE,
    files=(
        DataFile("*.jsonl", _VIDEO_PAGE, what="narratives"),
        DataFile("*/*.jpg", _VIDEO_PAGE, license="as their data sets'", what="keyframes, CLIP/KEYFRAME.jpg"),
    ),
    splits=("val", "train", "test"),
)

_MADE = "never released: toolkit data make trace-captions"

_TRACES = DataRelease(
    folder="trace_captions",
    homepage="https://github.com/Ruggero1912/Patch-ioner",
    files=(
        DataFile("trace_capt_coco_test.json", splits=("test",), what="captions and traces", optional=True),
        DataFile("trace_capt_flickr30k_test.json", splits=("test",), what="captions and traces", optional=True),
        *(
            DataFile(f"trace_capt_{source}_{split}.json", splits=(split,), what=_MADE, optional=True)
            for split in ("train", "val")
            for source in ("coco", "flickr30k")
        ),
    ),
    counts=(
        DataCount("trace", "test", samples=14_283, images=4_949),
        DataCount("trace", "test", samples=26_614, images=1_000, options=("source=flickr30k",)),
    ),
    splits=("test", "train", "val"),
)

COMPONENTS = [
    ComponentSpec(
        kind="dataset",
        name="localized-narratives",
        target=f"{_HERE}.localized:LocalizedNarratives",
        config=f"{_HERE}.configs:LocalizedNarrativesConfig",
        summary="Pictures described aloud while a mouse points, whole or by sentences with their traces",
        accepts=("trace", "image"),
        license=_LICENSE,
        release=_LOCALIZED,
    ),
    ComponentSpec(
        kind="dataset",
        name="video-localized-narratives",
        target=f"{_HERE}.video:VideoLocalizedNarratives",
        config=f"{_HERE}.configs:VideoNarrativesConfig",
        summary="Keyframes of clips with what was said, and drawn, of each actor",
        accepts=("trace",),
        license=_LICENSE,
        release=_VIDEO,
    ),
    ComponentSpec(
        kind="dataset",
        name="trace-captions",
        target=f"{_HERE}.traces:TraceCaptions",
        config=f"{_HERE}.configs:TraceCaptionsConfig",
        summary="The trace-captioning benchmark, and its builder from Localized Narratives",
        accepts=("trace",),
        needs=("judge",),
        license=_LICENSE,
        release=_TRACES,
    ),
]
