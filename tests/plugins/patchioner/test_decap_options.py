"""decap writes greedily; whatever else is asked of it is refused, not ignored."""

import re

import pytest
import torch

from regionkit.core.errors import RegionkitError
from regionkit.core.features import GenerateOptions, RegionTokens
from regionkit.plugins.patchioner.decap import Decap
from regionkit.plugins.patchioner.decap_config import DecapConfig
from regionkit.plugins.patchioner.vocabulary import WordTokenizer

param = pytest.param


@pytest.fixture(scope="module")
def decoder():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        words = WordTokenizer(["a", "dog", "cat"])
        return Decap(DecapConfig(hidden=16, layers=1, heads=2, positions=16), "tiny/text[8]", words).eval()


def tokens(count):
    return RegionTokens.single(torch.randn(count, 8, generator=torch.Generator().manual_seed(1)), "tiny/text[8]")


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        param({"beams": 3}, "beams 3", id="beams"),
        param({"temperature": 0.7}, "temperature 0.7", id="samples"),
        param({"min_tokens": 2}, "min_tokens 2", id="shortest"),
        param({"beams": 2, "min_tokens": 2}, "beams 2, min_tokens 2", id="two"),
    ],
)
@pytest.mark.parametrize("count", [0, 3])
def test_what_is_not_greedy_is_refused(decoder, options, asked, count):
    message = f"decoder 'decap' writes greedily and cannot follow {re.escape(asked)}"
    with pytest.raises(RegionkitError, match=message) as caught:
        decoder.generate(tokens(count), options=GenerateOptions(**options))
    assert "toolkit list-components --kind decoder" in caught.value.hints[0]


def test_options_that_leave_it_greedy_are_taken(decoder):
    plain = decoder.generate(tokens(3))
    assert decoder.generate(tokens(3), options=GenerateOptions(top_p=0.5, seed=7, length_penalty=2.0)) == plain
