"""Runs single trials, sharing between them what they have in common."""

from __future__ import annotations

import functools
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from regionkit.core.blame import blamed
from regionkit.core.contracts import Sample, Score, column
from regionkit.core.errors import RegionkitError, RunFailed
from regionkit.core.features import Caption
from regionkit.core.out_of_memory import first_line, free_memory, is_out_of_memory
from regionkit.core.regions import area_of
from regionkit.core.results import MetricRow, SampleRow, TrialResult
from regionkit.core.scores import computed
from regionkit.core.spec import PARTS
from regionkit.plugins.ablation.cache.stage_cache import StageCache
from regionkit.plugins.ablation.costs import Costs, weight_bytes
from regionkit.plugins.ablation.failures import reason_of
from regionkit.plugins.ablation.models import Models
from regionkit.plugins.ablation.run_options import RunOptions
from regionkit.plugins.ablation.stages import Shard, StageTree
from regionkit.plugins.ablation.trials import AblationPlan, Selection, Trial
from regionkit.registry import get_registry
from regionkit.registry.metrics import MetricRef
from regionkit.registry.plan import PipelinePlan
from regionkit.registry.weights.index import content_hash

#: Backbones and decoders with smaller weight files than this run on one CPU thread: see :func:`choose_threads`.
SMALL_BYTES = 20_000_000

