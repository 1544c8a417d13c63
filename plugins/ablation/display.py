"""How a run shows itself: a live table on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from regionkit.core.results import TrialResult
from regionkit.core.scores import coverage
from regionkit.plugins.ablation.progress import Progress as Watcher
from regionkit.plugins.ablation.trials import AblationPlan, Trial
from regionkit.plugins.ablation.words import counted

#: Trials of the live table; older ones scroll off.
_SHOWN = 12


class Notices(Watcher):
    """Nothing but what the user has to know."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def tell(self, text: str) -> None:
        """Write a notice."""
        self._console.print(Text(text), soft_wrap=True)


class Lines(Notices):
    """One line a trial, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._plan: AblationPlan | None = None
        self._total = self._count = 0
        self._start = 0.0

    def start(self, plan: AblationPlan, todo: Sequence[Trial]) -> None:
        """Say how much there is to do."""
        self._plan, self._total, self._start = plan, len(todo), time.monotonic()
        if todo:
            self.tell(opening(plan, todo))

    def note(self, text: str) -> None:
        """Write it."""
        self.tell(text)

    def trial_finished(self, trial: Trial, result: TrialResult) -> None:
        """Write what came out."""
        assert self._plan is not None
        self._count += 1
        left = eta(self._start, self._count, self._total)
        name = ", ".join([*(trial.combination.labels[axis] for axis in self._plan.varied), trial.selection.ref.label])
        seconds = result.seconds.get("trial", 0.0)
        self.tell(
            f"[{self._count}/{self._total}] {name}, seed {trial.selection.seed}: {outcome(result)} "
            f"({seconds:.1f} s, {left} left)"
        )


class LiveTable(Notices):
    """The last trials with their scores, who is at which, and a bar with the time that is left."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._plan: AblationPlan | None = None
        self._rows: list[list[str]] = []
        self._running: dict[str, list[str]] = {}
        self._start = 0.0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]} left"),
            console=console,
        )
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def start(self, plan: AblationPlan, todo: Sequence[Trial]) -> None:
        """Open the table."""
        self._plan, self._start = plan, time.monotonic()
        if not todo:
            return
        self._console.print(Text(opening(plan, todo)))
        self._task = self._bar.add_task("trials", total=len(todo), left="?")
        self._live.start()
        self._draw()

    def trial_started(self, trial: Trial) -> None:
        """Show the trial as running."""
        self._running.setdefault(trial.id, self._waiting(trial, ""))
        self._draw()

    def note(self, text: str) -> None:
        """Write it above the table."""
        self.tell(text)

    def busy(self, trials: Sequence[tuple[Trial, str]]) -> None:
        """Show who is at which trial."""
        running = {trial.id: self._waiting(trial, who) for trial, who in trials}
        if running != self._running:
            self._running = running
            self._draw()

    def trial_finished(self, trial: Trial, result: TrialResult) -> None:
        """Show the scores."""
        scores = {metric.metric: f"{metric.value:.3f}" for metric in result.metrics}
        none = "failed" if result.status == "failed" else "-"  # a metric of another kind of task
        cells = [scores.get(metric, none) for metric in self._metrics]
        self._running.pop(trial.id, None)
        self._rows = [*self._rows, self._row(trial, cells)][-_SHOWN:]
        task = self._bar.tasks[0]
        done = int(task.completed) + 1
        self._bar.update(task.id, completed=done, left=eta(self._start, done, int(task.total or 0)))
        if result.status == "failed":
            self._console.print(Text(f"trial {trial.id} failed: {result.reason}", style="red"))
        self._draw()

    def stop(self) -> None:
        """Close the table; what it showed is in the final one."""
        self._live.stop()

    @property
    def _metrics(self) -> list[str]:
        return self._plan.columns if self._plan else []

    def _row(self, trial: Trial, cells: Sequence[str]) -> list[str]:
        assert self._plan is not None
        labels = [trial.combination.labels[axis] for axis in self._plan.varied]
        return [*labels, trial.selection.ref.label, str(trial.selection.seed), *cells]

    def _waiting(self, trial: Trial, who: str) -> list[str]:
        """Return the row of a trial without scores: who is at it stands in the place of the first."""
        return self._row(trial, [f"... {who}".strip(), *["..."] * (len(self._metrics) - 1)])

    def _draw(self) -> None:
        assert self._plan is not None
        table = Table(box=None, pad_edge=False)
        for name in (*self._plan.varied, "data", "seed"):
            table.add_column(name)
        for name in self._metrics:
            table.add_column(name, justify="right")
        running = list(self._running.values())[-_SHOWN:]
        for row in [*self._rows[-max(_SHOWN - len(running), 1) :], *running]:
            table.add_row(*(Text(cell) for cell in row))
        self._live.update(Group(table, self._bar))


def opening(plan: AblationPlan, todo: Sequence[Trial]) -> str:
    """Say what is about to run, and what is not."""
    parts = [f"{counted(len(todo), 'trial')} to run"]
    if len(todo) < len(plan.trials):
        parts.append(f"{len(plan.trials) - len(todo)} done before")
    refused = sum(refused.count for refused in plan.refused)
    if refused:
        parts.append(f"{refused} cannot run (reasons in results.md and with --plan)")
    if plan.excluded:
        parts.append(f"{plan.excluded} excluded")
    if plan.repeated:
        parts.append(f"{plan.repeated} named twice")
    return ", ".join(parts)


def outcome(result: TrialResult) -> str:
    """Return the scores of a trial on one line, or why it failed."""
    failed = "failed: " + " ".join(result.reason.split()) if result.status == "failed" else ""
    if failed and not result.metrics:
        return failed
    taken = len(result.samples) - result.failed
    scores = ", ".join(
        f"{metric.metric} {metric.value:.3f}{coverage(taken - len(metric.unjudged), taken)}"
        for metric in result.metrics
    )
    lost = f", {result.failed} of {len(result.samples)} samples failed" if result.failed else ""
    return scores + lost + (f"; {failed}" if failed else "")


def eta(start: float, done: int, total: int) -> str:
    """Estimate the time left from the pace so far, as minutes:seconds."""
    seconds = (time.monotonic() - start) / max(done, 1) * (total - done)
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
