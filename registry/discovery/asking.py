"""Asking a plugin for all that it brings, and checking every piece before any of it is taken in."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy

import regionkit.core.plugin as hooks
from regionkit.core.errors import did_you_mean
from regionkit.core.spec import CommandSpec, ComponentSpec, PaperSpec
from regionkit.registry.discovery.owners import Owner
from regionkit.registry.discovery.spec_checks import check_command, check_component, check_paper
from regionkit.registry.discovery.watchdog import TimedOut, run_limited


@dataclass(frozen=True, slots=True)
class Offer:
    """Everything that one plugin brings."""

    components: list[ComponentSpec]
    papers: list[PaperSpec]
    presets: list[Path]
    published: list[Path]
    weights: list[Path]
    commands: list[CommandSpec]


def ask_plugin(
    manager: pluggy.PluginManager, plugin: object, owner: Owner, limit: float, seen: list[tuple[str, str]]
) -> Offer:
    """Ask a plugin for all that it brings and check every piece.

    Args:
        manager: Where it is registered.
        plugin: The plugin.
        owner: Who it is.
        limit: Seconds that each of its hooks may take; 0 is no limit.
        seen: Takes kinds and names of the components that it tells of, sound or not.

    Raises:
        ValueError: A hook is unknown, a piece is wrong, or it takes too long.
        BaseException: Whatever a stranger's hook raises.
    """
    callers = manager.get_hookcallers(plugin) or []
    if not callers:
        raise ValueError("it implements no hook of regionkit")
    for caller in callers:
        if not caller.has_spec():
            raise ValueError(
                f"it implements the unknown hook '{caller.name}'; "
                + (did_you_mean(caller.name, _hook_names()) or f"hooks are: {', '.join(_hook_names())}")
            )

    def ask(hook: str) -> list[Any]:
        return _ask(manager, hook, owner, limit)

    components = ask("regionkit_components")
    pairs = [(spec.kind, spec.name) for spec in components if isinstance(spec, ComponentSpec)]
    seen += [pair for pair in pairs if all(isinstance(word, str) for word in pair)]
    offer = Offer(
        components=[check_component(spec) for spec in components],
        papers=[check_paper(paper) for paper in ask("regionkit_papers")],
        presets=[_folder(folder) for folder in ask("regionkit_presets")],
        published=[_folder(folder) for folder in ask("regionkit_published")],
        weights=[_folder(folder) for folder in ask("regionkit_weights")],
        commands=[check_command(command) for command in ask("regionkit_commands")],
    )
    offered = [f"{spec.kind} '{spec.name}'" for spec in offer.components]
    offered += [f"command '{command.name}'" for command in offer.commands]
    offered += [file_key(key) for command in offer.commands for key in command.files]
    twice = [what for what, count in Counter(offered).items() if count > 1]
    if twice:
        raise ValueError(f"it registers {twice[0]} twice")
    return offer


def _ask(manager: pluggy.PluginManager, hook: str, owner: Owner, limit: float) -> list[Any]:
    """Call one hook of one plugin. pluggy's own call would mix all plugins' answers and stop at the first error."""
    answers: list[Any] = []
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        if implementation.plugin_name == owner.plugin:
            try:
                answer = run_limited(implementation.function, limit)
            except TimedOut as error:
                raise ValueError(f"its hook {hook} {error}") from None
            if not isinstance(answer, (list, tuple)):
                raise TypeError(f"{hook} must return a list, it returned {type(answer).__name__}")
            answers += answer
    return answers


def describe(error: BaseException) -> str:
    """Say on one line what an exception was."""
    lines = message_lines(error)
    if isinstance(error, pluggy.PluginValidationError):
        return " ".join(lines)  # names the hook on one line and the wrong argument on the next
    if isinstance(error, (ValueError, TypeError)) and lines:
        return lines[0]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def message_lines(error: BaseException) -> list[str]:
    """Return the lines of an exception's message; none where the exception cannot even be printed."""
    try:
        return str(error).strip().splitlines()
    except Exception:  # a stranger's exception has a stranger's __str__
        return []


def file_key(key: str) -> str:
    """Call the files that a command reads by one of their keys."""
    return f"files with the key '{key}'"


def _hook_names() -> list[str]:
    return sorted(name for name in vars(hooks) if re.match(r"regionkit_", name))


def _folder(item: Any) -> Path:
    if not isinstance(item, (str, os.PathLike)):
        raise TypeError(f"a folder must be a path, it is {type(item).__name__}")
    return Path(item)
