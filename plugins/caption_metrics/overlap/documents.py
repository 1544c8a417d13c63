"""How many documents hold each n-gram, counted in the references of a run or read from a file; no torch.

A document is an image with all its references. CIDEr weighs an n-gram by how few documents hold it, so a value depends
on the documents: those of this run, or those of a fixed collection, whose counts :func:`save_document_frequencies`
writes down. The file is safetensors, never a pickle: n-grams that fewer than two documents hold are left out, since
they count like unknown ones, and an n-gram is its first n-1 words, which are always in the file too, and one word more.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from regionkit.core.errors import DataError
from regionkit.core.files import replacing, sha256_of
from regionkit.plugins.caption_metrics.overlap.ngrams import Ints
from regionkit.plugins.caption_metrics.overlap.texts import TextIndex, number_words
from regionkit.plugins.caption_metrics.overlap.tokenisers import TOKENISERS

#: Orders of n-grams that are counted.
ORDERS = 4
#: Hexadecimal digits of a hash in a signature.
_DIGITS = 8
#: Key of our JSON in the metadata of a file, and the version of its layout.
_KEY, _FORMAT = "regionkit", "document-frequencies-1"
_HINT = "make one of the references that the frequencies are to come from: toolkit idf REFERENCES --out FILE"


@dataclass(frozen=True, eq=False, slots=True)
class DocumentFrequencies:
    """In how many documents each n-gram of an index occurs.

    Attributes:
        documents: Number of documents.
        source: What a signature calls them: ``references:1a2b3c4d`` or ``file:1a2b3c4d``.
        counts: Of each order, (g,) how many documents hold each of its g n-grams.
    """

    documents: int
    source: str
    counts: tuple[Ints, ...]


def count_documents(index: TextIndex) -> tuple[Ints, ...]:
    """Count, of each order, in the references of how many samples each n-gram occurs."""
    return tuple(_count_order(index, order) for order in range(1, ORDERS + 1))


def _count_order(index: TextIndex, order: int) -> Ints:
    size, held = index.ngrams(order)[1], [np.zeros(0, dtype=np.int32)]
    for chunk in index.chunks():
        table = chunk.table(order)
        last = np.flatnonzero(np.diff(table.group, append=len(table.ngram)))
        # A caption comes first in its group: a group that ends with one has no reference.
        held.append(table.ngram[~table.of_caption[last]])
    return np.bincount(np.concatenate(held), minlength=size).astype(np.int32)


def of_references(index: TextIndex) -> DocumentFrequencies:
    """Take the samples of an index for documents."""
    return DocumentFrequencies(index.samples, f"references:{hash_references(index)}", count_documents(index))


def hash_references(index: TextIndex) -> str:
    """Return the first digits of a SHA-256 of the tokenised references.

    It depends neither on the order of samples, nor on that of the references of a sample, nor on captions.
    """
    known = np.zeros(len(index.vocabulary), dtype=np.bool_)
    of_reference = np.ones(len(index.lengths), dtype=np.bool_)
    of_reference[index.captions] = False
    known[index.words[np.repeat(of_reference, index.lengths)]] = True
    rank = (np.cumsum(known) - 1).astype("<i4")
    words = "\n".join(index.vocabulary[at] for at in np.flatnonzero(known))
    digest = hashlib.sha256(words.encode("utf-8", "surrogatepass"))
    for document in sorted(_documents(index, rank[index.words].tobytes())):
        digest.update(document)
    return digest.hexdigest()[:_DIGITS]


def _documents(index: TextIndex, words: bytes) -> Iterator[bytes]:
    """Yield the references of each sample in an order of their own, behind their number and lengths."""
    start = (4 * index.text_start).tolist()
    for first, last in pairwise(index.sample_start.tolist()):
        texts = sorted([words[start[text] : start[text + 1]] for text in range(first + 1, last)])
        lengths = [len(text) // 4 for text in texts]
        yield b"".join([struct.pack(f"<{1 + len(texts)}i", len(texts), *lengths), *texts])


def save_document_frequencies(
    path: str | Path, references: Sequence[Sequence[str]], tokeniser: str = "ptb"
) -> DocumentFrequencies:
    """Count in how many documents each n-gram occurs, and write it down for the option ``documents`` of ``cider-d``.

    The table ``coco-val-df.p`` of the CIDEr-D release is a pickle, and is not read; this makes one of COCO's file::

        toolkit idf captions_val2014.json --out coco-val.safetensors

    Args:
        path: The file to make, ``.safetensors``. Equal references give an equal file, in whatever order they come.
        references: Of each image, its reference captions: such as all of COCO val.
        tokeniser: Name of the tokeniser; the file can be used with this one alone.

    Returns:
        What was counted, under the name that signatures will call the file.

    Raises:
        DataError: There are no references, or no such tokeniser.
    """
    from safetensors.numpy import save_file

    if not len(references):
        raise DataError("document frequencies need at least one image with references")
    if tokeniser not in TOKENISERS:
        raise DataError(f"no tokeniser named '{tokeniser}'", f"there are: {', '.join(TOKENISERS)}")
    # Every document opens with an empty caption, which holds no n-gram.
    texts = (text for document in references for text in ("", *document))
    sizes = [1 + len(document) for document in references]
    index = number_words(texts, sizes, TOKENISERS[tokeniser]).at_any_space
    counts = count_documents(index)
    tensors = _tensors(index, counts)
    header = {"format": _FORMAT, "tokeniser": tokeniser, "documents": index.samples}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={_KEY: json.dumps(header, sort_keys=True)})
    return DocumentFrequencies(index.samples, f"file:{sha256_of(Path(path))[:_DIGITS]}", counts)


def _tensors(index: TextIndex, counts: tuple[Ints, ...]) -> dict[str, Ints]:
    """Lay n-grams of two or more documents out: of order 1 its words, of order n > 1 ``(n-1)-gram, word``."""
    kept = np.flatnonzero(counts[0] > 1)
    words = "\n".join(index.vocabulary[at] for at in kept).encode("utf-8", "surrogatepass")
    spelled: Ints = np.frombuffer(words, dtype=np.uint8)
    tensors: dict[str, Ints] = {"words": spelled, "count-1": counts[0][kept]}
    word = shorter = _places_among(kept, len(counts[0]))
    for order in range(2, ORDERS + 1):
        kept = np.flatnonzero(counts[order - 1] > 1)
        parent, last = parents(index, order)
        tensors[f"shorter-{order}"] = shorter[parent[kept]]
        tensors[f"word-{order}"] = word[last[kept]]
        tensors[f"count-{order}"] = counts[order - 1][kept]
        shorter = _places_among(kept, len(counts[order - 1]))
    return tensors


def _places_among(kept: Ints, size: int) -> Ints:
    """Return (size,) the place of each number among those that are kept; of others, anything."""
    places = np.zeros(size, dtype=np.int32)
    places[kept] = np.arange(len(kept), dtype=np.int32)
    return places


def parents(index: TextIndex, order: int) -> tuple[Ints, Ints]:
    """Return of each of g n-grams of an order, 2 or more, the number of its first n-1 words and of its last word."""
    numbers, size = index.ngrams(order)
    at = np.flatnonzero(numbers >= 0)
    where = np.zeros(size, dtype=np.int64)
    where[numbers[at]] = at
    return index.ngrams(order - 1)[0][where], index.words[where + order - 1]


@dataclass(frozen=True, eq=False, slots=True)
class SavedFrequencies:
    """A file of document frequencies.

    Attributes:
        documents: Number of documents that were counted.
        tokeniser: Name of the tokeniser that made their words.
        digest: First digits of the SHA-256 of the file.
        words: Number of each word.
        tensors: The file's tensors, checked.
    """

    documents: int
    tokeniser: str
    digest: str
    words: dict[str, int]
    tensors: dict[str, Ints]

    @classmethod
    def read(cls, path: str | Path) -> SavedFrequencies:
        """Read a file that :func:`save_document_frequencies` wrote.

        Raises:
            DataError: It is not there, it is something else, or it is damaged.
        """
        try:
            header, tensors = _read(Path(path))
            words = (
                bytes(tensors["words"]).decode("utf-8", "surrogatepass").split("\n") if len(tensors["words"]) else []
            )
            documents, tokeniser = int(header["documents"]), str(header["tokeniser"])
            _check(tensors, len(words), documents)
            digest = sha256_of(Path(path))[:_DIGITS]
        except FileNotFoundError:
            raise DataError(f"{path}: there is no such file of document frequencies", _HINT) from None
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: this is no file of document frequencies: {error}", _HINT) from None
        return cls(documents, tokeniser, digest, {word: at for at, word in enumerate(words)}, tensors)

    def of_index(self, index: TextIndex) -> DocumentFrequencies:
        """Look up the n-grams of an index; what the file does not hold counts as if one document did."""
        word = np.array([self.words.get(text, -1) for text in index.vocabulary], dtype=np.int64)
        place, counts = word, [_pick(self.tensors["count-1"], word)]
        for order in range(2, ORDERS + 1):
            parent, last = parents(index, order)
            keys = self.tensors[f"shorter-{order}"].astype(np.int64) * len(self.words) + self.tensors[f"word-{order}"]
            wanted = np.where((place[parent] < 0) | (word[last] < 0), -1, place[parent] * len(self.words) + word[last])
            place = np.searchsorted(keys, wanted)
            found = place < len(keys)
            found[found] = keys[place[found]] == wanted[found]
            place = np.where(found, place, -1)
            counts.append(_pick(self.tensors[f"count-{order}"], place))
        return DocumentFrequencies(self.documents, f"file:{self.digest}", tuple(counts))


def _pick(counts: Ints, place: Ints) -> Ints:
    picked = np.ones(len(place), dtype=np.int32)
    picked[place >= 0] = counts[place[place >= 0]]
    return picked


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Ints]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise ValueError(f"its header does not say {_FORMAT}")
    return header, tensors


def _check(tensors: dict[str, Ints], words: int, documents: int) -> None:
    """Check that places lie within what they point to, that n-grams are in order, and counts among the documents.

    Raises:
        ValueError: They do not, or are not.
    """
    size = words
    for order in range(1, ORDERS + 1):
        count = tensors[f"count-{order}"]
        if order > 1:
            shorter, word = tensors[f"shorter-{order}"].astype(np.int64), tensors[f"word-{order}"]
            inside = len(shorter) == len(word) == len(count) and _within(shorter, size) and _within(word, words)
            if not inside or (np.diff(shorter * words + word) <= 0).any():
                raise ValueError(f"its n-grams of order {order} are damaged")
        elif len(count) != words:
            raise ValueError(f"{len(count)} counts for {words} words")
        if (count < 1).any() or (count > documents).any():
            raise ValueError(f"a count of order {order} is not between 1 and {documents} documents")
        size = len(count)


def _within(places: Ints, size: int) -> bool:
    return len(places) == 0 or (int(places.min()) >= 0 and int(places.max()) < size)
