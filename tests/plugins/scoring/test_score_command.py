from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scoring_cases import CIDER, PREDICTIONS, REFERENCES, call, refused, scored, write

from regionkit.core import files as core_files
from regionkit.core.contracts import Score
from regionkit.core.errors import RunFailed
from regionkit.core.json_files import load
from regionkit.plugins.scoring import judging
from regionkit.plugins.scoring.judging import build_jury
from regionkit.plugins.scoring.matching import match
from regionkit.plugins.scoring.predictions import read_predictions
from regionkit.plugins.scoring.references import read_references

ROUGE = ("--metrics", "rouge-l", "--set", "rouge-l.tokeniser=words")
#: Captions that break the official programs.
HOSTILE = {
    "carriage-return": "a dog\rruns",
    "vertical-tab": "a dog\x0bruns",
    "form-feed": "a dog\x0cruns",
    "line-separator": "a dog\u2028runs",
    "next-line": "a dog\x85runs",
    "newline": "a dog\nruns",
    "bars": "a dog ||| runs",
    "surrogate": "a dog \ud800 runs",
    "nul": "a dog \0 runs",
    "empty": "",
    "blank": "  \t ",
    "emoji": "🐶🐶",
    "long": "dog " * 10_000,
}


def test_the_form_of_json(tmp_path):
    found = scored(tmp_path, {**PREDICTIONS, "9": "x"})
    assert list(found) == ["n", "scores", "missing", "extra", "refused", "unjudged", "failed"]
    assert (found["n"], found["missing"], found["extra"], found["refused"]) == (4, [], ["9"], [])
    ((name, score),) = found["scores"].items()
    assert name == "cider-d"
    assert list(score) == ["value", "ci", "signature", "judged"]
    assert score["ci"][0] <= score["value"] <= score["ci"][1]
    assert score["signature"].startswith("cider-d|")
    assert score["signature"].endswith("n=4")


def test_the_default_metrics(tmp_path):
    options = [word for name in ("bleu", "rouge-l", "cider-d") for word in ("--set", f"{name}.tokeniser=words")]
    found = scored(tmp_path, PREDICTIONS, *options)["scores"]
    assert list(found) == ["bleu-1", "bleu-2", "bleu-3", "bleu-4", "rouge-l", "cider-d"]
    assert all(one["ci"][0] <= one["ci"][1] for one in found.values())
    truth = {name: [texts] if isinstance(texts, str) else texts for name, texts in REFERENCES.items()}
    perfect = scored(tmp_path, {name: texts[0] for name, texts in truth.items()}, *options)["scores"]
    assert perfect["bleu-4"]["value"] == pytest.approx(1)
    assert perfect["rouge-l"]["value"] == 1


def test_the_table(tmp_path):
    source, truth = (
        write(tmp_path, "p.json", {**PREDICTIONS, "4": None, "x\u2028": "a"}),
        write(tmp_path, "r.json", {**REFERENCES, "5": ["b"]}),
    )
    said = call("score", source, "--references", truth, *CIDER, "--seed", 3, status=1).stdout
    table, told = said.split("\n\n")
    assert table.splitlines()[0].split() == ["metric", "value", "95", "%", "interval"]
    assert table.splitlines()[1].split()[3] == ".."
    lines = told.splitlines()
    assert lines[0] == "3 captions scored. Signatures:"
    assert lines[1].startswith("  cider-d|")
    assert lines[2:] == [
        "1 id without a prediction: 5",
        "1 prediction without references, left out: x\\u2028",
        "1 id refused:",
        "  4: null where a caption belongs",
    ]
    value = scored(tmp_path, PREDICTIONS)["scores"]["cider-d"]["value"]
    percent = call(
        "score",
        write(tmp_path, "q.json", PREDICTIONS),
        "--references",
        write(tmp_path, "s.json", REFERENCES),
        *CIDER,
        "--percent",
        "--no-intervals",
    ).stdout
    assert percent.splitlines()[:2] == ["metric   value x 100", f"cider-d  {value * 100:.2f}"]


