"""The claims of an ablation as tables and text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from regionkit.core.statistics import DRAWS, LEVEL
from regionkit.plugins.ablation.verdicts import Verdict
from regionkit.registry.commands.tables import markdown_table


def claim_rows(verdicts: Iterable[Verdict]) -> tuple[list[str], list[list[str]]]:
    """Return the header and one row a claim, data set and metric."""
    rows = []
    for verdict in verdicts:
        found = verdict.comparison
        numbers = [""] * 7
        if found is not None:
            numbers = [
                f"{found.difference:+.3f}",
                f"{found.low:+.3f} .. {found.high:+.3f}",
                f"{found.effect:+.2f}" if found.effect is not None else "",
                f"{found.p:.4f}",
                f"{verdict.p_corrected:.4f}" if verdict.p_corrected is not None else "",
                str(found.n),
                str(found.groups),
            ]
        outcome = verdict.verdict
        if outcome == "recorded":
            against = "the opposite shows" if verdict.contradicted else "does not show"
            outcome = f"recorded ({'shows' if verdict.shown else against})"
        elif outcome == "undecided":
            outcome = f"undecided: {verdict.reason}"
        rows.append([verdict.claim.text, _where(verdict), verdict.on, verdict.by, *numbers, outcome])
    numbers = ["difference", "95 % interval", "effect", "p", "p Holm", "samples", "scenes"]
    return ["claim", "where", "on", "by", *numbers, "verdict"], rows


def _where(verdict: Verdict) -> str:
    return ", ".join(f"{axis}={'|'.join(values)}" for axis, values in verdict.claim.where.items())


def claims_table(verdicts: Sequence[Verdict]) -> str:
    """Return the claims as a Markdown table."""
    return markdown_table(*claim_rows(verdicts))


def claims_text(verdicts: Sequence[Verdict], width: int) -> str:
    """Return the claims for a terminal: as a table, or where that is too wide, each claim above its rows.

    Args:
        verdicts: What to show.
        width: Columns of the terminal; 0 where there is none.
    """
    table = claims_table(verdicts)
    if not width or len(table.partition("\n")[0]) <= width:
        return table
    header, rows = claim_rows(verdicts)
    cells = [header[2:], *(row[2:] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    narrow = [
        "  " + "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
    lines, above = [narrow[0]], ""
    for verdict, line in zip(verdicts, narrow[1:], strict=True):
        where = _where(verdict)
        title = verdict.claim.text + (f", where {where}" if where else "")
        lines += [line] if title == above else [title, line]
        above = title
    return "\n".join(lines)


def claims_legend(verdicts: Sequence[Verdict]) -> list[str]:
    """Return in short what the columns and the verdicts mean."""
    which = "p Holm" if any(verdict.strict for verdict in verdicts) else "p"
    lines = [
        f"p: two-sided permutation test over scenes; interval: bootstrap over scenes; holds: {which} < {LEVEL} and the "
        "stated direction."
    ]
    if any(verdict.claim.within for verdict in verdicts):
        lines.append("within: the whole interval keeps to that difference; ~ on both sides, > on the worse one.")
    if any(verdict.verdict == "recorded" for verdict in verdicts):
        lines.append("recorded: must: false, the outcome does not change the exit status.")
    if any(verdict.verdict == "not shown" for verdict in verdicts):
        lines.append("not shown: neither the ordering nor its opposite shows; fails: the opposite shows.")
    return [*lines, *_corrections(verdicts)]


def _corrections(verdicts: Sequence[Verdict]) -> list[str]:
    """Say what the corrected p are, and how many claims would show by them."""
    tested = [verdict for verdict in verdicts if verdict.p_corrected is not None]
    if not tested:
        return []
    effect = "effect: the difference in standard deviations over scenes (Cohen's d_z)."
    if len(tested) == 1:
        return [effect]
    told = f"p Holm: p corrected for {len(tested)} claims, data sets and metrics tested"
    if tested[0].strict:
        return [effect, f"{told}; it decides, since the file says correction: holm."]
    still = sum(verdict.shown_corrected is True for verdict in tested)
    shown = sum(verdict.shown for verdict in tested)
    return [effect, f"{told}; of {shown} that show by p, {still} show by it as well. correction: holm lets it decide."]


def claims_markdown(verdicts: Sequence[Verdict], correction: str) -> str:
    """Return the claims with how they were decided.

    Args:
        verdicts: The claims.
        correction: The sentence that says how p were corrected.
    """
    decides = "p Holm" if any(verdict.strict for verdict in verdicts) else "p"
    how = (
        "Matched trials are compared sample by sample, pooled over the seeds; axes that are not named are averaged. "
        "Metrics whose corpus value is no mean over samples, such as BLEU, are compared by it. "
        f"p: two-sided paired permutation test, at most {DRAWS:,} draws, all samples of a scene change sides together; "
        "interval: bootstrap over scenes; effect: the difference in standard deviations over scenes (Cohen's d_z). "
        f"A claim holds at {decides} < {LEVEL} and the stated direction; it fails where the opposite shows so, and is "
        "not shown where neither does. One that is within a tolerance is decided by its interval instead. "
        "One with must: false is recorded: the outcome does not change the exit status."
    )
    return f"# Claims\n\n{claims_table(verdicts)}\n\n{how}\n\n{correction}\n"
