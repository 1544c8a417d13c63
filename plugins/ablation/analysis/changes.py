"""The best pipeline with one choice changed at a time: what is each of its parts worth?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from regionkit.plugins.ablation.analysis.rows import Row, Table, beside
from regionkit.plugins.ablation.claims import Claim, Pair
from regionkit.plugins.ablation.spec import Axis, AxisValue, merge
from regionkit.plugins.ablation.trials import AblationPlan
from regionkit.plugins.ablation.verdicts import judge_pairs
from regionkit.plugins.ablation.words import text
from regionkit.registry.schema import fill

#: A claim without words: changes are judged as claims are, sample by sample.
_CLAIM = Claim("", "", "", "", (), (), {}, False, "")


def leave_one_out(plan: AblationPlan, tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Return for each data set and column the best row, and what every change of one axis does to it.

    All changes to other values are listed; ``base`` marks those to the value of the base pipeline, which take the part
    in question away. Differences are the changed row minus the best one, in units of the metric.
    """
    base = base_labels(plan)
    found = []
    for table in tables:
        full = table.rows[table.best]
        places = [
            (axis, at) for axis in plan.varied for at in changed_rows(full, table.rows, axis, beside(plan, [axis]))
        ]
        changes = [_change(table, full, axis, at, base.get(axis)) for axis, at in places]
        if changes:
            found.append({"data": table.data, "column": table.column, "full": full.id, "changes": changes})
    return found


def changed_rows(full: Row, rows: Sequence[Row], axis: str, others: Sequence[str]) -> list[int]:
    """Return the places of rows that differ from one in an axis, and agree with it in others and in the seeds."""
    labels = full.labels
    return [
        at
        for at, row in enumerate(rows)
        if row.labels[axis] != labels[axis]
        and row.seeds == full.seeds
        and all(row.labels[other] == labels[other] for other in others)
    ]


def _change(table: Table, full: Row, axis: str, at: int, base: str | None) -> dict[str, Any]:
    row = table.rows[at]
    pairs = [
        Pair(one.selection.seed, (one.id,), (other.id,)) for one, other in zip(full.trials, row.trials, strict=True)
    ]
    verdict = judge_pairs(replace(_CLAIM, axis=axis), table.data, table.column, pairs, table.store)
    found, sign = verdict.comparison, -1.0 if table.higher else 1.0
    # Claims say by how much the first side is better; here it is said what the change adds to the value.
    ends = sorted((sign * found.low, sign * found.high)) if found is not None else [None, None]
    difference = sign * found.difference if found is not None else float(table.values[at] - table.values[table.best])
    return {
        "axis": axis,
        "from": full.labels[axis],
        "to": row.labels[axis],
        "base": row.labels[axis] == base,
        "row": row.id,
        "value": float(table.values[at]),
        "difference": difference,
        "low": ends[0],
        "high": ends[1],
        "p": found.p if found is not None else None,
        "p_corrected": None,
        "effect": sign * found.effect if found is not None and found.effect is not None else None,
        "improved": 1 - found.improved if found is not None and found.improved is not None else None,
        "samples": found.n if found is not None else None,
        "scenes": found.groups if found is not None else None,
        "reason": verdict.reason,
    }


def base_labels(plan: AblationPlan) -> dict[str, str]:
    """Return by axis the label that the base pipeline has there, for axes whose values include it."""
    spec = plan.spec
    axes: list[Axis] = [*spec.grid, *(axis for group in spec.zips for axis in group)]
    axes += [Axis(name, (value,)) for extra in spec.include for name, value in extra.items()]
    found: dict[str, str] = {}
    for axis in axes:
        for value in axis.values:
            if axis.name not in found and _is_base(axis.name, value, plan):
                name = text(spec.base.get(axis.kind, {}).get("name", ""))
                found[axis.name] = f"{name}{value.label}" if value.label.startswith("(") else value.label
    return found


def _is_base(axis: str, value: AxisValue, plan: AblationPlan) -> bool:
    """Say whether a value leaves the base pipeline as it is, options that nobody wrote filled in."""
    kind, _, option = axis.partition(".")
    base = plan.spec.base.get(kind)
    part = fill(kind, base, problems=[]) if base is not None else None
    if base is None or part is None:
        return False
    if not option:
        other = fill(kind, merge(base, value.value), problems=[])
        return other is not None and other.to_dict() == part.to_dict()
    held: Any = part.to_dict()
    for key in option.split("."):
        held = held.get(key) if isinstance(held, dict) else None
    return held is not None and bool(held == value.value)
