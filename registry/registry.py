"""What is installed: every component, preset, command and paper, and who brought it."""

from __future__ import annotations

import functools
import importlib
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pluggy

import regionkit.core.plugin as hooks
from regionkit.core.errors import RegionkitError, RunFailed, UnknownName, did_you_mean
from regionkit.core.spec import KINDS, CommandSpec, ComponentSpec, PaperSpec
from regionkit.registry.clashes import Claim, clash_error
from regionkit.registry.spec_checks import check_command, check_component, check_paper

_T = TypeVar("_T")

#: Plugins named here, separated by commas, are not loaded.
DISABLE_VARIABLE = "REGIONKIT_DISABLE"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who brought a component.

    Attributes:
        plugin: Name of the plugin, the word for ``REGIONKIT_DISABLE``.
        distribution: The installed distribution that it comes with.
        version: Version of that distribution.
    """

    plugin: str
    distribution: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.plugin} ({self.distribution} {self.version})" if self.distribution else self.plugin


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A plugin that was found and not used, with the reason; ``disabled`` where the user asked for that."""

    plugin: str
    reason: str
    distribution: str = ""
    version: str = ""
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class _Offer:
    """Everything that one plugin brings, checked before any of it is taken in."""

    components: list[ComponentSpec]
    papers: list[PaperSpec]
    presets: list[Path]
    weights: list[Path]
    commands: list[CommandSpec]


