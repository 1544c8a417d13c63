"""Finding plugins: ours by scanning ``regionkit.plugins``, strangers' by the entry-point group ``regionkit``.

Both kinds go through :meth:`Registry.register`. Each is loaded on its own, so that a broken plugin costs nobody else
anything; pluggy's ``load_setuptools_entrypoints`` would stop at the first one. What a plugin prints while it is loaded
goes to stderr, since stdout may be read by a program, and what hangs is interrupted.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import pkgutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, entry_points

import regionkit.plugins
import regionkit.registry.commands
from regionkit.core.plugin import PROJECT
from regionkit.registry.discovery.asking import describe, message_lines
from regionkit.registry.discovery.owners import Loading, Owner, Quarantined, installed_version
from regionkit.registry.discovery.requirements import misfit
from regionkit.registry.discovery.unused import place, source_file
from regionkit.registry.discovery.watchdog import TimedOut, limit_seconds, run_limited
from regionkit.registry.registry import DISABLE_VARIABLE, Registry, disabled_plugins

#: The distribution that the plugins of this repository come with.
DISTRIBUTION = "regionkit"
#: Packages that no plugin may import before it is used: they take up to seconds, or hundreds of megabytes.
HEAVY: tuple[str, ...] = ("torch", "transformers", "timm", "numpy", "PIL")


@dataclass(frozen=True, slots=True)
class _Found:
    """A plugin before it is loaded: who it is, its module, how to import it, and the distribution of an outsider."""

    owner: Owner
    module: str
    load: Callable[[], object]
    distribution: Distribution | None = None


def discover() -> Registry:
    """Make a registry of everything that is installed.

    Raises:
        RegionkitError: Two plugins register the same component or command, or the time limit is no number.
    """
    registry, limit = Registry(), limit_seconds()
    commands = regionkit.registry.commands
    own = _own("registry")
    found = [_Found(own, commands.__name__, lambda: commands), *_in_tree(), *_outsiders()]
    disabled = disabled_plugins()
    for one in found:
        if one.owner.plugin in disabled and one.owner is not own:
            source = source_file(one.module)
            record = registry.quarantine(one.owner, f"turned off by {DISABLE_VARIABLE}", disabled=True)
            registry.describe_loading(record, Loading(place(source)), source)
        else:
            _load(one, registry, limit)
    registry.unknown_disabled = sorted(set(disabled) - {one.owner.plugin for one in found})
    return registry


def _load(found: _Found, registry: Registry, limit: float) -> None:
    """Import a plugin and register it, or quarantine it, and note what that was like."""
    before, start = set(HEAVY) & set(sys.modules), time.perf_counter()
    plugin: object = None
    skipped: Quarantined | None
    with contextlib.redirect_stdout(sys.stderr):
        reason = _misfit(found)
        if not reason:
            try:
                plugin = run_limited(found.load, limit)
            except TimedOut as error:
                reason = f"its import {error}"
            except KeyboardInterrupt:
                raise
            # A plugin's import may raise anything, SystemExit included; the reason is kept and shown.
            except BaseException as error:
                reason = describe_import(error)
        if reason:
            skipped = registry.quarantine(found.owner, reason)
        else:
            skipped = registry.register(plugin, found.owner, limit=limit)
    seconds = time.perf_counter() - start
    heavy = [name for name in HEAVY if name in sys.modules and name not in before]
    notes = (f"imports {', '.join(heavy)}: it must not, this took {seconds:.1f} s",) if heavy else ()
    file = getattr(sys.modules.get(found.module), "__file__", None) or ("" if plugin else source_file(found.module))
    registry.describe_loading(skipped or found.owner, Loading(place(file), seconds, notes), file)


def describe_import(error: BaseException) -> str:
    """Say on one line why an import failed, with the type's name: that is what one searches for."""
    lines = message_lines(error)
    return f"{type(error).__name__}: {lines[0]}" if lines else describe(error)


def _misfit(found: _Found) -> str:
    """Say that an outsider was built for another version of this toolkit; empty where it was not, or does not say."""
    if found.distribution is None:
        return ""
    requirements = found.distribution.requires or ()
    return misfit(requirements, DISTRIBUTION, installed_version(DISTRIBUTION), found.owner.distribution)


def _in_tree() -> Iterator[_Found]:
    """Yield the plugins of this repository, by name."""
    for name in sorted(module.name for module in pkgutil.iter_modules(regionkit.plugins.__path__)):
        if not name.startswith("_"):
            path = f"{regionkit.plugins.__name__}.{name}"
            yield _Found(_own(name), path, functools.partial(importlib.import_module, path))


def _outsiders() -> Iterator[_Found]:
    """Yield the plugins of other distributions, by distribution and name: the order never depends on the disk."""
    points = sorted(entry_points(group=PROJECT), key=lambda point: (point.dist.name if point.dist else "", point.name))
    for point in points:
        distribution = point.dist
        owner = Owner(point.name, distribution.name, distribution.version) if distribution else Owner(point.name)
        yield _Found(owner, point.value.partition(":")[0].strip(), point.load, distribution)


def _own(plugin: str) -> Owner:
    """Return the owner of what this repository brings; a source tree that was never installed has no version."""
    return Owner(plugin, DISTRIBUTION, installed_version(DISTRIBUTION) or "unknown")
