"""Memory projection: an image vector as a weighted sum of text embeddings.

Li et al., DeCap, ICLR 2023, section 3.2; used by Patch-ioner, arXiv 2510.02898, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from regionkit.core.contracts import BuildContext, GapBridge, iter_batches
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.explaining import Neighbour
from regionkit.core.features import RegionTokens
from regionkit.core.spec import Space
from regionkit.core.texts import bank_texts
from regionkit.plugins.patchioner.configs import MemoryConfig

#: Bank rows looked at together: similarities of a block fit into a processor's cache with those of many regions.
_BLOCK = 4096
#: A bank of at most so many values is projected in double precision.
_SMALL = 1 << 20
#: Region vectors projected together, so that memory stays at 16 MB however many regions there are.
_QUERIES = 1024


class Memory(nn.Module, GapBridge):
    """Project region tokens onto the bank of n text embeddings that a decoder's training texts make.

    p = sum_j alpha_j m_j with alpha = softmax(cos(v, m_j) / temperature), over the whole bank. The
    softmax runs over blocks of the bank and keeps a running maximum, so that nothing of size (r, n) is ever made.

    Args:
        config: Options.
        space: The text space that the projected vectors live in, ``name[dim]``; that of the tokens where it is empty.
    """

    unit: Tensor
    norms: Tensor

    def __init__(self, config: MemoryConfig | None = None, space: str = "") -> None:
        super().__init__()
        self.config = config or MemoryConfig()
        self.space = space
        self.texts: tuple[str, ...] = ()
        self._owner: Tensor | None = None  # (n,) number of each row's text, made when it is asked for
        self.register_buffer("unit", torch.zeros(0, 0), persistent=False)
        self.register_buffer("norms", torch.zeros(0), persistent=False)

    @classmethod
    def build(cls, config: MemoryConfig, context: BuildContext) -> Self:
        """Make the bridge, with the bank in ``context.weights`` where there is one, else empty and to be fitted."""
        bridge = cls(config, context.writes)
        if context.weights is not None:
            tensors = context.weights.tensors()
            if "embeddings" not in tensors:
                raise WeightsError(
                    f"{context.weights.path}: this is no memory bank, it holds: {', '.join(sorted(tensors))}",
                    "a bank holds the tensors embeddings (n, d) and texts; make one with `toolkit bank build`",
                )
            width = tensors["embeddings"].shape[-1]
            if context.writes and Space.parse(context.writes).dim != width:
                raise WeightsError(
                    f"{context.weights.path}: this bank holds vectors of width {width}, and {context.writes} is needed "
                    "here",
                    "name a bank that was made with this backbone, or make one: toolkit bank build",
                )
            try:
                bridge.fit(tensors["embeddings"], bank_texts(tensors))
            except FeatureError as error:
                raise WeightsError(f"{context.weights.path}: {error.message}", *error.hints) from None
            except UnicodeDecodeError:
                raise WeightsError(
                    f"{context.weights.path}: the texts of this bank are damaged", "make it again: toolkit bank build"
                ) from None
        return bridge

    def fit(self, embeddings: Tensor, texts: Sequence[str]) -> None:
        """Take the bank from n texts and their embeddings (n, d); rows of zeros (never filled) are dropped.

        Raises:
            FeatureError: An embedding is NaN or infinite, none is left, or there is not one text an embedding.
        """
        if texts and len(texts) != len(embeddings):
            raise FeatureError(f"a memory bank has {len(embeddings)} embeddings and {len(texts)} texts")
        rows = embeddings.detach().to(self.unit.device, torch.float32)
        if not bool(torch.isfinite(rows).all()):
            bad = int((~torch.isfinite(rows)).any(1).nonzero()[0])
            raise FeatureError(
                f"embedding {bad} of a memory bank is NaN or infinite", "build the bank again in float32"
            )
        norms = rows.norm(dim=-1)
        kept = norms > 0
        if not bool(kept.any()):
            raise FeatureError("a memory bank holds no embedding that is not zero", "give it at least one text")
        self.norms = norms[kept]
        self.unit = rows[kept] / self.norms.unsqueeze(1)
        self.texts = tuple(text for text, keep in zip(texts, kept.tolist(), strict=True) if keep) if texts else ()
        self._owner = None

    @torch.no_grad()
    def bridge(self, tokens: RegionTokens) -> RegionTokens:
        """Project tokens (r, t, d); padding becomes zero. The caller's tensors stay as they are.

        Raises:
            WeightsError: There is no bank yet.
            FeatureError: A token is NaN, infinite or zero, or of another width than the bank.
        """
        values = self._queries(tokens)
        projected = torch.zeros_like(tokens.tokens, dtype=torch.float32)
        if len(values):
            parts = [self._project(values[part]) for part in iter_batches(len(values), _QUERIES)]
            projected[tokens.mask] = torch.cat(parts).to(projected.device)
        return replace(tokens, tokens=projected.to(tokens.tokens.dtype), space=self.space or tokens.space)

    @torch.no_grad()
    def nearest(self, tokens: RegionTokens, count: int = 1) -> tuple[Tensor, Tensor]:
        """Return cosine similarities and bank rows, both (r, count) and best first, for regions of one token.

        ``texts[row]`` is the caption that retrieval alone would give.
        """
        tokens.vectors()
        return self._search(self._queries(tokens), count)

    @torch.no_grad()
    def neighbours(self, tokens: RegionTokens, count: int) -> list[list[Neighbour]]:
        """Return the texts with the largest alpha_j for each region, equal texts as one; see the contract.

        Raises:
            WeightsError, FeatureError: As for :meth:`bridge`; or a region has several tokens.
        """
        tokens.vectors()
        return [self._heaviest(self._shares(query), count) for query in self._queries(tokens)]

    @torch.no_grad()
    def without(self, tokens: RegionTokens, left_out: Sequence[Neighbour]) -> RegionTokens:
        """Bridge regions of one token, each as if the rows of one text were not in the bank.

        Raises:
            WeightsError, FeatureError: As for :meth:`bridge`; or a region has several tokens, or no row is left.
        """
        tokens.vectors()
        queries = self._queries(tokens)
        projected = torch.zeros_like(tokens.tokens, dtype=torch.float32)
        for at, (query, one) in enumerate(zip(queries, left_out, strict=True)):
            if len(one.rows) >= len(self.unit):
                raise FeatureError(f"without '{one.label}' nothing is left in the bank of bridge 'memory'")
            rows = torch.tensor(one.rows, device=self.unit.device)
            projected[at, 0] = self._project(query.unsqueeze(0), rows)[0].to(projected.device)
        return replace(tokens, tokens=projected.to(tokens.tokens.dtype), space=self.space or tokens.space)

    def _shares(self, query: Tensor) -> Tensor:
        """Return the weights alpha (n,) of all rows for a unit vector (d,)."""
        if self.config.mode == "argmax":
            row = self._search(query.unsqueeze(0), 1)[1][0]
            return query.new_zeros(len(self.unit)).index_fill(0, row, 1.0)
        query = query.to(self._precision())
        blocks = [self.unit[block].to(query) @ query for block in iter_batches(len(self.unit), _BLOCK)]
        return (torch.cat(blocks) / self.config.temperature).softmax(0)

    def _heaviest(self, shares: Tensor, count: int) -> list[Neighbour]:
        """Return the texts with the largest sums of shares (n,) over the rows that hold them."""
        if self._owner is None:
            numbers = {text: number for number, text in enumerate(dict.fromkeys(self.texts))}
            each = [numbers[text] for text in self.texts] or list(range(len(self.unit)))
            self._owner = torch.tensor(each, device=shares.device)
        # Of equal texts one may have few rows among the heaviest: every text's rows are summed, none is guessed.
        owner = self._owner.to(shares.device)
        sums = shares.new_zeros(int(owner.max()) + 1).index_add_(0, owner, shares)
        best = sums.topk(min(count, len(sums)))
        found = []
        for weight, group in zip(best.values.clamp(max=1.0).tolist(), best.indices.tolist(), strict=True):
            rows = tuple((owner == group).nonzero().flatten().tolist())
            if weight > 0:
                found.append(Neighbour(self.texts[rows[0]] if self.texts else "", weight, rows))
        return found

    def _queries(self, tokens: RegionTokens) -> Tensor:
        """Return the unit vectors (m, d) of all tokens that are not padding."""
        if not len(self.unit):
            raise WeightsError(
                "bridge 'memory' has no bank",
                "build one: toolkit bank build; or fit it: bridge.fit(backbone.encode_text(texts), texts)",
            )
        width, own = tokens.tokens.shape[-1], self.unit.shape[1]
        if width != own:
            raise FeatureError(
                f"bridge 'memory' got vectors of width {width} in {tokens.space}, its bank has width {own}",
                "build a bank with the text tower of this backbone: toolkit bank build",
            )
        values = tokens.tokens[tokens.mask].to(self.unit.device, torch.float32)
        norms = values.norm(dim=-1, keepdim=True)
        if not bool((torch.isfinite(norms) & (norms > 0)).all()):
            first = int((~(torch.isfinite(norms) & (norms > 0))).flatten().nonzero()[0])
            region = int(tokens.mask.nonzero()[first, 0])
            raise FeatureError(
                f"bridge 'memory' got a vector for region {region} that is NaN, infinite or zero",
                "check the features it reads; half precision can overflow: try float32",
            )
        unit: Tensor = values / norms
        return unit

    def _search(self, queries: Tensor, count: int, left_out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return similarities and rows (m, count) of unit vectors (m, d)."""
        count = min(count, len(self.unit))
        best = queries.new_zeros(len(queries), 0)
        rows = torch.zeros(len(queries), 0, dtype=torch.long, device=queries.device)
        for block in iter_batches(len(self.unit), _BLOCK):
            similarity = _but(queries @ self.unit[block].to(queries).T, block, left_out)
            candidates = torch.cat([best, similarity], dim=1)
            numbers = torch.arange(block.start, block.stop, device=queries.device).expand(len(queries), -1)
            best, order = candidates.topk(min(count, candidates.shape[1]), dim=1)
            rows = torch.cat([rows, numbers], dim=1).gather(1, order)
        return best, rows

    def _rows(self, rows: slice | Tensor) -> Tensor:
        """Return unit rows of the bank in float32, in which everything is summed even if the bank was moved to less."""
        return self.unit[rows].float()

    def _project(self, queries: Tensor, left_out: Tensor | None = None) -> Tensor:
        """Project unit vectors (m, d), perhaps without some rows of the bank."""
        if self.config.mode == "argmax":
            rows = self._search(queries, 1, left_out)[1].squeeze(1)
            lengths = self.norms[rows, None].float()
            unit = self.config.normalise_bank or self.config.normalise_output
            return self._rows(rows) * (torch.ones_like(lengths) if unit else lengths)
        queries = queries.to(self._precision())
        total = torch.zeros_like(queries)
        mass = queries.new_zeros(len(queries), 1)
        peak = queries.new_full((len(queries), 1), -torch.inf)
        for block in iter_batches(len(self.unit), _BLOCK):
            bank = self.unit[block].to(queries)  # also where the bridge was moved to half precision
            similarity = _but(queries @ bank.T, block, left_out)
            if left_out is not None and bool(similarity.isneginf().all()):
                continue  # a whole block is left out
            higher = torch.maximum(peak, similarity.amax(1, keepdim=True))
            shrink = ((peak - higher) / self.config.temperature).exp()
            shares = (similarity - higher).div_(self.config.temperature).exp_()
            mass = mass * shrink + shares.sum(1, keepdim=True)
            if not self.config.normalise_bank:
                shares *= self.norms[block]
            total = torch.addmm(total * shrink, shares, bank)
            peak = higher
        projected = normalize(total, dim=-1) if self.config.normalise_output else total / mass
        return projected.float()

    def _precision(self) -> torch.dtype:
        """Return float64 for a small bank, where it costs nothing: a low temperature magnifies what float32 rounds."""
        small = self.unit.numel() <= _SMALL and self.unit.device.type != "mps"
        return torch.float64 if small else torch.float32


def _but(similarity: Tensor, block: slice, left_out: Tensor | None) -> Tensor:
    """Return similarities (m, rows of a block) in which rows of the bank that are left out are never alike."""
    if left_out is None:
        return similarity
    inside = left_out[(left_out >= block.start) & (left_out < block.stop)] - block.start
    return similarity.index_fill(1, inside, -torch.inf)
