"""Tokenizers of language models: words of a corpus, folders of the hub, the text in a header."""

import json
import pickle

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from regionkit.core.errors import MissingExtra, WeightsError
from regionkit.core.language import tokenizers
from regionkit.core.language.tokenizers import LanguageTokenizer

CORPUS = ("A small dog's bone, on GRASS .", "a blue-green cat 🐈")


@pytest.fixture
def words():
    return LanguageTokenizer.of_words(CORPUS)


def test_words_are_those_of_the_corpus_in_any_order(words):
    assert LanguageTokenizer.of_words(CORPUS[::-1]) == words
    assert words.size == 4 + len({"a", "small", "dog's", "bone", ",", "on", "grass", ".", "blue-green", "cat", "🐈"})
    assert (words.pad, words.start, words.end) == (0, (1,), 2)


@pytest.mark.parametrize("text", ["a small dog's bone", "Grün 🐈\u0301", "<s> is no start", "a\tb\nc", ""])
def test_bytes_know_any_text(text):
    tokenizer = LanguageTokenizer.of_bytes()
    ids = tokenizer.encode_literally(text)
    assert (tokenizer.size, len(ids)) == (256 + 3, len(text.encode()))
    assert not {tokenizer.pad, tokenizer.end} & set(ids)
    assert tokenizer.decode(ids) == text
    assert LanguageTokenizer.of_extra(tokenizer.to_extra(), "x").encode_literally(text) == ids


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("a small cat", "a small cat", id="plain"),
        pytest.param("  A\n\tSmall  CAT ", "a small cat", id="case-and-space"),
        pytest.param("a cat, on grass.", "a cat , on grass .", id="signs"),
        pytest.param("a dog's bone", "a dog's bone", id="apostrophe"),
        pytest.param("a zebra", "a", id="unknown"),
        pytest.param("", "", id="empty"),
        pytest.param("🐈🐈", "🐈 🐈", id="emoji"),
        pytest.param("\x00\ufffd\u202e", "", id="odd"),
    ],
)
def test_words_come_back_joined_by_spaces(text, wanted, words):
    assert words.decode(words.encode_literally(text)) == wanted


def test_special_tokens_are_read_in_prompts_and_not_in_captions(words):
    assert words.encode("a </s> cat") == [words.id_of("a"), 2, words.id_of("cat")]
    literal = words.encode_literally("a </s> cat")
    assert literal == [words.id_of("a"), 3, 3, 3, 3, words.id_of("cat")]
    assert words.encode("a </s> cat") == [words.id_of("a"), 2, words.id_of("cat")]
    assert words.id_of("</s>") == 2
    assert words.id_of("zebra") is None
    assert words.decode_all([words.end]) == "</s>"


def test_ids_that_hold_a_text(words):
    assert words.ids_with("</s>") == (words.end,)
    held = words.ids_with("a")
    assert held == tuple(number for number in range(words.size) if "a" in words.decode_all([number]))
    assert words.id_of("cat") in held
    assert words.ids_with("a") is held


def test_header_and_pickle_bring_it_back(words):
    stored = json.loads(json.dumps(words.to_extra(), sort_keys=True))
    again = LanguageTokenizer.of_extra(stored, "file")
    other = pickle.loads(pickle.dumps(words))
    for one in (again, other):
        assert one.encode("a small cat </s>") == words.encode("a small cat </s>")
        assert one.decode([5, 6, 7]) == words.decode([5, 6, 7])
        assert (one.size, one.start, one.end, one.pad) == (words.size, words.start, words.end, words.pad)


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(None, id="none"),
        pytest.param([1], id="list"),
        pytest.param({"tokenizer": {"model": 3}, "end": 2, "pad": 0, "start": []}, id="no-tokenizer"),
        pytest.param({"tokenizer": {}, "pad": 0, "start": []}, id="no-end"),
    ],
)
def test_damaged_header_is_named(stored):
    with pytest.raises(WeightsError, match=r"one\.safetensors: the tokenizer in its header cannot be read"):
        LanguageTokenizer.of_extra(stored, "one.safetensors")


