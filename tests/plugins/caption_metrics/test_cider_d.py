from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_cider import plain_cider_d

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError
from regionkit.core.regions import WholeImage
from regionkit.core.testing import check_metric
from regionkit.plugins.caption_metrics.overlap.cider import CiderD, cider_d
from regionkit.plugins.caption_metrics.overlap.configs import CiderDConfig

ROOT = Path(__file__).parents[3]
OWN = ROOT / "tests" / "golden" / "caption_metrics" / "cider_d.json"
OFFICIAL = ROOT.parent / "shared" / "golden" / "metrics"


def sample(index: int, *references: str) -> Sample:
    return Sample(str(index), str(index), WholeImage(), references)


@pytest.mark.parametrize("name", [pytest.param("coco_cap0", id="coco"), pytest.param("flickr_cap0", id="flickr")])
def test_scores_equal_the_official_ones(name):
    if not OFFICIAL.is_dir():
        pytest.skip(f"the official scores are not here ({OFFICIAL}); their captions may not be distributed")
    tokens = json.loads(gzip.decompress((OFFICIAL / f"tok_{name}.json.gz").read_bytes()))
    official = np.load(OFFICIAL / f"gold_{name}.npz")["cider"]
    metric = CiderD(CiderDConfig(tokeniser="tokens"))
    metric.update([sample(i, *texts) for i, texts in enumerate(tokens["refs"])], tokens["cands"])
    score = metric.compute()
    assert np.abs(np.array(score.per_sample) - official).max() < 1e-9
    assert score.value == pytest.approx(official.mean(), abs=1e-12)


def test_scores_equal_the_recorded_ones():
    cases = json.loads(OWN.read_text())["cases"]
    scores = cider_d([case["caption"].split() for case in cases], [[t.split() for t in c["references"]] for c in cases])
    assert scores.tolist() == pytest.approx([case["score"] for case in cases], abs=1e-12)
    assert min(scores) == 0 < max(scores)


WORDS = st.lists(st.sampled_from(["a", "cat", "dog", "on", "the", "mat", "red"]), max_size=9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=3)), min_size=1, max_size=5))
def test_scores_equal_the_plain_ones(cases):
    captions, references = [case[0] for case in cases], [case[1] for case in cases]
    assert cider_d(captions, references).tolist() == pytest.approx(plain_cider_d(captions, references), abs=1e-9)


@pytest.mark.parametrize(
    ("caption", "score"),
    [
        pytest.param("umbrella", 2.5, id="one-word"),
        pytest.param("green umbrella", 5.0, id="two-words"),
        pytest.param("green umbrella here", 7.5, id="three-words"),
        pytest.param("one green umbrella here", 10.0, id="four-words"),
    ],
)
def test_a_perfect_caption_scores_by_its_length(caption, score):
    pair = [caption.split(), ["something", "else", "altogether"]]
    assert cider_d(pair, [[text] for text in pair])[0] == pytest.approx(score)


def test_a_single_sample_scores_nothing():
    assert cider_d([["a", "cat"]], [[["a", "cat"]]]).tolist() == [0.0]
    assert CiderD(CiderDConfig()).compute().value == 0.0


def test_repeating_a_word_of_the_reference_gains_nothing():
    once, often = (
        cider_d([["cat"] * count + ["x", "y"], ["z"]], [[["cat", "u", "v"]], [["z"]]])[0] for count in (1, 3)
    )
    assert often < once


def test_the_signature_says_what_the_value_depends_on():
    metric = CiderD(CiderDConfig())
    metric.update([sample(0, "a cat"), sample(1, "a dog")], ["a cat", "a dog"])
    assert metric.compute().signature == (
        "cider-d|release|n=1-4|sigma=6|scale=10|tokeniser=words|idf=references of this run (2 samples)"
    )


def test_punctuation_and_case_do_not_count_as_words():
    samples = [sample(0, "a red car , parked on gravel"), sample(1, "two dogs")]
    plain, loud = CiderD(CiderDConfig()), CiderD(CiderDConfig())
    plain.update(samples, ["a red car parked on gravel", "two dogs"])
    loud.update(samples, ["A red car, parked on gravel.", "Two dogs!"])
    assert plain.compute() == loud.compute()
    assert plain.compute().value == pytest.approx((10 + 5) / 2)


def test_a_sample_without_reference_is_named():
    with pytest.raises(DataError, match="cider-d: sample '7' has no reference caption"):
        CiderD(CiderDConfig()).update([sample(7)], ["a cat"])


def test_conforms():
    check_metric(lambda: CiderD(CiderDConfig()))
