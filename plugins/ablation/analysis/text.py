"""The analysis in words: a few lines for a terminal, and tables for ``results.md``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from regionkit.plugins.ablation.analysis.analyse import Analysis
from regionkit.plugins.ablation.words import counted
from regionkit.registry.commands.tables import markdown_table

#: Most main effects, and changes of the best row, that a terminal shows.
_EFFECTS, _CHANGES = 10, 8
#: What to know of the best row's changes.
_CHOSEN = "The best row was chosen by these very results, so that its lead is somewhat too large."


def terminal_lines(analysis: Analysis) -> list[str]:
    """Return what mattered most and what the best pipeline is made of, in 25 lines at most; none without axes."""
    effects = sorted(analysis["main_effects"], key=_weight)
    lines: list[str] = []
    if effects:
        rows = [_effect_row(effect) for effect in effects[:_EFFECTS]]
        lines += ["What mattered: means over matched rows, strongest first", *_aligned(_EFFECT_HEAD, rows)]
        lines += _rest(len(effects) - len(rows))
    if analysis["leave_one_out"]:
        best = analysis["leave_one_out"][0]
        changes = sorted(best["changes"], key=_loss(analysis, best["column"]))
        rows = [_change_row(change) for change in changes[:_CHANGES]]
        title = (
            f"{best['column']} on {best['data']}: the best row, {_named(analysis, best['full'])}, changed in one axis"
        )
        lines += ["", title, *_aligned(_CHANGE_HEAD, rows)]
        more = sum(len(one["changes"]) for one in analysis["leave_one_out"]) - len(rows)
        lines += _rest(more)
    return lines


def markdown_parts(analysis: Analysis) -> list[str]:
    """Return the sections of ``results.md``, as paragraphs; wall times are not in them. None without axes."""
    parts: list[str] = []
    if analysis["main_effects"]:
        rows = [[*_effect_row(one)[:-2], _levels(one), *_effect_row(one)[-2:]] for one in analysis["main_effects"]]
        head = [*_EFFECT_HEAD[:-2], "means [95 % interval] (rows)", *_EFFECT_HEAD[-2:]]
        parts += ["## What mattered", markdown_table(head, rows)]
        parts.append(
            "Means of each level over rows that agree in all other axes and have all levels; range: largest minus "
            "smallest mean; p: permutation of the levels within each scene."
        )
        parts += _unmatched(analysis)
    if analysis["leave_one_out"]:
        table = [
            [best["column"], best["data"], _named(analysis, best["full"]), *_change_row(change)]
            for best in analysis["leave_one_out"]
            for change in best["changes"]
        ]
        parts += ["## One change at a time", markdown_table(["metric", "data", "best row", *_CHANGE_HEAD], table)]
        parts.append(
            "Difference: the changed row minus the best one; effect: in standard deviations over scenes. * marks a "
            f"change to the base pipeline's value. {_CHOSEN}"
        )
    if analysis["interactions"]:
        table = [_interaction_row(one) for one in analysis["interactions"]]
        head = ["axes", "data", "metric", "strength", "furthest from the sum", "p", "p Holm"]
        parts += ["## Interactions", markdown_table(head, table)]
        parts.append(
            "Strength: root mean square of what cell means are beyond the sum of their two main effects; p: these "
            "residuals change their sign scene by scene."
        )
    if parts:
        parts.append(analysis["correction"]["sentence"])
    return parts


_EFFECT_HEAD = ["axis", "data", "metric", "best", "worst", "range", "p", "p Holm"]
_CHANGE_HEAD = ["axis", "from", "to", "value", "difference", "95 % interval", "effect", "p", "p Holm"]


def _weight(effect: dict[str, Any]) -> tuple[float, float]:
    """Sort key of main effects: the surest first, and of those the largest beside the values themselves."""
    size = max(abs(level["mean"]) for level in effect["levels"])
    return effect["p_corrected"] if effect["p_corrected"] is not None else 2.0, -effect["range"] / (size or 1.0)


def _loss(analysis: Analysis, column: str) -> Any:
    """Return a sort key of changes: what loses most first."""
    higher = next(one["higher_is_better"] for one in analysis["columns"] if one["name"] == column)
    return lambda change: change["difference"] if higher else -change["difference"]


def _effect_row(effect: dict[str, Any]) -> list[str]:
    means = {level["label"]: level["mean"] for level in effect["levels"]}
    ends = [f"{effect[end]} {means[effect[end]]:.3f}" for end in ("best", "worst")]
    place = [effect["axis"], effect["data"], effect["column"]]
    return [*place, *ends, f"{effect['range']:.3f}", _p(effect["p"]), _p(effect["p_corrected"])]


def _change_row(change: dict[str, Any]) -> list[str]:
    ends = f"{change['low']:+.3f} .. {change['high']:+.3f}" if change["low"] is not None else ""
    numbers = [f"{change['value']:.3f}", f"{change['difference']:+.3f}", ends]
    effect = f"{change['effect']:+.2f}" if change["effect"] is not None else ""
    to = f"{change['to']} *" if change["base"] else change["to"]
    return [change["axis"], change["from"], to, *numbers, effect, _p(change["p"]), _p(change["p_corrected"])]


def _interaction_row(one: dict[str, Any]) -> list[str]:
    cells = [(line, at) for line in range(len(one["residuals"])) for at in range(len(one["residuals"][0]))]
    line, at = max(cells, key=lambda cell: abs(one["residuals"][cell[0]][cell[1]]))
    furthest = f"{one['labels'][0][line]}, {one['labels'][1][at]}: {one['residuals'][line][at]:+.3f}"
    return [
        " x ".join(one["axes"]),
        one["data"],
        one["column"],
        f"{one['strength']:.3f}",
        furthest,
        _p(one["p"]),
        _p(one["p_corrected"]),
    ]


def _levels(effect: dict[str, Any]) -> str:
    told = []
    for level in effect["levels"]:
        ends = f" [{level['low']:.3f}, {level['high']:.3f}]" if level["low"] is not None else ""
        told.append(f"{level['label']} {level['mean']:.3f}{ends} ({level['rows']})")
    return "; ".join(told)


def _unmatched(analysis: Analysis) -> list[str]:
    """Say which levels could not be compared: they lack rows that the others have."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for one in analysis["main_effects"]:
        if one["left_out"]:
            found.setdefault((one["axis"], ", ".join(one["left_out"])), {}).setdefault(one["data"])
    lines = [f"- {axis} on {', '.join(data)}: {labels}" for (axis, labels), data in found.items()]
    return (
        ["Not compared, for want of rows that match those of the other levels:\n\n" + "\n".join(lines)] if lines else []
    )


def _named(analysis: Analysis, row: str) -> str:
    labels = next(one["labels"] for one in analysis["rows"] if one["id"] == row)
    return ", ".join(labels[axis] for axis in analysis["varied"])


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _rest(more: int) -> list[str]:
    return [f"  and {counted(more, 'line')} more in results.md"] if more > 0 else []


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Align cells for a terminal; columns in which nothing stands are left away."""
    kept = [at for at in range(len(header)) if any(row[at] for row in rows)]
    cells = [[line[at] for at in kept] for line in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(size) for cell, size in zip(line, widths, strict=True)).rstrip() for line in cells
    ]
