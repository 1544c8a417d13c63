"""Named checks, each with the sentence that it demands, and how they are run."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from regionkit.core.errors import RegionkitError
from regionkit.core.testing.demands import Skip
from regionkit.core.testing.subject import Subject

Function = Callable[[Subject], None]

#: Folder of the battery: frames in here are not where a component crashed.
_HERE = Path(__file__).parent
#: Frames in these packages are where it surfaced, not where it comes from.
_LIBRARIES = {"torch", "numpy", "PIL", "transformers", "timm", "safetensors"}


@dataclass(frozen=True)
class Check:
    """One promise of a kind.

    Attributes:
        name: Short name, for test ids and tables.
        kinds: Kinds that it is made of.
        demands: One sentence: what has to hold.
        function: Raises AssertionError with what is broken, or :class:`~regionkit.core.testing.demands.Skip`.
        gpu: Whether it needs a CUDA device.
    """

    name: str
    kinds: tuple[str, ...]
    demands: str
    function: Function
    gpu: bool = False

    def __call__(self, subject: Subject) -> None:
        """Check a subject.

        Raises:
            AssertionError: The promise is broken, or the component crashed; one sentence says how.
            Skip: The check has nothing to say of this component.
        """
        try:
            self.function(subject)
        except (AssertionError, Skip):
            raise
        except Exception as error:
            raise AssertionError(crash(error)) from error


#: All checks, in the order in which they are made: what a result looks like comes before what it may depend on.
_CHECKS: list[Check] = []


def check(*kinds: str, gpu: bool = False) -> Callable[[Function], Function]:
    """Make a named check of a function: ``batch_equals_loop`` is called ``batch-equals-loop``.

    The first line of its docstring is the sentence that it demands.
    """

    def register(function: Function) -> Function:
        name = function.__name__.replace("_", "-")
        demands = (function.__doc__ or name).splitlines()[0].rstrip(".")
        _CHECKS.append(Check(name, kinds, demands, function, gpu))
        return function

    return register


def checks_of(kind: str) -> list[Check]:
    """Return the checks of a kind, in order."""
    return [one for one in _CHECKS if kind in one.kinds]


def failures(subject: Subject, names: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield the name and the sentence of every check that a subject fails.

    Args:
        subject: The subject.
        names: Checks to make; all of its kind by default.
    """
    for one in checks_of(subject.kind):
        if not names or one.name in names:
            try:
                one(subject)
            except Skip:
                continue
            except AssertionError as error:
                yield one.name, str(error)


def run_all(subject: Subject) -> None:
    """Make every check of a subject's kind and stop at the first promise that is broken.

    Raises:
        AssertionError: One sentence says which.
    """
    for one in checks_of(subject.kind):
        try:
            one(subject)
        except Skip:
            continue


def crash(error: BaseException) -> str:
    """Say on one line what a component raised, and where in its own code."""
    kind = type(error).__name__
    lines = str(error).strip().splitlines()
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent != _HERE]
    frames = [frame for frame in frames if not _LIBRARIES & set(Path(frame.filename).parts)] or frames
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    message = f": {lines[0]}" if lines else ""
    if isinstance(error, RegionkitError):
        return f"it raised {kind}{message}{where}"
    return f"it crashed with {kind}{message}{where}"
