"""Runs of :mod:`toy_training`'s kind that several processes share. Run as a program, one process a rank.

Usage: toy_processes.py FOLDER PRECISION STEPS [KILL_AT]: trains up to STEPS and writes the weights of each process.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from regionkit.core.contracts import Recipe, TrainSettings, WeightArtifact
from regionkit.plugins.training.checkpoint import Checkpoint
from regionkit.plugins.training.engine import AccelerateEngine
from regionkit.plugins.training.loop import LoopOptions, Outcome, train

STEPS = 12
ROWS = 7  # which two processes cannot halve


class Words(Recipe):
    """Predicts tokens from vectors; rows have different numbers of tokens, and one weight is used by some rows alone.

    Args:
        kill_at: The process kills itself when this batch is asked for.
        dropout: Of the hidden layer.
    """

    rows_apart: ClassVar[bool] = True

    def __init__(self, kill_at: int = -1, dropout: float = 0.0) -> None:
        torch.manual_seed(0)
        self._module = nn.ModuleDict(
            {
                "hidden": nn.Sequential(nn.Linear(6, 8), nn.Dropout(dropout), nn.GELU()),
                "out": nn.Linear(8, 5),
                "seldom": nn.Linear(6, 5),
                "never": nn.Linear(2, 2),
            }
        )
        self.kill_at = kill_at
        self.settings = TrainSettings(STEPS, 0.02, weight_decay=0.1, warmup=2, clip=0.5)

    @property
    def module(self) -> nn.Module:
        return self._module

    def batch(self, step: int) -> tuple[Tensor, list[str], dict[str, Tensor]]:
        if step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        draws = torch.Generator().manual_seed(step)
        lengths = torch.randint(1, 6, (ROWS,), generator=draws)
        return torch.randn(ROWS, 6, generator=draws), ["ab" * int(one) for one in lengths], {"length": lengths}

    def loss(self, batch: tuple[Tensor, list[str], dict[str, Tensor]]) -> tuple[Tensor, Mapping[str, float]]:
        vectors, texts, more = batch
        assert [len(text) for text in texts] == (2 * more["length"]).tolist()
        long = more["length"] > 4
        logits = self._module["out"](self._module["hidden"](vectors))
        if bool(long.any()):  # a process may have no such row, and then no gradient for this weight
            logits = logits + torch.where(long[:, None], self._module["seldom"](vectors), 0.0)
        rows = torch.arange(len(texts)).repeat_interleave(more["length"])
        targets = (vectors.sum(dim=1) > 0).long()[rows]
        return cross_entropy(logits[rows].float(), targets), {"tokens": float(len(rows))}

    def weight(self, batch: tuple[Tensor, list[str], dict[str, Tensor]]) -> float:
        return float(batch[2]["length"].sum())

    def export(self) -> list[WeightArtifact]:
        return []


def run(folder: Path, recipe: Words, engine: AccelerateEngine | None = None) -> Outcome:
    """Train with a checkpoint every three steps."""
    setup = {"recipe": "words", **(engine.setup() if engine else {})}
    options = LoopOptions(Checkpoint(folder / "run.checkpoint", setup), seed=5, checkpoint_steps=3)
    return train(recipe, options, engine=engine)


if __name__ == "__main__":
    target, kill_at, dropout = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    shared = AccelerateEngine()
    words = Words(kill_at, dropout)
    outcome = run(target, words, shared)
    numbers = torch.tensor([outcome.tokens, outcome.loss, outcome.resumed], dtype=torch.float64)
    save_file({**words.module.state_dict(), "numbers": numbers}, target / f"rank-{shared.rank}.safetensors")
    shared.close()
