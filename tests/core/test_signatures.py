"""Signatures say what a score depends on, and what keeps two scores apart."""

from __future__ import annotations

import pytest

from regionkit.core.signatures import differences, signature


def test_a_signature_lists_its_fields_in_order():
    found = signature("bleu-4", variant="release", idf_source="references", weights=None, note="", n=5000)
    assert found == "bleu-4|variant=release|idf-source=references|n=5000"


def test_a_value_cannot_be_taken_for_a_field():
    found = signature("m", model="a|n=1\nb", n=2)
    assert found == "m|model=a/n=1 b|n=2"
    assert found.count("|") == 2


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        pytest.param("m|n=5", "m|n=5", [], id="equal"),
        pytest.param("m|n=5", "m|n=6", ["n: 5 against 6"], id="field"),
        pytest.param("m|t=ptb|n=5", "m|n=5", ["t: ptb against nothing"], id="missing"),
        pytest.param("m|n=5", "k|n=5", ["metric: m against k"], id="metric"),
        pytest.param("m|mean|n=5", "m|sum|n=5", ["mean: yes against nothing", "sum: nothing against yes"], id="words"),
        pytest.param("m|a=1|b=2", "m|b=2|a=1", ["order of fields: m|a=1|b=2 against m|b=2|a=1"], id="order"),
    ],
)
def test_differences_are_told_by_field(one, other, apart):
    assert differences(one, other) == apart
