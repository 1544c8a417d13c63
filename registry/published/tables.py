"""Reading the tables that papers print, from the YAML files that plugins bring.

A file is a table. ``metrics`` says what its symbols are here, ``columns`` which data stand over which symbols, and a
row has a list of numbers for each of those, ``null`` where the paper prints none::

    version: 1
    paper: KEY                 # of the plugin's papers, as toolkit cite has it
    table: 2
    title: Captioners on four tasks
    metrics: {C: {metric: cider-d, scale: 100}, B: {metric: bleu, part: "4", scale: 100}}
    columns: [{data: {task: box, name: DATASET, split: test, OPTION: VALUE}, prints: [C, B]}]
    rows:
      - {label: as printed, preset: NAME, values: [[27.9, 2.5]]}
      - {label: another, preset: {box: NAME, image: NAME}, values: [[31.9, null]]}
      - {label: a third, runs: false, why: what keeps it from being run here, values: [[12.0, 1.1]]}
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regionkit.core.contracts import column
from regionkit.core.errors import ConfigError, Problem, did_you_mean
from regionkit.registry.document import VERSION
from regionkit.registry.registry import get_registry
from regionkit.registry.yaml_text import read_text, read_yaml

_KEYS = ("version", "paper", "table", "title", "metrics", "columns", "rows")
_ROW_KEYS = ("label", "group", "setting", "preset", "runs", "why", "train", "note", "values")


@dataclass(frozen=True)
class Judged:
    """A metric as a table prints it.

    Attributes:
        symbol: What the table calls it.
        name: Our metric.
        options: Options that it has to have; those that are not named, their defaults.
        part: The part of it that is printed, for one that has several.
        scale: What our value is multiplied by.
    """

    symbol: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    part: str = ""
    scale: float = 1.0

    @property
    def column(self) -> str:
        """What our tables call the value."""
        return column(self.name, self.part)


@dataclass(frozen=True)
class Asked:
    """The samples that a column is of: a task on a split of a data set with some of its options."""

    task: str
    name: str
    split: str = "test"
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        told = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.task}@{self.name}/{self.split}{f'({told})' if told else ''}"


@dataclass(frozen=True)
class Value:
    """A number of a table, on the table's own scale."""

    data: Asked
    metric: Judged
    printed: float


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        paper: Key of the paper.
        table: Number of the table.
        label: What the row is called, as printed.
        presets: The preset that makes it, by task; under the empty word for all tasks. Empty for a row that is not
            ours to run.
        values: Its numbers, in the order of the columns; what the paper leaves out is left out.
        group: Heading above it.
        setting: What further columns of the table say of it.
        why: What keeps it from being run here.
        train: Recipes that make weights which were never released.
        note: What a reader of the comparison has to know.
    """

    paper: str
    table: str
    label: str
    presets: Mapping[str, str] = field(hash=False)
    values: tuple[Value, ...]
    group: str = ""
    setting: str = ""
    why: str = ""
    train: tuple[str, ...] = ()
    note: str = ""

    def preset(self, task: str) -> str:
        """Return the preset that makes the row's numbers of a task; empty where none does."""
        return self.presets.get(task) or self.presets.get("", "")

    def of(self, preset: str) -> list[Value]:
        """Return the numbers that a preset makes."""
        return [value for value in self.values if self.preset(value.data.task) == preset]

    @property
    def place(self) -> str:
        """Where it stands: ``table 2, row 'T2D + Mem.'``."""
        setting = f" ({self.setting})" if self.setting else ""
        return f"table {self.table}, row '{self.label}'{setting}"


@dataclass(frozen=True)
class Table:
    """A table of a paper."""

    paper: str
    number: str
    title: str
    rows: tuple[Row, ...]
    path: Path


@functools.cache
def read_tables() -> tuple[tuple[Table, ...], tuple[Problem, ...]]:
    """Return the tables of all plugins by paper and number, and what is wrong with files that cannot be read."""
    tables: list[Table] = []
    problems: list[Problem] = []
    for folder in get_registry().published:
        for path in sorted(folder.glob("*.yaml")):
            try:
                tables.append(read_table(path))
            except ConfigError as error:
                problems += error.problems
    tables.sort(key=lambda table: (table.paper, len(table.number), table.number))
    return tuple(tables), tuple(problems)


def rows_of(preset: str) -> list[Row]:
    """Return the rows that a preset makes numbers of, in the order of the tables."""
    tables, _ = read_tables()
    return [row for table in tables for row in table.rows if preset in row.presets.values() and row.of(preset)]


def read_table(path: Path) -> Table:
    """Read one file.

    Raises:
        ConfigError: All that is wrong with it.
    """
    data, lines = _parsed(read_text(path), str(path))
    return _Reader(path, data, lines).read()


#: Parsing is most of the time that tables take, and where plugins are added the others' files are the same.
_parsed = functools.lru_cache(maxsize=64)(read_yaml)


