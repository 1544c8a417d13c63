"""Captions of whole pictures: COCO, Flickr30k, NoCaps, CC3M and Open Images, in the layouts of their authors."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from regionkit.core.errors import ConfigError, DataError
from regionkit.registry.assembly import build

UPSTREAM = Path(__file__).parents[4] / "shared" / "data" / "upstream"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGIONKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def upstream(name: str) -> Path:
    path = UPSTREAM / name
    if not path.is_file():
        pytest.skip(f"{name}, a file of a release, is not beside this checkout")
    return path


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def picture(path: Path, width: int = 6) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, 4)).save(path)


def found(name: str, split: str, **options: object):
    dataset = build("dataset", {"name": name, **options})
    return dataset, dataset.samples("image", split)


def karpathy(*pictures: tuple[str, int, str, list[str]]) -> dict[str, object]:
    """Pictures of dataset_coco.json: file name, cocoid, split, captions."""
    sentid = iter(range(999))
    return {
        "images": [
            {
                "filepath": "val2014", "sentids": [], "filename": name, "imgid": at, "split": split, "cocoid": number,
                "sentences": [
                    {"tokens": text.split(), "raw": text, "imgid": at, "sentid": next(sentid)} for text in texts
                ],
            }
            for at, (name, number, split, texts) in enumerate(pictures)
        ],
        "dataset": "coco",
    }  # fmt: skip


KARPATHY = karpathy(
    ("COCO_val2014_000000391895.jpg", 391895, "test", ["A man.  ", "a\nmoped"]),
    ("COCO_val2014_000000060623.jpg", 60623, "restval", ["A girl."]),
    ("COCO_train2014_000000000009.jpg", 9, "train", ["Food."]),
    ("COCO_val2014_000000000042.jpg", 42, "val", ["A shoe."]),
)


def coco(year: str, *captions: tuple[int, str]) -> dict[str, object]:
    ids = dict.fromkeys(number for number, _ in captions)
    return {
        "info": {},
        "images": [
            {"license": 3, "file_name": f"COCO_{year}_{number:012d}.jpg", "height": 4, "width": 6, "id": number}
            for number in ids
        ],
        "licenses": [],
        "annotations": [{"image_id": number, "id": at, "caption": text} for at, (number, text) in enumerate(captions)],
    }


def test_coco_in_karpathys_file(root):
    write(root / "coco" / "dataset_coco.json", KARPATHY)
    picture(root / "coco" / "val2014" / "COCO_val2014_000000391895.jpg")
    picture(root / "coco" / "train2017" / "000000000009.jpg", 9)
    dataset, (sample,) = found("coco", "test")
    assert (sample.id, sample.image_id, sample.region.kind) == ("391895", "391895", "image")
    assert sample.references == ("A man.", "a moped")
    assert sample.info == {"file_name": "COCO_val2014_000000391895.jpg"}
    assert dataset.image("391895").size == (6, 4)
    assert dataset.image("9").size == (9, 4)
    assert [one.id for one in found("coco", "train")[1]] == ["60623", "9"]
    assert [one.id for one in found("coco", "train", restval=False)[1]] == ["9"]
    assert [one.id for one in found("coco", "val")[1]] == ["42"]


def test_coco_in_its_own_files(root):
    captions = coco("val2014", (42, "A shoe."), (391895, "A man. "), (42, "Shoes."), (391895, "A moped."))
    write(root / "coco" / "annotations" / "captions_val2014.json", captions)
    write(root / "coco" / "coco-karpathy-test-images.json", {"images": captions["images"][1:]})
    (sample,) = found("coco", "test")[1]
    assert (sample.id, sample.references) == ("391895", ("A man.", "A moped."))
    both = found("coco", "val2014")[1]
    assert [(one.id, one.references) for one in both] == [
        ("42", ("A shoe.", "Shoes.")),
        ("391895", ("A man.", "A moped.")),
    ]
    assert [one.id for one in found("coco", "val2014")[0].samples("image", "val2014", limit=1)] == ["42"]
    write(root / "coco" / "dataset_coco.json", KARPATHY)
    assert found("coco", "test")[1][0].references == ("A man.", "a moped")
    assert found("coco", "test", source="coco")[1][0].references == ("A man.", "A moped.")


def test_real_list_of_karpathys_test_pictures(root):
    listed = json.loads(upstream("coco-karpathy-test-images.json").read_text())["images"]
    (root / "coco").mkdir()
    (root / "coco" / "coco-karpathy-test-images.json").symlink_to(upstream("coco-karpathy-test-images.json"))
    write(
        root / "coco" / "annotations" / "captions_val2014.json",
        {"annotations": [{"image_id": one["id"], "id": at, "caption": "a"} for at, one in enumerate(listed)]},
    )
    dataset, samples = found("coco", "test")
    assert (len(samples), dataset.faults("image", "test")) == (5000, [])
    assert [one.id for one in samples] == [str(one["id"]) for one in listed]


def test_real_captions_of_flickr30k(root):
    (root / "flickr30k").mkdir()
    (root / "flickr30k" / "flickr30k_test.json").symlink_to(upstream("flickr30k_test.json"))
    picture(root / "flickr30k" / "flickr30k-images" / "1007129816.jpg")
    dataset, samples = found("flickr30k", "test")
    assert (len(samples), sum(len(one.references) for one in samples)) == (1000, 5000)
    assert samples[0].id == "1007129816"
    assert samples[0].references[0] == "The man with pierced ears is wearing glasses and an orange hat."
    assert dataset.image("1007129816").size == (6, 4)


def test_flickr30k_in_karpathys_file(root):
    content = karpathy(("1000092795.jpg", 0, "train", ["Two young guys."]), ("10002456.jpg", 1, "test", ["Men."]))
    for one in content["images"]:
        del one["cocoid"]
    write(root / "flickr30k" / "dataset_flickr30k.json", content)
    (sample,) = found("flickr30k", "test")[1]
    assert (sample.id, sample.references) == ("10002456", ("Men.",))


def changed(**keys: object) -> dict[str, object]:
    content = json.loads(json.dumps(KARPATHY))
    content["images"][0].update(keys)
    content["images"][1]["split"] = "test"
    return content


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        pytest.param({"sentences": []}, "it has no caption", id="no-caption"),
        pytest.param({"sentences": {}}, "its 'sentences' is no list", id="no-list"),
        pytest.param({"sentences": [1]}, "it is no JSON object", id="no-sentence"),
        pytest.param({"sentences": [{}]}, "it has no 'raw'", id="no-raw"),
        pytest.param({"sentences": [{"raw": 1}]}, "its caption is no text", id="number"),
        pytest.param({"sentences": [{"raw": " \n"}]}, "its caption is empty", id="empty"),
        pytest.param({"cocoid": "../9"}, "its id is no whole number", id="text-as-id"),
        pytest.param({"cocoid": 10**400}, "its id is no whole number", id="huge-id"),
        pytest.param({"cocoid": True}, "its id is no whole number", id="true-as-id"),
        pytest.param({"split": ["test"]}, "its split \"['test']\" is none of", id="no-split"),
    ],
)
def test_bad_pictures_of_karpathys_file(root, keys, reason):
    write(root / "coco" / "dataset_coco.json", changed(**keys))
    dataset, samples = found("coco", "test")
    assert [one.id for one in samples] == ["60623"]
    (fault,) = dataset.faults("image", "test")
    assert fault.startswith(f"{root}/coco/dataset_coco.json: images[0]: ")
    assert reason in fault
    with pytest.raises(DataError, match=r"images\[0\]"):
        found("coco", "test", on_bad="stop")


def test_bad_annotations_are_named(root):
    content = coco("val2014", (1, "A dog."), (2, "A cat."))
    content["annotations"] += [{"image_id": 1}, {"image_id": "1", "caption": "a"}, 3, {"image_id": 1, "caption": " "}]
    content["images"] += ["none", {"id": 3, "file_name": "x.jpg"}, {"file_name": "y.jpg"}]
    write(root / "coco" / "captions_val2014.json", content)
    dataset, samples = found("coco", "val2014")
    assert [one.id for one in samples] == ["1", "2"]
    reasons = [one.partition("captions_val2014.json: ")[2] for one in dataset.faults("image", "val2014")]
    assert reasons == [
        "annotations[2]: it has no 'caption'",
        "annotations[3]: its image_id is no whole number",
        "annotations[4]: it is no JSON object",
        "annotations[5]: its caption is empty",
        "images[2]: it is no JSON object",
        "images[3]: it has no caption",
        "images[4]: it has no caption",
    ]


def test_names_that_lead_elsewhere_are_refused(root):
    content = karpathy(("../../../etc/passwd.jpg", 0, "test", ["a"]), ("10002456.jpg", 1, "test", ["Men."]))
    write(root / "flickr30k" / "dataset_flickr30k.json", content)
    dataset, samples = found("flickr30k", "test")
    assert len(samples) == 1
    assert "its file name is no plain name" in dataset.faults("image", "test")[0]


def test_damaged_and_missing_files(root):
    with pytest.raises(DataError, match="data set 'coco' is not here"):
        found("coco", "test")
    (root / "coco").mkdir()
    with pytest.raises(DataError, match=r"needs dataset_coco.json, which is not in") as caught:
        found("coco", "test")
    assert "coco-karpathy-test-images.json or coco-test.json" in caught.value.hints[0]
    with pytest.raises(DataError, match=r"annotations/captions_val2017.json or captions_val2017.json"):
        found("coco", "val2017")
    (root / "coco" / "dataset_coco.json").write_bytes(gzip.compress(json.dumps(KARPATHY).encode())[:-20])
    with pytest.raises(DataError, match="the gzip file is cut off"):
        found("coco", "test")
    write(root / "coco" / "dataset_coco.json", {"pictures": []})
    with pytest.raises(DataError, match="there is no list 'images' in it"):
        found("coco", "test")
    with pytest.raises(ConfigError, match="source"):
        found("coco", "test", source="kaggle")


def nocaps(**keys: object) -> dict[str, object]:
    return {
        "licenses": [],
        "images": [
            {"id": 0, "open_images_id": "0013ea2087020901", "height": 4, "width": 6, "domain": "in-domain",
             "coco_url": "", "license": 0, "file_name": "0013ea2087020901.jpg", "date_captured": ""},
            {"id": 1, "open_images_id": "001464cfae2a30b8", "domain": "out-domain", "file_name": "x.jpg", **keys},
        ],
        "annotations": [{"image_id": at % 2, "id": at, "caption": f"Caption {at}."} for at in range(20)],
    }  # fmt: skip


def test_nocaps(root):
    write(root / "nocaps" / "nocaps_val_4500_captions.json", nocaps())
    picture(root / "nocaps" / "images" / "0013ea2087020901.jpg")
    picture(root / "open-images" / "validation" / "001464cfae2a30b8.jpg", 9)
    dataset, (first, second) = found("nocaps", "val")
    assert (first.id, first.info["domain"], len(first.references)) == ("0013ea2087020901", "in-domain", 10)
    assert second.references[:2] == ("Caption 1.", "Caption 3.")
    assert [dataset.image(one.image_id).size for one in (first, second)] == [(6, 4), (9, 4)]
    assert [one.id for one in found("nocaps", "val", domain="out-domain")[1]] == ["001464cfae2a30b8"]
    write(root / "nocaps" / "nocaps_test_image_info.json", {"images": nocaps()["images"]})
    assert [one.references for one in found("nocaps", "test")[1]] == [(), ()]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        pytest.param({"domain": "far"}, "its domain is none of in-domain, near-domain, out-domain", id="domain"),
        pytest.param({"open_images_id": "../x"}, "its open_images_id is no plain name", id="path"),
        pytest.param({"id": 7}, "it has no caption", id="no-caption"),
    ],
)
def test_bad_records_of_nocaps(root, keys, reason):
    write(root / "nocaps" / "nocaps_val_4500_captions.json", nocaps(**keys))
    dataset, samples = found("nocaps", "val")
    assert len(samples) == 1
    assert reason in dataset.faults("image", "val")[0]


ROWS = 'a very typical bus station\thttp://x/1.jpg\n<PERSON>  sings\thttp://x/2.jpg\nno tab\n \thttp://x/3.jpg\n\
a "dog\thttp://x/4.jpg\n'


def test_cc3m_by_row(root):
    write(root / "cc3m" / "Validation_GCC-1.1.0-Validation.tsv", ROWS)
    picture(root / "cc3m" / "val" / "000000000.jpg")
    picture(root / "cc3m" / "val" / "00000" / "000000001.jpg", 9)
    dataset, samples = found("cc3m", "val")
    assert [(one.image_id, one.references, one.info) for one in samples] == [
        ("val/000000000", ("a very typical bus station",), {"url": "http://x/1.jpg"}),
        ("val/000000001", ("<PERSON> sings",), {"url": "http://x/2.jpg"}),
    ]
    assert [dataset.image(one.image_id).size for one in samples] == [(6, 4), (9, 4)]
    reasons = [fault.partition(".tsv:")[2] for fault in dataset.faults("image", "val")]
    assert reasons[:2] == ["3: 1 columns, 2 are expected", "4: its caption is empty"]
    assert reasons[2].startswith("5: the picture 'val/000000004' is not there: looked for ")
    assert [one.id for one in found("cc3m", "val", only_present=False)[1]] == ["000000000", "000000001", "000000004"]


def test_cc3m_by_hash(root):
    write(root / "cc3m" / "Train_GCC-training.tsv", ROWS)
    name = hashlib.sha256(b"http://x/2.jpg").hexdigest()
    picture(root / "cc3m" / "train" / f"{name}.jpg")
    dataset, (sample,) = found("cc3m", "train", pictures="sha256")
    assert (sample.id, sample.image_id) == ("000000001", f"train/{name}")
    assert dataset.image(sample.image_id).size == (6, 4)


def test_cc3m_cut_off(root):
    (root / "cc3m").mkdir()
    (root / "cc3m" / "Train_GCC-training.tsv").write_bytes(gzip.compress(ROWS.encode())[:-9])
    with pytest.raises(DataError, match="the gzip file is cut off after line"):
        found("cc3m", "train")


IDS = 'ImageID,Subset,OriginalURL,Title\n000a1249af2bc5f0,train,http://x,"a, b"\n../etc,train,,\nff,validation,,\n'


def test_open_images(root):
    folder = root / "open-images"
    picture(folder / "train_0" / "000a1249af2bc5f0.jpg")
    picture(folder / "train_f" / "f00a1249af2bc5f0.jpg", 9)
    write(folder / "train_f" / "notes.txt", "none")
    dataset, samples = found("open-images", "train")
    assert [(one.id, one.references) for one in samples] == [("000a1249af2bc5f0", ()), ("f00a1249af2bc5f0", ())]
    assert [dataset.image(one.image_id).size for one in samples] == [(6, 4), (9, 4)]
    picture(folder / "train_f" / "f10a1249af2bc5f0.jpg", 9)
    assert len(found("open-images", "train")[1]) == 3
    with pytest.raises(DataError, match="needs the pictures of 'validation'"):
        found("open-images", "validation")


def test_open_images_of_a_table(root):
    write(root / "open-images" / "train-images-boxable-with-rotation.csv", IDS)
    dataset, samples = found("open-images", "train", images="table")
    assert [one.id for one in samples] == ["000a1249af2bc5f0"]
    (fault,) = dataset.faults("image", "train")
    assert fault.endswith("rotation.csv:3: its ImageID is no plain name: letters, digits, - and _")
    write(root / "open-images" / "mine.csv", "ImageID\nabc\n")
    assert [one.id for one in found("open-images", "train", images="table", table="mine.csv")[1]] == ["abc"]
    write(root / "open-images" / "mine.csv", "Image\nabc\n")
    with pytest.raises(DataError, match="1 are left out"):
        found("open-images", "train", images="table", table="mine.csv")
    with pytest.raises(ConfigError, match="no path below"):
        found("open-images", "train", images="table", table="../mine.csv")
