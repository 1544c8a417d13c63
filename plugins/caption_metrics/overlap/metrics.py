"""``bleu``, ``rouge-l`` and ``cider-d``: how many words, and in which order, captions share with their references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from regionkit.core.contracts import Metric, Sample, Score
from regionkit.core.errors import DataError
from regionkit.core.signatures import signature
from regionkit.plugins.caption_metrics.averages import mean_of
from regionkit.plugins.caption_metrics.inputs import checked_pairs
from regionkit.plugins.caption_metrics.overlap.bleu import ORDERS, bleu, statistics
from regionkit.plugins.caption_metrics.overlap.cider import SIGMA, cider_d
from regionkit.plugins.caption_metrics.overlap.configs import BleuConfig, CiderDConfig, RougeLConfig
from regionkit.plugins.caption_metrics.overlap.documents import DocumentFrequencies, SavedFrequencies, of_references
from regionkit.plugins.caption_metrics.overlap.rouge import BETA, rouge_l
from regionkit.plugins.caption_metrics.overlap.texts import TextIndex, index_texts

Floats = NDArray[np.float64]


class OverlapMetric(Metric):
    """Keeps captions and references until they are judged, all at once.

    Attributes:
        name: Name of the metric, for messages and signatures.
    """

    name: ClassVar[str]

    def __init__(self, config: BleuConfig | RougeLConfig | CiderDConfig) -> None:
        self.config = config
        self._captions: list[str] = []
        self._references: list[tuple[str, ...]] = []

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions of samples, in order.

        Raises:
            DataError: A sample has no reference, or a caption or a reference is no text.
        """
        pairs = checked_pairs(self.name, samples, captions, references=True)
        for sample in samples:
            if not sample.references:
                raise DataError(f"{self.name}: sample '{sample.id}' has no reference caption")
        self._captions += [caption for _, caption in pairs]
        self._references += [sample.references for sample, _ in pairs]

    def _index(self, silent: Sequence[tuple[str, ...]] = ()) -> TextIndex:
        """Number the words of all captions and references; those of samples without a caption come last."""
        captions = (*self._captions, *[""] * len(silent))
        return index_texts(captions, tuple(map(tuple, [*self._references, *silent])), self.config.tokeniser)

    def _score_of_mean(self, values: Floats, signed: str) -> Score:
        per_sample = tuple(values.tolist())
        return Score(mean_of(per_sample), per_sample, signed)


class Bleu(OverlapMetric):
    """BLEU-1 to BLEU-4, from 0 to 1; BLEU-4 stands for them.

    A corpus value follows from the matches of all captions together and is no mean of the values of single captions.
    Values of single captions are small: one without any match of four words scores nearly 0.
    """

    name = "bleu"
    parts = tuple(str(order) for order in range(1, ORDERS + 1))

    def compute(self) -> Score:
        """Judge everything taken in so far."""
        rows = statistics(self._index().at_any_space)
        values, corpus = bleu(rows), bleu(rows.sum(axis=0, keepdims=True))[0] if len(rows) else np.zeros(ORDERS)
        scores = {
            part: Score(
                float(corpus[at]),
                tuple(values[:, at].tolist()),
                signature(
                    f"bleu-{part}",
                    variant="release",
                    tokeniser=self.config.tokeniser,
                    reference_length="closest",
                    n=len(rows),
                ),
                statistics=rows,
            )
            for at, part in enumerate(self.parts)
        }
        main = scores[self.parts[-1]]
        return Score(main.value, main.per_sample, main.signature, scores, rows)

    @classmethod
    def pool(cls, part: str, sums: Floats) -> Floats:
        """Return BLEU (d,) of a part from sums (d, 10) of statistics."""
        values: Floats = bleu(sums)[:, cls.parts.index(part)]
        return values


class RougeL(OverlapMetric):
    """ROUGE-L, from 0 to 1: the longest common subsequence with the references; the corpus value is the mean."""

    name = "rouge-l"

    def compute(self) -> Score:
        """Judge everything taken in so far."""
        values = rouge_l(self._index())
        signed = signature(
            self.name, variant="release", beta=BETA, tokeniser=self.config.tokeniser, n=len(self._captions)
        )
        return self._score_of_mean(values, signed)


class CiderD(OverlapMetric):
    """CIDEr-D: cosine of clipped tf-idf n-gram vectors, with a penalty on the difference in length.

    The value is on the official scale from 0 to 10, which the release reports; papers print it times 100. Each sample
    is a document of its own, and document frequencies come from the references of this very run, those of samples that
    failed included, unless ``documents`` names a file. Values over other references are therefore not comparable, those
    of a few samples say little, and a single sample always scores 0; its signature says so. Even a perfect caption
    scores less than 10 when it is shorter than four words (2.5 for one word).

    Raises:
        DataError: The file of document frequencies cannot be used.
    """

    name = "cider-d"
    config: CiderDConfig

    def __init__(self, config: CiderDConfig) -> None:
        super().__init__(config)
        #: References of samples that were announced and have no caption so far, by id.
        self._silent: dict[str, tuple[str, ...]] = {}
        self._saved = SavedFrequencies.read(config.documents) if config.documents else None
        if self._saved is not None and self._saved.tokeniser != config.tokeniser:
            raise DataError(
                f"cider-d: {config.documents} was made with tokeniser '{self._saved.tokeniser}', "
                f"and the captions are read with '{config.tokeniser}'",
                f"give tokeniser: {self._saved.tokeniser}, or make the file again",
            )

    def expect(self, samples: Sequence[Sample]) -> None:
        """Count the references of these samples too, whether or not they get captions.

        Raises:
            DataError: A reference is no text.
        """
        for sample, _ in checked_pairs(self.name, samples, [""] * len(samples), references=True):
            self._silent[sample.id] = sample.references

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions of samples, in order; raises as for the other metrics."""
        super().update(samples, captions)
        for sample in samples:
            self._silent.pop(sample.id, None)

    def compute(self) -> Score:
        """Judge everything taken in so far; the corpus value is the mean over samples."""
        index = self._index(tuple(self._silent.values())).at_any_space
        frequencies = of_references(index) if self._saved is None else self._saved.of_index(index)
        values = cider_d(index, frequencies)[: len(self._captions)]
        return self._score_of_mean(values, self._sign(frequencies))

    def _sign(self, frequencies: DocumentFrequencies) -> str:
        alone = frequencies.documents == 1
        return signature(
            self.name,
            variant="release",
            sigma=f"{SIGMA:g}",
            tokeniser=self.config.tokeniser,
            idf=frequencies.source,
            documents=frequencies.documents,
            note="of one document every value is 0" if alone else None,
            n=len(self._captions),
        )
