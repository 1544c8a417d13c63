"""Tokens of captions as the decoders on language models see them."""

import pytest
import torch
from test_lm_tokens import TEXTS, build, inputs

from regionkit.core.explaining import END_SHOWN


@pytest.mark.parametrize("model", [pytest.param(name, id=name) for name in ("llama", "gpt2")])
def test_tokens_sum_to_the_score_in_batches_too(model):
    decoder = build(model=model)
    found = decoder.token_scores(inputs(), TEXTS)
    sums = [sum(one.log_probability for one in row) for row in found]
    assert sums == pytest.approx(decoder.score(inputs(), TEXTS).tolist(), abs=1e-4)
    assert [len(row) for row in found] == [len(text.split()) + 1 for text in TEXTS]
    assert [row[-1].text for row in found] == [END_SHOWN] * len(TEXTS)
    assert [one.text for one in found[0][:-1]] == ["a", "small", "dog"]
    assert all(len(one.alternatives) == 3 for row in found for one in row)


def test_alternatives_are_what_the_decoder_would_have_written():
    decoder = build()
    read = inputs(1)
    with torch.inference_mode():
        logits = decoder._logits(decoder._tokens(read), *decoder._targets(["a dog"], None), None)[0, 0]
    first = decoder.token_scores(read, ["a dog"])[0][0]
    likely = logits.float().log_softmax(-1)
    others = [at for at in likely.argsort(descending=True).tolist() if at != first.id][:3]
    assert [one.id for one in first.alternatives] == others
    assert first.log_probability == pytest.approx(float(likely[first.id]), abs=1e-5)
    assert torch.isfinite(likely).all()
