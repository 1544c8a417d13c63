"""``toolkit score``: captions in a file against references in a file, no pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regionkit.plugins.scoring.options import judging_options
from regionkit.plugins.scoring.words import counted, listed, printable, short

if TYPE_CHECKING:
    from regionkit.plugins.scoring.matching import Matched
    from regionkit.plugins.scoring.runs import Run

#: Reasons of refused ids that are shown.
_REASONS = 10


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--references", type=click.Path(path_type=Path), metavar="FILE", help="What they should say.")
@click.option(
    "--data", metavar="TASK@NAME/SPLIT", help="Samples of a data set instead of --references; its ids, its pictures."
)
@click.option(
    "--per-sample", type=click.Path(path_type=Path), metavar="FILE", help="Keep every sample's scores, for compare."
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="End with status 0 also where captions are missing, refused or could not be judged.",
)
@click.option("--no-intervals", is_flag=True, help="Leave the 95 % intervals out.")
@click.option("--percent", is_flag=True, help="Show values times 100, as papers print most; JSON stays as it is.")
@judging_options
@click.pass_context
def score(
    context: click.Context, /, predictions: Path, references: Path | None, data: str | None, **options: Any
) -> None:
    """Score the captions of PREDICTIONS, a JSON file or - for standard input.

    PREDICTIONS is {"ID": "caption"}, a list of {"image_id", "caption"}, or one such record a line. References are
    {"ID": ["caption", ...]}, records with "references" and what else metrics need, or a COCO annotation file. All of
    them may be packed with gzip. With --data they are the samples of a data set as its task asks them; options of the
    two are --set data.option=value and --set task.option=value.

    Ends with status 1 where ids of the references have no caption or one that is none, or a metric could not judge
    one, unless --allow-missing; with 2 for a mistake in a file or a flag.
    """
    from regionkit.plugins.scoring.data_references import facts, open_data, own_overrides
    from regionkit.plugins.scoring.judging import build_jury, interval_of, judge
    from regionkit.plugins.scoring.matching import match
    from regionkit.plugins.scoring.per_sample import write_run
    from regionkit.plugins.scoring.predictions import read_predictions
    from regionkit.plugins.scoring.references import read_references

    _check_files(options["per_sample"], predictions, references)
    _check_truth(references, data, options["images"])
    # Whatever keeps a metric from judging is told before files are read that may take long.
    own, overrides = own_overrides(options["overrides"]) if data is not None else ([], options["overrides"])
    opened = open_data(data, own) if data is not None else None
    shown = opened.dataset if opened is not None else None
    jury = build_jury(options["metrics"], overrides, options["images"], options["lexicon"], shown)
    said = read_predictions(predictions)
    truth = opened.read(said) if opened is not None else read_references(references)  # type: ignore[arg-type]
    matched = match(said, truth)
    if opened is not None:
        opened.clean(matched)
    run = judge(str(predictions), jury, matched, truth)
    if options["per_sample"]:
        write_run(options["per_sample"], run)
    intervals = {} if options["no_intervals"] else interval_of(run, options["seed"])
    if options["as_json"]:
        click.echo(json.dumps({**as_json(run, intervals, matched), **facts(opened)}, indent=2))
    else:
        show(run, intervals, matched.ids, percent=options["percent"])
        show_ids(matched)
        show_unjudged(run)
        if opened is not None and opened.dataset.disclaimer:
            click.echo(f"\n{opened.dataset.disclaimer}")
    unjudged = bool(matched.missing or matched.refused or run.unjudged)
    context.exit(1 if run.failed or (unjudged and not options["allow_missing"]) else 0)


def _check_files(target: Path | None, predictions: Path, references: Path | None) -> None:
    """Refuse a file to write that is read, or is a folder, and standard input for both files.

    Raises:
        click.UsageError: It is.
    """
    if str(predictions) == str(references) == "-":
        raise click.UsageError("predictions and references cannot both be standard input: name a file for one")
    if target is None:
        return
    if target.is_dir():
        raise click.UsageError(f"--per-sample {target} is a folder: name a file in it")
    if target.resolve() in {path.resolve() for path in (predictions, references) if path is not None}:
        raise click.UsageError(f"--per-sample {target} is read by this very command: name another file")


def _check_truth(references: Path | None, data: str | None, images: Path | None) -> None:
    """Check that it is said once what captions are judged against.

    Raises:
        click.UsageError: It is not.
    """
    if (references is None) == (data is None):
        both = "both of them are given" if data is not None else "neither is given"
        raise click.UsageError(f"say what captions are judged against: --references FILE or --data TASK@NAME; {both}")
    if data is not None and images is not None:
        raise click.UsageError("--images is for --references FILE: with --data the pictures are those of the data set")


def as_json(run: Run, intervals: Mapping[str, tuple[float, float]], matched: Matched) -> dict[str, Any]:
    """Return the scores in plain values, on the scales of the metrics."""
    scores = {
        name: {
            "value": one.value,
            "ci": list(intervals[name]) if name in intervals else None,
            "signature": one.signature,
            "judged": len(run.ids) - len(one.unjudged),
        }
        for name, one in run.columns.items()
    }
    refused = [{"id": name, "reason": reason} for name, reason in matched.refused.items()]
    unjudged = {
        name: [{"id": run.ids[at], "reason": reason} for at, reason in lost.items()]
        for name, lost in run.unjudged.items()
    }
    return {
        "n": matched.ids,
        "scores": scores,
        "missing": matched.missing,
        "extra": matched.extra,
        "refused": refused,
        "unjudged": unjudged,
        "failed": dict(run.failed),
    }


def show(run: Run, intervals: Mapping[str, tuple[float, float]], ids: int, *, percent: bool = False) -> None:
    """Print the scores, and what they depend on."""
    from regionkit.core.scores import coverage
    from regionkit.registry.commands.tables import text_table

    scale, digits = (100, 2) if percent else (1, 4)
    rows: list[tuple[str, ...]] = []
    for name, one in run.columns.items():
        ends = " .. ".join(f"{end * scale:.{digits}f}" for end in intervals[name]) if name in intervals else "-"
        judged = coverage(len(run.ids) - len(one.unjudged), len(run.ids))
        rows.append((name, f"{one.value * scale:.{digits}f}{judged}", ends))
    header = ("metric", "value x 100" if percent else "value", "95 % interval")
    width = len(header) if intervals else len(header) - 1
    click.echo(text_table(header[:width], [row[:width] for row in rows]))
    # In dense captioning the ids are of pictures, and those without a detection are samples, too.
    pictures = len(set(run.images)) if ids == len(run.ids) else ids
    images = f" of {counted(pictures, 'picture')}" if pictures != len(run.ids) else ""
    together = "; an interval draws those of a picture together" if images and intervals else ""
    click.echo(f"\n{counted(len(run.ids), 'caption')}{images} scored{together}. Signatures:")
    for one in run.columns.values():
        click.echo(f"  {printable(one.signature)}")


def show_ids(matched: Matched) -> None:
    """Say which ids were not scored, and why."""
    if matched.missing:
        click.echo(f"{counted(len(matched.missing), 'id')} without a prediction: {listed(matched.missing)}")
    if matched.extra:
        click.echo(f"{counted(len(matched.extra), 'prediction')} without references, left out: {listed(matched.extra)}")
    if matched.refused:
        click.echo(f"{counted(len(matched.refused), 'id')} refused:")
        for name, reason in list(matched.refused.items())[:_REASONS]:
            click.echo(f"  {short(name)}: {printable(reason)}")
        more = len(matched.refused) - _REASONS
        if more > 0:
            click.echo(f"  and {more:,} more, all with --json")


def show_unjudged(run: Run) -> None:
    """Say which captions could not be judged, once for columns that lack the same, and which metrics failed."""
    alike: dict[tuple[tuple[int, str], ...], list[str]] = {}
    for name, lost in run.unjudged.items():
        alike.setdefault(tuple(lost.items()), []).append(printable(name))
    for pairs, names in alike.items():
        click.echo(f"{counted(len(pairs), 'caption')} not judged by {', '.join(names)}:")
        for at, reason in pairs[:_REASONS]:
            click.echo(f"  {short(run.ids[at])}: {printable(reason)}")
        more = len(pairs) - _REASONS
        if more > 0:
            click.echo(f"  and {more:,} more, all with --json")
    for name, reason in run.failed.items():
        click.echo(f"{printable(name)} says nothing: {reason}", err=True)
