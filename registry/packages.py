"""Whether the packages that a component needs are installed, told without importing them."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from regionkit.core.errors import MissingExtra
from regionkit.core.spec import ComponentSpec

#: What is installed is not uninstalled while a process runs; what is not may be installed.
_FOUND: set[str] = set()


def is_installed(package: str) -> bool:
    """Say whether a package can be imported; what was found once is not looked for again."""
    if package in _FOUND:
        return True
    try:
        if find_spec(package) is None:
            return False
        _FOUND.add(package)
        return True
    except (ImportError, ValueError):  # a parent package is missing, or half removed
        return False


def missing_module(spec: ComponentSpec) -> str:
    """Return the module of a component's code where it is not there; empty where it is, or cannot be told lightly."""
    module = spec.target.partition(":")[0]
    parent = module.rpartition(".")[0]
    # Looking into a package imports it; only what is imported already is looked into.
    return module if (not parent or parent in sys.modules) and not is_installed(module) else ""


def missing_package(spec: ComponentSpec) -> str:
    """Return the first package that a component needs and that is not installed; empty where all are."""
    return next((package for package in spec.requires if not is_installed(package)), "")


def require_packages(spec: ComponentSpec) -> None:
    """Check that the packages of a component are installed.

    Raises:
        MissingExtra: One is not.
    """
    package = missing_package(spec)
    if package:
        raise MissingExtra(f"{spec.kind} '{spec.name}'", package, spec.extra)
