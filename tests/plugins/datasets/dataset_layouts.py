"""A small folder in the official layout of every data set: each writes one below ``$REGIONKIT_DATA``.

``LAYOUTS`` maps the name of a data set to what writes it into the folder of all data and returns its options. Every
split of those options has a sample of every task, and every picture is there.
"""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

#: Width and height of all pictures.
SIZE = WIDTH, HEIGHT = 40, 30
Write = Callable[[Path], Mapping[str, Any]]
LAYOUTS: dict[str, Write] = {}


def layout(*names: str) -> Callable[[Write], Write]:
    def known(write: Write) -> Write:
        LAYOUTS.update(dict.fromkeys(names, write))
        return write

    return known


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def document(path: Path, value: Any) -> None:
    text(path, json.dumps(value))


def lines(path: Path, *values: Any) -> None:
    text(path, "".join(json.dumps(value) + "\n" for value in values))


def pictures(folder: Path, *names: str) -> None:
    for shade, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE, (shade, 90, 200)).save(path)


def coco_pictures(data: Path, year: str, *numbers: int) -> None:
    start = "" if year.endswith("7") else f"COCO_{year}_"
    pictures(data / "coco" / year, *(f"{start}{number:012d}.jpg" for number in numbers))


def karpathy(*named: tuple[str, str, int]) -> dict[str, Any]:
    """Karpathy's form: file name, split and ``cocoid`` of each picture."""
    return {
        "images": [
            {
                "filepath": "val2014", "sentids": [at], "filename": name, "imgid": at, "split": split, "cocoid": number,
                "sentences": [{"tokens": ["a", "dog"], "raw": "A dog. ", "imgid": at, "sentid": at}],
            }
            for at, (name, split, number) in enumerate(named)
        ],
        "dataset": "coco",
    }  # fmt: skip


def coco_captions(*numbers: int, name: str = "{:012d}.jpg", **keys: Any) -> dict[str, Any]:
    return {
        "info": {}, "licenses": [{"id": 3, "name": "", "url": ""}],
        "images": [
            {"license": 3, "file_name": name.format(number), "coco_url": "http://x", "height": HEIGHT, "width": WIDTH,
             "date_captured": "2013-11-14 11:18:45", "flickr_url": "http://x", "id": number, **keys}
            for number in numbers
        ],
        "annotations": [
            {"image_id": number, "id": 10 * number + at, "caption": f"A dog, {at}."}
            for number in numbers for at in range(2)
        ],
    }  # fmt: skip


@layout("coco")
def coco(data: Path) -> Mapping[str, Any]:
    document(
        data / "coco" / "dataset_coco.json",
        karpathy(
            *((f"COCO_val2014_{number:012d}.jpg", split, number)
              for number, split in ((391895, "test"), (42, "val"), (60623, "restval"), (7, "test"))),
            ("COCO_train2014_000000000009.jpg", "train", 9),
        ),
    )  # fmt: skip
    for year, number in (("val2014", 42), ("train2014", 9), ("val2017", 139), ("train2017", 30)):
        document(data / "coco" / "annotations" / f"captions_{year}.json", coco_captions(number))
        coco_pictures(data, year, number)
    coco_pictures(data, "val2014", 391895, 42, 60623, 7)
    return {}


@layout("flickr30k")
def flickr30k(data: Path) -> Mapping[str, Any]:
    named = [("1000092795.jpg", "train", 0), ("10002456.jpg", "test", 1), ("1000268201.jpg", "val", 2)]
    content = karpathy(*named)
    for image in content["images"]:
        del image["cocoid"], image["filepath"]
    document(data / "flickr30k" / "dataset_flickr30k.json", {**content, "dataset": "flickr30k"})
    pictures(data / "flickr30k" / "flickr30k-images", *(name for name, _, _ in named))
    return {}


