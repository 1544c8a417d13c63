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
from regionkit.core.weights import WeightFile
from regionkit.plugins.patchioner import projection
from regionkit.plugins.patchioner.configs import MemoryConfig
from regionkit.plugins.patchioner.projection import but, precision, project

#: Region vectors projected together, so that memory stays at 16 MB however many regions there are.
_QUERIES = 1024
#: Rows of a bank that are read, checked and normalised together: 12 MB at a width of 768.
_ROWS = 4096
#: What rounding adds to a share of the weights at most, at temperatures that mean anything.
_ROUNDED = 1e-3
#: Values of bank rows that are gathered together for the nearest rows of several regions: 64 MB.
_GATHERED = 1 << 24
_AGAIN = "make it again: toolkit bank build"


class Memory(nn.Module, GapBridge):
    """Project region tokens onto the bank of n text embeddings that a decoder's training texts make.

    p = sum_j alpha_j m_j with alpha = softmax(cos(v, m_j) / temperature), over the whole bank. The
    softmax runs over blocks of the bank and keeps a running maximum, so that nothing of size (r, n) is ever made.

    A bank of a file is read, checked and normalised in blocks, in the memory that it was read into: the peak is one
    bank and a few blocks, 1.6 GB for 500,000 x 768. A tensor that :meth:`fit` is given stays its caller's.

    Args:
        config: Options.
        space: The text space that the projected vectors live in, ``name[dim]``; that of the tokens where it is empty.
        who: What messages call the component that the bank belongs to.
    """

    unit: Tensor
    norms: Tensor

    def __init__(self, config: MemoryConfig | None = None, space: str = "", *, who: str = "bridge 'memory'") -> None:
        super().__init__()
        self.config = config or MemoryConfig()
        self.who = who
        self.space = space
        self.texts: tuple[str, ...] = ()
        self._owner: Tensor | None = None  # (n,) number of each row's text, made when it is asked for
        self.register_buffer("unit", torch.zeros(0, 0, dtype=self._stored), persistent=False)
        self.register_buffer("norms", torch.zeros(0), persistent=False)

    @classmethod
    def build(cls, config: MemoryConfig, context: BuildContext) -> Self:
        """Make the bridge, with the bank in ``context.weights`` where there is one, else empty and to be fitted.

        Raises:
            WeightsError: The file holds no bank, a damaged one, or one of another width than is needed.
        """
        bridge = cls(config, context.writes)
        if context.weights is not None:
            bridge.load(context.weights)
        return bridge

    def load(self, weights: WeightFile) -> None:
        """Take the bank of a weight file.

        Raises:
            WeightsError: As :meth:`build`.
        """
        tensors = weights.tensors()
        embeddings = tensors.pop("embeddings", None)
        if embeddings is None:
            raise WeightsError(
                f"{weights.path}: this is no memory bank, it holds: {', '.join(sorted(tensors)) or 'nothing'}",
                "a bank holds the tensors embeddings (n, d) and texts; make one with `toolkit bank build`",
            )
        if embeddings.ndim != 2 or not embeddings.is_floating_point():
            kind = str(embeddings.dtype).removeprefix("torch.")
            raise WeightsError(
                f"{weights.path}: its embeddings are {kind} {tuple(embeddings.shape)}, not a table of floats (n, d)",
                _AGAIN,
            )
        width = embeddings.shape[1]
        if self.space and Space.parse(self.space).dim != width:
            raise WeightsError(
                f"{weights.path}: this bank holds vectors of width {width}, and {self.space} is needed here",
                "name a bank that was made with this backbone, or make one: toolkit bank build",
            )
        try:
            self._take(embeddings, bank_texts(tensors), owned=True)
        except FeatureError as error:
            raise WeightsError(f"{weights.path}: {error.message}", *error.hints) from None
        except UnicodeDecodeError:
            raise WeightsError(f"{weights.path}: the texts of this bank are damaged", _AGAIN) from None

    def fit(self, embeddings: Tensor, texts: Sequence[str]) -> None:
        """Take the bank from n texts and their embeddings (n, d); rows of zeros (never filled) are dropped.

        Raises:
            FeatureError: An embedding is NaN or infinite, none is left, or there is not one text an embedding.
        """
        self._take(embeddings, texts, owned=False)

    @torch.no_grad()
    def _take(self, embeddings: Tensor, texts: Sequence[str], *, owned: bool) -> None:
        """Keep unit rows and norms; the memory of embeddings that are ``owned`` is used again."""
        if texts and len(texts) != len(embeddings):
            raise FeatureError(f"a memory bank has {len(embeddings)} embeddings and {len(texts)} texts")
        device = self.unit.device
        again = owned and embeddings.dtype == self._stored and embeddings.device == device
        unit = embeddings if again else torch.empty(embeddings.shape, dtype=self._stored, device=device)
        norms, filled = torch.empty(len(unit), device=device), torch.empty(len(unit), dtype=torch.bool)
        end = 0
        for rows in iter_batches(len(unit), _ROWS):
            block = embeddings[rows].detach().to(device, torch.float32)
            lengths = block.norm(dim=-1)
            finite = torch.isfinite(lengths)
            if not bool(finite.all()):
                bad = rows.start + int((~finite).nonzero()[0])
                raise FeatureError(
                    f"embedding {bad} of a memory bank is NaN or infinite", "build the bank again in float32"
                )
            kept = lengths > 0
            filled[rows] = kept.cpu()
            block, lengths = block[kept], lengths[kept]
            # Rows only move forward: what is written over has been read.
            unit[end : end + len(block)] = block.div_(lengths.unsqueeze(1))
            norms[end : end + len(block)] = lengths
            end += len(block)
        if not end:
            raise FeatureError("a memory bank holds no embedding that is not zero", "give it at least one text")
        self.unit, self.norms = unit[:end], norms[:end]
        self.texts = tuple(text for text, keep in zip(texts, filled.tolist(), strict=True) if keep) if texts else ()
        self._owner = None

    @property
    def _stored(self) -> torch.dtype:
        """The type that unit rows are kept in."""
        kept: torch.dtype = getattr(torch, self.config.precision)
        return kept

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
        queries = self._queries(tokens)
        if not len(queries):
            return self._search(queries, count)
        found = [self._search(queries[part], count) for part in iter_batches(len(queries), _QUERIES)]
        return torch.cat([best for best, _ in found]), torch.cat([rows for _, rows in found])

    @torch.no_grad()
    def log_shares(self, tokens: RegionTokens, rows: Sequence[Sequence[int]]) -> Tensor:
        """Return (r,) logarithms of what some rows of the bank hold together of each region's weights alpha.

        Args:
            tokens: r regions of one token.
            rows: Numbers of rows, one list a region.

        Raises:
            WeightsError, FeatureError: As for :meth:`bridge`; or a region has several tokens.
        """
        tokens.vectors()
        queries = self._queries(tokens).to(precision(self.unit))
        found = []
        for part in iter_batches(len(queries), _QUERIES):
            mass = self._scan(queries[part], 1)[2]
            chosen = [self.unit[one].to(queries) @ query for one, query in zip(rows[part], queries[part], strict=True)]
            own = torch.stack([(one / self.config.temperature).logsumexp(0) for one in chosen])
            found.append((own.to(mass) - mass).clamp(max=0))
        return torch.cat(found).float() if found else queries.new_zeros(0, dtype=torch.float32)

    @torch.no_grad()
    def log_shares_beside(self, tokens: RegionTokens, embeddings: Tensor) -> Tensor:
        """Return (r,) logarithms of the weights that r embeddings (r, d) would have as one row more of the bank each.

        Raises:
            WeightsError, FeatureError: As for :meth:`bridge`; or a region has several tokens.
        """
        tokens.vectors()
        queries = self._queries(tokens).to(precision(self.unit))
        rows = normalize(embeddings.to(queries), dim=-1)
        found = []
        for part in iter_batches(len(queries), _QUERIES):
            mass = self._scan(queries[part], 1)[2]
            own = ((queries[part] * rows[part]).sum(1) / self.config.temperature).to(mass)
            found.append(own - torch.logaddexp(mass, own))
        return torch.cat(found).float() if found else queries.new_zeros(0, dtype=torch.float32)

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
        query = query.to(precision(self.unit))
        blocks = [self.unit[block].to(query) @ query for block in iter_batches(len(self.unit), projection.BLOCK)]
        shares = (torch.cat(blocks) / self.config.temperature).softmax(0)
        if self.config.mode == "top-n":
            best = shares.topk(min(self.config.rows, len(shares)))
            if float(best.values.sum()) >= self.config.mass:
                return torch.zeros_like(shares).index_copy_(0, best.indices, best.values / best.values.sum())
        return shares

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
                f"{self.who} has no bank",
                "build one: toolkit bank build; or fit it: bridge.fit(backbone.encode_text(texts), texts)",
            )
        width, own = tokens.tokens.shape[-1], self.unit.shape[1]
        if width != own:
            raise FeatureError(
                f"{self.who} got vectors of width {width} in {tokens.space}, its bank has width {own}",
                "build a bank with the text tower of this backbone: toolkit bank build",
            )
        values = tokens.tokens[tokens.mask].to(self.unit.device, torch.float32)
        norms = values.norm(dim=-1, keepdim=True)
        if not bool((torch.isfinite(norms) & (norms > 0)).all()):
            first = int((~(torch.isfinite(norms) & (norms > 0))).flatten().nonzero()[0])
            region = int(tokens.mask.nonzero()[first, 0])
            raise FeatureError(
                f"{self.who} got a vector for region {region} that is NaN, infinite or zero",
                "check the features it reads; half precision can overflow: try float32",
            )
        unit: Tensor = values / norms
        return unit

    def _search(self, queries: Tensor, count: int, left_out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return similarities and rows (m, count) of unit vectors (m, d), best first."""
        return self._scan(queries, count, left_out)[:2]

    def _scan(self, queries: Tensor, count: int, left_out: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return similarities and rows (m, count), and the logarithm (m,) of what all weights are divided by."""
        count = min(count, len(self.unit) - (0 if left_out is None else len(left_out)))
        best = queries.new_zeros(len(queries), 0)
        rows = torch.zeros(len(queries), 0, dtype=torch.long, device=queries.device)
        exact = torch.float32 if queries.device.type == "mps" else torch.float64
        mass = queries.new_full((len(queries),), -torch.inf, dtype=exact)
        for block in iter_batches(len(self.unit), projection.BLOCK):
            similarity = but(queries @ self.unit[block].to(queries).T, block, left_out)
            mass = torch.logaddexp(mass, (similarity / self.config.temperature).logsumexp(1).to(mass))
            near, order = similarity.topk(min(count, similarity.shape[1]), dim=1)
            best, chosen = torch.cat([best, near], dim=1).topk(min(count, best.shape[1] + near.shape[1]), dim=1)
            rows = torch.cat([rows, order + block.start], dim=1).gather(1, chosen)
        return best, rows, mass

    def _project(self, queries: Tensor, left_out: Tensor | None = None) -> Tensor:
        """Project unit vectors (m, d), perhaps without some rows of the bank."""
        if self.config.mode == "argmax":
            rows = self._search(queries, 1, left_out)[1].squeeze(1)
            unit = self.config.normalise_bank or self.config.normalise_output
            return self.unit[rows].float() * (1.0 if unit else self.norms[rows, None].float())
        if self.config.mode == "top-n":
            return self._nearest_sums(queries, left_out)
        return self._whole(queries, left_out)

    def _whole(self, queries: Tensor, left_out: Tensor | None = None) -> Tensor:
        """Project unit vectors (m, d) onto the whole bank."""
        return project(
            queries,
            self.unit,
            self.norms,
            temperature=self.config.temperature,
            normalise_bank=self.config.normalise_bank,
            normalise_output=self.config.normalise_output,
            left_out=left_out,
        )

    def _nearest_sums(self, queries: Tensor, left_out: Tensor | None) -> Tensor:
        """Project unit vectors (m, d) onto their nearest rows where these hold enough, else onto the whole bank."""
        best, rows, mass = self._scan(queries.to(precision(self.unit)), self.config.rows, left_out)
        shares = (best.to(mass) / self.config.temperature - mass.unsqueeze(1)).exp()
        held = shares.sum(1, keepdim=True)
        shares = (shares / held).to(best)
        if not self.config.normalise_bank:
            shares = shares * self.norms[rows]
        projected = torch.empty_like(queries)
        for part in iter_batches(len(queries), max(1, _GATHERED // (rows.shape[1] * queries.shape[1]))):
            projected[part] = (shares[part].unsqueeze(1) @ self.unit[rows[part]].to(shares)).squeeze(1).float()
        if self.config.normalise_output:
            projected = normalize(projected, dim=-1)
        # At temperatures near 0 the rounding of a similarity decides, and the share may be anything, NaN included.
        certain = (held >= self.config.mass) & (held <= 1 + _ROUNDED)
        lacking = ~certain.squeeze(1)
        if bool(lacking.any()):
            projected[lacking] = self._whole(queries[lacking], left_out)
        return projected
