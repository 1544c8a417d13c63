"""The text of a YAML file, its values, and the line of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from regionkit.core.errors import ConfigError, Problem
from regionkit.registry.yaml_nodes import NodeLoader, Refused, spelled_tag

#: Bytes of a file; long ones take seconds to be read, and no configuration comes near.
_MOST_BYTES = 1 << 20
#: Characters of a number.
_LONGEST_NUMBER = 64
_DECIMAL = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?")
#: Characters that would move the cursor of a terminal on which a message shows them.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f]")


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        ConfigError: It is not there, no regular file, cannot be read, is not UTF-8, or longer than any such file is.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            hint = "write it to a file first"
            raise ConfigError([Problem(str(path), "", "this is a pipe or a device, not a file", (hint,))])
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ConfigError([Problem(str(path), "", f"the file is longer than {_MOST_BYTES:,} bytes")])
        return content.decode("utf-8-sig")
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
    try:
        others = {other.stem: other.name for other in path.parent.glob("*.y*ml")} if path.parent.is_dir() else {}
    except OSError:  # a folder that may not be read, or a name longer than names can be
        others = {}
    close = get_close_matches(path.stem, sorted(others), n=3, cutoff=0.6)
    return f"did you mean: {', '.join(others[stem] for stem in close)}" if close else "give the path of a YAML file"


def read_yaml(text: str, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of a YAML mapping and ``name:line`` of every dotted path, list items included (``data.0``).

    Raises:
        ConfigError: It is no YAML, no mapping, writes a key twice, or holds an interpolation.
    """
    root, problems = _compose(text, name)
    if root is None:
        raise ConfigError([Problem(name, "", "the file is empty")])
    if not isinstance(root, yaml.MappingNode):
        found = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        raise ConfigError([Problem(f"{name}:1", "", f"the file must be a mapping (key: value lines), it is {found}")])
    lines = {"": f"{name}:1"}
    problems += _walk(root, "", name, lines)
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


def _compose(text: str, name: str) -> tuple[yaml.Node | None, list[Problem]]:
    """Return the root of a YAML text, and a problem for each tag, which would name types or code."""
    loader = None
    try:
        loader = NodeLoader(text)
        root = loader.get_single_node()
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError([_syntax_problem(error, name, text)]) from None
    finally:
        if loader is not None:
            loader.dispose()
    hint = 'remove it; text is marked with quotes: "3"'
    return root, [
        Problem(f"{name}:{line + 1}", "", f"the tag {spelled_tag(tag)} is not taken: files hold plain values", (hint,))
        for line, tag in loader.tags
    ]


def _syntax_problem(error: Exception, name: str, text: str = "") -> Problem:
    if isinstance(error, yaml.reader.ReaderError):
        where = f"{name}:{text.count(chr(10), 0, error.position) + 1}"
        return Problem(where, "", f"the character {error.character:#06x} is none that YAML takes")
    if isinstance(error, RecursionError):
        return Problem(name, "", "brackets or lists are nested too deeply to be read")
    mark = getattr(error, "problem_mark", None)
    where = f"{name}:{mark.line + 1}" if mark is not None else name
    reason = getattr(error, "problem", None) or str(error).splitlines()[0]
    if isinstance(error, Refused):
        return Problem(where, "", reason)
    if "'\\t'" in reason:
        return Problem(where, "", "a tab indents this line", ("YAML is indented with spaces: replace the tab",))
    context = getattr(error, "context", None)
    return Problem(where, "", f"not readable as YAML: {f'{context}, ' if context else ''}{reason}")


def _walk(node: yaml.Node, path: str, name: str, lines: dict[str, str]) -> Iterator[Problem]:
    """Note the line of every path below a node and yield what is wrong with it."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, yaml.Node] = {}
        for key, value in node.value:
            key_fault = _key_fault(key)
            if key_fault is not None:
                yield Problem(_at(name, key), path, *key_fault)
                continue
            inner = f"{path}.{key.value}" if path else key.value
            if key.value in seen:
                first = seen[key.value].start_mark.line + 1
                yield Problem(
                    _at(name, key), inner, f"written twice, first in line {first}", ("remove one of the two",)
                )
            seen[key.value] = key
            lines[inner] = _at(name, key)
            if key.tag.endswith(":bool"):  # on, off, yes and no reach whoever reads the values as True and False
                read = str(key.value.lower() in ("on", "yes", "true"))
                lines[f"{path}.{read}" if path else read] = _at(name, key)
            yield from _interpolations(key, inner, name)
            yield from _walk(value, inner, name, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            inner = f"{path}.{index}" if path else str(index)
            lines[inner] = _at(name, value)
            yield from _walk(value, inner, name, lines)
    else:
        yield from _interpolations(node, path, name)
        fault = _text_fault(node.value) or ("" if getattr(node, "style", None) else _number_fault(node.value, node.tag))
        if fault:
            yield Problem(_at(name, node), path, fault)


def _key_fault(key: yaml.Node) -> tuple[str, tuple[str, ...]] | None:
    """Say why a key is none: it is no single word, a word that YAML reads as something else, or unreadable."""
    if not isinstance(key, yaml.ScalarNode):
        return "a key must be a single word", ()
    if _text_fault(key.value):
        return f"a key {_text_fault(key.value)}", ()
    kind = key.tag.rpartition(":")[2]
    word = {"null": "nothing", "float": "a number", "timestamp": "a date"}.get(kind)
    if word:
        return f"YAML reads the key {key.value or 'here'} as {word}", ("put it in quotes if it is meant as a word",)
    return None


def _text_fault(text: str) -> str:
    """Say what makes a text one that cannot be written to a terminal or to a file."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a character (a lone surrogate)"
    found = _CONTROL.search(text)
    return f"holds the control character {found[0]!a}" if found else ""


def _number_fault(text: str, tag: str) -> str:
    """Say what makes a plain value a number that no option can hold."""
    is_number = tag.endswith((":int", ":float")) or _DECIMAL.fullmatch(text)
    if is_number and len(text) > _LONGEST_NUMBER:
        return f"a number of {len(text)} characters"
    if is_number and ":" in text:
        return f"YAML reads {text} as a number in base 60; put it in quotes if it is meant as text"
    if _DECIMAL.fullmatch(text) and abs(float(text.replace("_", ""))) == float("inf"):
        return f"the number {text} is too large"
    return ""


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