@layout("coco-entities")
def coco_entities(data: Path) -> Mapping[str, Any]:
    sets = {"391895": {"a man\na guy": [[0.0, 4.5, 20.25, 28.0], [0, 2, 4, 5]], "a moped": [[3, 3, 9, 9]]}}
    document(data / "coco-entities" / "coco_entities_test.json", sets | {"7": {"a dog": [[1, 1, 5, 5]] * 2}})
    coco_pictures(data, "val2014", 391895, 7)
    return {}


@layout("flickr30k-entities")
def flickr30k_entities(data: Path) -> Mapping[str, Any]:
    sets = {"1007129816": {"the man": [[1, 2, 30, 20]], "a hat": [[4, 4, 8, 9]]}, "9": {"a dog": [[1, 1, 5, 5]]}}
    document(data / "flickr30k-entities" / "flickr30k_entities_test.json", sets)
    pictures(data / "flickr30k" / "flickr30k-images", "1007129816.jpg", "9.jpg")
    return {}


@layout("nocaps")
def nocaps(data: Path) -> Mapping[str, Any]:
    content = coco_captions(0, 1)
    for image, name in zip(content["images"], ("0013ea2087020901", "001464cfae2a30b8"), strict=True):
        image |= {"open_images_id": name, "file_name": f"{name}.jpg", "domain": "near-domain"}
    document(data / "nocaps" / "nocaps_val_4500_captions.json", content)
    for image in content["images"]:
        del image["domain"]
    document(data / "nocaps" / "nocaps_test_image_info.json", {"images": content["images"]})
    pictures(data / "nocaps" / "images", "0013ea2087020901.jpg", "001464cfae2a30b8.jpg")
    return {}


@layout("cc3m")
def cc3m(data: Path) -> Mapping[str, Any]:
    for split, name in (("val", "Validation_GCC-1.1.0-Validation.tsv"), ("train", "Train_GCC-training.tsv")):
        text(data / "cc3m" / name, "a very typical bus station\thttp://x/1.jpg\n<PERSON> sings\thttp://x/2.jpg\n")
        pictures(data / "cc3m" / split / "00000", "000000000.jpg", "000000001.jpg")
    return {}


@layout("open-images")
def open_images(data: Path) -> Mapping[str, Any]:
    head = "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,"
    head += "OriginalMD5,Thumbnail300KURL,Rotation\n"
    for split, start, folder in (
        ("train", "train-images-boxable", "train_0"),
        ("validation", "validation-images", "validation"),
        ("test", "test-images", "test"),
    ):
        rows = [f'{name},{split},http://x,http://x,http://x,http://x,"A, B",C,5,,,0.0\n' for name in ("000a", "000b")]
        text(data / "open-images" / f"{start}-with-rotation.csv", head + "".join(rows))
        pictures(data / "open-images" / folder, "000a.jpg", "000b.jpg")
    return {"images": "table"}


def narrative(image: str, dataset: str = "mscoco_val2017") -> dict[str, Any]:
    words = (("A dog,", 0.0, 1.0), ("a cat.", 1.5, 3.0))
    return {
        "dataset_id": dataset, "image_id": image, "annotator_id": 93, "caption": "A dog, a cat.",
        "timed_caption": [{"utterance": one, "start_time": start, "end_time": end} for one, start, end in words],
        "traces": [[{"x": 0.25, "y": 0.5, "t": 0.5}, {"x": 0.5, "y": 0.5, "t": 2.0}], [{"x": 1.1, "y": 0.5, "t": 2.5}]],
        "voice_recording": f"coco_val/coco_val_{image}_93.ogg",
    }  # fmt: skip


@layout("localized-narratives")
def localized_narratives(data: Path) -> Mapping[str, Any]:
    folder = data / "localized_narratives"
    lines(folder / "coco_val_localized_narratives.jsonl", narrative("139"), narrative("7"), narrative("139"))
    for part in range(4):
        name = f"coco_train_localized_narratives-{part:05}-of-00004.jsonl"
        lines(folder / name, narrative("30", "mscoco_train2017"))
    coco_pictures(data, "val2017", 139, 7)
    coco_pictures(data, "train2017", 30)
    return {}