def test_long_lists_are_cut(tmp_path):
    truth = write(tmp_path, "r.json", {str(at): ["a dog"] for at in range(100)})
    source = write(tmp_path, "p.json", {**{str(at): None for at in range(50, 70)}, "1": "a dog"})
    said = call("score", source, "--references", truth, *CIDER, status=1).stdout
    assert "79 ids without a prediction: 0, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 69 more\n" in said
    assert said.endswith("  59: null where a caption belongs\n  and 10 more, all with --json\n")
    assert len(scored(tmp_path, source, references=json.loads(truth.read_text()), status=1)["refused"]) == 20


@pytest.mark.parametrize(
    ("predictions", "status", "allowed"),
    [
        pytest.param(PREDICTIONS, 0, 0, id="all"),
        pytest.param({**PREDICTIONS, "5": "extra"}, 0, 0, id="extra"),
        pytest.param({"1": "a dog", "2": "a cat"}, 1, 0, id="missing"),
        pytest.param({**PREDICTIONS, "3": 7}, 1, 0, id="refused"),
        pytest.param({**PREDICTIONS, "5": None}, 0, 0, id="extra-that-is-none"),
        pytest.param({"5": "extra"}, 2, 2, id="nothing"),
    ],
)
def test_exit_status(tmp_path, predictions, status, allowed):
    source, truth = write(tmp_path, "p.json", predictions), write(tmp_path, "r.json", REFERENCES)
    call("score", source, "--references", truth, *CIDER, status=status)
    call("score", source, "--references", truth, *CIDER, "--allow-missing", status=allowed)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(None, "null where a caption belongs", id="null"),
        pytest.param(3, "the number 3 where a caption belongs", id="number"),
        pytest.param(True, "true where a caption belongs", id="truth-value"),
        pytest.param(["a", "b"], "a list of 2 where a caption belongs", id="several"),
        pytest.param([None], "null where a caption belongs", id="list-of-null"),
        pytest.param([], "an empty list where a caption belongs", id="empty-list"),
        pytest.param({"text": "a"}, "an object with text, and no caption", id="object"),
    ],
)
def test_what_is_no_caption_is_refused_by_name(tmp_path, value, reason):
    found = scored(tmp_path, {**PREDICTIONS, "2": value}, status=1)
    assert found["refused"] == [{"id": "2", "reason": reason}]
    without = {name: text for name, text in PREDICTIONS.items() if name != "2"}
    assert found["scores"] == scored(tmp_path, without, status=1)["scores"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(None, "null where references belong", id="null"),
        pytest.param(["a", None], "reference 2 is null, no text", id="null-in-list"),
        pytest.param([{"text": "a"}], "reference 1 is an object with text, no text", id="record"),
        pytest.param({"references": ["a"], "region": {"box": [3, 3, 3, 3]}}, "box 3,3,3,3 has no area", id="region"),
    ],
)
def test_what_is_no_reference_is_refused_by_name(tmp_path, value, reason):
    found = scored(tmp_path, PREDICTIONS, references={**REFERENCES, "2": value}, status=1)
    assert found["n"] == 3
    assert found["refused"] == [{"id": "2", "reason": reason}]


@pytest.mark.parametrize("caption", [pytest.param(text, id=name) for name, text in HOSTILE.items()])
def test_hostile_captions_change_no_neighbour(tmp_path, caption):
    def values(text):
        target = tmp_path / "s.json"
        scored(tmp_path, {**PREDICTIONS, "2": text}, *CIDER, "--per-sample", target)
        samples = json.loads(target.read_text())["samples"]
        assert samples["2"]["caption"] == text
        return {name: sample["values"] for name, sample in samples.items() if name != "2"}

    assert values(caption) == values("two cats on a mat")


@pytest.mark.parametrize("tokeniser", [pytest.param(name, id=name) for name in ("ptb", "words")])
def test_lone_surrogates_are_scored_kept_and_shown(tmp_path, tokeniser):
    options = ("--metrics", "cider-d", "--set", f"cider-d.tokeniser={tokeniser}")
    truth = write(tmp_path, "r.json", {**REFERENCES, "2": ["two \ud800 cats"], "\udc00": ["a"]})
    for name, text in (("a", "two \ud800 cats"), ("b", "two \udfff dogs")):
        source = write(tmp_path, f"p-{name}.json", {**PREDICTIONS, "2": text, "\ud801": "b"})
        target = tmp_path / f"{name}.json"
        told = call("score", source, "--references", truth, *options, "--per-sample", target, status=1).stdout
        assert "without a prediction: \\udc00\n" in told
        assert "left out: \\ud801\n" in told
        assert json.loads(target.read_text("utf-8"))["samples"]["2"]["caption"] == text
    told = call("compare", tmp_path / "a.json", tmp_path / "b.json").stdout
    assert "    A: two \\ud800 cats\n    B: two \\udfff dogs\n" in told


