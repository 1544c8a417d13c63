"""The metrics of a command line, built before any file is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from regionkit.core.contracts import Dataset, Metric
from regionkit.core.errors import ConfigError, DataError, Problem, RegionkitError, did_you_mean
from regionkit.plugins.scoring.pictures import PictureFolder
from regionkit.registry.assembly import build
from regionkit.registry.merging import apply_override
from regionkit.registry.metrics import MetricRef
from regionkit.registry.schema import fill


@dataclass(frozen=True, slots=True)
class Judge:
    """A metric, and what it was made of."""

    ref: MetricRef
    metric: Metric


@dataclass(frozen=True, slots=True)
class Jury:
    """The metrics of a command line and the pictures that they look at.

    Attributes:
        judges: The metrics, in the order of the command line.
        pictures: None where neither pictures nor words were given.
    """

    judges: tuple[Judge, ...]
    pictures: PictureFolder | None

    def fresh(self) -> Self:
        """Return the same metrics with nothing taken in."""
        judges = tuple(Judge(one.ref, one.ref.build(self.pictures)) for one in self.judges)
        return replace(self, judges=judges)


def build_jury(
    metrics: str, overrides: Sequence[str] = (), images: Path | None = None, lexicon: str | None = None
) -> Jury:
    """Build metrics, and let them start what takes long.

    Args:
        metrics: Their names, separated by commas.
        overrides: Changes of single options, ``METRIC.option=value``.
        images: Folder of pictures.
        lexicon: Name of the data set whose words metrics look for.

    Raises:
        RegionkitError: A name or option is wrong, or a metric cannot judge here; for names and options all that is
            wrong is told.
    """
    refs = metric_refs(metrics, overrides)
    words = None
    if lexicon is not None:
        built = build("dataset", lexicon)
        assert isinstance(built, Dataset)
        words = built
    pictures = PictureFolder(images, words) if images is not None or words is not None else None
    judges = tuple(Judge(ref, _build(ref, pictures)) for ref in refs)
    for judge in judges:
        judge.metric.prepare()
    return Jury(judges, pictures)


def metric_refs(metrics: str, overrides: Sequence[str]) -> list[MetricRef]:
    """Return the metrics of that list with their options filled.

    Raises:
        ConfigError: There are mistakes; all are told.
    """
    names = [word.strip() for word in metrics.split(",") if word.strip()]
    data: dict[str, Any] = {name: {"name": name} for name in names}
    lines = dict.fromkeys(names, "--metrics")
    problems: list[Problem] = []
    twice = [name for name in data if names.count(name) > 1]
    problems += [Problem("--metrics", name, "named twice") for name in twice]
    if not names:
        problems.append(Problem("--metrics", "", "names no metric", ("for example: --metrics bleu,rouge-l,cider-d",)))
    for text in overrides:
        target = text.partition(".")[0].strip()
        if "." in text.partition("=")[0] and target not in data:
            hint = did_you_mean(target, data) or f"metrics of this command: {', '.join(data)}"
            problems.append(Problem(f"--set {text}", "", f"'{target}' is none of --metrics", (hint,)))
        elif "." not in text.partition("=")[0]:
            example = f"for example: --set {next(iter(data), 'cider-d')}.tokeniser=words"
            problems.append(Problem("--set", "", f"'{text}' is not of the form METRIC.option=value", (example,)))
        else:
            data = apply_override(data, lines, text)

    def where(path: str) -> str:
        return lines.get(path, lines.get(path.partition(".")[0], "--metrics"))

    parts = {name: fill("metric", value, where, name, problems) for name, value in data.items()}
    if problems:
        raise ConfigError(problems)
    return [MetricRef(name, part) for name, part in parts.items() if part is not None]


def _build(ref: MetricRef, pictures: PictureFolder | None) -> Metric:
    """Build a metric.

    Raises:
        RegionkitError: It cannot judge here, or judges no captions.
    """
    try:
        metric = ref.build(pictures)
    except DataError as error:
        if pictures is not None or "data set" not in error.message:
            raise
        raise DataError(
            error.message, *error.hints, "--images FOLDER gives metrics pictures, --lexicon DATASET gives them words"
        ) from None
    if "candidates" in metric.needs:
        raise RegionkitError(
            f"{ref.label} judges answers among candidates, and no captions", "score those with `toolkit run`"
        )
    return metric