@layout("video-localized-narratives")
def video_localized_narratives(data: Path) -> Mapping[str, Any]:
    def word(at: int, one: str, first: int) -> dict[str, Any]:
        return {
            "end_ms": 500 * at + 400, "referenced_word": one, "referenced_word_end_idx": first + len(one),
            "referenced_word_start_idx": first, "start_ms": 500 * at,
        }  # fmt: skip

    def actor(name: str) -> dict[str, Any]:
        points = [{"x": 0.25, "y": 0.5, "time_ms_since_epoch": 1658296967511 + 300 * at, "kf_idx": 0} for at in (0, 1)]
        return {
            "actor_name": name, "keyframe_selection_indices": [0], "traces": [points], "caption": "A man is walking.",
            "recording_start_time_ms_since_epoch": 1658296967411, "traces_start_time_ms_since_epoch": 1658296966717,
            "noun_segments": [[2, 5]], "recording_filename": "recordings/oops_train/4009_0.webm",
            "time_alignment": [word(0, "A", 0), word(1, "man", 2), word(2, "is", 6), word(3, "walking", 9)],
        }  # fmt: skip

    folder = data / "video_localized_narratives"
    for number, split in enumerate(("val", "train", "test")):
        lines(
            folder / f"oops_{split}.jsonl",
            {
                "vidln_id": number, "dataset_id": f"oops_{split}", "video_id": f"clip {number}",
                "keyframe_names": ["000025"], "actor_narratives": [actor("Man"), actor("background")],
                "annotator_id": 103,
            },
        )  # fmt: skip
        pictures(folder / f"clip {number}", "000025.jpg")
    return {}


@layout("trace-captions")
def trace_captions(data: Path) -> Mapping[str, Any]:
    trace = [{"x": 0.5, "y": 0.25, "t": 1.0}, {"x": -0.1, "y": 0.5, "t": 1.5}]
    held = {"139": {"captions": ["A dog.", "A cat."], "traces": [trace, trace[:1]]}}
    held |= {"7": {"captions": ["A bird."], "traces": [[{"x": 0.5, "y": 0.5}]]}}
    for split in ("test", "train", "val"):
        document(data / "trace_captions" / f"trace_capt_coco_{split}.json", held)
    coco_pictures(data, "val2014", 139, 7)
    return {}


@layout("jsonl")
def jsonl(data: Path) -> Mapping[str, Any]:
    runs = {"size": [HEIGHT, WIDTH], "counts": [0, 90, WIDTH * HEIGHT - 90]}
    kinds = {
        "point": {"point": [3, 4]}, "box": {"box": [1, 2, 30, 4.5]}, "box-set": {"boxes": [[1, 2, 3, 4], [5, 6, 7, 8]]},
        "mask": {"mask": runs}, "trace": {"trace": [[1, 2, 0.5], [3, 4, 1]]}, "patch": {"patch": [0, 1, 4, 4]},
        "image": {"whole": True}, "phrase": {"box": [1, 2, 30, 4]}, "keyword": {"mask": runs},
        "detail": {"box": [1, 2, 30, 4]},
        "dense": {"box": [1, 2, 9, 9], "ground_truth": [{"box": [1, 2, 9, 9], "caption": "a dog"}]},
        "ris": {"mask": runs, "candidates": [{"mask": runs}, {"box": [1, 2, 9, 9]}], "overlaps": [1, 0.5]},
        "vqa": {"question": "What is this?", "answers": ["a dog", "dog"]},
        "vcr": {"question": "1", "question_text": "Why?", "choices": ["a", "b"], "mentioned": [{"box": [1, 2, 9, 9]}]},
    }  # fmt: skip
    folder = data / "own"
    lines(
        folder / "own.jsonl",
        *({"image": image, "references": ["a dog"], "task": task, **keys}
          for task, keys in kinds.items() for image in ("a.png", "b.png")),
    )  # fmt: skip
    pictures(folder, "a.png", "b.png")
    return {"file": str(folder / "own.jsonl")}


