"""Banks that are written as they come: the file, what a stopped build leaves, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from regionkit.core import bank_files
from regionkit.core.bank_files import BankFile, BankWriter
from regionkit.core.errors import DataError, RegionkitError, WeightsError
from regionkit.core.texts import bank_tensors, bank_texts
from regionkit.core.weights import WeightHeader, read_header, write_weights

HEADER = WeightHeader("bridge", "memory", "a/text[4]", corpus="some")
TEXTS = ["ein Hund, größer", "a dog", "", "a cat", "five", "six", "seven"]
ROWS = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def batches_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_files, "BATCH", 2)


def write(path: Path, start: int, stop: int, *, finish: bool = True, **options: object) -> BankWriter:
    writer = BankWriter(path, 4, {"seed": 1, **options})
    with writer.opened():
        for at in range(max(start, writer.rows), stop, 2):
            end = min(at + 2, stop)
            writer.append(TEXTS[at:end], ROWS[at:end])
        if finish:
            writer.finish(HEADER)
    return writer


def test_the_file_is_a_weight_file_like_any_other(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", 0, 7)
    tensors = load_file(tmp_path / "a.safetensors")
    assert torch.equal(tensors["embeddings"], ROWS)
    assert bank_texts(tensors) == TEXTS
    assert read_header(tmp_path / "a.safetensors") == HEADER
    write_weights(tmp_path / "b.safetensors", bank_tensors(ROWS, TEXTS), HEADER)
    with safe_open(tmp_path / "b.safetensors", "pt") as other:
        assert sorted(other.keys()) == sorted(tensors)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_half_precision(tmp_path: Path) -> None:
    writer = BankWriter(tmp_path / "a.safetensors", 4, {}, half=True)
    with writer.opened():
        writer.append(TEXTS, ROWS)
        with pytest.raises(DataError, match="an embedding is too large for float16"):
            writer.append(["a"], torch.full((1, 4), 1e6))
        writer.finish(HEADER)
    assert torch.equal(load_file(tmp_path / "a.safetensors")["embeddings"], ROWS.half())


@pytest.mark.parametrize("damage", ["", "rows", "texts", "both"])
def test_a_stopped_build_goes_on_with_whole_batches(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.safetensors"
    stopped = write(path, 0, 4, finish=False)
    assert not path.exists()
    if damage in ("rows", "both"):
        with (stopped.folder / "embeddings").open("ab") as file:
            file.write(b"half a row")
    if damage in ("texts", "both"):
        with (stopped.folder / "texts").open("ab") as file:
            file.write(b"five\nsi")
    again = BankWriter(path, 4, {"seed": 1})
    with again.opened():
        assert again.rows == 4
        assert list(again.kept()) == TEXTS[:4]
    write(path, 0, 7)
    assert torch.equal(load_file(path)["embeddings"], ROWS)
    assert bank_texts(load_file(path)) == TEXTS
    assert not stopped.folder.exists()


def test_rows_that_lost_their_sentences_are_made_again(tmp_path: Path) -> None:
    stopped = write(tmp_path / "a.safetensors", 0, 4, finish=False)
    (stopped.folder / "texts").write_text(f"{TEXTS[0]}\n{TEXTS[1]}\n{TEXTS[2]}\n", encoding="utf-8")
    assert write(tmp_path / "a.safetensors", 0, 7).rows == 7
    assert torch.equal(load_file(tmp_path / "a.safetensors")["embeddings"], ROWS)


@pytest.mark.parametrize(("name", "kept"), [("texts", 4), ("key.json", 0)])
def test_what_a_damaged_disk_left_is_no_text_and_stops_no_build(tmp_path: Path, name: str, kept: int) -> None:
    stopped = write(tmp_path / "a.safetensors", 0, 4, finish=False)
    held = bytearray((stopped.folder / name).read_bytes())
    held[3] = 0xFF  # no UTF-8 begins with it
    (stopped.folder / name).write_bytes(held)
    again = BankWriter(tmp_path / "a.safetensors", 4, {"seed": 1})
    with again.opened():
        assert again.rows == kept
        assert list(again.kept()) != TEXTS[:4]  # whoever builds sees that these are other sentences


@pytest.mark.parametrize("other", [{"seed": 2}, {"backbone": "other"}])
def test_rows_of_another_build_are_not_taken(tmp_path: Path, other: dict[str, object]) -> None:
    write(tmp_path / "a.safetensors", 0, 4, finish=False)
    writer = BankWriter(tmp_path / "a.safetensors", 4, {"seed": 1, **other})
    with writer.opened():
        assert writer.rows == 0
    assert not writer.folder.exists()  # nothing is worth keeping


def test_what_cannot_be_written(tmp_path: Path) -> None:
    writer = BankWriter(tmp_path / "a.safetensors", 4, {})
    with writer.opened():
        with pytest.raises(DataError, match=r"a text of a bank holds a line break: 'a\\nb'"):
            writer.append(["a\nb"], ROWS[:1])
        with pytest.raises(DataError, match="a bank needs at least one text"):
            writer.finish(HEADER)
    assert list(tmp_path.iterdir()) == []


def test_two_builds_of_one_file_do_not_mix(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    first, second = (BankWriter(tmp_path / "a.safetensors", 4, {}) for _ in range(2))
    with first.opened():
        first.append(TEXTS[:2], ROWS[:2])
        with pytest.raises(RegionkitError, match="another process builds this bank"), second.opened():
            pass
        first.finish(HEADER)
    assert len(load_file(tmp_path / "a.safetensors")["embeddings"]) == 2


@pytest.mark.parametrize("half", [False, True])
def test_rows_of_a_finished_bank_are_read_one_by_one(half: bool, tmp_path: Path) -> None:
    path = tmp_path / "bank.safetensors"
    values = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
    texts = [*(f"sentence {number}" for number in range(299)), ""]
    write_weights(path, bank_tensors(values, texts), WeightHeader("bridge", "memory", "grid/text[5]"), half=half)
    bank = BankFile(path)
    assert (len(bank), bank.width, bank.header.space) == (300, 5, "grid/text[5]")
    rows = torch.tensor([299, 0, 17, 17])
    stored = values.half().float() if half else values
    assert torch.equal(bank.rows(rows), stored[rows])
    assert bank.rows(rows).dtype == torch.float32
    assert [bank.texts[row] for row in rows.tolist()] == [texts[row] for row in rows.tolist()]
    assert bank.fingerprint == BankFile(path).fingerprint
    write_weights(path, bank_tensors(values * 2, texts), bank.header, half=half)
    assert BankFile(path).fingerprint != bank.fingerprint


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        pytest.param({"embeddings": torch.ones(2, 3)}, "this bank has embeddings and no sentences", id="no-texts"),
        pytest.param({"texts": torch.zeros(1, dtype=torch.uint8)}, r"F16 or F32 \(n, d\), here are none", id="no-rows"),
        pytest.param(
            {"embeddings": torch.ones(2, 3).double(), "texts": torch.zeros(1, dtype=torch.uint8)},
            r"F16 or F32 \(n, d\), here are F64 \[2, 3\]",
            id="type",
        ),
        pytest.param(
            bank_tensors(torch.ones(2, 3), ["a", "b"]) | {"embeddings": torch.ones(3, 3)},
            "this bank has 3 embeddings and 2 sentences",
            id="counts",
        ),
    ],
)
def test_a_bank_that_is_none_is_refused(tensors: dict[str, Tensor], message: str, tmp_path: Path) -> None:
    write_weights(tmp_path / "a.safetensors", tensors, WeightHeader("bridge", "memory", "grid/text[3]"))
    with pytest.raises(WeightsError, match=message):
        BankFile(tmp_path / "a.safetensors")


def test_a_row_that_is_not_finite_is_named(tmp_path: Path) -> None:
    values = torch.ones(4, 3)
    values[2, 1] = torch.nan
    header = WeightHeader("bridge", "memory", "grid/text[3]")
    write_weights(tmp_path / "a.safetensors", bank_tensors(values, list("abcd")), header)
    bank = BankFile(tmp_path / "a.safetensors")
    assert len(bank.rows(torch.tensor([0, 3]))) == 2
    with pytest.raises(WeightsError, match="row 2 of this bank is NaN or infinite"):
        bank.rows(torch.tensor([1, 2]))
