"""Where ``compare`` finds a run: a file of scores, a folder of results, or predictions that are scored on the spot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from regionkit.core.errors import DataError, RunFailed
from regionkit.core.files import is_file, is_folder
from regionkit.core.json_files import Loaded, load
from regionkit.core.results import DATABASE, ResultStore
from regionkit.plugins.scoring.judging import build_jury, judge
from regionkit.plugins.scoring.matching import match
from regionkit.plugins.scoring.per_sample import is_run, pool_of, read_run
from regionkit.plugins.scoring.predictions import predictions_of
from regionkit.plugins.scoring.references import References, read_references
from regionkit.plugins.scoring.runs import Measured, Run
from regionkit.plugins.scoring.words import counted, listed
from regionkit.registry.run_folders import RunTrial, split_trial, trials_of

#: Trials that a message lists.
_SHOWN = 20


class Reader:
    """Reads runs.

    Args:
        options: Those of :func:`~regionkit.plugins.scoring.options.judging_options`, and ``references``.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._path: Path | None = options["references"]
        self._references: References | None = None
        # Whatever keeps a metric from judging is told before files are read that may take long.
        wanted = ("metrics", "overrides", "images", "lexicon")
        self._jury = build_jury(*(options[name] for name in wanted)) if self._path is not None else None

    def read(self, text: str) -> Run:
        """Read a run by what the command line calls it.

        Raises:
            RegionkitError: There is none of that name, or it cannot be read or scored.
        """
        path, trial = split_trial(text)
        if is_folder(path):
            return read_trial(path, trial)
        loaded = load(path)
        return read_run(loaded) if is_run(loaded) else self._scored(loaded)

    def _scored(self, loaded: Loaded) -> Run:
        if self._path is None or self._jury is None:
            raise DataError(
                f"{loaded.name}: no file of `toolkit score --per-sample`",
                "to compare plain predictions, say what they are judged against: --references FILE",
            )
        if self._references is None:
            self._references = read_references(self._path)
        matched = match(predictions_of(loaded), self._references)
        unjudged = [*matched.missing, *matched.refused]
        if unjudged:
            click.echo(f"note: {loaded.name}: {counted(len(unjudged), 'id')} not scored: {listed(unjudged)}", err=True)
        run = judge(loaded.name, self._jury.fresh(), matched, self._references)
        if run.failed:
            raise RunFailed(next(iter(run.failed.values())))
        return run


def read_trial(folder: Path, trial: str = "") -> Run:
    """Read a trial of a run folder; without its id, or the beginning of it, the only one.

    Raises:
        DataError: There are no results, several trials, none of that name, or it failed.
    """
    path = folder / DATABASE
    if not is_file(path):
        raise DataError(
            f"{folder}: no results in this folder", f"a run folder holds {DATABASE}; `toolkit run --out DIR` writes one"
        )
    with ResultStore(path, read_only=True) as store:
        chosen = _chosen(folder, trial, store)
        return _run(f"{folder}#{chosen.id}", chosen, store)


def _chosen(folder: Path, trial: str, store: ResultStore) -> RunTrial:
    everything = trials_of(store)
    done = [one for one in everything if one.status == "done"]
    found = [one for one in done if one.id.startswith(trial)]
    whole = [one for one in found if one.id == trial]
    if len(whole or found) == 1:
        return (whole or found)[0]
    if not done:
        raise DataError(f"{folder}: no trial of this run has ended well", "run it again, it goes on where it stopped")
    what = f"no trial '{trial}' that ended well"
    failed = [one for one in everything if one.status != "done" and trial and one.id.startswith(trial)]
    if not found and failed:
        row = store.trial(failed[0].id)
        what = f"trial {failed[0].id} failed: {row[1] if row else ''}"
    if found:
        what = counted(len(found), "trial") + (f" begin with '{trial}'" if trial else "")
    lines = [f"  {_described(one, store)}" for one in (found or done)[:_SHOWN]]
    more = len(found or done) - _SHOWN
    lines += [f"  and {more:,} more, see {folder / 'results.csv'}"] if more > 0 else []
    raise DataError(f"{folder}: {what}; choose one as {folder}#TRIAL", "trials are:", *lines)


def _described(trial: RunTrial, store: ResultStore) -> str:
    """Return a line that a reader recognises a trial by: what it was run on, what tells it apart, and its scores."""
    scores = ", ".join(f"{name} {value:.3f}" for name, (value, _, _) in store.scores(trial.id).items())
    return f"{trial.described}, {scores or 'no scores'}"


def _run(name: str, chosen: RunTrial, store: ResultStore) -> Run:
    """Read the samples that were captioned."""
    trial = chosen.id
    rows = [row for row in store.captions(trial) if row.caption is not None]
    ids = [row.sample for row in rows]
    lost = store.unjudged(trial)
    columns = {}
    for column, (value, signature, higher_is_better) in store.scores(trial).items():
        metric, part = store.makers(trial)[column]
        unjudged = {at: lost[column][one] for at, one in enumerate(ids) if one in lost.get(column, {})}
        held = store.sample_scores(trial, column)
        known = held and all(one in held or at in unjudged for at, one in enumerate(ids))
        values = np.array([held[one][1] if one in held else np.nan for one in ids]) if known else None
        sums = store.sample_statistics(trial, column)
        statistics = np.stack([sums[one][1] for one in ids]) if sums and all(one in sums for one in ids) else None
        columns[column] = Measured(
            value,
            signature,
            higher_is_better,
            values,
            statistics,
            None if statistics is None else pool_of(metric, part),
            metric,
            {},
            part,
            unjudged,
        )
    captions, images = [row.caption or "" for row in rows], [row.image for row in rows]
    return Run(name, ids, captions, columns, images, about=chosen.said if chosen.labels else "", data=chosen.data)
