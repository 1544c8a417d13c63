from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from overlap_cases import CASES, joined, judge

from regionkit.core.contracts import Metric
from regionkit.plugins.caption_metrics.overlap import texts
from regionkit.plugins.caption_metrics.overlap.configs import BleuConfig, CiderDConfig, RougeLConfig
from regionkit.plugins.caption_metrics.overlap.metrics import Bleu, CiderD, RougeL
from regionkit.plugins.caption_metrics.overlap.ngrams import sorted_places
from regionkit.plugins.caption_metrics.overlap.texts import index_texts, number_words

param = pytest.param


def metrics(tokeniser: str) -> list[Metric]:
    return [Bleu(BleuConfig(tokeniser)), RougeL(RougeLConfig(tokeniser)), CiderD(CiderDConfig(tokeniser))]


@pytest.fixture(autouse=True)
def forgetful():
    index_texts.cache_clear()
    yield
    index_texts.cache_clear()


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_numbers_of_words_and_n_grams_are_alphabetical_and_name_what_is_there(cases):
    captions, references = joined(cases)
    index = index_texts(tuple(captions), tuple(map(tuple, references)), "tokens")
    flat = [text.split() for case in zip(captions, references, strict=True) for text in (case[0], *case[1])]
    assert [index.vocabulary[number] for number in index.words] == [word for text in flat for word in text]
    assert index.vocabulary == sorted(set(index.vocabulary))
    for order in range(1, 5):
        numbers, size = index.ngrams(order)
        found = [tuple(text[at : at + order]) for text in flat for at in range(len(text))]
        kept = [gram if len(gram) == order else None for gram in found]
        ranks = {gram: rank for rank, gram in enumerate(sorted({gram for gram in kept if gram}))}
        assert numbers.tolist() == [-1 if gram is None else ranks[gram] for gram in kept]
        assert size == len(ranks)


@settings(max_examples=60, deadline=None)
@given(CASES, st.integers(1, 30))
def test_tables_count_what_is_there_wherever_samples_are_cut(cases, words):
    captions, references = joined(cases)
    index_texts.cache_clear()
    index = index_texts(tuple(captions), tuple(map(tuple, references)), "tokens")
    flat = [text.split() for case in zip(captions, references, strict=True) for text in (case[0], *case[1])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "CHUNK_WORDS", words)
        chunks = list(index.chunks())
    assert [chunk.first for chunk in chunks] == [0, *(chunk.last for chunk in chunks)][:-1]
    assert chunks[-1].last == len(cases)
    for order in range(1, 5):
        numbers, found, at = index.ngrams(order)[0], Counter(), 0
        for number, text in enumerate(flat):
            found.update((number, gram) for gram in numbers[at : at + len(text)].tolist() if gram >= 0)
            at += len(text)
        counted = {}
        for chunk in chunks:
            table = chunk.table(order)
            first = chunk.texts.start
            for text, group, count in zip(table.text, table.group, table.count, strict=True):
                counted[int(text) + first, int(table.ngram[group])] = int(count)
                assert chunk.sample[text] == table.sample[group]
        assert counted == found


@pytest.mark.parametrize("kept", [param(0, id="tables-made-anew"), param(10**6, id="tables-kept")])
def test_scores_do_not_depend_on_where_samples_are_cut(kept, monkeypatch):
    draw = np.random.default_rng(0)
    sentences = [" ".join(f"w{word}" for word in draw.integers(0, 9, draw.integers(0, 20))) for _ in range(160)]
    captions, references = sentences[:40], [sentences[40 + 3 * at : 43 + 3 * at] for at in range(40)]
    whole = [judge(metric, captions, references) for metric in metrics("tokens")]
    monkeypatch.setattr(texts, "CHUNK_WORDS", 50)
    monkeypatch.setattr(texts, "CHUNK_SAMPLES", 3)
    monkeypatch.setattr(texts, "KEPT_WORDS", kept)
    index_texts.cache_clear()
    assert [judge(metric, captions, references) for metric in metrics("tokens")] == whole


