"""Samples with their regions, what each pipeline says of them, and what it scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from regionkit.core.result_rows import SampleRow
from regionkit.core.results import ResultStore
from regionkit.plugins.report.choosing import Choice, candidates, choose
from regionkit.plugins.report.evidence import Evidence
from regionkit.plugins.report.pictures import MOST_BYTES, SIDE, Album, Picture, recorded, region_words
from regionkit.plugins.report.words import clean, counted, number, size

if TYPE_CHECKING:
    from regionkit.registry.recorded import RecordedData

#: Samples that are shown, unless the user asks for others.
SAMPLES = 24
#: Pipelines that are shown; more cannot be compared by eye, and make a page heavy.
MOST_PIPELINES = 24
#: Pipelines whose columns are open at first.
OPEN = 4


@dataclass(frozen=True, slots=True)
class Said:
    """What one pipeline made of a sample: caption, or the error; scores by column; whether it scores best."""

    caption: str | None
    error: str = ""
    scores: Mapping[str, str] = field(default_factory=dict)
    best: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """A sample of the gallery, ready for the page.

    Attributes:
        data: Data set.
        seed: Evaluation seed.
        sample: Id.
        kind: Kind of the region.
        area: Area in words; empty for none.
        size: Name of its size; empty for none.
        picture: With the region.
        alt: What the picture shows.
        references: What is right.
        said: By pipeline; those without a result are missing.
        reasons: Why it was chosen: ``disagreement``, ``worst``, ``changed``.
        apart: Largest difference of scores; empty where not known.
        mean: Mean score, larger being better; empty where not known.
    """

    data: str
    seed: int
    sample: str
    kind: str
    area: str
    size: str
    picture: Picture
    alt: str
    references: Sequence[str]
    said: Mapping[str, Said]
    reasons: Sequence[str]
    apart: str
    mean: str


@dataclass(frozen=True)
class Gallery:
    """The gallery of a page.

    Attributes:
        pipelines: Names of the columns.
        open: Those that are open at first.
        samples: The rows.
        kinds: Kinds of regions among them.
        sizes: Names of sizes among them, the smallest first.
        notes: What a reader has to know of how it was chosen.
    """

    pipelines: Sequence[str]
    open: Sequence[str]
    samples: Sequence[Shown]
    kinds: Sequence[str]
    sizes: Sequence[str]
    notes: Sequence[str]


def gallery(found: Evidence, store: ResultStore, wanted: int = SAMPLES, most_bytes: int = MOST_BYTES) -> Gallery:
    """Choose samples, draw their regions, and read what the pipelines say of them.

    Args:
        found: The analysis.
        store: The results.
        wanted: Samples of all data sets together.
        most_bytes: Bytes of all pictures together.
    """
    data = [name for name in found.data if "~" not in name]  # disturbed regions are those of another data set
    pipelines, opened = _pipelines(found, data)
    album, shown, total = Album(most_bytes), [], 0
    for at, name in enumerate(data):
        share = wanted * (at + 1) // len(data) - wanted * at // len(data)
        one, number_of = _data_set(found, store, name, share, pipelines, album)
        shown += one
        total += number_of
    sizes = [label for label, _ in _bins(found)]
    used = {one.size for one in shown}
    return Gallery(
        pipelines,
        opened,
        shown,
        list(dict.fromkeys(one.kind for one in shown if one.kind)),
        [label for label in dict.fromkeys(sizes) if label in used],
        _notes(found, shown, total, album, pipelines),
    )


def _notes(found: Evidence, shown: Sequence[Shown], total: int, album: Album, pipelines: Sequence[str]) -> list[str]:
    chosen = "a third the worst, the rest spread evenly"
    if len(pipelines) > 1:
        chosen = (
            "a third by largest disagreement between pipelines, a third the worst on average, the rest spread evenly "
            "over samples whose captions differ"
        )
    if len(shown) == total:
        chosen = "all that there are"
    notes = [
        f"{len(shown)} of {counted(total, 'sample')}: {chosen}. Pictures are at most {SIDE} pixels wide or high and "
        f"take {size(album.taken)} of this page."
    ]
    every = len({found.pipeline(row) for row in found.rows})
    if len(pipelines) < every:
        notes.append(f"The {len(pipelines)} best of {every} pipelines are shown.")
    absent: dict[str, int] = {}
    for one in shown:
        if one.picture.absent:
            absent[one.picture.absent] = absent.get(one.picture.absent, 0) + 1
    notes += [f"{counted(number_of, 'picture')} missing: {reason}." for reason, number_of in absent.items()]
    return notes


def _pipelines(found: Evidence, data: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the pipelines to show in the order of the file, and those that are open at first.

    The best by the first column come first, averaged over data sets; open are the best and those that differ from it
    in one axis.
    """
    column = next(iter(found.columns), "")
    values: dict[str, list[float]] = {}
    for row in found["rows"]:
        held = values.setdefault(found.pipeline(row["id"]), [])
        mean = row["values"].get(column, {}).get("mean")
        if row["data"] in data and mean is not None:
            held.append(mean)
    sign = 1.0 if column and found.columns[column]["higher_is_better"] else -1.0
    worth = {name: sign * math.fsum(held) / len(held) if held else -math.inf for name, held in values.items()}
    order = sorted(worth, key=lambda name: -worth[name])
    kept = [name for name in values if name in set(order[:MOST_PIPELINES])]
    labels = {found.pipeline(row["id"]): row["labels"] for row in found["rows"]}
    if not order:
        return [], []
    best = labels[order[0]]
    near = [name for name in order if sum(labels[name].get(axis) != best.get(axis) for axis in found.axes) <= 1]
    # One for each axis: the best alternative on it.
    opened: dict[str, str] = {}
    for name in near:
        axis = next((axis for axis in found.axes if labels[name].get(axis) != best.get(axis)), "")
        opened.setdefault(axis, name)
    return kept, list(opened.values())[:OPEN]


