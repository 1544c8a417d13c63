"""GQA: compositional questions with one answer each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.data.files import FileDataset
from regionkit.core.data.records import Entry, StoredSample, Unusable
from regionkit.core.data.streams import json_object
from regionkit.plugins.datasets.questions.fields import record_of, shown, text_of

#: Names of pictures: numbers of Visual Genome, some with a letter in front.
_IMAGE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FOLDERS = ("", "questions1.2/", "questions/")


class Gqa(FileDataset):
    """GQA v1.2, one sample a question.

    The region is the whole picture. ``info`` holds ``question``, ``answers`` (the one answer), ``full_answer`` (the
    sentence), ``question_type`` (its structure: ``query``, ``verify``, ...) and ``answer_type`` (what it is about:
    ``rel``, ``attr``, ...); the reference is the answer.

    Source: Hudson and Manning, GQA, CVPR 2019. Its metric is ``vqa-accuracy`` with ``variant: gqa``; papers report on
    the balanced questions of ``testdev``.
    """

    name: ClassVar[str] = "gqa"
    tasks: ClassVar[tuple[str, ...]] = ("vqa",)
    folder: ClassVar[str] = "gqa"
    splits = ("testdev", "val", "train")
    places: ClassVar[tuple[str, ...]] = (
        "images/{id}.jpg",
        "allImages/images/{id}.jpg",
        "../visual-genome/VG_100K/{id}.jpg",
        "../visual-genome/VG_100K_2/{id}.jpg",
    )

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the file of the split, or the ten of which all questions of ``train`` are released."""
        chosen = self.config.questions
        parts = [sorted((self.root / folder).glob(f"{split}_{chosen}_questions/*.json")) for folder in _FOLDERS]
        several = next((found for found in parts if found), [])
        return several or (self.file(*(f"{folder}{split}_{chosen}_questions.json" for folder in _FOLDERS)),)

    def entries(self, task: str, split: str) -> Iterable[Entry]:
        """Yield the questions, ``(id, question)``."""
        for path in self.sources(task, split):
            for key, entry in json_object(path):
                yield Entry(entry.place, (key, entry.value))

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make the sample of a question."""
        key, value = entry.value
        record = record_of(value)
        image_id, answer = text_of(record, "imageId"), text_of(record, "answer")
        if not _IMAGE.fullmatch(image_id):
            raise Unusable(f"its 'imageId' is {shown(image_id)}, which names no picture")
        told: dict[str, Any] = {"question": text_of(record, "question"), "answers": [answer]}
        types = record_of(record.get("types") or {})
        optional: Mapping[str, Any] = {
            "full_answer": record.get("fullAnswer"),
            "question_type": types.get("structural"),
            "answer_type": types.get("semantic"),
        }
        told.update({name: text for name, text in optional.items() if isinstance(text, str)})
        yield StoredSample(key, image_id, {"whole": True}, (answer,), told)
