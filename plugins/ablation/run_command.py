"""``toolkit run``: one pipeline on data sets, beside what a paper prints of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from regionkit.plugins.ablation.commands import execute, shared_options

if TYPE_CHECKING:
    from regionkit.plugins.ablation.trials import AblationPlan
    from regionkit.registry.document import Document
    from regionkit.registry.published.matching import Match

_NO_DATA = "name what to run on: --task image,box, or --data TASK@NAME"


@click.command()
@click.argument("pipeline")
@click.option(
    "--data", multiple=True, metavar="TASK@NAME", help="Task and data set, or TASK@NAME/SPLIT; commas or repeat."
)
@click.option(
    "--task", "tasks", multiple=True, metavar="TASK,TASK", help="Tasks on the data set of --on, or TASK@NAME."
)
@click.option("--on", default="mini", show_default=True, metavar="NAME", help="The data set of --task.")
@click.option("--metrics", metavar="NAME,NAME", help="Metrics of all tasks. [default: those that each task reports]")
@click.option(
    "--seed", "seeds", multiple=True, type=click.IntRange(0), help="Evaluation seed, repeatable. [default: 0]"
)
@click.option("--split", help="Split of the data sets. [default: test, or a data set's first]")
@click.option(
    "--robustness", multiple=True, metavar="KIND=A,A", help="Also perturb regions: jitter=0.1,0.2; repeatable."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Keep captions and scores here.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the whole pipeline, what of it is not here, and published numbers; run nothing.",
)
@shared_options
@click.pass_context
def run(context: click.Context, /, pipeline: str, out: Path | None, dry_run: bool, **options: Any) -> None:
    """Score PIPELINE, a preset's name or a YAML file, on data sets: an ablation of one pipeline.

    `--task image,box` asks these tasks of the mini-world, or of the data set that --on names; --data names task and
    data set together. Both may be given. --set changes an option of the pipeline (bridge.temperature=0.05), of a
    metric (clair.judge.name=http), of every data set (data.root=DIR) or of every task (task.prompt=...).

    Where PIPELINE is a row of a paper's table, its numbers stand beside ours; see `toolkit published`.

    Ends with status 1 if a sample failed or could not be judged, with 2 for a mistake in the pipeline or a flag.
    """
    from regionkit.plugins.ablation.overrides import laid_over
    from regionkit.plugins.ablation.perturbations import asked_on_command_line
    from regionkit.registry.document import Document, check_reader, read_pipeline
    from regionkit.registry.published.matching import published_for

    if not (dry_run or options["data"] or options["tasks"]):
        _refuse_without_data(pipeline, options["overrides"])
    words, where = _asked(context, options, needed=not dry_run)
    asked = laid_over(options["overrides"], words, _words(options["metrics"] or ""))
    base = read_pipeline(pipeline, asked.pipeline)
    check_reader(base, "")
    match = published_for(base.data, pipeline)
    if dry_run:
        from regionkit.plugins.ablation.dry_run import dry_run_json, dry_run_text

        told = dry_run_json(base, match) if options["as_json"] else None
        click.echo(json.dumps(told, indent=2) if told is not None else dry_run_text(base, pipeline, match, asked.data))
        return
    data: dict[str, Any] = {
        "base": base.data,
        "data": asked.data,
        "robustness": asked_on_command_line(options["robustness"]) or None,
        "metrics": asked.metrics,
        "seeds": list(options["seeds"] or (0,)),
        "split": options["split"],
        "limit": options["limit"],
        **({"precision": options["precision"]} if options["precision"] else {}),
        **({"on_error": options["on_error"]} if options["on_error"] else {}),
    }
    lines = {f"base.{path}" if path else "base": line for path, line in base.lines.items()}
    flags = {
        "data": where,
        "robustness": "--robustness",
        "metrics": "--metrics",
        "seeds": "--seed",
        "split": "--split",
        "limit": "--limit",
        "precision": "--precision",
        "on_error": "--on-error",
    }
    document = Document(base.path, data, {**lines, **flags}, base.name or "run")
    execute(context, _planned(document, base, pipeline, match), document, out, options, match)


def _planned(document: Document, base: Document, name: str, match: Match) -> AblationPlan:
    """Plan a run.

    Raises:
        ConfigError: It has mistakes; weights that are not here are told of file by file, beside them.
    """
    from regionkit.core.errors import ConfigError
    from regionkit.plugins.ablation.dry_run import recipes_of
    from regionkit.plugins.ablation.planning import plan_ablation
    from regionkit.registry.plan import plan_pipeline
    from regionkit.registry.weights.absent import problem_of, told_absent

    try:
        return plan_ablation(document)
    except ConfigError as error:
        # That no trial can run stands at no key of the file, and is what the absent weights, or the pipeline's own
        # mistakes, say better.
        others = [problem for problem in error.problems if problem.path]
        absent = told_absent(base.data)
        if not absent:
            if not others:
                plan_pipeline(base.data, base.line)
            raise
        raise ConfigError([*others, problem_of(absent, name, base, recipes_of(match))]) from None


def _refuse_without_data(name: str, overrides: Sequence[str]) -> NoReturn:
    """Say that there is nothing to run on, and of what lacks its weights that it lacks these, too.

    Raises:
        click.UsageError: There are no data, and all else is here.
        ConfigError: There are no data, nor weights.
    """
    from regionkit.core.errors import ConfigError, Problem
    from regionkit.plugins.ablation.dry_run import recipes_of
    from regionkit.plugins.ablation.overrides import laid_over
    from regionkit.registry.document import read_pipeline
    from regionkit.registry.published.matching import published_for
    from regionkit.registry.weights.absent import absent_weights, problem_of

    base = read_pipeline(name, laid_over(overrides, [], []).pipeline)
    absent = absent_weights(base.data)
    if not absent:
        raise click.UsageError(_NO_DATA)
    recipes = recipes_of(published_for(base.data, name))
    raise ConfigError([Problem("", "", _NO_DATA, ()), problem_of(absent, name, base, recipes)])


def _asked(context: click.Context, options: dict[str, Any], *, needed: bool) -> tuple[list[str], str]:
    """Return the data sets of ``--data`` and ``--task``, and which of the two flags mistakes are told of.

    Raises:
        click.UsageError: There are none where some are needed, or ``--on`` stands alone.
    """
    data = [word for entry in options["data"] for word in _words(entry)]
    tasks = [word for entry in options["tasks"] for word in _words(entry)]
    if not data and not tasks and needed:
        raise click.UsageError(_NO_DATA)
    named = context.get_parameter_source("on") is click.core.ParameterSource.COMMANDLINE
    if named and all("@" in task for task in tasks):
        raise click.UsageError("--on is the data set of --task, and no task there lacks one")
    asked = data + [task if "@" in task else f"{task}@{options['on']}" for task in tasks]
    if not tasks:
        return asked, "--data"
    return list(dict.fromkeys(asked)), "--data, --task" if data else "--task"


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
