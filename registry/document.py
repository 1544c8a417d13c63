"""YAML files as the toolkit reads them: composed, overridden, and with a line number for every value.

``yaml.compose`` gives the line numbers, OmegaConf gives the values (PyYAML alone reads ``1e-4`` as a string). A file
never runs code: interpolations and resolvers such as ``${oc.env:HOME}`` are refused, since what they fetch would end
up in reports. The one exception, plugins that a file brings under its key ``plugins``, is named on the command line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regionkit.core.errors import ConfigError, Problem, UnknownName, did_you_mean
from regionkit.core.files import is_file
from regionkit.registry.discovery.local_plugins import FLAG, KEY, load_local_plugins
from regionkit.registry.merging import apply_override, merge
from regionkit.registry.registry import get_registry
from regionkit.registry.yaml_text import nearby, read_text, read_yaml

#: The version of the file format that this toolkit reads.
VERSION = 1


@dataclass(frozen=True)
class Document:
    """A file after composition and overrides.

    Attributes:
        path: The file, or the preset's file; None for a mapping given in Python.
        data: Its content without ``version``, laid over that of ``extends`` and ``base``. A key under which the
            command of such files holds a pipeline (``base`` of an ablation) stays, as the composed pipeline, a
            mapping, whether the file named a preset, a path or wrote it out.
        lines: ``file:line`` or ``--set a.b`` of every dotted path.
        name: What to call it: the preset's name or the file's stem.
        overrides: The ``a.b=c`` strings that were laid over it, as they were given.
    """

    path: Path | None
    data: dict[str, Any]
    lines: dict[str, str] = field(default_factory=dict)
    name: str = ""
    overrides: tuple[str, ...] = ()

    def line(self, path: str) -> str:
        """Return where a dotted path was written: ``file:line``, or the option it came from.

        A path that was not written, such as a missing option, is placed at the nearest part of it that was.
        """
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path.rpartition(".")[0]
        return self.lines.get("", str(self.path) if self.path else "")


def read_document(path: str | Path, overrides: Sequence[str] = ()) -> Document:
    """Read a YAML file, compose what it extends, and lay overrides over it.

    Args:
        path: The file.
        overrides: ``a.b=c`` strings; values are read as YAML values are.

    Raises:
        ConfigError: The file cannot be read or composed, or an override is not of the form ``a.b=c``.
    """
    document = _read(Path(path), ())
    return _override(document, overrides)


def read_pipeline(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Document:
    """Read a pipeline from a preset's name, a file or a mapping.

    Raises:
        UnknownName: There is no preset of that name.
        ConfigError: As :func:`read_document`.
    """
    if isinstance(source, Mapping):
        return _override(_compose(Document(None, dict(source)), Path(), ()), overrides)
    return read_document(find_source(source, Path()), overrides)


def check_reader(document: Document, command: str) -> None:
    """Check that a file is not one of another command, whose every key would be told as a mistake.

    Args:
        document: The file.
        command: The command that reads it; empty where a pipeline is expected.

    Raises:
        ConfigError: It is another command's.
    """
    reader = get_registry().reader(document.data)
    if reader is not None and reader.name != command:
        name = document.path or document.name
        wanted = f"file for toolkit {command}" if command else "pipeline"
        message = f"this is no {wanted}: its keys are those of a file for toolkit {reader.name}"
        raise ConfigError([Problem(document.line(""), "", message, (f"write: toolkit {reader.name} {name}",))])


def find_source(source: str | Path, folder: Path) -> Path:
    """Return the file that a preset's name or a path means; paths are relative to ``folder``.

    Raises:
        UnknownName: It is a bare name and no preset has it.
    """
    text = str(source).replace("\0", "\\0")  # the one character that no path holds
    if isinstance(source, Path) or "/" in text or text.endswith((".yaml", ".yml")):
        return folder / os.path.expanduser(text)  # Path.expanduser raises for a user that does not exist
    registry = get_registry()
    if text in registry.presets:
        return registry.presets[text]
    names = sorted(registry.presets)
    listed = "see: toolkit list-components --kind preset" if names else "no plugin brings presets"
    raise UnknownName(
        f"no preset named '{text}'",
        did_you_mean(text, names) or listed,
        f"to read the file of that name write ./{text}" if is_file(folder / text) else "",
        *registry.skipped(),
    )


def _read(path: Path, chain: tuple[Path, ...]) -> Document:
    """Read and compose one file; ``chain`` holds the files that led to it."""
    data, lines = read_yaml(read_text(path), str(path))
    return _compose(Document(path, _anchored(data, path.parent), lines, path.stem), path.parent, chain)


def _anchored(value: Any, folder: Path, key: object = "") -> Any:
    """Make ``weights: file:PATH`` relative to the file that says so, as all paths in a file are.

    What the command line says is relative to where the user stands.
    """
    if isinstance(value, dict):
        return {name: _anchored(inner, folder, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_anchored(inner, folder, key) for inner in value]
    if str(key).rpartition(".")[2] == "weights" and isinstance(value, str) and value.startswith("file:"):
        written = os.path.expanduser(value.removeprefix("file:"))
        return f"file:{folder / written}" if not os.path.isabs(written) else value
    return value


def _compose(document: Document, folder: Path, chain: tuple[Path, ...]) -> Document:
    """Check the version, and lay the document over what it extends: first ``extends``, then ``base``, then itself."""
    data = dict(document.data)
    _check_version(data.pop("version", VERSION), document)
    chain = (*chain, *([document.path.resolve()] if document.path else []))
    result = Document(document.path, {}, {}, document.name)
    if KEY in data:  # before anything is looked up, since it may be what they bring
        load_local_plugins(data.pop(KEY), document, folder)
    if "extends" in data:
        result = _lay_over(result, _below("extends", data.pop("extends"), document, folder, chain))
    if "base" in data and "base" not in _pipeline_keys({**data, **result.data}):
        result = _lay_over(result, _below("base", data.pop("base"), document, folder, chain))
    result = _lay_over(result, Document(document.path, data, document.lines, document.name))
    return _with_pipelines(result, folder, chain)


def _pipeline_keys(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys of a file whose values are pipelines of their own, as its command says."""
    reader = get_registry().reader(data)
    return reader.pipelines if reader else ()


