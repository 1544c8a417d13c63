"""``toolkit ablate`` and ``toolkit run``."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from regionkit.core.results import ResultStore
    from regionkit.plugins.ablation.analysis.analyse import Analysis
    from regionkit.plugins.ablation.runner import Progress, Summary
    from regionkit.plugins.ablation.trials import AblationPlan
    from regionkit.plugins.ablation.verdicts import Verdict
    from regionkit.registry.document import Document
    from regionkit.registry.published.matching import Match


#: Most notes on trials that the terminal shows.
_MOST_NOTES = 8


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that both commands take."""
    from regionkit.registry.commands.inputs import onednn_option

    options = (
        click.option("--set", "overrides", multiple=True, metavar="a.b=c", help="Change a value of the file."),
        click.option("--limit", type=click.IntRange(1), help="Most images of a data set."),
        click.option("--device", default="auto", show_default=True),
        click.option(
            "--precision", type=click.Choice(["float32", "bfloat16"]),
            help="In what models compute; bfloat16 is compared with float32 on a few pictures. [default: float32]",
        ),
        onednn_option(),
        click.option(
            "--threads", type=click.IntRange(0, 512), default=0, help="CPU threads; 0 chooses by the models' size."
        ),
        click.option(
            "--feature-memory", type=click.IntRange(0), default=1024, show_default=True, metavar="MIB",
            help="Memory for features that trials share.",
        ),
        click.option(
            "--model-memory", type=click.IntRange(0), metavar="MIB",
            help="Memory for models; those that would take more are loaded one after the other. [default: most of it]",
        ),
        click.option("--cache/--no-cache", "use_cache", default=True, help="Keep outputs of stages for later runs."),
        click.option(
            "--cache-limit", type=click.IntRange(1), default=20480, show_default=True, metavar="MIB",
            help="Room for that on disk; what was not used for longest makes room.",
        ),
        click.option("--report/--no-report", default=True, help="Write report.html beside the results."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    )  # fmt: skip
    for option in reversed(options):  # the last one that is put on is listed first
        command = option(command)
    return command


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Results go here. [default: runs/NAME]")
@click.option("--plan", "plan_only", is_flag=True, help="List the trials and what cannot run; run nothing.")
@click.option("--workers", metavar="N", help="Worker processes, at most one a GPU; 0 is this process, auto one a GPU.")
@click.option("--launcher", metavar="NAME", help="Who runs the trials. [default: local]")
@shared_options
@click.pass_context
def ablate(context: click.Context, /, file: Path, out: Path | None, plan_only: bool, **options: Any) -> None:
    """Run every trial of the ablation FILE; run it again to go on where it was stopped.

    Others may join while it runs: the same command, or `toolkit worker` with the folder of the results.

    Ends with status 1 if a trial or a sample failed, a sample could not be judged, or a claim that must hold does not;
    with 2 for a mistake in FILE.
    """
    from regionkit.core.errors import ConfigError
    from regionkit.plugins.ablation.planning import plan_ablation
    from regionkit.registry.document import check_reader, read_document

    flags = {
        "limit": options["limit"],
        "precision": options["precision"],
        "launcher.name": options["launcher"],
        "launcher.workers": options["workers"],
    }
    # The launcher's name comes first: another name would take away what --set says of its options.
    overrides = [*(f"{key}={value}" for key, value in flags.items() if value is not None), *options["overrides"]]
    document = read_document(file, overrides)
    check_reader(document, "ablate")
    plan = plan_ablation(document, to_show=plan_only)
    folder = out or Path("runs") / plan.name
    if plan_only:
        from regionkit.plugins.ablation.plan_output import show_plan

        show_plan(plan, folder, options)
        if plan.mistakes:
            raise ConfigError(plan.mistakes)
        return
    execute(context, plan, document, folder, options)


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

    words, where = _asked(context, options, needed=not dry_run)
    asked = laid_over(options["overrides"], words, _words(options["metrics"] or ""))
    base = read_pipeline(pipeline, asked.pipeline)
    check_reader(base, "")
    match = published_for(base.data, pipeline)
    if dry_run:
        from regionkit.plugins.ablation.dry_run import dry_run_json, dry_run_text

        told = dry_run_json(base, match) if options["as_json"] else None
        click.echo(json.dumps(told, indent=2) if told is not None else dry_run_text(base, pipeline, match, words))
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
    from regionkit.registry.weights.absent import absent_weights, problem_of

    try:
        return plan_ablation(document)
    except ConfigError as error:
        absent = absent_weights(base.data)
        if not absent:
            raise
        # That no trial can run stands at no key of the file, and is what the absent weights say better.
        others = [problem for problem in error.problems if problem.path]
        raise ConfigError([*others, problem_of(absent, name, base.line(""), recipes_of(match))]) from None


def _asked(context: click.Context, options: dict[str, Any], *, needed: bool) -> tuple[list[str], str]:
    """Return the data sets of ``--data`` and ``--task``, and which of the two flags mistakes are told of.

    Raises:
        click.UsageError: There are none where some are needed, or ``--on`` stands alone.
    """
    data = [word for entry in options["data"] for word in _words(entry)]
    tasks = [word for entry in options["tasks"] for word in _words(entry)]
    if not data and not tasks and needed:
        raise click.UsageError("name what to run on: --task image,box, or --data TASK@NAME")
    named = context.get_parameter_source("on") is click.core.ParameterSource.COMMANDLINE
    if named and all("@" in task for task in tasks):
        raise click.UsageError("--on is the data set of --task, and no task there lacks one")
    asked = data + [task if "@" in task else f"{task}@{options['on']}" for task in tasks]
    if not tasks:
        return asked, "--data"
    return list(dict.fromkeys(asked)), "--data, --task" if data else "--task"


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def execute(
    context: click.Context,
    plan: AblationPlan,
    document: Document,
    folder: Path | None,
    options: dict[str, Any],
    match: Match | None = None,
) -> None:
    """Run a plan, write the reports, print the tables, and end with the status that the outcome asks for.

    Args:
        context: Of the command.
        plan: The trials.
        document: The file that they are of.
        folder: Where results go; None keeps none.
        options: Those of the command line.
        match: Published rows of the pipeline, where there is one.
    """
    from regionkit.core.errors import RegionkitError
    from regionkit.core.results import DATABASE, ResultStore
    from regionkit.plugins.ablation.analysis.analyse import analyse
    from regionkit.plugins.ablation.published_rows import published_json, published_text, write_published
    from regionkit.plugins.ablation.run_options import run_options
    from regionkit.plugins.ablation.runner import Place, Runner
    from regionkit.plugins.ablation.signals import GOES_ON, ending_on_sigterm
    from regionkit.plugins.ablation.tables import write_reports
    from regionkit.plugins.ablation.verdicts import judge_claims
    from regionkit.registry import get_registry
    from regionkit.registry.assembly import pick_device

    pick_device(options["device"])  # one that is not there is a mistake, and no reason to fail trial by trial
    settings = run_options(options)
    place = Place(folder, document, plan.spec.launcher) if folder else None
    with (
        ending_on_sigterm(GOES_ON if folder else ""),
        ResultStore(folder / DATABASE if folder else None, journal=place.journal if place else "auto") as store,
    ):
        try:
            summary = Runner(plan, store, progress_on(), settings, place).run()
        except BaseException:
            # Whatever ends the run, the reports say what is there so far; what keeps them from it is not the news.
            with suppress(RegionkitError):
                if folder:
                    write_reports(folder, plan, store, judge_claims(plan, store))
            raise
        verdicts = judge_claims(plan, store)
        analysis = analyse(plan, store, verdicts, folder)
        files = write_reports(folder, plan, store, verdicts, analysis) if folder else []
        if folder:
            if match is not None:
                write_published(folder, plan, store, match)
            # Whoever watches runs may do more with what lies there now, such as make a page of it.
            get_registry().finished("run", 0.0, {"folder": str(folder), "report": options["report"]})
        if options["as_json"]:
            told = as_json(plan, store, summary, verdicts, analysis, folder)
            beside = {"published": published_json(plan, store, match)} if match is not None else {}
            click.echo(json.dumps({**told, **beside}, indent=2))
        else:
            beside_lines = published_text(plan, store, match) if match is not None else []
            show_results(plan, store, summary, verdicts, analysis, files, beside_lines)
    failed = summary.failed or summary.bad_samples or summary.unjudged or not all(verdict.ok for verdict in verdicts)
    context.exit(1 if failed else 0)


def progress_on(*, quiet: bool = False) -> Progress:
    """Return what shows a run: a live table on a terminal, lines elsewhere, or nothing but what has to be told."""
    from rich.console import Console

    from regionkit.plugins.ablation.display import Lines, LiveTable, Notices

    console = Console(stderr=True)
    if quiet:
        return Notices(console)
    return LiveTable(console) if console.is_terminal else Lines(console)


def show_results(
    plan: AblationPlan,
    store: ResultStore,
    summary: Summary,
    verdicts: list[Verdict],
    analysis: Analysis,
    files: list[Path],
    beside: Sequence[str] = (),
) -> None:
    """Print the tables; ``beside`` are lines on what a paper prints of the same."""
    from regionkit.plugins.ablation import claim_tables, tables
    from regionkit.plugins.ablation.analysis.text import terminal_lines
    from regionkit.plugins.ablation.results_tables import results_tables
    from regionkit.plugins.ablation.robustness import robustness_curves, robustness_text
    from regionkit.plugins.ablation.words import counted

    width = shutil.get_terminal_size((0, 0)).columns  # 0: no terminal, or one that does not tell
    click.echo("\n\n".join(results_tables(plan, store, width)))
    click.echo("\n" + "\n".join([*tables.reading(plan, store), *tables.own_metrics(plan)]))
    if beside:
        click.echo("\n" + "\n\n".join(beside))
    for part in robustness_text(robustness_curves(plan, store), plan, width):
        click.echo(f"\n{part}")
    if verdicts:
        click.echo("\n" + claim_tables.claims_text(verdicts, width))
        click.echo("\n" + "\n".join(claim_tables.claims_legend(verdicts)))
    if lines := terminal_lines(analysis):
        click.echo("\n" + "\n".join(lines))
    if plan.refused:
        click.echo("\nTrials that cannot run:\n" + tables.refused_table(plan))
    for sentence in plan.disclaimers:
        click.echo(f"\n{sentence}")
    show_notes(plan, store)
    show_failures(store, summary)
    undone = [verdict for verdict in verdicts if not verdict.ok]
    if undone:
        must = sum(verdict.claim.must for verdict in verdicts)
        click.echo(f"{len(undone)} of {must} claims that must hold do not", err=True)
    if files:
        others = f", {summary.elsewhere} ran elsewhere" if summary.elsewhere else ""
        click.echo(
            f"\n{counted(summary.ran, 'trial')} ran{others}, {summary.resumed} were done before. "
            f"Reports: {files[0].parent}"
        )
        if (page := files[0].parent / "report.html").is_file():
            click.echo(f"To read, and to send: {page}")
    else:
        click.echo("\nnothing was kept; add --out DIR")


def show_notes(plan: AblationPlan, store: ResultStore) -> None:
    """Print what a reader has to know of how trials ran, each sentence once."""
    from regionkit.plugins.ablation.words import counted

    notes = Counter(note for trial in plan.trials for note in store.notes(trial.id))
    for note, count in notes.most_common(_MOST_NOTES):
        click.echo(f"\n{counted(count, 'trial')}: {note}")
    if len(notes) > _MOST_NOTES:
        click.echo(f"and {len(notes) - _MOST_NOTES} other notes; see report.html")


def show_failures(store: ResultStore, summary: Summary) -> None:
    """Print why trials and samples failed, each reason once."""
    reasons: dict[str, list[str]] = {}
    for trial, reason in summary.failed.items():
        reasons.setdefault(reason, []).append(trial)
    for reason, trials in reasons.items():
        which = f"trial {trials[0]}" if len(trials) == 1 else f"{len(trials)} trials, the first is {trials[0]},"
        click.echo(f"{which} failed: {reason}", err=True)
    for trial, count in summary.bad_samples.items():
        first = next(row for row in store.captions(trial) if row.caption is None)
        click.echo(f"trial {trial}: {count} samples failed; the first, {first.sample}: {first.error}", err=True)
    for trial, counts in summary.unjudged.items():
        for metric, lost in store.unjudged(trial).items():
            sample, reason = next(iter(lost.items()))
            click.echo(
                f"trial {trial}: {metric} could not judge {counts[metric]} samples; {sample}: {reason}", err=True
            )
    if summary.unjudged:
        click.echo("a judge that gave no reply is asked again when the same command is run again", err=True)


def as_json(
    plan: AblationPlan,
    store: ResultStore,
    summary: Summary,
    verdicts: list[Verdict],
    analysis: Analysis,
    folder: Path | None,
) -> dict[str, Any]:
    """Return everything that the tables say in plain values."""
    from regionkit.plugins.ablation.analysis.analyse import without_times
    from regionkit.plugins.ablation.plan_output import refused_json
    from regionkit.plugins.ablation.provenance_tables import trial_provenance
    from regionkit.plugins.ablation.robustness import robustness_curves
    from regionkit.plugins.ablation.tables import trial_record

    trials = [
        {**trial_record(trial, store, plan.axes), "provenance": trial_provenance(trial, plan)} for trial in plan.trials
    ]
    return {
        "name": plan.name,
        "out": str(folder) if folder else None,
        "axes": plan.axes,
        "trials": trials,
        "refused": refused_json(plan),
        "excluded": plan.excluded,
        "metrics": dict(plan.own) if plan.own is not None else [ref.label for ref in plan.metrics],
        "left_out": [dict(zip(("data", "metric", "reason"), one, strict=True)) for one in plan.left_out],
        "robustness": robustness_curves(plan, store),
        "claims": [verdict.to_dict() for verdict in verdicts],
        "analysis": without_times(analysis),
        "ran": summary.ran,
        "elsewhere": summary.elsewhere,
        "resumed": summary.resumed,
        "failed": summary.failed,
        "bad_samples": summary.bad_samples,
        "unjudged": {trial: store.unjudged(trial) for trial in summary.unjudged},
        "disclaimers": plan.disclaimers,
    }
