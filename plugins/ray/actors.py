"""What runs on the machines of a cluster. This module is imported there, and imports neither Ray nor torch itself."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regionkit.core.errors import RegionkitError

if TYPE_CHECKING:
    from regionkit.core.launching import Worker


@dataclass(frozen=True, slots=True)
class Opened:
    """A worker that is ready.

    Attributes:
        host: Name of its machine.
        process: Number of its process.
    """

    host: str
    process: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A worker that cannot be made, and why, in plain values: not every error survives being pickled.

    Attributes:
        host: Name of its machine.
        message: The error's sentence.
        hints: The error's hints.
    """

    host: str
    message: str
    hints: tuple[str, ...]


class Actor:
    """Holds one worker, and with it the models that are loaded.

    Args:
        folder: The run's working folder, from which relative paths are read.
        variables: Environment variables that hold there, too.
    """

    def __init__(self, folder: str, variables: Mapping[str, str]) -> None:
        os.environ.update(variables)  # whoever reads them is imported later
        self._folder = folder
        self._worker: Worker | None = None

    def open(self, target: str, options: Mapping[str, Any]) -> Opened | Refused:
        """Make the worker, or say why it cannot be made on this machine.

        Args:
            target: ``module:function`` of a ``WorkerPlan``, which comes in words: the class stands beside torch.
            options: What the function is given by keyword.
        """
        host = socket.gethostname()
        try:
            os.chdir(self._folder)
        except OSError as error:
            return Refused(host, f"the folder {self._folder} cannot be entered there: {error.strerror}", ())
        try:
            module, _, name = target.partition(":")
            self._worker = getattr(importlib.import_module(module), name)(**options)
        except RegionkitError as error:
            return Refused(host, error.message, error.hints)
        return Opened(host, os.getpid())

    def run(self, item: str, parts: Any = None) -> Any:
        """Do an item."""
        assert self._worker is not None  # nothing is handed to one that has not opened
        return self._worker.run(item) if parts is None else self._worker.run(item, parts)
