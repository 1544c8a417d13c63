"""HC-STVG and VideoRefer-Bench-D from small files in their official layouts."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from regionkit.core.errors import DataError, RegionError
from regionkit.core.region_io import run_lengths
from regionkit.core.regions import MaskTrack
from regionkit.plugins.datasets.video.clips import seen_mask
from regionkit.plugins.datasets.video.configs import HcStvgConfig, VideoReferConfig
from regionkit.plugins.datasets.video.hc_stvg import HcStvg
from regionkit.plugins.datasets.video.videorefer import VideoReferD

FILM = "55_vfjywN5CN0Y.mp4"
CLIP = "rLlzmcp3J6s_0:01:09.633_0:01:14.333.mp4"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))


def write_frames(folder: Path, count: int) -> None:
    """Write pictures of 20 x 10 pixels, whose grey is their number, counted from 0."""
    folder.mkdir(parents=True)
    for index in range(count):
        Image.new("RGB", (20, 10), (index,) * 3).save(folder / f"{index + 1}.png")


def film(**changes: object) -> dict:
    return {
        "bbox": [[place, 2, 4, 5] for place in range(10)],
        "st_frame": 21,
        "ed_frame": 30,
        "st_time": 5.0,
        "ed_time": 7.5,
        "img_num": 40,
        "img_size": [10, 20, 3],
        "English": "The woman in the red dress turns around.",
        "Chinese": "x",
        **changes,
    }


def hc_stvg(root: Path, films: dict, name: str = "val_v2.json", **options: object) -> HcStvg:
    root.mkdir(exist_ok=True)
    (root / name).write_text(json.dumps(films))
    return HcStvg(HcStvgConfig(root=str(root), **options))


def test_boxes_of_a_film_become_a_track(tmp_path):
    data = hc_stvg(tmp_path / "hc", {FILM: film()}, frames=4)
    (sample,) = data.samples("video", "val")
    assert (sample.id, sample.image_id) == (FILM, f"{FILM}@20,23,26,29")  # st_frame 21 is frame 20, counted from 0
    assert sample.references == ("The woman in the red dress turns around.",)
    assert sample.info == {"frame": 2, "caption_frames": [20, 23, 26, 29]}
    assert isinstance(sample.region, MaskTrack)
    for mask, left in zip(sample.region.masks, (0, 3, 6, 9), strict=True):
        expected = np.zeros((10, 20), dtype=bool)
        expected[2:7, left : left + 4] = True
        np.testing.assert_array_equal(mask.bitmap, expected)


@pytest.mark.parametrize(
    ("options", "name", "changes"),
    [
        pytest.param({}, "val_v2.json", {}, id="v2"),
        pytest.param({"release": "v1"}, "test.json", {"width": 20, "height": 10, "caption": "A man."}, id="v1"),
    ],
)
def test_both_releases(tmp_path, options, name, changes):
    held = film(**changes)
    if changes:
        del held["img_size"], held["English"]
    data = hc_stvg(tmp_path / "hc", {FILM: held}, name, **options)
    assert data.splits == (("test", "train") if options else ("val", "train"))
    (sample,) = data.samples("video", data.splits[0])
    assert sample.image_id == f"{FILM}@20,21,22,23,25,26,27,29"
    assert sample.references == ("A man." if changes else "The woman in the red dress turns around.",)
    with pytest.raises(DataError, match="data set 'hc-stvg' has no split 'dev'"):
        data.samples("video", "dev")


def test_frames_and_clips_come_from_a_folder(tmp_path):
    data = hc_stvg(tmp_path / "hc", {FILM: film(), "other.mp4": film(st_frame=1)}, frames=3)
    write_frames(tmp_path / "hc" / "frames" / "55_vfjywN5CN0Y", 40)
    first, second = data.samples("video", "val")
    frames = data.clip(first.image_id)
    assert [frame.getpixel((0, 0))[0] for frame in frames] == [20, 24, 29]
    assert data.clip(first.image_id)[0] is frames[0]  # the last clip is held
    assert data.image(f"{first.image_id}#1").getpixel((0, 0)) == (24, 24, 24)
    assert data.image(first.image_id).getpixel((0, 0)) == (20, 20, 20)
    with pytest.raises(DataError, match="has frames #0 to #2, and no #3"):
        data.image(f"{first.image_id}#3")
    with pytest.raises(DataError, match=r"the clip 'other\.mp4' is not there: looked for .*other\.mp4"):
        data.clip(second.image_id)
    with pytest.raises(DataError, match=r"'a\.mp4' is no clip of this data set: keys are VIDEO@FRAME,FRAME"):
        data.clip("a.mp4")


def test_the_fingerprint_sees_the_frames(tmp_path):
    data = hc_stvg(tmp_path / "hc", {FILM: film()}, frames=3)
    folder = tmp_path / "hc" / "frames" / "55_vfjywN5CN0Y"
    without = data.fingerprint("video", "val")
    write_frames(folder, 40)
    before = data.fingerprint("video", "val")
    Image.new("RGB", (20, 10)).save(folder / "1.png", dpi=(300, 300))  # no frame of the track
    assert data.fingerprint("video", "val") == before
    Image.new("RGB", (20, 10)).save(folder / "21.png", dpi=(300, 300))
    assert len({without, before, data.fingerprint("video", "val")}) == 3


def test_films_in_folders_are_found(tmp_path):
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'regionkit[video]'")
    data = hc_stvg(tmp_path / "hc", {FILM: film()}, frames=2)
    path = tmp_path / "hc" / "video" / "3" / FILM
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=4)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuvj420p"
        for index in range(40):
            picture = av.VideoFrame.from_ndarray(np.full((16, 32, 3), 5 * index, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    (sample,) = data.samples("video", "val")
    assert [round(np.asarray(frame).mean() / 5) for frame in data.clip(sample.image_id)] == [20, 29]
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DataError, match=r"55_vfjywN5CN0Y\.mp4: "):
        HcStvg(data.config).clip(sample.image_id)
    # A record without a size takes that of the film.
    other = hc_stvg(tmp_path / "hc", {"b.mp4": {key: film()[key] for key in ("bbox", "st_frame", "English")}})
    write_frames(tmp_path / "hc" / "frames" / "b", 1)
    (sample,) = other.samples("video", "val")
    assert sample.region.masks[0].bitmap.shape == (10, 20)


def test_boxes_outside_the_picture_are_no_masks(tmp_path):
    boxes = [[30, 0, 4, 4], [3, 3, -2, 4], [18.5, 8.2, 9, 9], [0, 0, 0, 5]]
    (sample,) = hc_stvg(tmp_path / "hc", {FILM: film(bbox=boxes)}, frames=4).samples("video", "val")
    masks = sample.region.masks
    assert [mask is None for mask in masks] == [True, True, False, True]
    assert np.argwhere(masks[2].bitmap).tolist() == [[8, 18], [8, 19], [9, 18], [9, 19]]
    assert sample.info["frame"] == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"bbox": []}, "its track is empty: it has no box", id="no-box"),
        pytest.param(
            {"bbox": [[30, 0, 4, 4]] * 3},
            "its track is empty: none of the 8 frames that are taken has a mask",
            id="empty-track",
        ),
        pytest.param({"bbox": [[1, 2, 3]]}, "one of its boxes is [1, 2, 3], and should be [x, y, width,", id="three"),
        pytest.param({"bbox": [[1, 2, 3, float("nan")]]}, "", id="nan"),
        pytest.param({"bbox": [[1, 2, 3, 10**400]]}, "one of its boxes is [1, 2, 3, 1000", id="huge"),
        pytest.param({"bbox": {"0": [1, 2, 3, 4]}}, "its 'bbox' is {'0': [1, 2, 3, 4]}, and should be a", id="map"),
        pytest.param({"st_frame": 0}, "its 'st_frame' is 0, and frames are counted from 1", id="start"),
        pytest.param({"st_frame": "21"}, "its 'st_frame' is '21', and should be a whole number", id="start-text"),
        pytest.param({"img_num": 29}, "its 10 boxes from frame 21 go beyond the film's 29 frames", id="too-long"),
        pytest.param({"img_size": [10**9, 10**9, 3]}, "its picture has the height 1000000000 and the", id="size"),
        pytest.param({"English": " "}, "its 'English' is ' ', and should be a text", id="blank"),
    ],
)
def test_a_broken_film_is_named(tmp_path, changes, reason):
    root = tmp_path / "hc"
    if not reason:  # JSON has no such number: the file itself is refused
        with pytest.raises(DataError, match=r"val_v2\.json: NaN is no number that JSON has"):
            hc_stvg(root, {FILM: film(**changes)}).samples("video", "val")
        return
    data = hc_stvg(root, {FILM: film(**changes), "good.mp4": film(), "../up.mp4": film()})
    assert [sample.id for sample in data.samples("video", "val")] == ["good.mp4"]
    first, second = data.faults("video", "val")
    assert first.startswith(f"{root / 'val_v2.json'}: '{FILM}': {reason}")
    assert second.endswith("its 'name' is '../up.mp4', which is no file inside the data set's folder")


def bitmap(*columns: int) -> np.ndarray:
    held = np.zeros((10, 20), dtype=bool)
    held[3:6, list(columns)] = True
    return held


def compressed(held: np.ndarray) -> dict:
    runs = coco.encode(np.asfortranarray(held, dtype=np.uint8))
    return {"size": runs["size"], "counts": runs["counts"].decode()}


def test_the_files_of_videorefer(tmp_path):
    rows = [
        {"video": FILM, "caption": "A man runs.", "frame_idx": 12, "mask": compressed(bitmap(4, 5))},
        {"video": FILM, "caption": "A man runs.", "frame_idx": "13", "mask": run_lengths(bitmap(6))},
        {"video": FILM, "caption": "A man runs.", "frame_idx": 14, "mask": None},
    ]
    data = hc_stvg(tmp_path / "hc", rows, "hc_stvg_eval.json", release="videorefer")
    first, second = data.samples("video", "test")
    assert (first.id, first.image_id, first.info["frame"]) == (f"{FILM}@12", f"{FILM}@12", 0)
    np.testing.assert_array_equal(first.region.masks[0].bitmap, bitmap(4, 5))
    np.testing.assert_array_equal(second.region.masks[0].bitmap, bitmap(6))
    assert data.faults("video", "test")[0].endswith(
        "its track is empty: none of the 1 frames that are taken has a mask"
    )


def item(number: int = 0, **changes: object) -> dict:
    track = {str(2 * frame): {"segmentation": compressed(bitmap(frame % 20))} for frame in range(32)}
    return {
        "id": number,
        "video": CLIP,
        "caption": "The cub is a smaller, light colored lion. It is lying down.",
        "frame_idx": "36",
        "annotation": [track],
        **changes,
    }


def videorefer(root: Path, items: list, **options: object) -> VideoReferD:
    root.mkdir(exist_ok=True)
    (root / "VideoRefer-Bench-D.json").write_text(json.dumps(items))
    return VideoReferD(VideoReferConfig(root=str(root), **options))


def test_videorefer_d(tmp_path):
    data = videorefer(tmp_path / "vr", [item()])
    (sample,) = data.samples("video", "test")
    # Evenly: 0, 8, 16, 26, 34, 44, 52, 62; frame 36 of the single-frame mode stands for 34.
    frames = [0, 8, 16, 26, 36, 44, 52, 62]
    assert sample.id == "0"
    assert sample.image_id == f"{CLIP}@{','.join(map(str, frames))}"
    assert sample.info == {"frame": 4, "caption_frames": frames}
    assert sample.references[0].startswith("The cub is a smaller")
    for mask, frame in zip(sample.region.masks, frames, strict=True):
        np.testing.assert_array_equal(mask.bitmap, bitmap(frame // 2 % 20))
    write_frames(tmp_path / "vr" / "Panda-70M-part" / CLIP[:-4], 70)
    assert [frame.getpixel((0, 0))[0] for frame in data.clip(sample.image_id)] == frames
    assert data.image(f"{sample.image_id}#{sample.info['frame']}").getpixel((0, 0))[0] == 36


def test_all_frames_of_videorefer_d(tmp_path):
    (sample,) = videorefer(tmp_path / "vr", [item()], frames=0).samples("video", "test")
    assert sample.info == {"frame": 18, "caption_frames": list(range(0, 64, 2))}


def test_frames_without_the_object_have_no_mask(tmp_path):
    empty = {"size": [10, 20], "counts": [200]}
    track = {
        "5": {"segmentation": compressed(bitmap(1))},
        "1": {"segmentation": None},
        "9": {"segmentation": empty},
        "30": {"segmentation": compressed(np.zeros((10, 20), dtype=bool))},
    }
    held = item(annotation=[track], frame_idx=9)
    (sample,) = videorefer(tmp_path / "vr", [held], frames=4).samples("video", "test")
    assert sample.info == {"frame": 1, "caption_frames": [1, 5, 9, 30]}
    assert [mask is None for mask in sample.region.masks] == [True, False, True, True]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"frame_idx": "37"}, "its 'frame_idx' is 37, a frame without an annotation", id="frame"),
        pytest.param({"frame_idx": "9" * 5000}, "a frame has the number '999", id="huge"),
        pytest.param({"annotation": []}, "it has annotations of 0 objects, and should have those of one", id="none"),
        pytest.param({"annotation": [{}]}, "its track is empty: it has no frame", id="no-frame"),
        pytest.param(
            {"annotation": [{"36": {"segmentation": None}}]},
            "its track is empty: none of the 8 frames that are taken has a mask",
            id="no-mask",
        ),
        pytest.param({"annotation": [{"36": {}}]}, "it has no 'segmentation'", id="no-segmentation"),
        pytest.param(
            {"annotation": [{"36": {"segmentation": [[1, 2, 3, 4, 5, 6]]}}]},
            "a mask is [[1, 2, 3, 4, 5, 6]], and should be run lengths of COCO's form",
            id="polygon",
        ),
        pytest.param(
            {"annotation": [{"36": {"segmentation": {"size": [10, 20], "counts": [100, 5]}}}]},
            "a mask's run lengths add up to 105, its size 10 x 20 needs 200",
            id="runs",
        ),
        pytest.param(
            {
                "annotation": [
                    {
                        "36": {"segmentation": {"size": [10, 20], "counts": [100, 100]}},
                        "37": {"segmentation": {"size": [20, 10], "counts": [100, 100]}},
                    }
                ]
            },
            "its masks are of several sizes: [10, 20], [20, 10]",
            id="sizes",
        ),
        pytest.param({"annotation": [{"x": {"segmentation": None}}]}, "a frame has the number 'x', and", id="key"),
        pytest.param({"caption": None}, "its 'caption' is None, and should be a text", id="caption"),
        pytest.param({"video": "/etc/passwd"}, "its 'video' is '/etc/passwd', which is no file inside", id="elsewhere"),
    ],
)
def test_a_broken_item_is_named(tmp_path, changes, reason):
    data = videorefer(tmp_path / "vr", [item(7), item(**changes)])
    assert [sample.id for sample in data.samples("video", "test")] == ["7"]
    (fault,) = data.faults("video", "test")
    assert fault.startswith(f"{tmp_path / 'vr' / 'VideoRefer-Bench-D.json'}: record 2: {reason}")


@pytest.mark.parametrize(
    "held",
    [
        pytest.param({"size": [10, 20], "counts": [199]}, id="list"),
        pytest.param({"size": [10, 20], "counts": [150, 0, 49]}, id="runs-of-none"),
        pytest.param({"size": [10, 20], "counts": "0"}, id="string"),
        pytest.param({"size": [10**9, 10**9], "counts": [10**18]}, id="huge"),
        pytest.param({"size": [10], "counts": [10]}, id="one-side"),
        pytest.param({"size": [10, 20], "counts": None}, id="no-counts"),
    ],
)
def test_masks_of_nothing_add_up_too(held):
    with pytest.raises(RegionError, match="a mask"):
        seen_mask(held)


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        pytest.param(HcStvgConfig, {"frames": 0}, "frames is 0: a track has 1 to 512", id="none"),
        pytest.param(VideoReferConfig, {"frames": 513}, "frames is 513: a track has 0 to 512", id="many"),
        pytest.param(HcStvgConfig, {"first_frame": 2}, "first_frame is 2: frames are counted from 0 or", id="first"),
    ],
)
def test_options_that_cannot_be(config, options, message):
    with pytest.raises(ValueError, match=message):
        config(**options)
