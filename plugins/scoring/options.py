"""Options that ``score`` and ``compare`` share: what captions are judged against and by what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

#: What is computed where nothing is asked for: what runs anywhere and every paper reports.
METRICS = "bleu,rouge-l,cider-d"


def judging_options(command: Command) -> Command:
    """Add the options that say what judges captions, beside ``--references``."""
    options: Sequence[Callable[[Command], Command]] = (
        click.option("--metrics", default=METRICS, show_default=True, metavar="NAME,NAME"),
        click.option(
            "--set", "overrides", multiple=True, metavar="METRIC.option=value", help="Change an option of a metric."
        ),
        click.option(
            "--images", type=click.Path(path_type=Path), metavar="FOLDER", help="Pictures, for metrics that look."
        ),
        click.option("--lexicon", metavar="DATASET", help="Data set whose words noun-f1 and its like look for."),
        click.option(
            "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draws of intervals and tests."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    )
    for option in reversed(options):  # as a stack of decorators would: the first is shown first
        command = option(command)
    return command
