"""Which spaces flow between the parts of a pipeline, told from specs and options alone."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace

from regionkit.core.errors import PortError, RegionkitError
from regionkit.core.spec import ComponentSpec, Port, Space
from regionkit.registry.schema import Part


@dataclass(frozen=True, slots=True)
class Ends:
    """The ports of one part, before the pipeline resolves their symbols; ``text`` is a backbone's sentence space."""

    reads: Port | None
    writes: Port | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Spaces:
    """The two spaces of a pipeline's backbone, ``name[dim]``; ``text`` is empty without a text tower."""

    image: str
    text: str


def ends(part: Part) -> Ends:
    """Return the ports of a part with these options.

    Raises:
        RegionkitError: The plugin's function for them failed.
    """
    spec: ComponentSpec = part.spec
    if not spec.ports:
        return Ends(spec.reads, spec.writes, spec.text)
    module, _, name = spec.ports.partition(":")
    try:
        reads, writes, text = getattr(importlib.import_module(module), name)(part.config)
    except RegionkitError:
        raise
    except Exception as error:
        raise RegionkitError(
            f"the ports of {part.kind} '{part.name}' cannot be told: {type(error).__name__}: {error}",
            f"this is a fault of {spec.ports}",
        ) from error
    return Ends(reads, writes, text)


def spaces_of(backbone: Part) -> Spaces:
    """Return the spaces of a backbone.

    Raises:
        PortError: It names none.
    """
    own = ends(backbone)
    if own.writes is None:
        raise PortError(f"backbone '{backbone.name}' does not say which space it writes")
    try:
        Space.parse(own.writes.space)
    except ValueError as error:
        raise PortError(f"backbone '{backbone.name}': {error}") from None
    return Spaces(own.writes.space, own.text)


def resolve(part: Part, port: Port, spaces: Spaces, incoming: Port) -> Port:
    """Replace ``image``, ``text``, ``any`` and ``same`` in a port by what they stand for in this pipeline.

    Raises:
        PortError: It asks for the text space of a backbone that has no text tower.
    """
    if port.form == "views":
        return port
    if port.space == "text" and not spaces.text:
        raise PortError(
            f"{part.kind} '{part.name}' works in the backbone's space of sentences, and the backbone has no text tower",
            "choose a backbone with one: toolkit compat shows which parts fit",
        )
    concrete = {"image": spaces.image, "text": spaces.text, "any": incoming.space, "same": incoming.space}
    return replace(port, space=concrete.get(port.space, port.space))


def mismatch(giver: str, given: Port, taker: str, taken: Port) -> str:
    """Say why what one part gives is not what the next part takes; empty where it is."""
    if given.form != taken.form:
        return f"{giver} writes {_form(given)}, but {taker} reads {_form(taken)}"
    if given.form == "views":
        return ""
    if given.space != taken.space:
        return f"{giver} writes {given.space}, but {taker} reads {taken.space}"
    if given.many and not taken.many:
        return f"{giver} writes several tokens a region, but {taker} reads one"
    return ""


def _form(port: Port) -> str:
    return "views (pictures)" if port.form == "views" else str(port.space)


def spelled(port: Port | None) -> str:
    """Write a resolved port as plans and messages show it."""
    return "" if port is None else ("views" if port.form == "views" else port.space)
