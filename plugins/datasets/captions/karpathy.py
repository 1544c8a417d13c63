"""Captions of whole pictures in Karpathy's splits, from his files or from files of COCO's form."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.data.files import FileDataset
from regionkit.core.data.records import Entry, Fault, StoredSample, Unusable
from regionkit.core.data.streams import json_list
from regionkit.core.errors import DataError
from regionkit.plugins.datasets.captions.fields import CaptionTable, known_ids, mapping, number, one_line

#: Split -> the words that Karpathy's files use for it.
_WORDS = ("train", "restval", "val", "test")


class CaptionedPictures(FileDataset):
    """Pictures with several captions each, one sample a picture with all of them as references.

    Attributes:
        karpathy: Karpathy's file.
    """

    tasks: ClassVar[tuple[str, ...]] = ("image",)
    karpathy: ClassVar[str]

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return Karpathy's file, or a list of pictures and the files with their captions."""
        if self._from_karpathy(split):
            return (self.file(self.karpathy),)
        return (self.picture_list(split), *self.caption_files(split))

    def entries(self, task: str, split: str) -> Iterable[Entry | Fault]:
        """Yield the pictures of the split, those of other splits as well in Karpathy's file."""
        first, *others = self.sources(task, split)
        if self._from_karpathy(split):
            yield from json_list(first, "images")
            return
        pictures = list(json_list(first, "images"))
        table = CaptionTable(others, known_ids(pictures))
        yield from table.faults
        yield from _joined(pictures, table)

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make the sample of a picture."""
        record = mapping(entry.value)
        if "sentences" in record:
            if _word(record) not in self.words(split):
                return
            sentences = record["sentences"]
            if not isinstance(sentences, list):
                raise Unusable("its 'sentences' is no list")
            captions = tuple(one_line(mapping(sentence)["raw"]) for sentence in sentences)
            name = record["filename"]
        elif self._from_karpathy(split):
            raise KeyError("sentences")
        else:
            captions, name = record["captions"], record["file_name"]
        if not captions:
            raise Unusable("it has no caption")
        key = self.key(record, name)
        yield StoredSample(key, key, {"whole": True}, captions, {"file_name": name})

    @abstractmethod
    def key(self, record: Mapping[str, Any], name: Any) -> str:
        """Return the key of a picture.

        Args:
            record: Its record in whichever file.
            name: The name of its file, as the record has it.
        """

    @abstractmethod
    def picture_list(self, split: str) -> Path:
        """Return the file of COCO's form that lists the pictures of a split.

        Raises:
            DataError: It is not there.
        """

    @abstractmethod
    def caption_files(self, split: str) -> Sequence[Path]:
        """Return the files of COCO's form with the captions of a split.

        Raises:
            DataError: One is not there.
        """

    def words(self, split: str) -> tuple[str, ...]:
        """Return the words of Karpathy's file that a split is made of."""
        return (split,)

    def _from_karpathy(self, split: str) -> bool:
        source = self.config.source
        if split not in _WORDS or source == "coco":
            return False
        if source == "karpathy" or any(self.root.glob(self.karpathy)):
            return True
        try:
            self.picture_list(split)
        except DataError as error:
            raise DataError(
                f"data set '{self.name}' needs {self.karpathy}, which is not in {self.root}",
                f"or, of COCO's form: {error.message}",
                f"where to get it: toolkit data list {self.name}",
            ) from None
        return False


def _joined(pictures: Iterable[Entry], table: CaptionTable) -> Iterator[Entry]:
    """Yield the records of pictures together with their captions."""
    for entry in pictures:
        if isinstance(entry.value, Mapping):
            key = entry.value.get("id")
            captions = table.take(key) if isinstance(key, int) else ()
            yield Entry(entry.place, {**entry.value, "captions": captions})
        else:
            yield entry


def _word(record: Mapping[str, Any]) -> str:
    word = record["split"]
    if word not in _WORDS:
        raise Unusable(f"its split {str(word)[:40]!r} is none of {', '.join(_WORDS)}")
    return str(word)


def coco_id(record: Mapping[str, Any]) -> int:
    """Return the number that a picture has in COCO, from a record of either file.

    Raises:
        Unusable: It is no number.
        KeyError: There is none.
    """
    return number(record["cocoid"] if "cocoid" in record else record["id"], "id")
