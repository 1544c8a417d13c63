"""Trials in shares of their pictures, so that many workers do a large data set together.

A share is a whole number of batches (``IMAGES_PER_BATCH``), so that its pictures go through the models in the same
company as in the whole trial. When a trial's last share is there, a worker puts them together and judges them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from regionkit.core.launching import Item, Work, Worker
from regionkit.core.results import TrialResult
from regionkit.plugins.ablation.batches import IMAGES_PER_BATCH
from regionkit.plugins.ablation.encoding import chunks_of
from regionkit.plugins.ablation.referring import Candidates
from regionkit.plugins.ablation.stages import Shard
from regionkit.plugins.ablation.trial_runner import TrialRunner
from regionkit.plugins.ablation.trials import Selection, Trial
from regionkit.registry import get_registry

#: Who holds all trials in the work below: several workers do a trial.
_HOLDER = "all workers"


@dataclass(frozen=True, slots=True)
class Share:
    """One of ``count`` shares of a trial, or what puts them together where ``number`` is ``count``.

    An item of the whole trial, where there is one share alone, is named after the trial.
    """

    trial: str
    number: int = 0
    count: int = 1

    def __str__(self) -> str:
        whole = self.count == 1 or self.number == self.count
        return self.trial if whole else f"{self.trial}/{self.number}/{self.count}"

    @classmethod
    def parse(cls, item: str) -> Share:
        """Read what ``str`` wrote."""
        trial, *numbers = item.split("/")
        return cls(trial, *map(int, numbers))


def count_shares(selection: Selection, pictures: int) -> int:
    """Return into how many shares of at most about so many pictures a selection is cut: whole batches each."""
    batches = len(chunks_of(Candidates.of(selection.truth).samples))
    return max(1, -(-batches // max(1, pictures // IMAGES_PER_BATCH)))


def do_item(runner: TrialRunner, trial: Trial, item: str, parts: Any = None) -> TrialResult | Shard:
    """Do a trial or a share of it, or put its shares together; what fails says why.

    Args:
        runner: Does trials.
        trial: The trial.
        item: Name of the trial or of its share.
        parts: All shares in order, where they are to be put together.
    """
    share = Share.parse(item)
    if parts is not None:
        result = runner.join(trial, parts)
        seconds = sum(result.seconds.values())  # of all workers together
        get_registry().finished("trial", seconds, {"trial": trial.id, "status": result.status})
        return replace(result, seconds={**result.seconds, "trial": seconds})
    if share.count > 1:
        return runner.try_shard(trial, share.number, share.count)
    return runner.run(trial)


@dataclass(slots=True)
class _Opened:
    """A trial that is being done in shares.

    Attributes:
        item: The trial as the work below knows it.
        count: How many shares it has.
        shards: Those that are there, by number.
        deaths: How many workers each share has cost.
    """

    item: Item
    count: int
    shards: dict[int, Shard] = field(default_factory=dict)
    deaths: dict[int, int] = field(default_factory=dict)

    def share(self, number: int) -> Share:
        return Share(self.item.id, number, self.count)

    def as_item(self, number: int) -> Item:
        """Return a share as a worker sees it; number ``count`` puts all of them together."""
        if self.count == 1:
            return self.item
        parts = tuple(self.shards[at] for at in range(self.count)) if number == self.count else None
        what = "all shares" if parts else f"share {number + 1} of {self.count}"
        return Item(str(self.share(number)), self.item.group, f"{self.item.about}, {what}", parts)


class ShardedWork(Work):
    """Work whose larger items are done in shares.

    Trials are taken from the work below one at a time, when no share of those before is left: whoever has done a share
    of one trial is then first offered the same pictures of the next, which it may still hold.

    Args:
        work: The work; it holds and keeps whole trials.
        counts: Trial -> into how many shares it is cut.
        retries: How often a share is done again after its worker died.
    """

    def __init__(self, work: Work, counts: Mapping[str, int], retries: int = 1) -> None:
        self.folder, self.plan = work.folder, work.plan
        self._work, self._counts, self._retries = work, counts, retries
        self._opened: dict[str, _Opened] = {}
        self._waiting: list[Share] = []
        self._held: dict[str, Share] = {}
        self._seen: dict[str, set[tuple[str, int, int]]] = {}

    def take(self, owner: str, group: str = "") -> Item | None:
        """Return a share that nobody has, preferably one of pictures that an owner has seen."""
        if not self._waiting:
            self._open(group)
        if not self._waiting:
            return None
        seen = self._seen.setdefault(owner, set())
        share = min(self._waiting, key=lambda one: self._strangeness(one, group, seen))
        self._waiting.remove(share)
        self._held[owner] = share
        opened = self._opened[share.trial]
        seen.add((opened.item.group, share.number, share.count))
        return opened.as_item(share.number)

    def _strangeness(self, share: Share, group: str, seen: set[tuple[str, int, int]]) -> tuple[bool, bool, bool]:
        """Sort shares for an owner: those that end a trial, of its group, of pictures that it has seen come first."""
        own = self._opened[share.trial].item.group
        return share.number < share.count, own != group, (own, share.number, share.count) not in seen

    def _open(self, group: str) -> None:
        """Take the next trial from the work below."""
        item = self._work.take(_HOLDER, group)
        if item is None:
            return
        self._opened[item.id] = opened = _Opened(item, self._counts.get(item.id, 1))
        self._waiting = [opened.share(number) for number in range(opened.count)]

    def beat(self, owner: str) -> None:
        """Say that an owner, and so this process, is alive."""
        self._work.beat(_HOLDER)

    def finish(self, owner: str, item: Item, result: Any) -> None:
        """Take a share; the result of a whole trial, a failed one or the last, goes on to the work below."""
        share = self._held.pop(owner)
        opened = self._opened.get(share.trial)
        if opened is None:
            return  # another share of the trial has failed meanwhile
        if not isinstance(result, Shard):
            self._close(opened)
            self._work.finish(_HOLDER, opened.item, result)
            return
        opened.shards[share.number] = result
        if len(opened.shards) == opened.count:
            self._waiting.append(opened.share(opened.count))

    def lose(self, owner: str, item: Item, reason: str) -> None:
        """Put a share back; where it has cost too many workers, the trial has failed."""
        share = self._held.pop(owner)
        opened = self._opened.get(share.trial)
        if opened is None:
            return
        if opened.count == 1:
            self._close(opened)
            self._work.lose(_HOLDER, opened.item, reason)
            return
        deaths = opened.deaths[share.number] = opened.deaths.get(share.number, 0) + 1
        if deaths <= self._retries:
            self._waiting.insert(0, share)
            self.tell(f"{reason}; {opened.as_item(share.number).about} is done again")
            return
        times = "once" if deaths == 1 else f"{deaths} times"
        self._close(opened)
        about = "the worker that put its shares together" if share.number == share.count else "the worker of a share"
        self._work.fail(_HOLDER, opened.item, f"{about} died {times}, the last time: {reason}")

    def fail(self, owner: str, item: Item, reason: str) -> None:
        """Let the whole trial fail."""
        opened = self._opened.get(self._held.pop(owner).trial)
        if opened is not None:
            self._close(opened)
            self._work.fail(_HOLDER, opened.item, reason)

    def leave(self, owner: str) -> None:
        """Put back what an owner has; trials stay with this process, and end with it."""
        share = self._held.pop(owner, None)
        if share is not None and share.trial in self._opened:
            self._waiting.insert(0, share)
        self._seen.pop(owner, None)
        self._work.leave(owner)

    def remaining(self) -> int:
        """Return how many trials have not ended."""
        return self._work.remaining()

    def tell(self, text: str) -> None:
        """Tell the user something."""
        self._work.tell(text)

    def worker(self, **more: Any) -> Worker:
        """Make a worker in this process."""
        return self._work.worker(**more)

    def claim(self, owner: str, device: str) -> bool:
        """Take a device of this machine for a worker."""
        return self._work.claim(owner, device)

    def _close(self, opened: _Opened) -> None:
        """Forget a trial that has ended, or begins anew."""
        del self._opened[opened.item.id]
        self._waiting = [share for share in self._waiting if share.trial != opened.item.id]
