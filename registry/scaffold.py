"""New plugins from templates: a small distribution that works and is tested as it is written."""

from __future__ import annotations

import keyword
import re
import shlex
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from string import Template

from regionkit.core.errors import RegionkitError, UnknownName, did_you_mean
from regionkit.core.files import is_free, replacing_folder
from regionkit.registry.registry import get_registry

_TEMPLATES = Path(__file__).parent / "templates" / "plugin"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Pattern:
    """What the templates of a kind make.

    Attributes:
        module: Module of the component's code.
        summary: What the component does.
        preset: Whether there is a pipeline that shows it.
        usage: Commands that use it, one a line; ``$name`` is its name, ``$package`` its package.
        recipe: Whether there is a file for `toolkit train`.
    """

    module: str
    summary: str
    preset: bool
    usage: str
    recipe: bool = False

    def commands(self, name: str) -> list[str]:
        """Return the commands that use it."""
        words = {"name": name, "package": name.replace("-", "_")}
        return Template(self.usage).substitute(words).splitlines()


#: The kinds that there are templates for, the usual one first.
PATTERNS: dict[str, Pattern] = {
    "region_encoder": Pattern(
        "encoder",
        "Mean of the patches, those that are covered most counting most",
        True,
        "toolkit caption IMAGE --preset $name --box 8,8,60,60",
    ),
    "metric": Pattern(
        "metric",
        "Share of the words of a reference that the caption has too",
        False,
        "toolkit run mini --data box@mini --metrics $name --limit 20",
    ),
    "dataset": Pattern(
        "reader",
        "Boxes with captions, a JSONL file a split and a folder of pictures",
        False,
        "toolkit data list $name",
    ),
    "bridge": Pattern(
        "bridge",
        "Unit vectors whose dominant coordinates are held back",
        True,
        "toolkit caption IMAGE --preset $name --box 8,8,60,60",
    ),
    "decoder": Pattern(
        "decoder",
        "A recurrent network that writes word by word",
        True,
        "toolkit train train.yaml --out $package/weights\ntoolkit caption IMAGE --preset $name --box 8,8,60,60",
        recipe=True,
    ),
    "backbone": Pattern(
        "backbone",
        "A vision transformer on squashed pictures",
        False,  # nothing captions what it sees before something is trained on it
        "toolkit compat $name --untrained",
    ),
}


@dataclass(frozen=True, slots=True)
class Scaffold:
    """A plugin that was written.

    Attributes:
        folder: Its folder.
        files: Its files, relative to that.
        next: Commands to type next, in order.
    """

    folder: Path
    files: tuple[str, ...]
    next: tuple[str, ...]


def write_plugin(name: str, kind: str, folder: Path) -> Scaffold:
    """Write a new plugin: all of its files, or none.

    Args:
        name: Name of the distribution, the plugin and its component: ``my-regions``.
        kind: A key of :data:`PATTERNS`.
        folder: Where it goes; must not be there yet, or be empty.

    Raises:
        UnknownName: There is no template for that kind.
        RegionkitError: The name cannot be used, something is in the way, or the folder cannot be written.
    """
    if kind not in PATTERNS:
        raise UnknownName(
            f"there is no template for the kind '{kind}'",
            did_you_mean(kind, PATTERNS),
            f"templates are: {', '.join(PATTERNS)}",
            "for another kind, start from one of these or from the nearest part: toolkit list-components",
        )
    package = _package(name, kind)
    if not is_free(folder):
        raise RegionkitError(
            f"{folder} is there already, and nothing is overwritten", "choose another folder with --out DIR"
        )
    contents = _render(name, package, kind)
    nearest = next(parent for parent in folder.absolute().parents if parent.exists())
    if not nearest.is_dir():
        raise RegionkitError(
            f"{folder} cannot be written: {nearest.name} is no folder", "choose another folder with --out DIR"
        )
    try:
        with replacing_folder(folder) as draft:
            for file, content in contents.items():
                (draft / file).parent.mkdir(parents=True, exist_ok=True)
                (draft / file).write_text(content, encoding="utf-8")
    except OSError as error:
        raise RegionkitError(
            f"{folder} cannot be written: {error.strerror or error}", "choose another folder with --out DIR"
        ) from None
    steps = (
        f"cd {shlex.quote(str(folder))}",
        "pip install -e '.[test]'",
        "pytest",
        f"toolkit check-plugin {name}",
        *PATTERNS[kind].commands(name),
    )
    return Scaffold(folder, tuple(sorted(contents)), steps)


def _package(name: str, kind: str) -> str:
    """Return the import name of a plugin, if that and its own name can be used.

    Raises:
        RegionkitError: They cannot.
    """
    if not _NAME.fullmatch(name):
        suggestion = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")
        raise RegionkitError(
            f"'{name}' is no name for a plugin: use a-z, 0-9 and single dashes, and start with a letter",
            f"for example: toolkit new plugin {suggestion or 'my-regions'}",
        )
    package = name.replace("-", "_")
    registry = get_registry()
    hint = "choose another name"
    if keyword.iskeyword(package):
        raise RegionkitError(f"'{name}' is a word of Python and cannot name a package", hint)
    if name in registry.plugins:
        raise RegionkitError(f"there is a plugin '{name}' already: {registry.plugins[name]}", hint)
    found = find_spec(package)
    # A folder without code, such as one in the current folder, is found too and hides nothing.
    if package in sys.stdlib_module_names or (found is not None and found.origin is not None):
        raise RegionkitError(f"there is a package '{package}' already, and a second one would hide it", hint)
    taken = next((spec for spec in registry.specs(kind) if spec.name == name), None)
    if taken is not None:
        raise RegionkitError(f"there is a {kind} '{name}' already: {registry.owner(taken)}", hint)
    if name in registry.presets:
        raise RegionkitError(f"there is a preset '{name}' already: {registry.presets[name]}", hint)
    return package


def _render(name: str, package: str, kind: str) -> dict[str, str]:
    """Fill in the templates and return the files' contents by path."""
    pattern = PATTERNS[kind]
    files = {
        "pyproject.toml": "common/pyproject.toml",
        "README.md": "common/README.md",
        f"{package}/__init__.py": f"{kind}/init.py",
        f"{package}/configs.py": f"{kind}/configs.py",
        f"{package}/{pattern.module}.py": f"{kind}/code.py",
        f"tests/test_{package}.py": f"{kind}/test.py",
    }
    row = ""
    if pattern.preset:
        preset = f"{package}/presets/{name}.yaml"
        files[preset] = f"{kind}/preset.yaml"
        row = f"| `{preset}` | the captioner of the mini-world with it, `--preset {name}` |\n"
    if pattern.recipe:
        files["train.yaml"] = f"{kind}/train.yaml"
        row += "| `train.yaml` | what `toolkit train` makes its weights with |\n"
    words = {
        "name": name,
        "package": package,
        "kind": kind.replace("_", " "),
        "module": pattern.module,
        "class_name": "".join(word.capitalize() for word in name.split("-")),
        "summary": pattern.summary,
        "usage": "\n".join(f"    {command}" for command in pattern.commands(name)),
        "preset_row": row,
    }
    return {
        file: Template((_TEMPLATES / f"{source}.tmpl").read_text(encoding="utf-8")).substitute(words)
        for file, source in files.items()
    }