class _Reader:
    """Reads one file, and collects what is wrong with it."""

    def __init__(self, path: Path, data: Mapping[str, Any], lines: Mapping[str, str]) -> None:
        self.path, self.data, self.lines = path, data, lines
        self.problems: list[Problem] = []

    def read(self) -> Table:
        self._keys(self.data, _KEYS, "")
        if self.data.get("version") != VERSION:
            self._fault("version", f"expected version {VERSION}, got {self.data.get('version')!r}")
        metrics = dict(self._metrics())
        columns = list(self._columns(metrics))
        held = self._part("rows", list)
        # With a column that is not understood, what is wrong with the numbers below it would be a guess.
        rows = tuple(self._rows(held, columns)) if not self.problems else ()
        if self.problems:
            raise ConfigError(self.problems)
        return Table(self._word("paper"), self._word("table"), self._word("title"), rows, self.path)

    def _fault(self, path: str, message: str, *hints: str) -> None:
        known = path
        while known and known not in self.lines:
            known = known.rpartition(".")[0]
        self.problems.append(Problem(self.lines.get(known, str(self.path)), path, message, hints))

    def _keys(self, value: Mapping[str, Any], known: Sequence[str], path: str) -> None:
        for key in value:
            if key not in known:
                hint = did_you_mean(str(key), known) or f"keys are: {', '.join(known)}"
                self._fault(f"{path}.{key}" if path else str(key), "unknown key", hint)

    def _word(self, key: str) -> str:
        return str(self.data.get(key, ""))

    def _part(self, key: str, kind: type) -> Any:
        value = self.data.get(key)
        if isinstance(value, kind):
            return value
        self._fault(key, f"expected a {'mapping' if kind is dict else 'list'} of {key}")
        return kind()

    def _metrics(self) -> Iterator[tuple[str, Judged]]:
        for symbol, value in self._part("metrics", dict).items():
            path = f"metrics.{symbol}"
            if not isinstance(value, Mapping) or not value.get("metric"):
                self._fault(path, "say which metric it is: {metric: NAME, scale: 100}")
                continue
            self._keys(value, ("metric", "part", "scale"), path)
            metric = value["metric"]
            options = dict(metric) if isinstance(metric, Mapping) else {"name": metric}
            name = str(options.pop("name", ""))
            if name not in get_registry().names("metric"):
                hint = did_you_mean(name, get_registry().names("metric"))
                self._fault(f"{path}.metric", f"no metric named '{name}'", hint)
            scale = value.get("scale", 1)
            if isinstance(scale, bool) or not isinstance(scale, (int, float)) or scale <= 0:
                self._fault(f"{path}.scale", f"expected a number above 0, got {scale!r}")
                continue
            yield str(symbol), Judged(str(symbol), name, options, str(value.get("part", "")), float(scale))

    def _columns(self, metrics: Mapping[str, Judged]) -> Iterator[tuple[Asked, list[Judged]]]:
        for index, value in enumerate(self._part("columns", list)):
            path = f"columns.{index}"
            data, symbols = (value.get("data"), value.get("prints")) if isinstance(value, Mapping) else (None, None)
            if not isinstance(data, Mapping) or not isinstance(symbols, list) or not {"task", "name"} <= set(data):
                self._fault(path, "expected {data: {task: TASK, name: DATASET}, prints: [SYMBOL, ...]}")
                continue
            options = {str(key): one for key, one in data.items() if key not in ("task", "name", "split")}
            asked = Asked(str(data["task"]), str(data["name"]), str(data.get("split", "test")), options)
            spec = next((one for one in get_registry().specs("dataset") if one.name == asked.name), None)
            if spec is None or (spec.accepts and asked.task not in spec.accepts):
                self._fault(f"{path}.data", f"no data set '{asked.name}' with a task '{asked.task}'")
            unknown = [str(symbol) for symbol in symbols if str(symbol) not in metrics]
            if unknown:
                self._fault(f"{path}.prints", f"metrics says nothing of: {', '.join(unknown)}")
                continue
            yield asked, [metrics[str(symbol)] for symbol in symbols]

    def _rows(self, held: Sequence[Any], columns: Sequence[tuple[Asked, list[Judged]]]) -> Iterator[Row]:
        for index, value in enumerate(held):
            path = f"rows.{index}"
            if not isinstance(value, Mapping) or not value.get("label"):
                self._fault(path, "expected a row: {label: AS PRINTED, preset: NAME, values: [[NUMBER, ...], ...]}")
                continue
            self._keys(value, _ROW_KEYS, path)
            presets = self._presets(value, path)
            train = value.get("train", ())
            yield Row(
                self._word("paper"),
                self._word("table"),
                str(value["label"]),
                presets,
                tuple(self._values(value.get("values"), columns, f"{path}.values")),
                group=str(value.get("group", "")),
                setting=str(value.get("setting", "")),
                why=str(value.get("why", "")),
                train=tuple(map(str, train)) if isinstance(train, (list, tuple)) else (str(train),),
                note=str(value.get("note", "")),
            )

    def _presets(self, row: Mapping[str, Any], path: str) -> dict[str, str]:
        preset = row.get("preset")
        if preset is None:
            if row.get("runs") is not False or not row.get("why"):
                self._fault(path, "a row without a preset says why it is not run: {runs: false, why: WORDS}")
            return {}
        if "runs" in row or "why" in row:
            self._fault(path, "a row with a preset is run: remove `runs` and `why`, or the preset")
        if isinstance(preset, Mapping):
            return {str(task): str(name) for task, name in preset.items()}
        return {"": str(preset)}

    def _values(self, rows: Any, columns: Sequence[tuple[Asked, list[Judged]]], path: str) -> Iterator[Value]:
        sizes = [len(metrics) for _, metrics in columns]
        if not isinstance(rows, list) or [len(one) if isinstance(one, list) else -1 for one in rows] != sizes:
            self._fault(path, f"expected {len(sizes)} lists of {', '.join(map(str, sizes))} numbers, as columns says")
            return
        for (asked, metrics), numbers in zip(columns, rows, strict=True):
            for metric, number in zip(metrics, numbers, strict=True):
                if number is None:
                    continue
                if isinstance(number, bool) or not isinstance(number, (int, float)):
                    self._fault(path, f"{number!r} is no number; what is not printed is null")
                    continue
                yield Value(asked, metric, float(number))
