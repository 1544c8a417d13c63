"""Objects that captions name and pictures do not show, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regionkit.core.contracts import BuildContext, Sample
from regionkit.core.errors import DataError
from regionkit.core.regions import WholeImage
from regionkit.core.testing import check_metric, example_samples
from regionkit.plugins.caption_metrics.words.chair import Chair, read_synonyms
from regionkit.plugins.caption_metrics.words.configs import ChairConfig
from regionkit.plugins.caption_metrics.words.lexicon import Lexicon, plurals_of, with_plurals
from regionkit.registry.assembly import build

SYNONYMS = """\
person, man, woman, child, baby, passenger, adult
dog, puppy
bird, cub
train, passenger train car
tie
couch, sofa, settee

chair, seat
toilet, urinal
hot dog
traffic light, stop light
bear, teddy bear, panda
dining table, table, plate
Knife
"""


@pytest.fixture
def synonyms(tmp_path):
    path = tmp_path / "synonyms.txt"
    path.write_text(SYNONYMS, encoding="utf-8")
    return str(path)


def chair(path: str, **options: object) -> Chair:
    return Chair.build(ChairConfig(synonyms=path, **options), BuildContext())


def sample(*references: str, name: str = "s1", **info: object) -> Sample:
    return Sample(name, "i1", WholeImage(), references, info)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        pytest.param("A puppy on a sofa.", ["dog", "couch"], id="synonyms"),
        pytest.param("two puppies, two couches", ["dog", "couch"], id="plurals"),
        pytest.param("women and children with knives", ["person", "person", "knife"], id="irregular"),
        pytest.param("a baby and a baby bird", ["person", "bird"], id="baby-animal"),
        pytest.param("adult birds", ["bird"], id="adult-animals"),
        pytest.param("a baby giraffe", [], id="an-animal-that-no-lexicon-holds"),
        pytest.param("passengers in a passenger train", ["person", "train"], id="passenger-vehicle"),
        pytest.param("a man in a bow tie", ["person", "tie"], id="bow-tie"),
        pytest.param("a toilet seat", ["toilet"], id="toilet-seat"),
        pytest.param("a toilet with its seat up", ["toilet"], id="the-seat-of-a-toilet"),
        pytest.param("a urinal and a seat", ["toilet", "chair"], id="only-of-what-is-called-a-toilet"),
        pytest.param("a seat", ["chair"], id="a-seat"),
        pytest.param("a hot dog and hot dogs", ["hot dog", "hot dog"], id="longest-form"),
        pytest.param("stop lights", ["traffic light"], id="two-words"),
        pytest.param("a batter at home plate", [], id="home-plate"),
        pytest.param("a dog on a train track, dogs on train tracks", ["dog", "dog"], id="train-track"),
        pytest.param("a teddy bear", ["bear"], id="the-lexicon-wins-over-the-rules"),
        pytest.param("a dogged catcher", [], id="whole-words"),
        pytest.param("", [], id="empty"),
    ],
)
def test_the_objects_that_a_caption_names(synonyms, caption, expected):
    assert chair(synonyms).objects(caption) == expected


def test_counted_by_hand(synonyms):
    metric = chair(synonyms)
    samples = [
        sample("a man with a puppy", objects=["couch"]),
        sample("a woman", "a seat"),
        sample("a bird"),
        sample("a bird"),
    ]
    # wrong / named: 1 / 4 (the chair); 2 / 3 (the dog, twice); 0 / 1; none named.
    captions = ["a dog and a man on a sofa and a chair", "a person, a dog and a puppy", "birds", "a field"]
    metric.update(samples, captions)
    score = metric.compute()
    assert score.per_sample == (1.0, 1.0, 0.0, 0.0)
    assert score.value == score.parts["sentences"].value == 0.5
    instances = score.parts["instances"]
    assert instances.value == 3 / 8
    assert instances.per_sample == (1 / 4, 2 / 3, 0.0, 0.0)
    assert instances.statistics.tolist() == [[1, 4], [2, 3], [0, 1], [0, 0]]
    digest = metric.lexicon.digest
    assert score.signature == f"chair-sentences|objects=both|stated=1|tokeniser=ptb|lexicon={digest}|n=4"
    assert instances.signature.startswith("chair-instances|objects=both|stated=1|count=mentions|")


def test_counted_as_objects_a_repeated_mention_is_one(synonyms):
    metric = chair(synonyms, count="objects")
    metric.update([sample("a woman")], ["a person, a dog and a puppy"])
    assert metric.compute().parts["instances"].value == 1 / 2


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        pytest.param("both", 0.0, id="both"),
        pytest.param("stated", 1 / 2, id="stated"),
        pytest.param("references", 1 / 2, id="references"),
    ],
)
def test_what_a_picture_shows(synonyms, objects, expected):
    metric = chair(synonyms, objects=objects)
    metric.update([sample("a man", objects=["Settee"])], ["a man on a sofa"])
    assert metric.compute().parts["instances"].value == expected


@pytest.mark.parametrize(
    ("objects", "one", "message"),
    [
        pytest.param("both", sample(), r"has no info\['objects'\] or a reference caption", id="both"),
        pytest.param("stated", sample("a man"), r"has no info\['objects'\]", id="stated"),
        pytest.param("references", sample(objects=["couch"]), "has no reference caption", id="references"),
    ],
)
def test_a_picture_of_which_nothing_is_known_is_named(synonyms, objects, one, message):
    with pytest.raises(DataError, match=f"chair: sample 's1' {message}, so nothing says what its picture shows"):
        chair(synonyms, objects=objects).update([one], ["a man"])


def test_a_data_set_brings_its_nouns():
    class Data:
        def lexicon(self, kind):
            assert kind == "nouns"
            return {"dog": "dog", "dogs": "dog"}

    metric = Chair.build(ChairConfig(), BuildContext(parts={"dataset": Data()}))
    metric.update([sample(objects=["dog"]), sample(objects=[])], ["baby dogs, a hot dog", "two dogs"])
    assert metric.compute().parts["instances"].statistics.tolist() == [[0, 1], [1, 1]]


def test_in_the_mini_world_a_caption_may_name_what_lies_beside_its_region():
    dataset = build("dataset", "mini")
    samples = dataset.samples("mask", "test", 0, 8)
    metric = Chair.build(ChairConfig(), BuildContext(parts={"dataset": dataset}))
    metric.update(samples, [f"a {' and a '.join(one.info['objects'])}" for one in samples])
    metric.update(samples[:1], ["a dog and a cactus and a guitar and a bell and a penguin and a panda and a fox"])
    score = metric.compute()
    assert score.per_sample == (0.0,) * len(samples) + (1.0,)
    assert f"stated={len(samples) + 1}" in score.signature


def test_without_a_lexicon_it_says_what_to_give():
    with pytest.raises(DataError, match="neither a data set nor a file of synonyms was given") as caught:
        Chair.build(ChairConfig(), BuildContext())
    assert "synonyms: FILE" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "cannot be read", id="missing"),
        pytest.param(b"\xff\xfe\x00", "cannot be read: it is no UTF-8 text", id="no-text"),
        pytest.param(b" ,\n\n", "holds no name", id="no-name"),
    ],
)
def test_a_file_of_synonyms_that_cannot_be_used(tmp_path, content, message):
    path = tmp_path / "synonyms.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        chair(str(path))


def test_of_two_lines_with_the_same_name_the_later_counts(tmp_path):
    path = tmp_path / "synonyms.txt"
    path.write_text("cup, glass\nwine glass, glass\n", encoding="utf-8")
    forms = read_synonyms(str(path))
    assert (forms["glass"], forms["glasses"], forms["cups"]) == ("wine glass", "wine glass", "cup")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        pytest.param("dog", ("dogs",), id="regular"),
        pytest.param("bench", ("benches",), id="sibilant"),
        pytest.param("puppy", ("puppies",), id="y"),
        pytest.param("toy", ("toys",), id="vowel-y"),
        pytest.param("fireman", ("firemen",), id="men"),
        pytest.param("human", ("humans",), id="no-men"),
        pytest.param("potato", ("potatos", "potatoes"), id="o"),
        pytest.param("person", ("people", "persons"), id="irregular-and-regular"),
        pytest.param("sheep", ("sheeps",), id="unchanged-or-regular"),
        pytest.param("wine glass", ("wine glasses",), id="last-word"),
    ],
)
def test_plurals(form, expected):
    assert plurals_of(form) == expected


def test_a_plural_never_takes_the_place_of_a_form():
    assert with_plurals({"glass": "cup", "glasses": "spectacles"})["glasses"] == "spectacles"


def test_lexicons_of_other_forms_have_other_digests():
    assert Lexicon({"a": "b"}).digest == Lexicon({"a": "b"}).digest != Lexicon({"a": "c"}).digest


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)).map(sorted), min_size=1, max_size=6))
@settings(deadline=None, max_examples=30)
def test_pooled_sums_are_the_share_of_all_mentions(rows):
    sums = np.array(rows, dtype=float)
    total = Chair.pool("instances", sums.sum(0)[None])
    wrong, named = sums.sum(0)
    assert total.tolist() == [wrong / named if named else 0.0]


def test_what_samples_must_carry_follows_from_the_option(synonyms):
    assert chair(synonyms, objects="stated").needs == ("objects",)
    assert chair(synonyms, objects="references").needs == ("references",)
    assert chair(synonyms).needs == ("objects|references",)


@pytest.mark.parametrize("stated", [True, False], ids=["stated", "from-references"])
def test_conforms(stated):
    lexicon = {noun: noun for one in example_samples() for noun in one.info["nouns"]}
    samples = [
        Sample(s.id, s.image_id, s.region, s.references, {"objects": s.info["nouns"]}) for s in example_samples()
    ]
    check_metric(lambda: Chair(ChairConfig(), lexicon), samples if stated else None)
