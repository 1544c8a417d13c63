"""A-OKVQA: questions with four choices, ten answers in words, and reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.data.files import FileDataset
from regionkit.core.data.records import Entry, StoredSample, Unusable
from regionkit.core.data.streams import json_list
from regionkit.plugins.datasets.questions.coco_pictures import PLACES_2014, PLACES_2017, coco_number
from regionkit.plugins.datasets.questions.fields import distinct, list_of, number_of, record_of, shown, text_of

#: The split whose answers its authors keep; not called "test", which would be the split that is taken by default.
HIDDEN = "test-hidden"


class AOkVqa(FileDataset):
    """A-OKVQA v1.0 on pictures of COCO 2017, to be answered in words, one sample a question.

    The region is the whole picture. ``info`` holds ``question``, ``answers`` (of ten people), ``choices``,
    ``correct_choice`` (counted from 0) and ``rationales``; references are the distinct answers, those that most people
    gave first. ``test-hidden`` (the file of ``test``) has no answers.

    Source: Schwenk et al., A-OKVQA, ECCV 2022. Its metric is ``vqa-accuracy`` with ``variant: a-okvqa``.
    """

    name: ClassVar[str] = "a-okvqa"
    tasks: ClassVar[tuple[str, ...]] = ("vqa",)
    folder: ClassVar[str] = "a-okvqa"
    places: ClassVar[tuple[str, ...]] = (*PLACES_2017, *PLACES_2014)
    splits = ("val", "train", HIDDEN)

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the file of the split."""
        return (self.file(f"aokvqa_v1p0_{'test' if split == HIDDEN else split}.json"),)

    def entries(self, task: str, split: str) -> Iterable[Entry]:
        """Yield the questions."""
        return json_list(self.sources(task, split)[0])

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make the sample of a question, none of a difficult one unless those are kept."""
        record = record_of(entry.value)
        if record.get("difficult_direct_answer") is True and self.config.difficult == "leave-out":
            return
        choices = _texts(record, "choices")
        told: dict[str, Any] = {"question": text_of(record, "question"), "choices": choices}
        answers: list[str] = []
        if split != HIDDEN:
            answers = _texts(record, "direct_answers")
            told["answers"] = answers
            told["correct_choice"] = number_of(record, "correct_choice_idx", len(choices))
            told["rationales"] = _texts(record, "rationales") if "rationales" in record else []
        image_id = str(number_of(record, "image_id"))
        yield StoredSample(text_of(record, "question_id"), image_id, {"whole": True}, distinct(answers), told)

    def names(self, image_id: str) -> dict[str, Any]:
        """Return the picture's number."""
        return coco_number(image_id)


def _texts(record: Mapping[str, Any], key: str) -> list[str]:
    texts = list_of(record, key)
    for text in texts:
        if not isinstance(text, str):
            raise Unusable(f"its '{key}' hold {shown(text)}, and should be texts")
    if not texts:
        raise Unusable(f"its '{key}' are none")
    return texts
