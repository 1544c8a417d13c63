"""``toolkit run --dry-run``: the whole resolved pipeline, what of it is not here, and what a paper prints of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from regionkit.core.errors import ConfigError
from regionkit.core.spec import PARTS
from regionkit.plugins.ablation.data_refs import read_data
from regionkit.registry.commands.published import row_lines, rows_json
from regionkit.registry.document import Document
from regionkit.registry.plan import PipelinePlan, plan_pipeline
from regionkit.registry.published.matching import Match, same_data
from regionkit.registry.published.tables import Value
from regionkit.registry.schema import fill
from regionkit.registry.weights.absent import absent_weights, problem_of


def resolved(document: Document) -> tuple[dict[str, Any], PipelinePlan | None]:
    """Return every option of a pipeline as a file would hold it, and its plan where its weights are here.

    Raises:
        ConfigError: A part or an option of the pipeline is wrong, or the parts do not fit.
    """
    data, plan = document.data, None
    try:
        plan = plan_pipeline(data, document.line)
    except ConfigError:
        if not absent_weights(data):
            raise
    parts = (
        plan.parts if plan is not None else {kind: fill(kind, data.get(kind), document.line, kind) for kind in PARTS}
    )
    told = {key: data[key] for key in ("summary", "weights") if data.get(key)}
    return {"version": 1, **told, **{kind: part.to_dict() for kind, part in parts.items() if part}}, plan


def dry_run_text(document: Document, name: str, match: Match, data: Sequence[Any]) -> str:
    """Return all that is known of a run before it runs.

    Args:
        document: The composed pipeline.
        name: The preset or file, as the command line has it.
        match: Its published rows.
        data: Entries of ``data:`` that were asked for; none for all data.

    Raises:
        ConfigError: As :func:`resolved`.
    """
    import yaml

    whole, plan = resolved(document)
    lines = [f"# {name}: {document.path or 'a mapping'}, every option; a file with this content is the same pipeline"]
    lines += [yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=120).rstrip(), ""]
    if plan is not None:
        lines += ["everything is here:", *(f"  {line}" for line in plan.describe())]
    else:
        absent = absent_weights(document.data)
        lines.append(str(problem_of(absent, name, document, recipes_of(match), dry=True)))
    lines.append("")
    published = row_lines(match.rows, match.preset, _asked(data) if data else None)
    of = f"{name} on these data" if match.rows else name
    lines += published or [match.sentence or f"no published row is of {of}"]
    return "\n".join(lines)


def _asked(data: Sequence[Any]) -> Callable[[Value], bool]:
    """Return what says of a published number whether it is of data that were asked for."""
    refs = [ref for entry in data if (ref := read_data(entry, "data", lambda *_: None)) is not None]
    parts = [(ref, fill("dataset", dict(ref.dataset), problems=[])) for ref in refs]
    return lambda value: any(
        part is not None and same_data(value.data, part, ref.task, ref.split or value.data.split) for ref, part in parts
    )


def dry_run_json(document: Document, match: Match) -> dict[str, Any]:
    """Return the same in plain values; raises as :func:`resolved`."""
    whole, plan = resolved(document)
    absent = [] if plan is not None else absent_weights(document.data)
    return {
        "pipeline": whole,
        "plan": plan.to_dict() if plan is not None else None,
        "absent": [_absent_json(one) for one in absent],
        "preset": match.preset or match.near or None,
        "differs": list(match.differs),
        "published": rows_json(match.rows, match.preset),
    }


def recipes_of(match: Match) -> list[str]:
    """Return the recipes that make what the rows of a pipeline need and nobody released."""
    return list(dict.fromkeys(recipe for row in match.rows for recipe in row.train))


def _absent_json(one: Any) -> Mapping[str, Any]:
    return {
        "part": one.part,
        "what": one.what,
        "files": list(one.files),
        "source": one.source,
        "license": one.license,
        "size": one.size or None,
        "made": one.made or None,
    }
