from __future__ import annotations

import json

import pytest
from PIL import Image
from scoring_cases import call, write

from regionkit.core.contracts import Sample
from regionkit.core.tasks import Task, said
from regionkit.plugins.judges.metrics.dlc_questions import prompt_of, recognition_question
from regionkit.plugins.scoring import data_references
from regionkit.plugins.scoring.data_references import DataReferences, open_data
from regionkit.plugins.scoring.matching import match
from regionkit.plugins.scoring.pictures import DataPictures
from regionkit.plugins.scoring.predictions import Predictions, read_predictions
from regionkit.registry.assembly import build

ROUGE = ("--metrics", "rouge-l", "--set", "rouge-l.tokeniser=words")
ROWS = [
    {"id": "1", "image": "a.png", "box": [0, 0, 10, 10], "references": ["a dog"]},
    {"id": "2", "image": "b.png", "box": [2, 0, 9, 8], "references": ["two cats", "cats"]},
    {"id": "3", "image": "b.png", "references": ["the whole picture"]},
    {"id": "4", "image": "b.png", "box": [2, 0, 9, 8], "split": "val", "references": ["a bird"]},
]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Return a function that writes a JSONL with its pictures and gives the flags that name it."""
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    for name in "ab":
        Image.new("RGB", (12, 10), (200, 30, 30)).save(tmp_path / f"{name}.png")

    def make(rows=ROWS, task="box@jsonl"):
        return ("--data", task, "--set", f"data.file={write(tmp_path, 'own.jsonl', rows)}")

    return make


def scored(folder, predictions, *options, status=0):
    return json.loads(call("score", write(folder, "p.json", predictions), *options, "--json", status=status).stdout)


def test_the_samples_of_a_data_set_are_the_references(tmp_path, data):
    found = scored(tmp_path, {"1": "a dog", "2": "cats", "query": "Describe it."}, *data(), *ROUGE)
    assert found["scores"]["rouge-l"]["value"] == 1.0
    assert (found["n"], found["missing"], found["extra"]) == (2, [], ["query"])
    assert (found["data"], found["disclaimer"]) == ("box@jsonl/test", "")


def test_the_same_as_a_file_of_references(tmp_path, data):
    predictions = {"1": "a big dog", "2": "three cats"}
    truth = write(tmp_path, "r.json", {"1": ["a dog"], "2": ["two cats", "cats"]})
    options = ("--metrics", "rouge-l,cider-d", "--set", "rouge-l.tokeniser=words", "--set", "cider-d.tokeniser=words")
    from_file = scored(tmp_path, predictions, "--references", truth, *options)
    assert scored(tmp_path, predictions, *data(), *options)["scores"] == from_file["scores"]


def test_split_and_missing(tmp_path, data):
    found = scored(tmp_path, {"4": "a bird"}, *data(task="box@jsonl/val"), *ROUGE)
    assert (found["n"], found["data"]) == (1, "box@jsonl/val")
    found = scored(tmp_path, {"1": "a dog"}, *data(), *ROUGE, status=1)
    assert found["missing"] == ["2"]


def test_records_that_are_left_out_are_told(tmp_path, data):
    flags = data([*ROWS, {"image": "a.png", "box": [0, 0, "x", 1]}])
    text = call("score", write(tmp_path, "p.json", {"1": "a dog", "2": "cats"}), *flags, *ROUGE).stdout
    assert "are left out: they cannot be used" in text


def test_a_sample_without_references_or_knowledge_is_refused(tmp_path, data):
    flags = data([*ROWS, {"id": "5", "image": "a.png", "box": [0, 0, 3, 3]}])
    found = scored(tmp_path, {"1": "a dog", "2": "cats", "5": "x"}, *flags, *ROUGE, status=1)
    assert found["refused"] == [{"id": "5", "reason": "it has no reference"}]


def test_samples_with_knowledge_alone_suit_metrics_that_need_no_more(tmp_path, data):
    flags = data([{"id": "1", "image": "a.png", "box": [0, 0, 3, 3], "nouns": ["dog"]}])
    path = write(tmp_path, "p.json", {"1": "a dog"})
    result = call("score", path, *flags, *ROUGE, status=2)
    assert "rouge-l needs references, which 1 id lacks: 1" in result.stderr
    found = scored(tmp_path, {"1": "a red dog"}, *flags, "--metrics", "noun-f1", "--lexicon", "mini")
    assert found["n"] == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param((), "--references FILE or --data TASK@NAME; neither is given", id="none"),
        pytest.param(("--data", "box@mini", "--references", "r.json"), "both of them are given", id="both"),
        pytest.param(("--data", "box@mini", "--images", "."), "with --data the pictures are those of", id="images"),
        pytest.param(("--data", "mini"), "--data mini: this is not of the form TASK@NAME or", id="form"),
        pytest.param(("--data", "box@mini/"), "--data box@mini/: this is not of the form", id="split"),
        pytest.param(("--data", "bx@mini"), "--data bx@mini: 'mini' has no task 'bx'\n  did you mean: box", id="task"),
        pytest.param(("--data", "box@mini/tst"), "'mini' has no split 'tst'\n  did you mean: test", id="no-split"),
        pytest.param(("--data", "box@mni"), "no dataset named 'mni'\n  did you mean: mini", id="name"),
        pytest.param(
            ("--data", "box@mini", "--set", "data.name=jsonl"),
            "--set data.name=jsonl: --data says which task and data set it is",
            id="rename",
        ),
        pytest.param(
            ("--data", "box@jsonl", "--set", "data.fil=x"), "--set data.fil: data.fil: unknown option", id="option"
        ),
        pytest.param(
            ("--data", "box@mini", "--set", "cider.x=1"), "'cider' is none of --metrics", id="metric"
        ),
    ],
)  # fmt: skip
def test_mistakes(tmp_path, flags, message):
    result = call("score", write(tmp_path, "p.json", {"1": "a"}), *flags, *ROUGE, status=2)
    assert message in result.stderr


class Cleaning(Task):
    """Asks about short references in lower case, and takes answers up to the first full stop."""

    def prepare(self, sample):
        if len(sample.references[0]) > 20:
            return None
        return Sample(sample.id, sample.image_id, sample.region, tuple(text.lower() for text in sample.references))

    def answer(self, sample, caption):
        return said(caption, caption.text.partition(".")[0])


def test_the_protocol_of_the_task_is_applied():
    data = build("dataset", "mini")
    opened = DataReferences("box@mini/test", data, Cleaning(), "box", "test", "{}")
    truth = opened.read(Predictions("p", {"1": "x"}))
    kept = [sample for sample in data.samples("box", "test") if len(sample.references[0]) <= 20]
    assert list(truth.samples) == [sample.id for sample in kept]
    first = kept[0]
    matched = match(Predictions("p", {first.id: "A thing. And more."}), truth)
    opened.clean(matched)
    assert matched.captions == ["A thing"]
    assert truth.samples[first.id].references == tuple(text.lower() for text in first.references)


def test_a_task_of_the_registry_is_used_where_there_is_one(monkeypatch, tmp_path, data):
    opened = open_data("box@mini", [])
    assert (opened.label, opened.split) == ("box@mini/test", "test")
    real = data_references.get_registry().names
    monkeypatch.setattr(
        data_references.get_registry(), "names", lambda kind: [] if kind == "task" else real(kind), raising=True
    )
    plain = open_data("box@mini", [])
    assert type(plain.task) is Task
    with pytest.raises(data_references.ConfigError, match="task 'box' has no options"):
        open_data("box@mini", ["task.prompt=x"])


def test_detections_are_judged_by_picture(tmp_path, data):
    truth = [{"box": [0, 0, 5, 5], "caption": "a dog"}]
    rows = [
        {"id": str(at), "image": name, "task": "dense", **truth[0], "ground_truth": truth}
        for at, name in enumerate(["a.png", "b.png", "b.png"])
    ]
    flags = data(rows, "dense@jsonl")
    opened = open_data("dense@jsonl", [flags[3]])
    said_of = {"a.png": [{"box": [0, 0, 5, 5], "caption": "a dog", "score": 0.9}]}
    references = opened.read(read_predictions(write(tmp_path, "d.json", said_of)))
    assert list(references.samples) == ["a.png", "b.png"]
    assert references.samples["b.png"].info["ground_truth"] == truth
    # Captions of given boxes are by sample.
    assert list(opened.read(Predictions("p", {"0": "x"})).samples) == ["0", "1", "2"]


def test_pictures_come_from_the_data_set():
    data = build("dataset", "mini")
    pictures = DataPictures(data)
    (sample, *_) = data.samples("box", "test", limit=1)
    assert pictures.has_pictures
    assert pictures.image(sample.image_id).tobytes() == data.image(sample.image_id).tobytes()
    assert pictures.lexicon("nouns") == data.lexicon("nouns")
    pictures.find([sample.image_id], {})


def test_the_digest_tells_data_apart(tmp_path, data):
    predictions = Predictions("p", {"1": "x"})
    flags = data()
    first = open_data("box@jsonl", [flags[3]]).read(predictions).digest()
    assert open_data("box@jsonl", [flags[3]]).read(predictions).digest() == first
    data([*ROWS[:1], {**ROWS[1], "references": ["others"]}])
    assert open_data("box@jsonl", [flags[3]]).read(predictions).digest() != first


def test_dlc_bench_is_scored_from_its_files_and_recorded_replies(tmp_path, monkeypatch):
    pytest.importorskip("pycocotools")
    monkeypatch.setenv("REGIONKIT_DATA", str(tmp_path))
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "DLC-Bench"
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (30, 20), (10, 20, 30)).save(folder / "images" / "o.jpg")
    questions = [
        {"question": "Which colour?", "choices": [["Red.", 1], ["Blue.", -1]], "type": "positive"},
        {"question": "Are there wings?", "choices": [["Wings.", -1], ["No.", 1]], "type": "negative"},
    ]
    annotation = {"id": 71, "image_id": 4, "segmentation": [[4, 2, 14, 2, 14, 8, 4, 8]]}
    picture = {"id": 4, "file_name": "o.jpg", "height": 20, "width": 30}
    write(folder, "annotations.json", {"images": [picture], "annotations": [annotation]})
    write(folder, "qa.json", {"71": questions})
    write(folder, "class_names.json", {"71": "car"})
    asked = [
        (recognition_question("car"), ["Yes", "No"]),
        *((q["question"], [c[0] for c in q["choices"]]) for q in questions),
    ]
    # The three questions of the release about a description: whether it is of the object, and two of its details.
    prompts = [prompt_of("a red car", question, choices) for question, choices in asked]
    evaluation = {"71": {"prompt": prompts, "response": ["A", "A. Red.", "B"]}}
    options = ("--set", "dlc-bench.judge.name=recorded", "--set")
    flags = ("--data", "detail@dlc-bench", "--metrics", "dlc-bench", *options)
    file = f"dlc-bench.judge.file={write(tmp_path, 'eval.json', evaluation)}"
    found = scored(tmp_path, {"71": "a red car", "query": "Describe the region."}, *flags, file)
    assert (found["n"], found["extra"], found["data"]) == (1, ["query"], "detail@dlc-bench/test")
    values = {name: one["value"] for name, one in found["scores"].items()}
    assert values["dlc-bench-pos"] == values["dlc-bench-neg"] == values["dlc-bench-avg"] == 1.0
    path = write(tmp_path, "p.json", {"71": "a red car"})
    lacking = call("score", path, "--data", "detail@dlc-bench", *ROUGE, status=2)
    assert "rouge-l needs references, which 1 id lacks: 71" in lacking.stderr
    nobody = call("score", path, "--data", "detail@dlc-bench", "--metrics", "dlc-bench", status=2)
    assert "judge" in nobody.stderr