Found = TypeVar("Found")


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
        self.models = Models(options.device, options.model_bytes, plan.spec.settings.computed)
        self.cache = None
        precision = plan.spec.settings.precision
        if options.cache is not None:
            self.cache = StageCache(options.cache, limit=options.cache_bytes, precision=precision, tell=tell)
        self._strict = plan.spec.settings.on_error == "stop"
        observe = get_registry().finished
        self._tree = StageTree(
            self.models,
            self.cache,
            options.feature_bytes,
            observe,
            precision=precision,
            strict=self._strict,
            tell=tell,
        )
        self._costs = Costs.read()
        self._threads = torch.get_num_threads()

    def close(self) -> None:
        """Let go of models, give torch its threads back, and note what stages cost on this machine."""
        self.models.clear()
        self._costs.write()
        torch.set_num_threads(self._threads)

    def expect(self, trials: Sequence[Trial]) -> None:
        """Say which trials come: models that none of them needs are let go early."""
        self.models.expect([trial.combination.plan for trial in trials])

    def prepare(self, trials: Sequence[Trial]) -> None:
        """Let metrics start what takes long while the first captions are made."""
        data = {trial.selection.ref.label: trial.selection for trial in trials}
        first = {ref.label: one.dataset for one in reversed(data.values()) for ref in self.plan.metrics_of(one)}
        for ref in self.plan.metrics:
            if ref.label in first:
                metric = ref.build(first[ref.label])
                try:
                    with blamed(metric, "metric"):
                        metric.prepare()
                except RegionkitError:
                    raise
                except Exception as error:  # captions are none the worse for it; whether it can judge, trials will say
                    self._tell(f"metric '{ref.label}' could not be prepared: {reason_of(error)}")

    def run(self, trial: Trial) -> TrialResult:
        """Do a trial. One that fails says why: a night's run must not end with the first of its trials."""
        start = time.perf_counter()
        shard, reason = self._try(lambda: self.shard(trial))
        result = _failed(trial, reason) if shard is None else self.join(trial, [shard])
        seconds = {**result.seconds, "trial": time.perf_counter() - start}
        get_registry().finished("trial", seconds["trial"], {"trial": trial.id, "status": result.status})
        self.models.done(trial.combination.plan)
        return replace(result, seconds=seconds)

    def shard(self, trial: Trial, number: int = 0, count: int = 1) -> Shard:
        """Answer the samples of one of ``count`` shares of a trial's pictures.

        Raises:
            RegionkitError: It cannot be done.
        """
        clock = self._tree.clock
        clock.clear()
        self._tree.sizes.notes.clear()
        plan = trial.combination.plan
        check_weights(trial)
        torch.set_num_threads(self.options.threads or choose_threads(plan, self._threads))
        self.models.clock = clock
        shard = self._tree.answers(trial, (number, count))
        check_weights(trial)
        self._costs.add(plan, self.models.device.type, clock)
        seconds, notes = clock.told(), self._tree.notes(trial)
        return replace(shard, seconds=seconds, notes=(*notes, *self._moved(trial, shard)))

    def _moved(self, trial: Trial, shard: Shard) -> list[str]:
        """Say how metrics of a few pictures move because models compute in less than float32.

        Metrics that ask a judge are left out: each of its answers would cost as much again.
        """
        exact = self._tree.exact
        pairs = [(at, caption) for at, caption in exact.items() if at in shard.captions]
        if not pairs:
            return []
        selection = trial.selection
        samples = [selection.truth[at] for at, _ in pairs]
        moved = []
        for ref in self.plan.metrics_of(selection):
            if ref.part.spec.needs:
                continue
            sides = [
                self._try(functools.partial(self._score, ref, selection, samples, said))[0]
                for said in ([shard.captions[at] for at, _ in pairs], [caption for _, caption in pairs])
            ]
            if sides[0] is not None and sides[1] is not None:
                both = zip(sides[0], sides[1], strict=True)
                moved += [f"{lower.metric} {lower.value - full.value:+.4f}" for lower, full in both]
        computed = self.plan.spec.settings.computed
        return [f"{computed} against float32, on these {len(pairs)} samples: {', '.join(moved)}"] if moved else []

    def try_shard(self, trial: Trial, number: int, count: int) -> Shard | TrialResult:
        """Do a share as :meth:`shard` does; where that fails, the trial has failed and says why."""
        shard, reason = self._try(lambda: self.shard(trial, number, count))
        return _failed(trial, reason) if shard is None else shard

    def join(self, trial: Trial, shards: Sequence[Shard]) -> TrialResult:
        """Put the shares of a trial together and judge them; where that fails, the trial has failed and says why."""
        result, reason = self._try(lambda: self._joined(trial, shards))
        return _failed(trial, reason) if result is None else result

    def _joined(self, trial: Trial, shards: Sequence[Shard]) -> TrialResult:
        clock = self._tree.clock
        clock.clear()
        captions: list[Caption | None] = [None] * len(trial.selection.truth)
        errors: dict[int, str] = {}
        for shard in shards:
            errors |= shard.errors
            for position, caption in shard.captions.items():
                captions[position] = caption
        samples = _sample_rows(trial, captions, errors)
        judged, reason = self._try(lambda: self.judge(trial, captions, errors))
        metrics, reasons = judged if judged is not None else ((), [reason])
        seconds = Counter(clock.seconds)
        for shard in shards:
            seconds.update(shard.seconds)
        # What other metrics say stands where one fails, and the trial runs again when the command does.
        status = "failed" if reasons else "done"
        notes = tuple(dict.fromkeys(note for shard in shards for note in shard.notes))
        label, seed = trial.selection.ref.label, trial.selection.seed
        words = status, "; ".join(reasons)
        return TrialResult(trial.id, label, seed, trial.config, *words, samples, metrics, dict(seconds), notes)

    def _try(self, do: Callable[[], Found]) -> tuple[Found | None, str]:
        """Return what a step gives, or why it gives nothing."""
        out = False
        try:
            return do(), ""
        except Exception as error:  # a part of a stranger may raise anything
            known = isinstance(error, RegionkitError) and error.__cause__ is None
            # The run ends here, so there is room for all of it; a worker's goes to its log.
            if self._strict and not known:
                traceback.print_exc(file=sys.__stderr__)
            out = is_out_of_memory(error)
            reason = f"out of memory: {first_line(error)}" if out else reason_of(error)
        if out:
            free_memory()
        return None, reason

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
        pairs = [pair for pair in zip(selection.truth, captions, strict=True) if pair[1] is not None]
        if not pairs:
            raise RunFailed(f"no sample could be captioned; the first: {errors.get(0, '')}")
        samples, said = zip(*pairs, strict=True)
        found: list[MetricRow] = []
        reasons = []
        for ref in self.plan.metrics_of(selection) if refs is None else refs:
            rows, reason = self._try(functools.partial(self._score, ref, selection, samples, said))
            if rows is None:
                reasons.append(reason)
            else:
                found += rows
        return tuple(found), reasons

    def _score(
        self, ref: MetricRef, selection: Selection, samples: Sequence[Sample], captions: Sequence[Caption]
    ) -> list[MetricRow]:
        """Score captions by one metric.

        Raises:
            RegionkitError: It cannot.
        """
        with self._tree.clock.stage("metric", metric=ref.label, samples=len(samples)):
            metric = ref.build(selection.dataset)
            with blamed(metric, "metric"):
                metric.expect(selection.truth)
                metric.update_from(samples, captions)
            score = computed(metric, ref.label, len(samples))
        parts = (score.parts or {"": score}).items()
        return [_metric_row(ref, part, one, metric.higher_is_better) for part, one in parts]


def _failed(trial: Trial, reason: str) -> TrialResult:
    label, seed = trial.selection.ref.label, trial.selection.seed
    return TrialResult(trial.id, label, seed, trial.config, "failed", reason, (), (), {})


def _metric_row(ref: MetricRef, part: str, score: Score, higher_is_better: bool) -> MetricRow:
    return MetricRow(
        column(ref.label, part),
        float(score.value),
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
        for at, (sample, caption) in enumerate(zip(trial.selection.truth, captions, strict=True))
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
    kinds = ("backbone", "decoder")
    small = all(plan.weights[kind] is not None and weight_bytes(plan, kind) < SMALL_BYTES for kind in kinds)
    return 1 if small else available
