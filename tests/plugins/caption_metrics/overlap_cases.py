"""What the tests of bleu, rouge-l and cider-d share: samples, drawn captions, and where recorded scores are."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from regionkit.core.contracts import Metric, Sample, Score
from regionkit.core.regions import WholeImage

ROOT = Path(__file__).parents[3]
#: Our own sentences with the scores that pycocoevalcap 1.2 gives them.
OWN = ROOT / "tests" / "golden" / "caption_metrics"
#: Captions that may not be distributed.
OFFICIAL = ROOT.parent / "shared" / "golden" / "metrics"

param = pytest.param
#: Sets of official scores, and whether their texts are read as they were written or as the official tokens.
SETS = [
    param("coco_cap0", "tokens", id="coco-tokens"),
    param("flickr_cap0", "tokens", id="flickr-tokens"),
    param("coco_cap0", "ptb", id="coco"),
    param("coco_degraded", "ptb", id="degraded"),
    param("flickr_cap0", "ptb", id="flickr"),
]

WORDS = st.lists(st.sampled_from(["a", "cat", "dog", "on", "the", "mat", "red"]), max_size=9)
CASES = st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=3)), min_size=1, max_size=5)


def sample(index: int, *references: str) -> Sample:
    return Sample(str(index), str(index), WholeImage(), references)


def judge(metric: Metric, captions: list[str], references: list[list[str]]) -> Score:
    metric.update([sample(at, *texts) for at, texts in enumerate(references)], captions)
    return metric.compute()


def joined(cases: list[tuple[list[str], list[list[str]]]]) -> tuple[list[str], list[list[str]]]:
    return [" ".join(case[0]) for case in cases], [[" ".join(text) for text in case[1]] for case in cases]


def recorded(metric: str) -> tuple[list[str], list[list[str]], dict[str, Any]]:
    """Return captions, references and official scores of our own sentences."""
    record = json.loads((OWN / f"{metric}.json").read_text(encoding="utf-8"))
    cases = record["cases"]
    return [case["caption"] for case in cases], [case["references"] for case in cases], record


def official(name: str, tokeniser: str) -> tuple[list[str], list[list[str]], Any, dict[str, float]]:
    """Return captions, references, scores of images and corpus scores of a set; skips where it is not here."""
    if not OFFICIAL.is_dir():
        pytest.skip(f"the official scores are not here ({OFFICIAL}); their captions may not be distributed")
    file = OFFICIAL / (f"tok_{name}.json.gz" if tokeniser == "tokens" else f"{name}.json.gz")
    texts = json.loads(gzip.decompress(file.read_bytes()))
    corpus = json.loads((OFFICIAL / f"gold_{name}.json").read_text())
    return texts["cands"], texts["refs"], np.load(OFFICIAL / f"gold_{name}.npz"), corpus
