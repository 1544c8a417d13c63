"""A memory of texts beside a decoder's weights: the nearest sentences of a bank, and their embeddings as they are.

MeaCap (arXiv 2403.03715) and IFCap (arXiv 2409.18046) read retrieved captions while they write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from regionkit.core.contracts import iter_batches
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.spec import Space
from regionkit.core.texts import bank_texts
from regionkit.core.weights import WeightFile

#: Rows of the bank that are compared with all queries at once.
_BLOCK = 16384
#: Queries that are searched for together.
_QUERIES = 1024
#: Cosines of rows that are left out lie this much lower: they come last, and only where nothing else is left.
_LAST = 4.0
_AGAIN = "make it again: toolkit bank build"


class TextMemory(nn.Module):
    """A bank of n texts and their embeddings (n, d), which are no weights: they are never saved with a decoder.

    Args:
        space: The space that queries live in, ``name[dim]``.
        who: What messages call the decoder.
        distinct: Keep each sentence once.
    """

    embeddings: Tensor
    norms: Tensor

    def __init__(self, space: str, who: str, *, distinct: bool = False) -> None:
        super().__init__()
        self.space, self.who, self.distinct = space, who, distinct
        self.texts: tuple[str, ...] = ()
        self._rows: dict[str, list[int]] = {}
        self.register_buffer("embeddings", torch.zeros(0, Space.parse(space).dim), persistent=False)
        self.register_buffer("norms", torch.zeros(0), persistent=False)

    def __len__(self) -> int:
        return len(self.texts)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move with the decoder, and stay float32: in bfloat16 other captions would be the nearest."""
        whole = (self.embeddings, self.norms)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.embeddings, self.norms = (tensor.to(self.norms.device) for tensor in whole)
        return self

    def load(self, file: WeightFile) -> None:
        """Take the bank of a weight file.

        Raises:
            WeightsError: The file holds no bank, one without sentences, a damaged one, or one of another width.
        """
        tensors = file.tensors()
        if "embeddings" not in tensors:
            raise WeightsError(
                f"{file.path}: this is no memory bank, it holds: {', '.join(sorted(tensors)) or 'nothing'}",
                "a bank holds the tensors embeddings (n, d) and texts; make one with `toolkit bank build`",
            )
        try:
            texts = bank_texts(tensors)
        except UnicodeDecodeError:
            raise WeightsError(f"{file.path}: the texts of this bank are damaged", _AGAIN) from None
        if not texts:
            raise WeightsError(
                f"{file.path}: this bank holds vectors without sentences, and {self.who} reads its sentences",
                "make one with them: toolkit bank build",
            )
        try:
            self.fit(tensors["embeddings"], texts)
        except FeatureError as error:
            raise WeightsError(f"{file.path}: {error.message}", *error.hints) from None

    @torch.no_grad()
    def fit(self, embeddings: Tensor, texts: Sequence[str]) -> None:
        """Take the bank from n texts and their embeddings (n, d); rows of zeros (never filled) are dropped.

        Raises:
            FeatureError: An embedding is NaN, infinite or of another width, none is left, or there is not one text an
                embedding.
        """
        dim = Space.parse(self.space).dim
        if embeddings.ndim != 2 or embeddings.shape[1] != dim or len(embeddings) != len(texts):
            raise FeatureError(
                f"the memory of {self.who} takes {len(texts)} embeddings of width {dim} for as many texts, and got "
                f"{tuple(embeddings.shape)}",
                "embed the texts with the text tower of this backbone: toolkit bank build",
            )
        values = embeddings.detach().to(self.embeddings.device, torch.float32)
        norms = values.norm(dim=-1)
        if not bool(torch.isfinite(norms).all()):
            bad = int((~torch.isfinite(norms)).nonzero()[0])
            raise FeatureError(
                f"embedding {bad} of a memory bank is NaN or infinite", "build the bank again in float32"
            )
        kept, seen = [], set()
        for row, (text, norm) in enumerate(zip(texts, norms.tolist(), strict=True)):
            if norm > 0 and not (self.distinct and text in seen):
                kept.append(row)
                seen.add(text)
        if not kept:
            raise FeatureError("a memory bank holds no embedding that is not zero", "give it at least one text")
        whole = len(kept) == len(texts)
        self.embeddings, self.norms = (values, norms) if whole else (values[kept], norms[kept])
        self.texts = tuple(texts[row] for row in kept)
        self._rows = {}
        for row, text in enumerate(self.texts):
            self._rows.setdefault(text, []).append(row)

    def rows_of(self, text: str) -> list[int]:
        """Return the rows that hold a sentence; none where the bank does not have it."""
        return self._rows.get(text, [])

    @torch.no_grad()
    def nearest(
        self, vectors: Tensor, count: int, without: Sequence[Sequence[int]] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return cosines and rows, both (r, k), of the nearest texts, the nearest first, equal ones by row.

        Args:
            vectors: Queries (r, d) of any length but zero.
            count: How many; k is the number of the bank's rows where those are fewer.
            without: Rows that are not meant, one list a query. They come last: only a bank of hardly more gives them.

        Raises:
            WeightsError: There is no bank yet.
        """
        self.check_filled()
        queries = normalize(vectors.to(self.embeddings), dim=-1)
        count = min(count, len(self))
        found = []
        for part in iter_batches(len(queries), _QUERIES):
            found.append(self._search(queries[part], count, None if without is None else without[part]))
        if not found:
            return queries.new_zeros(0, count), torch.zeros(0, count, dtype=torch.long, device=queries.device)
        return torch.cat([best for best, _ in found]), torch.cat([rows for _, rows in found])

    def check_filled(self) -> None:
        """Check that there is a bank.

        Raises:
            WeightsError: There is none.
        """
        if not len(self):
            raise WeightsError(
                f"{self.who} retrieves captions, and has no bank of them",
                "build one: toolkit bank build; or fit it: decoder.fit(backbone.encode_text(texts), texts)",
            )

    def _search(self, queries: Tensor, count: int, without: Sequence[Sequence[int]] | None) -> tuple[Tensor, Tensor]:
        """Keep the best of block after block, so that nothing of size (r, n) is made."""
        best = queries.new_zeros(len(queries), 0)
        rows = torch.zeros(len(queries), 0, dtype=torch.long, device=queries.device)
        left_out = [(query, row) for query, some in enumerate(without or ()) for row in some]
        for part in iter_batches(len(self), _BLOCK):
            cosines = queries @ self.embeddings[part].T / self.norms[part]
            for query, row in left_out:
                if part.start <= row < part.stop:
                    cosines[query, row - part.start] -= _LAST
            values, numbers = _first(cosines, min(count, cosines.shape[1]))
            best, rows = torch.cat([best, values], dim=1), torch.cat([rows, numbers + part.start], dim=1)
            order = rows.argsort(dim=1)  # so that equal cosines stay in the order of their rows
            best, rows = best.gather(1, order), rows.gather(1, order)
            best, order = best.sort(dim=1, descending=True, stable=True)
            rows = rows.gather(1, order)
            best, rows = best[:, :count], rows[:, :count]
        return best, rows


def _first(cosines: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest ``count`` of each row (r, n) and their columns; of equal ones the first, as topk does not."""
    values, columns = cosines.topk(count, dim=1)
    tied = (cosines >= values[:, -1:]).sum(dim=1) > count
    if bool(tied.any()):
        whole, order = cosines[tied].sort(dim=1, descending=True, stable=True)
        values[tied], columns[tied] = whole[:, :count], order[:, :count]
    return values, columns
