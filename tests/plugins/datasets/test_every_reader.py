"""What all readers keep, each on a small folder in its official layout: its kind's battery, its spec, and damage."""

from __future__ import annotations

import itertools
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from damage import damage
from dataset_layouts import LAYOUTS

from regionkit.core.contracts import Dataset
from regionkit.core.data.files import FileDataset
from regionkit.core.errors import DataError, ImageError
from regionkit.core.testing import Subject, run_all
from regionkit.registry.assembly import build
from regionkit.registry.registry import get_registry

#: Data sets that are no files: they are drawn.
DRAWN = {"mini"}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGIONKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


def written(name: str, data: Path) -> dict[str, Any]:
    """Write the layout of a data set, and return its options with its folder: a second process has other variables."""
    options, release = LAYOUTS[name](data), get_registry().find("dataset", name).release
    return {**options, **({"root": str(data / release.folder)} if release else {})}


def made(name: str, options: Any) -> Dataset:
    return build("dataset", {"name": name, **options})


def test_every_data_set_has_a_layout() -> None:
    assert set(LAYOUTS) | DRAWN == set(get_registry().names("dataset"))


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_it_conforms(name: str, data: Path) -> None:
    options = written(name, data)
    spec = get_registry().find("dataset", name)
    reader = made(name, options)
    for task in spec.accepts:
        for split in reader.splits:
            assert list(reader.faults(task, split)) == [], f"{task}/{split}"
    run_all(Subject("dataset", reader, make=lambda seed: made(name, options), accepts=spec.accepts))


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_its_spec_says_the_same(name: str, data: Path) -> None:
    reader = made(name, written(name, data))
    spec = get_registry().find("dataset", name)
    assert isinstance(reader, FileDataset)
    assert reader.name == name
    assert sorted(reader.tasks) == sorted(spec.accepts)
    assert set(spec.accepts) <= set(get_registry().names("task"))
    assert spec.license
    if spec.release is None:  # data of the user's own
        assert name in ("jsonl", "webdataset")
        return
    release = spec.release
    every = {*reader.splits, *(type(reader).splits if isinstance(type(reader).splits, tuple) else ())}
    assert reader.folder == release.folder
    assert every <= {*release.splits}
    assert release.homepage.startswith("https://")
    assert {split for file in release.files for split in file.splits} <= {*release.splits}
    assert {count.split for count in release.counts} <= {*release.splits}
    assert {count.task for count in release.counts} <= {*spec.accepts}


def damaged(name: str, data: Path, seeds: range) -> None:
    """Damage one file after another, and demand that what is wrong is named and nothing else happens."""
    options = written(name, data)
    files = sorted(path for path in data.rglob("*") if path.is_file())
    records = [path for path in files if path.suffix not in (".jpg", ".png")]
    for number in seeds:
        seed = random.Random(f"{name} {number}")
        path = seed.choice(records if seed.random() < 0.9 else files)
        content = path.read_bytes()
        said = damage(path, seed) if path in records else "deleted"
        if path not in records:
            path.unlink()
        check_reading(name, options, f"{name}, seed {number}: {path.relative_to(data)} {said}", data)
        path.write_bytes(content)


def check_reading(name: str, options: dict[str, Any], what: str, data: Path) -> None:
    """Read everything: an error names a file, a fault has its place in one, and there is no other exception."""
    tasks = get_registry().find("dataset", name).accepts
    said = ""
    try:
        reader = made(name, options)
        for task, split in itertools.product(tasks, reader.splits[:2]):
            try:
                image_id = list(reader.samples(task, split))[-1].image_id
                reader.fingerprint(task, split)
            except DataError as error:
                said = "\n".join((str(error), *error.hints))
                continue
            for fault in reader.faults(task, split):
                place, _, reason = fault.partition(": ")
                assert reason.strip(), f"{what}: {fault}"
                assert place.startswith((str(data), "sample ")), f"{what}: {fault}"
            with suppress(DataError, ImageError):  # both name it
                reader.image(image_id)
    except DataError as error:
        said = str(error)
    except Exception as error:
        raise AssertionError(f"{what}: {error!r}") from error
    assert not said or str(data) in said, f"{what}: {said} names no file"


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_damage_is_named(name: str, data: Path) -> None:
    damaged(name, data, range(6))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_much_damage_is_named(name: str, data: Path) -> None:
    damaged(name, data, range(6, 100))
