"""The file of ``score --per-sample``: everything that ``compare`` needs of a run, one line a sample.

The format is described in docs/scoring.md. Whoever changes it raises :data:`VERSION`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regionkit.core.contracts import Metric
from regionkit.core.errors import DataError, RegionkitError, RunFailed
from regionkit.core.files import replacing
from regionkit.core.json_files import Loaded
from regionkit.core.statistics import Pool
from regionkit.plugins.scoring.runs import Floats, Measured, Run
from regionkit.plugins.scoring.words import described, short
from regionkit.registry import get_registry
from regionkit.registry.assembly import component_class

#: What the file says that it is, and its version; another one is refused, not guessed at.
FORMAT, VERSION = "regionkit-per-sample", 2
#: Versions that are read: files of the first have no samples that were not judged.
_READ = (1, VERSION)
_AGAIN = "score the captions again with `toolkit score ... --per-sample FILE`"


def write_run(path: Path, run: Run) -> None:
    """Write a run, whole or not at all.

    Raises:
        RunFailed: The system refused it.
    """
    try:
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(_lines(run))
    except OSError as error:
        raise RunFailed(
            f"--per-sample {path}: {error.strerror or error}", "name a place that can be written to"
        ) from None


def _lines(run: Run) -> Iterator[str]:
    rows = _rows_of(run.columns)
    head = {
        "format": FORMAT,
        "version": VERSION,
        "n": len(run.ids),
        "references": run.references,
        "columns": {name: _header(one, rows.get(name)) for name, one in run.columns.items()},
    }
    yield json.dumps(head, indent=1)[:-2] + ',\n "samples": {\n'
    last = len(run.ids) - 1
    for at, name in enumerate(run.ids):
        sample: dict[str, Any] = {"caption": run.captions[at]}
        if run.images[at] != name:
            sample["image"] = run.images[at]
        sample["values"] = {
            column: None if at in one.unjudged else _plain(one.per_sample[at])
            for column, one in run.columns.items()
            if one.per_sample is not None
        }
        lost = {column: one.unjudged[at] for column, one in run.columns.items() if at in one.unjudged}
        if lost:
            sample["unjudged"] = lost
        statistics = {
            column: [_plain(value) for value in one.statistics[at]]
            for column, one in run.columns.items()
            if one.statistics is not None and rows[column] == column
        }
        if statistics:
            sample["statistics"] = statistics
        yield f"  {json.dumps(name)}: {json.dumps(sample)}{',' if at < last else ''}\n"
    yield " }\n}\n"


def _rows_of(columns: Mapping[str, Measured]) -> dict[str, str]:
    """Say for each column with statistics under which column they stand: parts of a metric often share them."""
    found: dict[str, str] = {}
    for name, one in columns.items():
        if one.statistics is None:
            continue
        same = (other for other in found if found[other] == other and _equal(columns[other].statistics, one.statistics))
        found[name] = next(same, name)
    return found


def _equal(one: Floats | None, other: Floats | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


def _header(one: Measured, rows: str | None) -> dict[str, Any]:
    return {
        "metric": one.metric,
        "options": one.options,
        "part": one.part,
        "higher_is_better": one.higher_is_better,
        "value": one.value,
        "signature": one.signature,
        **({"statistics": rows} if rows is not None else {}),
    }


def _plain(value: float) -> float:
    """Return a number that JSON writes shortly; it reads back as the very same one."""
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def is_run(loaded: Loaded) -> bool:
    """Say whether a file claims to be one of these."""
    return isinstance(loaded.value, Mapping) and loaded.value.get("format") == FORMAT


def read_run(loaded: Loaded) -> Run:
    """Take a run out of what a file holds.

    Raises:
        DataError: It was written by another regionkit, or does not hold together.
    """
    data = loaded.value
    if data.get("version") not in _READ:
        raise DataError(
            f"{loaded.name}: written by another regionkit (format {short(str(data.get('version')))}, this one reads "
            f"{VERSION})",
            _AGAIN,
        )
    try:
        samples = data["samples"]
        columns = {name: _measured(name, held, samples) for name, held in data["columns"].items()}
        return Run(
            loaded.name,
            list(samples),
            [_text(held["caption"]) for held in samples.values()],
            columns,
            [_text(held.get("image", name)) for name, held in samples.items()],
            _text(data["references"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{loaded.name}: does not hold together as a file of --per-sample: {what}", _AGAIN) from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{described(value)} where a text belongs")
    return value


def _measured(name: str, held: Mapping[str, Any], samples: Mapping[str, Any]) -> Measured:
    """Read a column.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: The file is another one.
        RegionkitError: Its metric is not installed.
    """
    statistics = pool = None
    lost = {at: one["unjudged"][name] for at, one in enumerate(samples.values()) if name in one.get("unjudged", {})}
    part, value = _text(held["part"]), float(held["value"])
    if "statistics" in held:
        statistics = _array([one["statistics"][held["statistics"]] for one in samples.values()], 2)
        pool = pool_of(_text(held["metric"]), part)
        _check_pool(name, value, statistics, pool)
    values = [one["values"].get(name) for one in samples.values()]
    known = [value for at, value in enumerate(values) if at not in lost]
    if any(values[at] is not None for at in lost):
        raise ValueError(f"{name} has a value of a sample that it could not judge")
    return Measured(
        value,
        _text(held["signature"]),
        held["higher_is_better"] is True,
        None if all(one is None for one in known) else _with_gaps(known, lost),
        statistics,
        pool,
        _text(held["metric"]),
        held["options"],
        part,
        {at: _text(reason) for at, reason in lost.items()},
    )


def _with_gaps(known: Sequence[Any], lost: Mapping[int, Any]) -> Floats:
    """Return the values of all samples, NaN at the positions of those that were not judged."""
    found = np.full(len(known) + len(lost), np.nan)
    found[[at for at in range(len(found)) if at not in lost]] = _array(known, 1)
    return found


def _array(values: Sequence[Any], dimensions: int) -> Floats:
    found = np.array(values, np.float64)
    if found.ndim != dimensions or not np.isfinite(found).all():
        raise ValueError("a sample has no value, or one that is no finite number")
    return found


def pool_of(metric: str, part: str) -> Pool:
    """Return what makes corpus values of sums of a metric's statistics.

    Raises:
        DataError: The metric is not installed.
    """
    try:
        cls = component_class(get_registry().find("metric", metric))
    except RegionkitError as error:
        raise DataError(f"the metric '{metric}' made these scores: {error.message}", *error.hints) from None
    assert issubclass(cls, Metric)
    metric_class = cls
    return lambda sums: metric_class.pool(part, sums)


def _check_pool(name: str, value: float, statistics: Floats, pool: Pool) -> None:
    if not len(statistics):
        return
    again = float(pool(statistics.sum(0, keepdims=True))[0])
    if not math.isclose(again, value, rel_tol=1e-6, abs_tol=1e-9):
        raise ValueError(f"the statistics of {name} give {again:.6g}, its value is {value:.6g}")
