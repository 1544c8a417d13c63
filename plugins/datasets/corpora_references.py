"""Sentences that other components hold: the references of a data set, and several corpora one after the other.

Together they make the ground-truth memory of Patch-ioner's Table 9, a bank that saw the test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Self

from regionkit.core.contracts import BuildContext, Corpus, Dataset
from regionkit.core.errors import DataError
from regionkit.plugins.datasets.configs import JoinedConfig, ReferencesConfig


class References(Corpus):
    """All references of a task and split of a data set, in the order of its samples.

    Args:
        config: Options.
        dataset: The data set.
    """

    def __init__(self, config: ReferencesConfig, dataset: Dataset) -> None:
        self.config, self.dataset = config, dataset

    @classmethod
    def build(cls, config: ReferencesConfig, context: BuildContext) -> Self:
        """Make the corpus of the data set that its options name."""
        return cls(config, context.parts["dataset"])

    def texts(self) -> Sequence[str]:
        """Return the references, runs of blanks as one space.

        Raises:
            DataError: The data are not there, have no such split, or no references.
        """
        return self._texts

    @cached_property
    def _texts(self) -> Sequence[str]:
        config = self.config
        if config.split not in self.dataset.splits:
            raise DataError(
                f"corpus 'references': there is no split '{config.split}' of data set '{config.dataset_name}'",
                f"splits are: {', '.join(self.dataset.splits)}",
            )
        samples = self.dataset.samples(config.task, config.split, config.seed, config.limit or None)
        texts = [" ".join(text.split()) for sample in samples for text in sample.references]
        texts = [text for text in texts if text]
        if not texts:
            raise DataError(
                f"corpus 'references': task '{config.task}', split '{config.split}' of data set "
                f"'{config.dataset_name}' has no references"
            )
        return texts


class Joined(Corpus):
    """Several corpora, one after the other; a sentence of two of them is there twice.

    Args:
        corpora: The corpora.
    """

    def __init__(self, corpora: Sequence[Corpus]) -> None:
        self.corpora = tuple(corpora)

    @classmethod
    def build(cls, config: JoinedConfig, context: BuildContext) -> Self:
        """Make the corpus of those that its options name."""
        return cls([context.parts[role] for role in ("first", "second", "third") if role in context.parts])

    def texts(self) -> Sequence[str]:
        """Return the sentences of all corpora."""
        return [text for corpus in self.corpora for text in corpus.texts()]

    def stream(self) -> Iterator[str]:
        """Yield them one by one."""
        for corpus in self.corpora:
            yield from corpus.stream()

    def faults(self) -> Sequence[str]:
        """Return what any of them left out."""
        return [fault for corpus in self.corpora for fault in corpus.faults()]
