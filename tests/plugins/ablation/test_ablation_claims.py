from __future__ import annotations

import itertools

import pytest
from ablation_fakes import write

from regionkit.core.contracts import Sample
from regionkit.core.errors import ConfigError
from regionkit.core.regions import WholeImage
from regionkit.core.results import MetricRow, ResultStore, SampleRow, TrialResult
from regionkit.core.statistics import Evidence, compare, compare_evidence
from regionkit.plugins.ablation.claims import Pair, TrialAxes, match_trials, parse_claim
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.verdicts import Verdict, judge_pairs
from regionkit.plugins.caption_metrics.overlap.configs import BleuConfig
from regionkit.plugins.caption_metrics.overlap.metrics import Bleu

DATA = "data: [box@t-colours]\nmetrics: [noun-f1]\ngrid: {bridge: [none, {name: t-shift, amount: [0.1, 0.2]}]}\n"


def claim(say="bridge=a > bridge=b", **more):
    problems = []
    found = parse_claim({"say": say, "on": "d", "by": "m", **more}, "claims.0", lambda *args: problems.append(args))
    assert not problems, problems
    return found


def trial(name, seed=0, data="d", **labels):
    names = {axis: label.partition("(")[0] for axis, label in labels.items()}
    return TrialAxes(name, data, seed, labels, names)


def test_less_than_is_the_same_claim_the_other_way_round():
    found = claim("bridge = memory(temperature=0.05) < bridge=none")
    assert (found.axis, found.better, found.worse) == ("bridge", "none", "memory(temperature=0.05)")


@pytest.mark.parametrize(
    ("say", "within", "differences", "shown"),
    [
        pytest.param("bridge=a > bridge=b", 0.1, (-0.05, 0.0), True, id="hardly-worse"),
        pytest.param("bridge=a > bridge=b", 0.1, (-0.3, -0.2), False, id="much-worse"),
        pytest.param("bridge=a > bridge=b", 0.1, (0.2, 0.3), True, id="better-is-not-worse"),
        pytest.param("bridge=a ~ bridge=b", 0.1, (-0.05, 0.05), True, id="alike"),
        pytest.param("bridge=a ~ bridge=b", 0.1, (0.2, 0.3), False, id="better-is-not-alike"),
    ],
)
def test_a_claim_with_a_tolerance_holds_where_the_whole_interval_keeps_to_it(say, within, differences, shown):
    found = compare(list(differences) * 50, list(range(100)))
    verdict = Verdict(claim(say, within=within), "d", "m", found)
    assert verdict.shown is shown
    assert verdict.claim.text == f"{say} (within 0.1)"


@pytest.mark.parametrize(
    ("say", "more", "words"),
    [
        pytest.param("bridge=a ~ bridge=b", {}, "a claim that two values are alike needs `within`", id="no-tolerance"),
        pytest.param("bridge=a > bridge=b", {"within": -1}, "'-1' is no number of 0 or more", id="negative"),
        pytest.param("bridge=a > bridge=b", {"within": "much"}, "'much' is no number of 0 or more", id="a-word"),
    ],
)
def test_tolerances_that_say_nothing_are_mistakes(say, more, words):
    problems = []
    parse_claim({"say": say, "on": "d", "by": "m", **more}, "claims.0", lambda *args: problems.append(args))
    assert problems[0][1] == words


def test_trials_are_matched_on_all_other_axes_and_the_seed():
    trials = [
        trial(f"{bridge}{encoder}{seed}", seed, bridge=bridge, encoder=encoder)
        for bridge, encoder, seed in itertools.product("abc", "xy", (0, 1))
    ]
    pairs = match_trials(claim(), "d", trials, {"bridge"})
    assert {(pair.seed, pair.better, pair.worse) for pair in pairs} == {
        (seed, (f"a{encoder}{seed}",), (f"b{encoder}{seed}",)) for encoder in "xy" for seed in (0, 1)
    }
    assert len(match_trials(claim(where={"encoder": "x"}), "d", trials, {"bridge"})) == 2
    assert match_trials(claim(), "other", trials, {"bridge"}) == []


def test_a_name_stands_for_all_labels_of_that_part():
    trials = [trial("1", bridge="a(t=1)"), trial("2", bridge="a(t=2)"), trial("3", bridge="b")]
    assert match_trials(claim(), "d", trials, {"bridge"})[0].better == ("1", "2")
    assert match_trials(claim("bridge=a(t=2) > bridge=b"), "d", trials, {"bridge"})[0].better == ("2",)


def test_axes_that_change_together_need_not_agree():
    trials = [trial("1", bridge="a", decoder="x"), trial("2", bridge="b", decoder="y")]
    assert match_trials(claim(), "d", trials, {"bridge"}) == []
    assert len(match_trials(claim(), "d", trials, {"bridge", "decoder"})) == 1