@layout("webdataset")
def webdataset(data: Path) -> Mapping[str, Any]:
    def picture(kind: str) -> bytes:
        stream = io.BytesIO()
        Image.new("RGB", SIZE).save(stream, kind)
        return stream.getvalue()

    said = json.dumps({"caption": " a  dog\n", "url": "http://x", "key": "000000000", "status": "success"}).encode()
    files = {
        "000000000.jpg": picture("JPEG"), "000000000.json": said, "000000000.txt": b"a dog",
        "000000001.png": picture("PNG"), "000000001.txt": b"a cat",
    }  # fmt: skip
    path = data / "shards" / "00000.tar"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return {"shards": str(data / "shards" / "*.tar")}


def questions_of_coco(number: int, image: int) -> tuple[dict[str, Any], dict[str, Any]]:
    answers = [{"answer": "net", "answer_confidence": "yes", "answer_id": at, "raw_answer": "nets"} for at in range(10)]
    asked = {"image_id": image, "question": "What is this?", "question_id": number}
    told = {
        "question_type": "what is this",
        "multiple_choice_answer": "net",
        "answers": answers,
        "answer_type": "other",
    }
    return asked, {**told, "image_id": image, "question_id": number}


def vqa(data: Path, folder: str, version: str, splits: Mapping[str, str]) -> None:
    pairs = [questions_of_coco(262148000, 262148), questions_of_coco(7001, 7)]
    head = {"info": {"version": "2.0"}, "license": {"name": "CC BY 4.0"}, "data_type": "mscoco"}
    for split, year in splits.items():
        path = data / folder / f"{version}OpenEnded_mscoco_{year}_questions.json"
        document(path, {**head, "task_type": "Open-Ended", "questions": [asked for asked, _ in pairs]})
        if split in ("val", "train"):
            path = data / folder / f"{version}mscoco_{year}_annotations.json"
            document(path, {**head, "annotations": [told for _, told in pairs]})
    coco_pictures(data, "val2014", 262148, 7)


@layout("vqav2")
def vqav2(data: Path) -> Mapping[str, Any]:
    years = {"val": "val2014", "train": "train2014", "test-dev2015": "test-dev2015", "test2015": "test2015"}
    vqa(data, "vqav2", "v2_", years)
    return {}


@layout("ok-vqa")
def ok_vqa(data: Path) -> Mapping[str, Any]:
    vqa(data, "ok-vqa", "", {"val": "val2014", "train": "train2014"})
    return {}


@layout("a-okvqa")
def a_okvqa(data: Path) -> Mapping[str, Any]:
    def asked(split: str, image: int) -> dict[str, Any]:
        told = {
            "correct_choice_idx": 1, "direct_answers": ["net"] * 10, "difficult_direct_answer": False,
            "rationales": ["It is one.", "So it is.", "Yes."],
        }  # fmt: skip
        known = {"split": split, "image_id": image, "question_id": f"22MexNkBPpdZGX6sxbxVB{image}"}
        return {
            **known, "question": "What is it?", "choices": ["a", "net", "c", "d"], **(told if split != "test" else {})
        }  # fmt: skip

    for split in ("val", "train", "test"):
        document(data / "a-okvqa" / f"aokvqa_v1p0_{split}.json", [asked(split, 139), asked(split, 7)])
    coco_pictures(data, "val2017", 139, 7)
    return {}


