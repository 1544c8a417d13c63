"""Decoders with a sentence of entities beside the soft tokens: "There are dog, frisbee in image.".

Fei et al., Transferable Decoding with Visual Entities for Zero-Shot Image Captioning (ViECap), arXiv 2307.16525,
section 3.3. What is in a region is said in words, which generalise better than soft tokens do.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from regionkit.core.contracts import BuildContext, WeightArtifact
from regionkit.core.errors import WeightsError
from regionkit.core.features import Caption, GenerateOptions, RegionTokens
from regionkit.core.language.generation import Request, Written
from regionkit.core.language.rows import check_length, inside
from regionkit.core.language.tokenizers import LanguageTokenizer
from regionkit.core.texts import bank_tensors, bank_texts
from regionkit.plugins.zeroshot.entities_config import PLACE, SHIPPED
from regionkit.plugins.zeroshot.prefix import PrefixDecoder
from regionkit.plugins.zeroshot.sentence_beams import search
from regionkit.plugins.zeroshot.text_entities import EntityFinder
from regionkit.plugins.zeroshot.vocabularies import read_vocabulary, words_of

#: What is said of a region without entities.
NOTHING = "something"
#: What the vectors of a vocabulary, and its words, are called in a weight file.
ENTRIES = "entries."
#: Joins two entities.
_COMMA = ", "
#: A full stop that ends a caption, and the same with a space before it, which is a token of its own in byte pairs.
_STOP, _SPACED = ".", " ."
#: Logarithm of the largest perplexity: JSON holds no infinity.
_MOST = 700.0


def entity_prompt(template: str, entities: Sequence[str]) -> str:
    """Return the words before a caption: the template with the entities in their order, or "something"."""
    return template.replace(PLACE, _COMMA.join(entities) or NOTHING)


class EntityDecoder(PrefixDecoder):
    """A decoder whose words say the entities of each region.

    A subclass says what they are in :meth:`entities`; in training they are those of the sentence itself, each left out
    with a probability, so that the decoder learns to do without.
    """

    #: Vectors of a vocabulary that came with the weights, and their words.
    _stored: tuple[tuple[str, ...], Tensor] | None = None
    habits: ClassVar[tuple[str, ...]] = ("normalise", "prompt", "soft_first", "full_stop")

    @abstractmethod
    def entities(self, tokens: RegionTokens) -> list[list[str]]:
        """Return the entities of r regions, the likeliest first."""

    def text_entities(self, tokens: RegionTokens, texts: Sequence[str]) -> list[list[str]]:
        """Return the entities of given texts, at most ``max_entities`` each, before any is left out."""
        return [self._finder.find(text)[: self.config.max_entities] for text in texts]

    def words(self, tokens: RegionTokens, prompt: str | None) -> list[str]:
        """Return the words of r regions: the prompt, with their entities where it asks for them."""
        template = self.config.prompt if prompt is None else prompt
        if PLACE not in template:
            return [template] * len(tokens)
        return [entity_prompt(template, found) for found in self.entities(tokens)]

    def training_words(self, tokens: RegionTokens, texts: Sequence[str], prompt: str | None) -> list[str]:
        """Return the words with which texts are learned: those of their own entities, some of them left out.

        What is left out is drawn from torch's global generator, in training alone.
        """
        template = self.config.prompt if prompt is None else prompt
        if PLACE not in template:
            return [template] * len(texts)
        return [entity_prompt(template, self._masked(found)) for found in self.text_entities(tokens, texts)]

    def _masked(self, entities: Sequence[str]) -> list[str]:
        if not self.training:
            return list(entities)
        kept = (torch.rand(len(entities)) >= self.config.mask).tolist()
        return [entity for entity, keep in zip(entities, kept, strict=True) if keep]

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The words that may be entities.

        Raises:
            DataError: The file of the vocabulary is missing, damaged, or holds none.
        """
        return read_vocabulary(self.config.vocabulary)

    def load(self, tensors: Mapping[str, Tensor], source: str | Path) -> None:
        """Load mapper and language model, and the vectors of a vocabulary where the file has some.

        Raises:
            WeightsError: Names are missing or left over, or shapes differ.
        """
        stored = {name.removeprefix(ENTRIES): one for name, one in tensors.items() if name.startswith(ENTRIES)}
        super().load({name: one for name, one in tensors.items() if not name.startswith(ENTRIES)}, source)
        if stored:
            words, vectors = tuple(bank_texts(stored)), stored["embeddings"]
            if vectors.shape != (len(words), self.width):
                raise WeightsError(
                    f"{source}: the vectors of the vocabulary are {tuple(vectors.shape)}, and should be "
                    f"{(len(words), self.width)}"
                )
            self._stored = (words, vectors)

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights as a file holds them, with the vectors that came with them."""
        if self._stored is None:
            return super().tensors()
        words, vectors = self._stored
        return super().tensors() | {ENTRIES + name: one for name, one in bank_tensors(vectors, words).items()}

    def artifact(self) -> WeightArtifact:
        """Return the weights, and with what they were learned: a vocabulary by its name, where it is no file."""
        made = super().artifact()
        named = {"vocabulary": self.config.vocabulary} if self.config.vocabulary in SHIPPED else {}
        header = dataclasses.replace(made.header, config={**made.header.config, **named})
        return dataclasses.replace(made, header=header)

    @cached_property
    def _finder(self) -> EntityFinder:
        objects = words_of(self.config.objects) if self.config.objects else ()
        return EntityFinder(self.config.training_entities, self.vocabulary, objects)

    @classmethod
    def untrained(cls, config: Any, context: BuildContext) -> tuple[Any, Any, LanguageTokenizer]:
        """Return options, model and tokenizer; a tokenizer of whole words knows those of the prompt too."""
        corpus = context.parts.get("corpus")
        if corpus is not None:
            words = [entity_prompt(config.prompt, [NOTHING, *read_vocabulary(config.vocabulary)])]
            context = dataclasses.replace(context, parts={**context.parts, "corpus": _Beside(corpus, words)})
        return super().untrained(config, context)

    def spliced(self, tokens: RegionTokens, prompt: str | None = None) -> tuple[Tensor, Tensor]:
        """Return soft tokens and words (r, t, d), in the order of ``soft_first``, and which of them are no padding.

        With ``compat: reference`` words are filled up with id 0, which counts as any other.

        Raises:
            FeatureError: A region has more than one token, or its entities cannot be found.
        """
        return self._placed(tokens, self.words(tokens, prompt), blind=self.config.compat == "reference")

    def joined(self, tokens: RegionTokens, words: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return soft tokens and their own words (r, t, d), and which are no padding."""
        return self._placed(tokens, words, blind=False)

    def _placed(self, tokens: RegionTokens, words: Sequence[str], *, blind: bool) -> tuple[Tensor, Tensor]:
        soft = self.soft(tokens.vectors())
        ids, lengths = self._padded([self.tokenizer.encode(text) if text else [] for text in words])
        valid = inside(ids, lengths)
        if blind:
            ids, valid = ids.masked_fill(~valid, 0), torch.ones_like(valid)
        hard = self.model.get_input_embeddings()(ids)
        seen = lengths.new_ones(soft.shape[:2], dtype=torch.bool)
        parts, masks = [soft.to(hard.dtype), hard], [seen, valid]
        order = slice(None) if self.config.soft_first else slice(None, None, -1)
        return torch.cat(parts[order], dim=1), torch.cat(masks[order], dim=1)

    def learned(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids (r, s), their number (r,), and which count; the reference learns texts as written, save id 0."""
        if self.config.compat == "paper":
            return super().learned(texts)
        ids, lengths = self._padded([self.tokenizer.encode_literally(text)[: self.config.max_length] for text in texts])
        return ids, lengths, inside(ids, lengths) & (ids != 0)

    def _write(self, tokens: RegionTokens, prompt: str | None, request: Request) -> Written:
        if self.config.compat == "paper" or request.options.beams == 1:
            return super()._write(tokens, prompt, request)
        embeddings, valid = self.spliced(tokens, prompt)
        longest = int(valid.sum(dim=1).max()) + request.options.max_tokens
        check_length(longest, self.config.positions, "the soft tokens, the words and the caption", self._who())
        spaced = self.tokenizer.encode(_SPACED)[-1] if self._stop else None
        found = [search(self.model, row[kept], request, spaced) for row, kept in zip(embeddings, valid, strict=True)]
        counted = [len(ids) + int(ended and ids[-1:] != [spaced]) for ids, ended in found]
        return Written([ids for ids, _ in found], [ended for _, ended in found], counted, None)

    @property
    def _end(self) -> int:
        found = self.tokenizer.id_of(_STOP) if self.config.full_stop else None
        return self.tokenizer.end if found is None else found

    @property
    def _stop(self) -> str:
        return _SPACED if self._end != self.tokenizer.end else ""

    def _targets(self, texts: Sequence[str], limit: int | None) -> tuple[Tensor, Tensor]:
        if self._stop:  # the end token that follows is the full stop
            texts = [text if text.endswith(_SPACED) else text.removesuffix(_STOP) for text in texts]
        return super()._targets(texts, limit)

    def _captions(
        self, tokens: RegionTokens, prompt: str | None, options: GenerateOptions, first: int
    ) -> Iterator[Caption]:
        for caption in super()._captions(tokens, prompt, options, first):
            if self.config.compat == "reference":
                yield dataclasses.replace(caption, score=self.perplexity(caption))
            else:
                yield caption

    @torch.inference_mode()
    def perplexity(self, caption: Caption) -> float:
        """Return how little a caption surprises the language model alone, without its picture; less is better.

        The released code reports it as the caption's confidence. Fewer than two tokens, of which that code makes NaN,
        have the perplexity of a guess among all ids.
        """
        spaced = self.tokenizer.decode_all(list(caption.tokens)).endswith(_SPACED)
        stop = (_SPACED if spaced else _STOP) if caption.finished and self._stop else ""
        ids = self._padded([self.tokenizer.encode_literally(caption.text + stop)])[0]
        if ids.shape[1] < 2:
            return float(self.tokenizer.size)
        logits = self.model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        loss = cross_entropy(logits, ids[0, 1:]).double()
        return float(loss.clamp(max=_MOST).exp())


class _Beside:
    """A corpus, and sentences beside it whose words are needed."""

    def __init__(self, corpus: Any, sentences: Sequence[str]) -> None:
        self.corpus, self.sentences = corpus, sentences

    def stream(self) -> Iterable[str]:
        """Yield all sentences."""
        yield from self.corpus.stream()
        yield from self.sentences
