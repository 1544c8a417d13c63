"""Localized Narratives: files as they are released, sentences and the points that belong to them, damaged records."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from regionkit.core.errors import ConfigError, DataError
from regionkit.core.regions import Trace, WholeImage
from regionkit.plugins.datasets.narratives.alignment import bind, pieces, spoken
from regionkit.plugins.datasets.narratives.recording import Narrative, TracePoint, Utterance
from regionkit.registry.assembly import build
from regionkit.registry.cli import root as toolkit

CAPTION = "In this image a dog, a red cat. There is grass and sky."


def timed(*words: tuple[str, float, float]) -> list[dict[str, Any]]:
    return [{"utterance": text, "start_time": start, "end_time": end} for text, start, end in words]


def point(x: float, y: float, t: float) -> dict[str, float]:
    return {"x": x, "y": y, "t": t}


def record(**changes: Any) -> dict[str, Any]:
    """A narrative of a COCO picture in the official form."""
    held = {
        "dataset_id": "mscoco_val2017",
        "image_id": "139",
        "annotator_id": 93,
        "caption": CAPTION,
        "timed_caption": timed(
            ("In this image", 0.0, 1.0), ("a dog,", 1.0, 2.0), ("a", 2.5, 2.5), ("red cat.", 2.5, 4.0),
            ("There", 5.0, 5.5), ("is", 5.5, 5.6), ("grass", 5.6, 6.0), ("and", 6.0, 6.0), ("sky.", 7.0, 8.0),
        ),
        "traces": [
            [point(0.25, 0.5, 0.5), point(0.5, 0.5, 1.0), point(1.2, 0.5, 1.5)],
            [point(0.75, 0.25, 2.2), point(0.75, 0.5, 3.0), point(-0.1, 0.5, 5.2), point(0.1, 0.9, 7.5)],
        ],
        "voice_recording": "coco_val/coco_val_139_93.ogg",
    }  # fmt: skip
    return held | changes


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("localized_narratives", "coco/val2017"):
        (tmp_path / name).mkdir(parents=True)
    Image.new("RGB", (100, 40)).save(tmp_path / "coco/val2017/000000000139.jpg")
    return tmp_path / "localized_narratives"


def write(root: Path, *records: Any, name: str = "coco_val_localized_narratives.jsonl") -> None:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in records]
    (root / name).write_text("\n".join(lines) + "\n")


def dataset(root: Path, **options: Any) -> Any:
    return build("dataset", {"name": "localized-narratives", "root": str(root), **options})


def test_pieces_have_the_points_drawn_during_their_words(root: Path) -> None:
    write(root, record())
    data = dataset(root)
    assert data.splits == ("val", "train")
    samples = data.samples("trace", "val")
    assert [(one.id, one.references, one.region.points, one.region.times) for one in samples] == [
        ("139/0/0", ("In this image a dog",), ((25.0, 20.0), (50.0, 20.0)), (0.5, 1.0)),
        ("139/0/1", ("a red cat",), ((75.0, 20.0),), (3.0,)),  # the point of 2.2 was drawn in a pause
        ("139/0/2", ("There is grass and sky",), ((10.0, 36.0),), (7.5,)),  # the one of 5.2 left the picture
    ]
    assert samples[0].image_id == "139"
    assert samples[0].info == {"annotator": "93"}
    assert isinstance(samples[0].region, Trace)
    assert data.image("139").size == (100, 40)
    assert list(data.faults("trace", "val")) == []


def test_a_narrative_is_a_caption_of_its_picture(root: Path) -> None:
    write(root, record(), record(annotator_id=7, caption=" Two  things. "))
    samples = dataset(root).samples("image", "val")
    assert [(one.id, one.references) for one in samples] == [("139/0", (CAPTION,)), ("139/1", ("Two  things.",))]
    assert samples[0].region == WholeImage()
    assert len(dataset(root).samples("image", "val", limit=1)) == 2  # both are of one picture


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        pytest.param("paper", ["In this image a dog", "a red cat", "There is grass and sky"], id="paper"),
        pytest.param("released", ["In this image a dog", "a red cat", "There is grass", "sky"], id="released"),
        pytest.param("sentences", ["In this image a dog, a red cat", "There is grass and sky"], id="sentences"),
    ],
)
def test_where_captions_are_cut(rule: str, wanted: list[str]) -> None:
    found = pieces(CAPTION, rule)
    assert [piece.text for piece in found] == wanted
    assert all(CAPTION[piece.start : piece.end] == piece.text for piece in found)


def test_numbers_are_cut_by_the_released_rule_alone() -> None:
    assert [piece.text for piece in pieces("A 3.5 l can.Two,1,000 cups", "paper")] == [
        "A 3.5 l can",
        "Two",
        "1,000 cups",
    ]
    assert [piece.text for piece in pieces("A 3.5 l can.Two", "sentences")] == ["A 3.5 l can", "Two"]
    assert [piece.text for piece in pieces("A 3.5 l", "released")] == ["A 3", "5 l"]
    assert pieces(" . , .", "paper") == []


def narrative(caption: str, words: list[tuple[str, float, float]], times: list[float]) -> Narrative:
    points = tuple(TracePoint(0.5, 0.5, time) for time in times)
    return Narrative("1", "2", caption, tuple(Utterance(*word) for word in words), points)


def times_of(held: Narrative, rule: str, align: str) -> list[tuple[str, list[float]]]:
    return [(piece.text, [one.t for one in piece.points]) for piece in spoken(held, rule, align)]


def test_the_released_offsets_drift_where_the_caption_is_not_the_join() -> None:
    # The caption has a word that was never spoken, so the running offset of "sky" falls into the first sentence.
    held = narrative(
        "A big brown dog. A sky", [("A", 0, 1), ("dog.", 1, 2), ("A", 3, 4), ("sky", 4, 5)], [0.5, 1, 1.5, 4.5]
    )
    assert times_of(held, "sentences", "words") == [("A big brown dog", [0.5, 1, 1.5]), ("A sky", [4.5])]
    assert times_of(held, "sentences", "running") == [("A big brown dog", [0.5, 1, 1, 1.5, 4.5]), ("A sky", [])]


def test_of_equal_texts_the_released_rule_keeps_one() -> None:
    held = narrative("a cat. a cat.", [("a cat.", 0, 1), ("a cat.", 2, 3)], [0.5, 2.5])
    assert times_of(held, "sentences", "words") == [("a cat", [0.5]), ("a cat", [2.5])]
    assert times_of(held, "sentences", "running") == [("a cat", [2.5])]


def test_a_window_takes_in_the_pauses() -> None:
    held = narrative("a cat. sky", [("a", 0, 1), ("cat.", 2, 3), ("sky", 3.5, 4)], [0.5, 1.5, 2.5, 3.2, 3.7])
    assert times_of(held, "sentences", "window") == [("a cat", [0.5, 1.5, 2.5]), ("sky", [3.7])]
    assert times_of(held, "sentences", "words") == [("a cat", [0.5, 2.5]), ("sky", [3.7])]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        pytest.param([("a cat.", 0, 1), ("sky", 1, 2)], [[0.5], [1.5]], id="exact"),
        pytest.param([("A CAT", 0, 1), ("Sky!", 1, 2)], [[0.5], [1.5]], id="case-and-marks"),
        pytest.param([("a", 0, 0.2), ("hat", 0.2, 1), ("sky", 1, 2)], [[0.5], [1.5]], id="misheard"),
        pytest.param([("um", 0, 1), ("a cat", 0, 0), ("sky", 1, 2)], [[0.5], [1.5]], id="never-written"),
        pytest.param([("a cat", 1.2, 1.8), ("sky", 0, 1)], [[1.5], [0.5]], id="out-of-order"),
        pytest.param([("a cat", 0.5, 0.5), ("sky", 2, 1)], [[0.5], []], id="no-time-and-backwards"),
        pytest.param([("a cat. sky", 0, 2)], [[0.5, 1.5], [0.5, 1.5]], id="across"),
        pytest.param([("", 0, 2), ("...", 0, 2)], [[], []], id="no-words"),
        pytest.param([], [[], []], id="nothing"),
    ],
)
def test_utterances_that_differ_from_the_caption(
    words: list[tuple[str, float, float]], wanted: list[list[float]]
) -> None:
    held = narrative("a cat. sky", words, [0.5, 1.5])
    assert [times for _, times in times_of(held, "sentences", "words")] == wanted


@pytest.mark.parametrize(
    ("heard", "written", "wanted"),
    [
        pytest.param("a b c", "a b c", [0, 1, 2], id="same"),
        pytest.param("a x c", "a b c", [0, 1, 2], id="one-misheard"),
        pytest.param("a c", "a b c", [0, 2], id="one-unspoken"),
        pytest.param("a b x c", "a b c", [0, 1, 1, 2], id="one-more"),
        pytest.param("x y z w", "a b", [0, 0, 1, 1], id="nothing-in-common"),
        pytest.param("x a", "a", [0, 0], id="one-before"),
        pytest.param("", "a", [], id="silence"),
    ],
)
def test_words_are_bound_to_words(heard: str, written: str, wanted: list[int]) -> None:
    assert bind(heard.split(), written.split()) == wanted


@pytest.mark.timeout(20)
def test_endless_captions_do_not_hang() -> None:
    bound = bind(["a", "b"] * 20_000, ["b", "c", "a"] * 20_000)
    assert len(bound) == 40_000
    assert bound == sorted(bound)


def test_pieces_without_a_point_are_left_out_by_protocol(root: Path) -> None:
    traces = [[point(0.5, 0.5, 0.5), point(1.5, 0.5, 3.0)]]
    write(root, record(traces=traces))
    data = dataset(root)
    assert [one.id for one in data.samples("trace", "val")] == ["139/0/0"]
    where = root / "coco_val_localized_narratives.jsonl"
    assert list(data.faults("trace", "val")) == []
    assert list(data.left("trace", "val")) == [
        f"{where}:1: no point was drawn in the picture during 'a red cat'",
        f"{where}:1: no point was drawn in the picture during 'There is grass and sky'",
    ]
    assert data.disclaimer == "2 records of trace@localized-narratives/val are left out by protocol."
    assert len(dataset(root, on_bad="stop").samples("trace", "val")) == 1
    chosen = ["--task", "trace", "--split", "val", "--set", f"root={root}", "--pictures", "0", "--json"]
    result = CliRunner().invoke(toolkit, ["data", "verify", "localized-narratives", *chosen])
    told = json.loads(result.stdout)
    assert (result.exit_code, told["faults"], told["counts"][0]["left_out_by_protocol"]) == (0, [], 2)
    assert told["notes"] == [
        f"trace/val by protocol: 2 records, such as {where}:1: no point was drawn in the picture during 'a red cat'"
    ]


BAD = [
    pytest.param('{"image_id": "139"', "no JSON, at column ", id="cut"),
    pytest.param("[" * 100_000, "brackets are nested too deeply to be read", id="brackets"),
    pytest.param("7", "a narrative is a JSON object", id="number"),
    pytest.param(record(caption=None), "'caption' is no text: None", id="caption"),
    pytest.param(record(caption="  "), "'caption' is blank", id="blank"),
    pytest.param(record(caption="a\ud800"), "'caption' holds half of a character", id="surrogate"),
    pytest.param(record(traces=[[point(float("nan"), 0, 0)]]), "NaN is no number that JSON has", id="nan"),
    pytest.param(json.dumps(record()).replace("1.2", "1e999"), "'x' is no finite number", id="infinite"),
    pytest.param(record(traces=[[point(0, 10**400, 0)]]), "'y' is no finite number", id="huge"),
    pytest.param(record(traces=[[{"x": 0, "y": 0}]]), "it has no 't'", id="no-time"),
    pytest.param(record(timed_caption=[{"utterance": "a", "start_time": "0", "end_time": 1}]),
                 "'start_time' is no number: 0", id="text-time"),
    pytest.param(record(image_id="../../etc/passwd"), "'image_id' is no id of a picture of coco: '../../etc/passwd'",
                 id="path"),
    pytest.param(record(image_id=4), "the picture '4' is not there: looked for ", id="no-picture"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "reason"), BAD)
def test_records_that_cannot_be_used_are_named_and_the_others_are_read(root: Path, bad: Any, reason: str) -> None:
    write(root, bad, record())
    data = dataset(root)
    assert [one.id for one in data.samples("trace", "val")] == ["139/1/0", "139/1/1", "139/1/2"]
    first = data.faults("trace", "val")[0]
    assert first.startswith(f"{root}/coco_val_localized_narratives.jsonl:1: {reason}")
    with pytest.raises(DataError, match=r"localized_narratives.jsonl:1: .*\n  leave such records out with on_bad"):
        dataset(root, on_bad="stop").samples("trace", "val")


def test_files_come_in_parts_and_packed(root: Path) -> None:
    packed = gzip.compress(json.dumps(record()).encode())
    for part in range(4):
        (root / f"coco_train_localized_narratives-{part:05}-of-00004.jsonl").write_bytes(packed)
    assert [one.id for one in dataset(root).samples("image", "train")] == ["139/0", "139/1", "139/2", "139/3"]
    (root / "coco_train_localized_narratives-00002-of-00004.jsonl").write_bytes(packed[:-20])
    with pytest.raises(DataError, match=r"00002-of-00004\.jsonl: the gzip file is cut off"):
        dataset(root).samples("image", "train")
    (root / "coco_train_localized_narratives-00001-of-00004.jsonl").unlink()
    with pytest.raises(DataError) as caught:
        dataset(root).samples("image", "train")
    assert str(caught.value) == (
        "data set 'localized-narratives' needs coco_train_localized_narratives-00001-of-00004.jsonl in "
        f"{root}, which is not there\n  where to get it: toolkit data list localized-narratives\n"
        "  a part by itself is read under the name of the whole, coco_train_localized_narratives.jsonl"
    )


@pytest.mark.parametrize(
    ("source", "split", "file", "image_id", "picture"),
    [
        pytest.param("flickr30k", "test", "flickr30k_test_localized_narratives.jsonl", "1007129816",
                     "flickr30k/flickr30k-images/1007129816.jpg", id="flickr30k"),
        pytest.param("ade20k", "validation", "ade20k_validation_localized_narratives.jsonl", "ADE_val_00000001",
                     "ade20k/ADEChallengeData2016/images/validation/ADE_val_00000001.jpg", id="ade20k"),
        pytest.param("open-images", "test", "open_images_test_localized_narratives.jsonl", "000026e7ee790996",
                     "open_images/test/000026e7ee790996.jpg", id="open-images"),
        pytest.param("open-images", "train", "open_images_train_v6_localized_narratives.jsonl", "000026e7ee790996",
                     "open_images/train_0/000026e7ee790996.jpg", id="open-images-by-letter"),
        pytest.param("open-images", "train", "open_images_train_v6_localized_narratives.jsonl", "000026e7ee790996",
                     "open-images/train_0/000026e7ee790996.jpg", id="the-folder-of-open-images"),
        pytest.param("coco", "train", "coco_train_localized_narratives.jsonl", "9",
                     "coco/train2014/COCO_train2014_000000000009.jpg", id="coco-of-2014"),
    ],
)  # fmt: skip
def test_all_sources(root: Path, source: str, split: str, file: str, image_id: str, picture: str) -> None:
    path = root.parent / picture
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (10, 20)).save(path)
    write(root, record(image_id=image_id), name=file)
    data = dataset(root, source=source)
    (sample, *_) = data.samples("trace", split)
    assert (sample.image_id, sample.region.points) == (image_id, ((2.5, 10.0), (5.0, 10.0)))
    assert data.picture(image_id).resolve() == path.resolve()


def test_what_is_asked_for_must_be_there(root: Path) -> None:
    with pytest.raises(DataError, match="has no split 'test'\n  it has: val, train"):
        dataset(root).samples("trace", "test")
    with pytest.raises(ConfigError, match="source"):
        dataset(root, source="visual-genome")
