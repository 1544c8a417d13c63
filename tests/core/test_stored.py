"""Options that weights decide, and building without moving anybody's random numbers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from regionkit.core.errors import WeightsError
from regionkit.core.stored import drawn_from, with_memory, with_stored


@dataclass(frozen=True)
class Sizes:
    model: str = "small"
    width: int = 8
    heads: int = 2
    free: float = 0.5

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"heads: {self.heads} does not divide {self.width}")


NAMES = ("model", "width", "heads")


def laid(config: Sizes, stored: dict[str, object], *, words_ask: bool = True) -> Sizes:
    return with_stored(config, stored, NAMES, kind="decoder", source="w.safetensors", words_ask=words_ask)


def test_sizes_of_weights_take_the_place_of_defaults_and_other_options_stay():
    assert laid(Sizes(free=0.1), {"width": 12, "heads": 3, "free": 0.9}) == Sizes("small", 12, 3, 0.1)


@pytest.mark.parametrize(
    "config",
    [pytest.param(Sizes(width=12), id="what-the-weights-have"), pytest.param(Sizes(), id="nothing-in-particular")],
)
def test_an_option_may_say_what_the_weights_have(config):
    assert laid(config, {"width": 12}).width == 12


def test_an_option_that_asks_for_another_size_is_refused_with_both():
    with pytest.raises(WeightsError) as caught:
        laid(Sizes(width=16), {"width": 12})
    assert caught.value.message == "decoder.width: 16 was asked for, the weights w.safetensors have 12"
    assert caught.value.hints == ("leave decoder.width out, or name other weights: toolkit weights list",)


def test_a_word_asks_for_what_it_says_unless_the_caller_lets_defaults_be_silent():
    with pytest.raises(WeightsError, match=r"decoder\.model: small was asked for"):
        laid(Sizes(), {"model": "large"})
    assert laid(Sizes(), {"model": "large"}, words_ask=False).model == "large"
    with pytest.raises(WeightsError, match=r"decoder\.model: huge was asked for"):
        laid(Sizes(model="huge"), {"model": "large"}, words_ask=False)


def test_sizes_that_do_not_go_with_the_other_options_are_one_sentence():
    with pytest.raises(WeightsError, match=r"w.safetensors: the weights do not fit .*heads: 2 does not divide 9"):
        laid(Sizes(), {"width": 9})


def test_initial_weights_follow_from_the_seed_and_move_no_other_numbers():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    with drawn_from(7):
        first = nn.Linear(3, 3)
    assert torch.equal(torch.random.get_rng_state(), before)
    with drawn_from(7):
        assert torch.equal(nn.Linear(3, 3).weight, first.weight)
    with drawn_from(8):
        assert not torch.equal(nn.Linear(3, 3).weight, first.weight)


class Counted(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer(name, torch.arange(4).expand(1, -1), persistent=False)


def test_positions_are_counted_again_and_a_buffer_that_nothing_fills_is_a_mistake():
    with torch.device("meta"):
        counted, other = Counted("position_ids"), Counted("scale")
    assert with_memory(counted).position_ids.tolist() == [[0, 1, 2, 3]]
    with pytest.raises(RuntimeError, match="Counted has a buffer scale that no weights fill"):
        with_memory(other)
