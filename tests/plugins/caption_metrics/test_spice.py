"""SPICE against a stand-in that keeps to the command line and files of the program, which itself was never run."""

from __future__ import annotations

import json
import math
import os
import platform
from pathlib import Path

import numpy as np
import pytest
from fake_java import lines_of, spice_body, write_java, write_spice

from regionkit.core.contracts import BuildContext, Sample
from regionkit.core.errors import DataError, MissingExtra, RunFailed
from regionkit.core.regions import WholeImage
from regionkit.core.testing import check_metric
from regionkit.plugins.caption_metrics.java import jars, spice
from regionkit.plugins.caption_metrics.java.configs import SpiceConfig
from regionkit.plugins.caption_metrics.java.spice import Spice
from regionkit.plugins.caption_metrics.java.spice_program import read_scores


def sample(name, *references):
    return Sample(str(name), str(name), WholeImage(), references)


@pytest.fixture
def options(tmp_path, monkeypatch):
    """Options under which everything that it needs is there, and pretends to be."""
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REGIONKIT_JARS", raising=False)
    monkeypatch.setattr(jars, "find_spec", lambda name: None)
    folder = write_spice(tmp_path / "jars")
    places = {"jar": str(folder / "spice"), "jars": str(folder / "corenlp")}
    return {"tokeniser": "tokens", "java": str(tmp_path), **places}


@pytest.fixture
def stand_in(tmp_path, options):
    """Make the metric with a stand-in for the program."""

    def make(fault="", version="17.0.9", **more):
        write_java(tmp_path, spice_body(fault), version)
        return Spice(SpiceConfig(**{**options, **more}))

    return make


SAMPLES = [sample("b", "a red car"), sample("a", "two dogs", "a dog"), sample("c", "a blue boat")]
CAPTIONS = ["a red car", "two cats", "a boat"]


def test_scores_go_to_their_samples_whatever_order_they_come_in(stand_in):
    metric = stand_in()
    metric.update(SAMPLES, CAPTIONS)
    score = metric.compute()
    assert score.per_sample == pytest.approx([1, 2 * 1 / (2 + 4), 2 * 2 / (2 + 3)])
    assert score.value == pytest.approx(sum(score.per_sample) / 3)
    assert (metric.parts, score.parts) == ((), {})
    assert score.signature.startswith("spice|variant=1.0|tokeniser=tokens|jar=")
    assert score.signature.endswith("|n=3")


def test_categories_are_means_over_samples_that_have_any(stand_in):
    metric = stand_in(categories=True)
    metric.update(SAMPLES, CAPTIONS)
    score = metric.compute()
    assert metric.parts == tuple(score.parts) == ("", "object", "relation", "attribute", "color", "size", "cardinality")
    color = score.parts["color"]
    assert color.value == 0.5  # right of two; the third sample says nothing of colours
    assert color.statistics.tolist() == [[1, 1], [0, 0], [0, 1]]
    assert Spice.pool("color", color.statistics.sum(0)[None]).tolist() == [0.5]
    assert score.parts["size"].value == 0
    assert np.isfinite([part.value for part in score.parts.values()]).all()
    assert score.parts[""].value == score.value


def test_how_it_is_run(stand_in, tmp_path):
    metric = stand_in(cache="on", memory="3G", threads=2)
    metric.update(SAMPLES, CAPTIONS)
    metric.compute()
    (command,) = lines_of(tmp_path, "started")
    machine, _, rest = command.partition(" -cp ")
    places, _, arguments = rest.partition(" edu.anu.spice.SpiceScorer ")
    assert {"-Xmx3G", "-Duser.language=en", "java.base/java.lang=ALL-UNNAMED"} <= set(machine.split())
    assert [Path(place).name for place in places.split(os.pathsep)] == [
        "spice-1.0.jar",
        "stanford-corenlp-3.6.0.jar",
        "stanford-corenlp-3.6.0-models.jar",
    ]
    cache = tmp_path / "cache" / "spice"
    assert arguments == f"captions.json -cache {cache} -threads 2 -out scores.json -subset -silent"
    assert cache.is_dir()
    (folder,) = lines_of(tmp_path, "folder")
    assert not Path(folder).exists()
    assert sorted(path.name for path in (tmp_path / "jars").rglob("*") if path.is_file()) == sorted(
        ["SceneGraphParser-1.0.jar", "spice-1.0.jar", "stanford-corenlp-3.6.0-models.jar", "stanford-corenlp-3.6.0.jar"]
    )


