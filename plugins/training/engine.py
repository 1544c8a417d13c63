"""Where the steps of a training run are computed: plain torch, or Hugging Face accelerate on one device or several."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from regionkit.core.contracts import Recipe, TrainSettings
from regionkit.core.errors import MissingExtra, RegionkitError, RunFailed

#: Ways of accelerate in which every process holds the whole model, or is the only one.
_WHOLE = ("NO", "MULTI_CPU", "MULTI_GPU", "MULTI_NPU", "MULTI_MLU", "MULTI_XPU", "MULTI_HPU")
#: Scales of a float16 loss below this one say that its gradients are never finite.
_SMALLEST_SCALE = 2.0**-10


class Engine:
    """Plain torch on one device.

    Args:
        device: Where the trained module lives.

    Attributes:
        rank: Number of this process among those that share the work, from 0.
        count: How many they are.
    """

    rank: int = 0
    count: int = 1

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @classmethod
    def on(cls, device: str | torch.device) -> Self:
        """Return the engine of a device."""
        return cls(torch.device(device))

    @property
    def main(self) -> bool:
        """Whether this process writes checkpoints, weights and what people read."""
        return self.rank == 0

    def setup(self) -> dict[str, Any]:
        """Return what of the engine decides the exact result, as JSON values; nothing for plain torch."""
        return {}

    def prepare(
        self, module: torch.nn.Module, settings: TrainSettings
    ) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        """Move the module and make its optimiser."""
        module.to(self.device)
        return module, _adamw(module, settings)

    def batch(self, recipe: Recipe, step: int, seed: int) -> Any:
        """Return what this process computes of the batch of a step."""
        return recipe.batch(step)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Surround the forward pass; plain torch stays in float32."""
        yield

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients."""
        torch.autograd.backward(loss)

    def joined(self, loss: Tensor, figures: Mapping[str, float]) -> tuple[Tensor, Tensor]:
        """Make gradients those of the whole batch; return its loss, and the sum of the figures ``tokens``."""
        return loss.detach(), torch.tensor(figures.get("tokens", 0.0), device=loss.device)

    def update(self, module: torch.nn.Module, optimizer: torch.optim.Optimizer, clip: float) -> Tensor:
        """Clip the gradients where ``clip`` is not 0, make the step, and return their norm before."""
        norm = clip_grad_norm_(module.parameters(), clip or math.inf)
        optimizer.step()
        return norm

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold of the engine, as JSON values."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` gave."""

    def check(self) -> None:
        """Find out now and then whether training goes on at all.

        Raises:
            RunFailed: It does not.
        """

    def wait(self) -> None:
        """Wait until all processes are here."""

    def close(self) -> None:
        """Let go of what connects the processes."""