@layout("gqa")
def gqa(data: Path) -> Mapping[str, Any]:
    def question(image: str) -> dict[str, Any]:
        return {
            "semantic": [{"operation": "select", "argument": "sky", "dependencies": []}], "entailed": [],
            "equivalent": ["1"], "question": "Is the sky dark?", "imageId": image, "isBalanced": True, "answer": "yes",
            "groups": {"global": None, "local": "06-sky_dark"}, "semanticStr": "select: sky", "annotations": {},
            "types": {"detailed": "verifyAttr", "semantic": "attr", "structural": "verify"},
            "fullAnswer": "Yes, the sky is dark.",
        }  # fmt: skip

    for split in ("testdev", "val", "train"):
        document(
            data / "gqa" / f"{split}_balanced_questions.json", {"201307251": question("n161313"), "2": question("239")}
        )
    pictures(data / "gqa" / "images", "n161313.jpg", "239.jpg")
    return {}


@layout("vcr")
def vcr(data: Path) -> Mapping[str, Any]:
    name = "lsmdc_1054_Harry_Potter/1054_00.18.03.379-00.18.05.679@{}"
    outline = [[[1, 1], [9, 1], [9, 9], [1, 9]]]

    def record(number: int) -> dict[str, Any]:
        return {
            "movie": "lsmdc_1054_Harry_Potter", "objects": ["person", "dog"], "interesting_scores": [0],
            "answer_likelihood": "possible", "img_fn": name.format(number) + ".jpg",
            "metadata_fn": name.format(number) + ".json", "question": ["Why", "does", [0], "smile", "?"],
            "question_orig": "Why does 1 smile?", "answer_orig": "It is 2", "rationale_orig": "So it is",
            "answer_choices": [[[0, 1], "smile", "."], ["No", "."], ["It", "is", [1], "."], ["Yes", "."]],
            "answer_label": 2, "rationale_choices": [[[1], "barks", "."], ["So", "."], ["No", "."], ["Well", "."]],
            "rationale_label": 1, "img_id": f"val-{number}", "question_number": number, "annot_id": f"val-{number}",
            "match_fold": "val-0", "match_index": 0, "answer_match_iter": [3, 0, 1, 2], "answer_sources": [1, 2, 3, 4],
            "rationale_match_iter": [3, 0, 1, 2], "rationale_sources": [1, 2, 3, 4],
        }  # fmt: skip

    for number in (0, 1):
        document(
            data / "vcr" / "vcr1images" / f"{name.format(number)}.json",
            {"boxes": [[1.5, 1, 20, 20, 0.99], [3, 3, 9, 9, 0.8]], "segms": [outline, outline],
             "names": ["person", "dog"], "width": WIDTH, "height": HEIGHT},
        )  # fmt: skip
        pictures(data / "vcr" / "vcr1images", f"{name.format(number)}.jpg")
    for split in ("val", "train"):
        lines(data / "vcr" / f"{split}.jsonl", record(0), record(1))
    return {}


@layout("visual-genome", "vg-coco")
def visual_genome(data: Path) -> Mapping[str, Any]:
    folder = data / "visual-genome"
    numbers = {"test": [1, 2], "val": [3], "train": [4]}
    listed = [number for own in numbers.values() for number in own]
    document(
        folder / "image_data.json",
        [{"width": WIDTH, "url": f"https://cs.stanford.edu/people/rak248/VG_100K_2/{number}.jpg", "height": HEIGHT,
          "image_id": number, "coco_id": 70 + number, "flickr_id": 5} for number in listed],
    )  # fmt: skip
    document(
        folder / "region_descriptions.json",
        [{"regions": [{"region_id": 10 * number + at, "width": 9, "height": 8, "image_id": number,
                       "phrase": "the clock is green", "y": at, "x": 5} for at in range(2)], "id": number}
         for number in listed],
    )  # fmt: skip
    document(folder / "info" / "densecap_splits.json", numbers)
    pictures(folder / "VG_100K", *(f"{number}.jpg" for number in listed))
    return {}


