"""Points as text, and how many of them survive."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer

from regionkit.core.errors import RegionError, WeightsError
from regionkit.plugins.regionvlm.configs import PointQFormerConfig
from regionkit.plugins.regionvlm.point_text import (
    NumeralTokenizer,
    point_string,
    read_tokenizer,
    tokenizer_from,
    tokenizer_of,
)

param = pytest.param
PAPER = np.array([[0.324, 0.643], [0.369, 0.622]])
TEN = np.array([[0.1 * step + 0.05, 0.5] for step in range(10)])
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
NUMERALS = ("[", "]", *map(str, range(101)))


def write_vocabulary(folder, words=NUMERALS):
    path = folder / "vocab.txt"
    path.write_text("\n".join((*SPECIAL, *words)) + "\n")
    return path


@pytest.mark.parametrize(
    ("points", "compat", "expected"),
    [
        param(PAPER, "paper", "[32 64] [37 62]", id="the-papers-example"),
        param(PAPER, "reference", "[32 64] [36 62]", id="truncated"),
        param([[1.0, 0.0]], "paper", "[100 0]", id="the-edge"),
        param([[1.0, 0.999]], "reference", "[100 99]", id="the-edge-truncated"),
        param([[-0.2, 1.7]], "paper", "[0 100]", id="clipped"),
        param(np.zeros((0, 2)), "paper", "", id="no-points"),
        param(np.zeros((0, 2)), "reference", "", id="no-points-either"),
    ],
)
def test_point_strings_are_those_of_paper_and_released_code(points, compat, expected):
    assert point_string(np.asarray(points), compat) == expected


def test_the_released_text_processor_keeps_25_points():
    many = np.full((40, 2), 0.5)
    assert point_string(many, "reference").count("[") == 25
    assert point_string(many).count("[") == 40


def test_a_point_that_is_no_number_is_refused():
    with pytest.raises(RegionError, match="a point has a coordinate that is not a finite number"):
        point_string(np.array([[0.5, np.nan]]))


def test_ten_points_survive_whole_by_default_and_are_cut_in_reference_mode():
    tokenizer = NumeralTokenizer()
    text = point_string(TEN)
    whole = tokenizer.encode(text, PointQFormerConfig().most_tokens)
    cut = tokenizer.encode(text, PointQFormerConfig(compat="reference").most_tokens)
    assert len(whole) == 42  # start, 10 x "[ x y ]", end
    assert len(cut) == 32
    assert cut[:31] == whole[:31]
    assert [tokenizer.words[one] for one in cut[-3:]] == ["[", "75", "[SEP]"]


def test_an_explicit_limit_goes_before_compat():
    assert PointQFormerConfig(compat="reference", max_point_tokens=64).most_tokens == 64
    assert PointQFormerConfig(max_point_tokens=20).most_tokens == 20
    assert PointQFormerConfig(positions=40).most_tokens == 40


def test_the_empty_text_is_start_and_end():
    tokenizer = NumeralTokenizer()
    assert [tokenizer.words[one] for one in tokenizer.encode("", 64)] == ["[CLS]", "[SEP]"]


def test_all_numerals_are_known_and_other_words_are_not():
    tokenizer = NumeralTokenizer()
    ids = tokenizer.encode(" ".join(f"[{number} {number}]" for number in range(101)), 1000)
    words = [tokenizer.words[one] for one in ids]
    assert words[1:5] == ["[", "0", "0", "]"]
    assert words[-4:-1] == ["100", "100", "]"]
    assert tokenizer.words[tokenizer.encode("[101 x]", 9)[2]] == "[UNK]"


# ---------------------------------------------------------------- tokenizers of BERT's kind


def test_a_vocabulary_of_bert_reads_points_as_the_built_in_one_does(tmp_path):
    write_vocabulary(tmp_path)
    tokenizer = tokenizer_of(f"file:{tmp_path}")
    words = tokenizer.inner.get_vocab()
    back = {place: word for word, place in words.items()}
    own = NumeralTokenizer()
    text = point_string(TEN)
    assert [back[one] for one in tokenizer.encode(text, 32)] == [own.words[one] for one in own.encode(text, 32)]
    assert (tokenizer.pad, tokenizer.size) == (0, 107)


def test_numerals_in_pieces_take_more_tokens(tmp_path):
    digits = [*map(str, range(10)), *(f"##{digit}" for digit in range(10))]
    tokenizer = read_tokenizer(write_vocabulary(tmp_path, ("[", "]", *digits)))
    assert len(tokenizer.encode("[32 64]", 64)) == 2 + 6


def test_a_tokenizer_travels_in_a_header(tmp_path):
    tokenizer = read_tokenizer(write_vocabulary(tmp_path))
    again = tokenizer_from({"tokenizer": tokenizer.to_extra()}, "a.safetensors")
    assert again.encode("[32 64] [37 62]", 64) == tokenizer.encode("[32 64] [37 62]", 64)
    assert isinstance(tokenizer_from({"tokenizer": NumeralTokenizer().to_extra()}, "a"), NumeralTokenizer)


def test_a_tokenizer_json_is_read_without_its_own_cutting(tmp_path):
    inner = Tokenizer.from_str(read_tokenizer(write_vocabulary(tmp_path)).to_extra()["json"])
    inner.enable_truncation(4)
    inner.enable_padding(length=100)
    inner.save(str(tmp_path / "tokenizer.json"))
    assert len(read_tokenizer(tmp_path).encode(point_string(TEN), 64)) == 42


@pytest.mark.parametrize(
    ("write", "words"),
    [
        param(lambda folder: folder / "absent.txt", "there is no tokenizer", id="absent"),
        param(lambda folder: folder, "no tokenizer in this folder", id="empty-folder"),
        param(lambda folder: write_vocabulary(folder, ("[", "]")), "it lacks brackets or digits", id="no-digits"),
        param(lambda folder: _written(folder / "vocab.txt", "a\nb\n"), r"it lacks \[PAD\]", id="another-kind"),
        param(lambda folder: _written(folder / "tokenizer.json", "{"), "the tokenizer is unreadable", id="damaged"),
    ],
)
def test_a_tokenizer_that_cannot_serve_is_refused(write, words, tmp_path):
    with pytest.raises(WeightsError, match=words):
        read_tokenizer(write(tmp_path))


def _written(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        param({}, "do not say by which tokenizer", id="none"),
        param({"tokenizer": "points"}, "do not say by which tokenizer", id="no-mapping"),
        param({"tokenizer": {"type": "json", "json": "{"}}, "the tokenizer in its header is unreadable", id="damaged"),
    ],
)
def test_a_header_without_a_tokenizer_is_refused(extra, words):
    with pytest.raises(WeightsError, match=words):
        tokenizer_from(extra, "a.safetensors")
