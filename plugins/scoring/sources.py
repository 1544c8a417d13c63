"""Where ``compare`` finds a run: a file of scores, a folder of results, or predictions that are scored on the spot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from regionkit.core.errors import DataError
from regionkit.core.files import is_folder
from regionkit.plugins.scoring.files import Loaded, load
from regionkit.plugins.scoring.judges import build_jury
from regionkit.plugins.scoring.judging import judge
from regionkit.plugins.scoring.matching import match
from regionkit.plugins.scoring.per_sample import is_run, read_run
from regionkit.plugins.scoring.predictions import predictions_of
from regionkit.plugins.scoring.references import References, read_references
from regionkit.plugins.scoring.runs import Run
from regionkit.plugins.scoring.stores import read_trial, split_trial
from regionkit.plugins.scoring.words import counted, listed


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
        return judge(loaded.name, self._jury.fresh(), matched, self._references)
