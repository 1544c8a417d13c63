"""The metrics of a command line, built before any file is read, and what they say of captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from regionkit.core.contracts import Dataset, Metric, Sample, column
from regionkit.core.errors import ConfigError, DataError, Problem, RegionkitError, RunFailed, did_you_mean
from regionkit.core.scores import check_score
from regionkit.core.statistics import Pool, intervals
from regionkit.plugins.scoring.matching import Matched
from regionkit.plugins.scoring.pictures import DataPictures, PictureFolder
from regionkit.plugins.scoring.references import References
from regionkit.plugins.scoring.runs import Measured, Run
from regionkit.plugins.scoring.words import counted, listed
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
    metrics: str,
    overrides: Sequence[str] = (),
    images: Path | None = None,
    lexicon: str | None = None,
    data: Dataset | None = None,
) -> Jury:
    """Build metrics, and let them start what takes long.

    Args:
        metrics: Their names, separated by commas.
        overrides: Changes of single options, ``METRIC.option=value``.
        images: Folder of pictures.
        lexicon: Name of the data set whose words metrics look for.
        data: The data set whose samples are judged against, where it is one: its pictures and words are there.

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
    if data is not None:
        pictures = DataPictures(data, words)
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
    # Nobody wrote ``name``: the command line names metrics, and options alone have a path.
    problems = [replace(one, path="") if one.path in {f"{name}.name" for name in data} else one for one in problems]
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
    if "image" in metric.needs and (pictures is None or not pictures.has_pictures):
        raise DataError(f"{ref.label} looks at pictures, and none were given", "name their folder with --images FOLDER")
    if "candidates" in metric.needs:
        raise RegionkitError(
            f"{ref.label} judges answers among candidates, and no captions", "score those with `toolkit run`"
        )
    return metric


def judge(name: str, jury: Jury, matched: Matched, references: References) -> Run:
    """Score captions by all metrics; one that fails, such as for want of its judge, takes no other with it.

    Raises:
        DataError: Samples lack what a metric needs, or pictures are missing.
        RunFailed: No metric gives a number.
    """
    for one in jury.judges:
        check_carries(one, matched.samples)
    if jury.pictures is not None:
        jury.pictures.find((sample.image_id for sample in matched.samples), references.pictures)
    columns: dict[str, Measured] = {}
    failed: dict[str, RunFailed] = {}
    for one in jury.judges:
        one.metric.expect([sample for sample in references.samples.values() if sample.references])
        try:
            columns |= _columns(one, matched.samples, matched.captions)
        except RunFailed as error:
            failed[one.ref.label] = error
    if failed and not columns:
        raise next(iter(failed.values()))
    return Run(
        name,
        [sample.id for sample in matched.samples],
        matched.captions,
        columns,
        [sample.image_id for sample in matched.samples],
        references.digest(),
        {label: str(error) for label, error in failed.items()},
    )


#: How a file of references says what is no key of a record.
_FORMS = {"references": '{"ID": ["reference", ...]}'}


def check_carries(judge: Judge, samples: Sequence[Sample]) -> None:
    """Check that samples carry what a metric needs.

    Raises:
        DataError: Some do not; they are named.
    """
    for need in judge.metric.needs:  # of pictures, PictureFolder.find has looked for all
        lacking = [sample.id for sample in samples if not sample.carries(need)]
        if lacking:
            ids = f"{counted(len(lacking), 'id')} {'lacks' if len(lacking) == 1 else 'lack'}"
            words = need.split("|")
            what = " or ".join(word if word == "references" else f"'{word}'" for word in words)
            forms = [_FORMS.get(word, f'{{"ID": {{"references": [...], "{word}": ...}}}}') for word in words]
            how = f"write {' or '.join(forms)} in the references"
            raise DataError(f"{judge.ref.label} needs {what}, which {ids}: {listed(lacking)}", how)


def interval_of(run: Run, seed: int) -> Mapping[str, tuple[float, float]]:
    """Return the 95 % intervals of the columns whose values follow from samples.

    Regions of one picture are no independent witnesses: they are drawn together, as ``compare`` draws them.
    """
    evidence = {name: one.evidence for name, one in run.columns.items()}
    return intervals({name: one.grouped(run.images) for name, one in evidence.items() if one is not None}, seed)


def _columns(judge: Judge, samples: Sequence[Sample], captions: Sequence[str]) -> dict[str, Measured]:
    judge.metric.update(samples, captions)
    score = judge.metric.compute()
    label, options = judge.ref.label, judge.ref.to_dict()
    del options["name"]
    found = {}
    for part, one in (score.parts or {"": score}).items():
        name = column(label, part)
        check_score(name, one, len(samples))
        pool = None if one.statistics is None else _pool(judge, part)
        found[name] = Measured(
            float(one.value),
            one.signature,
            judge.metric.higher_is_better,
            None if one.per_sample is None else np.array(one.per_sample, np.float64),
            one.statistics,
            pool,
            judge.ref.part.name,
            options,
            part,
            dict(one.unjudged),
        )
    return found


def _pool(judge: Judge, part: str) -> Pool:
    metric = type(judge.metric)
    return lambda sums: metric.pool(part, sums)
