from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regionkit.plugins.caption_metrics.overlap import ptb as ptb_module
from regionkit.plugins.caption_metrics.overlap import ptb_rules
from regionkit.plugins.caption_metrics.overlap.ptb import ptb
from regionkit.plugins.caption_metrics.overlap.tokenisers import PUNCTUATION, TOKENISERS

ROOT = Path(__file__).parents[3]
OFFICIAL = ROOT.parent / "shared" / "golden" / "metrics"
OWN = json.loads((ROOT / "tests" / "golden" / "caption_metrics" / "ptb.json").read_text(encoding="utf-8"))["captions"]

param = pytest.param
needs_golden = pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the official tokens are not in this checkout")
# Pieces that rules are about, so that drawn captions meet them.
WORDS = (
    "A the The U. Mr. Co. no. 5 1/2 555 ... . - -- ' ’ \" “ ( ) :) <b> < http://a.b a@b #a &amp; n't 's gonna é 😀 / ,"
)
PIECES = st.sampled_from([*WORDS.split(), "\u00ad", "\u00a0"])
DRAWN = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="aA5.,-'’/&@#:!? ", max_size=15),
    st.lists(PIECES, max_size=8).map("".join),
    st.lists(PIECES, max_size=8).map(" ".join),
)
HARBOUR = "A dog's red T-shirt, near the old harbour. Mother-in-law isn't cannot here; gonna: O’Brien!"
PLAIN = st.lists(st.sampled_from(HARBOUR.split(" ")), max_size=10).map(" ".join)


def read(name: str) -> Any:
    with gzip.open(OFFICIAL / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


@pytest.mark.parametrize("case", [param(case, id=str(number)) for number, case in enumerate(OWN)])
def test_own_sentences_give_the_recorded_tokens(case):
    assert ptb(case["caption"]) == case["tokens"]


@needs_golden
@pytest.mark.parametrize(
    ("name", "looked_ahead"), [param("coco_cap0", 1, id="coco"), param("flickr_cap0", 0, id="flickr")]
)
def test_golden_captions_give_the_official_tokens(name, looked_ahead):
    raw, tokens = read(name), read(f"tok_{name}")
    captions = raw["cands"] + [reference for references in raw["refs"] for reference in references]
    official = tokens["cands"] + [reference for references in tokens["refs"] for reference in references]
    ours = [" ".join(ptb(caption)) for caption in captions]
    differing = [(mine, theirs) for mine, theirs in zip(ours, official, strict=True) if mine != theirs]
    # Only captions that end in one letter and a dot, where the official tool looked at the caption that followed.
    assert all(mine == f"{theirs}." and theirs[-2] == " " for mine, theirs in differing)
    assert len(differing) == looked_ahead


@needs_golden
def test_hard_lines_differ_only_where_the_official_tool_looked_at_the_next_line():
    lines = read("ptb_hard")
    differing = [
        line["in"]
        for line in lines
        if ptb(line["in"]) != [token for token in line["java_raw"].split(" ") if token and token not in PUNCTUATION]
    ]
    # Each stands among its neighbours more than once: "U." before a line that begins with "A" or "Many", "no." and
    # "fig." before one that begins with a number. All are among the 100 adversarial probes; the other 95 are equal.
    assert sorted(differing) == ["fig.", "no.", "the wii U.", "the wii U.", "the wii U."]


@pytest.mark.parametrize("space", ["\r", "\v", "\f", "\u2028", "\u2029", "\x85", "\n", "\t", "\u3000", "\x1c"])
def test_white_space_of_any_kind_parts_words_and_starts_no_line(space):
    assert ptb(f"a dog{space}runs.{space}It's 5{space}") == ["a", "dog", "runs", "it", "'s", "5"]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        param("", [], id="empty"),
        param(" \n\t ", [], id="blank"),
        param("😀 👍🏽 ❤\ufe0f", ["❤"], id="emoji"),
        param("a \ud800 dog\udfff.", ["a", "dog"], id="lone-surrogates"),
        param("http://a.b/\ud800c x@y\udc00z", ["http://a.b/", "c", "x@y", "z"], id="surrogates-in-addresses"),
        param("wii U.", ["wii", "u."], id="initial-at-the-end"),
        param("wii U. A man", ["wii", "u", "a", "man"], id="initial-before-a-sentence"),
        param("see no. 5 or no.", ["see", "no.", "5", "or", "no"], id="number-sign-at-the-end"),
        param("1 1/2 cups", ["1\u00a01/2", "cups"], id="no-break-space"),
        param("a ||| b", ["a", "|", "|", "|", "b"], id="bars"),
    ],
)
def test_edges(caption, expected):
    assert ptb(caption) == expected


