"""Video Localized Narratives: the published sample, both time bases, RegionVLM's recipe, damaged records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from regionkit.core.errors import DataError
from regionkit.plugins.datasets.narratives.video import read_actor
from regionkit.registry.assembly import build

SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "upstream" / "video_localized_narratives_sample.jsonl"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the published sample and a picture of 200 x 100 for every keyframe."""
    if not SAMPLE.is_file():
        pytest.skip("video_localized_narratives_sample.jsonl, a file of a release, is not beside this checkout")
    root = tmp_path_factory.mktemp("video")
    (root / "sample.jsonl").symlink_to(SAMPLE)
    for line in SAMPLE.read_text().splitlines():
        held = json.loads(line)
        for name in held["keyframe_names"]:
            path = root / held["video_id"] / f"{name}.jpg"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (200, 100)).save(path)
    return root


def dataset(root: Path, **options: Any) -> Any:
    return build("dataset", {"name": "video-localized-narratives", "root": str(root), **options})


def records() -> list[dict[str, Any]]:
    return [json.loads(line) for line in SAMPLE.read_text().splitlines()]


def test_an_actor_on_a_keyframe_is_a_sample(sample: Path) -> None:
    samples = dataset(sample).samples("trace", "train")
    assert (len(samples), sum(len(one.region.points) for one in samples)) == (56, 10_104)
    first = samples[0]
    assert (first.id, first.image_id) == (
        "oops_train/4009/0/0",
        "Carnival of Excess (March 2019) _ FailArmy34/000025",
    )
    assert first.references[0].startswith("A man wearing a clown costume is walking to the left, holding a cake")
    assert (len(first.region.points), first.region.points[0]) == (180, (50.566, 17.397))
    assert (first.region.times[0], first.region.times[-1]) == (0.997, 17.715)
    assert first.info == {"actor": "Man", "keyframe": 0}
    inside = sum(
        0 <= point["x"] <= 1 and 0 <= point["y"] <= 1
        for record in records() for actor in record["actor_narratives"] for trace in actor["traces"] for point in trace
    )  # fmt: skip
    assert inside == 10_104
    assert list(dataset(sample).faults("trace", "train")) == []


def test_the_background_may_be_left_out(sample: Path) -> None:
    samples = dataset(sample, background="leave-out").samples("trace", "train")
    assert (len(samples), {one.info["actor"] for one in samples} & {"background"}) == (50, set())


def test_other_splits_are_empty(sample: Path) -> None:
    with pytest.raises(DataError, match="trace@video-localized-narratives/val has no sample"):
        dataset(sample).samples("trace", "val")


def by_hand(begin_of: Any) -> int:
    """Count noun segments on keyframes with a point, straight from the records."""
    found = set()
    for record in records():
        for actor in record["actor_narratives"]:
            begin, words = begin_of(actor), actor["time_alignment"]
            for number, (first, behind) in enumerate(actor["noun_segments"]):
                for at, word in enumerate(words):
                    if word["referenced_word_start_idx"] >= behind or word["referenced_word_end_idx"] <= first:
                        continue
                    end = words[at + 1]["start_ms"] if at + 1 < len(words) else word["end_ms"]
                    found |= {
                        (record["vidln_id"], record["dataset_id"], actor["actor_name"], number, point["kf_idx"])
                        for trace in actor["traces"]
                        for point in trace
                        if begin + word["start_ms"] <= point["time_ms_since_epoch"] < begin + end
                    }
    return len(found)


@pytest.mark.parametrize(
    ("time_base", "count", "points", "begin_of"),
    [
        pytest.param("official", 183, 5199, lambda actor: actor["recording_start_time_ms_since_epoch"], id="official"),
        pytest.param("released", 160, 5431, lambda actor: actor["traces"][0][0]["time_ms_since_epoch"], id="released"),
    ],
)
def test_noun_segments_have_what_was_drawn_during_their_words(
    sample: Path, time_base: str, count: int, points: int, begin_of: Any
) -> None:
    samples = dataset(sample, unit="segment", time_base=time_base).samples("trace", "train")
    assert (len(samples), sum(len(one.region.points) for one in samples)) == (count, points)
    assert by_hand(begin_of) == count
    segments = {tuple(one.id.split("/")[k] for k in (0, 1, 2, 4)) for one in samples}
    silent = dataset(sample, unit="segment", time_base=time_base).left("trace", "train")
    never = [one for one in silent if ": nothing was drawn during '" in one]
    assert len(segments) + len(never) == sum(
        len(actor["noun_segments"]) for record in records() for actor in record["actor_narratives"]
    )
    tiger = [one for one in samples if one.id.startswith("OVIS_train/1/0/")]
    assert {one.references[0] for one in tiger} <= {"tiger", "stripes"}


def test_the_released_time_base_is_late() -> None:
    if not SAMPLE.is_file():
        pytest.skip("video_localized_narratives_sample.jsonl, a file of a release, is not beside this checkout")
    late = [
        (read_actor(one, "released", 10).begin - read_actor(one, "official", 10).begin) / 1000
        for record in records()
        for one in record["actor_narratives"]
    ]
    assert (len(late), round(min(late), 3), round(max(late), 3)) == (22, 0.997, 8.881)
    assert sum(delay > 3.7 for delay in late) == 2  # both of a background


