"""The text of a YAML file, its values, and the line of each."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from regionkit.core.errors import ConfigError, Problem


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        ConfigError: It is not there, cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError([Problem(str(path), "", "there is no such file", (nearby(path),))]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            [Problem(f"{path}:{line}", "", "the file is not UTF-8", ("save it again with the encoding UTF-8",))]
        ) from None
    except OSError as error:
        hint = "give the path of a YAML file"
        raise ConfigError([Problem(str(path), "", f"cannot be read: {error.strerror or error}", (hint,))]) from None


def nearby(path: Path) -> str:
    """Name YAML files beside a path that is not there and are called almost like it, or say what is wanted."""
    others = {other.stem: other.name for other in path.parent.glob("*.y*ml")} if path.parent.is_dir() else {}
    close = get_close_matches(path.stem, sorted(others), n=3, cutoff=0.6)
    return f"did you mean: {', '.join(others[stem] for stem in close)}" if close else "give the path of a YAML file"


def read_yaml(text: str, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of a YAML mapping and ``name:line`` of every dotted path, list items included (``data.0``).

    Raises:
        ConfigError: It is no YAML, no mapping, writes a key twice, or holds an interpolation.
    """
    root = _compose(text, name)
    if root is None:
        raise ConfigError([Problem(name, "", "the file is empty")])
    if not isinstance(root, yaml.MappingNode):
        found = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        raise ConfigError([Problem(f"{name}:1", "", f"the file must be a mapping (key: value lines), it is {found}")])
    lines = {"": f"{name}:1"}
    problems = list(_walk(root, "", name, lines, set()))
    if problems:
        raise ConfigError(problems)
    try:
        values = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise ConfigError([_syntax_problem(error, name)]) from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}, lines


def read_value(text: str, where: str) -> Any:
    """Read one value as a YAML file would hold it, for the command line.

    Raises:
        ConfigError: It is no YAML value, or holds an interpolation.
    """
    values, _ = read_yaml(f"value: {text}" if text.strip() else "value: ''", where)
    return values["value"]


def _compose(text: str, name: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError([_syntax_problem(error, name)]) from None


def _syntax_problem(error: Exception, name: str) -> Problem:
    if isinstance(error, RecursionError):
        return Problem(name, "", "brackets or lists are nested too deeply to be read")
    mark = getattr(error, "problem_mark", None)
    where = f"{name}:{mark.line + 1}" if mark is not None else name
    reason = getattr(error, "problem", None) or str(error).splitlines()[0]
    if "'\\t'" in reason:
        return Problem(where, "", "a tab indents this line", ("YAML is indented with spaces: replace the tab",))
    context = getattr(error, "context", None)
    return Problem(where, "", f"not readable as YAML: {f'{context}, ' if context else ''}{reason}")


def _walk(node: yaml.Node, path: str, name: str, lines: dict[str, str], open_nodes: set[int]) -> Iterator[Problem]:
    """Note the line of every path below a node and yield what is wrong with it."""
    if id(node) in open_nodes:
        yield Problem(_at(name, node), path, "an alias (*name) refers to something that contains itself")
        return
    open_nodes = open_nodes | {id(node)}
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                yield Problem(_at(name, key), path, "a key must be a single word")
                continue
            inner = f"{path}.{key.value}" if path else key.value
            if key.value in seen:
                first = seen[key.value].start_mark.line + 1
                yield Problem(
                    _at(name, key), inner, f"written twice, first in line {first}", ("remove one of the two",)
                )
            seen[key.value] = key
            lines[inner] = _at(name, key)
            yield from _interpolations(key, inner, name)
            yield from _walk(value, inner, name, lines, open_nodes)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            inner = f"{path}.{index}" if path else str(index)
            lines[inner] = _at(name, value)
            yield from _walk(value, inner, name, lines, open_nodes)
    else:
        yield from _interpolations(node, path, name)


def _interpolations(node: yaml.Node, path: str, name: str) -> Iterator[Problem]:
    if "${" in node.value:
        yield Problem(
            _at(name, node),
            path,
            f"'{node.value}' is an interpolation, and files hold plain values only",
            (
                "write the value out, or give it on the command line with --set; data and weight folders come from "
                "REGIONKIT_DATA and REGIONKIT_WEIGHTS",
            ),
        )


def _at(name: str, node: yaml.Node) -> str:
    return f"{name}:{node.start_mark.line + 1}"
