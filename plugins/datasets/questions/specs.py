"""Specs of data sets of questions."""

from __future__ import annotations

from regionkit.core.spec import ComponentSpec, DataCount, DataFile, DataRelease

_HERE = "regionkit.plugins.datasets.questions"
_COCO = "http://images.cocodataset.org"
_VQA = "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa"
_OK_VQA = "https://okvqa.allenai.org/static/data"
_GQA = "https://downloads.cs.stanford.edu/nlp/data/gqa"
_VCR = "https://visualcommonsense.com/download/"
_PICTURES = "pictures: terms of Flickr"


def _coco(pattern: str, year: str, *splits: str) -> DataFile:
    """Return the pictures of one split of COCO, which are those of some splits of questions."""
    return DataFile(
        f"{year}/{pattern}",
        f"{_COCO}/zips/{year}.zip",
        license=_PICTURES,
        splits=splits,
        what="pictures, or below ../coco",
        optional=True,
        archive=f"{year}.zip",
    )


def _vqav2(name: str, what: str, archive: str, split: str) -> DataFile:
    return DataFile(name, f"{_VQA}/{archive}", splits=(split,), what=what, archive=archive)


_VQA_V2 = DataRelease(
    folder="vqav2",
    homepage="https://visualqa.org/download.html",
    splits=("val", "train", "test-dev2015", "test2015"),
    files=(
        _vqav2("v2_OpenEnded_mscoco_val2014_questions.json", "questions", "v2_Questions_Val_mscoco.zip", "val"),
        _vqav2("v2_mscoco_val2014_annotations.json", "answers", "v2_Annotations_Val_mscoco.zip", "val"),
        _vqav2("v2_OpenEnded_mscoco_train2014_questions.json", "questions", "v2_Questions_Train_mscoco.zip", "train"),
        _vqav2("v2_mscoco_train2014_annotations.json", "answers", "v2_Annotations_Train_mscoco.zip", "train"),
        _vqav2(
            "v2_OpenEnded_mscoco_test-dev2015_questions.json",
            "questions",
            "v2_Questions_Test_mscoco.zip",
            "test-dev2015",
        ),
        _vqav2("v2_OpenEnded_mscoco_test2015_questions.json", "questions", "v2_Questions_Test_mscoco.zip", "test2015"),
        _coco("COCO_val2014_*.jpg", "val2014", "val"),
        _coco("COCO_train2014_*.jpg", "train2014", "train"),
        _coco("COCO_test2015_*.jpg", "test2015", "test-dev2015", "test2015"),
    ),
    counts=(
        DataCount("vqa", "val", 214_354, 40_504),
        DataCount("vqa", "train", 443_757, 82_783),
        DataCount("vqa", "test-dev2015", 107_394),
        DataCount("vqa", "test2015", 447_793, 81_434),
    ),
)

_OK_VQA_RELEASE = DataRelease(
    folder="ok-vqa",
    homepage="https://okvqa.allenai.org",
    splits=("val", "train"),
    files=(
        *(
            DataFile(
                f"{name}.json", f"{_OK_VQA}/{name}.json.zip", splits=(split,), what=what, archive=f"{name}.json.zip"
            )
            for split in ("val", "train")
            for name, what in (
                (f"OpenEnded_mscoco_{split}2014_questions", "questions"),
                (f"mscoco_{split}2014_annotations", "answers"),
            )
        ),
        _coco("COCO_val2014_*.jpg", "val2014", "val"),
        _coco("COCO_train2014_*.jpg", "train2014", "train"),
    ),
    counts=(DataCount("vqa", "val", 5_046), DataCount("vqa", "train", 9_009)),
)

_A_OKVQA = DataRelease(
    folder="a-okvqa",
    homepage="https://github.com/allenai/aokvqa",
    splits=("val", "train", "test-hidden"),
    files=(
        *(
            DataFile(
                f"aokvqa_v1p0_{name}.json",
                "https://prior-datasets.s3.us-east-2.amazonaws.com/aokvqa/aokvqa_v1p0.tar.gz",
                splits=(split,),
                what="questions and answers" if name != "test" else "questions",
                archive="aokvqa_v1p0.tar.gz",
            )
            for name, split in (("val", "val"), ("train", "train"), ("test", "test-hidden"))
        ),
        _coco("*.jpg", "val2017", "val"),
        _coco("*.jpg", "train2017", "train"),
        _coco("*.jpg", "test2017", "test-hidden"),
    ),
    counts=(
        DataCount("vqa", "val", 1_145, options=("difficult=keep",)),
        DataCount("vqa", "train", 17_056, options=("difficult=keep",)),
        DataCount("vqa", "test-hidden", 6_702, options=("difficult=keep",)),
    ),
)

