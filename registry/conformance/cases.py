"""Every check of every component of a plugin, as a list that a test runner or a command can walk through."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from regionkit.core.spec import ComponentSpec
from regionkit.core.testing import Check, Skip, checks_of
from regionkit.registry.conformance.of_specs import (
    PLUGIN_CHECKS,
    SPEC_CHECKS,
    PluginCheck,
    SpecCheck,
    run_function,
)
from regionkit.registry.conformance.subjects import CannotBuild, subject_of
from regionkit.registry.discovery.plugin_source import brought_by
from regionkit.registry.packages import missing_package
from regionkit.registry.registry import get_registry


class Case(NamedTuple):
    """One check of one component, or of a plugin as a whole.

    Attributes:
        spec: The component; None for a check of the plugin.
        check: What is demanded, by name and sentence.
        plugin: Name of the plugin.
        options: Options to build the component with; None leaves the choice to the kit.
    """

    spec: ComponentSpec | None
    check: Check | SpecCheck | PluginCheck
    plugin: str = ""
    options: Mapping[str, Any] | None = None

    @property
    def component(self) -> str:
        """What is checked, for tables: ``kind name``, or the plugin."""
        return f"{self.spec.kind} {self.spec.name}" if self.spec else f"plugin {self.plugin}"

    @property
    def id(self) -> str:
        """Name of a test: ``kind-name-check``."""
        return f"{self.component.replace(' ', '-')}-{self.check.name}"

    def run(self) -> None:
        """Make the check.

        Raises:
            AssertionError: The promise is broken; one sentence says how.
            Skip: There is nothing to check here; the message says why.
        """
        if isinstance(self.check, PluginCheck):
            run_function(self.check.function, self.plugin)
        elif isinstance(self.check, SpecCheck):
            run_function(self.check.function, self.spec, self.options)
        else:
            assert self.spec is not None
            package = missing_package(self.spec)
            if package:
                raise Skip(f"it needs the package '{package}', which is not installed")
            try:
                subject = subject_of(self.spec, self.options)
            except CannotBuild:
                raise Skip("it could not be built; see the check 'builds'") from None
            self.check(subject)


def conformance_of(
    name: str,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    components: Collection[str] = (),
) -> list[Case]:
    """Return every check of a plugin, or of all plugins of a distribution, in the order in which they are best made.

    Args:
        name: Name of the plugin or of the distribution.
        options: Options to build components with, by the name of the component.
        components: Names of the components to check; all, and the plugin itself, by default.

    Raises:
        UnknownName: There is no such plugin, or it has no such component.
        RunFailed: The plugin is there and was skipped; the reason is told.
    """
    registry = get_registry()
    plugins, specs = brought_by(name, [*components, *(options or {})])
    cases = [] if components else [Case(None, check, plugin) for plugin in plugins for check in PLUGIN_CHECKS]
    for spec in specs:
        if not components or spec.name in components:
            given, plugin = (options or {}).get(spec.name), registry.owner(spec).plugin
            checks: list[Check | SpecCheck] = [*SPEC_CHECKS, *checks_of(spec.kind)]
            cases += [Case(spec, check, plugin, given) for check in checks]
    return cases
