"""Texts that break the official evaluation, or that nobody expects, judged beside ordinary ones."""

from __future__ import annotations

import pytest
from overlap_cases import judge, sample

from regionkit.core.contracts import Metric
from regionkit.core.errors import DataError
from regionkit.plugins.caption_metrics.overlap.configs import BleuConfig, CiderDConfig, RougeLConfig
from regionkit.plugins.caption_metrics.overlap.metrics import Bleu, CiderD, RougeL

param = pytest.param

METRICS = [
    param(Bleu, BleuConfig, id="bleu"),
    param(RougeL, RougeLConfig, id="rouge-l"),
    param(CiderD, CiderDConfig, id="cider-d"),
]
TOKENISERS = ["ptb", "words", "tokens"]
FAULTS = {
    "carriage-return": "a\rb cat",
    "vertical-tab": "a\x0bb cat",
    "form-feed": "a\x0cb cat",
    "line-feed": "a cat\na dog\n",
    "both-tabs": "a\x0b\x0ccat",
    "next-line": "a cat\x85on a mat",
    "line-separator": "a cat\u2028on a mat",
    "paragraph-separator": "a cat\u2029on a mat",
    "file-separator": "a\x1ccat\x1don\x1ea\x1fmat",
    "bars": "a cat ||| a dog ||| two birds",
    "lone-surrogate": "a cat \ud83d on a mat",
    "surrogates-in-the-wrong-order": "\ude00\ud83d cat",
    "null": "a cat\0on a mat",
    "empty": "",
    "spaces": " \t  ",
    "punctuation": ". , !",
    "emoji": "😀🐈‍⬛👍🏽",
    "zero-width": "\u200b\ufeff\u200d",
    "long": "a cat on the red mat sees " * 1667,
    "long-word": "meow" * 20_000,
    "markup": "<s> a cat </s> -LRB- &amp; \\( \\* `` ''",
}
ORDINARY = ["a cat sits on the mat", "two dogs run over wet grass", "an old red car", "a boat at dusk"]
REFERENCES = [
    ["a cat on a mat", "a cat sits on a red mat"],
    ["two dogs run on grass", "dogs on the wet grass"],
    ["an old red car", "a red car parked"],
    ["a boat at sea at dusk", "a boat"],
]


def beside_ordinary(faults: list[str]) -> tuple[list[str], list[list[str]], list[int]]:
    """Put each fault between ordinary captions; return captions, references and where the ordinary ones are."""
    captions, references, ordinary = [], [], []
    for at, fault in enumerate(faults):
        ordinary.append(len(captions))
        captions += [ORDINARY[at % 4], fault]
        references += [REFERENCES[at % 4], REFERENCES[(at + 1) % 4]]
    return captions, references, ordinary


def values(metric: Metric, captions: list[str], references: list[list[str]]) -> list[tuple[float, ...]]:
    score = judge(metric, captions, references)
    return list(zip(*(part.per_sample for part in (score.parts or {"": score}).values()), strict=True))


@pytest.mark.parametrize("tokeniser", TOKENISERS)
@pytest.mark.parametrize(("metric", "config"), METRICS)
class TestFaults:
    def test_no_fault_changes_a_neighbour(self, metric, config, tokeniser):
        captions, references, ordinary = beside_ordinary(list(FAULTS.values()))
        harmless, _, _ = beside_ordinary(["a bird"] * len(FAULTS))
        found = values(metric(config(tokeniser)), captions, references)
        wanted = values(metric(config(tokeniser)), harmless, references)
        assert [found[at] for at in ordinary] == [wanted[at] for at in ordinary]
        assert any(any(row) for row in wanted)

    def test_each_fault_scores_as_it_does_beside_others(self, metric, config, tokeniser):
        captions, references, ordinary = beside_ordinary(list(FAULTS.values()))
        together = values(metric(config(tokeniser)), captions, references)
        for at in ordinary:
            alone = [*captions]
            alone[: at + 1], alone[at + 2 :] = [""] * (at + 1), [""] * (len(captions) - at - 2)
            if at % 8 == 0:  # every fourth, to be quick
                assert values(metric(config(tokeniser)), alone, references)[at + 1] == together[at + 1]

    def test_faults_in_references_change_no_neighbour(self, metric, config, tokeniser):
        captions, references, ordinary = beside_ordinary(["a bird"] * len(FAULTS))
        faulty = [[*texts] for texts in references]
        for at, fault in zip(ordinary, FAULTS.values(), strict=True):
            faulty[at + 1] = [*faulty[at + 1], fault]
        found = values(metric(config(tokeniser)), captions, faulty)
        assert len(found) == len(captions)
        if metric is not CiderD:  # how rare a word is follows from all references
            wanted = values(metric(config(tokeniser)), captions, references)
            assert [found[at] for at in ordinary] == [wanted[at] for at in ordinary]

    def test_every_caption_may_be_empty(self, metric, config, tokeniser):
        found = values(metric(config(tokeniser)), [""] * 4, REFERENCES)
        assert all(abs(value) < 1e-9 for row in found for value in row)

    def test_what_is_no_text_is_refused_by_name(self, metric, config, tokeniser):
        for caption, said in (
            (None, "None"),
            (7, r"7 \(int\)"),
            (b"a cat", r"b'a cat' \(bytes\)"),
            (["a"], r"\['a'\] \(list\)"),
        ):
            judged = metric(config(tokeniser))
            with pytest.raises(
                DataError, match=f"^{judged.name}: the caption of sample '1' is {said}, and must be text"
            ):
                judged.update([sample(0, "a cat"), sample(1, "a cat")], ["a cat", caption])
            with pytest.raises(DataError, match=f"^{judged.name}: the reference of sample '1' is {said}, and must be"):
                judged.update([sample(1, "a cat", caption)], ["a cat"])
            judged.update([sample(0, "a cat")], ["a cat"])
            assert len(judged.compute().per_sample) == 1  # what was refused left nothing behind


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("metric", "config"), METRICS)
def test_captions_and_references_of_10_000_words_take_a_moment(metric, config):
    text = " ".join(f"w{at * at % 977}" for at in range(10_000))
    other = " ".join(f"w{at * at % 983}" for at in range(10_000))
    score = judge(metric(config("tokens")), [text, other, "w1 w4"], [[other, "w1"], [other], [text]])
    assert score.per_sample[1] == pytest.approx({"cider-d": 10}.get(metric.name, 1), rel=1e-6)
