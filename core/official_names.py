"""Names of tensors that remember how they stand in the checkpoint that they were read from, for messages."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """How the names of a checkpoint became ours: regular expression of a whole official name, and the new one."""

    pairs: tuple[tuple[str, str], ...]

    def official(self, name: str) -> str:
        """Return what a name of ours would be called in the checkpoint; empty where no rule can be read backwards."""
        for _, inverse, parts in self._backwards:
            match = inverse.fullmatch(name)
            if match is not None:
                return "".join(part if isinstance(part, str) else match[f"g{part}"] for part in parts)
        return ""

    @functools.cached_property
    def _backwards(self) -> list[tuple[str, re.Pattern[str], list[str | int]]]:
        return [found for old, new in self.pairs if (found := _backwards(old, new)) is not None]


class Renamed(str):
    """A name of ours, equal to the plain text, with the name in the file and the rules that it came by.

    Attributes:
        official: The name in the file.
        rules: The rules.
    """

    official: str
    rules: Rules

    def __new__(cls, name: str, official: str, rules: Rules) -> Renamed:
        """Make a name."""
        made = super().__new__(cls, name)
        made.official, made.rules = official, rules
        return made


def moved(name: str, change: Callable[[str], str]) -> str:
    """Change a name of ours further, as a part of a joint tensor is called; it still knows where it comes from."""
    if not isinstance(name, Renamed):
        return change(name)
    return Renamed(change(name), name.official, _moved(name.rules, change))


def in_the_file(name: str) -> str:
    """Return a name as it stands in its checkpoint, where it knows that."""
    return name.official if isinstance(name, Renamed) else name


def would_be(name: str, beside: Iterable[str]) -> str:
    """Return what a missing tensor would be called in the checkpoint that others come from; our name if none says it.

    Args:
        name: A name of ours.
        beside: The names that are there.
    """
    known = dict.fromkeys(other.rules for other in beside if isinstance(other, Renamed))
    return next((found for rules in known if (found := rules.official(name))), name)


def rules_of(rules: Mapping[str, str]) -> Rules:
    """Return rules as names keep them."""
    return Rules(tuple(rules.items()))


def _moved(rules: Rules, change: Callable[[str], str]) -> Rules:
    return Rules(tuple((old, change(new)) for old, new in rules.pairs))


def _backwards(old: str, new: str) -> tuple[str, re.Pattern[str], list[str | int]] | None:
    r"""Turn a rule around: of ``blocks\.(\d+)\.fc`` -> ``layers.\1.mlp`` the pattern of new names, and how to undo it.

    Returns:
        The official expression, the pattern with a group ``gN`` for group N, and text and group numbers in turn; None
        where the official name does not follow from the new one.
    """
    parts = _parts(old)
    if parts is None:
        return None
    groups = [part for part in parts if part.startswith("(")]
    seen: set[int] = set()
    pattern = ""
    for place, piece in enumerate(re.split(r"\\(\d)", new)):
        if place % 2 == 0:
            pattern += re.escape(piece)
        elif int(piece) > len(groups):
            return None
        else:
            number = int(piece)
            pattern += f"(?P=g{number})" if number in seen else f"(?P<g{number}>{groups[number - 1][1:-1]})"
            seen.add(number)
    if len(seen) != len(groups):
        return None
    numbers = iter(range(1, len(groups) + 1))
    undone: list[str | int] = [next(numbers) if part.startswith("(") else part for part in parts]
    return old, re.compile(pattern), undone


def _parts(expression: str) -> list[str] | None:
    """Cut an expression into literal texts, unescaped, and its groups; None where it has anything else."""
    parts, place = [""], 0
    while place < len(expression):
        sign = expression[place]
        if sign == "\\" and not expression[place + 1 : place + 2].isalnum():
            parts[-1] += expression[place + 1]
            place += 2
        elif sign == "(":
            end = _closing(expression, place)
            group = expression[place : end + 1]
            if group.startswith("(?") or re.search(r"(?<!\\)\((?!\?:)", group[1:]):
                return None
            parts += [group, ""]
            place = end + 1
        elif sign in r"\|.*+?[]{}^$":
            return None
        else:
            parts[-1] += sign
            place += 1
    return parts


def _closing(expression: str, start: int) -> int:
    depth = 0
    for place in range(start, len(expression)):
        depth += {"(": 1, ")": -1}.get(expression[place], 0)
        if depth == 0:
            return place
    return len(expression)
