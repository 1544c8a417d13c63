"""The base of data sets that are files of their authors: an index of samples, pictures found when they are needed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from regionkit.core.cache import cache_folder
from regionkit.core.contracts import Dataset, Sample
from regionkit.core.data.index import Index, IndexedSamples, open_index, write_index
from regionkit.core.data.places import data_folder
from regionkit.core.data.records import (
    BAD_RECORD,
    Entry,
    Fault,
    Left,
    Line,
    PictureMissing,
    StoredSample,
    Unusable,
    fault_of,
)
from regionkit.core.errors import DataError, MissingExtra, RegionkitError, did_you_mean
from regionkit.core.files import is_file
from regionkit.core.images import image_size, open_image


class FileDataset(Dataset):
    """A data set of files.

    A reader says which files a split is made of (:meth:`sources`), walks through their records (:meth:`entries`) and
    makes samples of one record (:meth:`read`). What :meth:`read` raises for a record is written down with the record's
    place, and the others go on; ``on_bad: stop`` ends there. What the protocol leaves out is a
    :class:`~regionkit.core.data.records.Left`, which is counted and no fault. The result is an index in the toolkit's
    cache, made again whenever a file or an option changes.

    ``toolkit new plugin NAME --kind dataset`` writes a whole reader, with its options, spec and tests.

    Args:
        config: Options; see :class:`regionkit.core.data.options.FileOptions`.

    Attributes:
        name: Name of the component.
        tasks: Tasks that it can pose, those of its spec.
        folder: Its folder below ``$REGIONKIT_DATA``.
        version: Raised whenever the same files come to other samples.
        places: Patterns of picture files below the data set's folder, with ``{id}`` and what :meth:`names` adds; the
            first that is there is taken.
    """

    name: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]]
    folder: ClassVar[str]
    version: ClassVar[int] = 1
    places: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Any) -> None:
        """Remember the options; nothing is read."""
        self.config = config
        self._indexes: dict[tuple[str, str], Index] = {}
        self._sizes: dict[str, tuple[int, int]] = {}

    @abstractmethod
    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the files that the samples of a split are made of.

        Raises:
            DataError: One is not there.
        """

    @abstractmethod
    def entries(self, task: str, split: str) -> Iterable[Entry | Fault | Left]:
        """Yield the records of those files, in their order, and what is none: faults, and what the protocol leaves out.

        Raises:
            DataError: A file cannot be read to its end.
        """

    @abstractmethod
    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample | Left]:
        """Make samples of a record, none where the task or split is another one.

        A part of it that the protocol leaves out is a :class:`~regionkit.core.data.records.Left`.

        Raises:
            Unusable: The record cannot be used; any of ``KeyError``, ``TypeError``, ``ValueError`` and the toolkit's
                own errors means the same.
        """

    def names(self, image_id: str) -> dict[str, Any]:
        """Return what the patterns of ``places`` may use beside ``id``.

        Whatever it raises means that there is no such picture.
        """
        return {}

    @property
    def root(self) -> Path:
        """The data set's folder.

        Raises:
            DataError: It is not there.
        """
        return data_folder(self.config.root, self.folder, self.name)

    @property
    def disclaimer(self) -> str:  # type: ignore[override]
        """Say how many records are left out, where there are any."""
        said = []
        for (task, split), index in self._indexes.items():
            of = f"of {task}@{self.name}/{split} are left out"
            if index.fault_count:
                said.append(
                    f"{index.fault_count} records {of}: they cannot be used; "
                    f"toolkit data verify {self.name}{self._options()} names them."
                )
            if index.left_count:
                said.append(f"{index.left_count} records {of} by protocol.")
        return " ".join(said)

    def samples(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> Sequence[Sample]:
        """Return the samples of the first ``limit`` images; the seed has no say, the files being what they are.

        Raises:
            DataError: There is no such task or split, a file is missing or damaged, or no record can be used.
        """
        return IndexedSamples(self.index(task, split), limit)

    def image(self, image_id: str) -> Image.Image:
        """Load a picture.

        Raises:
            DataError: It is not there; the message says where it was looked for.
            ImageError: It cannot be decoded.
        """
        return open_image(self.picture(image_id))

    def picture(self, image_id: str) -> Path:
        """Return the file of a picture.

        Raises:
            PictureMissing: It is at none of ``places``.
            DataError: The key is none of this data set's.
        """
        root = self.root
        try:
            names = {"id": image_id, **self.names(image_id)}
        except RegionkitError:
            raise
        except BAD_RECORD:  # a number where all pictures have one, say
            raise DataError(f"'{image_id[:60]}' is no picture of data set '{self.name}'") from None
        looked = [root / place.format(**names) for place in self.places]
        for path in looked:
            if is_file(path):
                return path
        raise PictureMissing(
            f"the picture '{image_id}' is not there: looked for {', '.join(str(path) for path in looked[:4])}",
            "\n".join(str(path) for path in looked),
        )

    def size(self, image_id: str) -> tuple[int, int]:
        """Return width and height of a picture, read from its head, for records with coordinates from 0 to 1.

        Raises:
            PictureMissing: It is not there.
            ImageError: It is no picture.
        """
        if image_id not in self._sizes:
            if len(self._sizes) > 100_000:
                self._sizes.clear()
            self._sizes[image_id] = image_size(self.picture(image_id))
        return self._sizes[image_id]

    def fingerprint(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> str:
        """Hash the samples, and the name and length of every picture file; pixels are not read."""
        index = self.index(task, split)
        found = hashlib.sha256(index.content(limit).encode())
        for image_id in index.image_ids(limit):
            try:
                found.update(f"{image_id} {self.picture(image_id).stat().st_size}\n".encode())
            except (DataError, OSError):
                found.update(f"{image_id} is not there\n".encode())
        return found.hexdigest()[:16]

    def faults(self, task: str, split: str) -> Sequence[str]:
        """Return the records that cannot be used, ``FILE:LINE: reason`` each."""
        return self.index(task, split).faults()

    def left(self, task: str, split: str) -> Sequence[str]:
        """Return the records that are left out by protocol, ``FILE:LINE: reason`` each."""
        return self.index(task, split).left()

    def index(self, task: str, split: str) -> Index:
        """Return the samples of a task and split on disk, made now where they are not there or files have changed.

        Raises:
            DataError: As for :meth:`samples`.
        """
        if (task, split) not in self._indexes:
            self.check(task, split)
            sources = self.sources(task, split)
            key = self._key(task, split, sources)
            path = self._index_path(task, split, sources)
            index = open_index(path, key) or write_index(path, key, self._rows(task, split))
            if not index.count() and index.fault_count:
                first = index.faults()[:3]
                raise DataError(
                    f"no record of {task}@{self.name}/{split} can be used: {index.fault_count} are left out",
                    *first,
                    f"where its files belong: toolkit data list {self.name}",
                )
            if not index.count():
                why = "no record of its files is of that task and split"
                if index.left_count:
                    why = f"{index.left_count} records are left out by protocol, such as {index.left()[0]}"
                raise DataError(
                    f"{task}@{self.name}/{split} has no sample: {why}", *[f"read: {path}" for path in sources[:3]]
                )
            self._indexes[task, split] = index
        return self._indexes[task, split]

    def check(self, task: str, split: str) -> None:
        """Check that there are such a task and split.

        Raises:
            DataError: There are not; those that are there are named.
        """
        for what, word, known in (("task", task, self.tasks), ("split", split, self.splits)):
            if word not in known:
                raise DataError(
                    f"data set '{self.name}' has no {what} '{word}'",
                    did_you_mean(word, known) or f"it has: {', '.join(known)}",
                )

    def file(self, *patterns: str) -> Path:
        """Return a file below the data set's folder, the first of some patterns.

        Raises:
            DataError: None of them is there.
        """
        root = self.root
        for pattern in patterns:
            found = sorted(path for path in root.glob(pattern) if path.is_file())
            if found:
                return found[0]
        raise DataError(
            f"data set '{self.name}' needs {' or '.join(patterns)} in {root}, which is not there",
            f"where to get it: toolkit data list {self.name}",
        )

    def _options(self) -> str:
        """Return the options that are no defaults as a command line has them."""
        fields = [(one, getattr(self.config, one.name)) for one in dataclasses.fields(self.config)]
        given = [f" --set {one.name}={value}" for one, value in fields if value != one.default]
        return "".join(given)

    def _rows(self, task: str, split: str) -> Iterator[Line | Fault | Left]:
        """Yield what the records come to; with ``on_bad: stop`` the first fault is raised.

        Raises:
            DataError: A file cannot be read to its end, or a record is bad and the options say to stop there.
            MissingExtra: A package is needed, which is no fault of a record and none that an index should remember.
        """
        try:
            for entry in self.entries(task, split):
                if not isinstance(entry, Entry):
                    yield from self._noted(entry)
                    continue
                try:
                    for sample in self.read(task, split, entry):
                        if isinstance(sample, StoredSample):
                            sample.check()  # what is no region shows here, not when it is read back
                            yield sample.line()
                        elif isinstance(sample, Left):
                            yield sample
                        else:
                            raise Unusable(f"read() yields a {type(sample).__name__}, and should a StoredSample")
                except MissingExtra:
                    raise
                except BAD_RECORD as error:
                    yield from self._noted(fault_of(entry.place, error))
        except OSError as error:  # of a source: what the index's own disk says is another matter
            raise DataError(f"{error.filename or self.name}: cannot be read: {error.strerror or error}") from None

    def _noted(self, row: Fault | Left) -> Iterator[Fault | Left]:
        """Yield what is no sample.

        Raises:
            DataError: It is a fault, and the options say to stop there; or it is something else.
        """
        if not isinstance(row, (Fault, Left)):
            raise DataError(
                f"data set '{self.name}': entries() yields a {type(row).__name__}, and should an Entry",
                "the functions of regionkit.core.data.streams yield them; otherwise: Entry(PLACE, VALUE)",
            )
        if isinstance(row, Fault) and self.config.on_bad == "stop":
            raise DataError(str(row), "leave such records out with on_bad: leave-out")
        yield row

    def _key(self, task: str, split: str, sources: Sequence[Path]) -> Any:
        options = {field.name: getattr(self.config, field.name) for field in dataclasses.fields(self.config)}
        states = [(str(path.absolute()), *_state(path)) for path in sources]
        made = [type(self).__qualname__, self.version, task, split, options, states]
        return json.loads(json.dumps(made, sort_keys=True, default=str))

    def _index_path(self, task: str, split: str, sources: Sequence[Path]) -> Path:
        known = [type(self).__qualname__, task, split, [str(path.absolute()) for path in sources], repr(self.config)]
        digest = hashlib.sha256(repr(known).encode("utf-8", "surrogatepass")).hexdigest()[:12]
        plain = re.sub(r"[^A-Za-z0-9_.+-]", "-", split)[:40]  # data of the user's own name their splits as they like
        return cache_folder() / "data" / f"{self.name}-{task}-{plain}-{digest}.sqlite"


def _state(path: Path) -> tuple[int, int]:
    """Return the length of a file and when it was changed.

    Raises:
        DataError: It is not there.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    return status.st_size, status.st_mtime_ns
