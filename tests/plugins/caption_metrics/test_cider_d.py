from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from overlap_cases import CASES, SETS, joined, judge, official, recorded, sample
from plain_cider import plain_cider_d

from regionkit.core.errors import DataError
from regionkit.core.testing import check_metric
from regionkit.plugins.caption_metrics.overlap.configs import CiderDConfig
from regionkit.plugins.caption_metrics.overlap.documents import save_document_frequencies
from regionkit.plugins.caption_metrics.overlap.metrics import CiderD

param = pytest.param
TOKENS = CiderDConfig(tokeniser="tokens")


def cider_d(captions: list[str], references: list[list[str]]) -> tuple[float, ...]:
    return judge(CiderD(TOKENS), captions, references).per_sample


@pytest.mark.parametrize(("name", "tokeniser"), SETS)
def test_scores_equal_the_official_ones(name, tokeniser):
    captions, references, images, corpus = official(name, tokeniser)
    score = judge(CiderD(CiderDConfig(tokeniser)), captions, references)
    assert np.abs(np.array(score.per_sample) - images["cider"]).max() < 1e-9
    assert score.value == pytest.approx(corpus["cider"], abs=1e-9)


def test_scores_equal_the_recorded_ones():
    captions, references, record = recorded("cider_d")
    score = judge(CiderD(TOKENS), captions, references)
    assert score.per_sample == pytest.approx([case["score"] for case in record["cases"]], abs=1e-12)
    assert score.value == pytest.approx(record["corpus"], abs=1e-12)
    assert min(score.per_sample) == 0 < max(score.per_sample)


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_scores_equal_the_plain_ones(cases):
    plain = plain_cider_d([case[0] for case in cases], [case[1] for case in cases])
    assert cider_d(*joined(cases)) == pytest.approx(plain, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(CASES, st.randoms(use_true_random=False))
def test_order_changes_nothing(cases, random):
    score = judge(CiderD(TOKENS), *joined(cases))
    turned = list(range(len(cases)))
    random.shuffle(turned)
    shuffled = judge(CiderD(TOKENS), *joined([(cases[at][0], cases[at][1][::-1]) for at in turned]))
    assert shuffled.signature == score.signature
    assert shuffled.per_sample == pytest.approx([score.per_sample[at] for at in turned], abs=1e-12)


@pytest.mark.parametrize(
    ("caption", "score"),
    [
        param("umbrella", 2.5, id="one-word"),
        param("green umbrella", 5.0, id="two-words"),
        param("green umbrella here", 7.5, id="three-words"),
        param("one green umbrella here", 10.0, id="four-words"),
    ],
)
def test_a_perfect_caption_scores_by_its_length(caption, score):
    pair = [caption, "something else altogether"]
    assert cider_d(pair, [[text] for text in pair])[0] == pytest.approx(score)


def test_a_single_sample_scores_nothing_and_its_signature_says_so():
    score = judge(CiderD(TOKENS), ["a cat"], [["a cat"]])
    assert score.per_sample == (0.0,)
    assert "|documents=1|note=of one document every value is 0|n=1" in score.signature
    assert "note" not in judge(CiderD(TOKENS), ["a", "b"], [["a"], ["b"]]).signature
    assert CiderD(TOKENS).compute().value == 0.0


def test_repeating_a_word_of_the_reference_gains_nothing():
    once, often = (cider_d([" ".join(["cat"] * count + ["x", "y"]), "z"], [["cat u v"], ["z"]])[0] for count in (1, 3))
    assert often < once


def test_the_signature_says_what_the_value_depends_on():
    score = judge(CiderD(CiderDConfig("words")), ["a cat", "a dog"], [["a cat"], ["A dog.", "dogs"]])
    assert score.signature == (
        "cider-d|variant=release|sigma=6|tokeniser=words|idf=references:fc45e6dc|documents=2|n=2"
    )


def test_the_hash_of_the_references_follows_their_words_and_nothing_else():
    def source(captions, references):
        return judge(CiderD(CiderDConfig("words")), captions, references).signature

    one = source(["a cat", "a dog"], [["a cat"], ["one dog", "two dogs"]])
    assert one == source(["zebra", ""], [["Two dogs!", "one dog"], ["a cat"]])
    for other in (
        [["a cat"], ["one dog", "two dog"]],
        [["a cat", "one dog"], ["two dogs"]],
        [["a cat"], ["one dog two dogs"]],
        [["a cat"], ["one dog", "two dogs", "two dogs"]],
    ):
        assert source(["a cat", "a dog"], other) != one


def test_punctuation_and_case_do_not_count_as_words():
    references = [["a red car , parked on gravel"], ["two dogs"]]
    plain = judge(CiderD(CiderDConfig("words")), ["a red car parked on gravel", "two dogs"], references)
    assert plain == judge(CiderD(CiderDConfig("words")), ["A red car, parked on gravel.", "Two dogs!"], references)
    assert plain.value == pytest.approx((10 + 5) / 2)


def test_a_sample_without_reference_is_named():
    with pytest.raises(DataError, match="cider-d: sample '0' has no reference caption"):
        judge(CiderD(TOKENS), ["a cat"], [[]])


@pytest.mark.parametrize("tokeniser", ["ptb", "words", "tokens"])
def test_conforms(tokeniser):
    check_metric(lambda: CiderD(CiderDConfig(tokeniser)))


class TestSavedDocumentFrequencies:
    @settings(max_examples=40, deadline=None)
    @given(cases=CASES)
    def test_those_of_the_run_give_the_scores_of_the_run(self, cases, tmp_path_factory):
        captions, references = joined(cases)
        file = tmp_path_factory.mktemp("idf") / "run.safetensors"
        saved = save_document_frequencies(file, references, "tokens")
        score = judge(CiderD(CiderDConfig("tokens", str(file))), captions, references)
        assert score.per_sample == cider_d(captions, references)
        assert f"|idf={saved.source}|documents={len(cases)}|" in score.signature

    def test_a_selection_scores_as_in_the_whole(self, tmp_path):
        captions, references, record = recorded("cider_d")
        save_document_frequencies(tmp_path / "all.safetensors", references, "tokens")
        metric = CiderD(CiderDConfig("tokens", str(tmp_path / "all.safetensors")))
        score = judge(metric, captions[1:2], references[1:2])
        assert score.value == pytest.approx(record["cases"][1]["score"], abs=1e-12)
        assert score.value > 0
        assert score.signature.startswith("cider-d|variant=release|sigma=6|tokeniser=tokens|idf=file:")

    def test_equal_references_make_equal_files(self, tmp_path):
        references = [["a cat on a mat", "a cat"], ["a dog on a mat"], ["the mat"]]
        one = save_document_frequencies(tmp_path / "one.safetensors", references, "tokens")
        turned = [texts[::-1] for texts in references[::-1]]
        assert save_document_frequencies(tmp_path / "two.safetensors", turned, "tokens").source == one.source
        assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
        assert one.source.startswith("file:")

    def test_another_tokeniser_is_refused(self, tmp_path):
        file = tmp_path / "idf.safetensors"
        save_document_frequencies(file, [["a cat"]], "words")
        with pytest.raises(DataError, match="was made with tokeniser 'words', and the captions are read with 'tokens'"):
            CiderD(CiderDConfig("tokens", str(file)))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            param(None, "there is no such file of document frequencies", id="missing"),
            param(b"", "this is no file of document frequencies", id="empty"),
            param(b"\x80\x04N.", "this is no file of document frequencies", id="pickle"),
            param(b"{}", "this is no file of document frequencies", id="json"),
        ],
    )
    def test_what_is_no_such_file_is_refused_by_name(self, content, message, tmp_path):
        file = tmp_path / "coco-val-df.p"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(DataError, match=f"coco-val-df.p: {message}") as caught:
            CiderD(CiderDConfig("tokens", str(file)))
        assert "toolkit idf REFERENCES --out FILE" in caught.value.hints[0]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            param("shorter-2", 99, id="an-n-gram-that-is-not-there"),
            param("word-3", -1, id="a-word-that-is-not-there"),
            param("count-1", 0, id="a-count-of-none"),
            param("count-4", 3, id="more-than-there-are-documents"),
            param("count-2", None, id="a-count-too-few"),
        ],
    )
    def test_damage_is_refused(self, name, value, tmp_path):
        from safetensors.numpy import load_file, save_file

        file = tmp_path / "idf.safetensors"
        save_document_frequencies(file, [["a cat on the mat"]] * 2, "tokens")
        metadata = _metadata(file)
        tensors = {key: array.copy() for key, array in load_file(file).items()}
        if value is None:
            tensors[name] = tensors[name][:-1].copy()
        else:
            tensors[name][0] = value
        save_file(tensors, file, metadata=metadata)
        with pytest.raises(DataError, match=r"no file of document frequencies: (its n-grams|a count|\d+ counts)"):
            CiderD(CiderDConfig("tokens", str(file)))

    def test_no_references_and_no_such_tokeniser(self, tmp_path):
        with pytest.raises(DataError, match="at least one image"):
            save_document_frequencies(tmp_path / "x.safetensors", [])
        with pytest.raises(DataError, match="no tokeniser named 'moses'"):
            save_document_frequencies(tmp_path / "x.safetensors", [["a"]], "moses")
        assert not list(tmp_path.iterdir())


def _metadata(file: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        return dict(opened.metadata())


def test_a_sample_that_gets_no_caption_changes_no_other_score():
    """Document frequencies come from all references that are announced, captioned or not."""
    samples = [sample(0, "a red cat"), sample(1, "a red dog"), sample(2, "two cats", "cats on a mat")]
    said = ["a red cat", "a blue dog", "two cats"]
    whole, lacking = CiderD(CiderDConfig()), CiderD(CiderDConfig())
    whole.update(samples, said)
    lacking.expect(samples)
    lacking.update(samples[:2], said[:2])
    full, part = whole.compute(), lacking.compute()
    assert part.per_sample == full.per_sample[:2]
    assert part.value == pytest.approx(sum(full.per_sample[:2]) / 2)
    assert part.signature == full.signature.replace("|n=3", "|n=2")
    unannounced = CiderD(CiderDConfig())
    unannounced.update(samples[:2], said[:2])
    assert unannounced.compute().per_sample != part.per_sample
