from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regionkit.core.errors import ConfigError
from regionkit.registry.merging import apply_override, merge

leaves = st.integers() | st.booleans() | st.text("ab", max_size=2) | st.lists(st.integers(), max_size=2)
keys = st.sampled_from(["seeds", "x", "data", "limit"])
mappings = st.recursive(
    st.dictionaries(keys, leaves, max_size=3), lambda inner: st.dictionaries(keys, inner | leaves, max_size=3)
)


def contains(big, small):
    """Whether every leaf of the small mapping stands in the big one."""
    if isinstance(small, dict):
        return isinstance(big, dict) and all(key in big and contains(big[key], small[key]) for key in small)
    return big == small


@given(mappings, mappings)
def test_what_lies_above_wins_and_the_rest_stays(below, above):
    merged, _ = merge(below, {}, above, {})
    assert contains(merged, above)
    assert set(merged) == set(below) | set(above)
    assert merge(merged, {}, above, {})[0] == merged
    assert all(contains(merged[key], below[key]) for key in below if key not in above)


@given(mappings)
def test_nothing_above_or_below_changes_nothing(data):
    assert merge({}, {}, data, {})[0] == data
    assert merge(data, {}, {}, {})[0] == data


@given(mappings, st.lists(keys, min_size=1, max_size=3), st.integers())
def test_override_never_touches_its_input(data, path, value):
    before = repr(data)
    try:
        changed = apply_override(data, {}, f"{'.'.join(path)}={value}")
    except ConfigError as error:
        reason = str(error)
    else:
        reason = ""
    assert repr(data) == before
    if reason:
        assert "which has nothing below it" in reason or "counted from 0" in reason
        return
    for key in path:
        changed = changed[key]
    assert changed == value


def test_option_named_like_a_kind_is_an_option():
    below = {"bridge": {"name": "a", "corpus": "x"}}
    merged, _ = merge(below, {}, {"bridge": {"name": "a", "corpus": "y"}}, {})
    assert merged == {"bridge": {"name": "a", "corpus": "y"}}
    assert apply_override(merged, {}, "bridge.corpus=z") == {"bridge": {"name": "a", "corpus": "z"}}


@pytest.mark.parametrize("text", ["{000..123}.tar", "*.tar", "[ab].tar"])
def test_a_pattern_that_yaml_takes_for_more_is_told_how_to_be_quoted(text):
    with pytest.raises(ConfigError, match="not readable as YAML") as caught:
        apply_override({}, {}, f"corpus.shards={text}")
    (problem,) = caught.value.problems
    assert problem.hints[-1] == f"text that begins with {text[0]} is quoted twice: --set 'corpus.shards=\"{text}\"'"
    data = apply_override({}, {}, f'corpus.shards="{text}"')
    assert data == {"corpus": {"shards": text}}
