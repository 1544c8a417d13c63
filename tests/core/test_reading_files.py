"""The base of readers: when an index is made again, and what it says of what it lacks."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from regionkit.core.data import files
from regionkit.core.data.files import FileDataset
from regionkit.core.data.options import FileOptions
from regionkit.core.data.records import Left, PictureMissing, StoredSample
from regionkit.core.data.streams import json_lines
from regionkit.core.errors import DataError


@dataclass(frozen=True)
class ShapesConfig(FileOptions):
    note: str = ""


class Shapes(FileDataset):
    name = "shapes"
    tasks = ("box",)
    folder = "shapes"
    splits = ("test", "val")
    places = ("one/{id}.png", "two/{id}.png")

    def sources(self, task, split):
        return (self.file(f"{split}.jsonl", f"{split}.jsonl.gz"),)

    def entries(self, task, split):
        return json_lines(self.sources(task, split)[0])

    def read(self, task, split, entry):
        width, height = self.size(entry.value["image"])
        x1, y1, x2, y2 = entry.value["box"]
        box = [x1 * width, y1 * height, x2 * width, y2 * height]
        yield StoredSample(str(entry.value["id"]), entry.value["image"], {"box": box}, (entry.value["text"],))


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("REGIONKIT_DATA", str(tmp_path))
    folder = tmp_path / "shapes"
    (folder / "one").mkdir(parents=True)
    write(folder, [record(1, "a"), record(2, "b"), record(3, "a")])
    for name in "ab":
        Image.new("RGB", (20, 10)).save(folder / "one" / f"{name}.png")
    return folder


def record(name: int, image: str, **other: object) -> dict[str, object]:
    return {"id": name, "image": image, "box": [0, 0, 0.5, 1], "text": "a dog", **other}


def write(folder: Path, records: list[object], split: str = "test") -> None:
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))


def shapes(**options: str) -> Shapes:
    return Shapes(ShapesConfig(**options))


def ids(dataset: Shapes, limit: int | None = None) -> list[str]:
    return [one.id for one in dataset.samples("box", "test", 0, limit)]


@pytest.fixture
def made(monkeypatch) -> list[Path]:
    """The indexes that are written from here on."""
    paths: list[Path] = []
    write_index = files.write_index

    def noted(path, key, rows):
        paths.append(path)
        return write_index(path, key, rows)

    monkeypatch.setattr(files, "write_index", noted)
    return paths


def test_samples_are_in_pixels_and_grouped():
    dataset = shapes()
    (first, *_) = dataset.samples("box", "test")
    assert first.region.corners == (0, 0, 10, 10)
    assert ids(dataset) == ["1", "3", "2"]
    assert ids(dataset, 1) == ["1", "3"]
    assert dataset.disclaimer == ""
    assert dataset.image("a").size == (20, 10)


def test_an_index_is_made_once(made):
    assert ids(shapes()) == ids(shapes()) == ["1", "3", "2"]
    assert len(made) == 1


def test_a_changed_file_or_option_makes_it_again(made, data):
    ids(shapes())
    write(data, [record(9, "a")])
    assert ids(shapes()) == ["9"]
    ids(shapes(note="other"))
    assert (len(made), len(set(made))) == (3, 2)
    os.utime(data / "test.jsonl", ns=(1, 1))
    ids(shapes())
    assert len(made) == 4


def test_another_version_of_the_reader_makes_it_again(made, monkeypatch):
    ids(shapes())
    monkeypatch.setattr(Shapes, "version", 2)
    ids(shapes())
    assert len(made) == 2


def test_a_damaged_index_is_made_again(made):
    ids(shapes())
    made[0].write_bytes(b"nothing")
    assert ids(shapes()) == ["1", "3", "2"]
    assert len(made) == 2


@pytest.mark.parametrize("place", ["one", "two"])
def test_a_missing_picture_is_named_and_looked_for_again(made, data, place):
    write(data, [record(1, "a"), record(2, "c")])
    dataset = shapes()
    assert ids(dataset) == ["1"]
    (fault,) = dataset.faults("box", "test")
    assert fault == (
        f"{data}/test.jsonl:2: the picture 'c' is not there: looked for {data}/one/c.png, {data}/two/c.png"
    )
    assert dataset.disclaimer == (
        "1 records of box@shapes/test are left out: they cannot be used; toolkit data verify shapes names them."
    )
    ids(shapes())
    assert len(made) == 1
    (data / place).mkdir(exist_ok=True)
    shutil.copy(data / "one" / "a.png", data / place / "c.png")
    assert ids(shapes()) == ["1", "2"]
    assert len(made) == 2


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param([1], "list indices must be integers", id="no-object"),
        pytest.param({"id": 1}, "it has no 'image'", id="no-image"),
        pytest.param(record(1, "a", box=[0, 0, 0, 1]), "box 0,0,0,10 has no area", id="no-area"),
        pytest.param(record(1, "a", box=[0, 0, 1e308, 1]), "not a finite number", id="huge-number"),
        pytest.param(record(1, "a", box="0011"), "unexpected value", id="text"),
        pytest.param(record(1, "a", text="\ud800"), "half a character", id="surrogate"),
        pytest.param(record(1, "../../a"), "is not there", id="outside"),
        pytest.param(record(1, "x" * 5000), "is not there", id="long-name"),
        pytest.param(record(1, "a\0"), "is not there", id="nul"),
    ],
)
def test_bad_records_are_named_and_the_others_go_on(data, bad, reason):
    write(data, [bad, record(2, "b")])
    dataset = shapes()
    assert ids(dataset) == ["2"]
    (fault,) = dataset.faults("box", "test")
    assert fault.startswith(f"{data}/test.jsonl:1: ")
    assert reason in fault
    with pytest.raises(DataError, match=r"test.jsonl:1: ") as caught:
        ids(shapes(on_bad="stop"))
    assert caught.value.hints[-1] == "leave such records out with on_bad: leave-out"


def test_no_usable_record_is_an_error(data):
    write(data, [{}, {}])
    with pytest.raises(DataError, match="no record of box@shapes/test can be used: 2 are left out"):
        ids(shapes())


def test_a_file_without_records_is_an_error(data):
    write(data, [])
    with pytest.raises(DataError, match="box@shapes/test has no sample"):
        ids(shapes())


def test_what_is_not_there_is_said(tmp_path, data, monkeypatch):
    with pytest.raises(DataError, match=r"needs val.jsonl or val.jsonl.gz in .*, which is not there"):
        shapes().samples("box", "val")
    with pytest.raises(DataError, match="has no split 'tets'") as caught:
        shapes().samples("box", "tets")
    assert caught.value.hints == ("did you mean: test",)
    with pytest.raises(DataError, match="has no task 'point'"):
        shapes().samples("point", "test")
    with pytest.raises(PictureMissing, match="the picture 'z' is not there"):
        shapes().image("z")
    monkeypatch.setenv("REGIONKIT_DATA", str(tmp_path / "none"))
    with pytest.raises(DataError, match="data set 'shapes' is not here"):
        ids(shapes())


def test_the_fingerprint_knows_samples_and_pictures(data):
    before = shapes().fingerprint("box", "test")
    assert shapes().fingerprint("box", "test") == before
    assert shapes().fingerprint("box", "test", limit=1) != before
    Image.new("RGB", (20, 10), "red").resize((21, 11)).save(data / "one" / "b.png")
    assert shapes().fingerprint("box", "test") != before


def test_a_source_that_cannot_be_read_is_no_matter_of_the_index(monkeypatch):
    def broken(self, task, split):
        raise PermissionError(13, "Permission denied", "f.json")
        yield

    monkeypatch.setattr(Shapes, "entries", broken)
    with pytest.raises(DataError, match=r"f.json: cannot be read: Permission denied"):
        ids(shapes())


class Loose(Shapes):
    """Leaves records that say so out, and knows its pictures by numbers."""

    name = "loose"

    def entries(self, task, split):
        for entry in super().entries(task, split):
            yield Left(entry.place, "its record says so") if entry.value.get("out") == "record" else entry

    def read(self, task, split, entry):
        if entry.value.get("out") == "sample":
            yield Left(entry.place, "its sample says so")
        else:
            yield from super().read(task, split, entry)

    def names(self, image_id):
        return {"number": int(image_id, 16)}


@pytest.mark.parametrize("on_bad", ["leave-out", "stop"])
def test_what_the_protocol_leaves_out_is_no_fault(data, on_bad):
    write(data, [record(1, "a"), record(2, "b", out="record"), record(3, "a", out="sample")])
    dataset = Loose(ShapesConfig(on_bad=on_bad))
    assert ids(dataset) == ["1"]
    assert dataset.faults("box", "test") == []
    path = data / "test.jsonl"
    assert dataset.left("box", "test") == [f"{path}:2: its record says so", f"{path}:3: its sample says so"]
    assert dataset.disclaimer == "2 records of box@loose/test are left out by protocol."


def test_nothing_but_what_the_protocol_leaves_out(data):
    write(data, [record(2, "b", out="record")])
    with pytest.raises(DataError, match=r"has no sample: 1 records are left out by protocol, such as .*:1: its record"):
        ids(Loose(ShapesConfig()))


def test_a_key_that_no_picture_has(data):
    with pytest.raises(DataError, match="'no such' is no picture of data set 'loose'"):
        Loose(ShapesConfig()).image("no such")


def written(monkeypatch, method, value):
    monkeypatch.setattr(Shapes, method, lambda *_: [value])
    with pytest.raises(DataError) as caught:
        ids(shapes())
    return "\n".join((caught.value.message, *caught.value.hints))


@pytest.mark.parametrize(
    ("method", "value", "said"),
    [
        pytest.param(
            "entries", {"id": 1}, "data set 'shapes': entries() yields a dict, and should an Entry", id="dict"
        ),
        pytest.param("read", {"id": 1}, "read() yields a dict, and should a StoredSample", id="no-sample"),
        pytest.param("read", StoredSample(1, "a", {"whole": True}), "are texts, not 1, 'a'", id="id"),
        pytest.param("read", StoredSample("1", "a", {"whole": True}, "dog"), "a tuple of texts, not one", id="letters"),
        pytest.param(
            "read", StoredSample("1", "a", {"whole": True}, (7,)), "a reference of a sample is 7", id="number"
        ),
        pytest.param("read", StoredSample("1", "a", {"whole": 1}), "region 'whole' has an unexpected", id="region"),
    ],
)
def test_mistakes_of_those_who_write_readers(monkeypatch, method, value, said):
    assert said in written(monkeypatch, method, value)
