"""Filling the options of components from YAML values, with every mistake reported and none hiding another."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass
from typing import Any, get_type_hints

from regionkit.core.errors import ConfigError, Problem, RegionkitError, did_you_mean
from regionkit.core.spec import KINDS, ComponentSpec
from regionkit.registry.registry import get_registry, plural
from regionkit.registry.values import Mismatch, convert, plain, type_text

Where = Callable[[str], str]


@dataclass(frozen=True)
class NoOptions:
    """Config of a component that takes no options."""


@dataclass(frozen=True)
class Part:
    """A component with its options filled.

    Attributes:
        kind: Its kind.
        spec: What the registry knows of it.
        config: The filled dataclass of its options.
        given: Names of the options that were written by the user; all others are defaults.
        folder: Reference to the folder that its pipeline names for the weights of all its parts; empty for none.
        run: Name of the training that the part is in, after which its own spaces are called.
    """

    kind: str
    spec: ComponentSpec
    config: Any
    given: frozenset[str] = frozenset()
    folder: str = ""
    run: str = "untrained"

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"name": ..., every option, filled}`` in plain values that JSON and YAML can hold."""
        return dict(self._plain)

    @functools.cached_property
    def text(self) -> str:
        """The same as one canonical text, for digests."""
        return json.dumps(self._plain, sort_keys=True, default=str)

    @functools.cached_property
    def _plain(self) -> dict[str, Any]:
        return {"name": self.spec.name, **{name: plain(getattr(self.config, name)) for name in option_types(self.spec)}}


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a component, for listings.

    Attributes:
        name: Its name.
        type: Its type as messages write it, choices included.
        default: Its default as a plain value; meaningless where ``required``.
        required: True where there is no default.
        doc: What its config class says of it.
    """

    name: str
    type: str
    default: Any
    required: bool
    doc: str


def by_line(problem: Problem) -> tuple[str, int]:
    """Sort key that puts mistakes in the order of the file's lines, those of the command line first."""
    file, _, line = problem.where.rpartition(":")
    return (file, int(line)) if line.isdigit() else ("", 0)


def nowhere(path: str) -> str:
    """Place nothing: for values that come from Python."""
    return ""


@functools.cache
def config_class(spec: ComponentSpec) -> type[Any]:
    """Import the config dataclass of a component.

    Raises:
        RegionkitError: It cannot be imported, or is no dataclass.
    """
    if not spec.config:
        return NoOptions
    module, _, name = spec.config.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a stranger's module may raise anything
        raise RegionkitError(
            f"the options of {spec.kind} '{spec.name}' cannot be read: {type(error).__name__}: {error}",
            f"this is a fault of {owner_text(spec)}, which names them as {spec.config}",
        ) from error
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise RegionkitError(
            f"{spec.config}, the options of {spec.kind} '{spec.name}', is no dataclass",
            f"write @dataclass(frozen=True) above class {name}, and a type at each option, such as scale: float = 1.0; "
            "or leave config out of the spec of a component without options",
        )
    return found


def untyped(spec: ComponentSpec) -> dict[str, str]:
    """Return what a config class sets without a type, which dataclasses take for no option: how to write each, by name.

    Constants in capitals, private names, methods and properties are left out.
    """
    found: dict[str, str] = {}
    for cls in reversed(config_class(spec).__mro__[:-1]):
        typed = inspect.get_annotations(cls)
        for name, value in vars(cls).items():
            # What has __get__ is a method, a property, or the slot of an option that has its type in another class.
            if name.startswith("_") or name in typed or name.isupper() or hasattr(value, "__get__"):
                continue
            kind = type(value).__name__ if isinstance(value, (bool, int, float, str)) else "TYPE"
            found[name] = f"{name}: {kind} = {value!r}" if kind != "TYPE" else f"{name}: TYPE = ..."
    return found


