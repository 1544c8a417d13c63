"""Retrieval as a decoder: the caption is the sentence of a bank that lies nearest.

The ``argmax`` mode of DeCap's and Patch-ioner's released code, which returns the text of the nearest row of the memory.
Behind bridge ``none`` it is that mode; behind any other bridge it names the sentence nearest to what that one made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Self

import torch
from torch import Tensor, nn

from regionkit.core.batch_sizes import batches_that_fit, named
from regionkit.core.contracts import BuildContext, Decoder
from regionkit.core.errors import DataError, FeatureError, RegionkitError, WeightsError
from regionkit.core.explaining import Alternative, TokenScore
from regionkit.core.features import Caption, GenerateOptions, RegionTokens, RegionViews
from regionkit.plugins.patchioner.configs import MemoryConfig, NearestTextConfig
from regionkit.plugins.patchioner.memory import Memory

_WHO = "decoder 'nearest-text'"


class NearestText(nn.Module, Decoder):
    """Caption regions with sentences of a bank.

    A sentence is as likely as its rows' share of softmax(cos(v, m_j) / temperature) over the whole bank; its logarithm
    is a caption's score. Another sentence has the share that it would have as one row more, if there is a text tower.

    Args:
        config: Options.
        space: The text space of the bank, ``name[dim]``.
    """

    def __init__(self, config: NearestTextConfig | None = None, space: str = "") -> None:
        super().__init__()
        self.config = config or NearestTextConfig()
        options = MemoryConfig(temperature=self.config.temperature, precision=self.config.precision)
        self.bank = Memory(options, space, who=_WHO)
        self._encode: Callable[[Sequence[str]], Tensor] | None = None

    @classmethod
    def build(cls, config: NearestTextConfig, context: BuildContext) -> Self:
        """Make the decoder, with the bank in ``context.weights`` where there is one, else empty and to be fitted.

        Raises:
            WeightsError: The file holds no bank, a damaged one, one of another width, or one without sentences.
        """
        decoder = cls(config, context.reads)
        if context.backbone is not None and context.backbone.text_space == context.reads:
            decoder._encode = context.backbone.encode_text
        if context.weights is not None:
            decoder.bank.load(context.weights)
            if not decoder.bank.texts:
                raise WeightsError(
                    f"{context.weights.path}: this bank holds vectors without sentences, and {_WHO} writes its "
                    "sentences",
                    "make one with them: toolkit bank build",
                )
        return decoder

    def fit(self, embeddings: Tensor, texts: Sequence[str]) -> None:
        """Take the bank from n texts and their embeddings (n, d).

        Raises:
            FeatureError: An embedding is NaN or infinite, none is left, or there is not one text an embedding.
        """
        if not texts:
            raise FeatureError(f"{_WHO} writes sentences of its bank, and was given none")
        self.bank.fit(embeddings, texts)
        self.__dict__.pop("_rows", None)

    @torch.no_grad()
    def nearest(self, inputs: RegionTokens | RegionViews, count: int = 1) -> list[list[tuple[str, float]]]:
        """Return the nearest ``count`` different sentences of r regions with their cosines, the nearest first.

        Raises:
            WeightsError: There is no bank yet.
            FeatureError: The inputs are pictures, several tokens a region, NaN, zero or of another width.
        """
        tokens = _single(inputs)
        wanted, size = min(count, len(self._rows)), count
        while True:
            best, rows = self.bank.nearest(tokens, size)
            pairs = zip(rows.tolist(), best.tolist(), strict=True)
            found = [self._different(own, values)[:count] for own, values in pairs]
            if all(len(one) >= wanted for one in found) or size >= len(self.bank.unit):
                return found
            size *= 2  # rows of equal sentences stand for one

    def _different(self, rows: Sequence[int], cosines: Sequence[float]) -> list[tuple[str, float]]:
        """Return the sentences of rows, nearest first, each with the cosine of its nearest row."""
        found: dict[str, float] = {}
        for row, cosine in zip(rows, cosines, strict=True):
            found.setdefault(self.bank.texts[row], cosine)
        return list(found.items())

    @torch.no_grad()
    def generate(
        self,
        inputs: RegionTokens | RegionViews,
        prompt: str | None = None,
        options: GenerateOptions | None = None,
    ) -> list[Caption]:
        """Return the nearest sentence for each of r regions.

        Raises:
            WeightsError, FeatureError: As :meth:`nearest`.
            RegionkitError: A prompt, beams or sampling are asked for.
        """
        _refuse(prompt, options)
        tokens = _single(inputs)
        captions: list[Caption] = []
        options = options or GenerateOptions()
        size, device = named(options, "batch_size"), tokens.tokens.device
        for part in batches_that_fit(self, len(tokens), size, default=options.batch_size, device=device):
            some = RegionTokens(tokens.tokens[part], tokens.mask[part], tokens.space)
            best, rows = self.bank.nearest(some)
            texts = [self.bank.texts[row] for row in rows.squeeze(1).tolist()]
            similar = self.config.score == "similarity"
            scores = best.squeeze(1) if similar else self.score(some, texts)
            pairs = zip(texts, scores.tolist(), rows.squeeze(1).tolist(), strict=True)
            captions += [Caption(text, score, (row,)) for text, score, row in pairs]
        return captions

    @torch.no_grad()
    def score(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return (r,) log shares of one sentence a region.

        Raises:
            WeightsError, FeatureError: As :meth:`nearest`.
            DataError: A text is none of the bank's, and there is no text tower to encode it.
            RegionkitError: A prompt is given.
        """
        _refuse(prompt, None)
        tokens = _single(inputs)
        if len(tokens) != len(texts):
            raise ValueError(f"{len(tokens)} regions and {len(texts)} texts: give one text a region")
        scores = self.bank.log_shares(tokens, [self._rows.get(text, [0]) for text in texts])
        others = [at for at, text in enumerate(texts) if text not in self._rows]
        if others:
            unknown = list(dict.fromkeys(texts[at] for at in others))
            if self._encode is None:
                raise DataError(
                    f"'{unknown[0]}' is none of the {len(self._rows)} sentences of the bank, and {_WHO} knows no other",
                    "choose a decoder that can write it: toolkit list-components --kind decoder",
                )
            encoded = self._encode(unknown)[[unknown.index(texts[at]) for at in others]]
            some = RegionTokens(tokens.tokens[others], tokens.mask[others], tokens.space)
            scores[others] = self.bank.log_shares_beside(some, encoded)
        return scores

    @torch.no_grad()
    def token_scores(
        self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None, alternatives: int = 3
    ) -> list[list[TokenScore]]:
        """Return each sentence as one token, with the next best sentences of the bank beside it.

        This is how the n best of a region are had with their scores. Raises as :meth:`score`.
        """
        scores = self.score(inputs, texts, prompt).tolist()
        tokens = _single(inputs)
        ids = {text: rows[0] for text, rows in self._rows.items()}
        found = []
        for at, (own, near) in enumerate(zip(texts, self.nearest(tokens, alternatives + 1), strict=True)):
            others = [text for text, _ in near if text != own][:alternatives]
            one = RegionTokens(tokens.tokens[[at]], tokens.mask[[at]], tokens.space)
            named = [
                Alternative(text, self._rows[text][0], float(self.bank.log_shares(one, [self._rows[text]])))
                for text in others
            ]
            named.sort(key=lambda other: -other.log_probability)
            found.append([TokenScore(own, ids.get(own, len(self.bank.unit)), scores[at], tuple(named))])
        return found

    def loss(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return the mean negative log share of the texts; nothing here can be trained with it."""
        return -self.score(inputs, texts, prompt).mean()

    @cached_property
    def _rows(self) -> dict[str, list[int]]:
        """The rows of the bank that hold each sentence."""
        rows: dict[str, list[int]] = {}
        for row, text in enumerate(self.bank.texts):
            rows.setdefault(text, []).append(row)
        return rows


def _single(inputs: RegionTokens | RegionViews) -> RegionTokens:
    """Return the tokens of regions of one token."""
    if isinstance(inputs, RegionViews):
        raise FeatureError(
            f"{_WHO} reads vectors and got pictures",
            "choose a region encoder that writes tokens, such as patch-pool or crop",
        )
    inputs.vectors()
    return inputs


def _refuse(prompt: str | None, options: GenerateOptions | None) -> None:
    if prompt is not None:
        raise RegionkitError(
            f'{_WHO} takes no prompt, it got "{prompt}"',
            "leave the prompt out, or choose a decoder that reads one: toolkit list-components --kind decoder",
        )
    if options is not None and not options.greedy:
        raise RegionkitError(
            f"{_WHO} takes the nearest sentence of its bank: it has no beams, samples and shortest length",
            "leave that out, or choose a decoder that writes word by word: toolkit list-components --kind decoder",
        )
