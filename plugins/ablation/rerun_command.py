"""``toolkit rerun``: run recorded trials again, and say whether the same comes out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from regionkit.plugins.ablation.rerun import Rerun

#: Captions that differ and are printed.
_SHOWN = 3


@click.command()
@click.argument("run", metavar="RUN[#TRIAL]")
@click.option("--trial", "trials", multiple=True, metavar="TRIAL", help="This trial alone; repeatable.")
@click.option("--scores/--no-scores", default=True, help="Judge the captions again, too, as by default.")
@click.option("--device", default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(0, 512), default=0, help="CPU threads; 0 chooses by the models' size.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def rerun(context: click.Context, /, run: str, trials: tuple[str, ...], **options: Any) -> None:
    """Run recorded trials of RUN again, from what is stored of them, and say whether the same comes out.

    RUN#TRIAL is one trial, by its id or a beginning that no other has; RUN alone is all of them, a line each. Captions
    and scores are compared exactly. What has changed since is named: code, weights, data, versions of packages. Nothing
    is written into the run, and nothing is taken from the cache.

    A run whose file brought plugins needs --allow-local-plugins.

    Ends with status 0 where everything is identical, and with 1 where something is not or could not be run.
    """
    from regionkit.core.errors import DataError
    from regionkit.core.json_files import dumps
    from regionkit.plugins.ablation.rerun import Rerunner
    from regionkit.plugins.ablation.run_options import RunOptions
    from regionkit.registry.assembly import pick_device
    from regionkit.registry.recorded_changes import version_changes
    from regionkit.registry.run_folders import choose_trials, load_plugins_of, open_run, split_trial, trials_of

    pick_device(options["device"])
    folder, named = split_trial(run)
    settings = RunOptions(device=options["device"], threads=options["threads"])
    with open_run(folder) as store:
        everything = trials_of(store)
        if not everything:
            raise DataError(f"{folder}: no trial of this run has ended", "run it again, it goes on where it stopped")
        beginnings = [*([named] if named else []), *trials]
        chosen = choose_trials(folder, everything, beginnings) if beginnings else everything
        load_plugins_of(folder)
        versions = version_changes(folder)
        found: list[Rerun] = []
        for one in Rerunner(store, settings, scores=options["scores"]).run(chosen):
            found.append(one)
            if not options["as_json"]:
                _print(one, in_full=len(chosen) == 1)
    if options["as_json"]:
        click.echo(dumps(_as_json(folder, found, versions), indent=2))
    else:
        _sum_up(found, versions)
    context.exit(0 if all(one.identical for one in found) else 1)


def _print(one: Rerun, *, in_full: bool) -> None:
    """Print what became of a trial: a line, or all that is known of a single one."""
    click.echo(f"{one.trial.described}: {_outcome(one)}")
    if not in_full and one.identical:
        return
    for other in one.captions[:_SHOWN]:
        click.echo(f"  {other.sample}\n    then: {other.then}\n    now:  {other.now}")
    for score in one.scores:
        click.echo(f"  {score.column}: {_value(score.then)} then, {_value(score.now)} now")
    for column, reason in one.unscored.items():
        click.echo(f"  {column}: not compared: {reason}")
    if in_full or not one.identical:
        for change in one.changes:
            click.echo(f"  changed: {change}")
        for note in one.notes:
            click.echo(f"  noted when it ran: {note}")


def _outcome(one: Rerun) -> str:
    if one.error:
        return f"could not be run again: {one.error}"
    captions = f"{one.same} of {one.samples} captions identical"
    if not one.columns:
        return captions
    return f"{captions}, {one.columns - len(one.scores)} of {one.columns} scores"


def _value(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def _sum_up(found: Sequence[Rerun], versions: Sequence[str]) -> None:
    same = sum(one.identical for one in found)
    if len(found) > 1:
        click.echo(f"\n{same} of {len(found)} trials came out identical")
        changes = dict.fromkeys(change for one in found for change in one.changes)
        if same == len(found) and changes:
            click.echo("although this has changed:")
            for change in changes:
                click.echo(f"  {change}")
    for change in versions:
        click.echo(f"  changed: {change}")


def _as_json(folder: Path, found: Sequence[Rerun], versions: Sequence[str]) -> dict[str, Any]:
    trials = [
        {
            "trial": one.trial.id,
            "data": one.trial.data,
            "seed": one.trial.seed,
            "labels": dict(one.trial.labels),
            "identical": one.identical,
            "samples": one.samples,
            "same": one.same,
            "captions": [{"sample": other.sample, "then": other.then, "now": other.now} for other in one.captions],
            "columns": one.columns,
            "scores": [{"column": other.column, "then": other.then, "now": other.now} for other in one.scores],
            "unscored": one.unscored,
            "changes": one.changes,
            "notes": list(one.notes),
            "error": one.error,
        }
        for one in found
    ]
    identical = all(one.identical for one in found)
    return {"run": str(folder), "identical": identical, "trials": trials, "versions": list(versions)}
