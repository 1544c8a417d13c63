"""Several processes that share every batch: what they compute together is what one computes alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from toy_processes import ROWS, Words, run
from toy_training import Toy

from regionkit.core.errors import RegionkitError, RunFailed
from regionkit.plugins.training.engine import AccelerateEngine, Engine


def start(folder: Path, *arguments: str, count: int = 2, precision: str = "no") -> list[int]:
    """Run the toy in processes of its own, and return how each ended; none outlives one that was killed."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "ACCELERATE_USE_CPU": "1",
        "ACCELERATE_MIXED_PRECISION": precision,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1",
    }
    program = [sys.executable, str(Path(__file__).with_name("toy_processes.py")), str(folder), *arguments]
    processes = [
        subprocess.Popen(
            program, env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE
        )
        for rank in range(count)
    ]
    try:
        first = processes[0].wait(timeout=120)
        if first:
            for other in processes[1:]:
                other.kill()
        return [first, *(process.wait(timeout=120) for process in processes[1:])]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def weights(folder: Path, rank: int = 0) -> dict[str, torch.Tensor]:
    return load_file(folder / f"rank-{rank}.safetensors")


class Joining:
    """Stands in for accelerate in one of two processes; what the other gave is added up with what this one gives."""

    device = torch.device("cpu")
    num_processes = 2
    mixed_precision = "no"
    distributed_type = "DistributedType.MULTI_CPU"

    def __init__(self, rank: int, other: torch.Tensor | None = None) -> None:
        self.process_index, self.other = rank, other

    def reduce(self, values: torch.Tensor, reduction: str) -> torch.Tensor:
        assert reduction == "sum"
        self.given = values
        return values if self.other is None else values + self.other


def engine_of(monkeypatch: pytest.MonkeyPatch, fake: Joining) -> AccelerateEngine:
    monkeypatch.setitem(sys.modules, "accelerate", SimpleNamespace(Accelerator=lambda: fake))
    return AccelerateEngine()


def gradients(recipe: Words, engine: Engine, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute a step's gradients, in their places, and return its loss and its tokens."""
    engine.prepare(recipe.module, recipe.settings)
    loss, figures = recipe.loss(engine.batch(recipe, step, 5))
    engine.backward(loss)
    return engine.joined(loss, figures)


@pytest.mark.parametrize("step", range(3))
def test_gradients_of_two_shares_are_those_of_the_batch(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, first, second = Words(), Words(), Words()
    loss, tokens = gradients(whole, Engine.on("cpu"), step)
    other = Joining(1)
    gradients(second, engine_of(monkeypatch, other), step)
    joined, all_tokens = gradients(first, engine_of(monkeypatch, Joining(0, other.given)), step)
    assert float(joined) == pytest.approx(float(loss), abs=1e-6)
    assert float(all_tokens) == float(tokens)
    for (name, one), (_, two) in zip(whole.module.named_parameters(), first.module.named_parameters(), strict=True):
        if one.grad is None:
            assert two.grad is None, name  # or weight decay would move it
        else:
            torch.testing.assert_close(two.grad, one.grad, atol=1e-6, rtol=0, msg=name)


def test_shares_hold_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, texts, _ = Words().batch(3)
    shares = [engine_of(monkeypatch, Joining(rank)).batch(Words(), 3, 5) for rank in range(2)]
    assert torch.equal(shares[0][0], vectors[0::2])
    assert torch.equal(shares[1][0], vectors[1::2])
    assert [shares[0][1], shares[1][1]] == [texts[0::2], texts[1::2]]


def test_a_recipe_whose_rows_belong_together_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RegionkitError, match="'Toy' trains in one process: its loss holds the rows of a batch against"):
        engine_of(monkeypatch, Joining(0)).batch(Toy(), 0, 5)


def test_more_processes_than_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Joining(ROWS)
    fake.num_processes = ROWS + 1
    with pytest.raises(RegionkitError, match="a batch has fewer rows than the 8 processes that share it"):
        engine_of(monkeypatch, fake).batch(Words(), 0, 5)


def test_a_process_that_is_left_alone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost(Joining):
        def reduce(self, values: torch.Tensor, reduction: str) -> torch.Tensor:
            raise RuntimeError("Connection reset by peer.\nGood luck")

    with pytest.raises(RunFailed, match=r"process 1 of 2 has lost the others: Connection reset by peer\.\n  the cause"):
        gradients(Words(), engine_of(monkeypatch, Lost(1)), 0)


def test_a_model_that_accelerate_splits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Joining(0)
    fake.distributed_type = "DistributedType.FSDP"
    with pytest.raises(RegionkitError, match="keeps the whole model in every process, accelerate is configured for FS"):
        engine_of(monkeypatch, fake)


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path) -> None:
    alone = Words()
    outcome = run(tmp_path, alone)
    pytest.importorskip("accelerate")
    assert start(tmp_path / "two", "-1", "0") == [0, 0]
    first, second = weights(tmp_path / "two"), weights(tmp_path / "two", 1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    tokens, loss, resumed = first.pop("numbers").tolist()
    assert (tokens, resumed) == (outcome.tokens, 0)
    assert loss == pytest.approx(outcome.loss, abs=1e-6)
    for name, tensor in alone.module.state_dict().items():
        torch.testing.assert_close(first[name], tensor, atol=1e-6, rtol=0)
    untouched = Words().module.state_dict()
    assert torch.equal(first["never.weight"], untouched["never.weight"])  # no gradient, and so no weight decay
    assert not torch.equal(first["seldom.weight"], untouched["seldom.weight"])


@pytest.mark.slow
def test_two_processes_that_were_killed_go_on_to_the_same_bits(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    assert start(tmp_path / "whole", "-1", "0.3") == [0, 0]
    first, _ = start(tmp_path / "killed", "8", "0.3")
    assert first == -signal.SIGKILL
    assert start(tmp_path / "killed", "-1", "0.3") == [0, 0]
    whole, killed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert killed.pop("numbers").tolist()[2] == 6  # the last checkpoint before the kill
    whole.pop("numbers")
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
