"""Text-only training on five million captions: memory, speed, and a run that is killed and goes on.

Each of the three ways to a large corpus is run in processes of its own: unbroken, and killed with SIGKILL in the middle
and started again. The final weights are compared bit by bit. An order over all captions is followed, so the captions of
a few hundred steps come from the whole corpus.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from side_by_side import Goal, Size, Table
from this_machine import measures_memory

from regionkit.core.bank_files import BankWriter
from regionkit.core.weights import WeightHeader

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]
PLACE = 13
#: Captions and steps, small and full.
CAPTIONS = {"quick": 20_000, "full": 5_000_000}
STEPS = {"quick": 100, "full": 600}
#: Megabytes that may come between the tenth part of a run and its end.
FLAT = 64
ROWS = 1000

RECIPE = """\
version: 1
recipe:
  {{name: text-only, steps: {steps}, batch_size: 64, learning_rate: 1.0e-3, warmup: 20, embeddings: '{embeddings}'}}
backbone: {{name: mini-dense}}
bridge: {{name: noise, std: 0.08}}
decoder: {{name: decap, hidden: 32, layers: 1, heads: 2, positions: 72, max_length: 64, tokenizer: bytes}}
corpus: {corpus}
seed: 4
out: streamed.safetensors
"""
_COLOURS = ["red", "green", "blue", "yellow", "black", "white", "pink", "orange", "purple", "brown"]
_NOUNS = ["dog", "cat", "car", "bird", "tree", "house", "boat", "ball", "horse", "chair"]


def sentence(number: int) -> str:
    """Return a sentence that no other number has, made faster than scenes are."""
    digits = f"{number:08d}"
    words = (f"{_COLOURS[int(one)]} {_NOUNS[int(two)]}" for one, two in zip(digits[::2], digits[1::2], strict=True))
    return "a " + " and a ".join(words)


def sentences(count: int) -> Iterator[list[str]]:
    for start in range(0, count, ROWS):
        yield [sentence(number) for number in range(start, min(start + ROWS, count))]


def recipe_of(way: str, size: Size, folder: Path) -> str:
    """Make what a way of training needs, and return its recipe."""
    count = CAPTIONS[size.name]
    corpus, embeddings = f"{{name: mini-captions, size: {count}}}", "stream"
    if way == "bank":
        writer = BankWriter(folder / "bank.safetensors", 128, {}, half=True)
        draw = torch.Generator().manual_seed(1)
        with writer.opened():
            for texts in sentences(count):
                writer.append(texts, torch.randn(len(texts), 128, generator=draw))
            writer.finish(WeightHeader("bridge", "memory", "mini-dense/text[128]", corpus="made-up"))
        corpus, embeddings = "{name: mini-captions, size: 10}", f"file:{folder / 'bank.safetensors'}"
    elif way == "file":
        with (folder / "captions.txt").open("w") as file:
            file.writelines("\n".join(texts) + "\n" for texts in sentences(count))
        corpus = f"{{name: text-lines, file: '{folder / 'captions.txt'}'}}"
    return RECIPE.format(steps=STEPS[size.name], embeddings=embeddings, corpus=corpus)


def start(folder: Path, name: str, kill_at: int | None = None) -> tuple[int, dict[str, Any]]:
    """Train in a process of its own; return how it ended, and its report where it has one."""
    report = folder / f"{name}.json"
    # By way of a shell, which is small: a process inherits the peak of the one that starts it.
    program = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, str(Path(__file__).with_name("streaming_run.py"))]
    arguments = [str(folder / "streamed.yaml"), str(folder / name), str(report)]
    more = [] if kill_at is None else [str(kill_at)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*program, *arguments, *more], env=environment, check=False, cwd=folder)
    return done.returncode, json.loads(report.read_text()) if report.exists() else {}


@pytest.mark.skipif(not measures_memory(), reason="memory is read from /proc")
@pytest.mark.parametrize(
    "way",
    [
        pytest.param("by number", id="by-number"),
        pytest.param("bank", id="bank"),
        pytest.param("file", id="file"),
    ],
)
def test_training_on_five_million_captions(table: Table, size: Size, tmp_path: Path, way: str):
    (tmp_path / "streamed.yaml").write_text(recipe_of(way, size, tmp_path))
    steps = STEPS[size.name]
    code, whole = start(tmp_path, "whole")
    assert code == 0
    code, _ = start(tmp_path, "killed", kill_at=steps // 2 + 7)
    assert code == 128 + signal.SIGKILL  # as a shell says it
    code, resumed = start(tmp_path, "killed", kill_at=0)  # which is no step: it goes on to the end
    assert code == 0
    assert resumed["start"] == (steps // 2 + 7 - 1) // 10 * 10
    first, second = (load_file(tmp_path / name / "streamed.safetensors") for name in ("whole", "killed"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert sorted(file.name for file in (tmp_path / "killed").iterdir()) == ["streamed.safetensors"]

    megabytes = {int(mark): value for mark, value in whole["megabytes"].items()}
    growth = max(megabytes.values()) - megabytes[10]
    what = f"text-only training, {CAPTIONS[size.name]:,} captions ({way}), {steps} steps of 64"
    figures = ", ".join(f"{megabytes[mark]:.0f} MB at {mark} %" for mark in (10, 50, 100))
    table.add(PLACE, f"{what}: memory", figures, f"{growth:+.1f} MB after 10 %", growth, Goal(FLAT, "at most", " MB"))
    seen = f"{64 * steps:,} captions, {whole['tokens']:,} tokens in {whole['seconds']:.0f} s of wall time"
    table.add(PLACE, f"{what}: speed", seen, f"{whole['rate']:,.0f} tokens/s", whole["rate"])
    table.add(
        PLACE,
        f"{what}: killed at step {steps // 2 + 7}, resumed from {resumed['start']}",
        "the unbroken run",
        "the same weights, bit by bit",
        None,
    )
    assert growth < FLAT
