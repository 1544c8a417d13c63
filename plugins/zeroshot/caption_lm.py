"""A causal language model that reads no region: a text tower compares what it may say with the region's vector.

The ground of the late-guided captioners ZeroCap (Tewel et al., arXiv 2111.14447) and MAGIC (Su et al., arXiv
2205.02655): the language model knows captions alone, the region only guides which of them is written.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.contracts import BuildContext, WeightArtifact, iter_batches
from regionkit.core.errors import FeatureError
from regionkit.core.explaining import TokenScore
from regionkit.core.features import RegionTokens, RegionViews
from regionkit.core.language.causal import CAUSAL, CausalDecoder
from regionkit.core.language.generation import Request, Written
from regionkit.core.language.options import CAUSAL_SIZES
from regionkit.core.language.rows import check_length
from regionkit.plugins.zeroshot.guidance import Encode
from regionkit.plugins.zeroshot.starting import StartedDecoder

#: The component whose name weight files of these decoders have: they share one format.
OWNER = "magic"
#: The token with which MAGIC's language models (SimCTG) begin a text.
_SIMCTG_START = "<-start_of_text->"
#: Regions that are searched together; none sees another, so this only bounds memory.
_TOGETHER = 16
Finished = tuple[list[int], bool]


class CaptionLm(StartedDecoder, CausalDecoder):
    """Writes captions with a language model of captions, which a text tower guides towards the region's vector.

    ``score``, ``token_scores`` and a caption's own score are the log-likelihood of the text under the language model
    alone, the end token included: they say how usual a caption is, not how well it fits the region.

    Args:
        config: Options, :class:`~regionkit.plugins.zeroshot.caption_lm_config.CaptionLmOptions` or more.
        space: The space that it compares in, ``name[dim]``.
        model: The language model.
        tokenizer: The ids that it writes.
    """

    naming = CAUSAL
    sizes = CAUSAL_SIZES
    habits: ClassVar[tuple[str, ...]] = ("prompt", "end")
    _encode: Encode | None = None

    @classmethod
    def build(cls, config: Any, context: BuildContext) -> Self:
        """Build the language model as every decoder on one, and keep the backbone's text tower as its guide.

        Raises:
            FeatureError: There is no backbone with a text tower.
            WeightsError: The weights are damaged or of another shape, or there are none and no corpus either.
        """
        backbone = context.backbone
        if backbone is None or not backbone.text_space:
            raise FeatureError(
                f"{cls._who()} compares texts with regions, and the backbone has no text tower",
                "choose a backbone with one: toolkit compat shows which parts fit",
            )
        with torch.inference_mode(False):  # of what is made in inference mode no gradient can be had later
            decoder = super().build(config, context)
        decoder._encode = backbone.encode_text
        decoder.space = backbone.text_space  # the guide's; what the language model was trained beside it never read
        return decoder

    @classmethod
    def filled(cls, config: Any) -> Any:
        """Say the sizes that follow from others."""
        return dataclasses.replace(config, kv_heads=config.kv_heads or config.heads)

    @classmethod
    def checked_space(cls, space: str, model: Any, source: str) -> str:
        """Return the space: the language model reads none, the guide any."""
        return space

    def before(self, prompt: str | None) -> list[int]:
        """Return the ids that stand before every caption: a start token and the prompt.

        Texts start with the token of MAGIC's language models where there is one, else with those that the tokenizer
        puts there, else with the end token, which is GPT-2's own start.
        """
        text = self.config.prompt if prompt is None else prompt
        own = self.tokenizer.id_of(_SIMCTG_START)
        start = (own,) if own is not None else self.tokenizer.start or (self.tokenizer.end,)
        return [*start, *(self.tokenizer.encode(text) if text else [])]

    def spliced(self, tokens: RegionTokens, prompt: str | None = None) -> tuple[Tensor, Tensor]:
        """Return the embeddings (r, t, d) of what stands before a caption, the same for all regions.

        Raises:
            FeatureError: A region has more than one token.
        """
        tokens.vectors()
        ids = self.before(prompt)
        embeddings = self._embed(ids).expand(len(tokens), -1, -1)
        return embeddings, tokens.mask.new_ones(len(tokens), len(ids))

    def artifact(self) -> WeightArtifact:
        """Return the language model's weights, in the format that all decoders of this kind share."""
        found = super().artifact()
        return dataclasses.replace(found, header=dataclasses.replace(found.header, name=OWNER))

    def score(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return (r,) log-likelihoods of one text a region under the language model, the end token included.

        The region has no part in it. Of a finished caption that this decoder wrote it is the caption's score, where its
        tokens are those that the tokenizer makes of its text. Raises as for every decoder on a language model.
        """
        return super().score(inputs, self._behind(texts, prompt), prompt)

    def token_scores(
        self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None, alternatives: int = 3
    ) -> list[list[TokenScore]]:
        """Return the tokens of texts, the end token included, and how likely each was; raises as :meth:`score`."""
        return super().token_scores(inputs, self._behind(texts, prompt), prompt, alternatives)

    def log_likelihood(
        self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None
    ) -> Tensor:
        """Return what :meth:`score` does, in one batch and with gradients."""
        return super().log_likelihood(inputs, self._behind(texts, prompt), prompt)

    def loss(self, inputs: RegionTokens | RegionViews, texts: Sequence[str], prompt: str | None = None) -> Tensor:
        """Return the mean cross-entropy of the texts' tokens, end tokens included; the regions have no part in it.

        Texts are cut to ``max_length`` tokens and lose their end token then. The prompt does not count.
        """
        return super().loss(inputs, self._behind(texts, prompt), prompt)

    def loss_terms(self, texts: Sequence[str]) -> int:
        """Return the number of tokens that the loss is a mean of."""
        return super().loss_terms(self._behind(texts, None))

    def hidden_states(
        self,
        inputs: RegionTokens | RegionViews,
        texts: Sequence[str],
        prompt: str | None = None,
        positions: Literal["pred", "tok"] = "pred",
    ) -> RegionTokens:
        """Return the last hidden states (r, s, d) at the tokens of texts, end tokens included; see the contract."""
        return super().hidden_states(inputs, self._behind(texts, prompt), prompt, positions)

    @abstractmethod
    def _search(self, vectors: Tensor, before: Sequence[int], request: Request) -> list[Finished]:
        """Write one text for each unit vector (r, d): its ids without the end token, and whether it came to its end.

        The request's limit is the number of tokens that may be written behind ``before``.
        """

    def _longest(self, before: Sequence[int]) -> int:
        """Return how many tokens the options allow behind ``before``."""
        longest: int = self.config.length
        return longest

    @property
    def _end(self) -> int:
        found = self.tokenizer.id_of(self.config.end)
        return self.tokenizer.end if found is None else found

    def _write(self, tokens: RegionTokens, prompt: str | None, request: Request) -> Written:
        before, options = self.before(prompt), request.options
        check_length(len(before) + 1, self.config.positions, "the prompt and a first token", self._who())
        room = min(options.max_tokens, self._longest(before), self.config.positions - len(before))
        limits = dataclasses.replace(options, max_tokens=room, min_tokens=min(options.min_tokens, room - 1))
        request = dataclasses.replace(request, options=limits)
        with torch.inference_mode(False):
            vectors = normalize(tokens.vectors().float(), dim=-1).clone()
            found: list[Finished] = []
            with torch.no_grad():
                for part in iter_batches(len(vectors), _TOGETHER):
                    found += self._search(vectors[part], before, request)
        ids, finished = [row for row, _ in found], [ended for _, ended in found]
        counted = [len(row) + int(ended) for row, ended in found]
        return Written(ids, finished, counted, None)

    def _guide(self) -> Encode:
        """Return the text tower.

        Raises:
            FeatureError: There is none: the decoder was made by hand.
        """
        if self._encode is None:
            raise FeatureError(f"{self._who()} has no text tower to guide it", "build it with one: Class.build(...)")
        return self._encode

    def _behind(self, texts: Sequence[str], prompt: str | None) -> list[str]:
        """Return texts as they stand behind the prompt: a word after a word has a space before it."""
        asked = self.config.prompt if prompt is None else prompt
        return [f" {text}" if asked and text and not text[0].isspace() else text for text in texts]

    def _targets(self, texts: Sequence[str], limit: int | None) -> tuple[Tensor, Tensor]:
        """Return ids (r, s) with end tokens, padded, and the length of each row (r,); a full stop may be the end."""
        rows = [self.tokenizer.encode_literally(text) for text in texts]
        return self._padded([(row if row[-1:] == [self._end] else [*row, self._end])[:limit] for row in rows])
