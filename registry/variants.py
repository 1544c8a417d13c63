"""Options under which a bridge fits although its defaults do not: those that decoders with weights were trained for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from regionkit.core.errors import RegionkitError
from regionkit.core.spec import PARTS, ComponentSpec
from regionkit.registry.registry import get_registry
from regionkit.registry.schema import Part, fill_options, nowhere
from regionkit.registry.trace import trace_parts
from regionkit.registry.weights.index import get_index
from regionkit.registry.weights.shared_choices import Choices
from regionkit.registry.yaml_text import read_value

#: A corruption as headers spell it: ``noise(std=0.08)``.
_CORRUPTION = re.compile(r"[^()]+\((?P<options>[^()]*)\)")


def trained_variants(spec: ComponentSpec) -> list[Part]:
    """Return a bridge with each set of options whose corruption some decoder's weights saw in training.

    A corruption belongs to a bridge if the options it names make the bridge state that very corruption.
    """
    found = {}
    for corruption in sorted({file.header.corruption for file in get_index().files if file.header.kind == "decoder"}):
        match = _CORRUPTION.fullmatch(corruption)
        part = _filled(spec, match["options"]) if match else None
        if part is not None and getattr(part.config, "corruption", "none") == corruption:
            found[corruption] = part
    return list(found.values())


def fitting_variants(given: Mapping[str, Part], variants: Iterable[Part], choices: Choices | None = None) -> list[Part]:
    """Return those of the trained variants of a bridge that fit with the other parts.

    Args:
        given: The other parts by kind.
        variants: What :func:`trained_variants` found.
        choices: Choices of weights that were made for other pipelines with the same parts.
    """
    chosen = [{**given, "bridge": variant} for variant in variants]
    return [parts["bridge"] for parts in chosen if not trace_parts(_in_order(parts), choices).faults]


def _in_order(parts: Mapping[str, Part]) -> dict[str, Part]:
    return {kind: parts[kind] for kind in PARTS if kind in parts}


def note(variants: list[Part]) -> str:
    """Say which corruptions there are weights for, and how the bridge is written for them."""
    if not variants:
        return ""
    corruptions = "; ".join(str(part.config.corruption) for part in variants)
    return f"there are weights for corruption {corruptions}; write {' or '.join(_written(part) for part in variants)}"


def bridge_notes(given: Mapping[str, Part], fitting: list[str]) -> list[str]:
    """Return one line a bridge that fits with certain options alone; ``fitting`` are those that fit as they are."""
    specs = [spec for spec in get_registry().specs("bridge") if spec.name not in fitting]
    notes = {spec.name: note(fitting_variants(given, trained_variants(spec))) for spec in specs}
    return [f"{name}: {text}" for name, text in notes.items() if text]


def _filled(spec: ComponentSpec, text: str) -> Part | None:
    try:
        pairs = [word.partition("=") for word in text.split(",") if word.strip()]
        options = {name.strip(): read_value(value.strip(), spec.name) for name, _, value in pairs}
        return fill_options(spec, options, nowhere, spec.kind, [])
    except RegionkitError:  # a stranger's corruption may hold anything; it is not this bridge's then
        return None


def _written(part: Part) -> str:
    options = {name: value for name, value in part.to_dict().items() if name in part.given}
    return f"bridge: {{{', '.join(f'{name}: {value}' for name, value in {'name': part.name, **options}.items())}}}"
