"""Run folders of ``toolkit run`` and ``toolkit ablate``: their captions and the values of single samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from regionkit.core.errors import DataError
from regionkit.core.files import is_file, is_folder
from regionkit.core.results import ResultStore
from regionkit.plugins.scoring.runs import Measured, Run

#: Name of the database in an output folder.
DATABASE = "results.sqlite"
#: Trials that a message lists.
_SHOWN = 20


def split_trial(text: str) -> tuple[Path, str]:
    """Read ``FOLDER#TRIAL``; a path that is there as a whole has no trial in its name."""
    folder, hash_mark, trial = text.rpartition("#")
    if hash_mark and not Path(text).exists() and is_folder(Path(folder)):
        return Path(folder), trial
    return Path(text), ""


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
    with ResultStore(path) as store:
        chosen = _chosen(folder, trial, store)
        return _run(f"{folder}#{chosen}", chosen, store)


def _chosen(folder: Path, trial: str, store: ResultStore) -> str:
    done = sorted(store.done())
    found = [one for one in done if one.startswith(trial)]
    if len(found) == 1:
        return found[0]
    if not done:
        raise DataError(f"{folder}: no trial of this run has ended well", "run it again, it goes on where it stopped")
    lines = [f"  {one}: {_summary(store, one)}" for one in (found or done)[:_SHOWN]]
    more = len(found or done) - _SHOWN
    lines += [f"  and {more} more, see {folder / 'results.csv'}"] if more > 0 else []
    what = f"{len(found)} trials" + (f" begin with '{trial}'" if trial else "")
    what = what if found else f"no trial '{trial}' that ended well"
    raise DataError(f"{folder}: {what}; choose one as {folder}#TRIAL", "trials are:", *lines)


def _summary(store: ResultStore, trial: str) -> str:
    scores = ", ".join(f"{name} {value:.3f}" for name, (value, _, _) in store.scores(trial).items())
    return scores or "no scores"


def _run(name: str, trial: str, store: ResultStore) -> Run:
    """Read the samples that were captioned."""
    rows = [row for row in store.captions(trial) if row.caption is not None]
    ids = [row.sample for row in rows]
    columns = {}
    for column, (value, signature, higher_is_better) in store.scores(trial).items():
        held = store.sample_scores(trial, column)
        values = np.array([held[one][1] for one in ids]) if held and all(one in held for one in ids) else None
        columns[column] = Measured(value, signature, higher_is_better, values)
    return Run(name, ids, [row.caption or "" for row in rows], columns, [row.image for row in rows])