def _with_pipelines(document: Document, folder: Path, chain: tuple[Path, ...]) -> Document:
    """Put composed pipelines in the place of what the file names or writes out under their keys."""
    for key in _pipeline_keys(document.data):
        source = document.data.get(key)
        if source is None or (isinstance(source, Mapping) and not {"base", "extends", KEY} & set(source)):
            continue
        below = _below(key, source, document, folder, chain)
        lines = {f"{key}.{path}": line for path, line in below.lines.items() if path}
        data = {**document.data, key: below.data}
        document = Document(document.path, data, {**document.lines, **lines}, document.name)
    return document


def _below(key: str, source: Any, document: Document, folder: Path, chain: tuple[Path, ...]) -> Document:
    """Return the composed document that the value of a key, such as ``base`` or ``extends``, names or is."""
    if isinstance(source, Mapping):
        lines = {path[len(key) + 1 :]: line for path, line in document.lines.items() if path.startswith(f"{key}.")}
        below = _compose(Document(None, dict(source), lines), folder, chain)
    else:
        below = _source(source, key, document, folder, chain)
    # What a file says of itself does not hold for those that build on it.
    data = {inner: value for inner, value in below.data.items() if inner != "summary"}
    return Document(below.path, data, below.lines, below.name)


def _source(source: Any, key: str, document: Document, folder: Path, chain: tuple[Path, ...]) -> Document:
    """Read the preset or file that ``base`` or ``extends`` names."""
    where = document.line(key)
    if not isinstance(source, (str, Path)):
        raise ConfigError(
            [Problem(where, key, f"expected the name of a preset or the path of a file, got {type(source).__name__}")]
        )
    try:
        path = find_source(source, folder)
    except UnknownName as error:
        raise ConfigError([Problem(where, key, error.message, error.hints)]) from None
    if not is_file(path):
        raise ConfigError([Problem(where, key, f"there is no file {path}", (nearby(path),))])
    if path.resolve() in chain:
        names = " -> ".join(link.name for link in (*chain, path))
        raise ConfigError([Problem(where, key, f"the files extend each other in a circle: {names}")])
    return _read(path, chain)


def _lay_over(below: Document, above: Document) -> Document:
    data, lines = merge(below.data, below.lines, above.data, above.lines)
    lines[""] = above.lines.get("", "")
    return Document(above.path, data, lines, above.name)


def _check_version(version: Any, document: Document) -> None:
    """Accept a missing version as the first; refuse what is no version or a newer one."""
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        problem = Problem(document.line("version"), "version", f"expected {VERSION}, got {version!r}")
    elif version > VERSION:
        problem = Problem(
            document.line("version"),
            "version",
            f"the file is of version {version}, this regionkit reads version {VERSION}",
            ("update it with: pip install -U regionkit",),
        )
    else:
        return
    raise ConfigError([problem])


def _override(document: Document, overrides: Sequence[str]) -> Document:
    problems: list[Problem] = []
    for text in overrides:
        lines = dict(document.lines)
        try:
            data = apply_override(document.data, lines, text)
            if KEY in data:
                hint = f"write the key into the file, and allow it with {FLAG}"
                raise ConfigError([Problem(lines.get(KEY, "--set"), KEY, "plugins are not brought by --set", (hint,))])
            # --set base=NAME on an ablation names a pipeline, and later overrides may go into it.
            document = _with_pipelines(Document(document.path, data, lines, document.name), Path(), ())
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return replace(document, overrides=(*document.overrides, *overrides))
