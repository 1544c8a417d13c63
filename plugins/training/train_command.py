"""``toolkit train``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regionkit.core.errors import RegionkitError, RunFailed

if TYPE_CHECKING:
    from regionkit.plugins.training.engine import Engine
    from regionkit.plugins.training.progress import Progress
    from regionkit.plugins.training.recipe_file import TrainingPlan
    from regionkit.plugins.training.runs import Report


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="a.b=c", help="Change an option of the file.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the weights.  [$REGIONKIT_WEIGHTS or weights]",
)
@click.option("--only", multiple=True, metavar="VARIANT", help="Train this variant of the file; repeat for more.")
@click.option("--steps", type=click.IntRange(1), help="Optimiser steps, as --set recipe.steps=N.")
@click.option("--seed", type=click.IntRange(0), help="Seed, as --set seed=N.")
@click.option(
    "--threads",
    default=1,
    show_default=True,
    type=click.IntRange(1, 512),
    help="CPU threads; part of the exact result.",
)
@click.option("--restart", is_flag=True, help="Start over, whatever is there.")
@click.option("--device", default="auto", show_default=True)
@click.option("--accelerate", is_flag=True, help="Precision, device and processes of `accelerate launch`.")
@click.option(
    "--checkpoint-steps", default=0, type=click.IntRange(0), help="Steps between checkpoints.  [by time only]"
)
@click.option("--checkpoint-seconds", default=60.0, show_default=True, type=click.FloatRange(0))
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def train(recipe: Path, out: Path | None, as_json: bool, **options: Any) -> None:
    """Train the parts that RECIPE, a YAML file, describes; all its variants one after the other, where it names some.

    A run that was stopped, even by kill -9, goes on from its last checkpoint when the same command is given again,
    without --restart, and on a CPU ends with the very same weights.

    Several processes share every batch: accelerate launch --num_processes N $(which toolkit) train RECIPE --accelerate
    """
    from regionkit.plugins.training.recipe_file import plan_variants

    _check_processes(options["accelerate"])

    overrides = list(options["overrides"])
    if options["steps"] is not None:
        overrides.append(f"recipe.steps={options['steps']}")
    if options["seed"] is not None:
        overrides.append(f"seed={options['seed']}")
    outcomes, failures = [], []
    plans = plan_variants(recipe, overrides, folder=out, only=options["only"])
    engine = _engine(options)
    for plan in plans:
        if options["threads"] != 1:
            plan = replace(plan, command=f"{plan.command} --threads {options['threads']}")
        try:
            report = _run(plan, options, engine)
        except RegionkitError as error:
            if engine.main:
                raise
            click.echo(f"process {engine.rank}: {error.message}", err=True)
            raise SystemExit(error.exit_code) from None
        if not engine.main:
            continue
        outcomes.append(_as_dict(plan, report))
        if report.failure is not None:
            failures.append((plan, report.failure))
        if not as_json:
            _say(plan, report)
    engine.close()
    if as_json and engine.main:
        click.echo(json.dumps(outcomes[0] if len(outcomes) == 1 else outcomes, indent=2))
    if failures:
        raise _without_figures(failures)


def _without_figures(failures: Sequence[tuple[TrainingPlan, RegionkitError]]) -> RunFailed:
    """Return the error of runs whose weights are written and could not be judged."""
    (plan, first), *others = failures
    also = [f"{other.out.stem}: {error.message}" for other, error in others]
    return RunFailed(
        f"{plan.out.stem}: the weights are written, but their figures could not be found out: {first.message}",
        *first.hints,
        *also,
    )


def _check_processes(accelerate: bool) -> None:
    """Refuse to train the same thing several times at once.

    Raises:
        RegionkitError: Several processes were started, and nothing tells them to share their work.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if not accelerate and count.isdigit() and int(count) > 1:
        raise RegionkitError(
            f"{count} processes were started, and each would train the same on its own", "add --accelerate"
        )


def _run(plan: TrainingPlan, options: dict[str, Any], engine: Engine) -> Report:
    from regionkit.plugins.training.runs import RunOptions, carry_out

    run_options = RunOptions(
        options["threads"], options["restart"], options["checkpoint_steps"], options["checkpoint_seconds"]
    )
    return carry_out(plan, run_options, engine, lambda total, start: _display(plan, total, start))


def _engine(options: dict[str, Any]) -> Engine:
    from regionkit.plugins.training.engine import AccelerateEngine, Engine
    from regionkit.registry.assembly import pick_device

    return AccelerateEngine() if options["accelerate"] else Engine(pick_device(options["device"]))


@contextmanager
def _display(plan: TrainingPlan, total: int, start: int) -> Iterator[Progress]:
    from regionkit.plugins.training.progress import Bar, Lines, log_line, shown_on_terminal

    if start:
        log_line(f"going on from step {start}")
    if shown_on_terminal():
        with Bar(total, start, plan.out.stem) as bar:
            yield bar
    else:
        yield Lines(total, start, log_line)


def _say(plan: TrainingPlan, report: Report) -> None:
    from regionkit.registry.weights.folders import found_text

    made = ", ".join(map(str, plan.files.values()))
    if report.outcome is None:
        said = "is finished: this set-up made it" if len(plan.files) == 1 else "are finished: this set-up made them"
        click.echo(f"{made} {said} before; to make it again add --restart")
        return
    done = report.outcome.steps - report.outcome.resumed
    rate = f", {report.outcome.tokens_a_second:,.0f} tokens/s" if report.outcome.tokens else ""
    click.echo(f"wrote {made}: {done} steps in {report.outcome.seconds:.1f} s, loss {report.outcome.loss:.4f}{rate}")
    for name, value in report.figures.items():
        click.echo(f"  {name}: {value:.4g}")
    click.echo(found_text(plan.out))


def _as_dict(plan: TrainingPlan, report: Report) -> dict[str, Any]:
    outcome = report.outcome
    return {
        "weights": [str(path) for path in plan.files.values()],
        "status": "finished before" if outcome is None else "trained",
        "steps": outcome.steps if outcome else None,
        "resumed_from": outcome.resumed if outcome else None,
        "seconds": round(outcome.seconds, 3) if outcome else None,
        "loss": outcome.loss if outcome else None,
        "tokens": outcome.tokens if outcome else None,
        "tokens_per_second": round(outcome.tokens_a_second, 1) if outcome else None,
        "figures": report.figures,
        "failure": report.failure.message if report.failure else None,
    }
