"""Where text-only training takes sentences and embeddings from: memory, a bank on disk, or a corpus as it goes."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from regionkit.core.bank_files import BankFile
from regionkit.core.contracts import Backbone, BuildContext, Corpus
from regionkit.core.data.lines import spooled
from regionkit.core.data.places import DATA_VARIABLE
from regionkit.core.errors import DataError, RegionkitError, WeightsError
from regionkit.core.texts import embed_texts
from regionkit.plugins.patchioner.decap_config import FILE, TextOnlyConfig

#: Captions up to which ``embeddings: auto`` holds all in memory: 3 GB of CLIP's text embeddings of 768 numbers.
HELD = 1_000_000
_SPOOL = "sentences.txt"


class Passing:
    """A folder that is removed with this object."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="regionkit-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


class Embeddings(Protocol):
    """Embeddings of sentences by their numbers."""

    def of(self, rows: Tensor, texts: Sequence[str]) -> Tensor:
        """Return embeddings (k, d), float32 on the CPU, of rows (k,), whose k sentences are given as well."""


@dataclass(frozen=True, eq=False, slots=True)
class Held:
    """Embeddings (n, d) in memory."""

    values: Tensor

    def of(self, rows: Tensor, texts: Sequence[str]) -> Tensor:
        """Return rows of them."""
        return self.values[rows]


@dataclass(frozen=True, eq=False, slots=True)
class Banked:
    """Embeddings of a bank on disk."""

    bank: BankFile

    def of(self, rows: Tensor, texts: Sequence[str]) -> Tensor:
        """Read rows of it."""
        return self.bank.rows(rows)


@dataclass(frozen=True, eq=False, slots=True)
class Encoded:
    """Embeddings that a backbone makes when they are asked for, each time anew."""

    backbone: Backbone

    def of(self, rows: Tensor, texts: Sequence[str]) -> Tensor:
        """Encode the sentences."""
        return embed_texts(self.backbone, texts)


@dataclass(frozen=True, eq=False, slots=True)
class Source:
    """Sentences and their embeddings.

    Attributes:
        texts: The n sentences by number.
        embeddings: Their embeddings.
        space: Space of the embeddings, ``name[dim]``.
        held: Whether all of it is in memory.
        fingerprint: Tells the data from others where the options do not; empty where they do.
        corpus: What the sentences are called where that is known better than from the recipe's corpus.
        keep: Must live as long as the sentences.
    """

    texts: Sequence[str]
    embeddings: Embeddings
    space: str
    held: bool = False
    fingerprint: str = ""
    corpus: str = ""
    keep: Passing | None = None

    @classmethod
    def of(cls, config: TextOnlyConfig, context: BuildContext) -> Source:
        """Open what the option ``embeddings`` says; raises as :func:`bank_source` and :func:`streamed_source`."""
        backbone, corpus = context.parts["backbone"], context.parts["corpus"]
        if config.embeddings.startswith(FILE):
            return bank_source(config.embeddings.removeprefix(FILE), backbone)
        if config.embeddings == "stream":
            return streamed_source(corpus, backbone, context.scratch)
        if config.embeddings == "memory":
            return held_source(corpus.texts(), backbone)
        if (
            context.scratch is not None and _spool_in(context.scratch).exists()
        ):  # an earlier start of this run found that there are too many
            return streamed_source(corpus, backbone, context.scratch)
        numbered = corpus.rows()
        if numbered is not None:
            few = len(numbered) <= HELD
            return held_source(corpus.texts(), backbone) if few else streamed_source(corpus, backbone, None)
        stream = corpus.stream()
        first = list(islice(stream, HELD + 1))
        if len(first) <= HELD:
            return held_source(first, backbone)
        return streamed_source(corpus, backbone, context.scratch, chain(_emptied(first), stream))


