"""The nodes of a YAML text, with limits: what a few bytes can be made to stand for must not fill the memory.

PyYAML follows every alias as often as it is written and every bracket as deep as it goes. Here both are counted while
the nodes are made, so that a hostile text is refused at its line before anything of it is expanded.
"""

from __future__ import annotations

import yaml

#: Values that a file may hold, aliases followed. OmegaConf has such a limit too, of as many, and another message.
MOST_VALUES = 10_000
#: Brackets or indented lists inside each other.
MOST_LEVELS = 64


class Refused(yaml.MarkedYAMLError):
    """A text that is YAML and still is not read; the mark says where and ``problem`` why."""


class NodeLoader(yaml.SafeLoader):
    """Makes nodes and no values.

    Attributes:
        tags: Line, counted from 0, and text of every ``!tag`` in the file.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.tags: list[tuple[int, str]] = []
        self._count = 0
        self._levels = 0
        #: Number of values that a finished node stands for, aliases followed, and how deep it goes.
        self._sizes: dict[int, tuple[int, int]] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Make the next node.

        Raises:
            Refused: It goes too deep, is one too many, or contains itself.
        """
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self._sizes:
                raise Refused(problem="an alias (*name) refers to something that contains itself", problem_mark=mark)
            return node
        if event.tag is not None:
            self.tags.append((mark.line, str(event.tag)))
        self._count += 1
        self._levels += 1
        self._limit(self._count, self._levels, mark)
        node = super().compose_node(parent, index)
        self._levels -= 1
        sizes = [self._sizes[id(child)] for child in _children(node)]
        size = 1 + sum(count for count, _ in sizes), 1 + max((levels for _, levels in sizes), default=0)
        self._limit(*size, mark)
        self._sizes[id(node)] = size
        return node

    def _limit(self, count: int, levels: int, mark: yaml.Mark) -> None:
        if levels > MOST_LEVELS:
            raise Refused(
                problem=f"brackets or lists are nested too deeply to be read: more than {MOST_LEVELS} levels",
                problem_mark=mark,
            )
        if count > MOST_VALUES:
            raise Refused(
                problem=f"this stands for more than {MOST_VALUES:,} values, aliases (*name) followed", problem_mark=mark
            )


def _children(node: yaml.Node | None) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def spelled_tag(tag: str) -> str:
    """Write a tag as files do: ``!!set`` for ``tag:yaml.org,2002:set``."""
    standard = "tag:yaml.org,2002:"
    return f"!!{tag.removeprefix(standard)}" if tag.startswith(standard) else tag
