"""What is installed: every component, preset, command and paper, and who brought it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pluggy

import regionkit.core.plugin as hooks
from regionkit.core.errors import RegionkitError, RunFailed, UnknownName, did_you_mean
from regionkit.core.spec import KINDS, CommandSpec, ComponentSpec, PaperSpec
from regionkit.registry.discovery.asking import Offer, ask_plugin, describe, file_key
from regionkit.registry.discovery.clashes import Claim, clash_error
from regionkit.registry.discovery.owners import Loading, Owner, Quarantined
from regionkit.registry.discovery.unused import close_names

#: Plugins named here, separated by commas, are not loaded.
DISABLE_VARIABLE = "REGIONKIT_DISABLE"


class PluginFault(Exception):
    """A plugin cannot be used; the text is the reason, on one line."""


class Registry:
    """Plugins and what they bring. Components are found by kind and name, and no name is ever silently replaced."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(hooks.PROJECT)
        self.manager.add_hookspecs(hooks)
        self.commands: dict[str, CommandSpec] = {}
        self.papers: dict[str, PaperSpec] = {}
        self.plugins: dict[str, Owner] = {}
        #: What loading each plugin was like, by its name.
        self.loadings: dict[str, Loading] = {}
        self.quarantined: list[Quarantined] = []
        #: Python files that YAML files brought, see ``local_plugins``: digest by resolved path.
        self.local_files: dict[Path, str] = {}
        #: Names in REGIONKIT_DISABLE that no plugin has.
        self.unknown_disabled: list[str] = []
        self._components: dict[tuple[str, str], ComponentSpec] = {}
        self._owners: dict[tuple[str, str], Owner] = {}
        self._command_owners: dict[str, Owner] = {}
        #: Top-level key of a YAML file -> the command that reads such files.
        self._readers: dict[str, CommandSpec] = {}
        self._weights: list[Path] = []
        #: Plugins whose observing hook raised.
        self._silenced: set[str] = set()
        self._preset_folders: list[tuple[Path, Owner]] = []
        #: Folders of tables that papers print.
        self.published: list[Path] = []

    def register(self, plugin: object, owner: Owner, *, limit: float = 0) -> Quarantined | None:
        """Take in what a plugin brings, or quarantine it with the reason where anything about it is wrong.

        Args:
            plugin: The module, or another object with hooks.
            owner: Who it is.
            limit: Seconds that each of its hooks may take; 0 is no limit.

        Returns:
            The record of a plugin that was quarantined; None of one that is used.

        Raises:
            RegionkitError: A component, a command or a key of a command's files belongs to another plugin already.
        """
        seen: list[tuple[str, str]] = []
        try:
            self.admit(plugin, owner, limit=limit, seen=seen)
        except PluginFault as fault:
            return self.quarantine(owner, str(fault), seen=tuple(seen))
        return None

    def admit(
        self, plugin: object, owner: Owner, *, limit: float = 0, seen: list[tuple[str, str]] | None = None
    ) -> None:
        """Take in what a plugin brings, or nothing of it.

        Args:
            plugin: As for :meth:`register`, like the next two.
            owner: Who it is.
            limit: Seconds for each of its hooks.
            seen: Takes kinds and names of the components that it tells of, sound or not.

        Raises:
            PluginFault: Something about it is wrong.
            RegionkitError: It brings what belongs to another plugin already.
        """
        if owner.plugin in self.plugins:
            raise PluginFault(f"another plugin is already named '{owner.plugin}': {self.plugins[owner.plugin]}")
        try:
            self.manager.register(plugin, owner.plugin)
            offer = ask_plugin(self.manager, plugin, owner, limit, [] if seen is None else seen)
        except BaseException as error:
            self._forget(plugin)
            if isinstance(error, KeyboardInterrupt):
                raise
            # A stranger's code may raise anything, SystemExit included; it must not take the others down.
            raise PluginFault(describe(error)) from error
        try:
            self._take(offer, owner)
        except RegionkitError:
            self._forget(plugin)
            raise
        self.plugins[owner.plugin] = owner
        # Presets and weights are looked up once, and it may have brought more. Who has not imported the index has no
        # old one; importing it here would slow down every listing.
        vars(self).pop("_owned_presets", None)
        index = sys.modules.get("regionkit.registry.weights.index")
        if index is not None:
            index.get_index.cache_clear()
        published = sys.modules.get("regionkit.registry.published.matching")
        if published is not None:
            published.forget()

    def quarantine(
        self,
        owner: Owner,
        reason: str,
        *,
        disabled: bool = False,
        seen: tuple[tuple[str, str], ...] = (),
    ) -> Quarantined:
        """Record a plugin that is not used, and return the record."""
        record = Quarantined(owner.plugin, reason, owner.distribution, owner.version, disabled, seen=seen)
        self.quarantined.append(record)
        return record

    def describe_loading(self, plugin: Owner | Quarantined, loading: Loading, source: str) -> None:
        """Keep what loading a plugin was like.

        Args:
            plugin: Its owner where it is used, else the record of :meth:`quarantine`.
            loading: What it was like.
            source: File of its module; kept of a plugin that is not used, which has no module to ask.
        """
        if isinstance(plugin, Owner):
            self.loadings[plugin.plugin] = loading
            return
        # By identity: two plugins may have the same name, distribution and fault.
        place = next(index for index, record in enumerate(self.quarantined) if record is plugin)
        self.quarantined[place] = replace(plugin, loading=loading, source=source)

    def _forget(self, plugin: object) -> None:
        if self.manager.is_registered(plugin):
            self.manager.unregister(plugin)

    def _take(self, offer: Offer, owner: Owner) -> None:
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
        self._preset_folders += [(folder, owner) for folder in offer.presets]
        self.published += offer.published
        self._weights += offer.weights

    def _refuse_clashes(self, offer: Offer, owner: Owner) -> None:
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
                    held.append((file_key(key), self._command_owners[reader.name], reader.target, command.target))
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
        brought, close, skipped = self.about_missing(name, known, kind)
        raise UnknownName(
            f"no {kind} named '{name}'",
            *brought,
            close,
            f"there is a {' and a '.join(elsewhere)} of that name" if elsewhere else "",
            "" if close or not known else f"{plural(kind)} are: {', '.join(known)}",
            *skipped,
            f"see: toolkit list-components --kind {kind}",
        )

    def about_missing(
        self, name: str, known: Iterable[str], kind: str | None = None
    ) -> tuple[list[str], str, list[str]]:
        """Say what may be the reason that a component is not there.

        Args:
            name: What was asked for.
            known: Names that would have been right.
            kind: The kind of component that was asked for; None where it may be any.

        Returns:
            A line for each plugin out of use that would bring just that; close matches, those of plugins out of use
            marked as such, or an empty string; a line for each other plugin out of use.
        """
        offers = [
            (other, offered, plugin)
            for plugin in self.quarantined
            for other, offered in plugin.offers
            if kind in (None, other)
        ]
        bringers = [plugin for _, offered, plugin in offers if offered == name]
        brought = [
            f"{other} '{name}' comes with plugin '{plugin.plugin}', which was skipped: {plugin.reason}"
            for other, offered, plugin in offers
            if offered == name
        ]
        close = close_names(name, known, {offered: plugin.plugin for _, offered, plugin in offers})
        return brought, "" if brought else close, self.skipped(but=bringers)

    def skipped(self, but: Collection[Quarantined] = ()) -> list[str]:
        """One line for each plugin that is not used, for errors that such a plugin may be the reason of."""
        return [
            f"plugin '{plugin.plugin}' was skipped: {plugin.reason}" for plugin in self.quarantined if plugin not in but
        ]

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
        except (Exception, SystemExit) as error:  # whatever a module of a stranger raises when it is imported
            raise RunFailed(
                f"command '{command.name}' cannot be loaded: {type(error).__name__}: {error}",
                f"it comes with plugin {self.command_owner(command.name)}; see: toolkit doctor",
            ) from error

    @property
    def presets(self) -> dict[str, Path]:
        """Preset files by name.

        Raises:
            RegionkitError: Two folders hold a preset of the same name.
        """
        return {name: path for name, (path, _) in self._owned_presets.items()}

    def preset_owner(self, name: str) -> Owner:
        """Return who brings a preset."""
        return self._owned_presets[name][1]

    @functools.cached_property
    def _owned_presets(self) -> dict[str, tuple[Path, Owner]]:
        found: dict[str, tuple[Path, Owner]] = {}
        for folder, owner in self._preset_folders:
            for path in sorted(folder.glob("*.yaml")):
                if path.stem in found:
                    first, first_owner = found[path.stem]
                    raise RegionkitError(
                        f"two plugins both bring a preset '{path.stem}'",
                        f"first:  {first_owner}, in {first}",
                        f"second: {owner}, in {path}",
                        f"rename one of them, or turn one plugin off with {DISABLE_VARIABLE}={owner.plugin}",
                    )
                found[path.stem] = path, owner
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
        """Tell observing plugins that a stage of a run is over.

        One that raises is told of on stderr and not asked again: who watches a run must not end it. What they print
        goes to stderr too, since results may be on stdout.
        """
        told: dict[str, Any] = {"stage": stage, "seconds": seconds, "info": info}
        for observer in list(self.manager.hook.regionkit_stage_finished.get_hookimpls()):
            if observer.plugin_name in self._silenced:
                continue
            with contextlib.redirect_stdout(sys.stderr):
                try:
                    observer.function(*(told[name] for name in observer.argnames))
                except Exception as error:
                    self._silenced.add(observer.plugin_name)
                    sys.stderr.write(
                        f"note: plugin '{observer.plugin_name}' cannot watch this run any more: {describe(error)}\n"
                    )


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
    from regionkit.registry.discovery.discover import discover

    return discover()


def _package(target: str) -> str:
    """Return the package whose source decides what a component does: the folder of one of our plugins, or all of a
    stranger's top-level package.
    """
    words = target.partition(":")[0].split(".")
    return ".".join(words[:3] if words[:2] == ["regionkit", "plugins"] else words[:1])
