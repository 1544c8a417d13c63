"""Embeddings of corpora, computed once and kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from regionkit.core.cache import cache_folder
from regionkit.core.contracts import Backbone, Corpus
from regionkit.core.errors import DataError
from regionkit.core.files import replacing
from regionkit.core.texts import embed_texts
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import Part


def embed_corpus(backbone: Backbone, backbone_key: str, part: Part, corpus: Corpus) -> tuple[Tensor, Sequence[str]]:
    """Return (n, d) embeddings of a corpus, float32 on the CPU, and its n texts.

    Args:
        backbone: Encodes the sentences.
        backbone_key: Changes with the backbone's options, weights and code; with the texts it names the cache file.
        part: The corpus as it was planned.
        corpus: The corpus itself. Where it is ``generated``, its options and code stand for its texts, and a cached
            bank costs no generation.

    Raises:
        DataError: The corpus is empty.
        FeatureError: The backbone has no text tower, or produced NaN.
    """
    name = f"{part.name}-{_digest([backbone_key, *_identity(part, corpus)])}.safetensors"
    path = cache_folder() / "banks" / name
    cached = _cached(path)
    if cached is not None:
        return cached
    texts = corpus.texts()
    if not texts:
        raise DataError(f"corpus '{part.name}' is empty, so no bank can be made of it")
    embeddings = embed_texts(backbone, texts)
    _keep(path, embeddings, texts)
    return embeddings, texts


def _identity(part: Part, corpus: Corpus) -> Iterable[str]:
    """Return strings that change whenever a sentence would."""
    if corpus.generated:
        return [json.dumps(part.to_dict(), sort_keys=True), get_registry().code_version([part.spec])]
    return corpus.texts()


def _cached(path: Path) -> tuple[Tensor, tuple[str, ...]] | None:
    """Read a cache file; anything wrong with it means computing it again."""
    try:
        stored = load_file(path)
        embeddings, text = stored["embeddings"], stored["texts"]
        texts = tuple(json.loads(text.numpy().tobytes()))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None
    return (embeddings, texts) if embeddings.ndim == 2 and len(embeddings) == len(texts) else None


def _keep(path: Path, embeddings: Tensor, texts: Sequence[str]) -> None:
    text = torch.frombuffer(bytearray(json.dumps(list(texts)).encode()), dtype=torch.uint8)
    try:
        with replacing(path) as temporary:
            save_file({"embeddings": embeddings.contiguous(), "texts": text}, temporary)
    except (OSError, SafetensorError):  # safetensors wraps what the system says in a type of its own
        return  # a read-only or full disk costs the time of computing it again, nothing else


def _digest(words: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for word in words:
        digest.update(word.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:20]
