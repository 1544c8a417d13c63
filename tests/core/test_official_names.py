"""Names that remember how they stand in a checkpoint: rules read backwards, and what refusals then say."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from regionkit.core.checkpoints import as_floats, rename
from regionkit.core.errors import WeightsError
from regionkit.core.official_names import in_the_file, moved, rules_of, would_be
from regionkit.core.weights import check_fit

param = pytest.param
RULES = {
    r"encoder\.layers\.(\d+)\.(fc[12]|attn\.(?:q|k))\.(weight|bias)": r"blocks.\1.\2.\3",
    r"(head|tail)\.scale": r"\1.weight",
    r"first\.(\d+)\.second\.(\d+)\.w": r"both.\2.\1.w",
    r"joint\.(weight|bias)": r"qkv.\1",
}


@pytest.mark.parametrize(
    ("name", "official"),
    [
        param("blocks.11.fc2.bias", "encoder.layers.11.fc2.bias", id="groups"),
        param("blocks.0.attn.k.weight", "encoder.layers.0.attn.k.weight", id="group-within-a-group"),
        param("tail.weight", "tail.scale", id="choice"),
        param("both.7.3.w", "first.3.second.7.w", id="order"),
        param("blocks.x.fc2.bias", "", id="no-number"),
        param("other", "", id="unknown"),
    ],
)
def test_rules_are_read_backwards(name, official):
    assert rules_of(RULES).official(name) == official


@pytest.mark.parametrize(
    ("old", "new"),
    [
        param(r"a\.(\d+)\.(x|y)", r"b.\1", id="a-group-is-lost"),
        param(r"a\.\w+", "b", id="no-text"),
        param(r"a|c", "b", id="choice-without-a-group"),
        param(r"(a(\d))\.w", r"b.\1.\2", id="group-of-its-own-inside"),
    ],
)
def test_a_rule_that_cannot_be_read_backwards_says_nothing(old, new):
    assert rules_of({old: new}).official("b") == rules_of({old: new}).official("b.1") == ""


@given(
    layer=st.integers(0, 999), part=st.sampled_from(["fc1", "fc2", "attn.q"]), end=st.sampled_from(["weight", "bias"])
)
def test_there_and_back(layer, part, end):
    official = f"encoder.layers.{layer}.{part}.{end}"
    (name,) = rename({official: torch.ones(1)}, RULES, "x")
    assert in_the_file(name) == official == would_be(str(name), [name])


def test_a_name_is_the_plain_text():
    (name,) = rename({"head.scale": torch.ones(1)}, RULES, "x")
    assert name == "head.weight"
    assert {"head.weight": 1}[name] == {name: 1}["head.weight"] == 1
    assert type(str(name)) is str
    assert in_the_file("head.weight") == "head.weight"
    assert would_be("head.weight", ["plain"]) == "head.weight"


def test_parts_of_a_joint_tensor_know_it():
    (name,) = rename({"joint.bias": torch.ones(1)}, RULES, "x")
    part = moved(name, lambda one: one.replace("qkv.", "q."))
    assert part == "q.bias"
    assert in_the_file(part) == "joint.bias"
    assert would_be("q.weight", [part]) == "joint.weight"
    assert moved("qkv.bias", str.upper) == "QKV.BIAS"


def test_a_refusal_names_what_is_in_the_file():
    rules = {r"net\.(\d+)\.(w|b)": r"\1.\2", **{rf"net\.(\d+)\.{old}": rf"\1.{new}" for old, new in (("W", "weight"),)}}
    rules |= {r"net\.(\d+)\.B": r"\1.bias"}
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3))
    state = {
        "net.0.W": torch.ones(3, 4),
        "net.0.B": torch.ones(3),
        "net.1.W": torch.ones(3, 3),
        "net.7.w": torch.ones(1),
    }
    tensors = as_floats(rename(state, rules, "some.pt"), "some.pt")
    with pytest.raises(WeightsError) as error:
        check_fit(module, tensors, "some.pt")
    assert error.value.hints == (
        "missing: net.1.B",
        "left over: net.7.w",
        "shape: net.0.W is (3, 4), the model has (3, 2)",
    )


def test_three_that_are_missing_are_told_and_how_many_more():
    module = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(6)))
    tensors = rename({"net.0.W": torch.ones(1, 1)}, {r"net\.(\d+)\.W": r"\1.weight"}, "x")
    with pytest.raises(WeightsError) as error:
        check_fit(module, tensors, "x")
    assert error.value.hints == ("missing: net.1.W, net.2.W, net.3.W and 2 more",)
