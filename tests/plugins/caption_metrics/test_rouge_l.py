from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from overlap_cases import CASES, SETS, joined, judge, official, recorded
from plain_rouge import plain_rouge_l

from regionkit.core.errors import DataError
from regionkit.core.testing import check_metric
from regionkit.plugins.caption_metrics.overlap.configs import RougeLConfig
from regionkit.plugins.caption_metrics.overlap.metrics import RougeL

param = pytest.param
TOKENS = RougeLConfig(tokeniser="tokens")


def rouge(caption: str, *references: str) -> float:
    return judge(RougeL(TOKENS), [caption], [list(references)]).value


@pytest.mark.parametrize(("name", "tokeniser"), SETS)
def test_scores_equal_the_official_ones(name, tokeniser):
    captions, references, images, corpus = official(name, tokeniser)
    score = judge(RougeL(RougeLConfig(tokeniser)), captions, references)
    assert np.abs(np.array(score.per_sample) - images["rouge"]).max() < 1e-9
    assert score.value == pytest.approx(corpus["rouge"], abs=1e-9)


def test_scores_equal_the_recorded_ones():
    captions, references, record = recorded("rouge_l")
    score = judge(RougeL(TOKENS), captions, references)
    assert score.per_sample == pytest.approx([case["score"] for case in record["cases"]], abs=1e-12)
    assert score.value == pytest.approx(record["corpus"], abs=1e-12)
    assert any(len(caption.split()) > 64 for caption in captions)


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_scores_equal_the_plain_ones(cases):
    score = judge(RougeL(TOKENS), *joined(cases))
    assert score.per_sample == pytest.approx([plain_rouge_l(*case) for case in cases], abs=1e-12)


@pytest.mark.parametrize("length", [param(n, id=str(n)) for n in (1, 63, 64, 65, 128, 129, 200)])
def test_captions_longer_than_a_machine_word_are_compared_in_full(length):
    draw = np.random.default_rng(length)
    texts = [[f"w{word}" for word in draw.integers(0, 9, size)] for size in (length, 80, 7, length)]
    score = rouge(*(" ".join(text) for text in texts))
    assert score == pytest.approx(plain_rouge_l(texts[0], texts[1:]), abs=1e-12)
    assert rouge(" ".join(texts[0]), " ".join(texts[0])) == pytest.approx(1)


@pytest.mark.parametrize(
    ("caption", "references", "score"),
    [
        param("", ["", "a lamp"], 1.0, id="both-empty"),
        param("", ["a lamp"], 0.0, id="empty-caption"),
        param("a lamp", [""], 0.0, id="empty-reference"),
        param("a b c d", ["a b", "a x y z c d b b"], None, id="precision-and-recall-of-two-references"),
        param("b a", ["a b"], 0.5, id="order-counts"),
    ],
)
def test_edges_are_those_of_the_release(caption, references, score):
    expected = plain_rouge_l(caption.split(), [text.split() for text in references]) if score is None else score
    assert rouge(caption, *references) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(CASES, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(cases, random):
    score = judge(RougeL(TOKENS), *joined(cases))
    turned = list(range(len(cases)))
    random.shuffle(turned)
    shuffled = judge(RougeL(TOKENS), *joined([(cases[at][0], cases[at][1][::-1]) for at in turned]))
    assert shuffled.value == score.value
    assert shuffled.per_sample == tuple(score.per_sample[at] for at in turned)
    assert judge(RougeL(TOKENS), *joined(cases * 2)).per_sample == score.per_sample * 2


def test_the_signature_says_what_the_value_depends_on():
    score = judge(RougeL(RougeLConfig("words")), ["a cat"], [["a cat"]])
    assert score.signature == "rouge-l|variant=release|beta=1.2|tokeniser=words|n=1"


def test_a_sample_without_reference_is_named():
    with pytest.raises(DataError, match="rouge-l: sample '0' has no reference caption"):
        judge(RougeL(TOKENS), ["a cat"], [[]])


@pytest.mark.parametrize("tokeniser", ["ptb", "words", "tokens"])
def test_conforms(tokeniser):
    check_metric(lambda: RougeL(RougeLConfig(tokeniser)))
