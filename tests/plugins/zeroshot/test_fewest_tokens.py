"""Rules that hold while a language model writes, on a model whose next word is always the same."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from regionkit.core.features import GenerateOptions
from regionkit.core.language.generation import Request, write
from regionkit.plugins.zeroshot.sentence_beams import search

#: The full stop alone ends a text, and so does one with a space before it: GPT-2 has a token for each.
TOKENS = ("a", " b", " .", ".", "")
SPACED, STOP = 2, 3


class Tokens:
    """Five tokens, whose texts stand one behind the other."""

    size, pad = len(TOKENS), 4

    def decode_all(self, ids: Sequence[int]) -> str:
        return "".join(TOKENS[number] for number in ids)

    def ids_with(self, text: str) -> tuple[int, ...]:
        return tuple(number for number, one in enumerate(TOKENS) if text in one)


def model_that_likes(*order: int) -> GPT2LMHeadModel:
    """Return a model that writes the first of these tokens wherever it may, else the next."""
    config = GPT2Config(vocab_size=5, n_positions=32, n_embd=8, n_layer=1, n_head=1, bos_token_id=3, eos_token_id=3)
    model = GPT2LMHeadModel(config).eval()
    model.lm_head = nn.Linear(8, 5)
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.bias.copy_(
            torch.tensor([-2.0 * order.index(token) if token in order else -99.0 for token in range(5)])
        )
    return model


@pytest.mark.parametrize("least", [0, 1, 2, 5, 8])
@pytest.mark.parametrize("beams", [1, 2])
def test_no_text_ends_in_any_way_before_its_fewest_tokens(beams, least):
    request = Request(GenerateOptions(max_tokens=9, min_tokens=least, beams=beams), Tokens(), STOP, ".", [0], "it")
    inputs = {"inputs_embeds": torch.zeros(1, 2, 8), "attention_mask": torch.ones(1, 2, dtype=torch.long)}
    for order in ((SPACED, STOP, 0, 1), (STOP, SPACED, 0, 1)):
        written = write(model_that_likes(*order), inputs, request)
        (ids,) = written.ids
        assert len(ids) >= least
        assert SPACED not in ids[:-1]
        assert written.finished == [True]


@pytest.mark.parametrize("least", [0, 1, 2, 5, 8])
def test_beams_that_end_at_a_second_token_hold_the_fewest_too(least):
    request = Request(GenerateOptions(max_tokens=9, min_tokens=least, beams=2), Tokens(), STOP)
    ids, finished = search(model_that_likes(SPACED, STOP, 0, 1), torch.zeros(2, 8), request, SPACED)
    assert len(ids) >= least
    assert SPACED not in ids[:-1]
    assert finished
