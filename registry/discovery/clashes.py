"""The error of two plugins that bring the same thing: who they are, where they lie, and which one to change."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from regionkit.core.errors import RegionkitError
from regionkit.registry.discovery.unused import place


@dataclass(frozen=True, slots=True)
class Claim:
    """What a plugin says of a thing that another one brings too.

    Attributes:
        plugin: Name of the plugin.
        owner: The same with its distribution.
        source: The module or object that pluggy knows as the plugin.
        target: ``module:name`` of what it brings.
    """

    plugin: str
    owner: str
    source: object
    target: str

    @property
    def module(self) -> str:
        """Import name of the plugin's module."""
        own = getattr(self.source, "__name__", "") if hasattr(self.source, "__file__") else ""
        return str(own or getattr(self.source, "__module__", type(self.source).__module__))

    @property
    def place(self) -> str:
        """Folder of a package, file of a module; empty where it has none."""
        return place(getattr(sys.modules.get(self.module), "__file__", None) or "")

    @property
    def is_home(self) -> bool:
        """True where what it brings lies in its own code."""
        return self.target.startswith((f"{self.module}:", f"{self.module}."))


def clash_error(what: Sequence[str], first: Claim, second: Claim, variable: str) -> RegionkitError:
    """Return the error of two plugins that bring the same things.

    Args:
        what: Everything that both bring, ``bridge 'none'``.
        first: The plugin that was there.
        second: The one that came later.
        variable: The environment variable that turns plugins off.
    """
    # One target for both: the plugin that it does not lie in is a copied folder whose specs were left as they were.
    copied = [claim for claim in (second, first) if first.target == second.target and not claim.is_home]
    blamed = copied[0] if len(copied) == 1 else second
    turn_off = f"turn one plugin off with {variable}={blamed.plugin}"
    advice = f"rename one of them, or {turn_off}"
    if len(copied) == 1:
        place = f" in {blamed.place}" if blamed.place else ""
        advice = f"plugin '{blamed.plugin}' looks like a copy: change the names and targets{place}, or {turn_off}"
    return RegionkitError(
        f"two plugins both register {what[0]}",
        f"so they do {len(what) - 1} more: {', '.join(what[1:])}" if len(what) > 1 else "",
        _line("first:  ", first),
        _line("second: ", second),
        advice,
    )


def _line(label: str, claim: Claim) -> str:
    return f"{label}{claim.owner} -> {claim.target}" + (f", in {claim.place}" if claim.place else "")
