"""What made the results of an ablation: plugins, their distributions and versions, and weights by content."""

from __future__ import annotations

from typing import Any

from regionkit.plugins.ablation.trials import AblationPlan, Trial
from regionkit.registry.commands.tables import markdown_table
from regionkit.registry.provenance import component_record, provenance


def trial_provenance(trial: Trial, plan: AblationPlan) -> dict[str, Any]:
    """Return the provenance of the pipeline, with a record of the data set and, by label, of each metric.

    What a metric judges with stands behind it, as LABEL: ROLE.
    """
    metrics = {}
    for metric in plan.metrics if plan.own is None else plan.metrics_of(trial.selection):
        metrics[metric.label] = component_record(metric.part.spec)
        for role, (part, file) in metric.helpers.items():
            metrics[f"{metric.label}: {role}"] = component_record(part.spec, file)
    return {
        **provenance(trial.combination.plan),
        "dataset": component_record(trial.selection.part.spec),
        **({"task": component_record(task.spec)} if (task := trial.selection.task_part) is not None else {}),
        "metrics": metrics,
    }


def provenance_table(plan: AblationPlan) -> str:
    """Return one row for everything that had a part in any trial, as Markdown, and under it what to know of them."""
    notes = dict.fromkeys(note for trial in plan.trials for note in trial.combination.plan.notes())
    rows: dict[tuple[str, ...], None] = {}
    for trial in plan.trials:
        records = trial_provenance(trial, plan)
        metrics = records.pop("metrics")
        parts = [(kind, record) for kind, record in records.items() if kind not in ("regionkit", "notes")]
        for kind, record in [*parts, *(("metric", record) for record in metrics.values())]:
            weights = record["weights"] or {"file": "", "sha256": ""}
            source = f"{record['distribution']} {record['version']}".strip()
            row = (kind, record["name"], record["plugin"], source, weights["file"], weights["sha256"])
            rows.setdefault(row)
    order = list(dict.fromkeys(row[0] for row in rows))
    header = ("kind", "name", "plugin", "from", "weights", "sha256 begins with")
    table = markdown_table(header, sorted(rows, key=lambda row: order.index(row[0])))
    return "\n\n".join([table, *(["\n".join(f"- {note}" for note in notes)] if notes else [])])
