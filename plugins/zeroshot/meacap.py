"""MeaCap's decoder, in the variant on ViECap's weights: what retrieved captions agree on is said before the caption.

Zeng et al., MeaCap: Memory-Augmented Zero-shot Image Captioning, arXiv 2403.03715; the variant that the release calls
MeaCap_InvLM.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from regionkit.core.contracts import BuildContext, WeightArtifact
from regionkit.core.features import RegionTokens
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.texts import bank_texts
from regionkit.plugins.zeroshot.entities import EntityDecoder
from regionkit.plugins.zeroshot.meacap_config import MeacapConfig
from regionkit.plugins.zeroshot.parsers import make_parser
from regionkit.plugins.zeroshot.retrieval import TextMemory
from regionkit.plugins.zeroshot.scene_graph import concepts
from regionkit.plugins.zeroshot.similarity import make_similarity

#: What the memory of a release is called among the tensors that its reader makes.
MEMORY = "memory."


class Meacap(EntityDecoder):
    """Writes captions behind soft tokens and the concepts of retrieved captions; see :class:`MeacapConfig`.

    Args:
        config: Options.
        space: The space that it reads, ``name[dim]``.
        model: The language model.
        tokenizer: The ids that it writes.

    Raises:
        WeightsError: The folder of the parser or of the encoder is missing, damaged, or of another kind of model.
    """

    name = "meacap"
    config: MeacapConfig

    def __init__(self, config: Any, space: str, model: Any, tokenizer: LanguageTokenizer) -> None:
        super().__init__(config, space, model, tokenizer)
        self.memory = TextMemory(space, self._who())
        self._parser = make_parser(config.parser, self.vocabulary, self._who())
        self._similarity = make_similarity(config.similarity, self._who())

    @classmethod
    def build(cls, config: Any, context: BuildContext) -> Self:
        """Build as elsewhere, with the bank of the context where it has one; else it is to be fitted.

        Raises:
            WeightsError: As elsewhere; or the bank is damaged, has no sentences, or is of another width.
        """
        decoder = super().build(config, context)
        if context.bank is not None:
            decoder.memory.load(context.bank)
        return decoder

    def load(self, tensors: Mapping[str, Tensor], source: str | Path) -> None:
        """Load mapper and language model, and the memory of a release where it came with them.

        Raises:
            WeightsError: Names are missing or left over, or shapes differ.
        """
        memory = {name.removeprefix(MEMORY): one for name, one in tensors.items() if name.startswith(MEMORY)}
        super().load({name: one for name, one in tensors.items() if not name.startswith(MEMORY)}, source)
        if memory:
            self.memory.fit(memory["embeddings"], bank_texts(memory))

    def artifact(self) -> WeightArtifact:
        """Return the weights, which are ViECap's, without the memory."""
        made = super().artifact()
        return dataclasses.replace(made, header=dataclasses.replace(made.header, name="viecap"))

    def fit(self, embeddings: Tensor, texts: Sequence[str]) -> None:
        """Take the memory from n texts and their embeddings (n, d).

        Raises:
            FeatureError: An embedding is NaN or of another width, none is left, or there is not one text an embedding.
        """
        self.memory.fit(embeddings, texts)

    def retrieved(self, tokens: RegionTokens) -> list[list[str]]:
        """Return the captions of the memory that lie nearest to r regions of one token, the nearest first.

        The release orders them by a softmax of the cosines, which changes no order.

        Raises:
            WeightsError: There is no memory.
        """
        rows = self.memory.nearest(tokens.vectors(), self.config.captions)[1]
        return [[self.memory.texts[row] for row in one] for one in rows.tolist()]

    def entities(self, tokens: RegionTokens) -> list[list[str]]:
        """Return the concepts of r regions, in the order in which the captions say them.

        Raises:
            WeightsError: There is no memory.
        """
        found = self.retrieved(tokens)
        distinct = list(dict.fromkeys(caption for captions in found for caption in captions))
        graphs = dict(zip(distinct, self._parser.graphs(distinct, self._weight.device), strict=True))
        return [concepts([graphs[one] for one in captions], captions, self._similarity) for captions in found]
