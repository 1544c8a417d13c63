"""What a person sees of a training run: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import click

#: Seconds between two lines where there is no terminal.
_LINE_SECONDS = 10.0
#: The figure that is shown as a rate.
_TOKENS = "tokens"


class Progress(Protocol):
    """Told about every step whose loss is known."""

    def update(self, done: int, loss: float, figures: Mapping[str, float]) -> None:
        """Say that ``done`` steps are done."""


class Silent:
    """Shows nothing."""

    def update(self, done: int, loss: float, figures: Mapping[str, float]) -> None:
        """Do nothing."""


class Lines:
    """Writes one line every ten seconds and one at the end, for logs.

    Args:
        total: Steps of the whole run.
        start: Steps done before this run, which do not count for the rate.
        write: Takes a line.
        clock: Seconds; replaced in tests.
    """

    def __init__(
        self, total: int, start: int, write: Callable[[str], Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._start, self._write, self._clock = total, start, write, clock
        self._began = self._last = clock()
        self._tokens = _Tokens()

    def update(self, done: int, loss: float, figures: Mapping[str, float]) -> None:
        """Write a line if it is time for one."""
        self._tokens.add(figures)
        now = self._clock()
        if now - self._last < _LINE_SECONDS and done < self._total:
            return
        self._last = now
        rate = (done - self._start) / max(now - self._began, 1e-9)
        left = (self._total - done) / rate if rate else 0.0
        speed = f"{rate:.1f} steps/s{self._tokens.rate(now - self._began)}"
        self._write(f"step {done}/{self._total}  loss {loss:.4f}{_shown(figures)}  {speed}  {_duration(left)} left")


class Bar:
    """A bar with loss, rate and time left, on the error stream."""

    def __init__(self, total: int, start: int, label: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._rich = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._total, self._start, self._began, self._shown = total, start, time.monotonic(), 0.0
        self._task = self._rich.add_task(label, total=total, completed=start, note="")
        self._tokens = _Tokens()

    def __enter__(self) -> Self:
        self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rich.stop()

    def update(self, done: int, loss: float, figures: Mapping[str, float]) -> None:
        """Move the bar, at most ten times a second."""
        self._tokens.add(figures)
        now = time.monotonic()
        if now - self._shown < 0.1 and done < self._total:
            return
        self._shown = now
        rate = (done - self._start) / max(now - self._began, 1e-9)
        left = _duration((self._total - done) / rate) if rate else "?"
        speed = f"{rate:.1f} steps/s{self._tokens.rate(now - self._began)}"
        note = f"loss {loss:.4f}{_shown(figures)}  {speed}  {left} left"
        self._rich.update(self._task, completed=done, note=note)


class _Tokens:
    """Adds up the figure ``tokens`` of steps."""

    def __init__(self) -> None:
        self._sum = 0.0

    def add(self, figures: Mapping[str, float]) -> None:
        self._sum += figures.get(_TOKENS, 0.0)

    def rate(self, seconds: float) -> str:
        """Return the tokens a second as a line shows them; nothing where none were counted."""
        return f"  {self._sum / max(seconds, 1e-9):,.0f} tokens/s" if self._sum else ""


def _shown(figures: Mapping[str, float]) -> str:
    return "".join(f"  {name} {value:.4g}" for name, value in figures.items() if name != _TOKENS)


def shown_on_terminal() -> bool:
    """Return whether a bar can be drawn."""
    return sys.stderr.isatty()


def log_line(line: str) -> None:
    """Write a line to the error stream, which is not where results go."""
    click.echo(line, err=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