def test_a_claim_that_matches_nothing_says_what_there_is(tmp_path):
    text = """claims:
  - {say: "bridge=t-shift > bridge=memory", on: box@t-colours, by: noun-f1}
  - {say: "bridge=t-shift > bridge=none", on: boxes@t-colours, by: cider-d, where: {backbone: t-grit}}
  - {say: "bridge=none > decoder=none", on: box@t-colours, by: noun-f1}
  - {say: "bridge=t-shift > bridge=none", on: box@t-colours, by: noun-f1, wher: {}}
"""
    with pytest.raises(ConfigError) as error:
        plan_ablation(write(tmp_path, DATA + text))
    rows = str(error.value).splitlines()
    assert any("ablation.yaml:13:" in row and "compares two axes" in row for row in rows), rows
    assert any("ablation.yaml:14:" in row and "unknown key" in row for row in rows)
    assert "no data set of this ablation is called 'boxes@t-colours'" in str(error.value)
    assert "did you mean: box@t-colours" in str(error.value)
    assert "no metric of this ablation is called 'cider-d'" in str(error.value)


def test_unknown_values_are_told_with_those_that_there_are(tmp_path):
    text = """claims:
  - {say: "bridge=t-shift > bridge=memory", on: box@t-colours, by: noun-f1}
  - {say: "bridge=t-shift > bridge=none", on: box@t-colours, by: noun-f1, where: {backbone: t-grit, colour: red}}
"""
    with pytest.raises(ConfigError) as error:
        plan_ablation(write(tmp_path, DATA + text))
    message = str(error.value)
    assert "ablation.yaml:11: claims.0.say: no trial that fits has bridge = 'memory'" in message
    assert "there is: none, t-shift, t-shift(amount=0.1), t-shift(amount=0.2)" in message
    assert "no trial that fits has backbone = 't-grit'" in message
    assert "no axis is called 'colour'" in message


def test_a_claim_whose_sides_never_agree_elsewhere_is_told(tmp_path):
    text = """include: [{bridge: {name: t-shift, amount: 0.9}, backbone.grid: 2}]
claims: [{say: "bridge=t-shift(amount=0.9) > bridge=none", on: box@t-colours, by: noun-f1}]
"""
    with pytest.raises(ConfigError, match="on box@t-colours matches no pair of trials"):
        plan_ablation(write(tmp_path, DATA + text))


def test_a_label_means_itself_and_not_all_of_its_part():
    trials = [trial("1", bridge="a"), trial("2", bridge="a(t=2)"), trial("3", bridge="b")]
    (pair,) = match_trials(claim("bridge=a(t=2) > bridge=a"), "d", trials, {"bridge"})
    assert (pair.better, pair.worse) == (("2",), ("1",))
    (pair,) = match_trials(claim("bridge=a > bridge=b"), "d", trials, {"bridge"})
    assert pair.better == ("1",)


def test_words_of_a_claim_are_those_of_labels():
    trials = [trial(bridge + flip, bridge=bridge, flip=flip) for bridge in "ab" for flip in ("true", "false")]
    assert len(match_trials(claim(where={"flip": True}), "d", trials, {"bridge"})) == 1


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        pytest.param('say: "bridge=none > bridge=none"', "both sides of 'bridge=none > bridge=none'", id="one-value"),
        pytest.param(
            'say: "bridge=t-shift > bridge=t-shift(amount=0.1)"',
            "speak of the same trials\n  the values of bridge are: none, t-shift(amount=0.1), t-shift(amount=0.2)",
            id="value-and-its-part",
        ),
        pytest.param(
            'say: "bridge=t-shift > bridge=none", must: "no"', "claims.0.must: 'no' is neither true nor", id="must"
        ),
    ],
)
def test_a_claim_that_decides_nothing_is_told(tmp_path, entry, message):
    with pytest.raises(ConfigError) as error:
        plan_ablation(write(tmp_path, f"{DATA}claims:\n  - {{{entry}, on: box@t-colours, by: noun-f1}}\n"))
    assert message in str(error.value)


def stored(samples, values, *, higher=True, signatures=None):
    """Return a store with trials whose samples have these values of the metric ``m``."""
    store, signatures = ResultStore(None), signatures or {}
    for name, numbers in values.items():
        rows = tuple(SampleRow(sample, image, "a caption") for sample, image in samples)
        metric = MetricRow("m", 0.0, signatures.get(name, ""), higher, tuple(numbers))
        store.save(TrialResult(name, "d", 0, {}, "done", "", rows, (metric,), {}))
    return store


def test_a_picture_under_several_seeds_is_one_scene():
    samples = [(f"s{at}", f"i{at // 2}") for at in range(4)]
    pairs = [Pair(seed, (f"a{seed}",), (f"b{seed}",)) for seed in (0, 1, 2)]
    store = stored(samples, {f"{side}{seed}": [value] * 4 for side, value in (("a", 1), ("b", 0)) for seed in range(3)})
    found = judge_pairs(claim(), "d", "m", pairs, store).comparison
    assert (found.n, found.groups) == (12, 2)
    assert found.p > 0.3  # twelve equal differences, and yet two scenes prove nothing


