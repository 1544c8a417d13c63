"""Specs of the data sets of regions: where their files come from, and how many samples they hold."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, DataCount, DataFile, DataRelease

_HERE = "regionkit.plugins.datasets.regions"
_VG = "https://homes.cs.washington.edu/~ranjay/visualgenome/api.html"
_VG_DATA = "https://homes.cs.washington.edu/~ranjay/visualgenome/data/dataset"
_VG_IMAGES = "https://cs.stanford.edu/people/rak248"
_CONTROLCAP = "https://github.com/callsys/ControlCap"
_COCO = "http://images.cocodataset.org/zips"
_REFER = "https://github.com/lichengunc/refer"
_REFER_DATA = "https://bvisionweb1.cs.unc.edu/licheng/referit/data"
_OSPREY = "https://github.com/CircleRadon/Osprey"
_REF_L4 = "https://huggingface.co/datasets/JierunChen/Ref-L4"
_DLC = "https://huggingface.co/datasets/nvidia/DLC-Bench"
_ENTITIES = "https://github.com/BryanPlummer/flickr30k_entities"
_CC_BY = "CC-BY-4.0"


def _visual_genome(images: tuple[int, int, int], release: str) -> DataRelease:
    test, val, train = images
    controlcap = tuple(
        DataFile(
            f"controlcap/{release}/{split}.json",
            _CONTROLCAP,
            splits=(split,),
            what="phrases and boxes of source: controlcap",
            optional=True,
        )
        for split in ("test", "val", "train")
    )
    files = (
        DataFile(
            "region_descriptions.json",
            f"{_VG_DATA}/region_descriptions.json.zip",
            what="phrases and boxes, version 1.2",
            archive="region_descriptions.json.zip",
        ),
        DataFile("image_data.json", f"{_VG_DATA}/image_data.json.zip", what="sizes", archive="image_data.json.zip"),
        DataFile(
            "info/densecap_splits.json",
            "https://github.com/jcjohnson/densecap",
            license="MIT",
            what="numbers of the pictures of each split",
        ),
        DataFile("VG_100K_2/*.jpg", f"{_VG_IMAGES}/VG_100K_2/images2.zip", what="pictures", archive="images2.zip"),
        DataFile("VG_100K/*.jpg", f"{_VG_IMAGES}/VG_100K_2/images.zip", what="pictures", archive="images.zip"),
        *controlcap,
    )
    counts = tuple(
        DataCount(task, split, images=count)
        for task in ("dense", "box", "phrase")
        for split, count in (("test", test), ("val", val), ("train", train))
    )
    return DataRelease("visual-genome", _VG, files, counts, ("test", "val", "train"))


def _refer(
    own: str, split_bys: tuple[str, ...], splits: tuple[str, ...], counts: tuple[DataCount, ...] = ()
) -> DataRelease:
    archive = f"{own}.zip"
    source = f"{_REFER_DATA}/{archive}"
    refs = tuple(
        DataFile(
            f"{own}/refs({split_by}).p",
            source,
            what=f"expressions in the splits of {split_by}",
            optional=split_by != split_bys[0],
            archive=archive,
        )
        for split_by in split_bys
    )
    files = (
        *refs,
        DataFile(f"{own}/instances.json", source, what="masks and boxes", archive=archive),
        DataFile(
            "../coco/train2014/*.jpg",
            f"{_COCO}/train2014.zip",
            license=_CC_BY,
            what="pictures",
            archive="train2014.zip",
        ),
    )
    return DataRelease("refer", _REFER, files, counts, splits)


def _osprey(file: str, objects: int) -> DataRelease:
    files = (
        DataFile(file, _OSPREY, what="categories and masks"),
        DataFile(
            "../coco/train2017/*.jpg",
            f"{_COCO}/train2017.zip",
            license=_CC_BY,
            what="pictures",
            archive="train2017.zip",
        ),
        DataFile(
            "../coco/val2017/*.jpg", f"{_COCO}/val2017.zip", license=_CC_BY, what="pictures", archive="val2017.zip"
        ),
    )
    counts = tuple(DataCount(task, "val", objects, 1_000) for task in ("keyword", "mask"))
    return DataRelease("osprey", _OSPREY, files, counts, ("val",))


COMPONENTS = [
    ComponentSpec(
        kind="dataset",
        name="visual-genome",
        target=f"{_HERE}.visual_genome:VisualGenome",
        config=f"{_HERE}.configs:VisualGenomeConfig",
        summary="Boxes with phrases of Visual Genome 1.2, for dense captioning",
        accepts=("box", "phrase", "dense"),
        license=_CC_BY,
        release=_visual_genome((5_000, 5_000, 77_398), "vg1.2"),
    ),
    ComponentSpec(
        kind="dataset",
        name="vg-coco",
        target=f"{_HERE}.visual_genome:VgCoco",
        config=f"{_HERE}.configs:VisualGenomeConfig",
        summary="Boxes with phrases of Visual Genome's pictures that are COCO's",
        accepts=("box", "phrase", "dense"),
        license=_CC_BY,
        release=_visual_genome((2_476, 2_489, 38_080), "vgcoco"),
    ),
    ComponentSpec(
        kind="dataset",
        name="refcoco",
        target=f"{_HERE}.refer:Refcoco",
        config=f"{_HERE}.configs:RefcocoConfig",
        summary="Masks and boxes with short referring expressions",
        accepts=("ris", "mask", "box"),
        requires=("pycocotools",),
        extra="data",
        license="Apache-2.0",
        release=_refer(
            "refcoco",
            ("unc", "google"),
            ("val", "testA", "testB", "test", "train"),
            (
                DataCount("ris", "val", 10_834, 1_500),
                DataCount("ris", "testA", 5_657, 750),
                DataCount("ris", "testB", 5_095, 750),
            ),
        ),
    ),
    ComponentSpec(
        kind="dataset",
        name="refcoco-plus",
        target=f"{_HERE}.refer:RefcocoPlus",
        config=f"{_HERE}.configs:RefcocoPlusConfig",
        summary="Masks and boxes with referring expressions without places",
        accepts=("ris", "mask", "box"),
        requires=("pycocotools",),
        extra="data",
        license="Apache-2.0",
        release=_refer(
            "refcoco+",
            ("unc",),
            ("val", "testA", "testB", "train"),
            (
                DataCount("ris", "val", 10_758, 1_500),
                DataCount("ris", "testA", 5_726, 750),
                DataCount("ris", "testB", 4_889, 750),
            ),
        ),
    ),
    ComponentSpec(
        kind="dataset",
        name="refcocog",
        target=f"{_HERE}.refer:Refcocog",
        config=f"{_HERE}.configs:RefcocogConfig",
        summary="Masks and boxes with longer referring expressions",
        accepts=("ris", "mask", "box"),
        requires=("pycocotools",),
        extra="data",
        license=_CC_BY,
        release=_refer(
            "refcocog",
            ("umd", "google"),
            ("val", "test", "train"),
            (DataCount("ris", "val", 4_896, 1_300), DataCount("ris", "test", 9_602, 2_600)),
        ),
    ),
    ComponentSpec(
        kind="dataset",
        name="lvis",
        target=f"{_HERE}.osprey:Lvis",
        config=f"{_HERE}.configs:OspreyConfig",
        summary="Masks of 1,000 pictures of LVIS with their categories",
        accepts=("keyword", "mask"),
        requires=("pycocotools",),
        extra="data",
        license=_CC_BY,
        release=_osprey("lvis_val_1k_category.json", 4_004),
    ),
    ComponentSpec(
        kind="dataset",
        name="paco",
        target=f"{_HERE}.osprey:Paco",
        config=f"{_HERE}.configs:OspreyConfig",
        summary="Masks of objects and parts of 1,000 pictures of PACO",
        accepts=("keyword", "mask"),
        requires=("pycocotools",),
        extra="data",
        license="MIT",
        release=_osprey("paco_val_1k_category.json", 4_263),
    ),
    ComponentSpec(
        kind="dataset",
        name="ref-l4",
        target=f"{_HERE}.ref_l4:RefL4",
        config=f"{_HERE}.configs:RefL4Config",
        summary="Boxes with long expressions, of Objects365 and COCO",
        accepts=("detail", "box"),
        license="CC-BY-NC-4.0",
        release=DataRelease(
            "ref-l4",
            _REF_L4,
            (
                DataFile("ref-l4-test.*", f"{_REF_L4}/resolve/main/ref-l4-test.parquet", splits=("test",), what="rows"),
                DataFile("ref-l4-val.*", f"{_REF_L4}/resolve/main/ref-l4-val.parquet", splits=("val",), what="rows"),
                DataFile(
                    "images/*.jpg",
                    f"{_REF_L4}/resolve/main/images.tar.gz",
                    license=_CC_BY,
                    what="pictures",
                    archive="images.tar.gz",
                ),
            ),
            (
                DataCount("box", "test", 38_110, options=("part=all",)),
                DataCount("box", "val", 7_231, options=("part=all",)),
            ),
            ("test", "val"),
        ),
    ),
    ComponentSpec(
        kind="dataset",
        name="dlc-bench",
        target=f"{_HERE}.dlc_bench:DlcBench",
        config=f"{_HERE}.configs:DlcBenchConfig",
        summary="Masks whose detailed descriptions are judged by questions",
        accepts=("detail",),
        requires=("pycocotools",),
        extra="data",
        license="CC-BY-NC-SA-4.0",
        release=DataRelease(
            "DLC-Bench",
            _DLC,
            (
                DataFile("annotations.json", _DLC, what="masks"),
                DataFile("qa.json", _DLC, what="questions"),
                DataFile("class_names.json", _DLC, what="names"),
                DataFile("images/*", _DLC, license="terms of Objects365", what="pictures"),
            ),
            (DataCount("detail", "test", 100),),
            ("test",),
        ),
    ),
    ComponentSpec(
        kind="dataset",
        name="flickr30k-phrases",
        target=f"{_HERE}.flickr30k_phrases:Flickr30kPhrases",
        config=f"{_HERE}.configs:Flickr30kPhrasesConfig",
        summary="Phrases of Flickr30k Entities with their boxes",
        accepts=("phrase",),
        license="Flickr30k terms: research and education only",
        release=DataRelease(
            "flickr30k-entities",
            _ENTITIES,
            (
                DataFile("Annotations/*.xml", _ENTITIES, what="boxes", archive="annotations.zip"),
                DataFile("Sentences/*.txt", _ENTITIES, what="sentences with phrases", archive="annotations.zip"),
                *(
                    DataFile(f"{split}.txt", _ENTITIES, splits=(split,), what="numbers of its pictures")
                    for split in ("test", "val", "train")
                ),
                DataFile(
                    "../flickr30k/flickr30k-images/*.jpg",
                    "https://shannon.cs.illinois.edu/DenotationGraph/",
                    license="Flickr's terms of use",
                    what="pictures",
                    archive="flickr30k-images.tar.gz",
                ),
            ),
            (DataCount("phrase", "test", images=1_000),),
            ("test", "val", "train"),
        ),
    ),
]
