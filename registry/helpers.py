"""Components that others are built with: the model that a metric judges with, the judge that data are made with."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

from regionkit.core.contracts import BuildContext, Component
from regionkit.core.errors import RegionkitError
from regionkit.core.spec import ComponentSpec
from regionkit.core.weights import WeightFile
from regionkit.registry.assembly import build_part, chosen, pick_device, place
from regionkit.registry.registry import get_registry, plural
from regionkit.registry.schema import Part
from regionkit.registry.weights.index import content_hash

#: Helpers that are in use, by what they are: components that need the same model hold it once.
_IN_USE: WeakValueDictionary[str, Component] = WeakValueDictionary()
#: What a metric is handed by whoever judges, and no option names: the data set whose samples are judged.
_HANDED = {"metric": ("dataset",)}


@dataclass(frozen=True)
class Helpers:
    """The helpers of a component, one for each role of ``ComponentSpec.needs``: its options of these names say which.

    An option that is left empty names none; a metric cannot do without.

    Attributes:
        part: The component that they are for.
    """

    part: Part

    @cached_property
    def chosen(self) -> dict[str, tuple[Part, WeightFile | None]]:
        """The helpers by role, with their options filled, and their weights.

        Raises:
            RegionkitError: There is no such component, or no weights for it, or no option names it.
        """
        roles, found = self.part.spec.roles, {}
        for role in self._roles():
            value = getattr(self.part.config, role)
            if value or self.part.kind == "metric":
                if not value:
                    raise self._unnamed(role, roles[role])
                found[role] = chosen(roles[role], value)
        return found

    @cached_property
    def built(self) -> dict[str, Component]:
        """The helpers by role, built once for all who need them, and on the CPU: scores and samples must not depend on
        where captions are made.
        """
        found = {}
        for role, (part, file) in self.chosen.items():
            key = json.dumps([part.kind, part.to_dict(), self.hashes.get(role)], sort_keys=True, default=str)
            made = _IN_USE.get(key) or place(build_part(part, BuildContext(weights=file)), pick_device("cpu"))
            found[role] = _IN_USE[key] = made
        return found

    @cached_property
    def hashes(self) -> dict[str, str]:
        """The content hash of the weights of each helper that has some, by role."""
        return {role: content_hash(file) for role, (_, file) in self.chosen.items() if file is not None}

    @property
    def specs(self) -> list[ComponentSpec]:
        """The helpers, whose code decides what comes of the component."""
        return [part.spec for part, _ in self.chosen.values()]

    def to_dict(self) -> dict[str, Any]:
        """Return what decides what the helpers say, by role: their options with weight hashes, and which model judges.

        Of a judge that is asked, its options say where the model runs and how patiently it is asked: they have no say.
        """
        return {role: self._told(role, part) for role, (part, _) in self.chosen.items()}

    def _told(self, role: str, part: Part) -> dict[str, Any]:
        if part.kind != "judge":
            return {**part.to_dict(), **({"sha256": self.hashes[role]} if role in self.hashes else {})}
        judge: Any = self.built[role]
        options = {"name": part.name} if judge.keeps else part.to_dict()
        content = {"content": judge.content} if judge.content else {}
        return {**options, "identity": judge.identity, "sees": judge.sees, **content}

    def join(self, context: BuildContext) -> BuildContext:
        """Return a context that has the helpers, too; what it holds in a role already stays."""
        if not set(self._roles()) - set(context.parts):
            return context
        return replace(
            context, parts={**self.built, **context.parts}, hashes={**self.hashes, **context.hashes}
        )  # fmt: skip

    def _roles(self) -> Collection[str]:
        """Return the roles that options fill.

        Raises:
            RegionkitError: There is no option of that name.
        """
        roles = self.part.spec.roles
        own = [role for role in roles if role not in _HANDED.get(self.part.kind, ())]
        for role in own:
            if not hasattr(self.part.config, role):
                raise RegionkitError(
                    f"{self._who} needs a {roles[role]}, and no option says which: {role}",
                )
        return own

    @property
    def _who(self) -> str:
        what = "data set" if self.part.kind == "dataset" else self.part.kind
        return f"{what} '{self.part.name}'"

    def _unnamed(self, role: str, kind: str) -> RegionkitError:
        names = get_registry().names(kind)
        known = f"{plural(kind)} are: {', '.join(names)}" if names else f"no plugin brings a {kind}"
        write = f"for example, in a YAML file: {role}: {{name: {names[0]}, ...}}; see: toolkit show {names[0]}"
        return RegionkitError(
            f"{self._who} needs a {kind}, and its option '{role}' names none", known, write if names else ""
        )
