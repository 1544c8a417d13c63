"""Checking whole files: pipelines, recipes and ablations, every mistake of a file at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

from regionkit.core.errors import ConfigError, Problem, RegionkitError, did_you_mean
from regionkit.core.spec import KINDS, PARTS
from regionkit.registry.document import ABLATION_KEYS, read_document
from regionkit.registry.plan import plan_pipeline
from regionkit.registry.registry import get_registry, plural
from regionkit.registry.schema import Where, by_line, check_keys, fill, option_types

#: Keys of a recipe file beside the parts that it trains with.
RECIPE_KEYS = ("recipe", "seed", "out", "half", "summary")
#: Keys of an ablation file. What its trials come to is for ``toolkit ablate --plan``, which expands them.
ALL_ABLATION_KEYS = ("base", *ABLATION_KEYS, "limit", "split", "on_error", "summary")
#: Combinations of swept options of one part that are tried; far more than a grid that anybody waits for.
_MOST_VARIANTS = 1000


def validate_file(path: str | Path, overrides: Sequence[str] = ()) -> list[Problem]:
    """Return every mistake of a file; its top-level keys say whether it is an ablation, a recipe or a pipeline."""
    problems: list[Problem] = []
    try:
        document = read_document(path, overrides)
        kind = file_kind(document.data)
        check = {"ablation": validate_ablation, "recipe": validate_recipe, "pipeline": validate_pipeline}[kind]
        check(document.data, document.line, problems)
    except ConfigError as error:
        problems += error.problems
    return sorted(dict.fromkeys(problems), key=by_line)


def file_kind(data: Mapping[str, Any]) -> str:
    """Tell an ablation, a recipe and a pipeline by their keys."""
    if any(key in data for key in ABLATION_KEYS):
        return "ablation"
    return "recipe" if "recipe" in data else "pipeline"


def validate_pipeline(data: Mapping[str, Any], where: Where, problems: list[Problem]) -> None:
    """Note every mistake of a pipeline, ports and weights included."""
    try:
        plan_pipeline(data, where)
    except ConfigError as error:
        problems += error.problems


def validate_recipe(data: Mapping[str, Any], where: Where, problems: list[Problem]) -> None:
    """Note every mistake of a recipe file: its options, the parts that it needs, and keys that mean nothing to it."""
    kinds = [kind for kind in KINDS if kind != "recipe"]
    check_keys(data, [*RECIPE_KEYS, *kinds], where, problems)
    recipe = fill("recipe", data["recipe"], where, "recipe", problems)
    for kind in kinds:
        if kind in data:
            fill(kind, data[kind], where, kind, problems)
    for kind in recipe.spec.needs if recipe else ():
        if data.get(kind) is None:
            names = get_registry().names(kind)
            hint = f"{plural(kind)} are: {', '.join(names)}" if names else f"no plugin brings a {kind}"
            problems.append(Problem(where("recipe"), kind, f"recipe '{recipe.name}' needs a {kind}", (hint,)))  # type: ignore[union-attr]
    if not isinstance(data.get("half", False), bool):
        problems.append(Problem(where("half"), "half", f"expected true or false, got {data['half']!r}"))
    seed = data.get("seed", 0)
    if type(seed) is not int or seed < 0:
        problems.append(Problem(where("seed"), "seed", f"expected a whole number from 0 on, got {seed!r}"))


def validate_ablation(data: Mapping[str, Any], where: Where, problems: list[Problem]) -> None:
    """Note every mistake in the parts, metrics and data sets that an ablation names."""
    _Ablation(data, where, problems).check()


class _Ablation:
    def __init__(self, data: Mapping[str, Any], where: Where, problems: list[Problem]) -> None:
        self.data = data
        self.where = where
        self.problems = problems
        base = data.get("base")
        self.base: dict[str, Any] = dict(base) if isinstance(base, Mapping) else {}

    def check(self) -> None:
        """Go through the sections in the order in which people write them."""
        check_keys(self.data, ALL_ABLATION_KEYS, self.where, self.problems)
        check_keys(self.base, (*PARTS, "summary"), self.where, self.problems, "base")
        for kind in PARTS:
            if self.base.get(kind) is not None:
                fill(kind, self.base[kind], self.where, f"base.{kind}", self.problems)
        self._data()
        for path, value in self._entries("metrics", required=True):
            self._part("metric", value, path)
        grid = self.data.get("grid")
        if grid is not None:
            self._axes(grid, "grid", many=True)
        for path, group in self._entries("zip"):
            self._axes(group, path, many=True)
        for path, trial in self._entries("include"):
            self._axes(trial, path, many=False)

    def _problem(self, path: str, message: str, *hints: str) -> None:
        self.problems.append(Problem(self.where(path), path, message, tuple(hint for hint in hints if hint)))

    def _entries(self, key: str, required: bool = False) -> Iterator[tuple[str, Any]]:
        """Yield the items of a list with their paths; a single value is a list of one."""
        value = self.data.get(key)
        if value in (None, []):
            if required:
                self._problem(key, f"an ablation needs {key}")
        elif isinstance(value, list):
            yield from ((f"{key}.{index}", item) for index, item in enumerate(value))
        else:
            yield key, value

    def _data(self) -> None:
        for path, entry in self._entries("data", required=True):
            if isinstance(entry, str) and entry.count("@") == 1 and all(entry.split("@")):
                task, name = entry.split("@")
                value: Any = name
            elif isinstance(entry, Mapping) and {"task", "name"} <= set(entry):
                task, value = str(entry["task"]), {key: entry[key] for key in entry if key != "task"}
            else:
                self._problem(path, f"'{entry}' is no data set", "write TASK@NAME, or {task: TASK, name: NAME, ...}")
                continue
            part = fill("dataset", value, self.where, path, self.problems)
            if part is not None and task not in part.spec.accepts:
                known = part.spec.accepts
                hint = did_you_mean(task, known) or f"tasks are: {', '.join(known)}"
                self._problem(path, f"data set '{part.name}' has no task '{task}'", hint)

    def _axes(self, axes: Any, path: str, *, many: bool) -> None:
        """Check a mapping from parts (``bridge``) or options (``bridge.temperature``) to one or many values."""
        if not isinstance(axes, Mapping):
            self._problem(path, "expected a mapping from parts to values", "for example {bridge: [none, memory]}")
            return
        for name, values in axes.items():
            inner = f"{path}.{name}"
            kind, _, option = str(name).partition(".")
            if kind not in PARTS:
                hint = did_you_mean(kind, PARTS) or f"axes are parts or their options: {', '.join(PARTS)}"
                self._problem(inner, f"'{name}' is no axis", hint)
                continue
            if many and not (isinstance(values, list) and values):
                self._problem(inner, "expected a list of values to walk through")
                continue
            items = [(f"{inner}.{index}", item) for index, item in enumerate(values)] if many else [(inner, values)]
            for at, item in items:
                self._option(kind, option, item, at) if option else self._part(kind, item, at)

    def _part(self, kind: str, value: Any, path: str) -> None:
        """Check a part whose options may be lists to walk through."""
        if isinstance(value, Mapping) and "name" not in value and isinstance(self.base.get(kind), (str, Mapping)):
            value = {"name": _name(self.base[kind]), **value}
        found: list[Problem] = []
        for variant in islice(variants(value), _MOST_VARIANTS):
            fill(kind, variant, self.where, path, found)
        # The same mistake in every variant of a part is one mistake.
        self.problems += dict.fromkeys(found)

    def _option(self, kind: str, option: str, value: Any, path: str) -> None:
        """Check a value of an option that is swept over all parts of its kind; one of them must take it."""
        failures: list[list[Problem]] = []
        for name in self._candidates(kind):
            found: list[Problem] = []
            own = self.base[kind] if _name(self.base.get(kind)) == name else {"name": name}
            trial = {**(own if isinstance(own, Mapping) else {"name": own}), option: value}
            try:
                takes = option in option_types(get_registry().find(kind, name))
            except RegionkitError:
                continue  # reported where the part itself is named
            part = fill(kind, trial, self._at(path), kind, found)
            if takes and part is not None:
                return
            failures.insert(0 if takes else len(failures), found)
        if failures:
            self.problems += [Problem(p.where, path, p.message, p.hints) for p in failures[0]]

    def _at(self, path: str) -> Where:
        return lambda _: self.where(path)

    def _candidates(self, kind: str) -> list[str]:
        """Return the names that the file uses for a kind, the base's first."""
        grid = self.data.get("grid")
        values = [self.base.get(kind), *((grid.get(kind) or []) if isinstance(grid, Mapping) else [])]
        return list(dict.fromkeys(name for name in map(_name, values) if name))


def _name(value: Any) -> str:
    name = value.get("name") if isinstance(value, Mapping) else value
    return name if isinstance(name, str) else ""


def variants(value: Any) -> Iterator[Any]:
    """Yield the parts that a part with lists as options stands for, in all combinations.

    An option whose value is itself a list is written as a list in a list.
    """
    if not isinstance(value, Mapping):
        yield value
        return
    lists = {key: option for key, option in value.items() if isinstance(option, list)}
    for chosen in product(*lists.values()):
        yield {**value, **dict(zip(lists, chosen, strict=True))}
