"""``toolkit bank build --h5``: released banks become banks of ours without a text tower being run."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.released_banks import read_released_bank
from regionkit.core.texts import bank_texts
from regionkit.core.weights import read_header
from regionkit.registry import load
from regionkit.registry.cli import root
from regionkit.registry.weights.index import get_index

h5py = pytest.importorskip("h5py")

TEXTS = ["a small dog", "a cat\non  grass", "never filled", "a café"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path / "mine"))
    monkeypatch.delenv("REGIONKIT_DATA", raising=False)
    get_index.cache_clear()
    yield tmp_path
    get_index.cache_clear()


def rows(width: int = 128) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(4, width)).astype(np.float32)
    values[2] = 0
    return values


def write(
    path: Path | str = "bank.h5", values: Any = None, texts: Any = TEXTS, name: str = "coco_captions", **more: Any
) -> None:
    with h5py.File(path, "a") as file:
        if values is not False:
            file.create_dataset(f"{name}-embeddings", data=rows() if values is None else values, **more)
        if texts is not False:
            file.create_dataset(f"{name}-text", data=texts)


def build(*args: str) -> Result:
    return CliRunner().invoke(root, ["bank", "build", "--backbone", "mini-dense", *args])


def test_a_released_bank_is_taken_over_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    write()
    monkeypatch.setattr("regionkit.core.texts.embed_texts", None)  # nothing may be encoded
    result = build("--h5", "bank.h5")
    assert result.exit_code == 0, result.output
    assert "note: 1 row of zeros, never filled, left out" in result.stderr
    assert "bank-coco_captions-mini-dense.safetensors: 3 sentences in mini-dense/text[128]" in result.stdout
    assert "pipelines find it by themselves" in result.stdout
    path = "mine/bank-coco_captions-mini-dense.safetensors"
    header = read_header(path)
    assert header is not None
    assert (header.kind, header.name, header.space, header.corpus) == (
        "bridge",
        "memory",
        "mini-dense/text[128]",
        "coco_captions",
    )
    tensors = load_file(path)
    assert bank_texts(tensors) == ["a small dog", "a cat on grass", "a café"]
    np.testing.assert_array_equal(tensors["embeddings"].numpy(), rows()[[0, 1, 3]])
    pipeline = load("mini", overrides=["bridge.bank=coco_captions"], device="cpu")
    assert pipeline.bridge.texts == ("a small dog", "a cat on grass", "a café")


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_other_floats_become_float32(kind: str) -> None:
    write(values=rows().astype(kind))
    bank = read_released_bank("bank.h5")
    assert bank.embeddings.dtype.is_floating_point
    np.testing.assert_array_equal(bank.embeddings.numpy(), rows()[[0, 1, 3]].astype(kind).astype(np.float32))


def test_fixed_length_texts_and_a_draw_of_some() -> None:
    write(texts=np.array([text.encode() for text in TEXTS]))
    result = build("--h5", "bank.h5", "--size", "2", "--seed", "1", "--name", "few", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["texts"] == 2
    tensors = load_file("mine/bank-few-mini-dense.safetensors")
    whole = read_released_bank("bank.h5")
    for text, row in zip(bank_texts(tensors), tensors["embeddings"], strict=True):
        assert row.tolist() == whole.embeddings[whole.texts.index(text)].tolist()


def test_of_several_banks_one_is_named() -> None:
    write()
    write(name="cc3m", texts=["w", "x", "y", "z"])
    refused = build("--h5", "bank.h5")
    assert refused.exit_code == 2
    assert "bank.h5: this file holds 2 banks\n  say which: cc3m, coco_captions" in refused.output
    assert "there is no bank 'x' in this file\n  banks are: cc3m" in build("--h5", "bank.h5", "--dataset", "x").output
    taken = build("--h5", "bank.h5", "--dataset", "cc3m", "--json")
    assert json.loads(taken.stdout)["bank"] == "cc3m"


def test_it_is_looked_for_below_the_data_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "data").mkdir()
    write("data/bank.h5")
    assert "bank.h5: cannot be read: no such file" in build("--h5", "bank.h5").output
    monkeypatch.setenv("REGIONKIT_DATA", "data")
    assert build("--h5", "bank.h5").exit_code == 0


def _nan() -> np.ndarray:
    values = rows()
    values[3, 7] = np.nan
    return values


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(
            {"values": rows(64)},
            "bank.h5: the embeddings of 'coco_captions' are 64 wide, and mini-dense/text[128] of backbone 'mini-dense' "
            "is 128 wide\n  name the backbone whose text tower made them with --backbone",
            id="width",
        ),
        pytest.param({"values": _nan()}, "row 3 of 'coco_captions-embeddings' is NaN or infinite", id="nan"),
        pytest.param({"values": rows().astype("f8") * 1e300}, "row 0 of 'coco_captions-emb", id="overflow"),
        pytest.param({"values": np.zeros((4, 128), "f4")}, "the bank was never filled", id="zeros"),
        pytest.param({"values": np.ones((4, 128), "i4")}, "is int32 (4, 128), a bank is a table of floats", id="ints"),
        pytest.param({"values": np.ones(128, "f4")}, "is float32 (128,), a bank is a table", id="flat"),
        pytest.param({"values": np.ones((0, 128), "f4"), "texts": []}, "is float32 (0, 128), a bank", id="empty"),
        pytest.param({"values": False}, "there is no bank in this file, it holds: coco_captions-text", id="no-rows"),
        pytest.param({"texts": False}, "there is no 'coco_captions-text' in this file", id="no-texts"),
        pytest.param({"texts": [1, 2, 3, 4]}, "'coco_captions-text' holds int64, not sentences", id="numbers"),
        pytest.param({"texts": ["a"]}, "there are 4 embeddings, and texts of shape (1,)", id="count"),
        pytest.param({"texts": np.array([b"a", b"\xff", b"c", b"d"])}, "text 1 of 'coco_captions-text' is", id="utf8"),
    ],
)
def test_banks_that_cannot_be_used(given: dict[str, Any], message: str) -> None:
    write(**given)
    result = build("--h5", "bank.h5")
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert not Path("mine").exists()


def test_what_points_elsewhere_is_not_followed(here: Path) -> None:
    write("other.h5")
    with h5py.File("link.h5", "w") as file:
        file["coco_captions-embeddings"] = h5py.ExternalLink("other.h5", "coco_captions-embeddings")
        file["coco_captions-text"] = TEXTS
    with h5py.File("outside.h5", "w") as file:
        (here / "raw").write_bytes(rows().tobytes())
        file.create_dataset(
            "coco_captions-embeddings", (4, 128), "f4", external=[(str(here / "raw"), 0, h5py.h5f.UNLIMITED)]
        )
        file["coco_captions-text"] = TEXTS
    layout = h5py.VirtualLayout((4, 128), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "coco_captions-embeddings", (4, 128))
    with h5py.File("virtual.h5", "w") as file:
        file.create_virtual_dataset("coco_captions-embeddings", layout)
        file["coco_captions-text"] = TEXTS
    with h5py.File("group.h5", "w") as file:
        file.create_group("coco_captions-embeddings")
        file["coco_captions-text"] = TEXTS
    for name, message in [
        ("link.h5", "'coco_captions-embeddings' is a link to another place, and files are read alone"),
        ("outside.h5", "'coco_captions-embeddings' is kept in another file, and files are read alone"),
        ("virtual.h5", "'coco_captions-embeddings' is kept in another file, and files are read alone"),
        ("group.h5", "'coco_captions-embeddings' is no data set"),
    ]:
        result = build("--h5", name)
        assert result.exit_code == 2, result.output
        assert message in result.output


def test_a_small_file_that_claims_to_be_huge_is_refused() -> None:
    with h5py.File("bank.h5", "w") as file:
        file.create_dataset("coco_captions-embeddings", (10_000_000, 128), "f4", chunks=True)
        file.create_dataset("coco_captions-text", (10_000_000,), h5py.string_dtype(), chunks=True)
    result = build("--h5", "bank.h5")
    assert result.exit_code == 2, result.output
    assert "bytes and is much smaller than that" in result.output


@pytest.mark.timeout(60)
def test_damaged_files_and_what_is_no_file(here: Path) -> None:
    write()
    whole = Path("bank.h5").read_bytes()
    for size in range(0, len(whole), max(1, len(whole) // 40)):
        Path("cut.h5").write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"cut\.h5: this is no HDF5 file, or a damaged one"):
            read_released_bank("cut.h5")
    result = build("--h5", "cut.h5")
    assert result.exit_code == 2, result.output
    assert "cut.h5: this is no HDF5 file, or a damaged one" in result.output
    generator, built = np.random.default_rng(0), 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 8):
            damaged[place] = generator.integers(256)
        Path("cut.h5").write_bytes(damaged)
        try:
            read_released_bank("cut.h5")
        except RegionkitError:
            continue
        if built < 10:  # some of what can be read although it is damaged goes the whole way
            built += 1
            result = build("--h5", "cut.h5", "--out", "x.safetensors")
            assert result.exit_code in (0, 2), result.output
            assert "Traceback" not in result.output
    assert built == 10
    os.mkfifo("pipe.h5")
    for name in ("pipe.h5", "/dev/zero", str(here)):
        assert "it is no regular file" in build("--h5", name).output


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    result = build("--h5", "bank.h5")
    assert result.exit_code == 2
    assert "needs the package 'h5py', which is not installed" in result.output
    assert "install it with: pip install 'regionkit[h5]'" in result.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(["--h5", "a.h5", "--split", "train"], "--split belongs to --coco, and the sentences", id="split"),
        pytest.param(["--texts", "a.txt", "--dataset", "x"], "--dataset belongs to --h5, and the sent", id="dataset"),
    ],
)
def test_options_of_other_sources_are_refused(args: list[str], message: str) -> None:
    result = build(*args)
    assert result.exit_code == 2
    assert message in result.output
