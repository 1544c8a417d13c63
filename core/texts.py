"""Sentences as vectors: embedding many of them, and the file form of a bank of texts.

Two plugins and the registry meet here: the memory bridge reads banks, ``toolkit bank build`` writes them, and text-only
training embeds its corpus as a bank does. Corpora of files and ``bank build`` draw their samples alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor

from regionkit.core.contracts import Backbone, iter_batches
from regionkit.core.errors import DataError, FeatureError
from regionkit.core.seams import embedded

#: Sentences encoded together, as the released code of DeCap and Patch-ioner does.
BATCH = 1000


def draw_texts(texts: Sequence[str], size: int | None, seed: int, source: str, option: str = "--size") -> list[str]:
    """Draw ``size`` sentences without replacement, in their order; all of them without a size.

    Args:
        texts: All sentences.
        size: How many.
        seed: Of the draw.
        source: What messages call the sentences.
        option: What messages call ``size``.

    Raises:
        DataError: There are fewer.
    """
    return [texts[index] for index in draw_rows(len(texts), size, seed, source, option)]


def draw_rows(count: int, size: int | None, seed: int, source: str, option: str = "--size") -> list[int]:
    """Return the rows of ``count`` that :func:`draw_texts` takes, ascending.

    Raises:
        DataError: There are fewer.
    """
    if size is None:
        return list(range(count))
    if size > count:
        raise DataError(
            f"{source} has {count} sentences, {option} asks for {size}", f"leave {option} out to take them all"
        )
    return sorted(random.Random(seed).sample(range(count), size))


@torch.no_grad()  # not inference_mode: what comes out may be trained on
def embed_texts(backbone: Backbone, texts: Sequence[str], seen: Callable[[int], object] | None = None) -> Tensor:
    """Encode n sentences as (n, d), float32 on the CPU; equal sentences are encoded once.

    Args:
        backbone: Has a text tower.
        texts: The sentences.
        seen: Told how many of the n sentences are done after every batch.

    Raises:
        FeatureError: The backbone has no text tower, or an embedding is NaN or infinite; the sentence is named.
    """
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    distinct = list(rows)
    parts = []
    for part in iter_batches(len(distinct), BATCH):
        parts.append(_encoded(backbone, distinct[part]))
        if seen is not None:
            seen(len(texts) * part.stop // len(distinct))
    if not parts:
        return torch.zeros(0, 0)
    vectors = torch.cat(parts)
    return vectors if len(distinct) == len(texts) else vectors[[rows[text] for text in texts]]


@torch.no_grad()
def embed_stream(backbone: Backbone, texts: Iterable[str]) -> Iterator[tuple[list[str], Tensor]]:
    """Yield sentences and their embeddings (n, d), float32 on the CPU, n up to :data:`BATCH`, as they come.

    Memory does not grow with their number. Equal sentences of one batch are encoded once.

    Raises:
        FeatureError: As :func:`embed_texts`.
    """
    waiting = iter(texts)
    while some := list(islice(waiting, BATCH)):
        rows = {text: row for row, text in enumerate(dict.fromkeys(some))}
        yield some, _encoded(backbone, list(rows))[[rows[text] for text in some]]


def _encoded(backbone: Backbone, texts: Sequence[str]) -> Tensor:
    vectors = embedded(backbone, texts).float().cpu()
    bad = (~torch.isfinite(vectors)).any(dim=1)
    if bool(bad.any()):
        raise FeatureError(
            f"the text tower of '{type(backbone).__name__}' produced NaN or infinite values for "
            f"'{texts[int(bad.nonzero()[0])]}'",
            "check its weights with `toolkit weights list`; half precision can overflow: try float32",
        )
    return vectors


def bank_tensors(embeddings: Tensor, texts: Sequence[str]) -> dict[str, Tensor]:
    """Return the tensors of a bank file: ``embeddings`` (n, d) and ``texts``, joined by newlines, as bytes (uint8).

    Raises:
        ValueError: There is no text, or not one an embedding, or a text holds a line break.
    """
    if len(embeddings) != len(texts):
        raise ValueError(f"{len(embeddings)} embeddings and {len(texts)} texts")
    if not texts:
        raise ValueError("a bank needs at least one text")
    broken = next((text for text in texts if "\n" in text), None)
    if broken is not None:
        raise ValueError(f"a text of a bank holds a line break: {broken!r}")
    return {
        "embeddings": embeddings,
        "texts": torch.frombuffer(bytearray("\n".join(texts).encode()), dtype=torch.uint8),
    }


def bank_texts(tensors: Mapping[str, Tensor]) -> list[str]:
    """Read the texts of a bank file; a bank may come without any."""
    if "texts" not in tensors:
        return []
    return bytes(tensors["texts"].to(torch.uint8).numpy()).decode().split("\n")