def test_the_recipe_of_regionvlm(sample: Path) -> None:
    samples = dataset(sample, unit="subject").samples("trace", "train")
    assert len(samples) == 37
    actors = {(one.id.rsplit("/", 2)[0], one.info["actor"]) for one in samples}
    assert len(actors) == 12  # 22 but for six that come last, and four whose subject is a group of something
    assert not any("roup" in actor or actor == "background" for _, actor in actors)
    man = next(one for one in samples if one.id == "oops_train/4009/0/1")
    assert man.references[0].endswith("and putting the cake on a white table and falls on the left.")
    # "A man wearing a clown costume" is spoken from 1.83 s on, and "is" begins at 10.14 s.
    assert (len(man.region.points), man.region.times[0], man.region.times[-1]) == (19, 1.881, 6.564)
    other = dataset(sample, unit="subject", time_base="released").samples("trace", "train")
    assert sum(len(one.region.points) for one in samples) == 1753
    assert sum(len(one.region.points) for one in other) == 1578


def actor(**changes: Any) -> dict[str, Any]:
    words = [("A", 0, 1, 100, 200), ("cat", 2, 5, 300, 400), ("sat", 6, 9, 600, 700)]
    return {
        "actor_name": "Cat",
        "caption": "A cat sat.",
        "recording_start_time_ms_since_epoch": 1_600_000_000_000,
        "noun_segments": [[2, 5]],
        "time_alignment": [
            {"referenced_word": text, "referenced_word_start_idx": first, "referenced_word_end_idx": behind,
             "start_ms": start, "end_ms": end} for text, first, behind, start, end in words
        ],
        "traces": [[
            {"x": 0.1 * number, "y": 0.5, "time_ms_since_epoch": 1_600_000_000_000 + time, "kf_idx": 0}
            for number, time in enumerate((50, 100, 299, 300, 599, 600, 699, 700))
        ]],
    } | changes  # fmt: skip


def record(**changes: Any) -> dict[str, Any]:
    return {
        "vidln_id": 3, "dataset_id": "UVO_val", "video_id": "clip", "keyframe_names": ["k0"], "annotator_id": 1,
        "actor_narratives": [actor(), actor(actor_name="background")],
    } | changes  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "clip").mkdir()
    Image.new("RGB", (10, 10)).save(tmp_path / "clip" / "k0.png")
    return tmp_path


def write(root: Path, *held: Any) -> None:
    (root / "UVO_val.jsonl").write_text("\n".join(json.dumps(one) for one in held))


def test_a_word_lasts_until_the_next_begins(root: Path) -> None:
    write(root, record())
    (first, second) = dataset(root, unit="segment").samples("trace", "val")
    assert (first.id, first.references, first.region.times) == ("UVO_val/3/0/0/0", ("cat",), (0.3, 0.599))
    assert second.id == "UVO_val/3/1/0/0"
    (only,) = dataset(root, unit="subject").samples("trace", "val")  # no "is": the words up to the subject
    assert (only.references, only.region.times) == (("A cat sat.",), (0.1, 0.299, 0.3, 0.599))


def test_an_actor_called_group_is_no_subject(root: Path) -> None:
    write(root, record(actor_narratives=[actor(caption="A group is", noun_segments=[[2, 7]]), actor(), actor()]))
    assert [one.id for one in dataset(root, unit="subject").samples("trace", "val")] == ["UVO_val/3/1/0"]


POINT = {"x": 0.5, "y": 0.5, "time_ms_since_epoch": 1, "kf_idx": 0}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param([], "a narrative is a JSON object", id="list"),
        pytest.param(record(actor_narratives=[actor(traces=[[POINT | {"kf_idx": 1}]])]),
                     "'kf_idx' is 1, and there are 1 keyframes", id="keyframe"),
        pytest.param(record(actor_narratives=[actor(traces=[[POINT | {"x": "0"}]])]), "'x' is no number: 0", id="text"),
        pytest.param(record(actor_narratives=[actor(traces=[[POINT | {"time_ms_since_epoch": 10**400}]])]),
                     "'time_ms_since_epoch' is no finite number", id="huge"),
        pytest.param(record(actor_narratives=[actor(noun_segments=[[2, 99]])]),
                     "'noun_segments' has [2, 99], and the caption 10 characters", id="segment"),
        pytest.param(record(actor_narratives=[{"actor_name": "Cat", "caption": "a"}]), "it has no 'traces'", id="less"),
        pytest.param(record(video_id="../../etc"), "'../../etc' is no name of a clip or a keyframe", id="path"),
        pytest.param(record(keyframe_names="k0"), "'keyframe_names' is no list of names", id="names"),
        pytest.param(record(video_id="gone"), "the picture 'gone/k0' is not there: looked for ", id="picture"),
    ],
)  # fmt: skip
def test_records_that_cannot_be_used_are_named(root: Path, bad: Any, reason: str) -> None:
    write(root, bad, record(vidln_id=4))
    data = dataset(root)
    assert [one.id for one in data.samples("trace", "val")] == ["UVO_val/4/0/0", "UVO_val/4/1/0"]
    assert data.faults("trace", "val")[0].startswith(f"{root}/UVO_val.jsonl:1: {reason}")
    with pytest.raises(DataError, match=r"UVO_val.jsonl:1: "):
        dataset(root, on_bad="stop").samples("trace", "val")


def test_a_folder_without_narratives_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        dataset(tmp_path).samples("trace", "train")
    assert str(caught.value) == (
        f"data set 'video-localized-narratives' needs *.jsonl in {tmp_path}, which is not there\n"
        "  where to get it: toolkit data list video-localized-narratives"
    )
