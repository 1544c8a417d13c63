from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_dense import dense_samples, image, judge_by_letters, plain_dense, plain_merge

from regionkit.core.contracts import Sample
from regionkit.core.errors import DataError, MissingExtra
from regionkit.core.features import Caption
from regionkit.core.regions import Box, WholeImage
from regionkit.core.testing import check_metric
from regionkit.plugins.caption_metrics.regions.dense import DenseMap
from regionkit.plugins.caption_metrics.regions.dense_configs import DenseMapConfig
from regionkit.plugins.caption_metrics.regions.dense_matching import merge
from regionkit.plugins.caption_metrics.regions.dense_precision import OVERLAPS, SIMILARITIES, evaluate

ROOT = Path(__file__).parents[3]
OWN = ROOT / "tests" / "golden" / "caption_metrics" / "dense.json"
OFFICIAL = ROOT.parent / "shared" / "golden" / "metrics" / "densecap_cases.json.gz"
HAND = json.loads(OWN.read_text())
VARIANTS = {
    "torchvision": {},
    "lua": {"variant": "lua"},
    "torchvision_count_empty": {"count_empty": True},
    "torchvision_101pt": {"recall_points": 101},
}
CASES = "det_200 gtbox_tied_scores_100 perfect dup_consumes no_overlap_eats_last(lua) one_image_without_predictions"
BOXES_ALONE = DenseMapConfig(similarity="none")


def lookup(rows):
    known = {(caption, tuple(references)): value for caption, references, value in rows}
    return lambda captions, references: np.array(
        [known[caption, tuple(texts)] for caption, texts in zip(captions, references, strict=True)]
    )


@pytest.fixture(scope="module")
def official():
    if not OFFICIAL.is_file():
        pytest.skip(f"the official cases are not here ({OFFICIAL}); their captions may not be distributed")
    return json.loads(gzip.decompress(OFFICIAL.read_bytes()))


@pytest.fixture(scope="module")
def table(official, tmp_path_factory):
    path = tmp_path_factory.mktemp("dense") / "meteor.json"
    path.write_text(json.dumps(official["_meteor_cache"]))
    return str(path)


def official_images(case):
    return [
        image(at, one["boxes"], one["scores"], one["text"], one["gt_boxes"], [[text] for text in one["gt_text"]])
        for at, one in enumerate(case["images"])
    ]


@pytest.mark.parametrize("variant", [pytest.param(name, id=name) for name in VARIANTS])
@pytest.mark.parametrize("case", [pytest.param(name, id=name) for name in CASES.split()])
def test_values_equal_the_official_ones(official, table, case, variant):
    metric = DenseMap(DenseMapConfig(similarity="table", table=table, tie_orders=2, **VARIANTS[variant]))
    metric.update(*dense_samples(official_images(official[case])))
    score, expected = metric.compute(), official[case]["expected"][variant]
    assert score.value == pytest.approx(expected["map"], abs=1e-9)
    assert score.parts["detection"].value == pytest.approx(expected["detmap"], abs=1e-9)
    assert f"|truths={expected['npos']}|" in score.signature
    for row, overlap in enumerate(OVERLAPS):
        found = metric._result.precision[row]
        assert found == pytest.approx([expected["ap"][f"{overlap}|{one:g}"] for one in SIMILARITIES], abs=1e-9)


def test_ties_of_captioned_ground_truth_are_worth_points(official):
    """The stable order gives .47586; 60 random orders of the torch port's two sorts gave .4477 to .5018."""
    judge = lookup(official["_meteor_cache"])
    ties = evaluate(official_images(official["gtbox_tied_scores_100"]), judge, tie_orders=300).ties
    assert (ties.share, ties.sorted.exact) == (1, False)
    assert ties.sorted.mean == pytest.approx(0.4746, abs=4 * 0.0128 / 300**0.5)
    assert ties.sorted.deviation == pytest.approx(0.0128, abs=0.002)
    assert ties.broken.mean == pytest.approx(0.5647, abs=4 * 0.0154 / 300**0.5)


