"""What a run came to, as ``analysis.json`` of its folder has it: read, checked and filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from regionkit.core.errors import DataError
from regionkit.plugins.report.shapes import Shape, anything, count, flag, known, list_of, map_of, number, record, text
from regionkit.plugins.report.words import clean_all

#: Name of the file, and the version of its format that is read.
ANALYSIS = "analysis.json"
VERSION = 1

_TEXTS: tuple[Shape, Any] = (list_of(text), [])
_NOTHING = (text, "")
_UNKNOWN = (number, None)
_VALUE = record(
    {"mean": number},
    {"spread": _UNKNOWN, "low": _UNKNOWN, "high": _UNKNOWN, "interval": (anything, None), "seeds": (count, 1)},
)
_TESTED = {"p": _UNKNOWN, "p_corrected": _UNKNOWN}
_ENDS = {"low": _UNKNOWN, "high": _UNKNOWN}
_PLACE = {"data": text, "column": text}

_COLUMN = record({"name": text}, {"higher_is_better": (flag, True), "signature": _NOTHING, "on": _TEXTS})
_ROW = record(
    {"id": text, "labels": map_of(text), "data": text, "values": map_of(_VALUE)},
    {
        "names": (map_of(anything), {}),
        "trials": _TEXTS,
        "unbridged": (flag, False),
        "samples": (count, 0),
        "failed": (count, 0),
        "seconds": (map_of(number), {}),
        "seconds_per_sample": _UNKNOWN,
    },
)
_LEVEL = record({"label": text, "mean": number}, {**_ENDS, "rows": (count, 0)})
_EFFECT = record(
    {**_PLACE, "axis": text, "levels": list_of(_LEVEL)}, {"range": _UNKNOWN, "left_out": _TEXTS, **_TESTED}
)
_CHANGE = record(
    {"axis": text, "from": text, "to": text},
    {"row": _NOTHING, "value": _UNKNOWN, "difference": _UNKNOWN, "reason": _NOTHING, **_ENDS, **_TESTED},
)
_LEFT_OUT = record({**_PLACE, "full": text, "changes": list_of(_CHANGE)})
_GRID = list_of(list_of(number))
_INTERACTION = record(
    {**_PLACE, "axes": list_of(text), "labels": list_of(list_of(text)), "means": _GRID, "residuals": _GRID},
    {"strength": _UNKNOWN, "left_out": (list_of(list_of(text)), []), **_TESTED},
)
_PARETO = record(
    {**_PLACE, "points": list_of(record({"row": text, "seconds_per_sample": number, "value": number, "front": flag}))}
)
_BIN = record({"label": text}, {"low": _UNKNOWN, "high": _UNKNOWN})
_SIZED = record({"mean": number}, {**_ENDS, "samples": (count, 0)})
_SIZES = record({**_PLACE, "bins": list_of(_BIN), "series": list_of(record({"row": text, "values": list_of(_SIZED)}))})
_DISTURBED = record(
    {"row": text, "amounts": list_of(known), "values": list_of(number)},
    {
        "region_encoder": _NOTHING,
        "low": (list_of(number), []),
        "high": (list_of(number), []),
        "area": _UNKNOWN,
        "kept": _UNKNOWN,
    },
)
_ROBUSTNESS = record({**_PLACE, "perturbation": text, "series": list_of(_DISTURBED)})
_CLAIM = record(
    {"say": text, "on": text, "by": text, "verdict": text},
    {
        "where": (map_of(list_of(text)), {}),
        "within": _UNKNOWN,
        "must": (flag, True),
        "shown": (flag, False),
        "reason": _NOTHING,
        "difference": _UNKNOWN,
        **_ENDS,
        **_TESTED,
        "n": _UNKNOWN,
        "groups": _UNKNOWN,
        "detectable": _UNKNOWN,
        "effect": _UNKNOWN,
    },
)
_TRIAL = record(
    {"id": text, "row": text, "data": text, "status": text},
    {
        "seed": (count, 0),
        "reason": _NOTHING,
        "notes": _TEXTS,
        "failed": (count, 0),
        "unjudged": (map_of(count), {}),
    },
)
_REFUSED = record({"axes": map_of(text), "reason": text}, {"data": _NOTHING, "trials": (count, 1)})
_CORRECTION = record(
    {}, {"method": _NOTHING, "claims": _NOTHING, "families": (list_of(anything), []), "sentence": _NOTHING}
)
_PROVENANCE = record(
    {},
    {
        "resolved": _NOTHING,
        "versions": (map_of(anything), {}),
        "code": (anything, []),
        "components": (list_of(map_of(anything)), []),
        "weights": (list_of(map_of(anything)), []),
        "data": (list_of(map_of(anything)), []),
    },
)
_DOCUMENT = record(
    {"rows": list_of(_ROW), "columns": list_of(_COLUMN)},
    {
        "name": _NOTHING,
        "question": _NOTHING,
        "command": _NOTHING,
        "disclaimers": _TEXTS,
        "axes": _TEXTS,
        "varied": _TEXTS,
        "data": _TEXTS,
        "seeds": (list_of(count), []),
        "main_effects": (list_of(_EFFECT), []),
        "leave_one_out": (list_of(_LEFT_OUT), []),
        "interactions": (list_of(_INTERACTION), []),
        "pareto": (list_of(_PARETO), []),
        "sizes": (list_of(_SIZES), []),
        "robustness": (list_of(_ROBUSTNESS), []),
        "claims": (list_of(_CLAIM), []),
        "correction": (_CORRECTION, _CORRECTION({}, "")),
        "refused": (list_of(_REFUSED), []),
        "excluded": (count, 0),
        "left_out": (list_of(anything), []),
        "trials": (list_of(_TRIAL), []),
        "provenance": (_PROVENANCE, _PROVENANCE({}, "")),
    },
)


@dataclass(frozen=True)
class Evidence:
    """The analysis of a run.

    Attributes:
        plain: The document, every key of the format filled in, every text fit to be shown.
        notices: What a reader has to know of how complete it is, a sentence each.
    """

    plain: Mapping[str, Any]
    notices: tuple[str, ...] = ()

    def __getitem__(self, key: str) -> Any:
        """Return a section of the document."""
        return self.plain[key]

    @cached_property
    def rows(self) -> dict[str, Mapping[str, Any]]:
        """The rows by their ids."""
        return {row["id"]: row for row in self.plain["rows"]}

    @cached_property
    def columns(self) -> dict[str, Mapping[str, Any]]:
        """The columns by their names."""
        return {column["name"]: column for column in self.plain["columns"]}

    @cached_property
    def data(self) -> list[str]:
        """All data sets, those with disturbed regions included, in the order of the file."""
        return list(dict.fromkeys([*self.plain["data"], *(row["data"] for row in self.plain["rows"])]))

    @property
    def axes(self) -> Sequence[str]:
        """The axes that tell rows apart; all of them where there is one pipeline."""
        found: Sequence[str] = self.plain["varied"] or self.plain["axes"]
        return found

    def pipeline(self, row: str) -> str:
        """Return what a row is called: its values on the axes that vary."""
        if row not in self.rows:
            return row
        labels = self.rows[row]["labels"]
        return " · ".join(labels[axis] for axis in self.axes if axis in labels) or "the pipeline"


def read_analysis(path: Path) -> Evidence:
    """Read an analysis.

    Raises:
        DataError: It cannot be read, is of another version, or is none; the message says where.
    """
    from regionkit.core.json_files import load

    plain = clean_all(load(path).value)
    if not isinstance(plain, dict) or "version" not in plain:
        raise DataError(f"{path}: this is no analysis of a run", "run the ablation again: it writes the file anew")
    if plain["version"] != VERSION:
        raise DataError(
            f"{path}: the analysis was written by another regionkit (format {plain['version']!r}, this one has "
            f"{VERSION})",
            "run the ablation again with this one: results are kept, and the analysis is written anew",
        )
    return evidence_of(plain, str(path))


def evidence_of(plain: Any, where: str) -> Evidence:
    """Check a document and fill it in.

    Raises:
        DataError: It is no analysis; the message says where.
    """
    try:
        found = Evidence(_DOCUMENT(plain, where))
    except DataError as error:
        raise DataError(error.message, "run the ablation again: it writes the file anew") from None
    for at, one in enumerate(found["interactions"]):
        sides = [len(labels) for labels in one["labels"]]
        grids = [[len(line) for line in one[grid]] for grid in ("means", "residuals")]
        if len(one["axes"]) != 2 or len(sides) != 2 or any(grid != [sides[1]] * sides[0] for grid in grids):
            raise DataError(
                f"{where}: interactions[{at}]: the tables do not have a cell for each pair of labels",
                "run the ablation again: it writes the file anew",
            )
    return found
