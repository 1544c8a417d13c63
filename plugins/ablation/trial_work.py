"""The work of an ablation: its trials, between the queue that leases them and the results that keep them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regionkit.core.errors import RunFailed
from regionkit.core.launching import Item, Work, Worker, WorkerPlan
from regionkit.core.results import MetricRow, ResultStore, TrialResult
from regionkit.plugins.ablation.launching.local import device_key
from regionkit.plugins.ablation.progress import Progress
from regionkit.plugins.ablation.queue import Queue
from regionkit.plugins.ablation.shards import ShardedWork, count_shares
from regionkit.plugins.ablation.trials import Trial


@dataclass(frozen=True, slots=True)
class Rules:
    """How a run treats what goes wrong.

    Attributes:
        strict: End at the first trial that fails.
        retries: How often a trial is done again after its worker died.
        wait: Stay until trials of others have ended too.
    """

    strict: bool = False
    retries: int = 1
    wait: bool = True


@dataclass(slots=True)
class Tally:
    """What became of the trials of a run: those that ran here, and why trials failed, here and by others' hands."""

    ran: int = 0
    elsewhere: int = 0
    failed_here: int = 0
    failed: dict[str, str] = field(default_factory=dict)


class TrialWork(Work):
    """Trials of a plan.

    Args:
        todo: Trials that are not done, in the order in which they are best done.
        store: Keeps results.
        queue: Leases trials; it has been entered with :func:`items_of` them.
        progress: Shows what happens.
        rules: How to treat what goes wrong.
        plan: How other processes make workers.
        here: Makes a worker in this process; without it, as others do.
        folder: The run folder; None for a run in memory.
    """

    def __init__(
        self,
        todo: Sequence[Trial],
        store: ResultStore,
        queue: Queue,
        progress: Progress,
        rules: Rules,
        plan: WorkerPlan,
        here: Callable[..., Worker] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.folder, self.plan = folder, plan
        self._trials = {trial.id: trial for trial in todo}
        self._items = {item.id: item for item in items_of(todo)}
        self._store, self._queue, self._progress, self._rules, self._here = store, queue, progress, rules, here
        self._told: set[str] = set()
        self._ended = 0
        self.tally = Tally()

    def take(self, owner: str, group: str = "") -> Item | None:
        """Lease a trial that has no result; one whose workers died too often has failed.

        Raises:
            RunFailed: The run is to stop here, also for what others did.
        """
        self.remaining()
        while (lease := self._queue.take(owner, group)) is not None:
            held = self._store.trial(lease.id)
            if held is not None and held[0] == "done":
                self._queue.end(lease.id, "done")
            elif lease.attempts > self._rules.retries:
                self.fail(owner, self._items[lease.id], _died(lease.attempts, lease.reason))
            else:
                self._progress.trial_started(self._trials[lease.id])
                return self._items[lease.id]
        return None

    def beat(self, owner: str) -> None:
        """Say that this process is alive."""
        self._queue.beat()

    def finish(self, owner: str, item: Item, result: Any) -> None:
        """Keep a result, unless there is one; what came too late is welcome."""
        assert isinstance(result, TrialResult)
        self._store.save(result)
        self._queue.end(item.id, result.status)
        self.tally.ran += 1
        self._told.add(item.id)
        self._progress.trial_finished(self._trials[item.id], result)
        if result.status == "failed":
            self.tally.failed_here += 1
            self._failed(item.id, result.reason)

    def lose(self, owner: str, item: Item, reason: str) -> None:
        """Put a trial back, or let it fail where its workers died too often."""
        attempts = self._queue.lose(item.id, reason)
        if attempts > self._rules.retries:
            self.fail(owner, item, _died(attempts, reason))
        else:
            self.tell(f"{reason}; trial {item.id} is done again")

    def fail(self, owner: str, item: Item, reason: str) -> None:
        """Record a trial as failed."""
        trial = self._trials[item.id]
        label, seed = trial.selection.ref.label, trial.selection.seed
        self.finish(owner, item, TrialResult(trial.id, label, seed, trial.config, "failed", reason, (), (), {}))

    def remaining(self) -> int:
        """Return how many trials have not ended, and show what others have done."""
        standing = self._queue.standing()
        mine = str(self._queue.me)
        if standing.ended != self._ended:
            self._ended = standing.ended
            self._catch_up()
        busy = [
            (self._trials[name], worker if str(owner) == mine else f"{worker} of {owner.about}")
            for name, owner, worker in standing.busy
            if name in self._trials
        ]
        self._progress.busy(busy)
        left = len(self._trials) - standing.ended
        return left if self._rules.wait else left - sum(str(owner) != mine for _, owner, _ in standing.busy)

    def claim(self, owner: str, device: str) -> bool:
        """Take a device of this machine, of which there is one a worker; of CPUs there is enough for all."""
        return device == "cpu" or self._queue.claim(owner, device_key(device))

    def leave(self, owner: str) -> None:
        """Give back what a worker had."""
        self._queue.leave(owner)

    def worker(self, **more: Any) -> Worker:
        """Make a worker in this process."""
        return self._here(**more) if self._here is not None else super().worker(**more)

    def tell(self, text: str) -> None:
        """Tell the user something."""
        self._progress.tell(text)

    def split(self, pictures: int) -> Work:
        """Return the same trials in shares of about so many pictures, where some have more."""
        selections = {id(trial.selection): trial.selection for trial in self._trials.values()}
        shares = {key: count_shares(selection, pictures) for key, selection in selections.items()}
        if max(shares.values(), default=1) == 1:
            return self
        counts = {name: shares[id(trial.selection)] for name, trial in self._trials.items()}
        return ShardedWork(self, counts, self._rules.retries)

    def _catch_up(self) -> None:
        """Show trials that others have ended."""
        for name, state in self._queue.ended().items():
            if name in self._told:
                continue
            self._told.add(name)
            self.tally.elsewhere += 1
            result = told_by(self._store, name)
            if result is not None:
                self._progress.trial_finished(self._trials[name], result)
            if state == "failed":
                self._failed(name, result.reason if result else "another worker says so")

    def _failed(self, trial: str, reason: str) -> None:
        """Note a failure.

        Raises:
            RunFailed: The run ends at the first one.
        """
        self.tally.failed[trial] = reason
        if self._rules.strict:
            raise RunFailed(f"trial {trial} failed and on_error is stop: {reason}")


def items_of(trials: Iterable[Trial]) -> list[Item]:
    """Return trials as a launcher sees them; those of one backbone are a group."""
    return [
        Item(trial.id, trial.combination.plan.key("backbone"), f"{trial.selection.ref.label}, trial {trial.id}")
        for trial in trials
    ]


def told_by(store: ResultStore, trial: str) -> TrialResult | None:
    """Return a trial that somebody else did, for display: its scores are there, the values of samples are not."""
    found = store.recorded(trial)
    if found is None:
        return None
    return replace(found, metrics=tuple(MetricRow(name, *score, None) for name, score in store.scores(trial).items()))


def _died(attempts: int, reason: str) -> str:
    times = "once" if attempts == 1 else f"{attempts} times"
    return f"its worker died {times}, the last time: {reason}"
