"""What parts say of how a caption came about: texts of a memory that a vector is made of, tokens and their chances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: What readers are shown for the token that ends a text.
END_SHOWN = "<end>"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A text of a bridge's memory that had a part in a region's vector.

    Attributes:
        text: The text; empty where the memory holds vectors alone.
        weight: Its share of the weights of the whole memory, 0 to 1; that of all rows that hold this very text.
        rows: Where it stands in the memory.
    """

    text: str
    weight: float
    rows: tuple[int, ...]

    @property
    def label(self) -> str:
        """What readers are shown: the text, or the number of its row."""
        return self.text or f"row {', '.join(map(str, self.rows))}"


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that could have stood somewhere, and its log-probability there."""

    text: str
    id: int
    log_probability: float


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token of a text as a decoder sees it.

    Attributes:
        text: The token as readers are shown it; special ones, such as that of the end, by their names.
        id: Its id.
        log_probability: Given the region and the tokens before it.
        alternatives: The likeliest other tokens at this place, the likeliest first.
    """

    text: str
    id: int
    log_probability: float
    alternatives: tuple[Alternative, ...] = ()


def scored_tokens(
    ids: Tensor, lengths: Tensor, log_probabilities: Tensor, alternatives: int, shown: Callable[[int], str]
) -> list[list[TokenScore]]:
    """Return the tokens of a batch of texts, for decoders that have the log-probabilities of all tokens at hand.

    Args:
        ids: (r, s) the tokens.
        lengths: (r,) how many of each row count.
        log_probabilities: (r, s, v) of every token at every place, given the tokens before it.
        alternatives: Other tokens to name at each place.
        shown: Returns a token as readers are shown it.
    """
    own = log_probabilities.gather(-1, ids.unsqueeze(-1)).squeeze(-1).tolist()
    # One more than asked for, as the token itself is often among them.
    best = log_probabilities.topk(min(alternatives + 1, log_probabilities.shape[-1]), dim=-1)
    values, others = best.values.tolist(), best.indices.tolist()
    found = []
    for row, length in enumerate(lengths.tolist()):
        tokens = []
        for at, token in enumerate(ids[row, :length].tolist()):
            pairs = zip(others[row][at], values[row][at], strict=True)
            named = [Alternative(shown(one), one, value) for one, value in pairs if one != token][:alternatives]
            tokens.append(TokenScore(shown(token), token, own[row][at], tuple(named)))
        found.append(tokens)
    return found
