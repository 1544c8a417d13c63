from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from overlap_cases import CASES, SETS, joined, judge, official, recorded
from plain_bleu import plain_bleu, plain_corpus, plain_statistics

from regionkit.core.errors import DataError
from regionkit.core.testing import check_metric
from regionkit.plugins.caption_metrics.overlap.configs import BleuConfig
from regionkit.plugins.caption_metrics.overlap.metrics import Bleu

param = pytest.param
TOKENS = BleuConfig(tokeniser="tokens")


@pytest.mark.parametrize(("name", "tokeniser"), SETS)
def test_scores_equal_the_official_ones(name, tokeniser):
    captions, references, images, corpus = official(name, tokeniser)
    score = judge(Bleu(BleuConfig(tokeniser)), captions, references)
    for part, one in score.parts.items():
        assert np.abs(np.array(one.per_sample) - images[f"bleu{part}"]).max() < 1e-9
        assert one.value == pytest.approx(corpus[f"bleu{part}"], abs=1e-9)


def test_scores_equal_the_recorded_ones():
    captions, references, record = recorded("bleu")
    score = judge(Bleu(TOKENS), captions, references)
    found = list(zip(*(part.per_sample for part in score.parts.values()), strict=True))
    for row, case in zip(found, record["cases"], strict=True):
        assert row == pytest.approx(case["score"], abs=1e-12)
    assert [part.value for part in score.parts.values()] == pytest.approx(record["corpus"], abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_scores_equal_the_plain_ones(cases):
    score = judge(Bleu(TOKENS), *joined(cases))
    rows = [plain_statistics(*case) for case in cases]
    for at, row in enumerate(rows):
        assert [part.per_sample[at] for part in score.parts.values()] == pytest.approx(plain_bleu(*row), abs=1e-12)
        assert score.statistics[at].tolist() == [*row[0], *row[1], row[2], row[3]]
    assert [part.value for part in score.parts.values()] == pytest.approx(plain_corpus(rows), abs=1e-12)


def test_corpus_values_equal_those_of_sacrebleu():
    sacrebleu = pytest.importorskip("sacrebleu", reason="sacrebleu, the independent oracle, is not installed")
    draw = np.random.default_rng(0)
    words = [
        [" ".join(f"w{w}" for w in draw.integers(0, 6, draw.integers(5, 14))) for _ in range(4)] for _ in range(60)
    ]
    captions, references = [row[0] for row in words], [row[1:] for row in words]
    streams = [list(stream) for stream in zip(*references, strict=True)]
    score = judge(Bleu(TOKENS), captions, references)
    for part, one in score.parts.items():
        judged = sacrebleu.metrics.BLEU(tokenize="none", smooth_method="none", force=True, max_ngram_order=int(part))
        assert 100 * one.value == pytest.approx(judged.corpus_score(captions, streams).score, abs=1e-5)
        assert one.value > 0.01


@pytest.mark.parametrize(
    ("lengths", "closest"),
    [
        param([4, 6], 4, id="of-two-equally-close-the-shorter"),
        param([6, 4], 4, id="in-whatever-order"),
        param([2, 6, 9], 6, id="closer-and-longer"),
        param([0], 0, id="an-empty-reference"),
        param([5, 5], 5, id="equal"),
    ],
)
def test_the_closest_reference(lengths, closest):
    score = judge(Bleu(TOKENS), ["a b c d e"], [[" ".join("x" * length) for length in lengths]])
    assert score.statistics[0, -1] == closest


def test_bleu_4_stands_for_the_metric():
    score = judge(Bleu(TOKENS), ["a b c d"], [["a b c d"]])
    assert tuple(score.parts) == Bleu.parts == ("1", "2", "3", "4")
    assert (score.value, score.per_sample) == (score.parts["4"].value, score.parts["4"].per_sample)
    assert score.value == pytest.approx(1, abs=1e-8)


def test_the_corpus_value_is_no_mean():
    captions, references, _ = recorded("bleu")
    score = judge(Bleu(TOKENS), captions, references)
    assert abs(score.value - np.mean(score.per_sample)) > 0.01


def test_sums_of_statistics_give_the_value_of_a_draw():
    captions, references, _ = recorded("bleu")
    score = judge(Bleu(TOKENS), captions, references)
    chosen = [0, 2, 2, 5]
    again = judge(Bleu(TOKENS), [captions[at] for at in chosen], [references[at] for at in chosen])
    for part in Bleu.parts:
        pooled = Bleu.pool(part, np.stack([score.statistics[chosen].sum(0), score.statistics.sum(0)]))
        assert pooled.tolist() == [again.parts[part].value, score.parts[part].value]


@settings(max_examples=20, deadline=None)
@given(CASES, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(cases, random):
    score = judge(Bleu(TOKENS), *joined(cases))
    twice = judge(Bleu(TOKENS), *joined(cases * 2))
    turned = list(range(len(cases)))
    random.shuffle(turned)
    shuffled = judge(Bleu(TOKENS), *joined([(cases[at][0], cases[at][1][::-1]) for at in turned]))
    for part, one in score.parts.items():
        assert shuffled.parts[part].value == one.value
        assert shuffled.parts[part].per_sample == tuple(one.per_sample[at] for at in turned)
        assert twice.parts[part].per_sample == one.per_sample * 2
        assert twice.parts[part].value == pytest.approx(one.value, abs=1e-3)  # the release's constants stay as they are


def test_the_signature_says_what_the_value_depends_on():
    score = judge(Bleu(BleuConfig("words")), ["a cat", "a dog"], [["a cat"], ["a dog"]])
    assert score.signature == "bleu-4|variant=release|tokeniser=words|reference-length=closest|n=2"
    assert score.parts["1"].signature == "bleu-1|variant=release|tokeniser=words|reference-length=closest|n=2"


def test_a_sample_without_reference_is_named():
    with pytest.raises(DataError, match="bleu: sample '0' has no reference caption"):
        judge(Bleu(TOKENS), ["a cat"], [[]])


@pytest.mark.parametrize("tokeniser", ["ptb", "words", "tokens"])
def test_conforms(tokeniser):
    check_metric(lambda: Bleu(BleuConfig(tokeniser)))
