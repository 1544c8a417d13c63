"""Sentences of tar files: what is read, how some are drawn, and what hostile and damaged shards do."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from regionkit.core.contracts import Corpus
from regionkit.core.errors import ConfigError, DataError
from regionkit.plugins.datasets.configs import WebdatasetTextsConfig
from regionkit.plugins.datasets.corpora_shards import WebdatasetTexts
from regionkit.registry.assembly import build

param = pytest.param
Members = Sequence[tuple[str, bytes]] | Mapping[str, bytes]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGIONKIT_DATA", raising=False)
    return tmp_path


def packed(members: Members, *more: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items() if isinstance(members, Mapping) else members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in more:
            tar.addfile(info)
    return buffer.getvalue()


def sample(number: int) -> list[tuple[str, bytes]]:
    told = {"caption": f"caption {number}", "best": f" the  best\n{number}"}
    return [
        (f"{number:04}.jpg", b"\xff\xd8" + bytes(700)),
        (f"{number:04}.txt", f"text {number}\n".encode()),
        (f"{number:04}.json", json.dumps(told).encode()),
    ]


def shards(count: int = 3, each: int = 4, ending: str = "tar") -> None:
    for shard in range(count):
        content = packed([pair for at in range(each) for pair in sample(shard * each + at)])
        Path(f"{shard:05}.{ending}").write_bytes(gzip.compress(content) if ending.endswith("gz") else content)


def corpus(name: str = "*.tar", **options: Any) -> Corpus:
    made = build("corpus", {"name": "webdataset", "shards": name, **options})
    assert isinstance(made, Corpus)
    return made


@pytest.mark.parametrize(
    ("pattern", "ending"),
    [
        param("*.tar", "tar", id="star"),
        param("{00000..00002}.tar", "tar", id="range"),
        param("*.tar.gz", "tar.gz", id="packed"),
        param("{00000..00002}.tgz", "tgz", id="packed-range"),
    ],
)
@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        param({}, "text {}", id="txt"),
        param({"field": "caption"}, "caption {}", id="json"),
        param({"field": "best"}, "the best {}", id="another-field"),
    ],
)
def test_texts_come_in_the_order_of_the_shards(pattern: str, ending: str, options: dict[str, Any], wanted: str) -> None:
    shards(ending=ending)
    read = corpus(pattern, **options)
    assert list(read.stream()) == [wanted.format(number) for number in range(12)] == list(read.texts())
    assert read.faults() == ()


def test_they_are_looked_for_below_the_data_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "data" / "relaion").mkdir(parents=True)
    (here / "data" / "relaion" / "0.tar").write_bytes(packed(sample(0)))
    with pytest.raises(DataError) as caught:
        corpus("relaion/*.tar").texts()
    assert str(caught.value) == f"relaion/*.tar: there is no such tar file\n  looked for: {here}/relaion/*.tar"
    monkeypatch.setenv("REGIONKIT_DATA", str(here / "data"))
    assert corpus("relaion/*.tar").texts() == ("text 0",)
    assert WebdatasetTextsConfig(shards="relaion/*.tar").corpus == "relaion"


def test_draws_are_seeded_keep_their_order_and_are_fair() -> None:
    shards(count=4, each=5)
    every = list(corpus().texts())
    drawn = list(corpus(limit=7, seed=3).stream())
    assert len(drawn) == len(set(drawn)) == 7
    assert drawn == [text for text in every if text in drawn] == list(corpus(limit=7, seed=3).texts())
    assert drawn != list(corpus(limit=7, seed=4).texts())
    counts = dict.fromkeys(every, 0)
    for seed in range(60):
        for text in corpus(limit=5, seed=seed).stream():
            counts[text] += 1
    assert 4 <= min(counts.values()) <= 15 <= max(counts.values()) <= 30  # 15 is what each should have
    assert list(corpus(limit=20).texts()) == every
    with pytest.raises(DataError, match=r"\*.tar has 20 sentences, limit asks for 21\n  leave limit out"):
        corpus(limit=21).texts()


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_members_that_cannot_be_used_are_left_out_and_named(here: Path) -> None:
    members = [
        ("0.txt", b"good"),
        ("1.txt", b"b\xe9d"),
        ("2.txt", b" \n"),
        ("3.txt", b"x" * ((1 << 20) + 1)),
        ("../../4.txt", b"nothing is written anywhere"),
    ]
    links = [special("5.txt", tarfile.SYMTYPE, "/etc/passwd"), special("6.txt", tarfile.LNKTYPE, "0.txt")]
    Path("0.tar").write_bytes(packed(members, *links, special("7.txt", tarfile.CHRTYPE)))
    before = sorted(here.rglob("*"))
    read = corpus()
    assert list(read.texts()) == ["good", "nothing is written anywhere"]
    plain = "it is no plain file: links and devices are not followed"
    assert read.faults() == (
        "0.tar: '1.txt': byte 2 is not UTF-8",
        "0.tar: '2.txt': it is empty",
        "0.tar: '3.txt': it has 1,048,577 bytes, a sentence has at most 1,048,576",
        f"0.tar: '5.txt': {plain}",
        f"0.tar: '6.txt': {plain}",
        f"0.tar: '7.txt': {plain}",
    )
    assert sorted(here.rglob("*")) == before
    with pytest.raises(DataError, match=r"0.tar: '1.txt': byte 2 is not UTF-8\n  leave such ones out with on_bad"):
        corpus(on_bad="stop").texts()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        param(b"{", "no JSON, at column 2", id="json"),
        param(b"[1]", "it has no text 'caption'", id="list"),
        param(b'{"text": "a"}', "it has no text 'caption'", id="field"),
        param(b'{"caption": 3}', "it has no text 'caption'", id="number"),
        param(b'{"caption": "a\\ud800"}', "it holds half of a character", id="surrogate"),
        param(b'{"caption": "a", "caption": "b"}', "twice", id="twice"),
        param(b"[" * 100_000, "brackets are nested too deeply", id="brackets"),
    ],
)
def test_json_that_holds_no_sentence(content: bytes, reason: str) -> None:
    Path("0.tar").write_bytes(packed([("0.json", content), ("1.json", b'{"caption": "good"}')]))
    read = corpus(field="caption")
    assert list(read.texts()) == ["good"]
    (fault,) = read.faults()
    assert fault.startswith("0.tar: '0.json': ")
    assert reason in fault


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
@pytest.mark.parametrize("kept", [0.3, 0.55, 0.8])
def test_a_shard_that_is_cut_off_gives_what_it_has(ending: str, kept: float) -> None:
    shards(count=2, ending=ending)
    first = Path(f"00000.{ending}")
    content = first.read_bytes() if ending == "tar" else gzip.decompress(first.read_bytes())
    content = content.rstrip(b"\0")
    whole = content[: int(len(content) * kept)] if ending == "tar" else b""
    if ending == "tar.gz":
        stored = io.BytesIO()
        with gzip.GzipFile(fileobj=stored, mode="wb", compresslevel=0) as file:
            file.write(content)
        whole = stored.getvalue()[: int(len(stored.getvalue()) * kept)]
    first.write_bytes(whole)
    read = corpus(f"*.{ending}")
    found = list(read.texts())
    assert found[-4:] == [f"text {number}" for number in range(4, 8)]
    assert found[:-4] == [f"text {number}" for number in range(len(found) - 4)]
    assert len(found) < 8
    (fault,) = read.faults()
    assert fault.startswith(f"00000.{ending}: ")
    assert "cut off" in fault


def test_what_is_no_tar_file_is_refused() -> None:
    Path("0.tar").write_bytes(b"no tar file" * 100)
    with pytest.raises(DataError, match=r"0.tar: this is no tar file"):
        corpus().texts()
    Path("0.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"0.tar: this is no tar file"):
        corpus().texts()


def test_endings_that_are_there_are_named_where_no_text_is_found() -> None:
    shards(count=1)
    with pytest.raises(DataError) as caught:
        corpus(ending="cap").texts()
    assert str(caught.value) == (
        "*.tar: there is no sentence in these tar files\n"
        "  texts are looked for in .cap, and the endings there are: .jpg, .txt, .json"
    )


@pytest.mark.timeout(30)
def test_hostile_headers_and_packed_nothing_end_quickly() -> None:
    record = b"9" * 60_000 + b" path=x\n"
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(record)
    block = header.tobuf() + record + bytes(-len(record) % 512)
    Path("digits.tar").write_bytes(packed([("0.txt", b"good")])[:1024] + block + bytes(1024))
    huge = tarfile.TarInfo("pax")
    huge.type, huge.size = tarfile.XHDTYPE, 1 << 40
    Path("huge.tar").write_bytes(packed([("0.txt", b"good")])[:1024] + huge.tobuf() + bytes(1024))
    for name in ("digits.tar", "huge.tar"):
        read = corpus(name)
        assert list(read.texts()) == ["good"]
        assert "cut off or damaged" in read.faults()[0]
    nothing = tarfile.TarInfo("a.jpg")
    nothing.size = 1 << 30
    with gzip.open("bomb.tar.gz", "wb", compresslevel=9) as file:
        file.write(nothing.tobuf())
        for _ in range(300):
            file.write(bytes(1 << 20))
    with pytest.raises(DataError, match=r"bomb.tar.gz: this file unpacks to more than 200 times its size"):
        corpus("bomb.tar.gz").texts()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_texts() -> None:
    members = [(f"{number}.txt", f"sentence number {number} of many".encode()) for number in range(6000)]
    Path("0.tar").write_bytes(packed(members))
    for at in range(1, 4):
        Path(f"{at}.tar").write_bytes(Path("0.tar").read_bytes())
    peaks = []
    for pattern in ("0.tar", "*.tar"):
        read = corpus(pattern)
        tracemalloc.start()
        count = sum(1 for _ in read.stream())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert count == 24_000
    assert peaks[1] < peaks[0] + 100_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"shards": ""}, "'' is no path", id="path"),
        param({"limit": -1}, "limit: -1 must be 0", id="limit"),
        param({"on_bad": "ignore"}, "on_bad", id="on-bad"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build("corpus", {"name": "webdataset", "shards": "*.tar", **options})


def test_too_many_faults_are_counted() -> None:
    members = [(f"{number}.txt", b"") for number in range(1005)]
    Path("0.tar").write_bytes(packed([*members, ("good.txt", b"good")]))
    read = WebdatasetTexts(WebdatasetTextsConfig(shards="0.tar"))
    assert list(read.stream()) == ["good"]
    assert len(read.faults()) == 1001
    assert read.faults()[-1] == "and 5 more"
