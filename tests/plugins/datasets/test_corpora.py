"""Corpora that are files: what they read, where they look, and what they refuse."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path

import pytest

from regionkit.core.errors import ConfigError, DataError
from regionkit.plugins.datasets.configs import CocoCaptionsConfig, TextLinesConfig
from regionkit.plugins.datasets.corpora import TextLines
from regionkit.plugins.datasets.sentences import read_coco, read_lines
from regionkit.registry.assembly import build

KARPATHY = {
    "images": [
        {"split": "train", "sentences": [{"raw": "A dog."}, {"raw": " a  cat\nsits"}]},
        {"split": "restval", "sentences": [{"raw": "a bus"}]},
        {"split": "val", "sentences": [{"raw": "a hat"}]},
        {"split": "test", "sentences": [{"raw": "a pie"}]},
    ]
}
COCO = {"annotations": [{"caption": "A dog.\n"}, {"caption": " a  cat"}]}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGIONKIT_DATA", raising=False)
    Path("karpathy.json").write_text(json.dumps(KARPATHY))
    Path("coco.json").write_text(json.dumps(COCO))
    return tmp_path


def texts(name: str, **options: object) -> list[str]:
    return list(build("corpus", {"name": name, **options}).texts())


@pytest.mark.parametrize(
    ("split", "wanted"),
    [
        pytest.param("auto", ["A dog.", "a cat sits", "a bus"], id="auto-is-train-and-restval"),
        pytest.param("train", ["A dog.", "a cat sits"], id="train"),
        pytest.param("val + test", ["a hat", "a pie"], id="two"),
        pytest.param("all", ["A dog.", "a cat sits", "a bus", "a hat", "a pie"], id="all"),
    ],
)
def test_splits_of_karpathys_file(split: str, wanted: list[str]) -> None:
    assert texts("coco-captions", file="karpathy.json", split=split) == wanted


def test_a_coco_caption_file_is_read_whole() -> None:
    assert texts("coco-captions", file="coco.json") == ["A dog.", "a cat"]


def test_lines_are_read_plain_and_packed() -> None:
    content = "\ufeffone  dog\r\n\r\n two\x0bcats \u2028\n".encode()
    Path("a.txt").write_bytes(content)
    Path("a.txt.gz").write_bytes(gzip.compress(content))
    assert texts("text-lines", file="a.txt") == ["one dog", "two cats"]
    assert texts("text-lines", file="a.txt.gz") == ["one dog", "two cats"]


@pytest.mark.parametrize("name", ["a.txt", "b/a.txt.gz"])
def test_weights_call_a_text_file_by_its_name(name: str) -> None:
    assert TextLinesConfig(file=name).corpus == "a"


def test_draws_are_seeded_and_keep_the_order_of_the_file() -> None:
    Path("a.txt").write_text("\n".join(f"{number:02}" for number in range(50)))
    drawn = texts("text-lines", file="a.txt", limit=10, seed=3)
    assert len(drawn) == 10
    assert drawn == sorted(drawn) == texts("text-lines", file="a.txt", limit=10, seed=3)
    assert drawn != texts("text-lines", file="a.txt", limit=10, seed=4)
    with pytest.raises(DataError, match=r"a.txt has 50 sentences, limit asks for 51\n  leave limit out"):
        texts("text-lines", file="a.txt", limit=51)


def test_what_is_not_in_the_working_folder_is_looked_for_below_the_data_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "data" / "coco").mkdir(parents=True)
    (here / "data" / "coco" / "dataset_coco.json").write_text(json.dumps(KARPATHY))
    with pytest.raises(DataError) as caught:
        texts("coco-captions")
    assert str(caught.value) == (
        f"coco/dataset_coco.json: no such file\n  looked for: {here}/coco/dataset_coco.json\n"
        "  data below another folder are found with: export REGIONKIT_DATA=DIR"
    )
    monkeypatch.setenv("REGIONKIT_DATA", str(here / "data"))
    assert len(texts("coco-captions")) == 3
    with pytest.raises(DataError) as caught:
        texts("text-lines", file="gone.txt")
    assert str(caught.value) == f"gone.txt: no such file\n  looked for: {here}/gone.txt and {here}/data/gone.txt"


def test_the_working_folder_comes_first(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "data").mkdir()
    (here / "data" / "a.txt").write_text("below data")
    (here / "a.txt").write_text("here")
    monkeypatch.setenv("REGIONKIT_DATA", "data")
    assert texts("text-lines", file="a.txt") == ["here"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"good\nb\xe9b\xe9\n", "a.txt:2: byte 2 of this line is not UTF-8", id="utf8"),
        pytest.param(b"\n  \n", "a.txt: there is no sentence in this file", id="empty"),
        pytest.param(b"a\n" + b"x" * (1 << 21), "a.txt:2: this line is longer than 1,048,576 bytes", id="endless"),
    ],
)
def test_text_files_that_cannot_be_used(content: bytes, message: str) -> None:
    Path("a.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_lines(Path("a.txt"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b'{\n"annotations": [\n}', "a.json:3: this is no JSON", id="json"),
        pytest.param(b"\xff{}", "a.json: this is no JSON: 'utf-8' codec", id="utf8"),
        pytest.param(b"[" * 100_000, "this is no JSON: maximum recursion", id="brackets"),
        pytest.param(b'{"annotations": ' + b"1" * 10_000 + b"}", "this is no JSON: Exceeds the limit", id="digits"),
        pytest.param(b"[]", "a.json: there are no annotations in this file", id="form"),
        pytest.param(b'{"annotations": {"caption": "a"}}', "there are no annotations in this file", id="mapping"),
        pytest.param(
            b'{"annotations": [{"caption": "a"}, {"text": "b"}]}', r"annotations\[1\] has no caption", id="no"
        ),
        pytest.param(b'{"annotations": [{"caption": " \\n"}]}', r"annotations\[0\] has no caption", id="blank"),
        pytest.param(b'{"annotations": ["a"]}', r"annotations\[0\] has no caption", id="text"),
        pytest.param(
            b'{"annotations": [{"caption": "a\\ud800"}]}',
            r"the caption of annotations\[0\] holds half of a character: 'a\\ud800'",
            id="surrogate",
        ),
        pytest.param(b'{"images": []}', "there are no images in this file", id="no-images"),
        pytest.param(b'{"images": [{"split": "train"}]}', r"images\[0\] has no sentences", id="no-sentences"),
        pytest.param(
            b'{"images": [{"split": "train", "sentences": [{"raw": 3}]}]}',
            r"images\[0\].sentences\[0\] has no caption",
            id="no-raw",
        ),
        pytest.param(
            b'{"images": [{"split": "train", "sentences": []}]}', "there is no sentence in this file", id="none"
        ),
    ],
)
def test_caption_files_that_cannot_be_used(content: bytes, message: str) -> None:
    Path("a.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_coco(Path("a.json"))


@pytest.mark.parametrize(
    ("file", "split", "message"),
    [
        pytest.param(
            "karpathy.json",
            "tran",
            "there is no split 'tran' in this file\n  splits are: restval, test, train, val; all of them: split: all",
            id="unknown",
        ),
        pytest.param("coco.json", "train", "this file has no splits, 'train' was asked for", id="no-splits"),
    ],
)
def test_splits_that_are_not_there(file: str, split: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_coco(Path(file), split)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({}, "the option 'file' is missing", id="file"),
        pytest.param({"file": ""}, "'' is no path", id="empty"),
        pytest.param({"file": "a\0b"}, "is no path", id="nul"),
        pytest.param({"file": "a.txt", "limit": -1}, "limit: -1 must be 0", id="limit"),
        pytest.param({"file": "a.txt", "seed": 2**63}, "seed: 9223372036854775808 must be between", id="seed"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        texts("text-lines", **options)


def test_a_split_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="split: 'train\\+' is no split"):
        CocoCaptionsConfig(split="train+")


@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_refused_and_nothing_hangs(here: Path) -> None:
    os.mkfifo("pipe.txt")
    os.symlink("loop.txt", "loop.txt")
    for name, message in [
        ("pipe.txt", "this is a pipe or a device, not a file of sentences"),
        ("/dev/zero", "this is a pipe or a device, not a file of sentences"),
        (str(here), "this is a folder, not a file of sentences"),
        ("loop.txt", "loop.txt: no such file"),
        ("a" * 5000, "no such file"),
        ("~nobody-of-this-name/a.txt", "no such file"),
    ]:
        with pytest.raises(DataError, match=message):
            texts("text-lines", file=name)


def test_damaged_and_exploding_packed_files(here: Path) -> None:
    packed = gzip.compress(b"a sentence\n" * 1000)
    Path("cut.txt.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"cut.txt.gz: cannot be read: Compressed file ended"):
        texts("text-lines", file="cut.txt.gz")
    Path("plain.txt.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"plain.txt.gz: cannot be read: Not a gzipped file"):
        texts("text-lines", file="plain.txt.gz")
    Path("wrong.txt.gz").write_bytes(packed[:20] + bytes(byte ^ 255 for byte in packed[20:]))
    with pytest.raises(DataError, match=r"wrong.txt.gz: cannot be read: "):
        texts("text-lines", file="wrong.txt.gz")
    Path("bomb.txt.gz").write_bytes(gzip.compress(bytes(1 << 26)))
    with pytest.raises(DataError, match=r"bomb.txt.gz:1: this line is longer than"):
        texts("text-lines", file="bomb.txt.gz")
    Path("blank.txt.gz").write_bytes(gzip.compress((b" " * 1023 + b"\n") * (1 << 17)))
    with pytest.raises(DataError, match=r"blank.txt.gz: this file unpacks to more than 200 times its size"):
        texts("text-lines", file="blank.txt.gz")


@pytest.mark.slow
def test_six_hundred_thousand_captions_are_read_in_seconds() -> None:
    annotations = [{"image_id": n, "id": n, "caption": f"A man number {n} rides a horse."} for n in range(600_000)]
    Path("large.json").write_text(json.dumps({"annotations": annotations}))
    start = time.perf_counter()
    drawn = texts("coco-captions", file="large.json", limit=500_000, seed=1)
    assert len(drawn) == 500_000
    assert time.perf_counter() - start < 20  # measured 1.5 s on an idle core


def test_lines_are_streamed_without_being_held(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\n\n two  words \nthree\n")
    corpus = TextLines(TextLinesConfig(file=str(path)))
    assert list(corpus.stream()) == ["one", "two words", "three"]
    assert "_texts" not in vars(corpus)
    assert list(corpus.texts()) == list(corpus.stream())
    drawn = TextLines(TextLinesConfig(file=str(path), limit=2))
    assert list(drawn.stream()) == list(drawn.texts())
    assert len(list(drawn.stream())) == 2


def test_captions_know_their_pictures() -> None:
    def pictures(**options: object) -> object:
        return build("corpus", {"name": "coco-captions", **options}).pictures()

    assert pictures(file="karpathy.json", split="all") == [0, 0, 1, 2, 3]
    assert pictures(file="karpathy.json", limit=2, seed=1) in ([0, 0], [0, 1])
    assert pictures(file="coco.json") is None  # it does not name them
    captions = [{"caption": "a", "image_id": 9}, {"caption": "b", "image_id": 4}, {"caption": "c", "image_id": 9}]
    Path("named.json").write_text(json.dumps({"annotations": captions}))
    assert pictures(file="named.json") == [0, 1, 0]