@pytest.mark.slow
def test_the_recorded_similarities_are_those_of_meteor(official):
    rows = [row for row in official["_meteor_cache"] if row[1]]
    try:
        judge = DenseMap(DenseMapConfig()).judge
    except MissingExtra as error:
        pytest.skip(str(error))
    found = judge.similarity([row[0] for row in rows], [row[1] for row in rows])
    assert np.abs(found - [row[2] for row in rows]).max() < 1e-9


@pytest.mark.parametrize(
    ("case", "options"),
    [
        pytest.param(case, options, id=f"{case['name']}-{options or 'default'}")
        for case in HAND["cases"]
        for options in case["expected"]
    ],
)
def test_values_equal_those_worked_out_by_hand(case, options):
    result = evaluate(
        [image(at, **one) for at, one in enumerate(case["images"])],
        lookup(HAND["similarity"]),
        inclusive="lua" in options,
        count_empty="count_empty" in options,
        recall_points=101 if "recall_101" in options else 100,
    )
    found = {"value": result.value, "detection": result.detection.mean(), "truths": result.truths}
    for key, value in case["expected"][options].items():
        assert found[key] == pytest.approx(value, abs=1e-12), case["why"]


CORNER = st.integers(0, 5)
BOX = st.tuples(CORNER, CORNER, st.integers(1, 4), st.integers(1, 4)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
WORD = st.sampled_from("abcdefg")


@st.composite
def data_sets(draw, *, most=5, distinct=False):
    images, count = [], 0
    for at in range(draw(st.integers(1, 3))):
        found = draw(st.lists(st.tuples(BOX, WORD), max_size=most))
        truth = draw(st.lists(st.tuples(BOX, WORD), max_size=4))
        scores = [draw(st.sampled_from([0.2, 0.5, 0.9])) for _ in found]
        if distinct:
            scores = [score + 0.001 * (count + index) for index, score in enumerate(scores)]
        count += len(found)
        boxes, words = [one[0] for one in found], [one[1] for one in found]
        images.append(image(at, boxes, scores, words, [one[0] for one in truth], [[one[1]] for one in truth]))
    return images


@settings(max_examples=50, deadline=None)
@given(data_sets())
def test_values_equal_the_plain_ones(images):
    stable = range(100)
    assert evaluate(images, judge_by_letters, tie_orders=2).value == pytest.approx(
        plain_dense(images, judge_by_letters, stable, stable), abs=1e-12
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 9), st.data())
def test_boxes_are_merged_as_one_after_the_other(count, data):
    overlaps = np.eye(count)
    for at, other in zip(*np.triu_indices(count, 1), strict=True):
        overlaps[at, other] = overlaps[other, at] = data.draw(st.sampled_from([0, 0.65, 0.7, 0.9]))
    assert [group.tolist() for group in merge(overlaps.copy())] == plain_merge(overlaps)


