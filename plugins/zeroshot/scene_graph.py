"""Scene graphs of captions, and the concepts that several captions of a memory agree on.

Zeng et al., MeaCap: Memory-Augmented Zero-shot Image Captioning, arXiv 2403.03715, section 3.2: captions are parsed to
graphs, whose nodes are counted, merged where they mean the same, filtered and put into order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

#: Cosine above which two nodes are one concept.
SAME = 0.55
#: Captions that a concept must be counted in, at least, merged ones included.
LEAST = 3
#: Captions in which an attribute must stand, at least, to be said with its concept.
LEAST_ATTRIBUTE = 3
#: Concepts that are kept.
MOST = 4
#: Between two facts of a parsed caption.
_BETWEEN = ") , ("
_IS = "is"
_NUMBERS = {"2": "two", "3": "three", "4": "four", "5": "five", "6": "six", "7": "seven", "8": "eight", "9": "nine"}

#: Cosines (n, n) of n texts.
Similarity = Callable[[Sequence[str]], Tensor]


@dataclass
class Node:
    """A thing in a graph.

    Attributes:
        count: Captions that name it.
        attributes: Attribute -> captions that give it, in the order in which they were first given.
        relations: The things that it is related to, in the same order.
    """

    count: int = 1
    attributes: dict[str, int] = field(default_factory=dict)
    relations: dict[str, None] = field(default_factory=dict)

    def take(self, other: Node) -> None:
        """Add the attributes and relations of another node."""
        for attribute, count in list(other.attributes.items()):
            self.attributes[attribute] = self.attributes.get(attribute, 0) + count
        self.relations |= other.relations


Graph = dict[str, Node]


def facts_of(graph: str) -> list[list[str]]:
    """Return the facts of a parsed caption, such as ``( man , riding , horse ) , ( man , is , young )``."""
    for sign in "(),":
        graph = graph.replace(sign, f" {sign} ")
    parts = " ".join(graph.split()).split(_BETWEEN)
    return [[word.strip() for word in part.replace("(", "").replace(")", "").split(",")] for part in parts]


def caption_graph(facts: Sequence[Sequence[str]]) -> Graph:
    """Return the graph of one caption.

    A fact of two words, or ``x is y``, gives x an attribute; one of more relates its first to its last word; one word
    is a thing where there is no other fact. Digits from 2 to 9 at the end become words.
    """
    graph: Graph = {}
    for fact in facts:
        words = list(fact)
        if len(words) == 1 and len(facts) > 1:
            continue
        thing = graph.setdefault(words[0], Node())
        if len(words) == 3:
            words[2] = _NUMBERS.get(words[2], words[2])
        if len(words) == 2 or (len(words) == 3 and words[1] == _IS):
            thing.attributes.setdefault(words[-1], 1)
        elif len(words) > 2:
            thing.relations[words[-1]] = None
            graph.setdefault(words[-1], Node())
    graph.pop("", None)  # of a caption that gave nothing
    return graph


def joined_graph(graphs: Sequence[Graph]) -> Graph:
    """Return the graph of several captions, the most frequent things first; equal ones as they are first said.

    The released code leaves the order of equal ones to Python's sets, which differs from process to process.
    """
    whole: Graph = {}
    for graph in graphs:
        for name, node in graph.items():
            known = whole.setdefault(name, Node(count=0))
            known.count += 1
            known.take(node)
    return dict(sorted(whole.items(), key=lambda item: -item[1].count))


def concepts(graphs: Sequence[Graph], captions: Sequence[str], similarity: Similarity) -> list[str]:
    """Return the concepts of some captions, in the order in which captions say them, at most four.

    Args:
        graphs: The graphs of the captions.
        captions: The captions.
        similarity: Says which names mean the same.
    """
    whole = joined_graph(graphs)
    if not whole:
        return []
    kept, merged = _merged(whole, list(_pairs(list(whole), similarity)))
    order: dict[str, None] = {}  # equal places are told apart by this: related things come with the first of them
    for name in kept:
        order.setdefault(name)
        for other in kept[name].relations:
            target = other if other in kept else merged.get(other, "")
            if target in kept:
                order.setdefault(target)
    ranked = sorted(order, key=lambda name: _place(name, captions))
    return [_said(name, kept[name]) for name in ranked][:MOST]


def _pairs(names: Sequence[str], similarity: Similarity) -> Iterator[tuple[str, str]]:
    """Yield pairs of names that mean the same, both ways round, row by row."""
    alike = similarity(names) > SAME
    alike.fill_diagonal_(False)
    for row, column in alike.nonzero().tolist():
        yield names[row], names[column]


def _merged(whole: Graph, pairs: Sequence[tuple[str, str]]) -> tuple[Graph, Mapping[str, str]]:
    """Merge things that mean the same, the more frequent one taking the other in, and drop those that are rare.

    Returns:
        The things that are left; and what stands for those that were taken in.
    """
    counts = {name: node.count for name, node in whole.items()}
    takers: dict[str, list[str]] = {}
    gone: set[str] = set()
    known_by: dict[str, list[str]] = {}
    for name, other in pairs:
        if name in gone:
            known_by.setdefault(name, []).append(other)
        else:
            takers.setdefault(name, []).append(other)
            counts[name] += counts[other]
        if other not in takers:
            gone.add(other)
        whole[name].take(whole[other])
    taken = {other for others in takers.values() for other in others}
    kept = {name: node for name, node in whole.items() if name not in taken and counts[name] >= LEAST}
    standing = {name: next((one for one in known_by.get(name, ()) if one not in taken), "") for name in taken}
    return kept, standing


def _place(name: str, captions: Sequence[str]) -> float:
    """Return where captions say a name, from 0 to 1 on average; 1 for one that they do not say, or begin with."""
    places = [caption.find(name) / len(caption) for caption in captions if caption]
    found = [place for place in places if place > 0]
    return sum(found) / len(found) if found else 1.0


def _said(name: str, node: Node) -> str:
    attribute = next((one for one, count in node.attributes.items() if count >= LEAST_ATTRIBUTE), "")
    return f"{attribute} {name}" if attribute else name
