"""Runs the trials of a plan that are not done yet, here or by workers, and stores each as it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from regionkit.core.contracts import BuildContext
from regionkit.core.features import Caption
from regionkit.core.launching import Launcher, WorkerPlan
from regionkit.core.results import ResultStore, TrialResult
from regionkit.core.sqlite_journals import Journal
from regionkit.plugins.ablation.launching.configs import LocalConfig
from regionkit.plugins.ablation.launching.local import Local
from regionkit.plugins.ablation.owners import Owner
from regionkit.plugins.ablation.progress import Progress
from regionkit.plugins.ablation.queue import LEASE, QUEUE, Queue
from regionkit.plugins.ablation.run_folder import Recorded, write_ablation
from regionkit.plugins.ablation.run_options import RunOptions
from regionkit.plugins.ablation.trial_runner import TrialRunner
from regionkit.plugins.ablation.trial_work import Rules, Tally, TrialWork, items_of
from regionkit.plugins.ablation.trials import AblationPlan, Trial
from regionkit.plugins.ablation.workers import TrialWorker
from regionkit.registry.assembly import build_part, pick_device
from regionkit.registry.document import Document
from regionkit.registry.schema import Part

__all__ = ["Place", "Progress", "Runner", "Summary", "running_order"]

#: How any process makes a worker.
MAKE_WORKER = "regionkit.plugins.ablation.workers:make_worker"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run is, and who takes part.

    Attributes:
        folder: The run folder.
        document: What was planned; a run that takes part in another one's leaves it out.
        launcher: Who runs trials; None runs them in this process.
        wait: Stay until trials of others have ended too.
        share_device: Use a device although another worker has it.
    """

    folder: Path
    document: Document | None = None
    launcher: Part | None = None
    wait: bool = True
    share_device: bool = False

    def option(self, name: str, default: Any) -> Any:
        """Return an option of the launcher, if it has it."""
        return default if self.launcher is None else getattr(self.launcher.config, name, default)

    @property
    def lease(self) -> float:
        """Seconds of silence after which others take what a process of this run has."""
        return float(self.option("lease", LEASE))

    @property
    def journal(self) -> Journal:
        """How SQLite writes here."""
        asked: Journal = self.option("journal", "auto")
        return asked


@dataclass(slots=True)
class Summary:
    """What a run did.

    Attributes:
        resumed: Trials that were done before.
        ran: Trials that ran now.
        elsewhere: Trials that other workers did meanwhile.
        failed_here: Trials that failed in this process or its workers.
        failed: Trials that failed now, and the reason of each.
        bad_samples: Trials that are done, of this run or an earlier one, and the samples of theirs that failed.
        unjudged: Trials that are done, and by column how many samples could not be judged.
    """

    resumed: int = 0
    ran: int = 0
    elsewhere: int = 0
    failed_here: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    bad_samples: dict[str, int] = field(default_factory=dict)
    unjudged: dict[str, dict[str, int]] = field(default_factory=dict)


