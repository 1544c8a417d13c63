"""Specs of data sets of clips."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, DataCount, DataFile, DataRelease

_HERE = "regionkit.plugins.datasets.video"
_HC_STVG = "https://github.com/tzhhhh123/HC-STVG"
_VIDEOREFER = "https://huggingface.co/datasets/DAMO-NLP-SG/VideoRefer-Bench"

_HC_STVG_RELEASE = DataRelease(
    folder="hc-stvg",
    homepage=_HC_STVG,
    splits=("val", "train", "test"),
    files=(
        DataFile("val_v2.json", _HC_STVG, splits=("val",), what="boxes and sentences of release: v2"),
        DataFile("train_v2.json", _HC_STVG, splits=("train",), what="boxes and sentences of release: v2"),
        DataFile("test.json", _HC_STVG, splits=("test",), what="boxes and sentences of release: v1", optional=True),
        DataFile("train.json", _HC_STVG, splits=("train",), what="boxes and sentences of release: v1", optional=True),
        DataFile(
            "hc_stvg_eval.json",
            "https://github.com/DAMO-NLP-SG/VideoRefer",
            splits=("test",),
            what="masks and sentences of release: videorefer",
            optional=True,
        ),
        DataFile(
            "video/*", _HC_STVG, what="films, in folders or not; or folders of frames below frames", optional=True
        ),
    ),
    counts=(
        DataCount("video", "val", 2_000),
        DataCount("video", "train", 10_131),
        DataCount("video", "test", 1_160, options=("release=v1",)),
        DataCount("video", "train", 4_500, options=("release=v1",)),
    ),
)

_VIDEOREFER_RELEASE = DataRelease(
    folder="videorefer-bench",
    homepage="https://github.com/DAMO-NLP-SG/VideoRefer",
    splits=("test",),
    files=(
        DataFile(
            "VideoRefer-Bench-D.json", f"{_VIDEOREFER}/blob/main/VideoRefer-Bench-D.json", what="masks and captions"
        ),
        DataFile(
            "Panda-70M-part/*",
            f"{_VIDEOREFER}/blob/main/Panda-70M-part.zip",
            license="research only, of Panda-70M",
            what="clips",
            archive="Panda-70M-part.zip",
        ),
    ),
    counts=(DataCount("video", "test", 400),),
)

COMPONENTS = [
    ComponentSpec(
        kind="dataset",
        name="hc-stvg",
        target=f"{_HERE}.hc_stvg:HcStvg",
        config=f"{_HERE}.configs:HcStvgConfig",
        summary="HC-STVG: people in films, a track of boxes and a sentence each (video files: extra 'video')",
        accepts=("video",),
        license="see homepage",
        release=_HC_STVG_RELEASE,
    ),
    ComponentSpec(
        kind="dataset",
        name="videorefer-d",
        target=f"{_HERE}.videorefer:VideoReferD",
        config=f"{_HERE}.configs:VideoReferConfig",
        summary="VideoRefer-Bench-D: objects of clips, a track of masks and a description each (extra 'video')",
        paper="videorefer",
        accepts=("video",),
        license="see homepage",
        release=_VIDEOREFER_RELEASE,
    ),
]
