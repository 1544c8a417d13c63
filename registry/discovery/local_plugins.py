"""Plugins that a YAML file brings itself, under its key ``plugins``; reading such a file runs their code.

That is refused unless the user allows it, for every command or call anew: a YAML file from somebody else must never run
code by being read.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from regionkit.core.errors import ConfigError, Problem, RegionkitError, did_you_mean
from regionkit.registry.discovery.discover import describe_import
from regionkit.registry.discovery.owners import Owner
from regionkit.registry.discovery.watchdog import TimedOut, limit_seconds, run_limited
from regionkit.registry.registry import PluginFault, get_registry

if TYPE_CHECKING:
    from regionkit.registry.document import Document

#: The key of a YAML file that names local plugins, and the flag that allows it.
KEY = "plugins"
FLAG = "--allow-local-plugins"
#: What the owner of a component from a local file is called, before its path.
OWNER = "local file"

_allowed: ContextVar[bool] = ContextVar("regionkit_allow_local_plugins", default=False)


@contextlib.contextmanager
def allow_local_plugins(allowed: bool = True) -> Iterator[None]:
    """Let files that are read inside bring plugins; with False, whatever holds already goes on."""
    token = _allowed.set(allowed or _allowed.get())
    try:
        yield
    finally:
        _allowed.reset(token)


def load_local_plugins(value: Any, document: Document, folder: Path) -> None:
    """Load and register the plugins that a file names.

    Args:
        value: What stands under the key: paths of ``.py`` files or package folders.
        document: The file, for the lines of mistakes.
        folder: Where relative paths start.

    Raises:
        ConfigError: The user has not allowed it, or a plugin is missing, broken or brings what is there already.
    """
    if not _allowed.get():
        raise ConfigError(
            [
                Problem(
                    document.line(KEY),
                    KEY,
                    "this file brings plugins of its own, and reading it would run their code",
                    (
                        f"if you trust them, add {FLAG} to the command; in Python: load(..., allow_local_plugins=True)",
                        f"without their parts, remove the key '{KEY}'",
                    ),
                )
            ]
        )
    paths = [value] if isinstance(value, str) else value
    if not isinstance(paths, (list, tuple)) or not all(isinstance(path, str) and path for path in paths):
        message = f"expected paths of .py files or package folders, got {value!r}"
        raise ConfigError([Problem(document.line(KEY), KEY, message, (f"write {KEY}: [./my_plugin.py]",))])
    problems = []
    for index, text in enumerate(paths):
        path = f"{KEY}.{index}"
        try:
            _load(text, folder / os.path.expanduser(text))
        except RegionkitError as error:
            problems.append(Problem(document.line(path), path, error.message, error.hints))
    if problems:
        raise ConfigError(problems)


def _load(text: str, path: Path) -> None:
    """Load and register one plugin; one that is loaded already stays as it is.

    Raises:
        RegionkitError: It is missing, broken, brings what is there already, or was changed since it was loaded.
    """
    file = _module_file(text, path)
    registry, owned = get_registry(), file.parent if file.name == "__init__.py" else file
    digest = _digest(owned)
    known = registry.local_files.get(owned)
    if known is not None:
        if known != digest:
            raise RegionkitError(f"{text} was changed after it was loaded", "start Python again to use what it is now")
        return
    name = file.parent.name if file.name == "__init__.py" else file.stem
    limit = limit_seconds()
    with contextlib.redirect_stdout(sys.stderr):
        module = _import(text, name, file, limit)
        try:
            registry.admit(module, Owner(f"{OWNER} {owned}", "", f"sha256:{digest}"), limit=limit)
        except PluginFault as fault:
            _drop(name)
            raise RegionkitError(f"{text} is no plugin that can be used: {fault}") from None
        except RegionkitError:
            _drop(name)
            raise
    registry.local_files[owned] = digest


def _module_file(text: str, path: Path) -> Path:
    """Return the file of a module or of a package's ``__init__``, resolved.

    Raises:
        RegionkitError: There is none.
    """
    if path.is_dir() and (path / "__init__.py").is_file():
        return (path / "__init__.py").resolve()
    if path.is_file() and path.suffix == ".py":
        return path.resolve()
    if path.exists():
        raise RegionkitError(
            f"{text} is no plugin", "name a .py file, or the folder of a package, which has an __init__.py"
        )
    near = [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
    raise RegionkitError(
        f"there is no file {path}",
        did_you_mean(path.name, near),
        "a path is relative to the file that names it",
    )


def _import(text: str, name: str, file: Path, limit: float) -> ModuleType:
    """Import a file under its own name, by which its specs point to its code.

    Raises:
        RegionkitError: The name is no name of a module, or another module has it; or the import fails.
    """
    if not name.isidentifier():
        raise RegionkitError(
            f"{text}: '{name}' is no name of a module", "rename it: letters, digits and _, no digit first"
        )
    place = _place_of(name)
    if place is not None and (not place or Path(place).resolve() != file):
        raise RegionkitError(
            f"{text}: there is a module '{name}' already: {place or 'a part of Python'}", "rename the file"
        )
    folders = [str(file.parent)] if file.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=folders)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        run_limited(functools.partial(spec.loader.exec_module, module), limit)
    except BaseException as error:
        _drop(name)
        if isinstance(error, TimedOut):
            raise RegionkitError(f"{text}: its import {error}") from None
        if isinstance(error, KeyboardInterrupt):
            raise
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        at = f", at {file}:{lines[-1]}" if lines else ""
        raise RegionkitError(f"{text} cannot be imported: {describe_import(error)}{at}") from error
    return module


def _drop(name: str) -> None:
    """Forget a module that failed and all below it, so that the next try runs the code that is there then."""
    for known in list(sys.modules):
        if known == name or known.startswith(f"{name}."):
            sys.modules.pop(known, None)  # it may have taken itself out


def _place_of(name: str) -> str | None:
    """Return the file of a module that is imported or could be: None where there is none, empty without a file."""
    there = sys.modules.get(name)
    if there is not None:
        return getattr(there, "__file__", None) or ""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    return spec.origin if spec.has_location and spec.origin else ""


def _digest(path: Path) -> str:
    """Return 16 hexadecimal digits over a file, or over the Python files of a folder."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        digest.update(file.relative_to(path).as_posix().encode() if path.is_dir() else b"")
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