@settings(max_examples=30, deadline=None)
@given(data_sets(distinct=True), st.randoms(use_true_random=False))
def test_without_ties_no_order_counts(images, shuffle):
    result = evaluate(images, judge_by_letters)
    assert result.ties.share == 0
    assert result.ties.sorted == result.ties.broken
    assert (result.ties.sorted.mean, result.ties.sorted.deviation) == (result.value, 0)
    turned = []
    for one in shuffle.sample(images, len(images)):
        order = shuffle.sample(range(len(one.scores)), len(one.scores))
        said = tuple(one.captions[at] for at in order)
        turned.append(dataclasses.replace(one, boxes=one.boxes[order], scores=one.scores[order], captions=said))
    assert evaluate(turned, judge_by_letters).value == pytest.approx(result.value, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(data_sets(distinct=True), st.data())
def test_a_duplicate_behind_its_original_never_helps(images, data):
    full = [at for at, one in enumerate(images) if len(one.scores)]
    if not full:
        return
    one = images[data.draw(st.sampled_from(full))]
    at = data.draw(st.sampled_from(range(len(one.scores))))
    more = dataclasses.replace(
        one,
        boxes=np.concatenate([one.boxes, one.boxes[at : at + 1]]),
        scores=np.append(one.scores, one.scores[at] - 1e-6),
        captions=(*one.captions, one.captions[at]),
    )
    again = [more if other is one else other for other in images]
    assert evaluate(again, judge_by_letters).value <= evaluate(images, judge_by_letters).value + 1e-12


@settings(max_examples=30, deadline=None)
@given(data_sets(), st.floats(0, 0.3))
def test_a_kinder_judge_never_lowers_the_value(images, more):
    kinder = evaluate(images, lambda *texts: judge_by_letters(*texts) + more, tie_orders=2)
    assert kinder.value >= evaluate(images, judge_by_letters, tie_orders=2).value - 1e-12
    assert kinder.detection.mean() >= kinder.value - 1e-12


TRUTH = ({"box": [0, 0, 10, 10], "caption": "a cat"}, (50, 50, 90, 90, ["a car", "a red car"]))


def sample(name, box=(0, 0, 10, 10), image_id="p", truth=TRUTH, **info):
    region = WholeImage() if box is None else Box(*box)
    return Sample(name, image_id, region, ("a cat",), {"ground_truth": truth, **info})


def recorded(tmp_path, **options):
    path = tmp_path / "table.json.gz"
    rows = [["a cat", ["a cat"], 1.0], ["a dog", ["a cat"], 0.12], ["a car", ["a car", "a red car"], 1.0]]
    path.write_bytes(gzip.compress(json.dumps(rows).encode()))
    return DenseMap(DenseMapConfig(similarity="table", table=str(path), **options))


def test_captions_of_a_decoder_are_ranked_by_their_likelihood(tmp_path):
    metric = recorded(tmp_path)
    samples = [sample("1", (50, 50, 90, 90)), sample("2"), sample("3", (200, 200, 220, 220))]
    metric.update_from(samples, [Caption("a car", -1000.0), Caption("a cat", -2000.0), Caption("a cow", -3000.0)])
    score = metric.compute()
    assert score.value == 1
    assert tuple(score.parts) == metric.parts == ("", "detection", "tie-expected", "tie-spread", "tie-broken")
    assert [part.value for part in score.parts.values()] == [1, 1, 1, 0, 1]
    assert score.per_sample is None
    assert score == metric.compute()
    assert "|confidence=likelihood|ties=below 1%|order=stable|truths=2|n=1" in score.signature


def test_plain_captions_are_tied_and_the_signature_says_so(tmp_path):
    metric = recorded(tmp_path, recall_points=101, count_empty=True, variant="lua")
    metric.update(
        [sample("1"), sample("2", (300, 300, 310, 310)), sample("3", None, "q", detections=0)],
        ["a dog", "x", "ignored"],
    )
    score = metric.compute()
    # One of four boxes is found, with a caption worth .12: in 3 of 6 columns, first of two in the order given.
    assert score.value == pytest.approx(26 / 101 * 3 / 6)
    assert score.parts["tie-expected"].value == pytest.approx(26 / 101 * 3 / 6 * 3 / 4)
    table = score.signature.split("|")[2]
    assert table.startswith("similarity=table@")
    assert score.signature == (
        f"dense-map|variant=lua|{table}|recall-points=101|count-empty=yes|confidence=uniform|ties=100%|order=stable|truths=4|n=2"
    )
    assert "|order=all 2|" in score.parts["tie-expected"].signature
    assert score.parts["detection"].signature.startswith("dense-map-detection|variant=lua|recall-points")


def test_a_confidence_of_the_sample_comes_first_unless_told_otherwise():
    samples = [sample("1", (200, 0, 210, 10), confidence=0.1), sample("2", confidence=0.2)]
    captions = [Caption("a cow", -1.0), Caption("a cat", -2.0)]
    values = {}
    for confidence in ("auto", "info", "likelihood", "uniform"):
        metric = DenseMap(dataclasses.replace(BOXES_ALONE, confidence=confidence))
        metric.update_from(samples, captions)
        score = metric.compute()
        assert f"confidence={'info' if confidence == 'auto' else confidence}|" in score.signature
        values[confidence] = score.value
    assert values == pytest.approx({"auto": 0.51, "info": 0.51, "likelihood": 0.255, "uniform": 0.255})


def test_boxes_alone_need_no_captions_and_no_java():
    metric = DenseMap(BOXES_ALONE)
    metric.prepare()
    metric.update([sample("1"), sample("2", (50, 50, 90, 90))], ["", ""])
    score = metric.compute()
    assert metric.parts[0] == "detection"
    assert score.value == score.parts["detection"].value == 1
    assert score.signature.startswith("dense-map-detection|variant=torch-port|recall-points=100|")


def test_no_java_is_said_before_anything_is_judged(monkeypatch):
    from regionkit.plugins.caption_metrics.java import meteor

    def missing(*_, who):
        raise MissingExtra(who, "pycocoevalcap", "meteor")

    monkeypatch.setattr(meteor, "find_meteor", missing)
    with pytest.raises(MissingExtra, match=r"metric 'dense-map' needs the package 'pycocoevalcap'"):
        DenseMap(DenseMapConfig())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param({"similarity": "table"}, "table must name the file", id="no-table"),
        pytest.param({"table": "x.json"}, "read with similarity: table alone, not with meteor", id="unused-table"),
        pytest.param({"tie_orders": 1}, "tie_orders must be 2 or more, not 1", id="one-order"),
    ],
)
def test_options_that_cannot_be_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        DenseMapConfig(**options)


