"""The mini-world as files: pictures with their mark, and one JSONL of regions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from regionkit.core.files import replacing, write_text
from regionkit.core.region_io import to_record
from regionkit.plugins.mini.samples import TASKS, MiniSample, make_samples
from regionkit.plugins.mini.scene import is_marked, make_scene, save_png

#: Name of the file that lists the regions.
REGIONS_FILE = "regions.jsonl"


def file_name(scene_id: str) -> str:
    """Return the picture's file name: ``test/0/17`` is ``test-0-17.png``."""
    return scene_id.replace("/", "-") + ".png"


def write_folder(folder: Path, split: str, seed: int, limit: int) -> int:
    """Write the first ``limit`` scenes of a split with the regions of all tasks; return how many pictures there are."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(limit):
        scene = make_scene(split, seed, index)
        with replacing(folder / file_name(scene.id)) as temporary:
            save_png(scene.image, temporary)
    write_text(folder / REGIONS_FILE, "".join(_lines(split, seed, limit)))
    return limit


def _lines(split: str, seed: int, limit: int) -> list[str]:
    """Return one JSON object a line, for every region of every task."""
    return [
        json.dumps(
            {
                "id": sample.id,
                "image": file_name(sample.scene.id),
                "task": task,
                "regions": [to_record(sample.region)],
                "references": sample.references,
                "nouns": sorted(sample.nouns),
                "attributes": sorted(sample.attributes),
            }
            | _choices(sample)
        )
        + "\n"
        for task in TASKS
        for sample in make_samples(task, split, seed, limit)
    ]


def _choices(sample: MiniSample) -> dict[str, object]:
    """Return the candidates of a referring sample and their IoU with its region; nothing for other tasks."""
    if not sample.candidates:
        return {}
    return {"candidates": [to_record(mask) for mask in sample.candidates], "overlaps": sample.overlaps}


def check_folder(folder: Path) -> list[str]:
    """Return what is wrong with a folder that :func:`write_folder` wrote, one line a fault: every pixel is compared."""
    try:
        lines = (folder / REGIONS_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return [f"{folder / REGIONS_FILE}: {error}", "make it again: toolkit data make mini --out DIR"]
    faults: list[str] = []
    names: dict[str, None] = {}
    for number, line in enumerate(lines, start=1):
        try:
            names[str(json.loads(line)["image"])] = None
        except (ValueError, TypeError, KeyError):
            faults.append(f"{REGIONS_FILE}:{number}: no JSON object with an image")
    return faults + [fault for name in names if (fault := _check_picture(folder / name))]


def _check_picture(path: Path) -> str:
    """Return what is wrong with one picture, or an empty string."""
    try:
        split, seed, index = path.stem.rsplit("-", 2)
        scene = make_scene(split, int(seed), int(index))
    except ValueError:
        return f"{path.name}: no name of a scene, such as test-0-17.png"
    try:
        with Image.open(path) as picture:
            same = np.array_equal(np.asarray(picture.convert("RGB")), scene.pixels)
            marked = is_marked(picture)
    except OSError as error:
        return f"{path.name}: {error}"
    if not same:
        return f"{path.name}: its pixels are not those of scene {scene.id}"
    return "" if marked else f"{path.name}: the mark of the mini-world is missing from its text chunks"