@pytest.mark.parametrize(
    ("machine", "cache", "kept"),
    [
        pytest.param("x86_64", "auto", True, id="intel"),
        pytest.param("arm64", "auto", False, id="apple-silicon"),
        pytest.param("x86_64", "off", False, id="off"),
        pytest.param("arm64", "on", True, id="on"),
    ],
)
def test_parsed_references_are_kept_where_the_jar_can(machine, cache, kept, stand_in, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert ("-cache" in stand_in(cache=cache).program.command()) is kept


@pytest.mark.parametrize(
    ("version", "opened"),
    [
        pytest.param("1.8.0_292", False, id="8"),
        pytest.param("11.0.2", False, id="11"),
        pytest.param("16", True, id="16"),
    ],
)
def test_only_a_new_java_is_told_to_open_its_modules(version, opened, stand_in):
    assert ("--add-opens" in stand_in(version=version).program.command()) is opened


def test_captions_are_lines_of_text_and_run_once(stand_in, tmp_path):
    metric = stand_in(tokeniser="none")
    metric.update([sample(1, "a\r\ncat \ud800", "x\x00y")], ["A\u2028cat ||| é"])
    assert metric.compute() == metric.compute()
    (items,) = map(json.loads, lines_of(tmp_path, "items"))
    assert items == [{"image_id": 0, "test": "A cat ||| é", "refs": ["a  cat  ", "x y"]}]
    metric.update([sample(2, "b")], ["b"])
    assert metric.compute().per_sample[1] == 1
    assert [len(json.loads(line)) for line in lines_of(tmp_path, "items")] == [1, 1]


def test_no_samples_run_nothing(stand_in, tmp_path):
    assert stand_in(categories=True).compute().value == 0
    assert lines_of(tmp_path, "started") == []


def test_a_caption_of_which_nothing_is_made_scores_nothing(stand_in):
    metric = stand_in('answers[0]["scores"]["All"]["f"] = None')
    metric.update(SAMPLES, CAPTIONS)
    assert metric.compute().per_sample[2] == 0


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        pytest.param(
            'print("Exception in thread main java.lang.NoClassDefFoundError: X", file=sys.stderr)\nsys.exit(1)',
            "SPICE ended with status 1\n  it said:\n  Parsing captions\n  Exception in thread main java.lang.NoClass",
            id="stack-trace",
        ),
        pytest.param(
            'sys.exit("java.lang.OutOfMemoryError: Java heap space")',
            "SPICE ended with status 1\n  it said:\n  Parsing captions\n  java.lang.OutOfMemoryError: Java heap space\n"
            "  give it more memory with option memory, such as memory=8G",
            id="memory",
        ),
        pytest.param(
            'sys.exit("java.lang.UnsatisfiedLinkError: no lmdbjni")',
            "SPICE ended with status 1\n  it said:\n  Parsing captions\n"
            "  java.lang.UnsatisfiedLinkError: no lmdbjni\n  its cache does not work on this machine: set cache=off",
            id="cache",
        ),
        pytest.param("sys.exit(0)", "SPICE ended without an answer\n  it said: Parsing captions", id="no-answer"),
        pytest.param(
            "answers = answers[:-1]",
            "SPICE's answer cannot be read: ValueError: it has no answer about 1 captions, the first is caption 0",
            id="one-lacks",
        ),
        pytest.param(
            "answers[1] = answers[0]",
            "SPICE's answer cannot be read: ValueError: it answers about caption 2, of 3",
            id="one-twice",
        ),
        pytest.param('answers = {"a": 1}', "SPICE's answer cannot be read: TypeError", id="another-form"),
        pytest.param("time.sleep(99)", "SPICE was stopped after 0.3 s\n  option timeout gives it longer", id="hangs"),
    ],
)
def test_a_failure_shows_what_the_program_said(fault, sentence, stand_in):
    metric = stand_in(fault, timeout=0.3 if "sleep" in fault else 60.0)
    metric.update(SAMPLES, CAPTIONS)
    with pytest.raises(RunFailed) as caught:
        metric.compute()
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    "score",
    [pytest.param(1.5, id="too-large"), pytest.param("much", id="word"), pytest.param(-0.1, id="negative")],
)
def test_what_is_no_score_is_not_taken_for_one(score):
    with pytest.raises(ValueError, match=r"is no F-score|could not convert"):
        read_scores([{"image_id": 0, "scores": {"All": {"f": score}}}], 1)


