"""Where a plugin is that is to be checked: an installed distribution, a project folder, a package or a single file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from regionkit.core.errors import RegionkitError, RunFailed, UnknownName, did_you_mean
from regionkit.core.plugin import PROJECT
from regionkit.core.spec import ComponentSpec
from regionkit.registry.registry import Registry, get_registry

_TABLE = f"[project.entry-points.{PROJECT}]"


@dataclass(frozen=True)
class PluginSource:
    """A plugin that is to be checked.

    Attributes:
        name: What the user asked for: a plugin's or distribution's name; of a path, the name of its project.
        points: For a path, ``(plugin, module)`` of each entry point; empty for what is installed.
        roots: Folders that Python has to look into for these modules.
        version: Version of the project, where it says one.
    """

    name: str
    points: tuple[tuple[str, str], ...] = ()
    roots: tuple[str, ...] = ()
    version: str = ""

    @property
    def shadowed(self) -> tuple[str, ...]:
        """Plugins of an installed copy of this very project, which would stand in its way."""
        names = dict(self.points)
        return tuple(
            point.name
            for point in entry_points(group=PROJECT)
            if point.name in names and point.dist is not None and _plain(point.dist.name) == _plain(self.name)
        )


def find_source(text: str) -> PluginSource:
    """Tell what is to be checked: what exists as a path is that path, anything else is a name.

    Raises:
        RegionkitError: It is a path, and there is nothing there, or no plugin.
        RunFailed: It is a project whose plugin has no module.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        return _project(path) if (path / "pyproject.toml").is_file() else _package(path)
    if path.is_file():
        if path.name == "pyproject.toml":
            return _project(path.parent)
        if path.suffix == ".py":
            return _file(path)
        raise RegionkitError(f"{text} is no plugin", "name a folder with a pyproject.toml, or a .py file")
    if os.sep in text or path.suffix == ".py":
        raise RegionkitError(f"there is no file or folder {text}")
    return PluginSource(text)


def _project(folder: Path) -> PluginSource:
    file = folder / "pyproject.toml"
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise RegionkitError(f"{file} cannot be read: {error}") from None
    project = _table(data, "project")
    points = _table(_table(project, "entry-points"), PROJECT)
    if not points or not all(isinstance(module, str) for module in points.values()):
        raise RegionkitError(f"{file} names no plugin of regionkit", f"write {_TABLE} with a line: NAME = 'MODULE'")
    roots: dict[str, None] = {}
    for name, module in points.items():
        module = module.partition(":")[0]
        candidates = list(dict.fromkeys(root.resolve() for root in _roots(folder, data)))
        found = next((root for root in candidates if _holds(root, module)), None)
        if found is None:
            raise RunFailed(
                f"plugin '{name}' is the module '{module}', and there is none",
                f"looked in: {', '.join(map(str, candidates))}",
                f"it is named in {file} under {_TABLE}",
            )
        roots[str(found)] = None
    return PluginSource(
        name=str(project.get("name") or next(iter(points))),
        points=tuple((name, module.partition(":")[0]) for name, module in points.items()),
        roots=tuple(roots),
        version=str(project.get("version", "")),
    )


def _package(folder: Path) -> PluginSource:
    if not (folder / "__init__.py").is_file():
        raise RegionkitError(
            f"{folder} is no plugin: it has neither a pyproject.toml nor an __init__.py",
            "to start one: toolkit new plugin NAME",
        )
    folder = folder.resolve()
    return PluginSource(folder.name, ((folder.name, folder.name),), (str(folder.parent),))


def _file(path: Path) -> PluginSource:
    path = path.resolve()
    if not path.stem.isidentifier():
        raise RegionkitError(f"{path.name}: '{path.stem}' is no name of a module", "rename it: letters, digits and _")
    return PluginSource(path.stem, ((path.stem, path.stem),), (str(path.parent),))


def _table(data: Any, key: str) -> Mapping[str, Any]:
    found = data.get(key) if isinstance(data, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _roots(folder: Path, data: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the folders that a build of the project would take packages from: its own words first, then the usual."""
    tools = _table(data, "tool")
    setuptools = _table(tools, "setuptools")
    where = _table(_table(setuptools, "packages"), "find").get("where", ())
    for text in where if isinstance(where, list) else ():
        yield folder / str(text)
    own = _table(setuptools, "package-dir").get("")
    if own:
        yield folder / str(own)
    packages = _table(_table(_table(_table(tools, "hatch"), "build"), "targets"), "wheel").get("packages", ())
    for text in packages if isinstance(packages, list) else ():
        yield (folder / str(text)).parent
    yield folder / "src"
    yield folder


def _holds(root: Path, module: str) -> bool:
    path = root.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def brought_by(name: str, components: Collection[str] = ()) -> tuple[list[str], list[ComponentSpec]]:
    """Return the plugins that a name of a plugin or distribution stands for, and all components that they bring.

    Raises:
        UnknownName: There is none of that name, or none of the components that are named.
        RunFailed: It is there and was skipped.
    """
    registry = get_registry()
    plugins = _plugins_of(registry, name)
    specs = [spec for spec in registry.specs() if registry.owner(spec).plugin in plugins]
    known = [spec.name for spec in specs]
    for wanted in components:
        if wanted not in known:
            raise UnknownName(
                f"plugin '{name}' has no component named '{wanted}'",
                did_you_mean(wanted, known) or f"it has: {', '.join(known) or 'none'}",
            )
    return plugins, specs


def _plugins_of(registry: Registry, name: str) -> list[str]:
    if name in registry.plugins:
        return [name]
    skipped = [one for one in registry.quarantined if _plain(name) in map(_plain, (one.plugin, one.distribution))]
    if skipped:
        raise RunFailed(f"plugin '{skipped[0].plugin}' cannot be used: {skipped[0].reason}")
    found = [plugin for plugin, owner in registry.plugins.items() if _plain(name) == _plain(owner.distribution)]
    if not found:
        known = {*registry.plugins, *(owner.distribution for owner in registry.plugins.values() if owner.distribution)}
        raise UnknownName(
            f"no plugin or distribution named '{name}'",
            did_you_mean(name, known) or f"there is: {', '.join(sorted(known))}",
            "a plugin that is not installed is checked by its path: toolkit check-plugin FOLDER",
        )
    return found


def _plain(name: str) -> str:
    """Return a name as installers compare it: case, dots, dashes and underscores do not matter."""
    return name.lower().replace("_", "-").replace(".", "-")