@functools.cache
def option_types(spec: ComponentSpec) -> dict[str, Any]:
    """Return the type of every option, in the order of the config class."""
    cls = config_class(spec)
    try:
        hints = get_type_hints(cls)  # each base class in the names of its own module
    except Exception as error:  # a name that is imported for type checkers alone, or any other mistake of a stranger
        raise RegionkitError(
            f"the options of {spec.kind} '{spec.name}' cannot be read: {type(error).__name__}: {error}",
            f"this is a fault of {owner_text(spec)}, whose {spec.config} annotates them",
        ) from error
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def options(spec: ComponentSpec) -> list[Option]:
    """Describe the options of a component."""
    from regionkit.registry.docstrings import attribute_docs

    cls = config_class(spec)
    docs, types = attribute_docs(cls), option_types(spec)
    return [
        Option(
            field.name,
            type_text(types[field.name]),
            None if _required(field) else plain(_default(field)),
            _required(field),
            docs.get(field.name, ""),
        )
        for field in dataclasses.fields(cls)
        if field.init
    ]


def fill(
    kind: str, value: Any, where: Where = nowhere, path: str = "", problems: list[Problem] | None = None
) -> Part | None:
    """Fill the options of a component.

    Args:
        kind: The kind of component that belongs here.
        value: A mapping with ``name`` and options, or a name alone.
        where: Tells where a dotted path was written.
        path: Dotted path of this value inside its file; the kind where it is left empty.
        problems: Takes every mistake. Without it, mistakes are raised together.

    Returns:
        The part, or None where there were mistakes.

    Raises:
        ConfigError: There were mistakes, and no list to take them.
    """
    found: list[Problem] = []
    part = _fill(kind, value, where, path or kind, found)
    if problems is not None:
        problems += found
    elif found:
        raise ConfigError(found)
    return part if not found else None


def _fill(kind: str, value: Any, where: Where, path: str, problems: list[Problem]) -> Part | None:
    name_path = path
    if isinstance(value, Mapping):
        name_path = f"{path}.name"
        given = {str(key): option for key, option in value.items() if key != "name"}
        name = value.get("name")
    else:
        name, given = value, {}
    if name is None:
        names = _some_names(kind)
        misspelt = next((key for key in given if did_you_mean(key, ("name",))), "")
        if misspelt:
            inner = f"{path}.{misspelt}"
            problems.append(Problem(where(inner), inner, "unknown option", ("did you mean: name", *names)))
            return None
        takers = [spec for spec in get_registry().specs(kind) if given and all(_takes_option(spec, k) for k in given)]
        own = (f"these are options of: {', '.join(spec.name for spec in takers)}",) if takers else ()
        problems.append(Problem(where(path), path, f"say which {kind} to use: name: NAME", own or names))
        if len(takers) == 1:  # no other can be meant, so what is wrong with the options is told too
            fill_options(takers[0], given, where, path, problems)
        return None
    if not isinstance(name, str):
        message = f"expected the name of a {kind} or a mapping with one, got {plain(name)!r}"
        problems.append(Problem(where(name_path), name_path, message, _some_names(kind)))
        return None
    try:
        spec = get_registry().find(kind, name)
        option_types(spec)
    except RegionkitError as error:
        problems.append(Problem(where(name_path), name_path, error.message, error.hints))
        return None
    return fill_options(spec, given, where, path, problems)


def fill_options(
    spec: ComponentSpec, given: Mapping[str, Any], where: Where, path: str, problems: list[Problem]
) -> Part | None:
    """Fill the options of a known component; mistakes go to ``problems``."""
    before = len(problems)
    types = option_types(spec)
    values: dict[str, Any] = {}
    for key, raw in given.items():
        inner = f"{path}.{key}"
        if key not in types:
            close = did_you_mean(key, (*types, "name"))
            close = _without_type(spec, key) or close
            hints = tuple(hint for hint in (close, takes(spec), *_other_owners(spec, key)) if hint)
            problems.append(Problem(where(inner), inner, "unknown option", hints))
            continue
        try:
            values[key] = convert(raw, types[key])
        except Mismatch as error:
            problems.append(Problem(where(inner), inner, error.message, error.hints))
    for field in dataclasses.fields(config_class(spec)):
        if field.init and _required(field) and field.name not in given:
            message = f"the option '{field.name}' is missing: it has no default"
            hints = (*_fillers(spec, where(path), path, field.name), takes(spec))
            problems.append(Problem(where(path), f"{path}.{field.name}", message, hints))
    if len(problems) > before:
        return None
    try:
        return Part(spec.kind, spec, config_class(spec)(**values), frozenset(values))
    except RegionkitError as error:
        problems.append(Problem(_where_named(error.message, values, where, path), path, error.message, error.hints))
    except (ValueError, TypeError) as error:
        problems.append(Problem(_where_named(str(error), values, where, path), path, str(error)))
    return None


