"""Which published rows a pipeline is: by its options, whatever preset or file it was written in."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from regionkit.core.errors import RegionkitError
from regionkit.core.spec import PARTS, RELEASED
from regionkit.registry.document import read_pipeline
from regionkit.registry.published.tables import Asked, Judged, Row, read_tables, rows_of
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import Part, fill
from regionkit.registry.weights.references import is_reference

#: Options of data sets that say where files are, or what becomes of those that cannot be used.
_PLACES = ("root", "on_bad")
#: Differences that a message names.
_SHOWN = 4


@dataclass(frozen=True)
class Match:
    """Published rows for a pipeline.

    Attributes:
        preset: The preset that the pipeline is; empty for one that no row is of.
        rows: Its rows.
        near: A preset with rows that the pipeline was written as, and differs from.
        differs: In what: ``bridge.temperature is 0.05, published with 0.01``.
    """

    preset: str = ""
    rows: tuple[Row, ...] = ()
    near: str = ""
    differs: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Why there is nothing to compare with; empty where there is, and where nothing was to be expected."""
        if self.rows or not self.near:
            return ""
        more = f", and {len(self.differs) - _SHOWN} more" if len(self.differs) > _SHOWN else ""
        return f"The published rows of {self.near} are for other options: {'; '.join(self.differs[:_SHOWN])}{more}."


def published_for(data: Mapping[str, Any], name: str = "") -> Match:
    """Return the published rows of a pipeline.

    Where weights lie makes no difference, and all other options do. A preset that was named, and not changed, has its
    own rows alone; what was changed, or stands in a file, has those of the preset that it is the same as.

    Args:
        data: The composed pipeline.
        name: The preset that it was read from; empty for none.
    """
    own = options_of(data)
    if own is None:
        return Match()
    named = name if name and rows_of(name) else ""
    if named and _of_preset(named) == own:
        return Match(named, tuple(rows_of(named)))
    if not named and name in get_registry().presets and _of_preset(name) == own:
        return Match()  # a preset that no row is of: not all the others need to be read to know that
    tables, _ = read_tables()
    presets = dict.fromkeys(preset for table in tables for row in table.rows for preset in row.presets.values())
    same = next((preset for preset in presets if rows_of(preset) and _of_preset(preset) == own), "")
    if same:
        return Match(same, tuple(rows_of(same)))
    return Match(near=named, differs=tuple(_differences(own, _of_preset(named) or {}))) if named else Match()


def options_of(data: Mapping[str, Any]) -> dict[str, dict[str, Any]] | None:
    """Return every option of the parts of a pipeline, filled; None for one that has mistakes.

    Where a file lies says nothing of what it is: weights that are named by their place count as none were named, of
    other files the last part of the path counts, and one that is called as the released one is counts as that. The name
    of weights says which training they are of.
    """
    parts: dict[str, dict[str, Any]] = {}
    for kind in PARTS:
        part = fill(kind, data.get(kind), problems=[])
        if part is None:
            return None
        released = {entry.role: entry.files for entry in part.spec.option_files}
        options = part.to_dict().items()
        parts[kind] = {name: _placeless(value, released.get(name, ())) for name, value in options}
        if is_reference(str(parts[kind].get("weights", ""))):
            parts[kind]["weights"] = "auto"
    return parts


def _placeless(value: Any, released: Collection[str] = ()) -> Any:
    if isinstance(value, str) and value.startswith("file:"):
        name = PurePath(value.removeprefix("file:")).name
        return RELEASED if name in released else f"file:{name}"
    return value


@functools.cache
def _of_preset(preset: str) -> dict[str, dict[str, Any]] | None:
    try:
        return options_of(read_pipeline(preset).data)
    except RegionkitError:
        return None


def forget() -> None:
    """Forget what was read of plugins, since there are more now."""
    read_tables.cache_clear()
    _of_preset.cache_clear()


def _differences(own: Mapping[str, Mapping[str, Any]], other: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for kind in PARTS:
        here, there = own.get(kind, {}), other.get(kind, {})
        if here.get("name") != there.get("name"):
            yield f"{kind} is {here.get('name')}, published with {there.get('name')}"
            continue
        for key in (key for key in here if here[key] != there.get(key)):
            yield f"{kind}.{key} is {here[key]}, published with {there.get(key)}"


def same_data(asked: Asked, part: Part, task: str, split: str) -> bool:
    """Say whether samples are those that a table speaks of.

    Args:
        asked: What the table speaks of.
        part: The data set of the samples with its filled options.
        task: Their task.
        split: Their split.
    """
    if (asked.task, asked.name, asked.split) != (task, part.name, split):
        return False
    meant = fill("dataset", {"name": asked.name, **asked.options}, problems=[])
    if meant is None:
        return False
    here, there = part.to_dict(), meant.to_dict()
    return all(here[key] == there[key] for key in here if key not in _PLACES)


def other_options(metric: Judged, part: Part) -> list[str]:
    """Return the options of a metric that are others than the table's: those that it names, else the defaults.

    What a metric judges with (a model, a language model) is a choice of its user unless the table names it, and so is
    an option without a default.
    """
    needed = {key: value for key, value in part.to_dict().items() if key in part.given}
    plain = fill("metric", {"name": metric.name, **_required(part), **metric.options}, problems=[])
    if plain is None:
        return ["its options cannot be compared"]
    meant = plain.to_dict()
    free = set(part.spec.roles) - set(metric.options)
    return [
        f"{key} is {needed[key]}, published with {meant[key]}"
        for key in needed
        if key not in ("name", *free) and needed[key] != meant[key]
    ] + [
        f"{key} is {part.to_dict()[key]}, published with {meant[key]}"
        for key in metric.options
        if key not in needed and part.to_dict()[key] != meant[key]
    ]


def _required(part: Part) -> dict[str, Any]:
    """Return what the user said of options that have no default: without them no part can be filled."""
    from regionkit.registry.schema import options

    held = part.to_dict()
    return {option.name: held[option.name] for option in options(part.spec) if option.required}
