"""Runs single trials, sharing between them what they have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from regionkit.core.contracts import Component, Score, column
from regionkit.core.errors import RegionkitError, RunFailed
from regionkit.core.features import Caption
from regionkit.core.pipeline import Pipeline
from regionkit.core.regions import area_of
from regionkit.core.results import MetricRow, SampleRow, TrialResult
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


class TrialRunner:
    """Runs trials of a plan one after the other. Those that share stages should follow each other.

    Args:
        plan: The plan; its metrics judge.
        options: How to run.
        tell: Told what a user should know at once, a sentence at a time.
    """

    def __init__(
        self, plan: AblationPlan, options: RunOptions, tell: Callable[[str], None] = lambda text: None
    ) -> None:
        self.plan, self.options, self._tell = plan, options, tell
        self._tree = StageTree(
            options.feature_bytes, get_registry().finished, strict=plan.spec.settings.on_error == "stop"
        )
        self._reuse: dict[str, Component] = {}
        self._backbone = ""
        self._threads = torch.get_num_threads()

    def close(self) -> None:
        """Let go of models, and give torch its threads back."""
        self._reuse.clear()
        torch.set_num_threads(self._threads)

    def expect(self, trials: Sequence[Trial]) -> None:
        """Say which trials come, in their order: models that none of them needs are let go early."""

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Let metrics start what takes long while the first captions are made."""
        data = {trial.selection.ref.label: trial.selection for trial in trials}
        first = {ref.label: one.dataset for one in reversed(data.values()) for ref in self.plan.metrics_of(one)}
        for ref in self.plan.metrics:
            if ref.label in first:
                ref.build(first[ref.label]).prepare()

    def run(self, trial: Trial) -> TrialResult:
        """Do a trial; one that fails says why and raises nothing.

        Raises:
            RegionkitError: Never. What is no such error is a fault of the code and ends the run.
        """
        self._tree.clock.seconds.clear()
        start = time.perf_counter()
        status, reason = "done", ""
        samples: tuple[SampleRow, ...] = ()
        metrics: tuple[MetricRow, ...] = ()
        try:
            captions, errors = self._tree.captions(trial, self._pipeline(trial))
            samples = _sample_rows(trial, captions, errors)
            metrics, reasons = self.judge(trial, captions, errors)
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

    def judge(
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
        SampleRow(
            sample.id,
            sample.image_id,
            None if caption is None else caption.text,
            errors.get(at, ""),
            sample.region.kind,
            area_of(sample.region),
        )
        for at, (sample, caption) in enumerate(zip(trial.selection.samples, captions, strict=True))
    )


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
