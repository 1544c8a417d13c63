"""Phrases of Flickr30k Entities: the release's sentences and XML, and XML that means harm."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from regions_layouts import dataset, picture

from regionkit.core.errors import DataError

NUMBER = "36979"
SENTENCES = (
    "[/EN#1/people Two men] in [/EN#2/clothing green shirts] stand in [/EN#3/scene a yard] .\n"
    "[/EN#1/people/other Several people] look at [/EN#0/notvisual nothing] .\n"
)
SIZE = "<size><width>50</width><height>40</height><depth>3</depth></size>"


def box(names: str, corners: tuple[object, ...]) -> str:
    sides = "".join(
        f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<object>{names}<bndbox>{sides}</bndbox></object>"


def name(entity: int) -> str:
    return f"<name>{entity}</name>"


OBJECTS = (
    box(name(1), (1, 1, 20, 40))
    + box(name(1) + name(4), (31, 11, 50, 40))
    + box(name(2), (5, 10, 15, 20))
    + "<object><name>3</name><scene>1</scene><nobndbox>0</nobndbox></object>"
)


def xml(objects: str, size: str = SIZE) -> str:
    return f"<annotation>\n<filename>{NUMBER}.jpg</filename>\n{size}\n{objects}\n</annotation>\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGIONKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    here = tmp_path / "data" / "flickr30k-entities"
    for part in ("Annotations", "Sentences"):
        (here / part).mkdir(parents=True)
    (here / "test.txt").write_text(f"{NUMBER}\n")
    write(here, NUMBER, xml(OBJECTS), SENTENCES)
    picture(tmp_path / "data" / "flickr30k" / "flickr30k-images" / f"{NUMBER}.jpg", 50, 40)
    return here


def write(folder: Path, number: str, boxes: str, sentences: str = SENTENCES) -> None:
    (folder / "Annotations" / f"{number}.xml").write_text(boxes)
    (folder / "Sentences" / f"{number}.txt").write_text(sentences)


def faults(folder: Path) -> str:
    data = dataset("flickr30k-phrases")
    try:
        data.samples("phrase", "test")
    except DataError as error:
        return str(error)
    return "\n".join(data.faults("phrase", "test"))


def test_phrases_with_their_boxes(folder: Path) -> None:
    data = dataset("flickr30k-phrases")
    men, shirts, people = data.samples("phrase", "test")
    both = [(0, 0, 20, 40), (30, 10, 50, 40)]
    assert [(one.id, one.image_id, one.references) for one in (men, shirts, people)] == [
        ("36979/0/0", "36979.jpg", ("Two men",)),
        ("36979/0/1", "36979.jpg", ("green shirts",)),
        ("36979/1/0", "36979.jpg", ("Several people",)),
    ]
    assert [one.corners for one in men.region.boxes] == both
    assert [one.corners for one in people.region.boxes] == both
    assert shirts.region.corners == (4, 9, 15, 20)
    assert men.info == {
        "entity": "1", "types": ["people"], "sentence": "Two men in green shirts stand in a yard ."
    }  # fmt: skip
    assert people.info["types"] == ["people", "other"]
    assert data.image("36979.jpg").size == (50, 40)
    assert data.faults("phrase", "test") == []


@pytest.mark.parametrize(
    ("several", "kinds"),
    [
        pytest.param("hull", ["box", "box", "box"], id="hull"),
        pytest.param("leave-out", ["box"], id="leave-out"),
        pytest.param("box-set", ["box-set", "box", "box-set"], id="box-set"),
    ],
)
def test_phrases_of_several_boxes(folder: Path, several: str, kinds: list[str]) -> None:
    found = dataset("flickr30k-phrases", several=several).samples("phrase", "test")
    assert [one.region.kind for one in found] == kinds
    left = dataset("flickr30k-phrases", several=several).left("phrase", "test")
    assert sum("boxes were drawn around what it speaks of" in one for one in left) == 3 - len(kinds)
    assert all(": phrase " in one for one in left)
    if several == "hull":
        assert found[0].region.corners == (0, 0, 50, 40)


def test_a_box_may_have_several_names(folder: Path) -> None:
    write(folder, NUMBER, xml(OBJECTS), "[/EN#4/other the second man]\n")
    assert [one.region.corners for one in dataset("flickr30k-phrases").samples("phrase", "test")] == [(30, 10, 50, 40)]


BOMB = (
    '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>\n'
    "<annotation>&b;</annotation>"
)


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        pytest.param(BOMB, "it has a document type or entities", id="entities"),
        pytest.param('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "it has a document type", id="external"),
        pytest.param(BOMB.encode("utf-16"), "is not UTF-8", id="hidden-in-utf-16"),
        pytest.param(xml("<!-- note -->" + "<object>"), "no XML: mismatched tag", id="cut"),
        pytest.param(
            xml("<a>" * 2000 + "</a>" * 2000, size=""), "'' stands where a number", id="deep-and-without-size"
        ),
        pytest.param(" " * (1 << 20) + xml(OBJECTS), "longer than 1024 KiB", id="too-long"),
        pytest.param(xml(OBJECTS).replace("<width>50<", "<width>5e1<"), "'5e1' stands where a number", id="width"),
        pytest.param(xml(OBJECTS).replace("<width>50<", "<width>49<"), "should have 49 x 40", id="other-size"),
    ],
)
def test_xml_that_cannot_be_used(folder: Path, boxes: str | bytes, reason: str) -> None:
    path = folder / "Annotations" / f"{NUMBER}.xml"
    path.write_bytes(boxes if isinstance(boxes, bytes) else boxes.encode())
    assert reason in faults(folder)


@pytest.mark.parametrize(
    ("corners", "reason"),
    [
        pytest.param((5, 10, 4, 20), "its box 4,9,4,20 has no area", id="no-area"),
        pytest.param((5, 10, 60, 20), "its box 4,9,60,20 leaves its picture of 50 x 40", id="leaves"),
        pytest.param(("x", 10, 60, 20), "'x' stands where a number of pixels is expected", id="text"),
        pytest.param(("9" * 5000, 10, 60, 20), "stands where a number of pixels is expected", id="huge"),
    ],
)
def test_a_box_that_cannot_be_used_takes_no_other_phrase_with_it(
    folder: Path, corners: tuple[Any, ...], reason: str
) -> None:
    write(folder, NUMBER, xml(box(name(2), corners) + box(name(1), (1, 1, 9, 9))))
    data = dataset("flickr30k-phrases")
    assert [one.id for one in data.samples("phrase", "test")] == ["36979/0/0", "36979/1/0"]
    (fault,) = data.faults("phrase", "test")
    assert fault.startswith(f"{folder / 'Sentences' / '36979.txt'}:1: phrase 2: ")
    assert reason in fault


def test_sentences_and_lists_that_are_damaged(folder: Path) -> None:
    write(folder, NUMBER, xml(OBJECTS), "[/EN#1/people Two men stand\n[/EN#2/clothing a shirt] .\n")
    (folder / "test.txt").write_text(f"{NUMBER}\n../../etc/passwd\n77\n")
    data = dataset("flickr30k-phrases")
    assert [one.id for one in data.samples("phrase", "test")] == ["36979/1/0"]
    said = data.faults("phrase", "test")
    assert said == [
        f"{folder / 'Sentences' / '36979.txt'}:1: a phrase of this sentence does not end: [/EN#12/people A man]",
        f"{folder / 'test.txt'}:2: this line is no number of a picture",
        f"{folder / 'Annotations' / '77.xml'}: there is no such file",
    ]


def test_missing_files_and_pictures(folder: Path) -> None:
    (folder.parent / "flickr30k" / "flickr30k-images" / f"{NUMBER}.jpg").unlink()
    assert "the picture '36979.jpg' is not there" in faults(folder)
    (folder / "Sentences" / f"{NUMBER}.txt").unlink()
    os.utime(folder / "Sentences", (5, 5))
    assert "36979.txt: cannot be read: No such file" in faults(folder)
    (folder / "Sentences").rmdir()
    with pytest.raises(DataError, match="needs the folder Sentences in"):
        dataset("flickr30k-phrases").samples("phrase", "test")
