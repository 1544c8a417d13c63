"""The mini-world as a data set and as a corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, overload

from PIL import Image

from regionkit.core.contracts import Corpus, Dataset, Sample
from regionkit.core.errors import DataError, did_you_mean
from regionkit.core.samples import LazySamples
from regionkit.plugins.mini.captions import corpus, corpus_caption
from regionkit.plugins.mini.config import MiniCaptionsConfig, MiniDatasetConfig
from regionkit.plugins.mini.export import check_folder, write_folder
from regionkit.plugins.mini.layout import SPLITS, make_layout
from regionkit.plugins.mini.lexicon import COLOURS, SINGULAR, SIZES
from regionkit.plugins.mini.referring import targets
from regionkit.plugins.mini.samples import TASKS, MiniSample, make_samples, samples_of
from regionkit.plugins.mini.scene import make_scene

#: Scenes of a split where the caller names no limit.
DEFAULT_SCENES = 300
#: Scenes that are written to a folder where the caller names no limit.
MADE_SCENES = 50
#: Samples of more scenes than this are made when they are asked for: masks of thousands of pictures fill the memory.
KEPT_SCENES = 1000
#: Most scenes of a split; more than this is a slip of the finger, which would draw for hours.
MOST_SCENES = 100_000
#: Captions of the corpus that are held in memory.
KEPT_CAPTIONS = 100_000


class MiniDataset(Dataset):
    """Scenes drawn from a seed: nothing is stored, nothing is downloaded."""

    splits = SPLITS
    disclaimer = (
        "An ordering in the mini-world is evidence that the code does what a paper says, never that a paper's numbers "
        "were reached."
    )

    def __init__(self, config: MiniDatasetConfig) -> None:
        """Remember the options."""
        self.config = config

    def samples(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> Sequence[Sample]:
        """Return the samples of the first ``limit`` scenes under a seed; one scene serves all tasks.

        Raises:
            DataError: There is no such task, or ``limit`` is beyond reason.
        """
        _check_task(task)
        _check_limit(limit)
        scenes = DEFAULT_SCENES if limit is None else limit
        if task == "ris" or (scenes > KEPT_SCENES and task != "dense"):
            return _Lazy(task, split, seed, scenes)
        return [_plain(sample, task) for sample in make_samples(task, split, seed, scenes)]

    def image(self, image_id: str) -> Image.Image:
        """Paint the scene ``split/seed/index``."""
        split, _, rest = image_id.partition("/")
        seed, _, index = rest.partition("/")
        if split not in SPLITS or not (seed.isdigit() and index.isdigit()):
            raise DataError(f"'{image_id}' is no picture of the mini-world", "its keys are SPLIT/SEED/INDEX: test/0/17")
        return make_scene(split, int(seed), int(index)).image

    def lexicon(self, kind: str) -> Mapping[str, str]:
        """Return every surface form of ``nouns`` (plurals included) or ``attributes`` and the term it stands for."""
        if kind == "nouns":
            return SINGULAR
        if kind == "attributes":
            return {word: word for word in (*SIZES, *COLOURS)}
        raise DataError(f"the mini-world has no lexicon of {kind}", "it has: nouns, attributes")

    def fingerprint(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> str:
        """Hash regions, captions and pixels of the first scenes; everything else follows from the same code.

        Raises:
            DataError: There is no such task.
        """
        _check_task(task)
        return _fingerprint(task, split, seed, DEFAULT_SCENES if limit is None else limit)

    def make(self, folder: Path, split: str, seed: int, limit: int | None) -> Mapping[str, int]:
        """Write pictures and ``regions.jsonl`` with the regions of all tasks, of 50 scenes where nobody says more."""
        _check_limit(limit)
        return {"pictures": write_folder(folder, split, seed, MADE_SCENES if limit is None else limit)}

    def verify(self, folder: Path) -> list[str]:
        """Compare a folder that :meth:`make` wrote, pixel by pixel, with what it should hold."""
        return check_folder(folder)


class _Lazy(LazySamples):
    """Samples of a task that poses one question a scene, each made when it is asked for.

    The masks of 300 wide scenes of ``ris`` are nearly a gigabyte.
    """

    def __init__(self, task: str, split: str, seed: int, limit: int) -> None:
        """Find the scenes that pose the question; layouts alone say which do."""
        self._task, self._split, self._seed = task, split, seed
        asked = task != "ris"
        self._scenes = [index for index in range(limit) if asked or targets(make_layout(split, seed, index))]

    def __len__(self) -> int:
        return len(self._scenes)

    def sample(self, place: int) -> Sample:
        """Draw the scene of a sample."""
        (sample,) = samples_of(self._task, self._split, self._seed, self._scenes[place])
        return _plain(sample, self._task)


class MiniCaptions(Corpus):
    """Captions of the training distribution that belong to no picture."""

    generated: ClassVar[bool] = True

    def __init__(self, config: MiniCaptionsConfig) -> None:
        """Remember how many and from which seed."""
        self.config = config

    def texts(self) -> Sequence[str]:
        """Return the captions; the first n of a longer list are the shorter list. Beyond 100,000 none is held."""
        few = self.config.size <= KEPT_CAPTIONS
        return _texts(self.config.seed, self.config.size) if few else self.rows()

    def stream(self) -> Iterator[str]:
        """Yield the captions; of a long list none is held."""
        few = self.config.size <= KEPT_CAPTIONS
        return iter(self.texts()) if few else corpus(self.config.seed, self.config.size)

    def rows(self) -> Sequence[str]:
        """Return the captions by number, each made when it is asked for."""
        return _Captions(self.config.seed, self.config.size)


class _Captions(Sequence[str]):
    """Captions of a corpus by number; a caption is a function of seed and number."""

    def __init__(self, seed: int, size: int) -> None:
        self._seed, self._size = seed, size

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        places = range(self._size)[index]
        if isinstance(places, range):
            return [corpus_caption(self._seed, place) for place in places]
        return corpus_caption(self._seed, places)


def _check_task(task: str) -> None:
    if task not in TASKS:
        hint = did_you_mean(task, TASKS) or f"tasks are: {', '.join(TASKS)}"
        raise DataError(f"the mini-world has no task '{task}'", hint)


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit > MOST_SCENES:
        raise DataError(f"the mini-world draws at most {MOST_SCENES} scenes, {limit} were asked for", "lower --limit")


@lru_cache(maxsize=4)
def _texts(seed: int, size: int) -> tuple[str, ...]:
    return tuple(corpus(seed, size))


def _plain(sample: MiniSample, task: str) -> Sample:
    """Turn a sample into the toolkit's."""
    info: dict[str, object] = {
        "nouns": tuple(sorted(sample.nouns)),
        "attributes": tuple(sorted(sample.attributes)),
        "background": sample.scene.background,
        "objects": tuple(sorted({item.noun for item in sample.scene.layout.objects})),
    }
    if sample.candidates:
        info["overlaps"] = sample.overlaps
    if task == "dense":
        info["ground_truth"] = tuple(
            {"box": (box.x1, box.y1, box.x2, box.y2), "caption": said} for box, said in sample.everything
        )
    return Sample(sample.id, sample.scene.id, sample.region, sample.references, info, sample.candidates)


@lru_cache(maxsize=64)
def _fingerprint(task: str, split: str, seed: int, limit: int) -> str:
    digest = hashlib.sha256()
    for number, sample in enumerate(make_samples(task, split, seed, limit)):
        digest.update(repr((sample.id, sample.scene.layout, sample.references)).encode())
        # Painting all pictures would cost a second; the first ones stand for sprites, paint and arithmetic.
        if number < 8:
            digest.update(sample.scene.pixels.tobytes())
            digest.update(repr(sample.region).encode())
            for candidate, overlap in zip(sample.candidates, sample.overlaps, strict=True):
                digest.update(candidate.bitmap.tobytes() + repr(overlap).encode())
    return digest.hexdigest()[:16]
