"""Whose fault an error is: the component that was at work, by the name that users know, and the place in its code."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from regionkit.core.errors import PartFailed, RegionkitError

if TYPE_CHECKING:
    from regionkit.core.contracts import Component

#: Frames of these packages are where an error surfaced, not where it comes from.
_LIBRARIES = {"torch", "numpy", "PIL", "transformers", "timm", "safetensors"}
#: Where a component keeps who it is: no contract names it, so that no component has an attribute like it by chance.
_KEY = "_regionkit_made"
_NOTE = "raised by "


@dataclass(frozen=True, slots=True)
class Made:
    """Who a component is to users, noted by whoever builds it by name.

    Attributes:
        kind: Its kind.
        name: The word that YAML files use.
        owner: The plugin that brings it.
        writes: The space that the pipeline was told it writes, ``name[dim]``, or ``views``; empty where nobody said.
    """

    kind: str
    name: str
    owner: str = ""
    writes: str = ""

    def __str__(self) -> str:
        return f"{spelled(self.kind)} '{self.name}'" + (f" of plugin {self.owner}" if self.owner else "")


def spelled(kind: str) -> str:
    """Return a kind as sentences have it."""
    return kind.replace("_", " ")


def note_made(component: Component, made: Made) -> None:
    """Note who a component is; past its class, which may be frozen or have a way of its own with attributes."""
    held = getattr(component, "__dict__", None)
    if held is not None:  # nothing but its name in messages is lost by a class of slots
        held[_KEY] = made


def made_of(component: Component) -> Made | None:
    """Return who a component is; None for one that was made by hand."""
    found = getattr(component, "__dict__", {}).get(_KEY)
    return found if isinstance(found, Made) else None


def who(component: Component, kind: str) -> str:
    """Name a component in a sentence: by kind, name and plugin, or by its class where it was made by hand."""
    made = made_of(component)
    return str(made) if made is not None else f"{spelled(kind)} '{type(component).__name__}'"


@contextmanager
def blamed(component: Component, kind: str) -> Iterator[None]:
    """Note on an exception that nobody foresaw which component was at work; the innermost one is to blame."""
    try:
        yield
    except RegionkitError:
        raise
    except Exception as error:
        if not blamed_part(error):
            error.add_note(f"{_NOTE}{who(component, kind)}")
        raise


def blamed_part(error: BaseException) -> str:
    """Return the component that :func:`blamed` noted on an exception; empty where it noted none."""
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith(_NOTE)]
    return notes[0].removeprefix(_NOTE) if notes else ""


def told(error: BaseException) -> str:
    """Say on one line what an exception that nobody foresaw is, of which component, and where in its code."""
    said, part = " ".join(str(error).split()), blamed_part(error)
    every = list(traceback.extract_tb(error.__traceback__))
    frames = [frame for frame in every if not _LIBRARIES & set(Path(frame.filename).parts)] or every
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno}, in {frames[-1].name})" if frames else ""
    return f"{f'{part}: ' if part else ''}{type(error).__name__}{f': {said}' if said else ''}{where}"


def failed(error: Exception) -> RegionkitError:
    """Return an exception as an error for whoever records it; one that says itself what to mend stays what it is."""
    if isinstance(error, RegionkitError):
        return error
    found = PartFailed(told(error), "this is a fault of the code; see it whole with --on-error stop")
    found.__cause__ = error
    return found