@pytest.mark.parametrize("size", [param(10, id="packed"), param(2**62, id="too-large-to-pack")])
def test_sorted_places(size):
    keys = np.random.default_rng(0).integers(0, 10, 100) * (size // 10)
    found, places = sorted_places(keys, size)
    assert places.tolist() == np.argsort(keys, kind="stable").tolist()
    assert found.tolist() == sorted(keys.tolist())


def test_all_metrics_of_a_run_share_one_reading_and_equal_texts_are_read_once(monkeypatch):
    read = Counter()

    def split(text: str) -> list[str]:
        read[text] += 1
        return text.split()

    monkeypatch.setitem(texts.TOKENISERS, "tokens", split)
    captions, references = ["a cat", "a dog", "a cat"], [["a cat", "one cat"], ["a dog"], ["a cat", "a cat"]]
    scores = [judge(metric, captions, references) for metric in metrics("tokens")]
    assert read == {"a cat": 1, "a dog": 1, "one cat": 1}
    # Equal texts of another run, other objects, are recognised; other references are not taken for them.
    assert [
        judge(metric, list(captions), [list(texts) for texts in references]) for metric in metrics("tokens")
    ] == scores
    assert set(read.values()) == {1}
    other = judge(RougeL(RougeLConfig("tokens")), captions, [["one cat"], ["a dog"], ["a cat"]])
    assert other.per_sample[0] < 1 == other.per_sample[1]
    assert max(read.values()) == 2


def test_captions_taken_in_later_are_judged_too():
    for metric in metrics("tokens"):
        first = judge(metric, ["a cat", "the dog"], [["a cat"], ["a dog"]])
        both = judge(metric, ["two birds"], [["two birds"]])
        assert len(both.per_sample) == 3
        assert len(first.per_sample) == 2
        assert metric.compute() == both


def test_a_set_taken_twice_scores_as_taken_once():
    captions, references = ["a cat", "the dog on a mat"], [["a cat", "a cat"], ["a dog", "the dog on a mat"]]
    for one, twice in zip(metrics("tokens"), metrics("tokens"), strict=True):
        once = judge(one, captions, references)
        assert judge(twice, captions * 2, references * 2).per_sample == pytest.approx(once.per_sample * 2, abs=1e-12)


def test_a_token_with_a_space_inside_is_two_words_for_bleu_and_cider_and_one_for_rouge(monkeypatch):
    """As in the release; the scores are those of pycocoevalcap 1.2."""
    monkeypatch.setitem(texts.TOKENISERS, "tokens", lambda text: text.split(" "))
    captions = ["add 2\xa01/2 cups of -lrb-555-rrb-\xa0123-4567 flour", "call 555 1234 or 2\xa03/4"]
    references = [["add 2 cups"], ["x"]]
    bleu, rouge, cider = (judge(metric, captions, references) for metric in metrics("tokens"))
    assert bleu.parts["1"].per_sample == pytest.approx([0.3749999999531251, 1.666666666388889e-16], abs=1e-12)
    assert bleu.parts["2"].per_sample == pytest.approx([0.23145502491213957, 1.8257418580158344e-16], abs=1e-12)
    assert rouge.per_sample == pytest.approx([0.47286821705426357, 0], abs=1e-9)
    assert cider == judge(CiderD(CiderDConfig("tokens")), [text.replace("\xa0", " ") for text in captions], references)


@settings(max_examples=40, deadline=None)
@given(CASES, st.lists(st.sampled_from([" ", "\xa0", "\u2003"]), min_size=40, max_size=40))
def test_splitting_at_any_space_later_is_splitting_at_any_space(cases, spaces):
    flat = [" ".join(text) for case in cases for text in (case[0], *case[1])]
    mixed = ["".join(spaces[at % 40] if letter == " " else letter for at, letter in enumerate(text)) for text in flat]
    sizes = [1 + len(case[1]) for case in cases]
    found = number_words(mixed, sizes, lambda text: [word for word in text.split(" ") if word]).at_any_space
    wanted = number_words(flat, sizes, str.split)
    assert found.vocabulary == wanted.vocabulary
    assert (found.words.tolist(), found.text_start.tolist()) == (wanted.words.tolist(), wanted.text_start.tolist())


def test_numbers_are_made_without_torch():
    """Torch takes more memory than the largest sets: what only counts words must not ask for it."""
    modules = ["texts", "ngrams", "bleu", "rouge", "cider", "documents", "configs", "specs"]
    names = ", ".join(f"regionkit.plugins.caption_metrics.overlap.{name}" for name in modules)
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
