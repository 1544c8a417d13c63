"""What an ablation file says, read and checked as far as that is possible without building anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from regionkit.core.compute import PRECISIONS as COMPUTED
from regionkit.core.compute import Precision as Computed
from regionkit.core.errors import Problem, did_you_mean
from regionkit.core.spec import PARTS
from regionkit.plugins.ablation.cache.entries import Precision
from regionkit.plugins.ablation.claims import Claim, parse_claim
from regionkit.plugins.ablation.data_refs import DataRef, read_data
from regionkit.plugins.ablation.perturbations import read_perturbations
from regionkit.plugins.ablation.words import as_list, as_mapping, brief, text
from regionkit.registry.plan import PIPELINE_KEYS
from regionkit.registry.schema import Part, fill

#: Keys of an ablation file.
KEYS: tuple[str, ...] = (
    "summary", "base", "data", "robustness", "metrics", "grid", "zip", "include", "exclude", "seeds", "claims",
    "correction", "limit", "split", "on_error", "precision", "cache_precision", "launcher",
)  # fmt: skip
#: Seeds are stored as signed 64-bit numbers.
LARGEST_SEED = 2**63 - 1
ON_ERROR: tuple[str, ...] = ("record", "stop")
#: Which p decides a claim: its own, or the one that Holm's method makes of it among all claims of the file.
CORRECTIONS: tuple[str, ...] = ("none", "holm")
PRECISIONS: tuple[Precision, ...] = ("float32", "float16")
#: Pipelines and trials of one file; planning a pipeline takes about a millisecond.
MOST_PIPELINES, MOST_TRIALS = 10_000, 100_000

Where = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class AxisValue:
    """One value of an axis.

    Attributes:
        label: How tables and claims call it.
        value: A mapping with ``name`` for a whole part, otherwise the value of an option.
        path: Dotted path of the value in the file, for messages.
        places: Dotted paths of what came out of a list inside it, by option; under the empty key, that of the part as
            a whole where one such list tells its values apart.
    """

    label: str
    value: Any
    path: str
    places: Mapping[str, str] = field(default_factory=dict)

    def place(self, option: str = "") -> str:
        """Return the dotted path of the value, or of an option of the part that it is."""
        return self.places.get(option, f"{self.path}.{option}" if option else self.path)


@dataclass(frozen=True, slots=True)
class Axis:
    """Something that is varied: a part (``bridge``) or an option of a part (``bridge.temperature``)."""

    name: str
    values: tuple[AxisValue, ...]

    @property
    def kind(self) -> str:
        """The part that the axis is about."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all trials.

    Attributes:
        seeds: Evaluation seeds: other scenes, the same weights.
        limit: Most images of a data set; None for all.
        split: Split of the data sets; empty for each one's own default.
        on_error: ``record`` notes a trial or sample that fails and goes on, ``stop`` ends the run there.
        precision: How outputs of stages are handed on, and lie on disk: ``float16`` takes half the room and rounds, so
            it is part of what a trial is, also where nothing is kept.
        computed: In what backbones and decoders compute: float32, or bfloat16, which may change captions.
    """

    seeds: tuple[int, ...] = (0,)
    limit: int | None = None
    split: str = ""
    on_error: str = "record"
    precision: Precision = "float32"
    computed: Computed = "float32"


@dataclass(slots=True)
class AblationSpec:
    """An ablation file, read.

    ``folder`` is what the base pipeline names for the weights of all its parts; ``zips`` holds groups of axes that are
    walked together; ``data`` each data set as it is, followed by itself under every perturbation of ``robustness``.
    """

    base: dict[str, dict[str, Any]] = field(default_factory=dict)
    folder: Any = None
    data: list[DataRef] = field(default_factory=list)
    metrics: list[tuple[Any, str]] = field(default_factory=list)
    grid: list[Axis] = field(default_factory=list)
    zips: list[tuple[Axis, ...]] = field(default_factory=list)
    include: list[dict[str, AxisValue]] = field(default_factory=list)
    exclude: list[dict[str, tuple[str, ...]]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    correction: str = "none"
    settings: Settings = field(default_factory=Settings)
    launcher: Part | None = None

    @property
    def axes(self) -> list[str]:
        """Names of all axes, in the order of the file."""
        names = [axis.name for axis in self.grid] + [axis.name for group in self.zips for axis in group]
        return list(dict.fromkeys([*names, *(name for extra in self.include for name in extra)]))

    def mates(self, axis: str) -> set[str]:
        """Axes that never vary without ``axis``, itself included."""
        return {axis}.union(*({a.name for a in group} for group in self.zips if axis in {a.name for a in group}))


class SpecReader:
    """Reads the mapping of an ablation file and notes every mistake in ``problems``."""

    def __init__(self, data: Mapping[str, Any], where: Where, problems: list[Problem]) -> None:
        self.data = data
        self.where = where
        self.problems = problems

    def read(self) -> AblationSpec:
        """Read everything that can be read; look at ``problems`` before using it."""
        self._check_keys()
        spec = AblationSpec(
            base=self._base(),
            folder=as_mapping(self.data.get("base") or {}).get("weights"),
            data=self._data(),
            metrics=list(zip(*self._items("metrics"), strict=True)),
            grid=self._axes(self.data.get("grid") or {}, "grid"),
            zips=[group for group in map(self._zip, *self._items("zip")) if group],
            include=[extra for extra in map(self._include, *self._items("include")) if extra],
            exclude=[pattern for pattern in map(self._exclude, *self._items("exclude")) if pattern],
            claims=[claim for claim in map(self._claim, *self._items("claims")) if claim is not None],
            correction=self._correction(),
            settings=self._settings(),
            launcher=self._launcher(),
        )
        self._check_repeats(spec)
        self._check_size(spec)
        return spec

    def _data(self) -> list[DataRef]:
        """Return every data set as it is and under every perturbation."""
        entries = zip(*self._items("data", required=True), strict=True)
        clean = [ref for entry, path in entries if (ref := read_data(entry, path, self.problem)) is not None]
        versions = [None, *read_perturbations(self.data.get("robustness"), self.problem)]
        return [replace(ref, perturbation=one) for ref in clean for one in versions]

    def _check_size(self, spec: AblationSpec) -> None:
        """Note a grid that a few lines made endless, before anything walks through it."""
        pipelines = math.prod(len(axis.values) for axis in spec.grid) * math.prod(
            min(len(axis.values) for axis in group) for group in spec.zips
        )
        trials = pipelines * max(len(spec.data), 1) * len(spec.settings.seeds)
        for count, most, what in ((pipelines, MOST_PIPELINES, "pipelines"), (trials, MOST_TRIALS, "trials")):
            if count > most:
                hint = "walk through fewer values, or split the file"
                self.problem("grid", f"{count:,} {what} are more than the {most:,} that one file may ask for", hint)
                spec.grid, spec.zips = [], []  # the base alone is planned, for its mistakes
                spec.settings = replace(spec.settings, seeds=spec.settings.seeds[:1])
                return

    def _check_repeats(self, spec: AblationSpec) -> None:
        """Note axes that are walked twice and data sets that are named twice: one would hide the other."""
        walked = [("grid", axis.name) for axis in spec.grid]
        walked += [("zip", axis.name) for group in spec.zips for axis in group]
        names = [name for _, name in walked]
        for at, (section, name) in enumerate(walked):
            if name in names[:at]:
                self.problem(section, f"the axis '{name}' is walked twice", "name it once, in grid or in zip")
        clean = [ref for ref in spec.data if ref.perturbation is None]
        labels = [ref.label for ref in clean]
        for at, ref in enumerate(clean):
            if ref.label in labels[:at]:
                self.problem(ref.path, f"'{ref.label}' is listed twice")

    def problem(self, path: str, message: str, *hints: str) -> None:
        """Note a mistake."""
        self.problems.append(Problem(self.where(path), path, message, tuple(hint for hint in hints if hint)))

    def _check_keys(self) -> None:
        for key in self.data:
            if key in PARTS:
                self.problem(key, "a part stands under base: in an ablation", f"write base: {{{key}: ...}}")
            elif key not in KEYS:
                self.problem(
                    key,
                    "unknown key",
                    did_you_mean(str(key), (*KEYS, "version")),
                    f"an ablation has: {', '.join(KEYS)}",
                )

    def _base(self) -> dict[str, dict[str, Any]]:
        """Return the parts of the base pipeline; what the pipeline itself gets wrong is found when it is planned."""
        base = self.data.get("base") or {}
        if not isinstance(base, Mapping):
            self.problem("base", f"'{base}' is no pipeline", "name a preset or a file, or write its parts")
            return {}
        for key in base:
            if key not in PIPELINE_KEYS:
                close, known = did_you_mean(str(key), PIPELINE_KEYS), f"a pipeline has: {', '.join(PIPELINE_KEYS)}"
                self.problem(f"base.{key}", "unknown part", close, known)
        return {kind: as_mapping(base[kind]) for kind in PARTS if base.get(kind) is not None}

    def _items(self, key: str, required: bool = False) -> tuple[list[Any], list[str]]:
        """Return the entries of a list and their dotted paths."""
        value = self.data.get(key)
        if value is None or value == []:
            if required:
                self.problem(key, "missing", f"an ablation needs it, for example {_EXAMPLES[key]}")
            return [], []
        entries = as_list(value)
        return entries, [f"{key}.{index}" if isinstance(value, list) else key for index in range(len(entries))]

    def _axes(self, mapping: Any, path: str) -> list[Axis]:
        if not isinstance(mapping, Mapping):
            self.problem(path, "must map axes to lists of values", f"for example {_EXAMPLES['grid']}")
            return []
        axes = []
        for name, values in ((str(key), values) for key, values in mapping.items()):
            at = f"{path}.{name}"
            if not self._is_axis(name, at):
                continue
            if not isinstance(values, list) or not values:
                self.problem(at, "needs a list of values to walk through", f"for example {_EXAMPLES['grid']}")
                continue
            ways = sum(count_values(name, value) for value in values)
            if ways > MOST_PIPELINES:
                self.problem(at, f"stands for {ways:,} values", f"walk through at most {MOST_PIPELINES:,} pipelines")
                continue
            expanded = [one for index, value in enumerate(values) for one in expand(name, value, f"{at}.{index}")]
            if not expanded:
                self.problem(at, "a list in it is empty, so there is no value to walk through")
            axes.append(Axis(name, tuple(expanded)))
        return axes

    def _is_axis(self, name: str, path: str, words: Sequence[str] = PARTS) -> bool:
        if name.partition(".")[0] in PARTS and all(name.split(".")):
            return True
        hint = {"seed": "list evaluation seeds under seeds:", "data": "list data sets under data:"}.get(
            name.rstrip("s")
        )
        self.problem(
            path,
            f"'{name}' is no axis",
            hint or did_you_mean(name.partition(".")[0], words),
            f"axes are parts ({', '.join(PARTS)}) or their options, such as bridge.temperature",
        )
        return False

    def _zip(self, entry: Any, path: str) -> tuple[Axis, ...]:
        axes = tuple(self._axes(entry, path))
        lengths = {axis.name: len(axis.values) for axis in axes}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            self.problem(path, f"axes that are walked together need equally many values: {listed}")
            return ()
        return axes

    def _include(self, entry: Any, path: str) -> dict[str, AxisValue]:
        if not isinstance(entry, Mapping):
            self.problem(path, "an extra trial maps axes to one value each", "for example {bridge: none}")
            return {}
        chosen = {}
        for name, value in ((str(key), value) for key, value in entry.items()):
            at = f"{path}.{name}"
            if not self._is_axis(name, at):
                continue
            ways = count_values(name, value)
            if ways != 1:
                self.problem(at, f"an extra trial takes one value an axis, this has {ways}")
                continue
            chosen[name] = expand(name, value, at)[0]
        return chosen

    def _exclude(self, entry: Any, path: str) -> dict[str, tuple[str, ...]]:
        if not isinstance(entry, Mapping) or not entry:
            self.problem(path, "a pattern maps axes to values", "for example {region_encoder: whole, data: 'point@*'}")
            return {}
        patterns = {str(name): tuple(text(value) for value in as_list(values)) for name, values in entry.items()}
        known = ("data", "seed")
        return {
            name: values
            for name, values in patterns.items()
            if name in known or self._is_axis(name, f"{path}.{name}", (*PARTS, *known))
        }

    def _claim(self, entry: Any, path: str) -> Claim | None:
        return parse_claim(entry, path, self.problem)

    def _launcher(self) -> Part | None:
        """Return who runs the trials; options alone are those of ``local``."""
        asked = self.data.get("launcher")
        if asked is None:
            return None
        value = {"name": "local", **asked} if isinstance(asked, Mapping) else asked
        return fill("launcher", value, self.where, "launcher", self.problems)

    def _correction(self) -> str:
        """Return which p decides claims."""
        asked = self.data.get("correction", "none")
        asked = "none" if asked is None else asked  # YAML's word for nothing
        if asked not in CORRECTIONS:
            self.problem("correction", f"'{asked}' is unknown", f"choose one of: {', '.join(CORRECTIONS)}")
            return "none"
        return str(asked)

    def _settings(self) -> Settings:
        seeds = as_list(self.data.get("seeds", [0]))
        limit, on_error = self.data.get("limit"), self.data.get("on_error", "record")
        if not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds) or len(set(seeds)) < len(seeds):
            self.problem("seeds", f"{seeds} is no list of different whole numbers from 0 on", "for example [0, 1, 2]")
            seeds = [0]
        elif max(seeds) > LARGEST_SEED:
            self.problem("seeds", f"{max(seeds)} is too large", f"seeds go up to {LARGEST_SEED}")
        if limit is not None and (type(limit) is not int or limit < 1):
            self.problem("limit", f"'{limit}' is no number of images", "write a whole number from 1 on")
            limit = None
        if on_error not in ON_ERROR:
            self.problem("on_error", f"'{on_error}' is unknown", f"choose one of: {', '.join(ON_ERROR)}")
        asked = self.data.get("cache_precision", PRECISIONS[0])
        if asked not in PRECISIONS:
            self.problem("cache_precision", f"'{asked}' is unknown", f"choose one of: {', '.join(PRECISIONS)}")
        precision = next((one for one in PRECISIONS if one == asked), PRECISIONS[0])
        words = tuple(seeds), limit, str(self.data.get("split") or ""), str(on_error), precision
        return Settings(*words, computed=self._computed())

    def _computed(self) -> Computed:
        """Return in what backbones and decoders compute."""
        asked = self.data.get("precision", COMPUTED[0])
        if asked not in COMPUTED:
            hint = f"choose one of: {', '.join(COMPUTED)}"
            if asked == "float16":
                hint += "; float16 is what a cache may keep (cache_precision), and nothing computes in it"
            self.problem("precision", f"'{asked}' is unknown", hint)
        return next((one for one in COMPUTED if one == asked), COMPUTED[0])


_EXAMPLES = {
    "data": "data: [box@mini, trace@mini]",
    "grid": "grid: {bridge: [none, {name: memory, temperature: [0.02, 0.05]}]}",
}


def count_values(axis: str, value: Any) -> int:
    """Return how many values :func:`expand` makes of an entry."""
    if "." in axis:
        return 1
    return math.prod(len(option) for option in as_mapping(value).values() if isinstance(option, list))


def expand(axis: str, value: Any, path: str) -> list[AxisValue]:
    """Return the values that one entry of an axis stands for.

    A list inside the mapping of a part is walked through; several lists are walked in all combinations. An option whose
    value is itself a list is written as a list in a list.
    """
    if "." in axis:
        return [AxisValue(text(value), value, path)]
    part = as_mapping(value)
    lists = {key: option for key, option in part.items() if isinstance(option, list)}
    values = []
    for chosen in product(*(enumerate(options) for options in lists.values())):
        filled = {**part, **{key: option for key, (_, option) in zip(lists, chosen, strict=True)}}
        places = {key: f"{path}.{key}.{index}" for key, (index, _) in zip(lists, chosen, strict=True)}
        if len(lists) == 1:
            places[""] = next(iter(places.values()))
        shown = ", ".join(f"{key}={brief(filled[key])}" for key in filled if key != "name")
        # A mapping without a name changes options of the base's part; the label is completed when it is known.
        name = text(filled.get("name", ""))
        values.append(AxisValue(f"{name}({shown})" if shown else name, filled, path, places))
    return values


def merge(base: Mapping[str, Any] | None, part: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a part over the base's: options of the same part are kept where not given, another part replaces it."""
    if base is None or part.get("name", base.get("name")) != base.get("name"):
        return dict(part)
    return {**base, **part}


def combinations(spec: AblationSpec) -> list[dict[str, AxisValue]]:
    """Return the axis values of every combination: grid times zips, then the extra trials."""
    factors: list[Sequence[dict[str, AxisValue]]] = [
        [{axis.name: value} for value in axis.values] for axis in spec.grid
    ]
    for group in spec.zips:
        rows = zip(*(axis.values for axis in group), strict=True)
        names = [axis.name for axis in group]
        factors.append([dict(zip(names, row, strict=True)) for row in rows])
    crossed = [{k: v for chosen in row for k, v in chosen.items()} for row in product(*factors)]
    # Without axes there is one combination, the base itself, unless extra trials are all that was asked for.
    return ([] if spec.include and not factors else crossed) + list(spec.include)
