"""The trace-captioning benchmark: its builder, and the reader of what it writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from regionkit.core.errors import ConfigError, DataError, RunFailed
from regionkit.core.judging import Judge, Question, Reply
from regionkit.plugins.datasets.narratives.benchmark import DROPPED
from regionkit.plugins.datasets.narratives.configs import TraceCaptionsConfig
from regionkit.plugins.datasets.narratives.traces import TraceCaptions
from regionkit.registry.assembly import build

COCO_LIST = Path(__file__).parents[4] / "shared" / "data" / "upstream" / "coco-karpathy-test-images.json"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


#: Sentences of one picture: words, how many points are drawn meanwhile, and where.
Sentence = tuple[str, int, float]


def narrative(image_id: str, *sentences: Sentence) -> dict[str, Any]:
    timed, points, clock = [], [], 0.0
    for text, count, x in sentences:
        for word in text.split():
            timed.append({"utterance": word, "start_time": clock, "end_time": clock + 0.5})
            clock += 0.5
        begin = clock - 0.5 * len(text.split())
        points += [{"x": x, "y": 0.5, "t": begin + (clock - begin) * at / count} for at in range(count)]
        clock += 1
    return {
        "dataset_id": "mscoco", "image_id": image_id, "annotator_id": 1, "timed_caption": timed, "traces": [points],
        "caption": " ".join(text for text, _, _ in sentences), "voice_recording": "a.ogg",
    }  # fmt: skip


FIRST = narrative(
    "139",
    ("In this image there is a dog.", 20, 0.25),
    ("A red cat.", 7, 0.5),
    ("The image is blurred.", 9, 0.5),
    ("There is grass.", 0, 0.5),
    ("There is a wall.", 5, 1.5),
)
SECOND = narrative("9", ("I think it is a bus.", 10, 0.5), ("We can see trees.", 10, 0.75))
THIRD = narrative("25", ("The picture is clear.", 10, 0.5))
OTHER = narrative("77", ("There is a bird.", 10, 0.5))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Narratives of COCO in their release's layout, Karpathy's splits, and pictures."""
    monkeypatch.setenv("REGIONKIT_DATA", str(tmp_path))
    root = tmp_path / "localized_narratives"
    root.mkdir()
    train = [[SECOND], [OTHER, {"caption": 3}], [THIRD], [narrative("139", ("We see a chair.", 10, 0.1))]]
    for part, held in enumerate(train):
        lines = "\n".join(json.dumps(one) for one in held)
        (root / f"coco_train_localized_narratives-{part:05}-of-00004.jsonl").write_text(lines)
    (root / "coco_val_localized_narratives.jsonl").write_text(json.dumps(FIRST))
    splits = {139: "test", 9: "test", 25: "test", 77: "restval"}
    images = [{"cocoid": number, "split": split, "sentences": []} for number, split in splits.items()]
    (tmp_path / "coco" / "val2017").mkdir(parents=True)
    (tmp_path / "coco" / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    for number in splits:
        Image.new("RGB", (100, 40)).save(tmp_path / "coco" / "val2017" / f"{number:012}.jpg")
    return tmp_path


def made(folder: Path, name: str = "trace_capt_coco_test.json") -> dict[str, Any]:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def add_up(counts: dict[str, int]) -> None:
    assert counts["sentences"] == counts["kept"] + sum(counts[f"dropped: {reason}"] for reason in DROPPED)
    assert counts["kept"] == counts["rewritten"] + counts["unchanged"]


def test_the_benchmark_is_made_by_rules(data: Path) -> None:
    out = data / "out"
    out.mkdir()
    component = build("dataset", {"name": "trace-captions"})
    counts = component.make(out, "test", 0, None)
    assert counts == {
        "images": 2, "images without a caption": 1, "narratives": 4, "narratives that cannot be used": 1,
        "sentences": 9, "kept": 4, "rewritten": 3, "unchanged": 1,
        "dropped: no points": 1, "dropped: too few points": 1, "dropped: vague": 3, "dropped: judged invalid": 0,
        "dropped: unreadable reply": 0, "dropped: no reply": 0,
        "judge failed: unreadable reply": 0, "judge failed: no reply": 0,
    }  # fmt: skip
    add_up(dict(counts))
    held = made(out)
    assert list(held) == ["139", "9"]
    assert held["139"]["captions"] == ["A dog.", "A red cat.", "A chair."]
    assert held["9"]["captions"] == ["Trees."]
    # 20 points are drawn over 3.5 s; three go at each end.
    dog = held["139"]["traces"][0]
    assert [round(point["t"], 3) for point in dog] == [round(3.5 * at / 20, 3) for at in range(3, 17)]
    assert dog[0].keys() == {"x", "y", "t"}
    assert component.verify(out) == []


def test_its_reader_reads_it(data: Path) -> None:
    out = data / "trace_captions"
    out.mkdir()
    build("dataset", {"name": "trace-captions"}).make(out, "test", 0, None)
    samples = build("dataset", {"name": "trace-captions"}).samples("trace", "test")
    assert [(one.id, one.references, one.region.points[0]) for one in samples] == [
        ("139/0", ("A dog.",), (25.0, 20.0)),
        ("139/1", ("A red cat.",), (50.0, 20.0)),
        ("139/2", ("A chair.",), (10.0, 20.0)),
        ("9/0", ("Trees.",), (75.0, 20.0)),
    ]
    assert len(samples[0].region.points) == len(samples[0].region.times) == 14


def test_the_same_material_comes_to_the_same_bytes(data: Path) -> None:
    contents = []
    for name in ("one", "two"):
        build("dataset", {"name": "trace-captions"}).make(data / name, "test", 7, None)
        contents.append([(data / name / file).read_bytes() for file in ("trace_capt_coco_test.json", "report.json")])
    assert contents[0] == contents[1]


def test_the_report_says_what_it_was_made_of(data: Path) -> None:
    counts = build("dataset", {"name": "trace-captions"}).make(data / "out", "test", 0, None)
    report = made(data / "out", "report.json")
    assert report["counts"] == dict(counts)
    assert (report["rewritten_by"], report["trim"], report["limit"]) == ("rules", 0.15, None)
    assert next(iter(report["narratives"])) == "coco_val_localized_narratives.jsonl"
    assert report["narratives_that_cannot_be_used"] == [
        "coco_train_localized_narratives-00001-of-00004.jsonl:2: it has no 'image_id'"
    ]
    assert str(data) not in json.dumps(report)


def test_a_changed_folder_is_found_out(data: Path) -> None:
    out, component = data / "out", build("dataset", {"name": "trace-captions"})
    component.make(out, "test", 0, None)
    report = made(out, "report.json")
    report["counts"]["kept"] += 1
    (out / "report.json").write_text(json.dumps(report))
    (out / "trace_capt_coco_test.json").write_text("{}")
    assert component.verify(out) == [
        "report.json: its counts do not add up",
        "trace_capt_coco_test.json: is not the file that the report was written about",
    ]
    (out / "trace_capt_coco_test.json").unlink()
    assert component.verify(out)[-1] == "trace_capt_coco_test.json: is not there"
    (out / "report.json").unlink()
    assert component.verify(out)[0].startswith("report.json: cannot be read: ")


def test_limit_counts_pictures_and_takes_all_of_their_narratives(data: Path) -> None:
    counts = build("dataset", {"name": "trace-captions"}).make(data / "out", "test", 0, 1)
    assert (counts["images"], counts["narratives"], counts["sentences"]) == (1, 2, 6)
    assert made(data / "out")["139"]["captions"] == ["A dog.", "A red cat.", "A chair."]


def test_train_takes_restval(data: Path) -> None:
    build("dataset", {"name": "trace-captions"}).make(data / "out", "train", 0, None)
    assert list(made(data / "out", "trace_capt_coco_train.json")) == ["77"]


def test_options_decide_on_points(data: Path) -> None:
    options = {"name": "trace-captions", "trim": 0.0, "min_points": 8}
    counts = build("dataset", options).make(data / "out", "test", 0, None)
    assert counts["dropped: too few points"] == 2
    assert len(made(data / "out")["139"]["traces"][0]) == 20


def test_pictures_may_be_listed_or_all_be_taken(data: Path) -> None:
    (data / "ids.txt").write_text("000000000025\n77\n")
    build("dataset", {"name": "trace-captions", "images": "ids.txt"}).make(data / "a", "test", 0, None)
    assert list(made(data / "a")) == ["77"]
    build("dataset", {"name": "trace-captions", "images": "all"}).make(data / "b", "train", 0, None)
    assert list(made(data / "b", "trace_capt_coco_train.json")) == ["9", "77", "139"]
    with pytest.raises(DataError, match="coco have no split 'test', they have: val, train\n  name the pictures"):
        build("dataset", {"name": "trace-captions", "images": "all"}).make(data / "c", "test", 0, None)


def test_the_list_of_the_release_is_read(data: Path) -> None:
    if not COCO_LIST.is_file():
        pytest.skip("coco-karpathy-test-images.json, a file of a release, is not beside this checkout")
    path = data / "localized_narratives" / "coco_val_localized_narratives.jsonl"
    path.write_text(json.dumps(narrative("391895", ("There is a man.", 10, 0.5))) + "\n" + json.dumps(FIRST))
    build("dataset", {"name": "trace-captions", "images": str(COCO_LIST)}).make(data / "out", "test", 0, None)
    assert "391895" in made(data / "out")


def test_flickr30k_has_splits_of_its_own(data: Path) -> None:
    root = data / "localized_narratives"
    held = narrative("1007129816", ("There is a man.", 10, 0.5))
    (root / "flickr30k_test_localized_narratives.jsonl").write_text(json.dumps(held))
    build("dataset", {"name": "trace-captions", "source": "flickr30k"}).make(data / "out", "test", 0, None)
    assert made(data / "out", "trace_capt_flickr30k_test.json")["1007129816"]["captions"] == ["A man."]


class Recorded(Judge):
    """Answers by what it was asked about, and counts how often it is asked."""

    identity = "recorded"
    keeps = True

    def __init__(self, answer: Callable[[str, int], Reply]) -> None:
        self.answer, self.asked = answer, 0

    def ask(self, questions: Sequence[Question], attempt: int = 0) -> Iterator[tuple[int, Reply]]:
        for at, one in enumerate(questions):
            self.asked += 1
            yield at, self.answer(one.prompt.rstrip().rpartition("\n")[2], attempt)


REPLIES = {
    "In this image there is a dog.": "{A brown dog.}",
    "A red cat.": "{A red cat.}",
    "The image is blurred.": "{<INVALID>}",
    "I think it is a bus.": "``",
    "We can see trees.": "Here you are: trees",
    "The picture is clear.": None,
    "We see a chair.": "not in braces",
}


def recorded(sentence: str, attempt: int) -> Reply:
    text = REPLIES[sentence]
    if sentence == "We see a chair." and attempt:
        return Reply("{A chair.}")
    return Reply(None, "the server said 500") if text is None else Reply(text)


def judged(judge: Judge, **options: Any) -> TraceCaptions:
    return TraceCaptions(TraceCaptionsConfig(judge="recorded", **options), judge)


def test_the_benchmark_is_made_by_a_judge(data: Path) -> None:
    judge = Recorded(recorded)
    counts = judged(judge).make(data / "out", "test", 0, None)
    add_up(dict(counts))
    assert {name: count for name, count in counts.items() if count} == {
        "images": 1, "images without a caption": 2, "narratives": 4, "narratives that cannot be used": 1,
        "sentences": 9, "kept": 3, "rewritten": 2, "unchanged": 1,
        "dropped: no points": 1, "dropped: too few points": 1, "dropped: judged invalid": 2,
        "dropped: unreadable reply": 1, "dropped: no reply": 1,
        "judge failed: unreadable reply": 1, "judge failed: no reply": 1,
    }  # fmt: skip
    assert made(data / "out")["139"]["captions"] == ["A brown dog.", "A red cat.", "A chair."]
    assert made(data / "out", "report.json")["rewritten_by"] == "recorded"
    assert judge.asked == 7 + 3  # three had no answer at first


def test_what_was_answered_is_never_asked_again(data: Path) -> None:
    judged(Recorded(recorded)).make(data / "one", "test", 0, None)
    again = Recorded(recorded)
    judged(again).make(data / "two", "test", 0, None)
    assert again.asked == 2  # twice for the reply that never came
    files = [(data / name / "trace_capt_coco_test.json").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]


def test_the_option_names_a_judge_and_kept_replies_are_replayed(data: Path) -> None:
    judge = Recorded(recorded)
    judged(judge).make(data / "one", "test", 0, None)
    kept = judge.replies()
    assert kept is not None
    chosen = {"name": "recorded", "file": str(kept.path)}
    component = build("dataset", {"name": "trace-captions", "judge": chosen})
    counts = component.make(data / "two", "test", 0, None)
    assert (counts["kept"], counts["dropped: judged invalid"]) == (3, 2)
    assert made(data / "two") == made(data / "one")


def test_a_build_that_is_killed_goes_on_where_it_was(data: Path) -> None:
    asked: list[str] = []

    def dies(sentence: str, attempt: int) -> Reply:
        asked.append(sentence)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return Reply("{A thing.}")

    with pytest.raises(KeyboardInterrupt):
        judged(Recorded(dies)).make(data / "out", "test", 0, None)
    assert not (data / "out").exists()
    again = Recorded(lambda sentence, attempt: Reply("{A thing.}"))
    counts = judged(again).make(data / "out", "test", 0, None)
    assert (again.asked, counts["kept"]) == (7 - 3, 7)


def test_rules_may_stand_in_for_the_judge(data: Path) -> None:
    counts = judged(Recorded(recorded), unanswered="rules").make(data / "out", "test", 0, None)
    add_up(dict(counts))
    assert (counts["kept"], counts["judge failed: unreadable reply"], counts["judge failed: no reply"]) == (4, 1, 1)
    assert (counts["dropped: unreadable reply"], counts["dropped: no reply"], counts["dropped: vague"]) == (0, 0, 1)
    assert made(data / "out")["9"]["captions"] == ["Trees."]


def test_a_judge_that_answers_nothing_makes_no_benchmark(data: Path) -> None:
    silent = Recorded(lambda sentence, attempt: Reply(None, "nobody is there", final=True))
    with pytest.raises(RunFailed) as caught:
        judged(silent, unanswered="rules").make(data / "out", "test", 0, None)
    assert str(caught.value) == (
        "trace-captions: the judge: none of 7 questions has an answer\n  7 times: nobody is there"
    )
    assert not (data / "out").exists()


def test_a_benchmark_of_nothing_is_refused(data: Path) -> None:
    with pytest.raises(DataError) as caught:
        build("dataset", {"name": "trace-captions", "min_points": 999}).make(data / "out", "test", 0, None)
    assert str(caught.value).startswith(
        "trace-captions: no sentence is left of 4 narratives\n  dropped: no points: 1\n  dropped: too few points: 8"
    )


def test_what_is_missing_is_named(data: Path) -> None:
    component = build("dataset", {"name": "trace-captions", "on_bad": "stop"})
    with pytest.raises(DataError, match=r"00001-of-00004.jsonl:2: it has no 'image_id'\n  leave such narratives out"):
        component.make(data / "out", "test", 0, None)
    (data / "coco" / "dataset_coco.json").unlink()
    with pytest.raises(DataError) as caught:
        component.make(data / "out", "test", 0, None)
    assert str(caught.value).startswith(
        "which pictures the benchmark has is not known: coco/dataset_coco.json: no such file\n  looked for: "
    )
    assert caught.value.hints[-1] == "name a file of ids: images: FILE, or take all that were narrated: images: all"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param('{"images": 3}', "ids.json: there are no images in this file", id="form"),
        pytest.param('{"images": [{"cocoid": "x"}]}', r"ids.json: images\[0\]: 'image_id' is no id", id="id"),
        pytest.param('{"images": [3]}', r"ids.json: images\[0\] is no object", id="entry"),
        pytest.param('{"images": [{"cocoid": 1, "split": "val"}]}', "no picture of the split 'test'", id="split"),
        pytest.param('{"images": [', "ids.json:1:13: not JSON", id="cut"),
    ],
)
def test_lists_of_pictures_that_cannot_be_used(data: Path, content: str, message: str) -> None:
    (data / "ids.json").write_text(content)
    with pytest.raises(DataError, match=message):
        build("dataset", {"name": "trace-captions", "images": "ids.json"}).make(data / "out", "test", 0, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"trim": 0.5}, "trim: 0.5 must be at least 0 and less than 0.5", id="trim"),
        pytest.param({"min_points": 0}, "min_points: 0 must be at least 1", id="points"),
        pytest.param({"attempts": 0}, "attempts: 0 must be at least 1", id="attempts"),
        pytest.param({"unanswered": "keep"}, "unanswered", id="unanswered"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build("dataset", {"name": "trace-captions", **options})


GOOD = {"x": 0.5, "y": 0.5, "t": 1.0}


def read_back(data: Path, held: Any, **options: Any) -> Any:
    folder = data / "trace_captions" / "eval-trace-captioning"
    folder.mkdir(parents=True)
    (folder / "trace_capt_coco_test.json").write_text(held if isinstance(held, str) else json.dumps(held))
    return build("dataset", {"name": "trace-captions", **options})


def test_the_released_layout_is_read(data: Path) -> None:
    traces = [[GOOD, {"x": -0.1, "y": 0.5, "t": 2.0}, {"x": 1.0, "y": 0.0, "t": 3.0}], [{"x": 0.1, "y": 0.2}]]
    component = read_back(data, {"139": {"captions": ["A dog.\nA brown dog. \n", "A cat."], "traces": traces}})
    first, second = component.samples("trace", "test")
    assert (first.id, first.references) == ("139/0", ("A dog.", "A brown dog."))
    assert (first.region.points, first.region.times) == (((50.0, 20.0), (100.0, 0.0)), (1.0, 3.0))
    assert (second.region.points, second.region.times) == (((10.0, 8.0),), None)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param(
            {"captions": ["a"], "traces": []}, "'captions' and 'traces' are no lists of one length", id="length"
        ),
        pytest.param({"captions": ["a"]}, "it has no 'traces'", id="key"),
        pytest.param({"captions": [3], "traces": [[GOOD]]}, "the caption is no text: 3", id="caption"),
        pytest.param({"captions": [" \n"], "traces": [[GOOD]]}, "the caption is blank", id="blank"),
        pytest.param({"captions": ["a"], "traces": [[]]}, "no point of its trace lies in the picture", id="empty"),
        pytest.param({"captions": ["a"], "traces": [[GOOD | {"x": 2}]]}, "no point of its trace lies in", id="outside"),
        pytest.param({"captions": ["a"], "traces": [[GOOD | {"x": 10**400}]]}, "'x' is no finite number", id="huge"),
        pytest.param({"captions": ["a"], "traces": [[[0.5, 0.5]]]}, "an unexpected value", id="list"),
        pytest.param([], "an unexpected value", id="no-object"),
    ],
)
def test_entries_that_cannot_be_used_are_named(data: Path, bad: Any, reason: str) -> None:
    component = read_back(data, {"9": bad, "139": {"captions": ["A dog."], "traces": [[GOOD]]}})
    assert [one.id for one in component.samples("trace", "test")] == ["139/0"]
    (fault,) = component.faults("trace", "test")
    assert "trace_capt_coco_test.json: '9'" in fault
    assert reason in fault


@pytest.mark.parametrize(
    ("held", "message"),
    [
        pytest.param('{"139": {', "trace_capt_coco_test.json:1:10: not JSON", id="cut"),
        pytest.param("[]", "a JSON object is expected, with one record a key", id="list"),
        pytest.param("[" * 100_000, "brackets are nested too deeply", id="brackets"),
    ],
)
def test_files_that_cannot_be_used(data: Path, held: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_back(data, held).samples("trace", "test")


def test_a_missing_picture_and_a_missing_file_are_named(data: Path) -> None:
    component = read_back(data, {"1": {"captions": ["A dog."], "traces": [[GOOD]]}})
    with pytest.raises(DataError, match=r"the picture '1' is not there: looked for .*train2017/000000000001\.jpg"):
        component.samples("trace", "test")
    with pytest.raises(DataError, match=r"needs trace_capt_coco_val\.json or eval-trace-captioning/"):
        component.samples("trace", "val")
