"""``toolkit explain RUN SAMPLE``: which patches, which texts of the memory and which tokens made a recorded caption."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regionkit.core.errors import DataError, RegionkitError, RunFailed, closest
from regionkit.core.json_files import dumps
from regionkit.registry.commands.outputs import save_picture, writing

if TYPE_CHECKING:
    from regionkit.core.contracts import Sample
    from regionkit.core.explanations import Explanation
    from regionkit.core.pipeline import Pipeline
    from regionkit.core.results import ResultStore, TrialResult
    from regionkit.registry.plan import PipelinePlan
    from regionkit.registry.recorded import RecordedData
    from regionkit.registry.run_folders import RunTrial

#: Version of the JSON.
VERSION = 1
#: Trials that are explained where nobody asks for more: each builds its models.
MOST = 12
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
#: Ids that a message lists.
_SHOWN = 8


@dataclass
class ExplainedTrial:
    """What became of a sample in one trial, and why.

    Attributes:
        trial: The trial.
        recorded: Its caption as stored, None where there is none.
        answer: The caption as the task would store it now.
        explanation: None where it could not be made.
        pipeline: Names of the parts by kind.
        changes: What is not as it was when the trial ran.
        error: Why there is no explanation.
    """

    trial: RunTrial
    recorded: str | None = None
    answer: str = ""
    explanation: Explanation | None = None
    pipeline: Mapping[str, str] = field(default_factory=dict)
    changes: Sequence[str] = ()
    error: str = ""

    @property
    def same(self) -> bool:
        """Whether the caption that is made now is the one that was recorded."""
        return self.recorded == self.answer

    @property
    def remarks(self) -> list[str]:
        """Sentences that a reader of the explanation must know."""
        if self.same:
            told = "the caption that is made now is the recorded one"
        elif self.recorded is None:
            told = "no caption is recorded; explained is the one that is made now"
        else:
            told = f"recorded, and explained, is another caption than the one that is made now: '{self.answer}'"
        return [told, *self.changes]


def explain_run(source: str, sample: str | None, options: Mapping[str, Any]) -> None:
    """Explain the caption of a sample of a run.

    Args:
        source: ``RUN`` or ``RUN#TRIAL``.
        sample: Id of the sample, or a unique beginning; None with the option ``list``.
        options: ``trials``, ``most``, ``texts``, ``out``, ``as_json``, ``device``, ``list``.

    Raises:
        click.UsageError: ``--out`` can hold no explanation, or there is no sample.
        DataError: There is no such run, trial or sample.
        RunFailed: No trial could be explained.
    """
    from regionkit.registry.run_folders import choose_trials, load_plugins_of, open_run, split_trial, trials_of

    out = options["out"]
    _check_out(out)
    folder, named = split_trial(source)
    with open_run(folder) as store:
        if options["list"]:
            _list(store, sample or "", as_json=options["as_json"])
            return
        if sample is None:
            raise click.UsageError(f"name a sample: toolkit explain {source} SAMPLE; to see them: --list")
        everything = trials_of(store)
        beginnings = [*([named] if named else []), *options["trials"]]
        chosen = choose_trials(folder, everything, beginnings) if beginnings else everything
        sample = find_sample(folder, store, sample, chosen if beginnings else None)
        holders = set(store.holders(sample))
        holding = [one for one in chosen if one.id in holders]
        lacking = [one for one in chosen if one.id not in holders]
        if beginnings and lacking:
            raise DataError(f"{folder}: trial {lacking[0].id} has no sample '{sample}'; it is of {lacking[0].data}")
        load_plugins_of(folder)
        holding, column = (holding, "") if beginnings else best_first(store, holding, sample)
        explained = list(_explained(store, holding[: options["most"]], sample, options))
    left = len(holding) - len(explained)
    better = f", none with a better {column}" if column else ""
    more = f"{left} more trials hold this sample{better}: name them with --trial, or raise --most" if left else ""
    _write(out, sample, explained, source, more, as_json=options["as_json"])
    if all(one.explanation is None for one in explained):
        raise RunFailed(f"'{sample}' could not be explained: {explained[0].error}")


def _check_out(out: Path | None) -> None:
    if out is not None and (out.suffix or out.is_file()) and out.suffix.lower() not in (*_PICTURES, ".json"):
        raise click.UsageError(f"--out {out}: write a picture ({', '.join(_PICTURES)}), a .json file or a folder")


def find_sample(folder: Path, store: ResultStore, word: str, trials: Sequence[RunTrial] | None = None) -> str:
    """Return the id of the sample that a word means: all of it, or a beginning that no other id has.

    Args:
        folder: The run, for messages.
        store: Its results.
        word: As the user wrote it.
        trials: Only samples that these hold; None for all.

    Raises:
        DataError: It means no sample, or several.
    """
    known = store.sample_counts()
    if trials is not None:
        known = {row.sample: 1 for one in trials for row in store.captions(one.id)}
    if word in known:
        return word
    fitting = [name for name in known if name.startswith(word)]
    if len(fitting) == 1:
        return fitting[0]
    if not known:
        raise DataError(f"{folder}: no trial of this run has a sample", "run it again, it goes on where it stopped")
    hint = f"see all of them: toolkit explain {folder} --list"
    if fitting:
        shown = ", ".join(fitting[:_SHOWN]) + (f" and {len(fitting) - _SHOWN:,} more" if len(fitting) > _SHOWN else "")
        raise DataError(f"{folder}: {len(fitting):,} samples begin with '{word}'", f"they are: {shown}", hint)
    close = closest(word, known) or list(known)[:_SHOWN]
    meant = "did you mean" if closest(word, known) else "samples are called like"
    raise DataError(f"{folder}: no sample '{word}' in this run", f"{meant}: {', '.join(close)}", hint)


def best_first(store: ResultStore, trials: Sequence[RunTrial], sample: str) -> tuple[list[RunTrial], str]:
    """Put the trials first that did best on a sample, by the first column that judges it.

    Args:
        store: The results.
        trials: The trials; equals stay in their order, and those without a score come last.
        sample: Id of the sample.

    Returns:
        The trials and the column; as they were, and empty, where nothing judges the sample.
    """
    ids = {one.id for one in trials}
    scores = [row for row in store.scores_of(sample) if row[0] in ids]
    column = min((row[1] for row in scores), default="")
    worth = {trial: value if higher else -value for trial, metric, value, higher in scores if metric == column}
    return sorted(trials, key=lambda one: -worth.get(one.id, -math.inf)), column


def _list(store: ResultStore, beginning: str, *, as_json: bool) -> None:
    from regionkit.registry.commands.tables import text_table

    counts = {name: count for name, count in store.sample_counts().items() if name.startswith(beginning)}
    if as_json:
        click.echo(dumps(counts, indent=2))
        return
    click.echo(text_table(("sample", "trials"), [(name, str(count)) for name, count in counts.items()]))


def _explained(
    store: ResultStore, trials: Sequence[RunTrial], sample: str, options: Mapping[str, Any]
) -> Iterator[ExplainedTrial]:
    """Explain one trial after the other; one that cannot be says why. Models and data that they share are made once."""
    reuse: dict[str, Any] = {}
    data: dict[str, RecordedData] = {}
    for trial in trials:
        result = store.recorded(trial.id)
        assert result is not None
        row = next(row for row in result.samples if row.sample == sample)
        try:
            yield _explain_one(trial, result, row.caption, sample, options, reuse, data)
        except RegionkitError as error:
            yield ExplainedTrial(trial, row.caption, error=str(error))


def _explain_one(
    trial: RunTrial,
    result: TrialResult,
    recorded: str | None,
    sample: str,
    options: Mapping[str, Any],
    reuse: dict[str, Any],
    data: dict[str, RecordedData],
) -> ExplainedTrial:
    from regionkit.core.explanations import explain_caption
    from regionkit.registry.assembly import build_pipeline
    from regionkit.registry.recorded import recorded_data, recorded_plan
    from regionkit.registry.recorded_changes import recorded_changes

    plan = recorded_plan(result.config)
    key = json.dumps(result.config["data"], sort_keys=True)
    if key not in data:
        data[key] = recorded_data(result.config)
    found = data[key]
    asked = _sample(found, sample)
    pipeline: Pipeline = build_pipeline(plan, device=options["device"], reuse=reuse)
    task, image = found.task, found.dataset.image(asked.image_id)
    region = asked.mentioned[0] if asked.mentioned else asked.region
    prompt = task.prompt(asked)
    made = explain_caption(pipeline, image, region, None, prompt, task.generation, texts=options["texts"])
    answer = task.answer(asked, made.made).text
    if recorded is not None and recorded != answer:
        made = explain_caption(pipeline, image, region, recorded, prompt, task.generation, texts=options["texts"])
    changes = [*recorded_changes(result.config, plan), *_sampled(found)]
    return ExplainedTrial(trial, recorded, answer, made, _names(plan), changes)


def _sample(data: RecordedData, sample: str) -> Sample:
    """Return a sample that one caption of one region answers.

    Raises:
        DataError: The data do not hold it any more, or it is answered otherwise.
    """
    found = data.by_id.get(sample)
    if found is None:
        raise DataError(f"the data have no sample '{sample}' any more", "they have changed since this trial ran")
    if found.candidates:
        raise DataError(
            f"'{sample}' was answered by choosing among {len(found.candidates)} regions, and no caption was written",
            "only captions of one region can be explained",
        )
    if len(found.mentioned) > 1:
        raise DataError(
            f"'{sample}' asks about {len(found.mentioned)} regions at once", "only captions of one region are explained"
        )
    return found


def _sampled(data: RecordedData) -> list[str]:
    """Say why a caption may differ without anything having changed."""
    options = data.task.generation
    drawn = options is not None and options.temperature > 0
    return ["captions of this task are drawn at random: one that is made alone is another draw"] if drawn else []


def _names(plan: PipelinePlan) -> dict[str, str]:
    return {kind: part.name for kind, part in plan.parts.items()}


def _write(
    out: Path | None, sample: str, explained: Sequence[ExplainedTrial], source: str, more: str, *, as_json: bool
) -> None:
    """Print what was found, and write the JSON and the picture where ``--out`` asks for them."""
    from regionkit.core.files import write_text

    told = {"version": VERSION, "run": source, "sample": sample, "trials": [trial_record(one) for one in explained]}
    told |= {"more": more} if more else {}
    text = dumps(told, indent=2)
    # Files first: who pipes what is printed into `head` gets them, too.
    folder = out is not None and not out.suffix
    if out is not None and (folder or out.suffix == ".json"):
        target = out / "explained.json" if folder else out
        with writing(target):
            write_text(target, f"{text}\n")
    if out is not None and (folder or out.suffix.lower() in _PICTURES):
        _draw(out / "explained.png" if folder else out, explained)
    if as_json:
        click.echo(text)
    else:
        _print(sample, explained, more)


def trial_record(one: ExplainedTrial) -> dict[str, Any]:
    """Return what JSON says of a trial."""
    from regionkit.registry.commands.explain_records import record

    head = {
        "trial": one.trial.id,
        "data": one.trial.data,
        "seed": one.trial.seed,
        "labels": dict(one.trial.labels),
        "caption": {"recorded": one.recorded, "now": one.answer, "same": one.same},
    }
    if one.explanation is None:
        return {**head, "caption": {"recorded": one.recorded}, "error": one.error}
    return {**head, "pipeline": dict(one.pipeline), "changes": [*one.changes], **record(one.explanation)}


def _print(sample: str, explained: Sequence[ExplainedTrial], more: str) -> None:
    from regionkit.registry.commands.explain_records import sentences

    click.echo(sample)
    for one in explained:
        click.echo(f"\n{one.trial.described}")
        if one.explanation is None:
            click.echo(f"  caption: {one.recorded or '(none)'}")
            click.echo(f"  not explained: {one.error}")
            continue
        click.echo(f"  caption: {one.explanation.text or '(empty)'} (log-probability {_likely(one.explanation)})")
        for line in [*one.remarks, *sentences(one.explanation)]:
            click.echo(f"  {line}")
    if more:
        click.echo(f"\n{more}")


def _likely(found: Explanation) -> str:
    return "unknown" if found.log_probability != found.log_probability else f"{found.log_probability:.2f}"


def _draw(target: Path, explained: Sequence[ExplainedTrial]) -> None:
    from regionkit.core.drawing_explained import Sheet, draw_explanations

    sheets = [
        Sheet(one.explanation, one.trial.described, one.remarks) for one in explained if one.explanation is not None
    ]
    if sheets:
        save_picture(draw_explanations(sheets), target)