@pytest.mark.parametrize("higher", [True, False])
def test_better_is_less_where_less_is_better(higher):
    samples = [(f"s{at}", f"i{at}") for at in range(10)]
    store = stored(samples, {"a": [0.2] * 10, "b": [0.7] * 10}, higher=higher)
    verdict = judge_pairs(claim(), "d", "m", [Pair(0, ("a",), ("b",))], store)
    assert verdict.comparison.difference == pytest.approx(-0.5 if higher else 0.5)
    assert verdict.shown is not higher


@pytest.mark.parametrize(
    ("more", "decided"),
    [pytest.param({}, False, id="refused"), pytest.param({"any_signature": True}, True, id="told-to")],
)
def test_scores_of_two_signatures_are_compared_only_when_told_to(more, decided):
    samples = [(f"s{at}", f"i{at}") for at in range(10)]
    store = stored(samples, {"a": [0.7] * 10, "b": [0.2] * 10}, signatures={"a": "m|idf=x|n=10", "b": "m|idf=y|n=10"})
    verdict = judge_pairs(claim(**more), "d", "m", [Pair(0, ("a",), ("b",))], store)
    assert (verdict.comparison is not None) is decided
    told = "" if decided else "the scores are not comparable: idf: x against y; any_signature: true compares them"
    assert verdict.reason.startswith(told)
    assert bool(verdict.reason) is not decided


def test_a_flag_that_is_no_flag_is_a_mistake():
    problems = []
    entry = {"say": "bridge=a > bridge=b", "on": "d", "by": "m", "any_signature": "maybe"}
    parse_claim(entry, "claims.0", lambda *args: problems.append(args))
    hint = "write any_signature: true to compare scores whose signatures differ"
    assert problems == [("claims.0.any_signature", "'maybe' is neither true nor false", hint)]


def corpus(store, name, rows, seed=0):
    """Store a trial with BLEU's statistics of samples, one picture each."""
    value = float(Bleu.pool("1", rows.sum(0, keepdims=True))[0])
    metric = MetricRow("bleu-1", value, "", True, (0.0,) * len(rows), rows, {}, "bleu", "1")
    taken = tuple(SampleRow(f"s{at}", f"s{at}", "a caption") for at in range(len(rows)))
    store.save(TrialResult(name, "d", seed, {}, "done", "", taken, (metric,), {}))


def bleu_rows(seed, good):
    """Return statistics of captions of which a share of the words is right, long ones less than short ones."""
    refs = ["a b c d e f g h", "a b"]
    metric = Bleu(BleuConfig())
    samples = [Sample(str(at), str(at), WholeImage(), (refs[(at + seed) % 2],)) for at in range(12)]
    said = [("a b c d e x x x" if good else "a b x x x x x x") if (at + seed) % 2 == 0 else "a b" for at in range(12)]
    metric.update(samples, said)
    return metric.compute().parts["1"].statistics


def test_corpus_values_are_compared_as_such_and_no_means_over_samples():
    store = ResultStore(None)
    for name, good in (("a", True), ("b", False)):
        corpus(store, name, bleu_rows(0, good))
    here, there = (bleu_rows(0, good) for good in (True, False))

    def pool(sums):
        return Bleu.pool("1", sums)

    wanted = compare_evidence(Evidence(here, pool), Evidence(there, pool), [f"s{at}" for at in range(12)])
    found = judge_pairs(claim(by="bleu-1"), "d", "bleu-1", [Pair(0, ("a",), ("b",))], store).comparison
    assert found == wanted
    assert found.difference == pytest.approx((5 * 6 + 12) / 60 - (2 * 6 + 12) / 60)


def test_seeds_are_one_corpus_and_several_trials_of_a_side_are_averaged():
    store = ResultStore(None)
    for seed in (0, 1):
        for name, good in (("a", True), ("b", False), ("c", True)):
            corpus(store, f"{name}{seed}", bleu_rows(seed, good), seed)
    pairs = [Pair(seed, (f"a{seed}", f"c{seed}"), (f"b{seed}",)) for seed in (0, 1)]
    found = judge_pairs(claim(by="bleu-1"), "d", "bleu-1", pairs, store).comparison
    assert (found.n, found.groups) == (24, 12)
    assert found.difference == pytest.approx((5 * 6 + 12) / 60 - (2 * 6 + 12) / 60)
    turned = [Pair(pair.seed, pair.worse, pair.better) for pair in pairs]
    other = judge_pairs(claim(by="bleu-1"), "d", "bleu-1", turned, store)
    assert other.comparison.difference == pytest.approx(-found.difference)
    assert not other.shown