def with_defaults(part: Part, defaults: Mapping[str, Any]) -> Part:
    """Lay options under those that the user gave, as the header of a weight file does with the shape it was trained in.

    Raises:
        RegionkitError: The component does not take one of them.
    """
    types = option_types(part.spec)
    unknown = [name for name in defaults if name not in types]
    if unknown:
        raise RegionkitError(f"{part.kind} '{part.name}' has no option '{unknown[0]}'", takes(part.spec))
    try:
        values = {name: convert(value, types[name]) for name, value in defaults.items() if name not in part.given}
        if all(getattr(part.config, name) == value for name, value in values.items()):
            return part
        return dataclasses.replace(part, config=dataclasses.replace(part.config, **values))
    except Mismatch as error:
        raise RegionkitError(error.message, *error.hints) from None


def takes(spec: ComponentSpec) -> str:
    """Return ``name (plugin) takes: option=type, ...``."""
    types = option_types(spec)
    listed = ", ".join(f"{name}={type_text(kind)}" for name, kind in types.items())
    return f"{spec.name} ({get_registry().owner(spec).plugin}) takes: {listed or 'no options'}"


def owner_text(spec: ComponentSpec) -> str:
    """Name the plugin that a component came with."""
    return f"plugin {get_registry().owner(spec)}"


def check_keys(
    data: Mapping[str, Any], allowed: Iterable[str], where: Where, problems: list[Problem], path: str = ""
) -> None:
    """Report keys that do not belong here, with close matches."""
    known = tuple(allowed)
    for key in data:
        if key not in known:
            inner = f"{path}.{key}" if path else str(key)
            # Keys of any file are gone by now, composed or checked; misspelt ones come here.
            common = () if path else ("version", "extends", "base", "plugins")
            hint = did_you_mean(str(key), (*known, *common)) or f"keys are: {', '.join(known)}"
            problems.append(Problem(where(inner), inner, "unknown key", (hint,)))


def _other_owners(spec: ComponentSpec, key: str) -> tuple[str, ...]:
    """Name the components of the same kind that do take an option, for one left over from another choice of part."""
    others = [other.name for other in get_registry().specs(spec.kind) if other != spec and _takes_option(other, key)]
    return (f"it is an option of: {', '.join(others)}",) if others else ()


def _without_type(spec: ComponentSpec, key: str) -> str:
    """Say how to make an option of what a config class sets without a type."""
    how = untyped(spec).get(key, "")
    return f"{spec.config} sets '{key}' without a type, so it is no option: write {how}" if how else ""


def _fillers(spec: ComponentSpec, place: str, path: str, option: str) -> tuple[str, ...]:
    """Name the components that an option may name, and how one is written; none where it names no component."""
    kind = spec.roles.get(option, "")
    names = get_registry().names(kind) if kind in KINDS else []
    if not names:
        return ()
    called = spec.name if place == "--metrics" and "." in path else path  # wherever a metric stands in a list
    flag = place.startswith("--") and "." not in called
    how = f"--set {called}.{option}.name={names[0]}" if flag else f"{option}: {{name: {names[0]}, ...}} in a YAML file"
    return (f"{plural(kind)} are: {', '.join(names)}; for example {how}; see: toolkit show {names[0]}",)


def _takes_option(spec: ComponentSpec, key: str) -> bool:
    try:
        return key in option_types(spec)
    except RegionkitError:
        return False


def _some_names(kind: str) -> tuple[str, ...]:
    names = get_registry().names(kind)
    return (f"{plural(kind)} are: {', '.join(names)}",) if names else (f"no plugin brings a {kind}",)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _where_named(message: str, values: Mapping[str, Any], where: Where, path: str) -> str:
    """Place a mistake that a config class found itself at the option its message names, else at the part."""
    words = set(message.replace("'", " ").replace(":", " ").replace(",", " ").replace("=", " ").split())
    named = [name for name in values if name in words]
    return where(f"{path}.{named[0]}" if named else path)
