"""Finding plugins: ours by scanning ``regionkit.plugins``, strangers' by the entry-point group ``regionkit``.

Both kinds go through :meth:`Registry.register`. Each is loaded on its own, so that a broken plugin costs nobody else
anything; pluggy's ``load_setuptools_entrypoints`` would stop at the first one.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, entry_points, version

import regionkit.plugins
import regionkit.registry.commands
from regionkit.core.plugin import PROJECT
from regionkit.registry.registry import Owner, Registry, describe, disabled_plugins

#: The distribution that the plugins of this repository come with.
DISTRIBUTION = "regionkit"


def discover() -> Registry:
    """Make a registry of everything that is installed.

    Raises:
        RegionkitError: Two plugins register the same component or command.
    """
    registry = Registry()
    registry.register(regionkit.registry.commands, Owner("registry", DISTRIBUTION, _version(DISTRIBUTION)))
    disabled = disabled_plugins()
    for owner, import_plugin in [*_in_tree(), *_outsiders()]:
        if owner.plugin in disabled:
            registry.quarantine(owner, "turned off by REGIONKIT_DISABLE", disabled=True)
            continue
        try:
            plugin = import_plugin()
        # A plugin's import may raise anything, SystemExit included; the reason is kept and shown.
        except (Exception, SystemExit) as error:
            registry.quarantine(owner, describe_import(error))
            continue
        registry.register(plugin, owner)
    return registry


def describe_import(error: BaseException) -> str:
    """Say on one line why an import failed, with the type's name: that is what one searches for."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else describe(error)


def _in_tree() -> Iterator[tuple[Owner, Callable[[], object]]]:
    """Yield the plugins of this repository, by name."""
    own_version = _version(DISTRIBUTION)
    for name in sorted(module.name for module in pkgutil.iter_modules(regionkit.plugins.__path__)):
        if not name.startswith("_"):
            path = f"{regionkit.plugins.__name__}.{name}"
            yield Owner(name, DISTRIBUTION, own_version), functools.partial(importlib.import_module, path)


def _outsiders() -> Iterator[tuple[Owner, Callable[[], object]]]:
    """Yield the plugins of other distributions, by distribution and name: the order never depends on the disk."""
    points = sorted(entry_points(group=PROJECT), key=lambda point: (point.dist.name if point.dist else "", point.name))
    for point in points:
        distribution = point.dist.name if point.dist else ""
        yield Owner(point.name, distribution, point.dist.version if point.dist else ""), point.load


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"
