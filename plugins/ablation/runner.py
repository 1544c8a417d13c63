"""Runs the trials of a plan that are not done yet, one after the other, and stores each as it ends."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from regionkit.core.contracts import Component, Score, column
from regionkit.core.errors import RegionkitError, RunFailed
from regionkit.core.features import Caption
from regionkit.core.pipeline import Pipeline
from regionkit.core.results import MetricRow, ResultStore, SampleRow, TrialResult
from regionkit.core.scores import check_score
from regionkit.core.spec import PARTS
from regionkit.plugins.ablation.stages import StageTree
from regionkit.plugins.ablation.trials import AblationPlan, Trial
from regionkit.registry import get_registry
from regionkit.registry.assembly import build_pipeline
from regionkit.registry.metrics import MetricRef
from regionkit.registry.plan import PipelinePlan
from regionkit.registry.weights.index import content_hash

#: Bytes of features that are held for later trials.
FEATURE_BYTES = 1 << 30
#: Backbones and decoders with smaller weight files than this run on one CPU thread: see :func:`choose_threads`.
SMALL_BYTES = 20_000_000


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


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How trials run; none of it changes what they mean.

    Attributes:
        device: ``auto`` or a torch device.
        feature_bytes: Bytes of features to hold in memory.
        threads: CPU threads of torch; 0 chooses by the size of the models.
    """

    device: str = "auto"
    feature_bytes: int = FEATURE_BYTES
    threads: int = 0


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
        self._tree = StageTree(options.feature_bytes, get_registry().finished, strict=self._strict)
        self._reuse: dict[str, Component] = {}
        self._backbone = ""
        self._threads = torch.get_num_threads()

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
            self._prepare(todo)
            for trial in todo:
                self.progress.trial_started(trial)
                result = self._trial(trial)
                self.store.save(result)
                self.progress.trial_finished(trial, result)
                summary.ran += 1
                if result.status == "failed":
                    summary.failed[trial.id] = result.reason
                    if self._strict:
                        raise RunFailed(f"trial {trial.id} failed and on_error is stop: {result.reason}")
        finally:
            self.progress.stop()
            torch.set_num_threads(self._threads)
        for trial in self.plan.trials:
            held = self.store.trial(trial.id)
            if held is not None and held[0] == "done" and held[3]:
                summary.bad_samples[trial.id] = held[3]
            lost = self.store.unjudged(trial.id) if held is not None and held[0] == "done" else {}
            if lost:
                summary.unjudged[trial.id] = {metric: len(reasons) for metric, reasons in lost.items()}
        return summary

    def _prepare(self, todo: Sequence[Trial]) -> None:
        """Let metrics start what takes long while the first captions are made."""
        data = {trial.selection.ref.label: trial.selection for trial in todo}
        first = {ref.label: one.dataset for one in reversed(data.values()) for ref in self.plan.metrics_of(one)}
        for ref in self.plan.metrics:
            if ref.label in first:
                ref.build(first[ref.label]).prepare()

    def _trial(self, trial: Trial) -> TrialResult:
        self._tree.clock.seconds.clear()
        start = time.perf_counter()
        status, reason = "done", ""
        samples: tuple[SampleRow, ...] = ()
        metrics: tuple[MetricRow, ...] = ()
        try:
            captions, errors = self._tree.captions(trial, self._pipeline(trial))
            samples = _sample_rows(trial, captions, errors)
            metrics, reasons = self._judge(trial, captions, errors)
            if reasons:  # what other metrics say stands, and the trial runs again when the command does
                status, reason = "failed", "; ".join(reasons)
        except RegionkitError as error:
            status, reason = "failed", str(error)
        seconds = {**self._tree.clock.seconds, "trial": time.perf_counter() - start}
        get_registry().finished("trial", seconds["trial"], {"trial": trial.id, "status": status})
        selection = trial.selection
        return TrialResult(
            trial.id, selection.ref.label, selection.seed, trial.config, status, reason, samples, metrics, seconds
        )

    def _pipeline(self, trial: Trial) -> Pipeline:
        """Build the pipeline; parts that an earlier trial built with the same options and weights are shared."""
        plan = trial.combination.plan
        if plan.key("backbone") != self._backbone:
            self._backbone = plan.key("backbone")
            self._reuse.clear()  # one backbone's models at a time: two may not fit into memory
        check_weights(trial)
        torch.set_num_threads(self.options.threads or choose_threads(plan, self._threads))
        with self._tree.clock.stage("build", trial=trial.id):
            pipeline = build_pipeline(plan, device=self.options.device, reuse=self._reuse)
        check_weights(trial)
        return pipeline

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
            metrics, _ = self._judge(trial, captions, {}, again)
            label, seed = trial.selection.ref.label, trial.selection.seed
            self.store.judge_again(
                TrialResult(trial.id, label, seed, trial.config, "done", "", tuple(rows), metrics, {})
            )

    def _judge(
        self,
        trial: Trial,
        captions: Sequence[Caption | None],
        errors: Mapping[int, str],
        refs: Sequence[MetricRef] | None = None,
    ) -> tuple[tuple[MetricRow, ...], list[str]]:
        """Score the samples that have a caption, by all metrics or by some.

        Returns:
            What the metrics say, and why others say nothing.

        Raises:
            RunFailed: There are no captions.
        """
        selection = trial.selection
        pairs = [pair for pair in zip(selection.samples, captions, strict=True) if pair[1] is not None]
        if not pairs:
            raise RunFailed(f"no sample could be captioned; the first: {errors.get(0, '')}")
        samples, said = zip(*pairs, strict=True)
        found: list[MetricRow] = []
        reasons = []
        for ref in self.plan.metrics_of(selection) if refs is None else refs:
            try:
                with self._tree.clock.stage("metric", metric=ref.label, samples=len(pairs)):
                    metric = ref.build(selection.dataset)
                    metric.expect(selection.samples)
                    metric.update_from(samples, said)
                    score = metric.compute()
                parts = (score.parts or {"": score}).items()
                found += [_metric_row(ref, part, one, metric.higher_is_better, len(pairs)) for part, one in parts]
            except RegionkitError as error:
                reasons.append(str(error))
        return tuple(found), reasons