def test_references_of_any_characters(tmp_path):
    found = scored(tmp_path, PREDICTIONS, references={**REFERENCES, "2": list(HOSTILE.values())})
    assert found["n"] == 4
    call("score", tmp_path / "p.json", "--references", tmp_path / "r.json", *CIDER)


def test_names_and_options_are_all_told_at_once(tmp_path):
    said = refused(
        tmp_path,
        PREDICTIONS,
        "--metrics",
        "cidr-d,cider-d,cider-d",
        "--set",
        "rogue.a=1",
        "--set",
        "cider-d.token=3",
        "--set",
        "x",
    )
    assert [line for line in said.splitlines() if line.startswith("error: ")] == [
        "error: --metrics: cider-d: named twice",
        "error: --set rogue.a=1: 'rogue' is none of --metrics",
        "error: --set: 'x' is not of the form METRIC.option=value",
        "error: --metrics: no metric named 'cidr-d'",
        "error: --set cider-d.token: cider-d.token: unknown option",
    ]
    assert refused(tmp_path, PREDICTIONS, "--metrics", ",") == (
        "error: --metrics: names no metric\n  for example: --metrics bleu,rouge-l,cider-d"
    )


def test_metrics_are_built_before_files_are_read(tmp_path):
    said = call("score", tmp_path / "no.json", "--references", tmp_path / "no.json", "--metrics", "noun-f1", status=2)
    first, *_, last = said.stderr.splitlines()
    assert first == "error: noun-f1 takes its lexicon from a data set, and none was given"
    assert last == "  --images FOLDER gives metrics pictures, --lexicon DATASET gives them words"
    said = call("score", "no.json", "--references", "no.json", "--metrics", "referring-iou", status=2).stderr
    assert said == (
        "error: referring-iou judges answers among candidates, and no captions\n  score those with `toolkit run`\n"
    )


def test_words_come_from_a_data_set(tmp_path):
    options = ("--metrics", "noun-f1", "--set", "noun-f1.tokeniser=words", "--lexicon", "mini")
    truth = {"1": {"references": ["a dog"], "nouns": ["dog"]}, "2": ["a cat"]}
    found = scored(tmp_path, {"1": "two dogs", "2": "a dog"}, *options, references=truth)
    assert found["scores"]["noun-f1"]["value"] == 0.5


