"""Why a component cannot be built: what its class lacks, or what its code raised, by the names that users know."""

from __future__ import annotations

import importlib
import inspect
from traceback import walk_tb

from regionkit.core.blame import Made, blamed_part, spelled, told
from regionkit.core.contracts import Component
from regionkit.core.errors import RegionkitError
from regionkit.core.spec import KINDS, ComponentSpec
from regionkit.registry.registry import get_registry

#: Modules that call a component's class: behind their frames lies its own code.
_CALLERS = ("regionkit.registry.assembly", "regionkit.core.contracts", "contextlib")


def who_is(spec: ComponentSpec) -> Made:
    """Return who a component is in messages about what it does."""
    return Made(spec.kind, spec.name, str(get_registry().owner(spec)))


def check_whole(found: type[Component], spec: ComponentSpec) -> None:
    """Refuse a class that leaves methods of its contract unwritten.

    Raises:
        RegionkitError: It does; the message names them as the contract has them.
    """
    lacking = sorted(getattr(found, "__abstractmethods__", ()))
    if not lacking:
        return
    contract = KINDS[spec.kind].partition(":")[2]
    signatures = [f"def {name}{_signature(getattr(found, name))}" for name in lacking]
    raise RegionkitError(
        f"{spelled(spec.kind)} '{spec.name}' cannot be built: {spec.target} lacks {', '.join(lacking)}",
        f"a {contract} must have: {'; '.join(signatures)}",
        _fault(spec),
    )


def check_made(component: object, spec: ComponentSpec) -> None:
    """Refuse what a method build gave instead of a component.

    Raises:
        RegionkitError: It is of another kind than the one that was asked for.
    """
    module, _, name = KINDS[spec.kind].partition(":")
    contract = getattr(importlib.import_module(module), name)
    if not isinstance(component, contract):
        gave = "None" if component is None else f"a {type(component).__name__}"
        raise RegionkitError(
            f"{spelled(spec.kind)} '{spec.name}' cannot be built: {spec.target}.build() gave {gave}",
            f"return the {name} that it makes: return cls(config)",
            _fault(spec),
        )


def not_built(spec: ComponentSpec, what: str, error: Exception) -> RegionkitError:
    """Return what to say of an exception of a component's code while it was built or fitted."""
    # Another part may have been at work, such as the text tower that encodes what a bridge is fitted to.
    own = "" if blamed_part(error) else f"its code is that of plugin {get_registry().owner(spec)}: {spec.target}; "
    return RegionkitError(
        f"{spelled(spec.kind)} '{spec.name}' cannot be {what}: {told(error)}",
        _call_of(spec, error) if what == "built" else "",
        f"{own}see it whole with --traceback",
    )


def _call_of(spec: ComponentSpec, error: Exception) -> str:
    """Say how a component is called, where its own code was never reached: it takes other arguments."""
    reached = any(frame.f_globals.get("__name__") not in _CALLERS for frame, _ in walk_tb(error.__traceback__))
    if reached or not isinstance(error, TypeError):
        return ""
    given = "its filled options alone" if spec.config else "nothing: its spec names no config"
    return (
        f"its constructor is given {given}; write def __init__(self{', config' if spec.config else ''}), "
        "or def build(cls, config, context) as a classmethod that calls it"
    )


def _signature(method: object) -> str:
    """Return the parameters of a method without their annotations; those of a property are its object's alone."""
    if not callable(method):
        return "(self), a property"
    known = inspect.signature(method)
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in known.parameters.values()]
    return str(known.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def _fault(spec: ComponentSpec) -> str:
    return f"this is a fault of plugin {get_registry().owner(spec)}, which names it as {spec.target}"
