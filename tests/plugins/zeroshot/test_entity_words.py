"""Vocabularies and their files; entities of sentences."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regionkit.core.errors import DataError, MissingExtra, RegionkitError
from regionkit.plugins.mini.lexicon import NOUNS, PLURALS
from regionkit.plugins.zeroshot.text_entities import EntityFinder, plurals
from regionkit.plugins.zeroshot.vocabularies import COCO, MINI, read_vocabulary

param = pytest.param
UPSTREAM = Path(__file__).parents[4] / "shared" / "data" / "upstream"


def test_the_mini_vocabulary_is_what_the_mini_world_draws() -> None:
    assert tuple(sorted(NOUNS)) == MINI


def test_shipped_vocabularies_are_sorted_lower_case_and_hold_each_word_once() -> None:
    for words in (COCO, MINI):
        assert list(words) == sorted({word.lower() for word in words})
    assert read_vocabulary("auto") == COCO


@pytest.mark.parametrize(
    ("name", "text"),
    [
        param("words.txt", "Dog\n hot dog \n\ndog\n", id="lines"),
        param("words.json", '["Dog", "hot dog"]', id="list"),
        param("words.json", '[{"id": 1, "name": "Dog"}, {"id": 2, "name": "hot dog"}]', id="records"),
        param("words.json", '{"categories": [{"name": "dog"}, {"name": "hot dog"}]}', id="categories"),
        param("words.json", '{"dog": 1, "hot dog": 2}', id="numbers"),
        param("words.json", '{"label_to_idx": {"x": 1}, "object_count": {"dog": 9, "hot dog": 2}}', id="counts"),
        param("words.json", '{"objects": {"vg": ["cat"], "joint": ["dog", "hot dog"]}}', id="joint"),
        param("words.csv", "LabelName,DisplayName\n/m/1,Dog\n/m/2,Hot dog (Food)\n", id="open-images"),
        param("words.csv", "dog\nhot dog\n", id="one-column"),
    ],
)
def test_files_of_words(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert read_vocabulary(f"file:{tmp_path / name}") == ("dog", "hot dog")


def test_a_pickle_of_words_is_read_without_running_it(tmp_path: Path) -> None:
    path = tmp_path / "all.pickle"
    path.write_bytes(pickle.dumps({"objects": {"gqa": {"cat"}, "joint": {"Dog", "hot dog"}}, "attributes": {}}))
    assert read_vocabulary(f"file:{path}") == ("dog", "hot dog")


def test_official_files_of_words() -> None:
    path = UPSTREAM / "vgcocooiobjects_v1_class2ind.json"
    if not path.is_file():
        pytest.skip(f"the official vocabularies are not here: {path}")
    assert len(read_vocabulary(f"file:{path}")) == 1848
    words = read_vocabulary(f"file:{UPSTREAM / 'all_objects_attributes_relationships.pickle'}")
    assert len(words) > 60_000
    assert "frisbee" in words


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        param("words.txt", "\n \n", "there are no words in this vocabulary", id="empty"),
        param("words.json", "[1, 2]", "the vocabulary cannot be read: it holds no list of words", id="numbers"),
        param("words.json", "[", "the vocabulary cannot be read: Expecting value: line 1 column 2 (char 1)", id="cut"),
    ],
)
def test_files_that_are_no_vocabulary_are_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_vocabulary(f"file:{path}")
    assert caught.value.message == f"{path}: {message}"
    assert "one word a line (.txt)" in caught.value.hints[0]


def test_words_are_looked_for_below_the_folder_of_data_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGIONKIT_DATA", str(tmp_path))
    (tmp_path / "own.txt").write_text("dog\n")
    assert read_vocabulary("file:own.txt") == ("dog",)
    with pytest.raises(DataError) as caught:
        read_vocabulary("file:other.txt")
    assert caught.value.message == "other.txt: no such file"
    assert str(tmp_path / "other.txt") in caught.value.hints[0]


def test_plurals_of_the_mini_world() -> None:
    assert all(PLURALS[noun] in plurals(noun) for noun in NOUNS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        param("A hot dog and two dogs.", ["hot dog", "dog"], id="longest-first"),
        param("dogs, a dog", ["dog"], id="once"),
        param("Three women hold tennis rackets", ["person", "tennis racket"], id="persons"),
        param("Knives beside buses", ["knife", "bus"], id="spellings"),
        param("the doghouse is dogged", [], id="whole-words"),
        param("", [], id="nothing"),
    ],
)
def test_words_of_a_vocabulary_in_a_sentence(text: str, found: list[str]) -> None:
    assert EntityFinder("vocabulary", COCO).find(text) == found


@given(st.lists(st.sampled_from(COCO), max_size=6))
@settings(max_examples=40, deadline=None)
def test_every_word_is_found_again(words: list[str]) -> None:
    assert EntityFinder("vocabulary", COCO).find(" , the ".join(words)) == list(dict.fromkeys(words))


def test_pieces_are_the_whole_sentence() -> None:
    pieces = list(EntityFinder("vocabulary", COCO).pieces("Two red hot dogs on grass"))
    assert pieces == [("two", ""), ("red", ""), ("hot dogs", "hot dog"), ("on", ""), ("grass", "")]


def fake_nltk(monkeypatch: pytest.MonkeyPatch, *, data: bool = True) -> None:
    """NLTK with a tagger that takes words from a list; its real models are downloads."""
    tags = {"dogs": "NNS", "photo": "NN", "man": "NN", "frisbee": "NN", "runs": "VBZ", "sky": "NN"}

    def tokenize(text: str) -> list[str]:
        if not data:
            raise LookupError("punkt_tab")
        return text.replace(".", " .").split()

    module = types.ModuleType("nltk")
    module.word_tokenize = tokenize  # type: ignore[attr-defined]
    module.pos_tag = lambda words: [(word, tags.get(word.lower(), "DT")) for word in words]  # type: ignore[attr-defined]
    stem = types.ModuleType("nltk.stem")
    stem.WordNetLemmatizer = lambda: types.SimpleNamespace(lemmatize=lambda word: word.removesuffix("s"))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nltk", module)
    monkeypatch.setitem(sys.modules, "nltk.stem", stem)


def test_nouns_as_the_release_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nltk(monkeypatch)
    text = "A photo of a man . Dogs runs under a sky with a frisbee."
    assert EntityFinder("nouns", COCO).find(text) == ["person", "dog", "sky", "frisbee"]
    assert EntityFinder("nouns", COCO, ("dog", "frisbee", "big sky")).find(text) == ["person", "dog", "frisbee"]


def test_without_nltk_or_its_models_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nltk(monkeypatch, data=False)
    with pytest.raises(RegionkitError) as caught:
        EntityFinder("nouns", COCO).find("a dog")
    assert caught.value.hints == (
        "fetch them once: python -m nltk.downloader punkt_tab averaged_perceptron_tagger_eng wordnet",
    )
    for name in ("nltk", "nltk.stem"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match="training_entities: nouns needs the package 'nltk'"):
        EntityFinder("nouns", COCO).find("a dog")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        param("words.txt", "dog\nowl\n", id="lines"),
        param("words.csv", "DisplayName,n\ndog,1\nowl,2\n", id="table"),
        param("words.json", '["dog", "owl"]', id="json"),
    ],
)
def test_a_mark_of_byte_order_before_the_first_word_is_no_part_of_it(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_vocabulary(f"file:{path}") == ("dog", "owl")


def test_words_of_two_bytes_a_character_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("dog\nowl\n".encode("utf-16-le"))
    with pytest.raises(DataError) as caught:
        read_vocabulary(f"file:{path}")
    assert caught.value.message == (
        f"{path}: the vocabulary cannot be read: it holds a character 0; if it is UTF-16, convert it: "
        "iconv -f utf-16 -t utf-8"
    )