def _data_set(
    found: Evidence, store: ResultStore, data: str, wanted: int, pipelines: Sequence[str], album: Album
) -> tuple[list[Shown], int]:
    """Return the samples of one data set, and how many it has."""
    seeds: dict[int, dict[str, str]] = {}
    for trial in found["trials"]:
        name = found.pipeline(trial["row"])
        if trial["data"] == data and trial["status"] == "done" and name in pipelines:
            seeds.setdefault(trial["seed"], {})[name] = trial["id"]
    if not wanted or not seeds:
        return [], 0
    ranking = next((name for name in found.columns if _judges_samples(store, seeds, name)), "")
    higher = found.columns[ranking]["higher_is_better"] if ranking else True
    sources = [candidates(store, data, seed, trials, ranking, higher=higher) for seed, trials in sorted(seeds.items())]
    chosen = choose(sources, wanted)
    shown = []
    for source in sources:
        mine = [choice for choice in chosen if choice.source is source]
        if mine:
            shown += _shown(found, store, mine, ranking, album, higher=higher)
    return shown, sum(len(source.samples) for source in sources)


def _judges_samples(store: ResultStore, seeds: Mapping[int, Mapping[str, str]], column: str) -> bool:
    trials = next(iter(seeds.values()))
    return bool(store.sample_scores(next(iter(trials.values())), column))


def _shown(
    found: Evidence, store: ResultStore, choices: Sequence[Choice], ranking: str, album: Album, *, higher: bool
) -> list[Shown]:
    """Read what is said of the chosen samples of one seed, and draw them."""
    source = choices[0].source
    names = {source.samples[choice.place] for choice in choices}
    rows: dict[str, dict[str, SampleRow]] = {}
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for pipeline, trial in source.trials.items():
        rows[pipeline] = {row.sample: row for row in store.captions(trial) if row.sample in names}
        scores[pipeline] = {
            column: {name: value for name, (_, value) in store.sample_scores(trial, column).items() if name in names}
            for column in found.columns
        }
    data, absent = _data_of(store, next(iter(source.trials.values())))
    samples = {} if data is None else {one.id: one for one in data.samples if one.id in names}
    shown = []
    for choice in choices:
        name = source.samples[choice.place]
        sample = samples.get(name)
        why = absent or "the sample is not among the data any more"
        picture = Picture(absent=why) if data is None or sample is None else album.picture(data, sample)
        row = next(iter(rows.values()))[name]
        said = _said(name, rows, scores, ranking, higher=higher)
        kind = row.kind or ("" if sample is None else sample.region.kind)
        shown.append(
            Shown(
                source.data,
                source.seed,
                clean(name),
                kind,
                "" if row.area is None else f"{row.area:,.0f} px²",
                _size(found, row.area),
                picture,
                ""
                if sample is None
                else f"Picture {clean(row.image)} with the region drawn: {region_words(sample.region)}",
                () if sample is None else tuple(map(clean, sample.references)),
                said,
                choice.reasons,
                _told(source.apart[choice.place]),
                _told(source.mean[choice.place]),
            )
        )
    return shown


def _data_of(store: ResultStore, trial: str) -> tuple[RecordedData | None, str]:
    """Return the samples that a trial looked at, or why they cannot be had."""
    stored = store.recorded(trial)
    return recorded(stored.config) if stored is not None else (None, "the trial was not stored")


def _said(
    name: str,
    rows: Mapping[str, Mapping[str, SampleRow]],
    scores: Mapping[str, Mapping[str, Mapping[str, float]]],
    ranking: str,
    *,
    higher: bool,
) -> dict[str, Said]:
    ranked = [
        value for held in scores.values() if (value := held.get(ranking, {}).get(name)) is not None and value == value
    ]
    best = (max(ranked) if higher else min(ranked)) if ranked and min(ranked) < max(ranked) else None
    found = {}
    for pipeline, held in rows.items():
        if name not in held:
            continue
        row = held[name]
        told = {
            column: number(None if math.isnan(values[name]) else values[name], 2)
            for column, values in scores[pipeline].items()
            if values.get(name) is not None
        }
        value = scores[pipeline].get(ranking, {}).get(name)
        caption = None if row.caption is None else clean(row.caption)
        found[pipeline] = Said(caption, clean(row.error), told, best is not None and value == best)
    return found


def _told(value: Any) -> str:
    return "" if math.isnan(value) else f"{float(value):.6g}"


def _bins(found: Evidence) -> list[tuple[str, float]]:
    """Return names of sizes and their upper ends, the smallest first: those of the plots, or else those of COCO."""
    for one in found["sizes"]:
        ends = [(each["label"], math.inf if each["high"] is None else each["high"]) for each in one["bins"]]
        if ends:
            return ends
    return [("small: up to 32² px²", 1024.0), ("medium: up to 96² px²", 9216.0), ("large", math.inf)]


def _size(found: Evidence, area: float | None) -> str:
    if area is None:
        return ""
    bins = _bins(found)
    return next((label for label, end in bins if area <= end), bins[-1][0])