class Siblings:
    """Which captions are about the same picture.

    Args:
        pictures: (n,) number of each caption's picture.
    """

    def __init__(self, pictures: Tensor) -> None:
        _, self._group, self._size = torch.unique(pictures, return_inverse=True, return_counts=True)
        self._rows = self._group.argsort(stable=True)
        self._first = self._size.cumsum(0) - self._size

    @classmethod
    def of(cls, corpus: Corpus, held: bool, chosen: Tensor | None) -> Siblings:
        """Ask a corpus; ``chosen`` are the captions that are used, None for all.

        Raises:
            RegionkitError: It does not say, or is not held in memory.
        """
        pictures = corpus.pictures() if held else None
        if pictures is None:
            raise RegionkitError(
                "recipe 'text-only': mix: this corpus does not say which captions are about one picture"
                + ("" if held else ", since it is not held in memory"),
                "take corpus coco-captions with a file that names the picture of each caption, or write recipe.mix: "
                "false",
            )
        numbers = torch.tensor(pictures)
        return cls(numbers if chosen is None else numbers[chosen])

    def drawn(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return for captions (k,) one caption each of the same picture, any with the same chance, itself too."""
        group = self._group[rows]
        lots = torch.rand(len(rows), generator=generator, dtype=torch.float64) * self._size[group]
        found: Tensor = self._rows[self._first[group] + lots.long()]
        return found


def held_source(texts: Sequence[str], backbone: Backbone) -> Source:
    """Encode all sentences, and hold them and their embeddings."""
    return Source(list(texts), Held(embed_texts(backbone, texts)), backbone.text_space, held=True)


def bank_source(name: str, backbone: Backbone) -> Source:
    """Open a bank of texts of the backbone's space.

    Args:
        name: Its path, relative to the working folder, then to the folders of $REGIONKIT_WEIGHTS and $REGIONKIT_DATA.
        backbone: Whose space it has to be of.

    Raises:
        WeightsError: It is not there, damaged, no bank, or of another space.
    """
    path = _bank_path(name)
    bank = BankFile(path)
    if bank.header.space != backbone.text_space:
        said = bank.header.space or "a space that it does not say"
        raise WeightsError(
            f"{path}: the embeddings of this bank lie in {said}, and this backbone's sentences in "
            f"{backbone.text_space}",
            "choose the backbone that made them, or make a bank with this one: "
            "toolkit bank build --backbone NAME --corpus NAME --out FILE.safetensors",
            "or let it encode the corpus as it goes: recipe.embeddings: stream",
        )
    return Source(bank.texts, Banked(bank), bank.header.space, fingerprint=bank.fingerprint, corpus=bank.header.corpus)


def streamed_source(
    corpus: Corpus, backbone: Backbone, scratch: Path | None, texts: Iterator[str] | None = None
) -> Source:
    """Open a corpus of any size, whose sentences are encoded when they are asked for.

    A corpus that knows its sentences by number is asked for them. Of any other they are written to a file of lines
    first, since an order over all of them cannot be followed in one that is read from front to back; a run that goes
    on finds the file again, and with it the very sentences that it began with.

    Args:
        corpus: The corpus.
        backbone: Encodes the sentences.
        scratch: Folder of that file; None for one that is removed with the source.
        texts: The sentences where someone has begun to read them.

    Raises:
        RegionkitError: The disk refuses the sentences.
    """
    numbered = corpus.rows()
    if numbered is not None:
        return Source(numbered, Encoded(backbone), backbone.text_space)
    keep = None
    if scratch is None:
        keep = Passing()
        scratch = keep.folder
    lines = spooled(_spool_in(scratch), _read(corpus) if texts is None else texts)
    digest = hashlib.sha256(repr((len(lines), _spool_in(scratch).stat().st_size)).encode())
    for row in range(0, len(lines), max(1, len(lines) // 256)):
        digest.update(lines[row].encode())
    return Source(lines, Encoded(backbone), backbone.text_space, fingerprint=digest.hexdigest()[:16], keep=keep)


def _spool_in(scratch: Path) -> Path:
    return scratch / _SPOOL


def _read(corpus: Corpus) -> Iterator[str]:
    """Yield the sentences of a corpus, which is not touched before the first is asked for."""
    yield from corpus.stream()


def _emptied(texts: list[str]) -> Iterator[str]:
    """Yield sentences and let go of each."""
    texts.reverse()
    while texts:
        yield texts.pop()


def _bank_path(name: str) -> Path:
    path = Path(os.path.expanduser(name))
    roots = [*os.environ.get("REGIONKIT_WEIGHTS", "").split(os.pathsep), os.environ.get(DATA_VARIABLE, "")]
    places = [path, *(Path(root) / path for root in roots if root and not path.is_absolute())]
    for place in places:
        if place.is_file():
            return place
    looked = " and ".join(str(place.absolute()) for place in places)
    raise WeightsError(
        f"recipe.embeddings: {FILE}{name}: there is no such file",
        f"looked for: {looked}",
        "make it: toolkit bank build --backbone NAME --corpus NAME --out FILE.safetensors",
    )


def check_count(count: int, batch_size: int) -> None:
    """Refuse a corpus that does not fill a batch.

    Raises:
        DataError: It does not.
    """
    if count < batch_size:
        raise DataError(
            f"recipe 'text-only': {count} captions are fewer than a batch of {batch_size}",
            "lower recipe.batch_size, or take a larger corpus",
        )
