"""Parsers of captions to scene graphs: a T5 that was trained for it, or rules around the words of a vocabulary."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import torch

from regionkit.core.errors import WeightsError
from regionkit.core.features import GenerateOptions
from regionkit.core.language.generation import Request, write
from regionkit.core.language.models import Naming
from regionkit.plugins.zeroshot.released_files import SCENE_PARSER
from regionkit.plugins.zeroshot.scene_graph import Graph, Node, caption_graph, facts_of
from regionkit.plugins.zeroshot.starting import start_model
from regionkit.plugins.zeroshot.text_entities import EntityFinder

#: What the parser of Li et al. (FACTUAL, arXiv 2305.17497) is asked.
_ASKED = "Generate Scene Graph: "
#: Ids of a caption, and of its graph, at most.
_LONGEST = 128
#: Captions that are parsed together.
_TOGETHER = 32
#: Graphs that are remembered: captions of a memory are retrieved again and again.
_REMEMBERED = 20_000
_T5 = Naming("seq2seq")
#: The parser of MeaCap's release.
_RELEASED = SCENE_PARSER.source.removeprefix("hub://")
#: Words that stand before a noun and say nothing of the thing itself.
_NO_ATTRIBUTE = frozenset(
    {
        "a", "an", "the", "this", "that", "these", "those", "some", "any", "each", "every", "his", "her", "its",
        "their", "my", "your", "our", "of", "on", "in", "at", "by", "to", "for", "from", "with", "without", "near",
        "over", "under", "above", "below", "behind", "beside", "between", "into", "onto", "through", "around", "next",
        "and", "or", "is", "are", "was", "were", "be", "being", "has", "have", "there", "as", "while", "it", "he",
        "she", "they", "left", "right", "front", "top", "very", "holding", "riding", "wearing", "sitting", "standing",
    }
)  # fmt: skip


class Parser(Protocol):
    """Turns captions into scene graphs."""

    def graphs(self, captions: Sequence[str], device: torch.device) -> list[Graph]:
        """Return the graph of each of n captions."""


class RuleParser:
    """Takes the words of a vocabulary as things, and the words that stand right before one as its attributes.

    Args:
        vocabulary: The words.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._finder = EntityFinder("vocabulary", vocabulary)

    def graphs(self, captions: Sequence[str], device: torch.device) -> list[Graph]:
        """Return the graph of each of n captions; things have no relations."""
        return [self._graph(caption) for caption in captions]

    def _graph(self, caption: str) -> Graph:
        graph: Graph = {}
        before: list[str] = []
        for word, entity in self._finder.pieces(caption):
            if entity:
                node = graph.setdefault(entity, Node())
                node.attributes |= dict.fromkeys(before, 1)
                before = []
            else:
                before = [] if word in _NO_ATTRIBUTE else [*before, word]
        return graph


class TrainedParser:
    """A T5 that writes scene graphs, such as lizhuang144/flan-t5-base-VG-factual-sg.

    Args:
        folder: ``file:FOLDER``, as the Hugging Face hub has it.
        who: Whose it is, for messages: ``decoder 'NAME'``.

    Raises:
        WeightsError: The folder is missing, damaged, or of another kind of model.
    """

    def __init__(self, folder: str, who: str) -> None:
        found, model = start_model(folder, "parser", _RELEASED, _T5, who)
        if found.config.model_type not in ("t5", "mt5"):
            raise WeightsError(
                f"{who}: parser: {folder}: a parser of scene graphs is a T5, and this is a {found.config.model_type}",
                f"fetch {_RELEASED} from the Hugging Face hub",
            )
        self.who, self.tokenizer, self.model = who, found.tokenizer, model.eval().requires_grad_(False)
        self._known: OrderedDict[str, Graph] = OrderedDict()

    def graphs(self, captions: Sequence[str], device: torch.device) -> list[Graph]:
        """Return the graph of each of n captions; those of captions seen before are remembered."""
        new = [caption for caption in dict.fromkeys(captions) if caption not in self._known]
        kept = {caption: self._known[caption] for caption in captions if caption in self._known}
        for start in range(0, len(new), _TOGETHER):
            part = new[start : start + _TOGETHER]
            kept |= zip(part, (caption_graph(facts_of(text)) for text in self.written(part, device)), strict=True)
        self._known |= kept
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return [kept[caption] for caption in captions]

    @torch.inference_mode()
    def written(self, captions: Sequence[str], device: torch.device) -> list[str]:
        """Return what the T5 writes of each of n captions, greedily."""
        self.model.to(device)
        end, pad = self.tokenizer.end, self.tokenizer.pad
        rows = [[*self.tokenizer.encode(_ASKED + caption)[: _LONGEST - 1], end] for caption in captions]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
        inputs = {"inputs_embeds": self.model.get_input_embeddings()(ids), "attention_mask": mask}
        options = GenerateOptions(max_tokens=_LONGEST - 1)
        texts = write(self.model, inputs, Request(options, self.tokenizer, end, "", range(len(rows)), self.who))
        return [self.tokenizer.decode(row).replace(_ASKED.strip(), "").strip() for row in texts.ids]


def make_parser(option: str, vocabulary: Sequence[str], who: str) -> Parser:
    """Make the parser that an option asks for: ``rules``, or ``file:FOLDER``; raises as :class:`TrainedParser`."""
    return RuleParser(vocabulary) if option == "rules" else TrainedParser(option, who)
