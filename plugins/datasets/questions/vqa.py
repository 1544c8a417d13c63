"""VQAv2 and OK-VQA: a file of questions and a file of what ten people answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from sys import intern
from typing import Any, ClassVar

from regionkit.core.data.files import FileDataset
from regionkit.core.data.records import BAD_RECORD, Entry, Fault, StoredSample, Unusable, fault_of
from regionkit.core.data.streams import json_list
from regionkit.plugins.datasets.questions.coco_pictures import PLACES_2014, PLACES_2017, coco_number
from regionkit.plugins.datasets.questions.fields import (
    distinct,
    list_of,
    number_of,
    record_of,
    shown,
    text_of,
)

#: The metric leaves each person out in turn, so that one answer is none.
_FEWEST = 2
#: What is kept of an annotation beside its answers.
_TYPES = ("question_type", "answer_type", "multiple_choice_answer")


class QuestionsAndAnnotations(FileDataset):
    """Questions on pictures of COCO in the layout of the VQA challenge, one sample a question.

    The region is the whole picture. ``info`` holds ``question``, ``answers`` (of all ten people, repetitions included)
    and, where the release says them, ``question_type``, ``answer_type`` and ``multiple_choice_answer``; references are
    the distinct answers, those that most people gave first. Questions and annotations are joined by ``question_id``,
    and one without the other is a fault. Of the annotations only what samples need is held, and only while the index
    is made.

    Attributes:
        questions: Patterns of the file of questions, by split.
        annotations: Patterns of the file of annotations, by split; a split without them has no answers.
    """

    tasks: ClassVar[tuple[str, ...]] = ("vqa",)
    places: ClassVar[tuple[str, ...]] = (*PLACES_2014, *PLACES_2017)
    questions: ClassVar[Mapping[str, tuple[str, ...]]]
    annotations: ClassVar[Mapping[str, tuple[str, ...]]]

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the file of questions, and that of annotations where the split has one."""
        questions = self.file(*self.questions[split])
        return (questions, self.file(*self.annotations[split])) if split in self.annotations else (questions,)

    def entries(self, task: str, split: str) -> Iterable[Entry | Fault]:
        """Yield questions with their annotations, ``{"question": ..., "annotation": ...}``."""
        questions, *annotations = self.sources(task, split)
        if not annotations:
            yield from json_list(questions, "questions")
            return
        held: dict[int, Mapping[str, Any]] = {}
        yield from _annotations(annotations[0], held)
        for entry in json_list(questions, "questions"):
            try:
                number = number_of(record_of(entry.value), "question_id")
            except BAD_RECORD as error:
                yield fault_of(entry.place, error)
                continue
            annotation = held.pop(number, None)
            if annotation is None:
                yield Fault(entry.place, f"question {number} has no annotation that can be used, or stands here twice")
            else:
                yield Entry(entry.place, {"question": entry.value, "annotation": annotation})
        for number in held:
            yield Fault(f"{annotations[0]}: question_id {number}", f"there is no question {number} in {questions}")

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make the sample of a question."""
        if split not in self.annotations:
            question = record_of(entry.value)
            yield self._sample(question, {}, ())
            return
        question, annotation = entry.value["question"], entry.value["annotation"]
        if number_of(question, "image_id") != annotation["image_id"]:
            raise Unusable(
                f"the question is about picture {question['image_id']}, its annotation about {annotation['image_id']}"
            )
        answers = annotation["answers"]
        told = {key: annotation[key] for key in _TYPES if key in annotation}
        yield self._sample(question, {"answers": list(answers), **told}, distinct(answers))

    def names(self, image_id: str) -> dict[str, Any]:
        """Return the picture's number."""
        return coco_number(image_id)

    def _sample(
        self, question: Mapping[str, Any], told: Mapping[str, Any], references: tuple[str, ...]
    ) -> StoredSample:
        return StoredSample(
            str(number_of(question, "question_id")),
            str(number_of(question, "image_id")),
            {"whole": True},
            references,
            {"question": text_of(question, "question"), **told},
        )


def _annotations(path: Path, held: dict[int, Mapping[str, Any]]) -> Iterator[Fault]:
    """Put what samples need of all annotations into ``held``, by question; yield those that cannot be used."""
    for entry in json_list(path, "annotations"):
        try:
            record = record_of(entry.value)
            number = number_of(record, "question_id")
            if number in held:
                raise Unusable(f"question {number} has an annotation already, which counts")
            kept: dict[str, Any] = {"image_id": number_of(record, "image_id"), "answers": _answers(record)}
            kept.update({key: intern(text_of(record, key)) for key in _TYPES if key in record})
            held[number] = kept
        except BAD_RECORD as error:
            yield fault_of(entry.place, error)


def _answers(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what people answered; equal answers, of which there are many, are held once."""
    answers = [record_of(answer)["answer"] for answer in list_of(record, "answers")]
    for answer in answers:
        if not isinstance(answer, str):  # an empty one is what a person may have given
            raise Unusable(f"one of its answers is {shown(answer)}, and should be a text")
    if len(answers) < _FEWEST:
        raise Unusable(f"it holds answers of {len(answers)} people, and should hold those of ten")
    return tuple(intern(answer) for answer in answers)


class VqaV2(QuestionsAndAnnotations):
    """VQA v2, balanced questions on COCO 2014; ``test2015`` and ``test-dev2015`` have no answers.

    Source: Goyal et al., Making the V in VQA Matter, CVPR 2017. RegionVLM reports on ``val``.
    """

    name: ClassVar[str] = "vqav2"
    folder: ClassVar[str] = "vqav2"
    splits = ("val", "train", "test-dev2015", "test2015")
    questions: ClassVar[Mapping[str, tuple[str, ...]]] = {
        split: tuple(
            f"{folder}v2_OpenEnded_mscoco_{year}_questions.json" for folder in ("", "questions/", "Questions/")
        )
        for split, year in (
            ("val", "val2014"),
            ("train", "train2014"),
            ("test-dev2015", "test-dev2015"),
            ("test2015", "test2015"),
        )
    }
    annotations: ClassVar[Mapping[str, tuple[str, ...]]] = {
        split: tuple(
            f"{folder}v2_mscoco_{split}2014_annotations.json" for folder in ("", "annotations/", "Annotations/")
        )
        for split in ("val", "train")
    }


class OkVqa(QuestionsAndAnnotations):
    """OK-VQA v1.1, questions that need knowledge from outside the picture, on COCO 2014.

    Answers are stemmed, as the release scores them.

    Source: Marino et al., OK-VQA, CVPR 2019.
    """

    name: ClassVar[str] = "ok-vqa"
    folder: ClassVar[str] = "ok-vqa"
    splits = ("val", "train")
    questions: ClassVar[Mapping[str, tuple[str, ...]]] = {
        split: (
            f"OpenEnded_mscoco_{split}2014_questions.json",
            f"questions/OpenEnded_mscoco_{split}2014_questions.json",
        )
        for split in ("val", "train")
    }
    annotations: ClassVar[Mapping[str, tuple[str, ...]]] = {
        split: (f"mscoco_{split}2014_annotations.json", f"annotations/mscoco_{split}2014_annotations.json")
        for split in ("val", "train")
    }
