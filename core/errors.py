"""Errors that a user can act on: what was asked, where, what exists, what to type next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class RegionkitError(Exception):
    """A mistake or a missing piece that the user can mend. Printed without a traceback.

    Args:
        message: One line that says what is wrong, naming the thing as the user wrote it.
        hints: Further lines, each saying what exists or what to type next.
    """

    #: Exit status of the command line: 2 is wrong use, 1 is work that failed.
    exit_code = 2

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.message = message
        self.hints = tuple(hint for hint in hints if hint)

    def __str__(self) -> str:
        return "\n  ".join((self.message, *self.hints))


class UnknownName(RegionkitError):
    """A component, preset, option or task of that name does not exist."""


class PortError(RegionkitError):
    """Two parts of a pipeline do not speak of the same space."""


class RegionError(RegionkitError):
    """A region has no area, lies outside its image, or is of a kind that the part does not take."""


class ImageError(RegionkitError):
    """A file is not a picture, or a backbone refuses the picture."""


class FeatureError(RegionkitError):
    """A backbone or bridge produced values that cannot be used, such as NaN."""


class ContractError(FeatureError):
    """A part handed on something else than its contract says: a fault of its code, whatever it was given."""

    exit_code = 1


class WeightsError(RegionkitError):
    """Weights are missing, damaged, or were trained for something else."""


class WeightsAbsent(WeightsError):
    """Weights are not here, and nothing that is here is wrong: fetching or training them is all that it takes."""


class DataError(RegionkitError):
    """A data set or an input file cannot be used as asked."""


class MissingExtra(RegionkitError):
    """A package that an optional part needs is not installed.

    Args:
        what: The part that needs it, such as ``"recipe 'text-only'"``.
        package: Name of the missing package.
        extra: Name of the regionkit extra that brings it.
    """

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the package '{package}', which is not installed",
            f"install it with: pip install 'regionkit[{extra}]'"
            if extra
            else f"install it with: pip install {package}",
        )


class RunFailed(RegionkitError):
    """The work itself was refused or ended badly although it was asked for correctly."""

    exit_code = 1


class PartFailed(RunFailed):
    """The code of a part raised what nobody foresaw; the exception is the ``__cause__``."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file.

    Attributes:
        where: ``file:line`` or the command-line option that the value came from.
        path: Dotted path inside the file, such as ``backbone.resolution``.
        message: What is wrong with it.
        hints: What exists, or what to type next.
    """

    where: str
    path: str
    message: str
    hints: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = ": ".join(part for part in (self.where, self.path, self.message) if part)
        return "\n  ".join((head, *self.hints))


class ConfigError(RegionkitError):
    """Every mistake of a configuration, reported together."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def closest(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three known names that a name may have been meant as, the closest first, in whatever case."""
    plain = {word.lower(): word for word in sorted(known)}
    return [plain[word] for word in get_close_matches(name.lower(), plain, n=3, cutoff=0.6)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"did you mean: a, b"`` for the closest known names, or an empty string."""
    close = closest(name, known)
    return f"did you mean: {', '.join(close)}" if close else ""


def commonest(reasons: Iterable[str], most: int = 3) -> list[str]:
    """Return the commonest of some reasons, ``"3 times: the server is busy"`` each."""
    return [f"{count} times: {reason}" for reason, count in Counter(reasons).most_common(most)]
