"""``toolkit compare``: whether two runs differ, by how much, and in which samples."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regionkit.plugins.scoring.options import judging_options
from regionkit.plugins.scoring.words import counted, printable, short

if TYPE_CHECKING:
    from regionkit.core.statistics import Seeds
    from regionkit.plugins.scoring.comparing import ColumnResult, Compared
    from regionkit.plugins.scoring.runs import Run

_AGAINST = "--against"
#: Columns of the table, the most important first: a narrow terminal shows as many as fit.
_HEADER = ("column", "A", "B", "B - A", "found", "95 % interval", "p", "p (Holm)", "detectable")
#: Columns that every terminal shows.
_KEPT = 5
#: Differences that are smaller come of rounding.
_ROUNDING = 1e-10
#: How to read the columns.
_MEANING = {
    "95 % interval": "Interval: paired bootstrap; p: paired permutation test, two-sided.",
    "found": "A difference is found where p (Holm) < 0.05 and the interval leaves 0 out.",
    "p (Holm)": "p (Holm): corrected for the number of columns.",
    "detectable": "Detectable: the smallest true difference that such a comparison finds 8 times in 10.",
}


class CompareCommand(click.Command):
    """Lets ``--against`` take all that follows it up to the next flag."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments."""
        spread: list[str] = []
        taking = False
        for arg in args:
            if arg.startswith("-") and arg != "-":
                taking = arg.partition("=")[0] == _AGAINST
                spread += [] if arg == _AGAINST else [arg]
            else:
                spread += [_AGAINST, arg] if taking else [arg]
        return super().parse_args(ctx, spread)


@click.command(cls=CompareCommand)
@click.argument("runs", nargs=-1, required=True, metavar="A B")
@click.option(_AGAINST, multiple=True, metavar="B ...", help="Runs of the second side: A1 A2 --against B1 B2.")
@click.option("--metric", "columns", multiple=True, metavar="COLUMN", help="Compare this column alone; repeatable.")
@click.option(
    "--by-image/--by-sample",
    default=True,
    help="Draw and permute the samples of a picture together, as by default, or each by itself.",
)
@click.option("--any-signature", is_flag=True, help="Compare what was scored differently, on the samples in common.")
@click.option("--most", type=click.IntRange(0), default=10, show_default=True, help="Changed samples to show.")
@click.option(
    "--references", type=click.Path(path_type=Path), metavar="FILE", help="Score plain predictions against these first."
)
@judging_options
@click.pass_context
def compare(
    context: click.Context, /, runs: tuple[str, ...], against: tuple[str, ...], columns: tuple[str, ...], **options: Any
) -> None:
    """Say whether B differs from A, column by column, and which samples changed most.

    A and B are files of `toolkit score --per-sample`, folders of `toolkit run --out` (FOLDER#TRIAL where there are
    several trials), or plain predictions together with --references. Several seeds are A1 A2 A3 --against B1 B2 B3.

    Every difference is B minus A.
    """
    from regionkit.plugins.scoring.comparing import compare_runs
    from regionkit.plugins.scoring.sources import Reader

    first, second = _sides(runs, against)
    _check_judging(context)
    reader = Reader(options)
    here, there = [reader.read(one) for one in first], [reader.read(one) for one in second]
    _check_data([*here, *there])
    compared = compare_runs(
        here,
        there,
        columns,
        by_sample=not options["by_image"],
        any_signature=options["any_signature"],
        most=options["most"],
        seed=options["seed"],
    )
    if options["as_json"]:
        click.echo(json.dumps(as_json(compared), indent=2))
        return
    show(compared, here, there, by_image=options["by_image"])
    if options["most"]:
        show_changes(compared, named=bool(columns))