def refer(data: Path, own: str, refs: str, splits: tuple[str, ...]) -> Mapping[str, Any]:
    def ref(number: int, split: str) -> dict[str, Any]:
        said = {"tokens": ["the", "dog"], "raw": "The dog.", "sent_id": 10 * number, "sent": "the dog"}
        return {
            "sent_ids": [10 * number], "file_name": f"COCO_train2014_{number % 2:012d}_{number}.jpg", "ann_id": number,
            "ref_id": number, "image_id": number % 2, "split": split, "sentences": [said], "category_id": 18,
        }  # fmt: skip

    chosen = [ref(number, split) for number, split in enumerate((*splits, *splits))]
    folder = data / "refer" / own
    folder.mkdir(parents=True)
    (folder / refs).write_bytes(pickle.dumps(chosen, protocol=2))
    images = [
        {"license": 1, "file_name": f"COCO_train2014_{number:012d}.jpg", "coco_url": "http://x", "height": HEIGHT,
         "width": WIDTH, "date_captured": "2013-11-17", "flickr_url": "http://x", "id": number} for number in (0, 1)
    ]  # fmt: skip
    objects = [
        {"segmentation": [[1, 1, 20 - one["ref_id"], 1, 20, 20, 1, 20]], "area": 300.0, "iscrowd": 0,
         "image_id": one["image_id"], "bbox": [1.0, 1.0, 19.0, 19.0], "category_id": 18, "id": one["ann_id"]}
        for one in chosen
    ]  # fmt: skip
    categories = [{"supercategory": "animal", "id": 18, "name": "dog"}]
    document(
        folder / "instances.json",
        {"info": {}, "licenses": [], "images": images, "annotations": objects, "categories": categories},
    )
    coco_pictures(data, "train2014", 0, 1)
    return {}


@layout("refcoco")
def refcoco(data: Path) -> Mapping[str, Any]:
    return refer(data, "refcoco", "refs(unc).p", ("val", "testA", "testB", "train"))


@layout("refcoco-plus")
def refcoco_plus(data: Path) -> Mapping[str, Any]:
    return refer(data, "refcoco+", "refs(unc).p", ("val", "testA", "testB", "train"))


@layout("refcocog")
def refcocog(data: Path) -> Mapping[str, Any]:
    return refer(data, "refcocog", "refs(umd).p", ("val", "test", "train"))


@layout("lvis", "paco")
def osprey(data: Path) -> Mapping[str, Any]:
    objects = [
        {"file_name": f"{number:012d}.jpg", "height": HEIGHT, "width": WIDTH, "categories": ["car_(auto)", "sign"],
         "annotations": [{"segmentation": [[4, 2, 14, 2, 14, 8, 4, 8]]}, {"segmentation": [[1, 1, 5, 1, 5, 5]]}]}
        for number in (139, 7)
    ]  # fmt: skip
    for name in ("lvis", "paco"):
        document(data / "osprey" / f"{name}_val_1k_category.json", objects)
    coco_pictures(data, "val2017", 139, 7)
    return {}


@layout("ref-l4")
def ref_l4(data: Path) -> Mapping[str, Any]:
    for split in ("test", "val"):
        lines(
            data / "ref-l4" / f"ref-l4-{split}.jsonl",
            *({"id": number, "caption": "A long description of a lamp.", "bbox": [2, 3, 10, 5.5], "bbox_area": 55,
               "bbox_id": 9, "ori_category_id": "o365_7", "image_id": f"o_{number}", "height": HEIGHT, "width": WIDTH,
               "file_name": f"objects365_v2_{number:08d}.jpg", "is_rewrite": True, "split": split}
              for number in (1, 2)),
        )  # fmt: skip
    pictures(data / "ref-l4" / "images", "objects365_v2_00000001.jpg", "objects365_v2_00000002.jpg")
    return {}


