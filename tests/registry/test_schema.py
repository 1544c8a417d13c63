from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regionkit.core.errors import ConfigError
from regionkit.registry import get_registry
from regionkit.registry.schema import fill, options, untyped, with_defaults
from regionkit.registry.values import Mismatch, convert, plain

TAKES = (
    "toy-pool (toy) takes: weighting=uniform|gaussian|off, scale=float, size=[int, int], layers=[int, ...], "
    "words=[str, ...], limits={str: float}, maybe=float|null, flag=bool, label=str"
)


def mistakes(kind: str, value: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        fill(kind, value)
    return str(caught.value)


def test_options_are_filled_with_defaults_and_types(toy):
    part = fill(
        "region_encoder",
        {"name": "toy-pool", "scale": 2, "size": [3, 4], "layers": [1], "limits": {"a": 1}, "maybe": None},
    )
    assert part.config.scale == 2.0
    assert type(part.config.scale) is float
    assert part.config.size == (3, 4)
    assert part.config.limits == {"a": 1.0}
    assert part.given == {"scale", "size", "layers", "limits", "maybe"}
    assert part.to_dict() == {
        "name": "toy-pool",
        "weighting": "uniform",
        "scale": 2.0,
        "size": [3, 4],
        "layers": [1],
        "words": [],
        "limits": {"a": 1.0},
        "maybe": None,
        "flag": False,
        "label": "",
    }


UNTYPED = """
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class Base:
    size: int = 3
    LARGEST = 9
    shared: ClassVar[int] = 4

@dataclass(frozen=True)
class Config(Base):
    scale = 1.0
    size = 5
    names = ()
    _hidden = 2

    @property
    def corruption(self):
        return "none"
"""

SPEC = """
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec

@hookimpl
def regionkit_components():
    return [ComponentSpec(kind="corpus", name="untyped", target="x:y", config="untyped_config:Config")]
"""


def test_what_has_no_type_is_told_apart_from_what_is_not_there(project):
    project.plugin("untyped_plugin", SPEC)({"untyped_config.py": UNTYPED})
    assert untyped(get_registry().find("corpus", "untyped")) == {
        "scale": "scale: float = 1.0",
        "size": "size: int = 5",
        "names": "names: TYPE = ...",
    }
    told = mistakes("corpus", {"name": "untyped", "scale": 2.0})
    assert "untyped_config:Config sets 'scale' without a type, so it is no option: write scale: float = 1.0" in told
    assert "without a type" not in mistakes("corpus", {"name": "untyped", "scales": 2.0})


def test_shorthand_is_the_name(toy):
    assert fill("region_encoder", "toy-pool") == fill("region_encoder", {"name": "toy-pool"})
    assert fill("corpus", "toy-texts").to_dict() == {"name": "toy-texts"}


def test_to_dict_fills_to_the_same_part(toy):
    part = fill("region_encoder", {"name": "toy-pool", "size": [3, 4], "words": ["a"]})
    assert fill("region_encoder", part.to_dict()).config == part.config


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        pytest.param(
            {"wieghting": "off"}, ["wieghting: unknown option", "did you mean: weighting", TAKES], id="option"
        ),
        pytest.param({"std": 1}, ["region_encoder.std: unknown option", TAKES], id="foreign-option"),
        pytest.param(
            {"weighting": "gausian"}, ["expected uniform or gaussian or off, got", "mean: gaussian"], id="choice"
        ),
        pytest.param({"weighting": False}, ["got false", "YAML reads on, off, yes and no as true"], id="yaml-off"),
        pytest.param({"scale": "2"}, ["scale: expected float, got the text '2'"], id="float"),
        pytest.param({"scale": True}, ["scale: expected float, got true"], id="bool-float"),
        pytest.param({"scale": float("nan")}, ["scale: expected a number, got nan"], id="nan"),
        pytest.param({"size": [1]}, ["size: expected 2 values, got 1: the list [1]"], id="tuple-length"),
        pytest.param({"size": 3}, ["size: expected [int, int], got 3"], id="tuple"),
        pytest.param({"size": [1, 2.5]}, ["size: item 1: expected int, got 2.5"], id="tuple-item"),
        pytest.param({"layers": {"a": 1}}, ["layers: expected [int, ...], got a mapping (a)"], id="list"),
        pytest.param({"limits": {"a": "x"}}, ["limits: 'a': expected float, got the text 'x'"], id="mapping-item"),
        pytest.param({"maybe": "x"}, ["maybe: expected float, got the text 'x'"], id="optional"),
        pytest.param({"flag": 1}, ["flag: expected bool, got 1"], id="bool"),
        pytest.param(
            {"label": 3}, ["label: expected str, got 3", 'put it in quotes if it is meant as text: "3"'], id="str"
        ),
        pytest.param({"label": None}, ["label: expected str, got nothing (null)"], id="null"),
        pytest.param({"scale": -1}, ["region_encoder: scale -1 must be 0 or more"], id="post-init"),
        pytest.param({"label": "bad"}, ["'bad' is no label", "write label: good"], id="post-init-known"),
    ],
)
def test_wrong_option_says_what_is_taken(toy, value, wanted):
    text = mistakes("region_encoder", {"name": "toy-pool", **value})
    assert all(line in text for line in wanted), text


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        pytest.param(None, ["bridge: say which bridge to use: name: NAME", "bridges are: ", ", toy-bank, "], id="null"),
        pytest.param({"std": 1}, ["bridge: say which bridge to use"], id="no-name"),
        pytest.param(3, ["bridge: expected the name of a bridge or a mapping with one, got 3"], id="number"),
        pytest.param({"name": ["a"]}, ["bridge.name: expected the name of a bridge"], id="list"),
        pytest.param("toy-nois", ["bridge: no bridge named 'toy-nois'", "did you mean: toy-noise"], id="unknown"),
        pytest.param(
            "toy-noise", ["bridge.std: the option 'std' is missing: it has no default", "takes: std=float"], id="req"
        ),
        pytest.param({"name": "toy-any", "x": 1}, ["toy-any (toy) takes: no options"], id="no-options"),
        pytest.param({"name": "toy-bank", "std": 1}, ["it is an option of: ", ", toy-noise"], id="owner"),
    ],
)
def test_wrong_part_says_what_exists(toy, value, wanted):
    text = mistakes("bridge", value)
    assert all(line in text for line in wanted), text


