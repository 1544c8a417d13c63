"""Tokens of captions as the decoder on an encoder and decoder sees them."""

import pytest
from test_seq2seq_tokens import TEXTS, build, inputs

from regionkit.core.explaining import END_SHOWN


def test_tokens_sum_to_the_score():
    decoder = build()
    found = decoder.token_scores(inputs(), TEXTS, "what is it?")
    sums = [sum(one.log_probability for one in row) for row in found]
    assert sums == pytest.approx(decoder.score(inputs(), TEXTS, "what is it?").tolist(), abs=1e-4)
    assert [row[-1].text for row in found] == [END_SHOWN] * len(TEXTS)
    assert [one.text for one in found[3]] == [END_SHOWN], "an empty text is ended at once"
