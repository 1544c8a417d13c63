"""Whether the packages that a component needs are installed, told without importing them."""

from __future__ import annotations

from importlib.util import find_spec

from regionkit.core.errors import MissingExtra
from regionkit.core.spec import ComponentSpec


def is_installed(package: str) -> bool:
    """Say whether a package can be imported."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # a parent package is missing, or half removed
        return False


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
