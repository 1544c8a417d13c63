"""Specs of the data sets of captions: where their files come from, and how many samples they hold."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, DataCount, DataFile, DataRelease

_HERE = "regionkit.plugins.datasets.captions"
_COCO = "https://cocodataset.org"
_COCO_FILES = "http://images.cocodataset.org"
_KARPATHY = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
_PATCHIONER = "https://github.com/Ruggero1912/Patch-ioner"
_FLICKR = "https://shannon.cs.illinois.edu/DenotationGraph"
_NOCAPS = "https://nocaps.org"
_NOCAPS_FILES = "https://s3.amazonaws.com/nocaps"
_CC3M = "https://ai.google.com/research/ConceptualCaptions"
_OPEN = "https://storage.googleapis.com/openimages/web/index.html"
_OPEN_FILES = "https://storage.googleapis.com/openimages/2018_04"
_CC_BY = "CC-BY-4.0"
_FLICKR_LICENSE = "research only (Flickr terms of use)"
_COCO_SPLITS = ("test", "val", "train", "val2014", "train2014", "val2017", "train2017")


def _coco_pictures(splits: tuple[str, ...] = (), prefix: str = "") -> tuple[DataFile, ...]:
    years = (("val2014", ("test", "val", "train", "val2014")), ("train2014", ("train", "train2014")))
    return tuple(
        DataFile(
            f"{prefix}{year}/*.jpg",
            f"{_COCO_FILES}/zips/{year}.zip",
            license="Flickr terms of use",
            splits=splits or needed,
            what="pictures",
            archive=f"{year}.zip",
        )
        for year, needed in years
        if not splits or year == "val2014"
    )


_COCO_RELEASE = DataRelease(
    "coco",
    _COCO,
    (
        DataFile("dataset_coco.json", _KARPATHY, splits=("test", "val", "train"), what="captions and splits",
                 optional=True, archive="caption_datasets.zip"),
        DataFile("coco-karpathy-test-images.json", _PATCHIONER, splits=("test",), optional=True,
                 sha256="1bc06a593fdccce8a608c16525f1c65a33591ac5527aec08167dc90689a992ad",
                 what="pictures of the test split, for source: coco"),
        DataFile("annotations/captions_val2014.json", f"{_COCO_FILES}/annotations/annotations_trainval2014.zip",
                 splits=("test", "val", "train", "val2014"), what="captions, for source: coco", optional=True,
                 archive="annotations_trainval2014.zip"),
        DataFile("annotations/captions_train2014.json", f"{_COCO_FILES}/annotations/annotations_trainval2014.zip",
                 splits=("train", "train2014"), what="captions, for source: coco", optional=True,
                 archive="annotations_trainval2014.zip"),
        DataFile("annotations/captions_*2017.json", f"{_COCO_FILES}/annotations/annotations_trainval2017.zip",
                 splits=("val2017", "train2017"), what="captions", optional=True,
                 archive="annotations_trainval2017.zip"),
        *_coco_pictures(),
    ),
    (
        DataCount("image", "test", 5_000, 5_000),
        DataCount("image", "val", 5_000, 5_000),
        DataCount("image", "train", 113_287, 113_287),
        DataCount("image", "train", 82_783, 82_783, ("restval=false",)),
        DataCount("image", "val2014", 40_504, 40_504),
        DataCount("image", "train2014", 82_783, 82_783),
        DataCount("image", "val2017", 5_000, 5_000),
        DataCount("image", "train2017", 118_287, 118_287),
    ),
    _COCO_SPLITS,
)  # fmt: skip

_FLICKR_RELEASE = DataRelease(
    "flickr30k",
    _FLICKR,
    (
        DataFile("dataset_flickr30k.json", _KARPATHY, what="captions and splits", optional=True,
                 archive="caption_datasets.zip"),
        DataFile("flickr30k_test.json", _PATCHIONER, splits=("test",), what="captions, for source: coco", optional=True,
                 sha256="1fd4616eab0c66ca553d62421f4d4cbf4bf5bc0adc1c3451aec742c0273edba1"),
        DataFile("flickr30k-images/*.jpg", _FLICKR, what="pictures", archive="flickr30k-images.tar.gz"),
    ),
    (
        DataCount("image", "test", 1_000, 1_000),
        DataCount("image", "val", 1_014, 1_014),
        DataCount("image", "train", 29_000, 29_000),
    ),
    ("test", "val", "train"),
)  # fmt: skip

_COCO_ENTITIES_RELEASE = DataRelease(
    "coco-entities",
    "https://github.com/aimagelab/show-control-and-tell",
    (
        DataFile("coco_entities_test.json", _PATCHIONER, what="sets of boxes with captions",
                 sha256="8f60b7758c404f6c78ceaaaf446ac0b62e7840cc1279b2ede787f196c47e52b4"),
        *_coco_pictures(("test",), "../coco/"),
    ),
    (DataCount("box-set", "test", 6_617, 3_569),),
    ("test",),
)  # fmt: skip

_FLICKR_ENTITIES_RELEASE = DataRelease(
    "flickr30k-entities",
    "https://github.com/BryanPlummer/flickr30k_entities",
    (
        DataFile("flickr30k_entities_test.json", _PATCHIONER, what="sets of boxes with captions",
                 sha256="54d159d511176596c2f7ad9c6e75b642cc10deaf0d03a28e688956d9ed0cbfb3"),
        DataFile("../flickr30k/flickr30k-images/*.jpg", _FLICKR, what="pictures", archive="flickr30k-images.tar.gz"),
    ),
    (DataCount("box-set", "test", 3_968, 999),),
    ("test",),
)  # fmt: skip

_NOCAPS_RELEASE = DataRelease(
    "nocaps",
    _NOCAPS,
    (
        DataFile("nocaps_val_4500_captions.json", f"{_NOCAPS_FILES}/nocaps_val_4500_captions.json", splits=("val",),
                 what="captions"),
        DataFile("nocaps_test_image_info.json", f"{_NOCAPS_FILES}/nocaps_test_image_info.json", splits=("test",),
                 what="pictures of the test split"),
        DataFile("images/*.jpg", _OPEN, what="pictures"),
    ),
    (DataCount("image", "val", 4_500, 4_500), DataCount("image", "test", 10_600, 10_600)),
    ("val", "test"),
)  # fmt: skip

_CC3M_RELEASE = DataRelease(
    "cc3m",
    _CC3M,
    (
        DataFile("Validation_GCC-1.1.0-Validation.tsv", _CC3M, splits=("val",), what="captions and addresses"),
        DataFile("Train_GCC-training.tsv", _CC3M, splits=("train",), what="captions and addresses"),
        DataFile("val/**/*.jpg", "", splits=("val",), what="pictures from those addresses"),
        DataFile("train/**/*.jpg", "", splits=("train",), what="pictures from those addresses"),
    ),
    (
        DataCount("image", "val", 15_840, options=("only_present=false",)),
        DataCount("image", "train", 3_318_333, options=("only_present=false",)),
    ),
    ("val", "train"),
)

_OPEN_RELEASE = DataRelease(
    "open-images",
    _OPEN,
    (
        DataFile("train_*/*.jpg", "s3://open-images-dataset/tar/train_0.tar.gz and so on to f", splits=("train",),
                 what="pictures"),
        DataFile("validation/*.jpg", "s3://open-images-dataset/tar/validation.tar.gz", splits=("validation",),
                 what="pictures", archive="validation.tar.gz"),
        DataFile("test/*.jpg", "s3://open-images-dataset/tar/test.tar.gz", splits=("test",), what="pictures",
                 archive="test.tar.gz"),
        DataFile("train-images-boxable-with-rotation.csv",
                 f"{_OPEN_FILES}/train/train-images-boxable-with-rotation.csv", splits=("train",),
                 what="ids, for images: table", optional=True),
        DataFile("validation-images-with-rotation.csv",
                 f"{_OPEN_FILES}/validation/validation-images-with-rotation.csv", splits=("validation",),
                 what="ids, for images: table", optional=True),
        DataFile("test-images-with-rotation.csv", f"{_OPEN_FILES}/test/test-images-with-rotation.csv",
                 splits=("test",), what="ids, for images: table", optional=True),
    ),
    (
        DataCount("image", "train", 1_743_042, 1_743_042, ("images=table",)),
        DataCount("image", "validation", 41_620, 41_620, ("images=table",)),
        DataCount("image", "test", 125_436, 125_436, ("images=table",)),
    ),
    ("train", "validation", "test"),
)  # fmt: skip


def _spec(
    name: str, target: str, config: str, summary: str, license: str, release: DataRelease, task: str = "image"
) -> ComponentSpec:
    return ComponentSpec(
        kind="dataset",
        name=name,
        target=f"{_HERE}.{target}",
        config=f"{_HERE}.configs:{config}",
        summary=summary,
        accepts=(task,),
        license=license,
        release=release,
    )


COMPONENTS = [
    _spec("coco", "coco:Coco", "CocoConfig", "COCO captions, in Karpathy's splits or its own", _CC_BY, _COCO_RELEASE),
    _spec("flickr30k", "flickr30k:Flickr30k", "Flickr30kConfig", "Flickr30k captions, in Karpathy's splits",
          _FLICKR_LICENSE, _FLICKR_RELEASE),
    _spec("coco-entities", "entities:CocoEntities", "EntitiesConfig", "Captions of sets of boxes on pictures of COCO",
          _CC_BY, _COCO_ENTITIES_RELEASE, "box-set"),
    _spec("flickr30k-entities", "entities:Flickr30kEntities", "EntitiesConfig",
          "Captions of sets of boxes on pictures of Flickr30k", _FLICKR_LICENSE, _FLICKR_ENTITIES_RELEASE, "box-set"),
    _spec("nocaps", "nocaps:Nocaps", "NocapsConfig", "Pictures with objects that COCO has not, ten captions each",
          "CC-BY-2.0", _NOCAPS_RELEASE),
    _spec("cc3m", "cc3m:Cc3m", "Cc3mConfig", "Conceptual Captions 3M, with the pictures that were downloaded",
          "free for any use, as Google says", _CC3M_RELEASE),
    _spec("open-images", "open_images:OpenImages", "OpenImagesConfig", "Pictures of Open Images, without captions",
          "CC-BY-2.0 (pictures)", _OPEN_RELEASE),
]  # fmt: skip
