"""A training run that is small, draws random numbers everywhere, and can be killed at a step. Also run as a program."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from regionkit.core.contracts import Recipe, TrainSettings, WeightArtifact
from regionkit.core.weights import WeightHeader
from regionkit.plugins.training.checkpoint import Checkpoint
from regionkit.plugins.training.loop import LoopOptions, Outcome, train

STEPS = 40
SETUP = {"recipe": {"name": "toy", "learning_rate": 0.01}, "seed": 3}


class Toy(Recipe):
    """Regression with dropout, batch statistics (buffers) and tied weights.

    Args:
        kill_at: The process kills itself, as ``kill -9`` would, when this batch is asked for.
        bad_at: The loss of this step is NaN.
    """

    def __init__(self, kill_at: int = -1, bad_at: int = -1, settings: TrainSettings | None = None) -> None:
        torch.manual_seed(0)
        first = nn.Linear(8, 8)
        second = nn.Linear(8, 8)
        second.weight = first.weight
        self._module = nn.Sequential(first, nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(0.3), second)
        self.kill_at, self.bad_at = kill_at, bad_at
        self.settings = settings or TrainSettings(STEPS, 0.01, warmup=5, schedule="cosine")
        self.asked: list[int] = []

    @property
    def module(self) -> nn.Module:
        return self._module

    def batch(self, step: int) -> Tensor:
        self.asked.append(step)
        if step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.randn(16, 8, generator=torch.Generator().manual_seed(step))

    def loss(self, batch: Tensor) -> tuple[Tensor, Mapping[str, float]]:
        loss = (self._module(batch) - batch.cumsum(-1)).square().mean()
        bad = len(self.asked) - 1 == self.bad_at
        return (loss * float("nan") if bad else loss), {"size": float(len(batch))}

    def export(self) -> list[WeightArtifact]:
        return [WeightArtifact(self._module.state_dict(), WeightHeader("decoder", "toy"))]


def run(path: Path, recipe: Toy, every: int = 4) -> Outcome:
    """Train the toy with a checkpoint every few steps."""
    return train(recipe, LoopOptions(Checkpoint(path, SETUP), seed=3, threads=1, checkpoint_steps=every))


if __name__ == "__main__":
    run(Path(sys.argv[1]), Toy(kill_at=int(sys.argv[2])))
