"""Which spaces flow between the parts of a pipeline, told from specs and options alone."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, replace

from regionkit.core.errors import PortError, RegionkitError
from regionkit.core.spec import ComponentSpec, Port, Ports, Space
from regionkit.core.weights import WeightHeader
from regionkit.registry.schema import Part

_OWN = re.compile(r"own(\[(?P<dim>\d+)\])?")


@dataclass(frozen=True, slots=True)
class Spaces:
    """The spaces of a pipeline's backbone, ``name[dim]``.

    Attributes:
        image: Of patches and class token.
        text: Of sentences; empty without a text tower.
        blocks: Of what its transformer blocks hand on; empty where it exposes none.
        masked: Of what it makes of pictures with masks; empty where it takes none.
    """

    image: str
    text: str
    blocks: str = ""
    masked: str = ""


def ends(part: Part) -> Ports:
    """Return the ports of a part with these options.

    Raises:
        RegionkitError: The plugin's function for them failed.
    """
    spec: ComponentSpec = part.spec
    if not spec.ports:
        return Ports(spec.reads, spec.writes, spec.text, spec.blocks, spec.masked)
    module, _, name = spec.ports.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)(part.config)
    except RegionkitError:
        raise
    except Exception as error:
        raise RegionkitError(
            f"the ports of {part.kind} '{part.name}' cannot be told: {type(error).__name__}: {error}",
            f"this is a fault of {spec.ports}",
        ) from error
    if not isinstance(found, Ports):
        raise RegionkitError(
            f"the ports of {part.kind} '{part.name}' cannot be told: {spec.ports} returned {found!r}, no Ports",
            "return regionkit.core.spec.Ports(reads=..., writes=...)",
        )
    return found


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
    return Spaces(own.writes.space, own.text, own.blocks, own.masked)


def is_own(port: Port | None) -> bool:
    """Say whether a port is a space that the part makes up when it is trained."""
    return port is not None and port.form == "tokens" and _OWN.fullmatch(port.space) is not None


def of_weights(port: Port | None) -> bool:
    """Say whether the weights of a part decide the space of a port."""
    return port is not None and (port.space == "weights" or is_own(port))


def settled(part: Part, port: Port, header: WeightHeader | None, incoming: Port, *, end: str) -> Port:
    """Replace ``weights`` and ``own`` in a port by what the weights say, and ``own`` without any by a name for it.

    Args:
        part: The part.
        port: One of its ports.
        header: Of its weights; None for a part that is untrained.
        incoming: What it reads; ``own`` without a width is as wide as that.
        end: ``reads`` or ``writes``.
    """
    if not of_weights(port):
        return port
    said = "" if header is None else (header.writes or header.space) if end == "writes" else header.space
    if said:
        return replace(port, space=said)
    match = _OWN.fullmatch(port.space)
    if match is None:
        return port
    dim = int(match["dim"]) if match["dim"] else Space.parse(incoming.space).dim
    return replace(port, space=str(Space(f"{part.name}/{part.run}", dim)))


def resolve(part: Part, port: Port, spaces: Spaces, incoming: Port) -> Port:
    """Replace the symbols of a port, but those that weights decide, by what they stand for in this pipeline.

    Raises:
        PortError: It asks for the text space of a backbone that has no text tower, or for the blocks or masked
            pictures of one that has no such thing.
    """
    if port.form == "views":
        return port
    if port.space == "text" and not spaces.text:
        raise PortError(
            f"{part.kind} '{part.name}' works in the backbone's space of sentences, and the backbone has no text tower",
            "choose a backbone with one: toolkit compat shows which parts fit",
        )
    if port.space == "blocks" and not spaces.blocks:
        raise PortError(
            f"{part.kind} '{part.name}' works between the transformer blocks of a backbone, and this one exposes none",
            "choose a vision transformer: toolkit compat shows which parts fit",
        )
    if port.space == "masked" and not spaces.masked:
        raise PortError(
            f"{part.kind} '{part.name}' hands a backbone pictures with masks, and this one takes no masks",
            "choose a backbone that does: toolkit compat shows which parts fit",
        )
    concrete = {"image": spaces.image, "text": spaces.text, "blocks": spaces.blocks, "masked": spaces.masked}
    concrete |= {"any": incoming.space, "same": incoming.space}
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


def space_in(shown: str) -> str:
    """Return the space that :func:`spelled` wrote; pictures have none."""
    return "" if shown == "views" else shown