def _metric_row(ref: MetricRef, part: str, score: Score, higher_is_better: bool, samples: int) -> MetricRow:
    """Return a score as it is stored.

    Raises:
        RunFailed: It is none.
    """
    label = column(ref.label, part)
    check_score(label, score, samples)
    return MetricRow(
        label,
        score.value,
        score.signature,
        higher_is_better,
        score.per_sample,
        score.statistics,
        score.unjudged,
        ref.part.name,
        part,
    )


def _sample_rows(trial: Trial, captions: Sequence[Caption | None], errors: dict[int, str]) -> tuple[SampleRow, ...]:
    return tuple(
        SampleRow(sample.id, sample.image_id, None if caption is None else caption.text, errors.get(at, ""))
        for at, (sample, caption) in enumerate(zip(trial.selection.samples, captions, strict=True))
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


def check_weights(trial: Trial) -> None:
    """Check that weight files are what they were when the trial was planned: its id vouches for their content.

    Raises:
        RunFailed: One has changed since, or is gone.
    """
    for kind in PARTS:
        file, planned = trial.combination.plan.weights[kind], trial.config["pipeline"]["weights"][kind]
        if file is None:
            continue
        try:
            same = content_hash(file) == planned["sha256"]
        except OSError:
            same = False
        if not same:
            raise RunFailed(
                f"{file.path} has changed since this run began",
                "run the same command again: its trials are then planned with the weights that are there now",
            )


def choose_threads(plan: PipelinePlan, available: int) -> int:
    """Return how many of the available CPU threads suit the models of a pipeline: one or all.

    The layers of tiny models take microseconds: handing them to a second thread costs more than it saves, and on a busy
    machine the threads wait for each other (72 trials of mini pipelines on two shared cores: 5 s to 7 s of decoding
    with one thread, 17 s to 49 s with two). The rule depends on the weights alone and never on a timing, since the
    number of threads changes the last bits of sums, and a run that is resumed must end like one that never stopped.
    """
    files = [plan.weights["backbone"], plan.weights["decoder"]]
    small = all(file is not None and file.path.stat().st_size < SMALL_BYTES for file in files)
    return 1 if small else available
