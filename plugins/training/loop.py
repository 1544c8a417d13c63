"""The training loop: AdamW on plain torch, resumable at any moment, deterministic on a CPU."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from regionkit.core.contracts import Recipe
from regionkit.core.errors import RunFailed
from regionkit.plugins.training.checkpoint import Checkpoint
from regionkit.plugins.training.engine import Engine
from regionkit.plugins.training.progress import Progress, Silent
from regionkit.plugins.training.schedule import check_settings, learning_rate

#: On an accelerator losses are read in groups of this many steps, since reading one makes the host wait.
_STEPS_BETWEEN_READS = 20


class Interrupted(RunFailed):
    """The user pressed Ctrl-C."""

    exit_code = 130


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How a run is carried out; none of it changes its result but ``threads``, which belongs into the set-up.

    Attributes:
        checkpoint: Where the state is kept.
        seed: Seed of what the module draws itself, such as dropout.
        threads: CPU threads of torch; sums are split among them, so their number is part of the result.
        checkpoint_steps: Steps between checkpoints; 0 for none by steps.
        checkpoint_seconds: Seconds between checkpoints.
    """

    checkpoint: Checkpoint
    seed: int = 0
    threads: int = 1
    checkpoint_steps: int = 0
    checkpoint_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did.

    Attributes:
        steps: Steps of the whole run.
        resumed: Steps that were done before this run.
        seconds: Wall time of this run.
        loss: Loss of the last step; NaN where no step was left to do.
        tokens: Tokens of this run, of all processes together; 0 where the recipe counts none.
    """

    steps: int
    resumed: int
    seconds: float
    loss: float
    tokens: int = 0

    @property
    def tokens_a_second(self) -> float:
        """Tokens over wall time, that of making batches and checkpoints included."""
        return self.tokens / self.seconds if self.seconds > 0 else 0.0


@dataclass
class _Watch:
    """Reads losses from the device, now and then, and stops a run that has gone astray."""

    progress: Progress
    every: int
    kept: int
    engine: Engine
    pending: list[tuple[int, Tensor, Mapping[str, float]]] = field(default_factory=list)
    loss: float = math.nan
    tokens: int = 0

    def add(self, step: int, loss: Tensor, norm: Tensor, tokens: Tensor, figures: Mapping[str, float]) -> None:
        numbers = torch.stack([number.detach().float() for number in (loss, norm, tokens)])
        self.pending.append((step, numbers, figures))
        if len(self.pending) >= self.every:
            self.read()

    def read(self) -> None:
        """Read everything that is pending.

        Raises:
            RunFailed: A loss or a gradient is not finite; the message names the first such step.
        """
        if not self.pending:
            return
        self.engine.check()
        values = torch.stack([numbers for _, numbers, _ in self.pending])
        for (step, _, figures), (loss, norm, tokens) in zip(self.pending, values.tolist(), strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                what = f"the loss is {loss}" if not math.isfinite(loss) else f"the norm of the gradient is {norm}"
                kept = f"the checkpoint of step {self.kept} is kept" if self.kept else "there is no checkpoint yet"
                raise RunFailed(
                    f"training went astray at step {step}: {what}",
                    f"{kept}; try a lower recipe.learning_rate, a longer recipe.warmup, or recipe.clip=1.0, "
                    "and start over with --restart",
                )
            self.loss = loss
            self.tokens += round(tokens)
            self.progress.update(step + 1, loss, {**figures, **({"tokens": tokens} if tokens else {})})
        self.pending.clear()


def train(
    recipe: Recipe,
    options: LoopOptions,
    *,
    engine: Engine | None = None,
    show: Callable[[int, int], AbstractContextManager[Progress]] | None = None,
) -> Outcome:
    """Train the module of a recipe to the end of its steps, from the checkpoint if there is one.

    Steps are counted from 0 in messages. The caller's random numbers and thread count are left as they were.

    Args:
        recipe: What is trained, and how.
        options: Checkpoints, seed and threads.
        engine: Where steps are computed; the CPU by default.
        show: Makes the display from the number of all steps and of those done before.

    Raises:
        RunFailed: The loss is not finite, a checkpoint cannot be written, or the user pressed Ctrl-C.
        RegionkitError: The checkpoint is of another set-up, or the settings make no sense.
    """
    settings = recipe.settings
    check_settings(settings)
    engine = engine or Engine.on("cpu")
    began = time.monotonic()
    with same_everywhere(options, engine.device):
        module, optimizer = engine.prepare(recipe.module, settings)
        start = options.checkpoint.load(recipe.module, optimizer, engine.restore)
        module.train()
        with show(settings.steps, start) if show else nullcontext(Silent()) as progress:
            every = 1 if engine.device.type == "cpu" else _STEPS_BETWEEN_READS
            watch = _Watch(progress, every, start, engine)
            _all_steps(recipe, options, engine, module, optimizer, watch, start)
        module.eval()
    return Outcome(settings.steps, start, time.monotonic() - began, watch.loss, watch.tokens)


def _all_steps(
    recipe: Recipe,
    options: LoopOptions,
    engine: Engine,
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    watch: _Watch,
    start: int,
) -> None:
    saved = time.monotonic()
    steps = recipe.settings.steps
    try:
        for step in range(start, steps):
            _step(recipe, options.seed, engine, module, optimizer, watch, step)
            if engine.main and _due(options, step + 1, saved) and step + 1 < steps:
                watch.read()  # what went astray is never saved
                options.checkpoint.save(step + 1, recipe.module, optimizer, engine.state())
                watch.kept, saved = step + 1, time.monotonic()
        watch.read()
    except KeyboardInterrupt:
        kept = f"the state after step {watch.kept} is kept" if watch.kept else "no checkpoint was written yet"
        raise Interrupted(
            "training was interrupted", f"{kept}: run the same command again, without --restart, to go on"
        ) from None


def _step(
    recipe: Recipe,
    seed: int,
    engine: Engine,
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    watch: _Watch,
    step: int,
) -> None:
    settings = recipe.settings
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(settings, step)
    optimizer.zero_grad(set_to_none=True)
    batch = engine.batch(recipe, step, seed)
    with engine.autocast():
        loss, figures = recipe.loss(batch)
    engine.backward(loss)
    loss, tokens = engine.joined(loss, figures)
    norm = engine.update(module, optimizer, settings.clip)
    watch.add(step, loss, norm, tokens, figures)


def _due(options: LoopOptions, done: int, saved: float) -> bool:
    by_steps = options.checkpoint_steps > 0 and done % options.checkpoint_steps == 0
    return by_steps or time.monotonic() - saved >= options.checkpoint_seconds


@contextmanager
def same_everywhere(options: LoopOptions, device: torch.device) -> Iterator[None]:
    """Seed torch, fix the number of threads and ask for deterministic kernels; put everything back at the end."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic  # a module with a property, which type checkers do not see
    filled = memory.fill_uninitialized_memory
    devices: list[Any] = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(options.seed)
        torch.set_num_threads(options.threads)
        if device.type == "cpu":  # on a GPU some kernels have no deterministic form, and errors would help nobody
            torch.use_deterministic_algorithms(True)
            # It shows reads of memory that nobody wrote, which our code has none of, and costs 8 % of a small model.
            memory.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            memory.fill_uninitialized_memory = filled
            torch.set_num_threads(threads)