def test_long_captions():
    assert ptb("A dog's bowl. " * 3000) == ["a", "dog", "'s", "bowl"] * 3000
    assert ptb("a," * 2000) == ["a"] * 2000


@given(DRAWN)
@settings(deadline=None, max_examples=400)
def test_any_text_gives_tokens_that_can_be_joined_and_written(text):
    tokens = ptb(text)
    assert all(token and token not in PUNCTUATION for token in tokens)
    assert not any(character.isspace() for token in tokens for character in token.replace("\u00a0", ""))
    "".join(tokens).encode()


@given(DRAWN)
@settings(deadline=None, max_examples=200)
def test_spaces_around_a_caption_change_nothing(text):
    assert ptb(f" {text}  ") == ptb(text)


@given(DRAWN, st.lists(DRAWN, max_size=3))
@settings(deadline=None, max_examples=100)
def test_other_captions_change_nothing(text, others):
    before = ptb(text)
    for other in others:
        ptb(other)
    assert ptb(text) == before


@given(PLAIN, PLAIN)
@settings(deadline=None, max_examples=100)
def test_plain_captions_side_by_side_give_their_tokens_side_by_side(left, right):
    assert ptb(f"{left} {right}") == ptb(left) + ptb(right)
    # The emoji is dropped, but the caption is no longer read word by word.
    assert ptb(f"{left} 😀 {right}") == ptb(left) + ptb(right)


@given(DRAWN)
@settings(deadline=None, max_examples=100)
def test_what_was_read_before_is_only_a_memory(text):
    expected = ptb(text)
    remembered = dict(ptb_module._KNOWN)
    ptb_module._KNOWN.clear()
    try:
        assert ptb(text) == expected
    finally:
        ptb_module._KNOWN.update(remembered)


#: What chunks that are read one by one meet: numbers, signs and dots that may join them.
CHUNKS = (
    "a w42 b_2 dog Mr U no No. fig can't it's 3 12 555 1/2 2nd p.m. May , . ! ? ; ... - 1,000 % $ isn't. dog. dog, U."
)


@given(st.lists(st.sampled_from(CHUNKS.split()), max_size=7).map(" ".join))
@settings(deadline=None, max_examples=400)
def test_chunks_read_one_by_one_are_what_the_rules_say_of_the_whole(text):
    assert ptb(text) == ptb_module._scan(text)


RULES = {rule for value in vars(ptb_rules).values() if isinstance(value, tuple) for rule in value}
RULES = {rule for rule in RULES if isinstance(rule, ptb_rules.Rule)}
ASCII = st.text(alphabet=[chr(code) for code in range(128)], max_size=30)
ASCII_PIECES = st.lists(st.sampled_from([one for one in WORDS.split() if one.isascii()]), max_size=8).map("".join)


@given(ASCII | ASCII_PIECES)
@settings(deadline=None, max_examples=150)
def test_in_ascii_every_rule_matches_as_in_any_text(text):
    assert len(RULES) > 50
    for rule in RULES:
        found, wanted = (pattern.match(text) for pattern in (rule.ascii_pattern, rule.pattern))
        assert (found and found.regs) == (wanted and wanted.regs)


def test_the_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(ptb_module, "_KNOWN", known := {})
    monkeypatch.setattr(ptb_module, "_MOST_KNOWN", 3)
    assert ptb("one two three four five's " + "x" * 50) == ["one", "two", "three", "four", "five", "'s", "x" * 50]
    assert sorted(known) == ["five's", "four"], "when it is full it begins anew"


def test_captions_may_be_read_by_name():
    assert TOKENISERS["ptb"]("It's") == ["it", "'s"]
