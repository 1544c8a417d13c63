"""Corpora that are read from files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from regionkit.core.contracts import Corpus
from regionkit.core.data.places import data_file
from regionkit.core.texts import draw_rows, draw_texts
from regionkit.plugins.datasets.configs import CocoCaptionsConfig, TextLinesConfig
from regionkit.plugins.datasets.sentences import read_coco_pairs, read_lines, stream_lines


class CocoCaptions(Corpus):
    """Captions of a COCO caption file or of Karpathy's ``dataset_coco.json``.

    They are known by what the file says, so a bank that was fitted to another version of it is not taken for theirs.
    """

    def __init__(self, config: CocoCaptionsConfig) -> None:
        """Remember where they are; nothing is read."""
        self.config = config

    def texts(self) -> Sequence[str]:
        """Return the captions in the order of the file.

        Raises:
            DataError: The file is missing or damaged, has no such split, or too few captions.
        """
        return self._texts

    def pictures(self) -> Sequence[int] | None:
        """Return the number of each caption's picture; None where the file does not say it. Raises as :meth:`texts`."""
        return self._read[1]

    @property
    def _texts(self) -> Sequence[str]:
        return self._read[0]

    @cached_property
    def _read(self) -> tuple[Sequence[str], Sequence[int] | None]:
        config = self.config
        path = data_file(config.file)
        pairs = read_coco_pairs(path, config.split)
        rows = draw_rows(len(pairs), config.limit or None, config.seed, str(path), "limit")
        texts, named = [pairs[row][0] for row in rows], [pairs[row][1] for row in rows]
        if any(name is None for name in named):
            return texts, None
        numbers: dict[object, int] = {}
        return texts, [numbers.setdefault(name, len(numbers)) for name in named]


class TextLines(Corpus):
    """The lines of a text file."""

    def __init__(self, config: TextLinesConfig) -> None:
        """Remember where they are; nothing is read."""
        self.config = config

    def texts(self) -> Sequence[str]:
        """Return the sentences in the order of the file.

        Raises:
            DataError: The file is missing or damaged, or has too few sentences.
        """
        return self._texts

    def stream(self) -> Iterator[str]:
        """Yield the sentences; without ``limit`` none is held. Raises as :meth:`texts`."""
        if self.config.limit or "_texts" in self.__dict__:
            return iter(self._texts)
        return stream_lines(data_file(self.config.file))

    @cached_property
    def _texts(self) -> Sequence[str]:
        config = self.config
        path = data_file(config.file)
        return draw_texts(read_lines(path), config.limit or None, config.seed, str(path), "limit")
