"""SPICE by its official program.

Anderson et al., SPICE: Semantic Propositional Image Caption Evaluation, ECCV 2016. This was written by the program's
documented command line and files, and tested against a stand-in that keeps to them: the program itself, which needs
CoreNLP's models, was never run by us.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from regionkit.core.contracts import Metric, Sample, Score
from regionkit.core.errors import DataError
from regionkit.core.signatures import signature
from regionkit.plugins.caption_metrics.averages import mean_of, ratio_of
from regionkit.plugins.caption_metrics.java.configs import SpiceConfig
from regionkit.plugins.caption_metrics.java.jars import sha256
from regionkit.plugins.caption_metrics.java.lines import checked, plain_line, prepared
from regionkit.plugins.caption_metrics.java.spice_program import find_spice, run_spice

Floats = NDArray[np.float64]

#: Part of the metric -> category of the program.
CATEGORIES = {
    "object": "Object",
    "relation": "Relation",
    "attribute": "Attribute",
    "color": "Color",
    "size": "Size",
    "cardinality": "Cardinality",
}


class Spice(Metric):
    """SPICE, from 0 to 1: F-score between the scene graphs of a caption and of its references, mean over samples.

    A caption and references of which the program makes nothing at all score 0. With ``categories``, parts give the
    F-score over graphs of one kind, the mean over those samples in which caption or references have any; 0 if none has.
    """

    def __init__(self, config: SpiceConfig) -> None:
        self.config = config
        self.parts = ("", *CATEGORIES) if config.categories else ()
        self.program = find_spice(config)
        self._captions: list[str] = []
        self._references: list[tuple[str, ...]] = []
        self._scores: list[dict[str, float]] = []

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions of samples, in order.

        Raises:
            DataError: A sample has no reference, or a caption is no text.
        """
        for sample, caption in zip(samples, captions, strict=True):
            checked("spice", f"sample '{sample.id}'", caption, sample.references)
            self._captions.append(caption)
            self._references.append(sample.references)

    def compute(self) -> Score:
        """Judge everything taken in so far; what was judged before is not run again.

        Raises:
            RunFailed: The program failed; the message shows what it said.
        """
        done = len(self._scores)
        if done < len(self._captions):
            split = prepared(self.config.tokeniser)
            captions = [plain_line(split(text)) for text in self._captions[done:]]
            references = [[plain_line(split(text)) for text in texts] for texts in self._references[done:]]
            self._scores += run_spice(self.program, captions, references)
        values = [0.0 if math.isnan(score["All"]) else score["All"] for score in self._scores]
        whole = Score(mean_of(values), tuple(values), self._signature("spice"))
        if not self.parts:
            return whole
        return replace(whole, parts={"": whole, **{part: self._category(part) for part in CATEGORIES}})

    def _category(self, part: str) -> Score:
        found = np.array([score.get(CATEGORIES[part], math.nan) for score in self._scores])
        there = ~np.isnan(found)
        statistics = np.stack([np.where(there, found, 0.0), there.astype(np.float64)], axis=1)
        value = float(self.pool(part, statistics.sum(axis=0)[None])[0])
        return Score(value, None, self._signature(f"spice-{part}"), statistics=statistics)

    def _signature(self, name: str) -> str:
        models = self.program.corenlp[-1]
        return signature(
            name,
            variant="1.0",
            tokeniser=self.config.tokeniser,
            jar=sha256(self.program.jar)[:12],
            models=sha256(models)[:12],
            n=len(self._captions),
        )

    @classmethod
    def pool(cls, part: str, sums: Floats) -> Floats:
        """Return the mean F-score (d,) of a category from sums (d, 2) of its F-scores and of samples that have any."""
        if not part:
            raise DataError("spice is a mean over samples: nothing follows from sums of statistics")
        return ratio_of(sums)
