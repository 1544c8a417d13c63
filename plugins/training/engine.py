"""Where the steps of a training run are computed: plain torch, or Hugging Face accelerate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch

from regionkit.core.contracts import TrainSettings
from regionkit.core.errors import MissingExtra, RegionkitError


class Engine:
    """Plain torch on one device.

    Args:
        device: Where the trained module lives.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @classmethod
    def on(cls, device: str | torch.device) -> Self:
        """Return the engine of a device."""
        return cls(torch.device(device))

    def prepare(
        self, module: torch.nn.Module, settings: TrainSettings
    ) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        """Move the module and make its optimiser."""
        module.to(self.device)
        return module, _adamw(module, settings)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Surround the forward pass; plain torch stays in float32."""
        yield

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients."""
        torch.autograd.backward(loss)


class AccelerateEngine(Engine):
    """One device with the mixed precision of ``accelerate config``.

    The recipe keeps calling its own module, so this engine changes precision and device, not the number of processes:
    a recipe's batch is a function of the step, and a second process would train on the same one.

    Raises:
        MissingExtra: accelerate is not installed.
        RegionkitError: It is configured for several processes, or for float16, whose loss scale is no part of a
            checkpoint.
    """

    def __init__(self) -> None:
        try:
            from accelerate import Accelerator  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError:
            raise MissingExtra("toolkit train --accelerate", "accelerate", "accelerate") from None
        self._accelerator: Any = Accelerator()
        if self._accelerator.num_processes > 1:
            raise RegionkitError(
                f"toolkit train runs in one process, accelerate started {self._accelerator.num_processes}",
                "start it without `accelerate launch`, or with --num_processes 1",
            )
        if self._accelerator.mixed_precision == "fp16":
            raise RegionkitError("toolkit train has no float16 mode", "choose bf16 or no: accelerate config")
        super().__init__(self._accelerator.device)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Surround the forward pass with the configured precision."""
        with self._accelerator.autocast():
            yield

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients."""
        self._accelerator.backward(loss)


def _adamw(module: torch.nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(
        parameters, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
    )
