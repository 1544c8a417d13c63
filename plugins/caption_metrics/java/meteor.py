"""METEOR 1.5 by its official program, kept warm; what may break its protocol never reaches it.

Denkowski and Lavie, Meteor Universal, WMT 2014. The program is asked for the statistics of alignments, the scores are
computed from them (``meteor_formula``), in sums as it does itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from regionkit.core.contracts import Metric, Sample, Score
from regionkit.core.errors import DataError, RunFailed
from regionkit.core.signatures import signature
from regionkit.plugins.caption_metrics.averages import mean_of
from regionkit.plugins.caption_metrics.java.configs import MeteorConfig
from regionkit.plugins.caption_metrics.java.jars import check_jar, find_jar, sha256
from regionkit.plugins.caption_metrics.java.lines import checked, plain_line, prepared
from regionkit.plugins.caption_metrics.java.meteor_formula import STATISTICS, Floats, meteor_of, summable
from regionkit.plugins.caption_metrics.java.runtime import MissingJava, find_java, last_words, machine_options
from regionkit.plugins.caption_metrics.java.server import LineServer, ServerDied, shared_server

#: The jar of METEOR 1.5 and its English paraphrases as pycocoevalcap 1.2 carries them, which published numbers rest on.
OFFICIAL_JAR = "1e57b4c72c0830ebe68558f1c799a624e96cbc1b6045c9f6330e26dcff6eafc2"
OFFICIAL_PARAPHRASES = "c147ac7d2c91f2fbb3ad31e4b352235061eb83145e0434daf217ee9ca5975f48"
#: Bytes below which the paraphrases, 61.8 MB, were certainly cut short.
_PARAPHRASES_AT_LEAST = 60_000_000

_WHO = "metric 'meteor'"
_AGAIN = "get it again with: pip install --force-reinstall --no-deps pycocoevalcap"


@dataclass(frozen=True, slots=True)
class MeteorProgram:
    """Where METEOR is and how it is run.

    Attributes:
        command: Executable and arguments.
        jar: The jar.
        timeout: Seconds without an answer after which it is taken to hang.
    """

    command: tuple[str, ...]
    jar: Path
    timeout: float

    @property
    def server(self) -> LineServer:
        """The one process that all who use this program share."""
        return shared_server(self.command)

    @property
    def paraphrases(self) -> Path:
        """The table of paraphrases that the jar reads."""
        return self.jar.parent / "data" / "paraphrase-en.gz"

    def start(self) -> None:
        """Start it without waiting; it reads its tables for several seconds."""
        try:
            self.server.start()
        except ServerDied as error:
            raise RunFailed(f"METEOR {error.reason}", *last_words(error.said)) from None


def find_meteor(config: MeteorConfig | None = None, who: str = _WHO) -> MeteorProgram:
    """Find Java and the jar, and check them, without starting anything that takes long.

    Args:
        config: Options; the defaults where None. The tokeniser has no say here.
        who: Who needs it, for messages.

    Raises:
        MissingJava: One is missing or broken; the message says what to install.
    """
    config = config or MeteorConfig()
    java = find_java(who, config.java)
    jar = find_jar(who, "meteor-1.5.jar", "meteor", config.jar)
    check_jar(who, jar, "edu/cmu/meteor/scorer/MeteorScorer.class", _AGAIN)
    machine = machine_options(config.memory, lean=True)
    command = (java.path, *machine, "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm")
    program = MeteorProgram(command, jar, config.timeout)
    table = program.paraphrases
    size = table.stat().st_size if table.is_file() else 0
    if size < _PARAPHRASES_AT_LEAST:
        state = f"which is cut short ({size} bytes)" if size else "which is not there"
        raise MissingJava(f"{who} needs the table of paraphrases {table}, {state}", _AGAIN)
    return program


def segment_scores(
    candidates: Sequence[str], references: Sequence[Sequence[str]], program: MeteorProgram | None = None
) -> Floats:
    """Return METEOR (n,) of n captions as they are, each against its own references, for metrics that need it inside.

    Args:
        candidates: n captions, not tokenised.
        references: For each any number; a caption without a reference scores 0, as in dense captioning.
        program: As :func:`find_meteor` returns it; found anew where None.

    Raises:
        DataError: A caption or reference is no text; it is named by its position.
        MissingJava: Java or the jar is missing.
        RunFailed: The program failed.
    """
    program = program or find_meteor(who="METEOR")
    scores, judged = np.zeros(len(candidates)), []
    for position, (candidate, texts) in enumerate(zip(candidates, references, strict=True)):
        if len(texts):
            checked("METEOR", f"pair {position}", candidate, texts)
            judged.append(position)
    chosen = [candidates[position] for position in judged], [references[position] for position in judged]
    names = [f"pair {position}" for position in judged]
    scores[judged] = meteor_of(alignment_statistics(*chosen, program, names))
    return scores


def alignment_statistics(
    candidates: Sequence[str], references: Sequence[Sequence[str]], program: MeteorProgram, names: Sequence[str]
) -> Floats:
    """Return the :func:`summable` statistics (n, 23) of the best alignment of each caption with a reference of its own.

    Args:
        candidates: n captions.
        references: For each one or more.
        program: What to ask.
        names: What to call each caption in messages, such as ``sample '17'``.
    """
    pairs = zip(candidates, references, strict=True)
    lines = [" ||| ".join(["SCORE", *map(plain_text, texts), plain_text(caption)]) for caption, texts in pairs]
    if not lines:
        return np.zeros((0, STATISTICS))
    try:
        answers = program.server.ask(lines, program.timeout)
    except ServerDied as error:
        raise RunFailed(
            f"METEOR {error.reason} while it scored {names[error.position]}", *last_words(error.said)
        ) from None
    rows = [_numbers(answer) for answer in answers]
    wrong = next((position for position, row in enumerate(rows) if row is None), None)
    if wrong is not None:
        program.server.stop()  # whatever else it may still say is no answer to the next question
        raise RunFailed(
            f"METEOR answered to {names[wrong]} with '{answers[wrong][:80]}', not with {STATISTICS} numbers",
            f"is {program.jar} METEOR 1.5?",
        )
    return summable(np.array(rows))


def plain_text(text: str) -> str:
    """Return a caption on one line and without the separator of the protocol, as the official evaluation removes it.

    That removes it from captions alone: in a reference it starts another reference there.
    """
    return re.sub(" +", " ", plain_line(text).replace("|||", "")).strip(" ")


def _numbers(answer: str) -> list[float] | None:
    """Read an answer; None for anything but finite numbers."""
    words = answer.split()
    if len(words) != STATISTICS or not all(re.fullmatch(r"\d+(\.\d+)?(E\d+)?", word) for word in words):
        return None
    return [float(word) for word in words]


class Meteor(Metric):
    """METEOR 1.5 for English, from 0 to 1, as the official caption evaluation computes it.

    The value is that of the sums of all alignments, which the official tools print and papers report. It is not the
    mean over samples, which is the part ``mean``: on COCO the two are half a point of a hundred apart, either way.
    """

    parts = ("", "mean")

    def __init__(self, config: MeteorConfig) -> None:
        self.config = config
        self.program = find_meteor(config)
        self._samples: list[str] = []
        self._waiting: list[tuple[str, tuple[str, ...]]] = []
        self._statistics = np.zeros((0, STATISTICS))

    def prepare(self) -> None:
        """Start the program, which takes about ten seconds until it answers, without waiting for it."""
        self.program.start()

    def update(self, samples: Sequence[Sample], captions: Sequence[str]) -> None:
        """Take in captions of samples, in order.

        Raises:
            DataError: A sample has no reference, or a caption is no text.
        """
        for sample, caption in zip(samples, captions, strict=True):
            checked("meteor", f"sample '{sample.id}'", caption, sample.references)
            self._samples.append(sample.id)
            self._waiting.append((caption, sample.references))

    def compute(self) -> Score:
        """Judge everything taken in so far; what was judged before is not sent again.

        Raises:
            RunFailed: The program failed; the message shows what it said.
        """
        self._judge()
        rows = self._statistics
        value = float(meteor_of(rows.sum(axis=0)[None])[0])
        per_sample = tuple(meteor_of(rows).tolist())
        pooled = Score(value, per_sample, self._signature("meteor"), statistics=rows)
        mean = Score(mean_of(per_sample), per_sample, self._signature("meteor-mean"))
        return replace(pooled, parts={"": pooled, "mean": mean})

    def _judge(self) -> None:
        done = len(self._statistics)
        split = prepared(self.config.tokeniser)
        captions = [split(caption) for caption, _ in self._waiting]
        references = [[split(text) for text in texts] for _, texts in self._waiting]
        names = [f"sample '{name}'" for name in self._samples[done:]]
        rows = alignment_statistics(captions, references, self.program, names)
        self._statistics, self._waiting = np.concatenate([self._statistics, rows]), []

    def _signature(self, name: str) -> str:
        jar, table = sha256(self.program.jar), sha256(self.program.paraphrases)
        return signature(
            name,
            variant="1.5" if jar == OFFICIAL_JAR else "other",
            language="en",
            tokeniser=self.config.tokeniser,
            jar=jar[:12],
            paraphrases="official" if table == OFFICIAL_PARAPHRASES else table[:12],
            n=len(self._samples),
        )

    @classmethod
    def pool(cls, part: str, sums: Floats) -> Floats:
        """Return METEOR (d,) of sums (d, 23) of statistics; the part ``mean`` has none."""
        if part:
            raise DataError(f"meteor-{part} is a mean over samples: nothing follows from sums of statistics")
        return meteor_of(sums)
