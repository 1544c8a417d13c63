"""A plugin with a data set of files, a judge and a data set that is made with it, for the tests of ``toolkit data``."""

from __future__ import annotations

import io
import json
import zipfile

from PIL import Image

INIT = """
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, DataCount, DataFile, DataRelease

RELEASE = DataRelease(
    "zoo",
    "https://zoo.example",
    (
        DataFile("records/test.json", "https://zoo.example/records.zip", what="captions", splits=("test",),
                 archive="records.zip", license="MIT", sha256="{sha256}"),
        DataFile("records/val.json", "https://zoo.example/records.zip", what="captions", splits=("val",),
                 archive="records.zip"),
        DataFile("pictures/*.png", "https://zoo.example/pictures.tar.gz", what="pictures", archive="pictures.tar.gz"),
        DataFile("../shelter/names.txt", "https://shelter.example", what="names", optional=True),
    ),
    (DataCount("box", "test", 3, 2), DataCount("box", "val", 1), DataCount("box", "test", 9, options=("order=down",))),
    ("test", "val"),
)


@hookimpl
def regionkit_components():
    return [
        ComponentSpec(kind="dataset", name="zoo", target="zoo_parts:Zoo", config="zoo_configs:ZooConfig",
                      summary="Animals", accepts=("box", "point"), license="CC-BY-4.0", release=RELEASE),
        ComponentSpec(kind="dataset", name="rewritten", target="zoo_parts:Rewritten", config="zoo_configs:JudgedConfig",
                      summary="Made", accepts=("box",), needs=("judge",)),
        ComponentSpec(kind="dataset", name="unasked", target="zoo_parts:Rewritten", accepts=("box",), needs=("judge",)),
        ComponentSpec(kind="judge", name="parrot", target="zoo_parts:Parrot", config="zoo_configs:ParrotConfig",
                      summary="Says one thing"),
        ComponentSpec(kind="metric", name="liking", target="zoo_parts:Liking", config="zoo_configs:JudgedConfig",
                      summary="Asks", needs=("judge",)),
    ]
"""

CONFIGS = '''
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class ZooConfig:
    """Options.

    Attributes:
        root: Folder.
        order: Order.
    """

    root: str = ""
    order: Literal["up", "down"] = "up"


@dataclass(frozen=True)
class JudgedConfig:
    """Options.

    Attributes:
        judge: Who is asked.
    """

    judge: str | dict[str, Any] = ""


@dataclass(frozen=True)
class ParrotConfig:
    """Options.

    Attributes:
        word: What it says.
    """

    word: str = "yes"
'''

PARTS = """
import json
import os
from pathlib import Path

from regionkit.core.contracts import Dataset, Metric, Sample, Score
from regionkit.core.errors import DataError
from regionkit.core.images import open_image
from regionkit.core.judging import Judge, Question, Reply, ask_all
from regionkit.core.regions import Box


class Zoo(Dataset):
    splits = ("test", "val")

    def __init__(self, config):
        self.root = Path(config.root or Path(os.environ.get("REGIONKIT_DATA", "")) / "zoo")

    def _records(self, task, split):
        path = self.root / "records" / f"{split}.json"
        if not path.is_file():
            raise DataError(f"no {path}", "where to get it: toolkit data list zoo")
        try:
            return enumerate(json.loads(path.read_text()) if task == "box" else [], 1), path
        except ValueError:
            raise DataError(f"{path}: no JSON", "download it again") from None

    def samples(self, task, split, seed=0, limit=None):
        records, _ = self._records(task, split)
        return [
            Sample(str(number), held["image"], Box(0, 0, *held["size"]), tuple(held["captions"]))
            for number, held in records
            if "image" in held
        ]

    def faults(self, task, split):
        records, path = self._records(task, split)
        return [f"{path}:{number}: it has no 'image'" for number, held in records if "image" not in held]

    def picture(self, image_id):
        return self.root / "pictures" / f"{image_id}.png"

    def image(self, image_id):
        return open_image(self.picture(image_id))

    def fingerprint(self, task, split, seed=0, limit=None):
        return "0"


class Rewritten(Dataset):
    def __init__(self, judge):
        self.judge = judge

    @classmethod
    def build(cls, config, context):
        return cls(context.parts.get("judge"))

    def samples(self, task, split, seed=0, limit=None):
        said = "nobody was asked"
        if self.judge is not None:
            (answer,) = ask_all(self.judge, [Question("what is it?")], str)
            said = answer.value
        return [Sample("0", "0", Box(0, 0, 4, 4), (said,))]

    def image(self, image_id):
        raise KeyError(image_id)

    def fingerprint(self, task, split, seed=0, limit=None):
        return self.samples(task, split)[0].references[0]

    def make(self, folder, split, seed, limit):
        (folder / "said.txt").write_text(f"{self.fingerprint('box', split)} {limit}")
        return {"sentences": 1, "kept": 1}

    def verify(self, folder):
        return [] if self.fingerprint("box", "test") in (folder / "said.txt").read_text() else ["it says another thing"]


class Parrot(Judge):
    keeps = False

    def __init__(self, config):
        self.identity, self.word = "parrot", config.word

    def ask(self, questions, attempt=0):
        for at, _ in enumerate(questions):
            yield at, Reply(self.word)


class Liking(Metric):
    needs = ()

    def __init__(self, judge):
        self.judge, self.taken = judge, []

    @classmethod
    def build(cls, config, context):
        return cls(context.parts["judge"])

    def update(self, samples, captions):
        self.taken += captions

    def compute(self):
        answers = ask_all(self.judge, [Question(text) for text in self.taken], str)
        liked = tuple(float(answer.value == "yes") for answer in answers)
        return Score(sum(liked) / len(liked), liked, f"liking|judge={self.judge.identity}|n={len(liked)}")
"""

TEST = [
    {"image": "ape", "size": [4, 4], "captions": ["an ape"]},
    {"image": "bee", "size": [4, 4], "captions": ["a bee"]},
    {"size": [4, 4], "captions": ["nothing"]},
]
VAL = [{"image": "ape", "size": [2, 2], "captions": ["an ape's nose"]}]


def zoo(project, sha256=""):
    """Install the plugin, for files of which the first has that hash."""
    return project.plugin("zoo", INIT.replace("{sha256}", sha256))({"zoo_configs.py": CONFIGS, "zoo_parts.py": PARTS})


def picture(colour=(200, 30, 30)):
    """Return the bytes of a small picture."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(stream, "PNG")
    return stream.getvalue()


def zipped(files):
    """Return the bytes of a zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return stream.getvalue()


def downloaded():
    """Return the files of the release, as a user has them who unpacked everything."""
    return {
        "downloads/zoo-1.0/records/test.json": json.dumps(TEST),
        "downloads/zoo-1.0/records/val.json": json.dumps(VAL),
        "downloads/zoo-1.0/pictures/ape.png": picture(),
        "downloads/zoo-1.0/pictures/bee.png": picture((20, 200, 20)),
    }
