"""Checkpoints: everything that the next step depends on, in one safetensors file that is whole or not there.

Tensors ``model.NAME``, ``optimizer.INDEX.KEY`` and ``random.DEVICE``; the step and the set-up of the run are JSON in
the metadata. One file instead of one a concern: a kill between two files would leave a state that never existed.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from regionkit.core.errors import RegionkitError, RunFailed, WeightsError
from regionkit.core.files import replacing

_KEY = "regionkit-checkpoint"
#: Appended to the name of the weight file that is being made. Not ``.safetensors``: it is no weight file.
SUFFIX = ".checkpoint"


class _Entry(TypedDict):
    """What the metadata of a checkpoint holds."""

    step: int
    setup: dict[str, Any]
    engine: NotRequired[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where and for which run a checkpoint is written.

    Attributes:
        path: The file.
        setup: What decides the result of the run, as JSON values: recipe, parts, seed, threads. A checkpoint of
            another set-up is refused.
    """

    path: Path
    setup: Mapping[str, Any]

    def save(
        self,
        step: int,
        module: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        engine: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the state after ``step`` steps.

        Args:
            step: Steps done.
            module: What is trained.
            optimizer: Its optimiser.
            engine: State of what computes the steps, as JSON values; none where it has none.

        Raises:
            RunFailed: The file cannot be written, for example on a full disk; an older checkpoint is intact.
        """
        tensors = {f"model.{name}": tensor for name, tensor in _named(module)}
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items()}
        tensors |= _random_state()
        stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        kept = {"engine": dict(engine)} if engine else {}
        entry = json.dumps({"step": step, "setup": self.setup, **kept}, sort_keys=True)
        try:
            with replacing(self.path) as temporary:
                save_file(stored, temporary, metadata={_KEY: entry})
        except (OSError, SafetensorError) as error:  # safetensors wraps what the system says in a type of its own
            raise _unwritable(self.path, step, error) from None

    def load(
        self,
        module: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        restore: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> int:
        """Restore the state in place, random numbers included, and return the number of steps done; 0 without a file.

        Args:
            module: What is trained.
            optimizer: Its optimiser.
            restore: Takes the state of what computes the steps.

        Raises:
            RegionkitError: The checkpoint is of another set-up; every difference is named.
            WeightsError: It is damaged.
        """
        found = self._read(with_tensors=True)
        if found is None:
            return 0
        entry, tensors = found
        self._check_setup(entry["setup"])
        self._restore(tensors, module, optimizer)
        if restore is not None:
            restore(entry.get("engine", {}))
        return entry["step"]

    def check(self, but: Collection[str] = ()) -> None:
        """Check, without loading it, that the checkpoint belongs to this run if there is one.

        Args:
            but: Keys of the set-up that are not known yet, and may differ.

        Raises:
            RegionkitError: As for :meth:`load`.
        """
        found = self._read(with_tensors=False)
        if found is not None:
            self._check_setup({key: value for key, value in found[0]["setup"].items() if key not in but})

    def remove(self) -> None:
        """Delete the file, if there is one, and what a kill in the middle of writing it left beside it."""
        self.path.unlink(missing_ok=True)
        for leftover in self.path.parent.glob(f".{self.path.name}.*.part"):
            leftover.unlink(missing_ok=True)

    def _read(self, *, with_tensors: bool) -> tuple[_Entry, dict[str, Tensor]] | None:
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                entry: _Entry = json.loads((file.metadata() or {})[_KEY])
                if not (isinstance(entry["step"], int) and isinstance(entry["setup"], dict)):
                    raise ValueError("its step and set-up are unreadable")
                names = file.keys() if with_tensors else []
                return entry, {name: file.get_tensor(name) for name in names}
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                f"{self.path}: the checkpoint is damaged: {error}", "start over with --restart"
            ) from None

    def _check_setup(self, stored: Mapping[str, Any]) -> None:
        changes = list(differences(stored, self.setup))
        if changes:
            raise RegionkitError(
                f"{self.path}: this checkpoint was made by another set-up",
                *changes,
                "go back to that set-up to resume it, start over with --restart, or train elsewhere with --out DIR",
            )

    def _restore(
        self, tensors: Mapping[str, Tensor], module: torch.nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        own = dict(_named(module))
        stored = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
        shapes = {name: tensor.shape for name, tensor in own.items()}
        if shapes != {name: tensor.shape for name, tensor in stored.items()}:
            raise WeightsError(f"{self.path}: the checkpoint is of another model", "start over with --restart")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(stored[name])
        states: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                states.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
        torch.set_rng_state(tensors["random.cpu"])
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])


def differences(stored: Any, current: Any, path: str = "") -> Iterator[str]:
    """Yield one line for every leaf in which two set-ups of JSON values differ."""
    if isinstance(stored, Mapping) and isinstance(current, Mapping):
        for key in sorted({*stored, *current}):
            yield from differences(stored.get(key), current.get(key), f"{path}.{key}".lstrip("."))
    elif stored != current:
        yield f"{path}: {_said(stored)} then, {_said(current)} now"


def _said(value: Any) -> str:
    return "not set" if value is None else str(value)


def _named(module: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers once each; tied weights have one name."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def _random_state() -> dict[str, Tensor]:
    states = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["random.cuda"] = torch.cuda.get_rng_state()
    return states


def _unwritable(path: Path, step: int, error: Exception) -> RunFailed:
    full = getattr(error, "errno", None) == errno.ENOSPC or "os error 28" in str(error)
    reason = "the disk is full" if full else str(error)
    return RunFailed(
        f"{path}: the checkpoint of step {step} could not be written: {reason}",
        "an earlier checkpoint is intact: make room and run the same command again, without --restart, to go on there",
    )