def _sides(runs: Sequence[str], against: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the runs of both sides.

    Raises:
        click.UsageError: They are not told apart.
    """
    if against:
        return runs, against
    if len(runs) != 2:
        raise click.UsageError(f"{len(runs)} runs: give two, or several seeds as A1 A2 A3 --against B1 B2 B3")
    return runs[:1], runs[1:]


def _check_data(runs: Sequence[Run]) -> None:
    """Refuse trials of different data that have no sample in common: to list all that each lacks helps nobody.

    Raises:
        DataError: They are such trials.
    """
    from regionkit.core.errors import DataError

    first = runs[0]
    other = next((one for one in runs if one.data != first.data and not set(one.places) & set(first.places)), None)
    if other is not None and first.data and other.data:
        raise DataError(
            f"{short(first.name, 200)} is a trial of {first.data} and {short(other.name, 200)} one of {other.data}: "
            "they have no sample in common",
            "compare trials of the same data; to see the trials of a run, name its folder alone",
        )


def _check_judging(context: click.Context) -> None:
    """Refuse options of scoring where nothing is scored: they would change nothing, and nobody would know.

    Raises:
        click.UsageError: There are such options.
    """
    if context.params["references"] is not None:
        return
    told = {"metrics": "--metrics", "overrides": "--set", "images": "--images", "lexicon": "--lexicon"}
    for name, flag in told.items():
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            hint = "; to compare some columns alone, use --metric COLUMN" if name == "metrics" else ""
            raise click.UsageError(f"{flag} is for plain predictions, together with --references FILE{hint}")


def as_json(compared: Compared) -> dict[str, Any]:
    """Return the comparison in plain values."""
    changed = {
        one.name: [
            {
                "id": change.id,
                "a": change.first,
                "b": change.second,
                "difference": change.second - change.first,
                "captions": list(change.captions),
            }
            for change in one.changes
        ]
        for one in compared.columns
    }
    columns = {one.name: _column_json(one) for one in compared.columns}
    return {"n": compared.n, "columns": columns, "changed": changed, "overridden": compared.overridden}


def _column_json(one: ColumnResult) -> dict[str, Any]:
    found = one.comparison
    told: dict[str, Any] = {
        "a": one.first.mean,
        "b": one.second.mean,
        "difference": one.second.mean - one.first.mean if found is None else found.difference,
        "ci": None if found is None else [found.low, found.high],
        "p": None if found is None else found.p,
        "p_holm": one.corrected,
        "detectable": None if found is None else found.detectable,
        "found": None if found is None else one.found,
        "n": None if found is None else found.n,
        "groups": None if found is None else found.groups,
        "judged": one.judged,
        "values": one.basis,
        "higher_is_better": one.higher_is_better,
    }
    if one.first.n > 1:
        sides = zip("ab", (one.first, one.second), strict=True)
        told["seeds"] = {side: {"n": seeds.n, "spread": seeds.spread} for side, seeds in sides}
    return told


def show(compared: Compared, first: Sequence[Run], second: Sequence[Run], *, by_image: bool) -> None:
    """Print the table of columns and how to read it."""
    from regionkit.registry.commands.tables import text_table

    for side, runs in (("A", first), ("B", second)):
        told = [f"{short(run.name, 200)}{f' ({printable(run.about)})' if run.about else ''}" for run in runs]
        click.echo(f"{side}: {', '.join(told)}")
    header, rows, left_out = _fitting(_HEADER, [_row(one) for one in compared.columns])
    click.echo("\n" + text_table(header, rows))
    click.echo()
    for line in _reading(compared, by_image, left_out):
        click.echo(line)
    for reason in compared.overridden:
        click.echo(f"note: not scored alike: {reason}", err=True)


def _fitting(
    header: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], Sequence[Sequence[str]], Sequence[str]]:
    """Return the columns that fit on the terminal, and the names of those that do not; files and pipes take all."""
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    widths = [max(len(row[at]) for row in (header, *rows)) for at in range(len(header))]
    ends = accumulate(width + 2 * bool(at) for at, width in enumerate(widths))
    fits = max(_KEPT, sum(end <= limit for end in ends))
    return header[:fits], [row[:fits] for row in rows], header[fits:]


def _row(one: ColumnResult) -> tuple[str, ...]:
    found = one.comparison
    values = (printable(one.name), _value(one.first), _value(one.second))
    if found is None:
        return (*values, _signed(one.second.mean - one.first.mean), "not tested", "-", "-", "-", "-")
    outcome = "nothing"
    if one.found:
        outcome = "B is better" if (found.difference > 0) == one.higher_is_better else "A is better"
    return (
        *values,
        _signed(found.difference),
        outcome,
        f"{_signed(found.low)} .. {_signed(found.high)}",
        f"{found.p:.4f}",
        f"{one.corrected:.4f}",
        _signed(found.detectable).removeprefix("+"),
    )


def _signed(value: float) -> str:
    """Write a difference; one that four decimals would hide keeps its first digit, written in the same way."""
    if abs(value) < _ROUNDING:
        return "0.0000"
    return f"{value:+.{max(4, -math.floor(math.log10(abs(value))))}f}"


def _value(seeds: Seeds) -> str:
    return f"{seeds.mean:.4f}" + (f" ± {seeds.spread:.4f}" if seeds.n > 1 else "")


def _reading(compared: Compared, by_image: bool, left_out: Sequence[str]) -> list[str]:
    """Return the lines that say what the table means."""
    from regionkit.plugins.scoring.comparing import MEANS, NO_SAMPLES

    several = compared.pictures < compared.n
    how = "drawn together" if by_image else "each drawn by itself, as if those of a picture were independent"
    pictures = f" of {counted(compared.pictures, 'picture')}, {how}" if several else ""
    lines = [f"{counted(compared.n, 'sample')} on both sides{pictures}."]
    if any(one.comparison is not None for one in compared.columns):
        lines += [text for column, text in _MEANING.items() if column not in left_out]
    lines += [f"This terminal is too narrow for: {', '.join(left_out)}."] if left_out else []
    for one in compared.columns:
        if one.judged < compared.n:
            lines.append(f"{printable(one.name)}: {counted(one.judged, 'sample')} that were judged in all runs.")
    seeds = next((one.first.n for one in compared.columns), 1)
    if seeds > 1:
        lines.append(f"Values are means over {seeds} runs a side, ± standard deviation; tests are over samples alone.")
    means = [printable(one.name) for one in compared.columns if one.basis == MEANS]
    if means:
        lines.append(
            f"{', '.join(means)}: means over samples, which are no corpus values: how single samples add up to those "
            "was not kept."
        )
    untested = [printable(one.name) for one in compared.columns if one.basis == NO_SAMPLES]
    if untested:
        whose = "; A and B are of all samples of each run" if compared.overridden else ""
        lines.append(f"{', '.join(untested)}: not tested, since single samples have no value{whose}.")
    if any(one.comparison is None and one.basis != NO_SAMPLES for one in compared.columns):
        alone = "a single picture; --by-sample draws its samples one by one" if several else "a single sample"
        lines.append(f"Not tested: nothing can be drawn from {alone}.")
    return lines


def show_changes(compared: Compared, *, named: bool) -> None:
    """Print the samples that changed most: of all columns that were asked for, else of the first that has any."""
    changed = [one for one in compared.columns if one.changes]
    for one in changed if named else changed[:1]:
        click.echo(f"\nChanged most by {printable(one.name)}:")
        for change in one.changes:
            step = f"{change.first:.4f} -> {change.second:.4f}"
            click.echo(f"  {short(change.id)}: {step} ({change.second - change.first:+.4f})")
            for side, caption in zip("AB", change.captions, strict=True):
                click.echo(f"    {side}: {printable(caption)}")
    if len(changed) > 1 and not named:
        click.echo(f"\nother columns: --metric {printable(changed[1].name)}")