def test_pictures_are_found_by_name(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("7.png", "b.jpg", "named.png", "COCO_8.jpg"):
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(folder / name)
    truth = read_references(
        write(tmp_path, "r.json", {"7": ["a"], "b.jpg": ["a"], "c": {"references": ["a"], "image": "x/named.png"}})
    )
    jury = build_jury("cider-d", ["cider-d.tokeniser=words"], folder)
    jury.pictures.find(["7", "b.jpg", "c"], truth.pictures)
    assert jury.pictures.image("c").size == (2, 2)
    jury.pictures.find(["8"], {"8": "COCO_8.jpg"})
    said = refused(tmp_path, PREDICTIONS, *CIDER, "--images", folder).replace(str(tmp_path), "")
    assert said.startswith(
        "error: --images pictures: no picture for 4 of the ids: 1, 2, 3, 4\n  a picture is called ID"
    )
    said = refused(tmp_path, PREDICTIONS, *CIDER, "--images", tmp_path / "none")
    assert said == "error: --images none: there is no such folder"


def test_metrics_that_look_at_pictures(tmp_path):
    for name in PREDICTIONS:
        Image.fromarray(np.full((8, 8, 3), 60 * int(name), np.uint8)).save(tmp_path / f"{name}.png")
    look = ("--metrics", "clipscore", "--set", "clipscore.backbone=mini-clip")
    (score,) = scored(tmp_path, PREDICTIONS, *look, "--images", tmp_path)["scores"].values()
    assert score["ci"][0] <= score["value"] <= score["ci"][1]
    assert "mini-clip" in score["signature"]
    said = refused(tmp_path, PREDICTIONS, *look, "--lexicon", "mini")
    assert said == ("error: clipscore looks at pictures, and none were given\n  name their folder with --images FOLDER")


def test_captions_of_one_picture_are_drawn_together(tmp_path):
    truth = {str(at): {"references": ["a dog runs here"], "image_id": at // 4} for at in range(24)}
    said = {name: "a dog runs here" if int(name) < 12 else "a cat" for name in truth}

    def width(references):
        low, high = scored(tmp_path, said, *ROUGE, references=references)["scores"]["rouge-l"]["ci"]
        return high - low

    alone = {name: known["references"] for name, known in truth.items()}
    assert width(truth) > 1.5 * width(alone) > 0
    told = call("score", tmp_path / "p.json", "--references", write(tmp_path, "r.json", truth), *ROUGE).stdout
    assert "24 captions of 6 pictures scored; an interval draws those of a picture together. Signatures:\n" in told


def test_both_files_cannot_be_standard_input():
    said = call("score", "-", "--references", "-", *CIDER, status=2).stderr
    assert said.endswith("Error: predictions and references cannot both be standard input: name a file for one\n")


def test_samples_that_lack_what_a_metric_needs_are_named(tmp_path):
    assert refused(tmp_path, PREDICTIONS, references={**REFERENCES, "2": {"answers": ["cat"]}}) == (
        'error: cider-d needs references, which 1 id lacks: 2\n  write {"ID": ["reference", ...]} in the references'
    )


class _Faulty:
    needs = ()
    higher_is_better = True

    def __init__(self, score):
        self.score = score

    def prepare(self): ...

    def update(self, samples, captions): ...

    def compute(self):
        return self.score


@pytest.mark.parametrize(
    ("score", "message"),
    [
        pytest.param(Score(float("nan"), None, "s"), "metric 'cider-d' gave a value that is not", id="nan"),
        pytest.param(Score(1.0, (1.0, float("inf")), "s"), "metric 'cider-d' gave a value that is not", id="infinite"),
        pytest.param(Score(1.0, (1.0,), "s"), "metric 'cider-d' gave 1 values for 2 samples", id="too-few"),
        pytest.param(
            Score(1.0, None, "s", statistics=np.ones((3, 1))), "metric 'cider-d' gave 3 values for 2 samples", id="rows"
        ),
    ],
)
def test_metrics_that_give_no_score_are_told(score, message):
    (one,) = build_jury("cider-d").judges
    with pytest.raises(RunFailed, match=message):
        judging._columns(judging.Judge(one.ref, _Faulty(score)), [None, None], ["a", "b"])


def test_detections_are_samples(tmp_path):
    boxes = [{"box": [0, 0, 9, 9], "caption": "a dog", "score": 0.9}, {"bbox": [4, 4, 5, 6], "caption": "b"}]
    truth = {
        "images": [{"id": "a", "width": 20, "height": 30}, {"id": "b"}],
        "annotations": [{"id": 1, "image_id": "a", "bbox": [0, 0, 9, 9], "caption": "a dog"}],
    }
    found = match(
        read_predictions(write(tmp_path, "p.json", {"a": boxes})), read_references(write(tmp_path, "r.json", truth))
    )
    first, second, empty = found.samples
    assert [sample.id for sample in found.samples] == ["a#0", "a#1", "b"]
    assert [sample.image_id for sample in found.samples] == ["a", "a", "b"]
    assert found.captions == ["a dog", "b", ""]
    assert (first.region.corners, second.region.corners, empty.region.kind) == ((0, 0, 9, 9), (4, 4, 9, 10), "image")
    assert (first.info["confidence"], "confidence" in second.info) == (0.9, False)
    assert first.info["ground_truth"] is second.info["ground_truth"]
    assert first.info["ground_truth"][0]["caption"] == "a dog"
    assert first.info["image_size"] == (20, 30)
    assert (empty.info["detections"], empty.info["ground_truth"]) == (0, ())
    assert (found.ids, found.missing) == (2, [])


@pytest.mark.parametrize(
    ("detection", "reason"),
    [
        pytest.param({"caption": "a"}, 'an object with caption, and no "box": [x1, y1, x2, y2]', id="no-box"),
        pytest.param({"box": [1, 2, 3], "caption": "a"}, "its box is a list of 3, no four numbers", id="three"),
        pytest.param({"box": [1, 2, 3, "4"], "caption": "a"}, "its box is a list of 4, no four numbers", id="text"),
        pytest.param({"box": [1, 2, 3, 4]}, "null where a caption belongs", id="no-caption"),
        pytest.param({"box": [1, 2, 3, 4], "caption": "", "score": "x"}, "its score is the text 'x'", id="score"),
        pytest.param({"box": [1, 2, 1, 4], "caption": "a"}, "", id="area"),
    ],
)
def test_detections_that_are_none_are_refused(tmp_path, detection, reason):
    good = {"box": [0, 0, 1, 1], "caption": "a"}
    found = read_predictions(write(tmp_path, "p.json", {"a": [good, detection], "b": [good]}))
    assert found.refused["a"].startswith(f"detection 1: {reason}")
    assert list(found.detections) == ["b"]


def test_per_sample_does_not_write_over_inputs(tmp_path):
    source, truth = write(tmp_path, "p.json", PREDICTIONS), write(tmp_path, "r.json", REFERENCES)
    for target, message in {
        source: "is read by this very command: name another file",
        truth: "is read by this very command: name another file",
        tmp_path: "is a folder: name a file in it",
    }.items():
        said = call("score", source, "--references", truth, *CIDER, "--per-sample", target, status=2).stderr
        assert said.endswith(f"Error: --per-sample {target} {message}\n")
    assert json.loads(source.read_text()) == PREDICTIONS


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    source, truth = write(tmp_path, "p.json", PREDICTIONS), write(tmp_path, "r.json", REFERENCES)
    target = tmp_path / "s.json"
    target.write_text("old")

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(core_files, "_sync", full)
    said = call("score", source, "--references", truth, *CIDER, "--per-sample", target, status=1).stderr
    assert said == f"error: --per-sample {target}: No space left on device\n  name a place that can be written to\n"
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.json", "r.json", "s.json"]


def test_being_stopped_leaves_the_old_file(tmp_path, monkeypatch):
    source, truth = write(tmp_path, "p.json", PREDICTIONS), write(tmp_path, "r.json", REFERENCES)
    target = tmp_path / "s.json"
    target.write_text("old")

    def stopped(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(core_files, "_sync", stopped)
    call("score", source, "--references", truth, *CIDER, "--per-sample", target, status=130)
    assert [target.read_text(), len(list(tmp_path.iterdir()))] == ["old", 3]


@pytest.mark.slow
def test_a_reader_that_goes_away_sees_no_traceback(tmp_path):
    source, truth = write(tmp_path, "p.json", PREDICTIONS), write(tmp_path, "r.json", REFERENCES)
    program = "from regionkit.registry.cli import main; main()"
    command = [sys.executable, "-c", program, "score", source, "--references", truth, *CIDER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({"2": None}, 1, id="null"),
        pytest.param({"2": 42}, 1, id="number"),
        pytest.param({}, 1, id="missing"),
        pytest.param({"2": ""}, 0, id="empty"),
        pytest.param({"2": "two\rcats \ud800 ||| on\u2028a mat"}, 0, id="strange"),
    ],
)
def test_whatever_becomes_of_a_caption_changes_no_neighbour(tmp_path, change, status):
    others = {name: caption for name, caption in PREDICTIONS.items() if name != "2"}
    values = []
    for at, (said, ends) in enumerate([(PREDICTIONS, 0), ({**others, **change}, status)]):
        scored(tmp_path, said, *CIDER, "--per-sample", tmp_path / f"{at}.json", status=ends)
        samples = load(tmp_path / f"{at}.json").value["samples"]
        values.append({name: samples[name]["values"] for name in others})
    assert values[0] == values[1]
    assert any(value["cider-d"] > 0 for value in values[0].values())


def test_an_id_without_references_is_refused_alone(tmp_path):
    found = scored(tmp_path, PREDICTIONS, references={**REFERENCES, "2": []}, status=1)
    assert (found["n"], found["refused"]) == (3, [{"id": "2", "reason": "it has no reference"}])


def test_names_of_metrics_in_capitals_are_recognised(tmp_path):
    assert "did you mean: cider-d" in refused(tmp_path, PREDICTIONS, "--metrics", "CIDEr-D")