class Registry:
    """Plugins and what they bring. Components are found by kind and name, and no name is ever silently replaced."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(hooks.PROJECT)
        self.manager.add_hookspecs(hooks)
        self.commands: dict[str, CommandSpec] = {}
        self.papers: dict[str, PaperSpec] = {}
        self.preset_folders: list[Path] = []
        self.plugins: dict[str, Owner] = {}
        self.quarantined: list[Quarantined] = []
        self._components: dict[tuple[str, str], ComponentSpec] = {}
        self._owners: dict[tuple[str, str], Owner] = {}
        self._command_owners: dict[str, Owner] = {}
        #: Top-level key of a YAML file -> the command that reads such files.
        self._readers: dict[str, CommandSpec] = {}
        self._weights: list[Path] = []

    def register(self, plugin: object, owner: Owner) -> None:
        """Take in what a plugin brings, or quarantine it with the reason where anything about it is wrong.

        Raises:
            RegionkitError: A component, a command or a key of a command's files belongs to another plugin already.
        """
        if owner.plugin in self.plugins:
            other = self.plugins[owner.plugin]
            self.quarantine(owner, f"another plugin is already named '{owner.plugin}': {other}")
            return
        try:
            self.manager.register(plugin, owner.plugin)
            offer = self._offer(plugin, owner)
        except Exception as error:  # a stranger's code may raise anything; it must not take the others down
            self._forget(plugin)
            self.quarantine(owner, describe(error))
            return
        try:
            self._take(offer, owner)
        except RegionkitError:
            self._forget(plugin)
            raise
        self.plugins[owner.plugin] = owner

    def quarantine(self, owner: Owner, reason: str, *, disabled: bool = False) -> None:
        """Record a plugin that is not used."""
        self.quarantined.append(Quarantined(owner.plugin, reason, owner.distribution, owner.version, disabled=disabled))

    def _forget(self, plugin: object) -> None:
        if self.manager.is_registered(plugin):
            self.manager.unregister(plugin)

    def _offer(self, plugin: object, owner: Owner) -> _Offer:
        """Ask a plugin for all that it brings and check every piece."""
        callers = self.manager.get_hookcallers(plugin) or []
        if not callers:
            raise ValueError("it implements no hook of regionkit")
        for caller in callers:
            if not caller.has_spec():
                raise ValueError(
                    f"it implements the unknown hook '{caller.name}'; "
                    + (did_you_mean(caller.name, _hook_names()) or f"hooks are: {', '.join(_hook_names())}")
                )
        offer = _Offer(
            components=self._ask("regionkit_components", owner, check_component),
            papers=self._ask("regionkit_papers", owner, check_paper),
            presets=self._ask("regionkit_presets", owner, _folder),
            weights=self._ask("regionkit_weights", owner, _folder),
            commands=self._ask("regionkit_commands", owner, check_command),
        )
        offered = [f"{spec.kind} '{spec.name}'" for spec in offer.components]
        offered += [f"command '{command.name}'" for command in offer.commands]
        offered += [_file_key(key) for command in offer.commands for key in command.files]
        twice = [what for what, count in Counter(offered).items() if count > 1]
        if twice:
            raise ValueError(f"it registers {twice[0]} twice")
        return offer

    def _ask(self, hook: str, owner: Owner, check: Callable[[Any], _T]) -> list[_T]:
        """Call one hook of one plugin. pluggy's own call would mix all plugins' answers and stop at the first error."""
        answers: list[_T] = []
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            if implementation.plugin_name == owner.plugin:
                answer = implementation.function()
                if not isinstance(answer, (list, tuple)):
                    raise TypeError(f"{hook} must return a list, it returned {type(answer).__name__}")
                answers += [check(item) for item in answer]
        return answers

    def _take(self, offer: _Offer, owner: Owner) -> None:
        self._refuse_clashes(offer, owner)
        for spec in offer.components:
            self._components[spec.kind, spec.name] = spec
            self._owners[spec.kind, spec.name] = owner
        for command in offer.commands:
            self.commands[command.name] = command
            self._command_owners[command.name] = owner
            self._readers.update(dict.fromkeys(command.files, command))
        for paper in offer.papers:  # two plugins may build on one paper; its entry is the same either way
            self.papers.setdefault(paper.key, paper)
        self.preset_folders += offer.presets
        self._weights += offer.weights

    def _refuse_clashes(self, offer: _Offer, owner: Owner) -> None:
        """Raise if anything on offer is there already, with all that the first such plugin has in common with it."""
        held: list[tuple[str, Owner, str, str]] = []  # what, whose it is, its target, the target on offer
        for spec in offer.components:
            other = self._components.get((spec.kind, spec.name))
            if other is not None:
                held.append((f"{spec.kind} '{spec.name}'", self.owner(other), other.target, spec.target))
        for command in offer.commands:
            if command.name in self.commands:
                first = self._command_owners[command.name], self.commands[command.name].target
                held.append((f"command '{command.name}'", *first, command.target))
            for key in command.files:
                if key in self._readers:
                    reader = self._readers[key]
                    held.append((_file_key(key), self._command_owners[reader.name], reader.target, command.target))
        if held:
            _, holder, target, offered = held[0]
            shared = [what for what, other_owner, _, _ in held if other_owner == holder]
            raise clash_error(shared, self._claim(holder, target), self._claim(owner, offered), DISABLE_VARIABLE)

    def _claim(self, owner: Owner, target: str) -> Claim:
        return Claim(owner.plugin, str(owner), self.manager.get_plugin(owner.plugin), target)

    def specs(self, kind: str | None = None) -> list[ComponentSpec]:
        """Return components, of one kind or of all, by kind and name."""
        order = {known: index for index, known in enumerate(KINDS)}
        chosen = [spec for spec in self._components.values() if kind in (None, spec.kind)]
        return sorted(chosen, key=lambda spec: (order[spec.kind], spec.name))

    def names(self, kind: str) -> list[str]:
        """Return the names of a kind, sorted."""
        return sorted(name for known, name in self._components if known == kind)

    def find(self, kind: str, name: str) -> ComponentSpec:
        """Return a component.

        Raises:
            UnknownName: There is none of that kind and name. The message holds close matches, other kinds that have
                the name, and plugins that were skipped.
        """
        spec = self._components.get((kind, name))
        if spec is not None:
            return spec
        if kind not in KINDS:
            raise UnknownName(
                f"no kind of component named '{kind}'",
                did_you_mean(kind, KINDS),
                f"kinds are: {', '.join(KINDS)}",
            )
        known = self.names(kind)
        elsewhere = [other for other, held in self._components if held == name]
        close = did_you_mean(name, known)
        raise UnknownName(
            f"no {kind} named '{name}'",
            close,
            f"there is a {' and a '.join(elsewhere)} of that name" if elsewhere else "",
            "" if close or not known else f"{plural(kind)} are: {', '.join(known)}",
            *self.skipped(),
            f"see: toolkit list-components --kind {kind}",
        )

    def skipped(self) -> list[str]:
        """One line for each plugin that is not used, for errors that such a plugin may be the reason of."""
        return [f"plugin '{plugin.plugin}' was skipped: {plugin.reason}" for plugin in self.quarantined]

    def owner(self, spec: ComponentSpec) -> Owner:
        """Return who brought a component."""
        return self._owners[spec.kind, spec.name]

    def command_owner(self, name: str) -> Owner:
        """Return who brought a command."""
        return self._command_owners[name]

    def reader(self, keys: Iterable[str]) -> CommandSpec | None:
        """Return the command that a YAML file with these top-level keys is for; None for a pipeline.

        A stray key of another command's files does not make it one of those: the command with most keys has it, and
        of several the one whose key comes first.
        """
        named = Counter(self._readers[key].name for key in keys if key in self._readers)
        return self.commands[named.most_common(1)[0][0]] if named else None

    def import_for(self, command: CommandSpec, target: str) -> Any:
        """Import ``module:name``, which a command consists of.

        Raises:
            RunFailed: It cannot be imported.
        """
        module, _, name = target.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise RunFailed(
                f"command '{command.name}' cannot be loaded: {type(error).__name__}: {error}",
                f"it comes with plugin {self.command_owner(command.name)}; see: toolkit doctor",
            ) from error

    @functools.cached_property
    def presets(self) -> dict[str, Path]:
        """Preset files by name.

        Raises:
            RegionkitError: Two folders hold a preset of the same name.
        """
        found: dict[str, Path] = {}
        for folder in self.preset_folders:
            for path in sorted(folder.glob("*.yaml")):
                if path.stem in found:
                    raise RegionkitError(
                        f"two plugins both bring a preset '{path.stem}'",
                        f"first:  {found[path.stem]}",
                        f"second: {path}",
                        f"rename one of them, or turn one plugin off with {DISABLE_VARIABLE}=NAME",
                    )
                found[path.stem] = path
        return found

    @property
    def weight_folders(self) -> list[Path]:
        """Folders of weight files, those of $REGIONKIT_WEIGHTS first."""
        return [*user_weight_folders(), *self._weights]

    def code_version(self, parts: Iterable[ComponentSpec], packages: Iterable[str] = ()) -> str:
        """Return a digest of the code that these components run: core, their plugins, their distributions.

        Args:
            parts: The components.
            packages: Import names of further packages whose source decides the result, such as the caller's own.
        """
        from regionkit.registry.code_digest import digest_packages

        specs = list(parts)
        owners = {self.owner(spec) for spec in specs}
        core = hooks.__name__.rpartition(".")[0]
        names = {core, *packages, *(_package(spec.target) for spec in specs)}
        return digest_packages(names, sorted(f"{owner.distribution}=={owner.version}" for owner in owners))

    def finished(self, stage: str, seconds: float, info: Mapping[str, Any]) -> None:
        """Tell observing plugins that a stage of a run is over."""
        self.manager.hook.regionkit_stage_finished(stage=stage, seconds=seconds, info=info)


def describe(error: BaseException) -> str:
    """Say on one line what an exception was."""
    text = str(error).strip().splitlines()
    if isinstance(error, pluggy.PluginValidationError):
        return " ".join(text)  # names the hook on one line and the wrong argument on the next
    if isinstance(error, (ValueError, TypeError)) and text:
        return text[0]
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def plural(kind: str) -> str:
    """Return the plural of a kind, for messages."""
    return {"corpus": "corpora"}.get(kind, f"{kind}s")


def user_weight_folders() -> list[Path]:
    """Return the folders named by $REGIONKIT_WEIGHTS, which are separated as in $PATH."""
    return [Path(part) for part in os.environ.get("REGIONKIT_WEIGHTS", "").split(os.pathsep) if part]


def disabled_plugins() -> Collection[str]:
    """Return the names in $REGIONKIT_DISABLE."""
    return {part.strip() for part in os.environ.get(DISABLE_VARIABLE, "").split(",") if part.strip()}


@functools.cache
def get_registry() -> Registry:
    """Return the process-wide registry; plugins are discovered on the first call.

    Raises:
        RegionkitError: Two plugins register the same component or command.
    """
    from regionkit.registry.discovery import discover

    return discover()


def _package(target: str) -> str:
    """Return the package whose source decides what a component does: the folder of one of our plugins, or all of a
    stranger's top-level package.
    """
    words = target.partition(":")[0].split(".")
    return ".".join(words[:3] if words[:2] == ["regionkit", "plugins"] else words[:1])


def _hook_names() -> list[str]:
    return sorted(name for name in vars(hooks) if re.match(r"regionkit_", name))


def _file_key(key: str) -> str:
    return f"files with the key '{key}'"


def _folder(item: Any) -> Path:
    if not isinstance(item, (str, os.PathLike)):
        raise TypeError(f"a folder must be a path, it is {type(item).__name__}")
    return Path(item)