def test_all_that_is_missing_is_told_at_once(options, tmp_path):
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(MissingExtra) as caught:
        Spice.build(SpiceConfig(**{**options, "java": nowhere, "jar": "", "jars": nowhere}), BuildContext())
    told = str(caught.value)
    for part in ("needs Java 8 or newer", "needs the file 'spice-1.0.jar'", "needs stanford-corenlp-3.6.0.jar and"):
        assert part in told
    assert "pip install 'regionkit[meteor]'" in told
    assert "REGIONKIT_JARS=FOLDER" in told


def test_without_corenlp_the_message_says_which_files_to_put_where(stand_in, options, tmp_path, monkeypatch):
    stand_in()
    folder = Path(options["jars"])
    (folder / "stanford-corenlp-3.6.0-models.jar").unlink()
    with pytest.raises(MissingExtra) as caught:
        Spice.build(SpiceConfig(**options), BuildContext())
    assert str(caught.value).splitlines() == [
        "metric 'spice' needs stanford-corenlp-3.6.0-models.jar, which pip cannot install",
        "  unpack stanford-corenlp-3.6.0.jar and stanford-corenlp-3.6.0-models.jar from "
        "http://nlp.stanford.edu/software/stanford-corenlp-full-2015-12-09.zip (384.5 MB, GPL) into a folder",
        "  and name the folder: REGIONKIT_JARS=FOLDER, or option jars",
        f"  looked in: {folder}",
    ]
    monkeypatch.setenv("REGIONKIT_JARS", str(tmp_path / "mine"))
    with pytest.raises(MissingExtra, match=r"needs stanford-corenlp-3\.6\.0\.jar and stanford-corenlp-3\.6\.0-models"):
        Spice.build(SpiceConfig(**{**options, "jars": ""}), BuildContext())
    (tmp_path / "mine").mkdir()
    write_spice(tmp_path / "again")
    for path in (tmp_path / "again" / "corenlp").iterdir():
        path.rename(tmp_path / "mine" / path.name)
    found = Spice.build(SpiceConfig(**{**options, "jars": ""}), BuildContext()).program.corenlp
    assert {path.parent for path in found} == {tmp_path / "mine"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("corenlp/stanford-corenlp-3.6.0-models.jar", id="models"),
        pytest.param("corenlp/stanford-corenlp-3.6.0.jar", id="corenlp"),
        pytest.param("spice/spice-1.0.jar", id="spice"),
    ],
)
def test_a_download_that_broke_off_is_refused_before_anything_is_run(name, stand_in, options, tmp_path):
    stand_in()
    path = tmp_path / "jars" / name
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(MissingExtra, match="which is no whole jar: it may be cut short"):
        Spice.build(SpiceConfig(**options), BuildContext())
    assert lines_of(tmp_path, "started") == []


def test_what_cannot_be_judged_is_refused_by_name(stand_in):
    metric = stand_in()
    with pytest.raises(DataError, match="spice: sample '7' has no reference caption"):
        metric.update([sample(7)], ["a cat"])
    with pytest.raises(DataError, match="spice: the caption of sample '8' is None, and must be text"):
        metric.update([sample(8, "a")], [None])
    with pytest.raises(DataError, match="spice is a mean over samples"):
        Spice.pool("", np.zeros((1, 2)))


def test_options_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="threads must be 0 or more, not -1"):
        SpiceConfig(threads=-1)
    with pytest.raises(ValueError, match="memory must be a number with its unit"):
        SpiceConfig(memory="8")


def overlap(program, captions, references):
    """Score as the stand-in does, without a process for each question of the kit."""
    scores = []
    for caption, texts in zip(captions, references, strict=True):
        ours, theirs = set(caption.split()), set(" ".join(texts).split())
        colours = ours & {"red", "blue"}, theirs & {"red", "blue"}
        color = f_score(*colours) if any(colours) else math.nan
        scores.append({"All": f_score(ours, theirs), "Color": color})
    return scores


def f_score(ours, theirs):
    both = len(ours & theirs)
    return 2 * both / (len(ours) + len(theirs)) if both else 0.0


def test_it_conforms(stand_in, monkeypatch):
    monkeypatch.setattr(spice, "run_spice", overlap)
    check_metric(lambda: stand_in(categories=True))