def test_equal_ground_truths_need_not_be_one_object():
    metric = DenseMap(BOXES_ALONE)
    metric.update([sample("1"), sample("2", (50, 50, 90, 90), truth=[(0, 0, 10, 10, "a cat"), TRUTH[1]])], ["", ""])
    assert metric.compute().value == 1


def test_a_table_that_lacks_a_caption_names_it(tmp_path):
    metric = recorded(tmp_path)
    metric.update([sample("1")], ["a mouse"])
    with pytest.raises(DataError, match=r"table.json.gz: 1 of 1 captions are not in this table, such as 'a mouse'"):
        metric.compute()


def test_a_table_of_another_form_is_refused(tmp_path):
    (tmp_path / "t.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match=r"t.json: a table of similarities is a list of"):
        DenseMap(DenseMapConfig(similarity="table", table=str(tmp_path / "t.json")))


@pytest.mark.parametrize("values", [pytest.param([np.nan], id="nan"), pytest.param([1.0, 2.0], id="too-many")])
def test_a_similarity_that_gives_no_number_a_caption_is_refused(values):
    with pytest.raises(DataError, match="the similarity of 1 captions is no list of as many finite numbers"):
        evaluate([image("p", [(0, 0, 1, 1)], [1], ["a"], [(0, 0, 1, 1)], [["b"]])], lambda *_: np.array(values))


def test_it_keeps_what_metrics_promise():
    truth = [(0, 0, 10, 10, "a red dog"), (20, 20, 40, 40, "a cup")]
    boxes = [(0, 0, 10, 9), (20, 20, 40, 40), (0, 0, 9, 10), (60, 60, 70, 70)]
    samples = [
        dataclasses.replace(sample(str(at), box, f"image-{at % 2}", truth, confidence=0.1 * at), references=(f"{at}",))
        for at, box in enumerate(boxes)
    ]
    samples.append(sample("empty", None, "image-9", truth, detections=0))
    check_metric(lambda: DenseMap(dataclasses.replace(BOXES_ALONE, count_empty=True)), samples)
