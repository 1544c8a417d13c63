"""A worker that squares numbers. Actors import it, so it imports no torch."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from regionkit.core.errors import DataError, MissingExtra


class Squarer:
    """Squares numbers, and writes down in ``notes`` which process did what."""

    def __init__(self, notes: Path, device: str, seconds: float, kill: dict[str, int], fault: str, hang: str) -> None:
        self.notes, self.device, self.seconds = notes, device, seconds
        self.kill, self.fault, self.hang = kill, fault, hang

    def run(self, item: str, parts: Any = None) -> Any:
        started = self.notes / f"{item}.{len(list(self.notes.glob(f'{item}.*')))}"
        started.write_text(str(os.getpid()))
        if len(list(self.notes.glob(f"{item}.*"))) <= self.kill.get(item, 0):
            os.kill(os.getpid(), 9)
        if item == self.fault:
            raise ZeroDivisionError("a fault of the code")
        time.sleep(600 if item == self.hang else self.seconds)
        return {"square": int(item) ** 2, "process": os.getpid(), "device": self.device, "folder": os.getcwd()}

    def close(self) -> None:
        pass


def make(
    notes: str,
    device: str,
    seconds: float = 0.0,
    kill: dict[str, int] | None = None,
    fault: str = "",
    hang: str = "",
    refuse: str = "",
    die: bool = False,
) -> Squarer:
    if die:
        os.kill(os.getpid(), 9)
    if refuse == "data":
        raise DataError("/nowhere/coco: there is no such folder", "get it with: toolkit data list")
    if refuse == "extra":
        raise MissingExtra("decoder 'x'", "peft", "lora")
    return Squarer(Path(notes), device, seconds, kill or {}, fault, hang)
