"""``toolkit bank build`` as a stream: stopped and started again, from tar files, and banks that saw the test."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from regionkit.core import bank_files, released_banks, texts
from regionkit.core.results import DATABASE, ResultStore
from regionkit.core.texts import bank_texts
from regionkit.core.weights import read_header
from regionkit.plugins.mini.backbones import MiniBackbone
from regionkit.registry.cli import root
from regionkit.registry.weights.index import get_index

param = pytest.param
NOTE = (
    "ground-truth memory: the bank holds the references of mini, task box, split test; scores on them are an upper "
    "bound"
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    get_index.cache_clear()
    yield tmp_path
    get_index.cache_clear()


def toolkit(*args: str) -> Result:
    return CliRunner().invoke(root, args)


def build(*args: str, out: str = "bank.safetensors") -> Result:
    return toolkit("bank", "build", "--backbone", "mini-dense", "--device", "cpu", "--out", out, *args)


class Killed(BaseException):
    """Stands for kill -9."""


def stopping(monkeypatch: pytest.MonkeyPatch, after: int) -> list[int]:
    """Let the text tower be killed after some batches; return how many sentences each call was given."""
    seen: list[int] = []
    own = MiniBackbone.encode_text

    def encode(self: Any, sentences: Sequence[str]) -> torch.Tensor:
        if len(seen) == after:
            raise Killed
        seen.append(len(sentences))
        return own(self, sentences)

    monkeypatch.setattr(MiniBackbone, "encode_text", encode)
    return seen


def killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build a bank of lines.txt, and be killed after three batches."""
    arguments = ["bank", "build", "--backbone", "mini-dense", "--device", "cpu", "--texts", "lines.txt"]
    with monkeypatch.context() as patch:
        stopping(patch, 3)
        with pytest.raises(Killed):
            CliRunner().invoke(root, [*arguments, "--out", "bank.safetensors"], catch_exceptions=False)


def lines(count: int, start: int = 0) -> None:
    Path("lines.txt").write_text("".join(f"a red dog and {at} cats\n" for at in range(start, start + count)))


def test_a_build_that_was_killed_goes_on_and_ends_as_one_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "BATCH", 10)
    monkeypatch.setattr(bank_files, "BATCH", 10)
    lines(45)
    assert build("--texts", "lines.txt", out="whole.safetensors").exit_code == 0
    killed(monkeypatch)
    assert not Path("bank.safetensors").exists()
    with monkeypatch.context() as patch:
        seen = stopping(patch, 99)
        result = build("--texts", "lines.txt")
    assert result.exit_code == 0, result.output
    assert seen == [10, 5]
    assert "note: 30 sentences were encoded before, the build goes on after them" in result.stderr
    whole, resumed = load_file("whole.safetensors"), load_file("bank.safetensors")
    assert torch.equal(whole["embeddings"], resumed["embeddings"])
    assert bank_texts(whole) == bank_texts(resumed)
    assert [path.name for path in Path().iterdir() if path.name.endswith(".building")] == []


@pytest.mark.parametrize(
    ("count", "start", "more"),
    [
        param(45, 7, (), id="other-sentences"),
        param(12, 0, (), id="fewer-sentences"),
        param(45, 0, ("--half",), id="another-type"),
        param(45, 0, ("--set", "backbone.weights=none"), id="another-backbone"),
    ],
)
def test_what_was_encoded_for_another_bank_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, count: int, start: int, more: tuple[str, ...]
) -> None:
    monkeypatch.setattr(texts, "BATCH", 10)
    monkeypatch.setattr(bank_files, "BATCH", 10)
    lines(45)
    killed(monkeypatch)
    lines(count, start)
    with monkeypatch.context() as patch:
        seen = stopping(patch, 99)
        result = build("--texts", "lines.txt", *more)
    assert result.exit_code == 0, result.output
    assert sum(seen) == count
    assert "encoded before" not in result.stderr
    assert bank_texts(load_file("bank.safetensors"))[0] == f"a red dog and {start} cats"