class Runner:
    """Runs trials in an order in which neighbours share as much as they can.

    Args:
        plan: The plan.
        store: Keeps results.
        progress: Shows what happens.
        options: How trials run.
        place: Where the run is; None for one in memory, in this process.
    """

    def __init__(
        self,
        plan: AblationPlan,
        store: ResultStore,
        progress: Progress,
        options: RunOptions,
        place: Place | None = None,
    ) -> None:
        self.plan, self.store, self.progress, self.options, self.place = plan, store, progress, options, place
        self._trials = TrialRunner(plan, options, progress.tell)

    def run(self) -> Summary:
        """Run everything that is not done, or see others do it.

        Raises:
            RunFailed: A trial failed, and the ablation says ``on_error: stop``; or the folder cannot be written to.
        """
        done = self.store.done()
        todo = [trial for trial in running_order(self.plan.trials) if trial.id not in done]
        resumed = len(self.plan.trials) - len(todo)
        try:
            if self.place is None or self.place.document is not None:
                self._judge_again([trial for trial in self.plan.trials if trial.id in done])
            self.progress.start(self.plan, todo)
            tally = self._launch(todo) if todo else Tally()
        finally:
            self.progress.stop()
            self._trials.close()
        summary = Summary(resumed, tally.ran, tally.elsewhere, tally.failed_here, tally.failed)
        self._look_over(summary)
        return summary

    def _launch(self, todo: Sequence[Trial]) -> Tally:
        """Let the launcher run what is to do, and return what became of it."""
        place, tell = self.place, self.progress.tell
        recorded = self._record()
        if place is None:
            queue = Queue(None)
        else:
            queue = Queue(place.folder / QUEUE, tell, journal=place.journal, lease=place.lease)
        try:
            others = queue.enter(items_of(todo), self.store.done, again=place is None or place.document is not None)
            if others:
                self.progress.note(shared_with(others))
            work = TrialWork(
                todo, self.store, queue, self.progress, self._rules(),
                WorkerPlan(MAKE_WORKER, {"recorded": recorded, "threads": torch.get_num_threads()}),
                here=self._here(todo), folder=place.folder if place else None,
            )  # fmt: skip
            self._launcher().launch(work, self.options.device)
            return work.tally
        finally:
            queue.close()

    def _record(self) -> Mapping[str, Any]:
        """Write down what is planned, for workers of other shells and machines."""
        place = self.place
        if place is None or place.document is None:
            return {}
        launcher = place.launcher.to_dict() if place.launcher else {}
        recorded = Recorded.of(place.document, self.plan, self.options, launcher)
        write_ablation(place.folder, recorded)
        return recorded.to_dict()

    def _rules(self) -> Rules:
        place = self.place
        strict = self.plan.spec.settings.on_error == "stop"
        if place is None:
            return Rules(strict)
        return Rules(strict, int(place.option("retries", 1)), place.wait)

    def _launcher(self) -> Launcher:
        """Return who runs trials; what takes part in another's run does it in this process, as does one in memory."""
        place = self.place
        if place is None:
            return Local(LocalConfig())
        if place.document is None or place.launcher is None:
            # It beats as often as the lease of the run asks for, which is that of its queue.
            return Local(LocalConfig(share_device=place.share_device, lease=place.lease))
        launcher = build_part(place.launcher, BuildContext())
        assert isinstance(launcher, Launcher)
        return launcher

    def _here(self, todo: Sequence[Trial]) -> Callable[..., TrialWorker]:
        """Return what makes a worker of this process, which need not plan again."""

        def make(device: str = "auto", **_: Any) -> TrialWorker:
            if device != str(pick_device(self.options.device)):
                self._trials.close()
                self._trials = TrialRunner(self.plan, replace(self.options, device=device), self.progress.tell)
            return TrialWorker(self.plan, self._trials, todo)

        return make

    def _look_over(self, summary: Summary) -> None:
        """Note what is missing in trials that are done."""
        for trial in self.plan.trials:
            held = self.store.trial(trial.id)
            if held is not None and held[0] == "done" and held[3]:
                summary.bad_samples[trial.id] = held[3]
            lost = self.store.unjudged(trial.id) if held is not None and held[0] == "done" else {}
            if lost:
                summary.unjudged[trial.id] = {metric: len(reasons) for metric, reasons in lost.items()}

    def _judge_again(self, trials: Sequence[Trial]) -> None:
        """Ask once more about captions of earlier runs that a judge had no answer to; replies that are kept are."""
        for trial in trials:
            lost = self.store.unjudged(trial.id)
            if not lost:
                continue
            refs = self.plan.metrics_of(trial.selection)
            again = [ref for ref in refs if lost.keys() & set(ref.columns(trial.selection.dataset))]
            rows = self.store.captions(trial.id)
            captions = [None if row.caption is None else Caption(row.caption, 0.0) for row in rows]
            metrics, reasons = self._trials.judge(trial, captions, {}, again)
            for reason in reasons:
                self.progress.tell(f"trial {trial.id} keeps the scores that it had: {reason}")
            label, seed = trial.selection.ref.label, trial.selection.seed
            self.store.judge_again(
                TrialResult(trial.id, label, seed, trial.config, "done", "", tuple(rows), metrics, {})
            )


def shared_with(others: Sequence[Owner]) -> str:
    """Say who else is at work."""
    names = ", ".join(owner.about for owner in others[:3]) + (", ..." if len(others) > 3 else "")
    are = "1 other process is" if len(others) == 1 else f"{len(others)} other processes are"
    return f"{are} at work on this run ({names}): trials are shared"


def running_order(trials: Sequence[Trial]) -> list[Trial]:
    """Sort trials so that those that share a backbone, samples, encoded or bridged regions follow each other.

    Within that, the order of the file is kept.
    """
    ranks: list[dict[object, int]] = [{} for _ in range(6)]

    def key(trial: Trial) -> tuple[int, ...]:
        plan, selection = trial.combination.plan, trial.selection
        words = (
            plan.key("backbone"),
            selection.seed,  # tasks under one seed look at the same pictures
            id(selection),
            plan.key("region_encoder"),
            plan.key("bridge"),
            plan.key("decoder"),
        )
        return tuple(rank.setdefault(word, len(rank)) for rank, word in zip(ranks, words, strict=True))

    return sorted(trials, key=key)
