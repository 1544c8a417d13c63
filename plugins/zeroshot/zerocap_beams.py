"""The beam search of ZeroCap's released code: sums of log-probabilities, compared by their mean over the tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Beams:
    """The beams of r regions, each region's for itself.

    Args:
        regions: Number of regions.
        before: Ids that every text has before it.
        width: Beams a region.
        end: Id that ends a text.
        penalty: Exponent of the length by which a sum is divided; 1 is the mean.
        device: Where ids are kept.

    Attributes:
        ids: (rows, t) all ids so far; region by region, the best beam first.
        regions: Numbers of the regions that are still written, in the order of the rows.
    """

    def __init__(
        self, regions: int, before: Sequence[int], width: int, end: int, penalty: float, device: torch.device
    ) -> None:
        self.ids = torch.tensor(before, dtype=torch.long, device=device).repeat(regions, 1)
        self.regions = list(range(regions))
        self._before, self._width, self._end, self._penalty = len(before), width, end, penalty
        self._sums = torch.zeros(regions, 1, device=device)
        self._lengths = torch.zeros(regions, 1, device=device)
        self._stopped = torch.zeros(regions, 1, dtype=torch.bool, device=device)

    @property
    def region_of_rows(self) -> list[int]:
        """The region of every row."""
        return [region for region in self.regions for _ in range(self._sums.shape[1])]

    def take(self, likely: Tensor, one_sum: bool) -> Tensor:
        """Go on with the best tokens and return the rows (rows,) that the new ones come from.

        A text that has ended keeps its sum and its length, and stands among the others with its mean.

        Args:
            likely: (rows, ids) logarithms of what is proportional to probabilities.
            one_sum: Divide those of all beams of a region by one sum, as the released code does; by default each by its
                own. It makes texts that go on less likely beside those that have ended.
        """
        count, wide = self._sums.shape
        likely = likely.view(count, wide, -1)
        whole = likely.logsumexp(dim=(1, 2), keepdim=True) if one_sum else likely.logsumexp(dim=2, keepdim=True)
        likely = likely - whole
        nothing = torch.full_like(likely[0, 0], -torch.inf)
        nothing[0] = 0.0  # one way to go on: with padding that is cut off
        likely = torch.where(self._stopped.unsqueeze(2), nothing, likely)
        lengths = self._lengths + (~self._stopped).float()
        means = (self._sums.unsqueeze(2) + likely) / lengths.unsqueeze(2) ** self._penalty
        best, places = means.flatten(1).topk(self._width, dim=1)
        source, token = places // likely.shape[2], places % likely.shape[2]
        self._lengths = lengths.gather(1, source)
        self._sums = best * self._lengths**self._penalty
        self._stopped = self._stopped.gather(1, source) | (token == self._end)
        rows = (torch.arange(count, device=source.device).unsqueeze(1) * wide + source).flatten()
        self.ids = torch.cat([self.ids[rows], token.flatten().unsqueeze(1)], dim=1)
        return rows

    def ended(self) -> list[int]:
        """Return the regions all of whose beams have ended."""
        return [region for region, on in zip(self.regions, self._going().tolist(), strict=True) if not on]

    def drop_ended(self) -> Tensor:
        """Forget those regions and return the rows (rows,) that are left."""
        going = self._going()
        kept = going.repeat_interleave(self._sums.shape[1]).nonzero().flatten()
        self.ids = self.ids[kept]
        self.regions = [region for region, on in zip(self.regions, going.tolist(), strict=True) if on]
        self._sums, self._lengths, self._stopped = self._sums[going], self._lengths[going], self._stopped[going]
        return kept

    def texts(self, region: int) -> list[tuple[list[int], bool]]:
        """Return the texts of a region without the end token, and whether each ended, the likeliest first."""
        at, wide = self.regions.index(region), self._sums.shape[1]
        means = self._sums[at] / self._lengths[at] ** self._penalty
        rows = self.ids[at * wide : (at + 1) * wide, self._before :].tolist()
        found = []
        for place in means.argsort(descending=True, stable=True).tolist():
            ended = bool(self._stopped[at, place])
            length = int(self._lengths[at, place]) - int(ended)
            found.append((rows[place][:length], ended))
        return found

    def _going(self) -> Tensor:
        return ~self._stopped.all(dim=1)