def test_a_sample_is_that_of_the_whole_list(here: Path) -> None:
    lines(300)
    for seed in ("0", "0", "1"):
        assert build("--texts", "lines.txt", "--size", "20", "--seed", seed, out=f"{seed}.safetensors").exit_code == 0
    first, other = (bank_texts(load_file(f"{seed}.safetensors")) for seed in "01")
    every = Path("lines.txt").read_text().splitlines()
    assert first == texts.draw_texts(every, 20, 0, "lines.txt")
    assert len(first) == 20
    assert first != other


def test_a_bank_of_tar_files_names_what_it_left_out() -> None:
    with tarfile.open("0.tar", "w") as tar:
        for number, content in enumerate([b"a dog", b"\xff", b"a cat", b"", b"", b""]):
            info = tarfile.TarInfo(f"{number}.txt")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    result = build("--corpus", "webdataset", "--set", "corpus.shards=./*.tar", "--name", "tars")
    assert result.exit_code == 0, result.output
    assert bank_texts(load_file("bank.safetensors")) == ["a dog", "a cat"]
    assert result.stderr.splitlines() == [
        "note: left out: 0.tar: '1.txt': byte 1 is not UTF-8",
        "note: left out: 0.tar: '3.txt': it is empty",
        "note: left out: 0.tar: '4.txt': it is empty",
        "note: left out: 1 more",
    ]
    stopped = build("--corpus", "webdataset", "--set", "corpus.shards=./*.tar", "--set", "corpus.on_bad=stop")
    assert stopped.exit_code == 2
    assert "0.tar: '1.txt': byte 1 is not UTF-8\n  leave such ones out with on_bad: leave-out" in stopped.output


GROUND_TRUTH = (
    "--corpus", "joined",
    "--set", "corpus.first={name: text-lines, file: lines.txt}",
    "--set", "corpus.second={name: references, dataset: mini, task: box, split: test, limit: 2}",
    "--name", "ground-truth",
)  # fmt: skip


def test_a_bank_that_saw_the_test_says_so_wherever_it_is_used(here: Path) -> None:
    lines(5)
    result = build(*GROUND_TRUTH)
    assert result.exit_code == 0, result.output
    assert f"note: {NOTE}" in result.stderr
    header = read_header("bank.safetensors")
    assert header is not None
    assert list(header.extra["notes"]) == [NOTE]
    held = bank_texts(load_file("bank.safetensors"))
    assert held[:5] == Path("lines.txt").read_text().splitlines()
    assert len(held) > 5
    assert toolkit("data", "make", "mini", "--limit", "1", "--out", "scenes").exit_code == 0
    shown = toolkit("caption", "scenes/regions.jsonl", "--preset", "mini", "--set", "bridge.bank=ground-truth")
    assert shown.exit_code == 0, shown.output
    assert f"note: bridge memory: {NOTE}" in shown.stderr


