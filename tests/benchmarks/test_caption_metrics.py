"""Tokens, BLEU, ROUGE-L and CIDEr-D: ours beside pycocoevalcap; a process each.

pycocoevalcap is an optional package with old requirements. Where it lives in an environment of its own, name that
environment's Python in ``REGIONKIT_COCO_PYTHON``.

Each side runs in a process of its own, and is timed without its imports. Peak memory is that of the process and of the
Java that it starts. Ours is what the metrics compute, without torch, which whoever makes captions has loaded anyway.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from side_by_side import Goal, Table, Timings, counted

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

PYTHON = os.environ.get("REGIONKIT_COCO_PYTHON", sys.executable)
OFFICIAL = Path(__file__).parents[3] / "shared" / "golden" / "metrics" / "coco_cap0.json.gz"
#: Each side's work is done so many times.
_ROUNDS = 3
PLACE = 7
FIGURE = "tokens, BLEU, ROUGE-L and CIDEr-D"
GOAL = Goal(10)

_COMMON = """
import json, resource, sys, time
captions, references = json.load(open(sys.argv[1]))

def measure(work):
    start = time.perf_counter()
    scores = work()
    seconds = time.perf_counter() - start
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    json.dump(dict(seconds=seconds, kilobytes=peak, scores=scores), open(sys.argv[2], "w"))
"""

_THEIRS = """
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

def work():
    tokenizer = PTBTokenizer()
    res = tokenizer.tokenize({at: [{"caption": text}] for at, text in enumerate(captions)})
    gts = tokenizer.tokenize({at: [{"caption": text} for text in texts] for at, texts in enumerate(references)})
    bleu = Bleu(4).compute_score(gts, res, verbose=0)[0]
    return [*bleu, float(Rouge().compute_score(gts, res)[0]), float(Cider().compute_score(gts, res)[0])]

measure(work)
"""

_OURS = """
from regionkit.plugins.caption_metrics.overlap.bleu import bleu, statistics
from regionkit.plugins.caption_metrics.overlap.cider import cider_d
from regionkit.plugins.caption_metrics.overlap.documents import of_references
from regionkit.plugins.caption_metrics.overlap.rouge import rouge_l
from regionkit.plugins.caption_metrics.overlap.texts import index_texts

def work():
    index_texts.cache_clear()
    index = index_texts(tuple(captions), tuple(map(tuple, references)), "ptb")
    split = index.at_any_space
    corpus = bleu(statistics(split).sum(axis=0, keepdims=True))[0].tolist()
    return [*corpus, float(rouge_l(index).mean()), float(cider_d(split, of_references(split)).mean())]

measure(work)
"""


def test_tokens_and_three_metrics_beside_pycocoevalcap(table: Table, tmp_path: Path) -> None:
    reason = _missing()
    if reason:
        table.not_measured(PLACE, FIGURE, reason, GOAL)
    name, captions, references = _captions()
    (tmp_path / "captions.json").write_text(json.dumps([captions, references]))
    # In turn, and a process each time: what slows the machine down for a while slows both sides down.
    pairs = [(_run(PYTHON, _THEIRS, tmp_path), _run(sys.executable, _OURS, tmp_path)) for _ in range(_ROUNDS)]
    theirs, ours = zip(*pairs, strict=True)
    for their, our in pairs:
        assert our["scores"] == pytest.approx(their["scores"], abs=1e-9)
    sizes = f"{len(captions)} captions with {sum(map(len, references))} references ({name})"
    table.add(
        PLACE,
        f"{FIGURE}, {sizes}, equal to 1e-9, wall time",
        f"pycocoevalcap: {_said(theirs)}",
        _said(ours),
        Timings({"theirs": _column(theirs), "ours": _column(ours)}, {}).ratio("theirs", "ours"),
        GOAL,
    )


def _column(rounds: Sequence[dict[str, Any]], name: str = "seconds") -> list[float]:
    return [one[name] for one in rounds]


def _said(rounds: Sequence[dict[str, Any]]) -> str:
    kilobytes = max(_column(rounds, "kilobytes"))
    return f"{median(_column(rounds)):.2f} s ({counted(len(rounds), 'round')}), {kilobytes / 1024:.0f} MB"


def _missing() -> str:
    """Say why pycocoevalcap cannot run here."""
    if shutil.which("java") is None:
        return "pycocoevalcap tokenises with Java, and there is no `java` here"
    probe = subprocess.run([PYTHON, "-c", "import pycocoevalcap"], capture_output=True, check=False)
    if probe.returncode:
        return "this Python has no pycocoevalcap; name one that has it in REGIONKIT_COCO_PYTHON"
    return ""


def _captions() -> tuple[str, list[str], list[list[str]]]:
    """Return COCO's captions where they are, otherwise generated ones."""
    if OFFICIAL.is_file():
        texts = json.loads(gzip.decompress(OFFICIAL.read_bytes()))
        return "COCO", texts["cands"], texts["refs"]
    draw = random.Random(0)
    articles, sizes = ("A", "The", "One", "Some"), ("small", "big", "old", "striped", "half-open", "two-story")
    things = ("dog", "clock", "boat", "window", "child's bike", "tram", "kettle", "ladder", "bridge", "lamp")
    places = ("on the grass", "near a river", "in the rain", "under a tree", "behind the shop", "at dusk")

    def sentence() -> str:
        one, other = draw.sample(things, 2)
        ending = draw.choice((".", ".", "", "!") * 8 + (" .", " at 7:30 p.m."))  # oddities are as rare as in COCO
        return (
            f"{draw.choice(articles)} {draw.choice(sizes)} {one} and a {draw.choice(sizes)} {other} "
            f"{draw.choice(places)}, seen {draw.choice(places)}{ending}"
        )

    return "generated", [sentence() for _ in range(5000)], [[sentence() for _ in range(4)] for _ in range(5000)]


def _run(python: str, script: str, folder: Path) -> dict[str, Any]:
    """Run one side; return its seconds, kilobytes and corpus scores."""
    paths = [str(folder / "captions.json"), str(folder / "result.json")]
    # By way of a shell, which is small: see above for what a process inherits.
    command = ["sh", "-c", '"$@"; exit $?', "sh", python, "-c", _COMMON + script, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(Path(paths[1]).read_text())
    return result