@layout("dlc-bench")
def dlc_bench(data: Path) -> Mapping[str, Any]:
    folder = data / "DLC-Bench"
    names = {71: "objects365_v2_1.jpg", 72: "objects365_v2_2.jpg"}
    asked = [
        {"question": "What colour?", "choices": [["red", 1], ["not said", 0], ["blue", -1]], "type": "positive"},
        {"question": "Does it fly?", "choices": [["yes", -1.0], ["no", 1]], "type": "negative",
         "subtype": "salient negative"},
    ]  # fmt: skip
    images = [{"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH} for number, name in names.items()]
    objects = [
        {"id": number, "image_id": number, "category_id": 5, "iscrowd": 0, "bbox": [4, 2, 10, 6], "area": 60,
         "segmentation": {"size": [HEIGHT, WIDTH], "counts": [0, 90, WIDTH * HEIGHT - 90]}} for number in names
    ]  # fmt: skip
    document(folder / "annotations.json", {"images": images, "annotations": objects, "categories": []})
    document(folder / "qa.json", {str(number): asked for number in names})
    document(folder / "class_names.json", {str(number): "car" for number in names})
    pictures(folder / "images", *names.values())
    return {}


@layout("flickr30k-phrases")
def flickr30k_phrases(data: Path) -> Mapping[str, Any]:
    folder = data / "flickr30k-entities"
    thing = (
        "<object><name>{}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>30</ymax></bndbox></object>"
    )
    scene = "<object><name>3</name><scene>1</scene><nobndbox>0</nobndbox></object>"
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    for split, numbers in (("test", ("36979", "65567")), ("val", ("7",)), ("train", ("9",))):
        text(folder / f"{split}.txt", "".join(f"{number}\n" for number in numbers))
        for number in numbers:
            things = thing.format(1) + thing.format(2) + thing.format(1) + scene
            text(
                folder / "Annotations" / f"{number}.xml",
                f"<annotation>\n<filename>{number}.jpg</filename>\n{size}\n{things}\n</annotation>\n",
            )
            text(
                folder / "Sentences" / f"{number}.txt",
                "[/EN#1/people Two men] in [/EN#2/clothing green shirts] stand in [/EN#3/scene a yard] .\n",
            )
            pictures(data / "flickr30k" / "flickr30k-images", f"{number}.jpg")
    return {}


def frames(folder: Path, count: int) -> None:
    pictures(folder, *(f"{at + 1}.png" for at in range(count)))


@layout("hc-stvg")
def hc_stvg(data: Path) -> Mapping[str, Any]:
    film = {
        "bbox": [[place, 2, 4, 5] for place in range(4)], "st_frame": 3, "ed_frame": 6, "st_time": 0.5, "ed_time": 1.0,
        "img_num": 8, "img_size": [HEIGHT, WIDTH, 3], "English": "The woman turns around.", "Chinese": "x",
    }  # fmt: skip
    for split in ("val", "train"):
        document(data / "hc-stvg" / f"{split}_v2.json", {"55_vfjywN5CN0Y.mp4": film, "7_x.mp4": film})
    for name in ("55_vfjywN5CN0Y", "7_x"):
        frames(data / "hc-stvg" / "frames" / name, 8)
    return {"frames": 2}


@layout("videorefer-d")
def videorefer_d(data: Path) -> Mapping[str, Any]:
    runs = {"size": [HEIGHT, WIDTH], "counts": [0, 90, WIDTH * HEIGHT - 90]}
    track = {str(frame): {"segmentation": runs} for frame in (0, 2, 4, 6)}
    document(
        data / "videorefer-bench" / "VideoRefer-Bench-D.json",
        [{"id": number, "video": f"{name}.mp4", "caption": "A long story.", "frame_idx": "2", "annotation": [track]}
         for number, name in enumerate(("rLlzmcp3J6s_0", "b"))],
    )  # fmt: skip
    for name in ("rLlzmcp3J6s_0", "b"):
        frames(data / "videorefer-bench" / "frames" / name, 7)
    return {"frames": 2}