@pytest.mark.slow
def test_a_run_keeps_that_its_bank_saw_the_test(here: Path) -> None:
    lines(5)
    assert build(*GROUND_TRUTH).exit_code == 0
    Path("grid.yaml").write_text(
        json.dumps(
            {
                "version": 1,
                "base": "mini",
                "data": ["box@mini"],
                "limit": 2,
                "metrics": ["cider-d"],
                "grid": {"bridge": [{"name": "memory", "bank": "ground-truth", "precision": "bfloat16"}]},
            }
        )
    )
    result = toolkit("ablate", "grid.yaml", "--out", "run")
    assert result.exit_code == 0, result.output
    with ResultStore(Path("run") / DATABASE, read_only=True) as store:
        notes = [note for trial in store.trials() for note in store.notes(trial.id)]
    assert f"bridge memory: {NOTE}" in notes
    assert any("the bank is kept in bfloat16" in note for note in notes)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        param(("--set", "decoder.a=1"), "only options of the backbone and of the corpus matter here", id="set"),
        param(("--set", "corpus.nosuch=1"), "nosuch", id="option"),
    ],
)
def test_options_that_are_none(args: tuple[str, ...], message: str) -> None:
    lines(3)
    result = build("--texts", "lines.txt", *args)
    assert result.exit_code == 2
    assert message in result.output
    assert list(Path().glob(".*building")) == []


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_empty_rows_of_a_released_bank_are_left_out_in_any_blocks(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    h5py = pytest.importorskip("h5py")
    values = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    empty = [0, 3, 4, 8]
    values[empty] = 0
    with h5py.File("bank.h5", "w") as file:
        file["some-embeddings"] = values.numpy()
        file["some-text"] = list("abcdefghi")
    monkeypatch.setattr(released_banks, "_ROWS", block)
    bank = released_banks.read_released_bank("bank.h5")
    assert torch.equal(bank.embeddings, values[[row for row in range(9) if row not in empty]])
    assert (bank.texts, bank.empty) == (("b", "c", "f", "g", "h"), 4)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        param(("--name", "auto"), "'auto' in bridge.bank means that no bank is named", id="auto"),
        param(("--out", "x" * 300 + ".safetensors"), "no file can be there: File name too long", id="long"),
    ],
)
def test_names_that_no_bank_can_have(args: tuple[str, ...], message: str) -> None:
    lines(3)
    result = build("--texts", "lines.txt", *args)
    assert result.exit_code == 2
    assert f"{message}" in result.output
    assert "choose another" in result.output


def test_a_damaged_rest_of_a_build_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    lines(3500)
    killed(monkeypatch)
    place = next(Path().glob(".*building")) / "texts"
    held = bytearray(place.read_bytes())
    held[5] = 0xFF
    place.write_bytes(held)
    result = build("--texts", "lines.txt")
    assert result.exit_code == 0, result.output
    assert bank_texts(load_file("bank.safetensors")) == Path("lines.txt").read_text().splitlines()


def test_of_two_banks_of_one_name_the_files_are_named(here: Path) -> None:
    lines(3)
    assert build("--texts", "lines.txt", "--name", "one").exit_code == 0
    assert build("--texts", "lines.txt", "--name", "one", out="other.safetensors").exit_code == 0
    Path("p.yaml").write_text(
        "version: 1\nbackbone: mini-dense\nregion_encoder: patch-pool\n"
        "bridge: {name: memory, bank: one}\ndecoder: decap\n"
    )
    result = toolkit("validate", "p.yaml")
    assert result.exit_code == 2
    assert "say which file: bridge.weights: bank or other" in result.output
    assert "did you mean" not in result.output


def test_validate_and_a_plan_say_that_a_bank_saw_the_test(here: Path) -> None:
    lines(5)
    assert build(*GROUND_TRUTH).exit_code == 0
    pipeline = "backbone: mini-dense\nregion_encoder: patch-pool\ndecoder: decap\n"
    Path("p.yaml").write_text(f"version: 1\n{pipeline}bridge: {{name: memory, bank: ground-truth}}\n")
    assert f"  note: bridge memory: {NOTE}" in toolkit("validate", "p.yaml").output.splitlines()
    Path("grid.yaml").write_text(
        "version: 1\nbase: p.yaml\ndata: [box@mini]\nlimit: 1\nmetrics: [length]\n"
        "grid: {region_encoder: [patch-pool, whole]}\n"
    )
    result = toolkit("ablate", "grid.yaml", "--plan", "--out", "run")
    assert f"2 trials: bridge memory: {NOTE}" in result.output.splitlines(), result.output


@pytest.mark.parametrize("component", ["memory", "nearest-text"])
def test_a_bank_without_a_name_is_refused(component: str) -> None:
    part = f"{{name: {component}, bank: ' '}}"
    bridge, decoder = (part, "decap") if component == "memory" else ("none", part)
    Path("p.yaml").write_text(
        f"version: 1\nbackbone: mini-dense\nregion_encoder: patch-pool\nbridge: {bridge}\ndecoder: {decoder}\n"
    )
    assert "bank: ' ' names no bank; auto takes" in toolkit("validate", "p.yaml").output
