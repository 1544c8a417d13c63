"""Work of squares, in memory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from regionkit.core.errors import RunFailed
from regionkit.core.launching import Item, Work, WorkerPlan


class Squares(Work):
    """Squares of numbers: item ``7`` gives 49. ``stop_at`` ends the run with the result of that item.

    ``options`` are those of ``ray_squarer.make``; ``kill`` says how often an item kills its worker.
    """

    def __init__(self, folder: Path, count: int, *, groups: int = 1, stop_at: str = "", **options: Any) -> None:
        self.folder = folder
        self.plan = WorkerPlan("ray_squarer:make", {"notes": str(folder), **options})
        self.todo = [Item(str(number), f"g{number % groups}") for number in range(count)]
        self.held: dict[str, Item] = {}
        self.results: dict[str, Any] = {}
        self.stop_at = stop_at
        self.lost: list[tuple[str, str]] = []
        self.failed: dict[str, str] = {}
        self.told: list[str] = []
        self.owners: Counter[str] = Counter()
        self.beats: Counter[str] = Counter()
        self.left: list[str] = []

    def take(self, owner: str, group: str = "") -> Item | None:
        assert owner not in self.held
        found = next((item for item in self.todo if item.group == group), self.todo[0] if self.todo else None)
        if found is not None:
            self.todo.remove(found)
            self.held[owner] = found
            self.owners[owner] += 1
        return found

    def beat(self, owner: str) -> None:
        self.beats[owner] += 1

    def finish(self, owner: str, item: Item, result: Any) -> None:
        assert self.held.pop(owner) == item
        assert item.id not in self.results
        self.results[item.id] = result
        if item.id == self.stop_at:
            raise RunFailed(f"stopped at {item.id}")

    def lose(self, owner: str, item: Item, reason: str) -> None:
        assert self.held.pop(owner) == item
        self.lost.append((item.id, reason))
        if sum(name == item.id for name, _ in self.lost) < 3:
            self.todo.insert(0, item)
        else:
            self.failed[item.id] = reason

    def fail(self, owner: str, item: Item, reason: str) -> None:
        assert self.held.pop(owner) == item
        self.failed[item.id] = reason

    def remaining(self) -> int:
        return len(self.todo) + len(self.held)

    def tell(self, text: str) -> None:
        self.told.append(text)

    def leave(self, owner: str) -> None:
        self.left.append(owner)
        self.held.pop(owner, None)
