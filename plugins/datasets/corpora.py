"""Corpora that are read from files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from regionkit.core.contracts import Corpus
from regionkit.core.data.places import data_file
from regionkit.core.texts import draw_texts
from regionkit.plugins.datasets.configs import CocoCaptionsConfig, TextLinesConfig
from regionkit.plugins.datasets.sentences import read_coco, read_lines


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

    @cached_property
    def _texts(self) -> Sequence[str]:
        config = self.config
        path = data_file(config.file)
        return draw_texts(read_coco(path, config.split), config.limit or None, config.seed, str(path), "limit")


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

    @cached_property
    def _texts(self) -> Sequence[str]:
        config = self.config
        path = data_file(config.file)
        return draw_texts(read_lines(path), config.limit or None, config.seed, str(path), "limit")