class AccelerateEngine(Engine):
    """The device, mixed precision and number of processes of ``accelerate config`` and ``accelerate launch``.

    Every process computes its rows of one and the same batch, which is a function of the step. Gradients are added up,
    each weighted with the number of terms that the process's loss is a mean of, and divided by all of them: what comes
    out is the gradient of the whole batch, as one process has it but for the last bits. So a run of several processes
    makes the steps of a run of one. The module is not wrapped: a recipe calls its own.

    Random numbers that a loss draws, such as dropout, follow from seed, process and step where there are several.

    Raises:
        MissingExtra: accelerate is not installed.
        RegionkitError: It is configured to split the model itself.
    """

    def __init__(self) -> None:
        try:
            from accelerate import Accelerator  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError:
            raise MissingExtra("toolkit train --accelerate", "accelerate", "accelerate") from None
        self._accelerator: Any = Accelerator()
        way = str(getattr(self._accelerator, "distributed_type", "NO")).rpartition(".")[2]
        if way not in _WHOLE:
            raise RegionkitError(
                f"toolkit train keeps the whole model in every process, accelerate is configured for {way}",
                "choose plain data parallelism: accelerate config",
            )
        super().__init__(self._accelerator.device)
        self.rank = int(getattr(self._accelerator, "process_index", 0))
        self.count = int(self._accelerator.num_processes)
        self.precision = str(self._accelerator.mixed_precision)
        self._scaler = torch.amp.GradScaler(self.device.type) if self.precision == "fp16" else None
        self._module: torch.nn.Module | None = None
        self._weight = 0.0

    def setup(self) -> dict[str, Any]:
        """Return precision and number of processes where they are not plain torch's."""
        processes = {"processes": self.count} if self.count > 1 else {}
        return {**processes, **({"precision": self.precision} if self.precision != "no" else {})}

    def prepare(
        self, module: torch.nn.Module, settings: TrainSettings
    ) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        """Move the module and make its optimiser."""
        self._module, optimizer = super().prepare(module, settings)
        return self._module, optimizer

    def batch(self, recipe: Recipe, step: int, seed: int) -> Any:
        """Return this process's rows of the batch.

        Raises:
            RegionkitError: Rows of this recipe belong together, or the batch has fewer rows than there are processes.
        """
        if self.count == 1:
            return recipe.batch(step)
        if not recipe.rows_apart:
            raise RegionkitError(
                f"recipe '{type(recipe).__name__}' trains in one process: its loss holds the rows of a batch against "
                f"each other, and {self.count} processes would each see a part of them",
                "start it with --num_processes 1; a recipe whose loss is a mean over rows says rows_apart = True",
            )
        torch.manual_seed(_seed_of(seed, self.rank, step))
        share = recipe.share(step, self.rank, self.count)
        self._weight = recipe.weight(share)
        if not self._weight > 0:
            raise RegionkitError(
                f"a batch has fewer rows than the {self.count} processes that share it",
                "raise recipe.batch_size, or start fewer processes",
            )
        return share

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Surround the forward pass with the configured precision."""
        with self._accelerator.autocast():
            yield

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients, of a scaled loss in float16: small ones would be zero there."""
        torch.autograd.backward(loss if self._scaler is None else self._scaler.scale(loss))

    def joined(self, loss: Tensor, figures: Mapping[str, float]) -> tuple[Tensor, Tensor]:
        """Put in the place of each gradient the weighted mean over processes; return loss and tokens of them all."""
        if self.count == 1:
            return super().joined(loss, figures)
        assert self._module is not None
        weights = [weight for weight in self._module.parameters() if weight.requires_grad]
        share = self._weight
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        there = [0.0 if weight.grad is None else 1.0 for weight in weights]
        others = [*there, figures.get("tokens", 0.0), share]
        parts = [gradient.detach().float().flatten() * share for gradient in gradients]
        flat = torch.cat([*parts, loss.detach().float().reshape(1) * share, torch.tensor(others, device=self.device)])
        try:
            total = self._accelerator.reduce(flat, reduction="sum")
        except RuntimeError as error:  # what is below says no more than that a connection ended
            raise RunFailed(
                f"process {self.rank} of {self.count} has lost the others: {str(error).splitlines()[0]}",
                "the cause is what another process said last; the same command, given again, goes on from the last "
                "checkpoint",
            ) from None
        mean = total / total[-1]
        at = 0
        for place, weight in enumerate(weights):
            part = mean[at : at + weight.numel()].view_as(weight).to(weight.dtype)
            at += weight.numel()
            # A weight that no process reached keeps no gradient, or weight decay would move it.
            if weight.grad is not None:
                weight.grad.copy_(part)
            elif float(total[place - len(weights) - 2]) > 0:
                weight.grad = part.clone()
        return mean[at], total[-2]

    def update(self, module: torch.nn.Module, optimizer: torch.optim.Optimizer, clip: float) -> Tensor:
        """Make the step; in float16 one whose gradients are not finite is left out, and the next loss scaled less."""
        if self._scaler is None:
            return super().update(module, optimizer, clip)
        self._scaler.unscale_(optimizer)
        norm = clip_grad_norm_(module.parameters(), clip or math.inf)
        self._scaler.step(optimizer)
        self._scaler.update()
        return norm.nan_to_num(0.0, 0.0, 0.0)

    def state(self) -> dict[str, Any]:
        """Return the scale of a float16 loss, and how long it has been what it is."""
        return {} if self._scaler is None else {"scaler": self._scaler.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the scale."""
        if self._scaler is not None and state.get("scaler"):
            self._scaler.load_state_dict(dict(state["scaler"]))

    def check(self) -> None:
        """Find out whether a float16 loss has any scale at which its gradients are finite.

        Raises:
            RunFailed: It has none.
        """
        if self._scaler is not None and self._scaler.get_scale() < _SMALLEST_SCALE:
            raise RunFailed(
                "training went astray: the gradients are not finite at any scale of the loss in float16",
                "choose bf16, or no: accelerate config; or try a lower recipe.learning_rate",
            )

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            self._accelerator.wait_for_everyone()

    def close(self) -> None:
        """End the group of processes."""
        if self.count > 1:
            self._accelerator.end_training()


def _seed_of(seed: int, rank: int, step: int) -> int:
    digest = hashlib.sha256(repr(("process", seed, rank, step)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _adamw(module: torch.nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(
        parameters, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
    )