def test_every_mistake_of_a_file_is_told_at_once(toy, problems_of):
    text = problems_of(
        """
        version: 1
        backbone: {name: toy-a, resolutoin: 8, weights: 3}
        region_encodr: toy-pool
        region_encoder:
          name: toy-pool
          weighting: gausian
          scale: -1
        bridge: toy-noise
        decoder: {name: toy-word}
        """
    )
    heads = [line.split(": ")[:2] for line in text.splitlines() if not line.startswith(" ")]
    assert heads == [
        ["x.yaml:2", "backbone.resolutoin"],
        ["x.yaml:2", "backbone.weights"],
        ["x.yaml:3", "region_encodr"],
        ["x.yaml:6", "region_encoder.weighting"],
        ["x.yaml:8", "bridge.std"],
        ["x.yaml:9", "decoder.name"],
    ]
    assert "did you mean: region_encoder" in text
    assert "did you mean: toy-words" in text


def test_mistake_found_by_the_config_class_is_placed_at_its_option(toy, problems_of):
    text = problems_of(
        """
        backbone: toy-a
        region_encoder:
          name: toy-pool
          flag: true
          scale: -1
        bridge: toy-none
        decoder: toy-words
        """
    )
    assert text == "x.yaml:5: region_encoder: scale -1 must be 0 or more"


def test_broken_config_module_blames_its_plugin(project):
    project.plugin(
        "my_pkg",
        "from regionkit.core.plugin import hookimpl\nfrom regionkit.core.spec import ComponentSpec\n"
        "@hookimpl\ndef regionkit_components():\n"
        "    return [ComponentSpec('metric', 'mine', 'my_pkg:X', config='my_pkg:Nothing')]\n",
    )
    text = mistakes("metric", "mine")
    assert "the options of metric 'mine' cannot be read: AttributeError" in text
    assert "plugin my_pkg (my_pkg 0.3)" in text


def test_options_are_described_from_the_docstring(toy):
    found = {option.name: option for option in options(fill("backbone", "toy-a").spec)}
    assert found["resolution"].doc == "Pixels along each side."
    assert (found["resolution"].type, found["resolution"].default) == ("int", 8)
    assert options(fill("bridge", {"name": "toy-noise", "std": 1}).spec)[0].required


def test_stored_options_lie_under_given_ones(toy):
    part = fill("decoder", {"name": "toy-words", "hidden": 3})
    filled = with_defaults(part, {"hidden": 99, "sizes": [1, 2]})
    assert (filled.config.hidden, filled.config.sizes) == (3, (1, 2))


@dataclass(frozen=True)
class Inner:
    a: int = 1
    b: Literal["x", "y"] = "x"


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        pytest.param(int, 1e3, 1000, id="whole-float"),
        pytest.param(float, 3, 3.0, id="int-float"),
        pytest.param(int | str, "a", "a", id="union"),
        pytest.param(tuple[int, ...], [1, 2], (1, 2), id="tuple"),
        pytest.param(list[tuple[int, int]], [[1, 2]], [(1, 2)], id="nested"),
        pytest.param(Mapping[str, list[int]], {"a": [1]}, {"a": [1]}, id="mapping"),
        pytest.param(Inner, {"b": "y"}, Inner(1, "y"), id="dataclass"),
        pytest.param(Literal[1, 2], 2, 2, id="literal"),
        pytest.param(Any, {"a": 1}, {"a": 1}, id="any"),
        pytest.param(float | None, None, None, id="none"),
    ],
)
def test_conversion(kind, value, wanted):
    assert convert(value, kind) == wanted
    assert type(convert(value, kind)) is type(wanted)


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        pytest.param(int, 1.5, "expected int, got 1.5", id="fraction"),
        pytest.param(int, float("inf"), "expected int, got inf", id="infinity"),
        pytest.param(Literal[1, 2], True, "expected 1 or 2, got true", id="bool-literal"),
        pytest.param(int | str, None, "expected int|str, got nothing (null)", id="union"),
        pytest.param(Inner, {"c": 1}, "unknown option 'c'", id="dataclass-option"),
        pytest.param(Inner, {"a": "x"}, "'a': expected int, got the text 'x'", id="dataclass-value"),
        pytest.param(Inner, 3, "expected {a, b}, got 3", id="dataclass"),
    ],
)
def test_conversion_refuses(kind, value, wanted):
    with pytest.raises(Mismatch) as caught:
        convert(value, kind)
    assert caught.value.message == wanted


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
kinds = st.sampled_from(
    [int, float, bool, str, Literal["a", 1], float | None, tuple[int, int], list[float], Mapping[str, int], Inner]
)


@given(plain_values, kinds)
def test_conversion_converts_or_explains_and_is_stable(value, kind):
    try:
        converted = convert(value, kind)
    except Mismatch as error:
        message = error.message
        converted = None
    else:
        message = ""
    if message:
        assert message.startswith(("expected", "item", "'", "unknown option"))
    else:
        assert convert(plain(converted), kind) == converted
