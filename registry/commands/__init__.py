"""The commands of the registry itself; they enter by the same hook as any plugin's."""

from __future__ import annotations

from regionkit.core.plugin import hookimpl
from regionkit.core.spec import CommandSpec


@hookimpl
def regionkit_commands() -> list[CommandSpec]:
    """Commands about what is installed and whether it fits, and those that need nothing but a pipeline."""
    here = __name__
    return [
        CommandSpec("caption", f"{here}.caption:caption", "Caption regions of a picture, of a folder or of a JSONL"),
        CommandSpec("explain", f"{here}.explain:explain", "Show where the region encoder looked, as picture or arrays"),
        CommandSpec("list-components", f"{here}.list_components:list_components", "List all parts that are installed"),
        CommandSpec("show", f"{here}.show:show", "Show a component or preset: options, ports, weights, paper"),
        CommandSpec(
            "published", f"{here}.published:published", "List rows of papers' tables: preset, numbers, what they await"
        ),
        CommandSpec("compat", f"{here}.compat:compat", "Show which parts fit which"),
        CommandSpec("validate", f"{here}.validate:validate", "Check YAML files and report every mistake"),
        CommandSpec("weights", f"{here}.weights:weights", "List, fetch, convert and bundle trained weights"),
        CommandSpec("data", f"{here}.data:data", "List, make and verify data sets"),
        CommandSpec("doctor", f"{here}.doctor:doctor", "Check this installation: packages, devices, plugins, folders"),
        CommandSpec(
            "plugins", f"{here}.plugins:plugins", "List plugins: who brings them, where, and why one is skipped"
        ),
        CommandSpec("new", f"{here}.new:new", "Write a new plugin to start from, complete with tests"),
        CommandSpec("check-plugin", f"{here}.check_plugin:check_plugin", "Check a plugin as a stranger would use it"),
        CommandSpec("cite", f"{here}.cite:cite", "Print BibTeX for components, presets or a YAML file"),
    ]
