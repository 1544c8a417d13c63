"""Runs the trials of a plan that are not done yet, one after the other, and stores each as it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from regionkit.core.errors import RunFailed
from regionkit.core.features import Caption
from regionkit.core.results import ResultStore, TrialResult
from regionkit.plugins.ablation.trial_runner import RunOptions, TrialRunner
from regionkit.plugins.ablation.trials import AblationPlan, Trial


class Progress(Protocol):
    """Watches a run."""

    def start(self, plan: AblationPlan, todo: Sequence[Trial]) -> None:
        """The trials in ``todo`` are about to run; the others are done already."""

    def trial_started(self, trial: Trial) -> None:
        """A trial begins."""

    def trial_finished(self, trial: Trial, result: TrialResult) -> None:
        """A trial has ended and is stored."""

    def stop(self) -> None:
        """Nothing more will run."""


@dataclass(slots=True)
class Summary:
    """What a run did.

    Attributes:
        resumed: Trials that were done before.
        ran: Trials that ran now.
        failed: Trials that failed now, and the reason of each.
        bad_samples: Trials that are done, of this run or an earlier one, and the samples of theirs that failed.
        unjudged: Trials that are done, and by column how many samples could not be judged.
    """

    resumed: int = 0
    ran: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    bad_samples: dict[str, int] = field(default_factory=dict)
    unjudged: dict[str, dict[str, int]] = field(default_factory=dict)


class Runner:
    """Runs trials in an order in which neighbours share as much as they can."""

    def __init__(self, plan: AblationPlan, store: ResultStore, progress: Progress, options: RunOptions) -> None:
        self.plan, self.store, self.progress, self.options = plan, store, progress, options
        self._strict = plan.spec.settings.on_error == "stop"
        self._trials = TrialRunner(plan, options)

    def run(self) -> Summary:
        """Run everything that is not done.

        Raises:
            RunFailed: A trial failed, and the ablation says ``on_error: stop``.
        """
        done = self.store.done()
        todo = [trial for trial in running_order(self.plan.trials) if trial.id not in done]
        self._judge_again([trial for trial in self.plan.trials if trial.id in done])
        summary = Summary(resumed=len(self.plan.trials) - len(todo))
        self.progress.start(self.plan, todo)
        try:
            self._trials.prepare(todo)
            for trial in todo:
                self.progress.trial_started(trial)
                result = self._trials.run(trial)
                self.store.save(result)
                self.progress.trial_finished(trial, result)
                summary.ran += 1
                if result.status == "failed":
                    summary.failed[trial.id] = result.reason
                    if self._strict:
                        raise RunFailed(f"trial {trial.id} failed and on_error is stop: {result.reason}")
        finally:
            self.progress.stop()
            self._trials.close()
        for trial in self.plan.trials:
            held = self.store.trial(trial.id)
            if held is not None and held[0] == "done" and held[3]:
                summary.bad_samples[trial.id] = held[3]
            lost = self.store.unjudged(trial.id) if held is not None and held[0] == "done" else {}
            if lost:
                summary.unjudged[trial.id] = {metric: len(reasons) for metric, reasons in lost.items()}
        return summary

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
            metrics, _ = self._trials.judge(trial, captions, {}, again)
            label, seed = trial.selection.ref.label, trial.selection.seed
            self.store.judge_again(
                TrialResult(trial.id, label, seed, trial.config, "done", "", tuple(rows), metrics, {})
            )


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
