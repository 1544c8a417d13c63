"""``toolkit ablate``, and what it shares with ``toolkit run``: options, running a plan, printing what came out."""

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
        click.option(
            "--on-error", type=click.Choice(["record", "stop"]),
            help="Record a sample or a trial that fails and go on, or end there and show the error whole. "
            "[default: record]",
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
        "on_error": options["on_error"],
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