def test_end_that_is_no_id_is_a_damaged_header(words):
    with pytest.raises(WeightsError, match="cannot be read"):
        LanguageTokenizer.of_extra({**words.to_extra(), "end": words.size}, "one.safetensors")


def folder_in(path, **config):
    tokenizer = Tokenizer(models.WordLevel({"<u>": 0, "<b>": 1, "<e>": 2, "a": 3, "cat": 4}, unk_token="<u>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<b> $A <e>", special_tokens=[("<b>", 1), ("<e>", 2)]
    )
    tokenizer.add_special_tokens(["<u>", "<b>", "<e>"])
    path.mkdir(exist_ok=True)
    tokenizer.save(str(path / "tokenizer.json"))
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<e>"} | config
    (path / "tokenizer_config.json").write_text(json.dumps({key: value for key, value in said.items() if value}))
    return path


def test_folder_says_start_end_and_padding(tmp_path):
    found = LanguageTokenizer.of_folder(folder_in(tmp_path / "one", pad_token="<u>"))
    assert (found.start, found.end, found.pad) == ((1,), 2, 0)
    assert found.encode("a cat") == [3, 4]
    assert LanguageTokenizer.of_folder(folder_in(tmp_path / "two")).pad == 2


def test_word_about_the_start_token_beats_the_template(tmp_path):
    without = folder_in(tmp_path / "without", bos_token="<b>")
    (without / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": {"content": "<e>"}, "bos_token": "<b>", "add_bos_token": False})
    )
    assert LanguageTokenizer.of_folder(without).start == ()
    bare = folder_in(tmp_path / "bare", eos_token=None)
    (bare / "special_tokens_map.json").write_text('{"eos_token": "<e>", "pad_token": {"content": "<u>"}}')
    assert (LanguageTokenizer.of_folder(bare).end, LanguageTokenizer.of_folder(bare).pad) == (2, 0)
    last = folder_in(tmp_path / "last", eos_token=None)
    (last / "config.json").write_text('{"eos_token_id": [2, 0]}')
    assert LanguageTokenizer.of_folder(last).end == 2


def test_faults_of_a_folder_are_named(tmp_path):
    with pytest.raises(WeightsError, match="there is no such folder, and a tokenizer was to be read from it"):
        LanguageTokenizer.of_folder(tmp_path / "nowhere")
    with pytest.raises(
        WeightsError, match=r"this folder has no tokenizer\n  looked for tokenizer\.json, tokenizer\.model"
    ):
        LanguageTokenizer.of_folder(tmp_path)
    with pytest.raises(WeightsError, match="its tokenizer has no end token"):
        LanguageTokenizer.of_folder(folder_in(tmp_path / "endless", eos_token=None))
    damaged = folder_in(tmp_path / "damaged")
    (damaged / "tokenizer.json").write_text("{")
    with pytest.raises(WeightsError, match="its tokenizer cannot be read: "):
        LanguageTokenizer.of_folder(damaged)


def test_sentencepiece_alone_names_what_reads_it(tmp_path, monkeypatch):
    (tmp_path / "tokenizer.model").write_bytes(b"model")
    monkeypatch.setattr(tokenizers, "_installed", lambda module: module != "google.protobuf")
    with pytest.raises(MissingExtra, match=r"needs the package 'protobuf'(.|\n)*regionkit\[sentencepiece\]"):
        LanguageTokenizer.of_folder(tmp_path)


def test_code_of_a_folder_is_never_run(tmp_path):
    place = folder_in(tmp_path / "one", auto_map={"AutoTokenizer": ["evil.Evil", None]}, tokenizer_class=None)
    (place / "evil.py").write_text("raise SystemExit('run')\n")
    assert LanguageTokenizer.of_folder(place).end == 2
    (place / "tokenizer.json").rename(place / "vocab.json")
    with pytest.raises(WeightsError, match="its tokenizer cannot be read"):
        LanguageTokenizer.of_folder(place)
