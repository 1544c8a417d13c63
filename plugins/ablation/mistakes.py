"""The mistakes of an ablation file, collected while it is planned and told together."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from regionkit.core.errors import ConfigError, Problem
from regionkit.registry.document import Document
from regionkit.registry.schema import by_line


class Mistakes:
    """Takes mistakes of one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.found: list[Problem] = []

    def add(self, path: str, message: str, *hints: str) -> None:
        """Note a mistake at a dotted path of the file."""
        kept = tuple(hint for hint in hints if hint)
        self.found.append(Problem(self.document.line(path), path, message, kept))

    def about(self, path: str) -> bool:
        """Say whether a mistake was found at a dotted path or inside it."""
        return any(f"{problem.path}.".startswith(f"{path}.") for problem in self.found)

    def tell(self) -> None:
        """Raise what was found, if anything was.

        Raises:
            ConfigError: All mistakes, in the order of the lines.
        """
        if self.found:
            raise ConfigError(self.told())

    def told(self) -> list[Problem]:
        """Return all mistakes, each once, in the order of the lines."""
        told: dict[tuple[Any, ...], Problem] = {}
        for problem in map(self._as_written, self.found):
            # One mistake in all values of a list, such as the name of their option, is told at the first.
            key = (problem.where, problem.path.rstrip("0123456789"), problem.message, problem.hints)
            told.setdefault(key, problem)
        return sorted(told.values(), key=by_line)

    def _as_written(self, problem: Problem) -> Problem:
        """Point at the bare name of a part as the user wrote it, not at the mapping that it is short for.

        An option that the path ends with already is not named again by the message.
        """
        option = re.sub(r"(\.\d+)+$", "", problem.path).rpartition(".")[2]
        problem = replace(problem, message=problem.message.removeprefix(f"{option}: "))
        short = problem.path.removesuffix(".name")
        written = problem.path in self.document.lines or short not in self.document.lines
        return problem if written else replace(problem, path=short)