_GQA_RELEASE = DataRelease(
    folder="gqa",
    homepage="https://cs.stanford.edu/people/dorarad/gqa/download.html",
    splits=("testdev", "val", "train"),
    files=(
        *(
            DataFile(
                f"{split}_balanced_questions.json",
                f"{_GQA}/questions1.2.zip",
                splits=(split,),
                what="questions and answers",
                archive="questions1.2.zip",
            )
            for split in ("testdev", "val", "train")
        ),
        DataFile(
            "*_all_questions*",
            f"{_GQA}/questions1.2.zip",
            what="all questions, for questions: all",
            optional=True,
            archive="questions1.2.zip",
        ),
        DataFile(
            "images/*.jpg",
            f"{_GQA}/images.zip",
            license="pictures: terms of Flickr",
            what="pictures",
            archive="images.zip",
        ),
    ),
    counts=(
        DataCount("vqa", "testdev", 12_578, 398),
        DataCount("vqa", "val", 132_062),
        DataCount("vqa", "train", 943_000),
    ),
)

_VCR_RELEASE = DataRelease(
    folder="vcr",
    homepage="https://visualcommonsense.com",
    splits=("val", "train"),
    files=(
        *(
            DataFile(
                f"{split}.jsonl",
                _VCR,
                splits=(split,),
                what="questions, answers and reasons",
                archive="vcr1annots.zip",
            )
            for split in ("val", "train")
        ),
        DataFile("vcr1images/*/*.json", _VCR, what="boxes and outlines, one file a picture", archive="vcr1images.zip"),
        DataFile("vcr1images/*/*.jpg", _VCR, what="pictures", archive="vcr1images.zip"),
    ),
    counts=(DataCount("vcr", "val", 53_068, 9_929), DataCount("vcr", "train", 425_846, 80_418)),
)

COMPONENTS = [
    ComponentSpec(
        kind="dataset",
        name="vqav2",
        target=f"{_HERE}.vqa:VqaV2",
        config=f"{_HERE}.configs:VqaV2Config",
        summary="VQA v2: questions on pictures of COCO, ten answers each",
        accepts=("vqa",),
        license="CC-BY-4.0",
        release=_VQA_V2,
    ),
    ComponentSpec(
        kind="dataset",
        name="ok-vqa",
        target=f"{_HERE}.vqa:OkVqa",
        config=f"{_HERE}.configs:OkVqaConfig",
        summary="OK-VQA: questions on pictures of COCO that need knowledge, ten answers each",
        accepts=("vqa",),
        license="see homepage",
        release=_OK_VQA_RELEASE,
    ),
    ComponentSpec(
        kind="dataset",
        name="a-okvqa",
        target=f"{_HERE}.a_okvqa:AOkVqa",
        config=f"{_HERE}.configs:AOkVqaConfig",
        summary="A-OKVQA: questions on pictures of COCO that need knowledge, answered in words",
        accepts=("vqa",),
        license="see homepage",
        release=_A_OKVQA,
    ),
    ComponentSpec(
        kind="dataset",
        name="gqa",
        target=f"{_HERE}.gqa:Gqa",
        config=f"{_HERE}.configs:GqaConfig",
        summary="GQA: compositional questions on pictures of Visual Genome, one answer each",
        accepts=("vqa",),
        license="CC-BY-4.0",
        release=_GQA_RELEASE,
    ),
    ComponentSpec(
        kind="dataset",
        name="vcr",
        target=f"{_HERE}.vcr:Vcr",
        config=f"{_HERE}.configs:VcrConfig",
        summary="Visual commonsense reasoning: which answer is right, and why, about objects of a film's still",
        paper="vcr",
        accepts=("vcr",),
        license="research only, see homepage",
        release=_VCR_RELEASE,
    ),
]
