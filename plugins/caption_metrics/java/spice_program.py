"""SPICE's official program: what it needs, how it is run, what it answers.

It needs Stanford CoreNLP 3.6.0 and its models, which nothing that pip installs brings. Its jar names them relative to
its own folder; here they are named on the command line instead, so that nothing is written into installed packages.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from regionkit.core.cache import cache_folder
from regionkit.core.errors import RunFailed
from regionkit.plugins.caption_metrics.java.configs import SpiceConfig
from regionkit.plugins.caption_metrics.java.jars import FOLDER_VARIABLE, check_jar, find_jar, first_file, jar_folders
from regionkit.plugins.caption_metrics.java.runtime import (
    Java,
    MissingJava,
    environment,
    find_java,
    last_words,
    machine_options,
)

#: The two files that the user has to bring, and what is surely in each.
CORENLP = {
    "stanford-corenlp-3.6.0.jar": "edu/stanford/nlp/semgraph/semgrex/SemgrexPattern.class",
    "stanford-corenlp-3.6.0-models.jar": "edu/stanford/nlp/models/",
}
SOURCE = "http://nlp.stanford.edu/software/stanford-corenlp-full-2015-12-09.zip"
MAIN = "edu.anu.spice.SpiceScorer"
WHO = "metric 'spice'"
#: Machines for which the jar brings the library of its cache.
_CACHE_MACHINES = ("x86_64", "amd64")

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class SpiceProgram:
    """Where SPICE is and how it is run.

    Attributes:
        java: The Java that runs it.
        jar: ``spice-1.0.jar``.
        corenlp: The two jars of CoreNLP.
        cache: Folder in which it keeps parsed references; None for none.
        config: Memory, threads and patience.
    """

    java: Java
    jar: Path
    corenlp: tuple[Path, ...]
    cache: Path | None
    config: SpiceConfig

    def command(self) -> list[str]:
        """Return what is run in a folder with ``captions.json``; it leaves ``scores.json`` there."""
        # The jar's own list of jars is relative to it and names the smaller ones, beside it.
        path = os.pathsep.join(map(str, (self.jar, *self.corenlp)))
        opened = ["--add-opens", "java.base/java.lang=ALL-UNNAMED"] if self.java.version >= 16 else []
        machine = machine_options(self.config.memory)
        options = ["-cache", str(self.cache)] if self.cache is not None else []
        options += ["-threads", str(self.config.threads)] if self.config.threads else []
        arguments = ["captions.json", *options, "-out", "scores.json", "-subset", "-silent"]
        return [self.java.path, *machine, *opened, "-cp", path, MAIN, *arguments]


def find_spice(config: SpiceConfig) -> SpiceProgram:
    """Find Java and all jars, and check them, without running anything that takes long.

    Raises:
        MissingJava: Some are missing or broken; the message says of each where to get it and where to put it.
    """
    lacking: list[MissingJava] = []
    java = _found(lambda: find_java(WHO, config.java), lacking)
    jar = _found(lambda: _find_program(config), lacking)
    corenlp = _found(lambda: _find_corenlp(config, jar), lacking)
    if java is None or jar is None or corenlp is None:
        first, *others = lacking
        raise MissingJava(first.message, *first.hints, *(line for one in others for line in (one.message, *one.hints)))
    return SpiceProgram(java, jar, corenlp, _cache(config), config)


def _found(find: Callable[[], Found], lacking: list[MissingJava]) -> Found | None:
    """Return what is looked for, or note why it is not there: a user is told everything that is missing at once."""
    try:
        return find()
    except MissingJava as error:
        lacking.append(error)
        return None


def _find_program(config: SpiceConfig) -> Path:
    jar = find_jar(WHO, "spice-1.0.jar", "spice", config.jar)
    again = "get it again with: pip install --force-reinstall --no-deps pycocoevalcap"
    check_jar(WHO, jar, "edu/anu/spice/SpiceScorer.class", again)
    if not (jar.parent / "lib" / "SceneGraphParser-1.0.jar").is_file():
        raise MissingJava(f"{WHO} needs the folder {jar.parent / 'lib'} with the jars that come with SPICE", again)
    return jar


def _find_corenlp(config: SpiceConfig, jar: Path | None) -> tuple[Path, ...]:
    given = Path(config.jars).expanduser()
    beside = [jar.parent / "lib"] if jar is not None else []
    folders = [given] if config.jars else [*jar_folders("spice"), *jar_folders("spice/lib"), *beside]
    how = (
        f"unpack {' and '.join(CORENLP)} from {SOURCE} (384.5 MB, GPL) into a folder",
        f"and name the folder: {FOLDER_VARIABLE}=FOLDER, or option jars",
    )
    found = {name: first_file(name, folders) for name in CORENLP}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        looked = ", ".join(dict.fromkeys(map(str, folders)))
        tried = (f"looked in: {looked}",) if looked else ()
        raise MissingJava(f"{WHO} needs {' and '.join(missing)}, which pip cannot install", *how, *tried)
    paths = [path.resolve() for path in found.values() if path is not None]
    for path, member in zip(paths, CORENLP.values(), strict=True):
        check_jar(WHO, path, member, f"it is in {SOURCE} (384.5 MB, GPL)")
    return tuple(paths)


def _cache(config: SpiceConfig) -> Path | None:
    able = platform.machine().lower() in _CACHE_MACHINES
    if config.cache == "off" or (config.cache == "auto" and not able):
        return None
    return cache_folder() / "spice"


def run_spice(
    program: SpiceProgram, captions: Sequence[str], references: Sequence[Sequence[str]]
) -> list[dict[str, float]]:
    """Run the program once.

    Args:
        program: What to run.
        captions: n captions on one line each.
        references: For each one or more.

    Returns:
        For each caption the F-score by category: ``All``, ``Object``, ``Attribute``, ``Relation``, ``Color``, ``Size``
        and ``Cardinality``; NaN for a category of which neither caption nor references say anything.

    Raises:
        RunFailed: It failed, was too slow, or left answers that are not those to the captions.
    """
    if program.cache is not None:
        program.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="regionkit-spice-") as folder:
        pairs = zip(captions, references, strict=True)
        items = [{"image_id": n, "test": text, "refs": list(texts)} for n, (text, texts) in enumerate(pairs)]
        (Path(folder) / "captions.json").write_text(json.dumps(items), encoding="ascii")
        said = _run(program, folder)
        answer = Path(folder) / "scores.json"
        if not answer.is_file():
            raise RunFailed("SPICE ended without an answer", *last_words(said))
        try:
            return read_scores(json.loads(answer.read_text(encoding="utf-8")), len(items))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = f"SPICE's answer cannot be read: {type(error).__name__}: {error}"
            raise RunFailed(reason, *last_words(said)) from None


def _run(program: SpiceProgram, folder: str) -> str:
    """Run the program in a folder and return what it wrote to its standard error."""
    # Into a file: a pipe that nobody reads fills up, and the program waits for ever.
    with open(Path(folder) / "stderr.txt", "w+b") as errors:
        try:
            status = subprocess.run(
                program.command(),
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                timeout=program.config.timeout,
            ).returncode
        except OSError as error:
            raise RunFailed(f"SPICE could not be started: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            errors.seek(0)
            told = last_words(errors.read().decode(errors="replace"))
            raise RunFailed(
                f"SPICE was stopped after {program.config.timeout:g} s", "option timeout gives it longer", *told
            ) from None
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    if status:
        raise RunFailed(f"SPICE ended with status {status}", *last_words(said), *_advice(said))
    return said


def _advice(said: str) -> tuple[str, ...]:
    if "lmdb" in said.lower():
        return ("its cache does not work on this machine: set cache=off",)
    return ()


def read_scores(answers: Any, number: int) -> list[dict[str, float]]:
    """Return the F-scores by category of n captions, in the order of their ids, whatever order the answers have.

    Raises:
        ValueError: An answer is missing, double, or out of range.
    """
    found: dict[int, dict[str, float]] = {}
    for answer in answers:
        position = answer["image_id"]
        if not isinstance(position, int) or not 0 <= position < number or position in found:
            raise ValueError(f"it answers about caption {position!r}, of {number}")
        found[position] = {category: _f(values) for category, values in answer["scores"].items()}
        if "All" not in found[position]:
            raise ValueError(f"it gives no score over all categories for caption {position}")
    missing = sorted(set(range(number)) - set(found))
    if missing:
        raise ValueError(f"it has no answer about {len(missing)} captions, the first is caption {missing[0]}")
    return [found[position] for position in range(number)]


def _f(values: Mapping[str, Any]) -> float:
    score = values["f"]
    number = math.nan if score is None else float(score)
    if not (math.isnan(number) or 0 <= number <= 1):
        raise ValueError(f"{number} is no F-score")
    return number
