"""Visual commonsense reasoning: which answer is right, and which reason for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.data.files import FileDataset
from regionkit.core.data.masks import mask_record
from regionkit.core.data.records import Entry, Fault, PictureMissing, StoredSample, Unusable
from regionkit.core.data.streams import json_lines
from regionkit.core.files import is_file
from regionkit.core.json_files import load
from regionkit.plugins.datasets.questions.fields import file_name_of, list_of, number_of, record_of, shown, text_of
from regionkit.plugins.datasets.questions.vcr_text import Tokens, mentioned_in, tokens_of, written

#: Choices of every question, and of every reason.
_CHOICES = 4


@dataclass(frozen=True, slots=True)
class _Asked:
    """One of the two things that are asked about a question: choices, and which of them is right."""

    stage: str
    choices: Sequence[Tokens]
    label: int
    answer: Tokens | None = None


class Vcr(FileDataset):
    """VCR v1.0, two samples a question: which answer (``q-a``), and which reason, given the right answer (``qa-r``).

    Objects that the question, its choices and, in ``qa-r``, the right answer speak of are ``Sample.mentioned``, in the
    order in which they come first; texts call them ``[0]``, ``[1]``, ... by their place there. The region is all of
    them together, or the whole picture where there are none. The reference is the number of the right choice, from 1.
    ``info`` holds ``stage``, ``question`` (``annot_id``), ``label`` (from 0), ``question_text``, ``choices``,
    ``objects`` (what the mentioned ones are) and, in ``qa-r``, ``answer``, the text of the right one.

    A third question, ``q-ar``, is the reason given the answer that a model chose. It cannot be written down before the
    model has answered, so these data do not hold it; the metric makes ``q-ar`` of the two others (``q_ar: and``).
    The authors keep the labels of ``test``, and with them all that could be judged: it is not a split here.

    Sources: Zellers et al., From Recognition to Cognition, CVPR 2019; RegionVLM, arXiv 2403.18260. Released code of the
    latter reads numbers of objects digit by digit; here object 12 is object 12.
    """

    name: ClassVar[str] = "vcr"
    tasks: ClassVar[tuple[str, ...]] = ("vcr",)
    folder: ClassVar[str] = "vcr"
    splits = ("val", "train")
    places: ClassVar[tuple[str, ...]] = ("vcr1images/{id}", "images/{id}", "{id}")

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._last: tuple[Path, Mapping[str, Any]] | None = None

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the file of questions; those of objects, one a picture, are read as questions name them."""
        return (self.file(f"{split}.jsonl", f"vcr1annots/{split}.jsonl"),)

    def entries(self, task: str, split: str) -> Iterable[Entry | Fault]:
        """Yield the questions."""
        return json_lines(self.sources(task, split)[0])

    def read(self, task: str, split: str, entry: Entry) -> Iterable[StoredSample]:
        """Make the two samples of a question, both or none."""
        record = record_of(entry.value)
        names = [str(name) for name in list_of(record, "objects")]
        metadata = self._metadata(file_name_of(record, "metadata_fn"))
        for key in ("boxes", "segms") if self.config.regions == "mask" else ("boxes",):
            if len(list_of(metadata, key)) < len(names):
                raise Unusable(
                    f"its metadata has {len(metadata[key])} {key} for {len(names)} objects: {record['metadata_fn']}"
                )
        question = tokens_of(record["question"], len(names))
        answers, reasons = (_sentences(record, f"{word}_choices", len(names)) for word in ("answer", "rationale"))
        label = number_of(record, "answer_label", _CHOICES)
        stages = (
            _Asked("q-a", answers, label),
            _Asked("qa-r", reasons, number_of(record, "rationale_label", _CHOICES), answers[label]),
        )
        return [self._sample(record, question, asked, names, metadata) for asked in stages]

    def _sample(
        self,
        record: Mapping[str, Any],
        question: Tokens,
        asked: _Asked,
        names: Sequence[str],
        metadata: Mapping[str, Any],
    ) -> StoredSample:
        given = (question,) if asked.answer is None else (question, asked.answer)
        objects = mentioned_in((*given, *asked.choices))
        places = {number: place for place, number in enumerate(objects)}
        number = text_of(record, "annot_id")
        told: dict[str, Any] = {
            "stage": asked.stage,
            "question": number,
            "label": asked.label,
            "question_text": written(question, places),
            "choices": [written(choice, places) for choice in asked.choices],
            "objects": [names[one] for one in objects],
        }
        if asked.answer is not None:
            told["answer"] = written(asked.answer, places)
        together, each = self._regions(objects, metadata)
        return StoredSample(
            f"{number}/{asked.stage}",
            file_name_of(record, "img_fn"),
            together,
            (str(asked.label + 1),),
            told,
            mentioned=each,
        )

    def _regions(
        self, objects: Sequence[int], metadata: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], tuple[Mapping[str, Any], ...]]:
        """Return the region of all objects together, and those of each."""
        if not objects:
            return {"whole": True}, ()
        if self.config.regions == "box":
            boxes = [_box(metadata["boxes"][one], one) for one in objects]
            return {"boxes": boxes}, tuple({"box": box} for box in boxes)
        height, width = number_of(metadata, "height"), number_of(metadata, "width")
        outlines = [_polygons(metadata["segms"][one], one) for one in objects]
        every = [polygon for polygons in outlines for polygon in polygons]
        return mask_record(every, height, width), tuple(mask_record(one, height, width) for one in outlines)

    def _metadata(self, name: str) -> Mapping[str, Any]:
        """Return the objects of a picture; questions about one stand together, so that the last is all that is held."""
        looked = [self.root / place.format(id=name) for place in self.places]
        path = next((path for path in looked if is_file(path)), None)
        if path is None:
            raise PictureMissing(
                f"its metadata '{name}' is not there: looked for {looked[0]}", "\n".join(map(str, looked))
            )
        if self._last is None or self._last[0] != path:
            self._last = path, record_of(load(path).value)
        return self._last[1]


def _sentences(record: Mapping[str, Any], key: str, objects: int) -> list[Tokens]:
    return [tokens_of(value, objects) for value in list_of(record, key, _CHOICES)]


def _box(value: Any, number: int) -> list[Any]:
    """Return ``x1, y1, x2, y2`` of ``x1, y1, x2, y2, score``."""
    if not isinstance(value, list) or len(value) not in (4, 5):
        raise Unusable(f"the box of object {number} is {shown(value)}, and should be [x1, y1, x2, y2, score]")
    return value[:4]


def _polygons(value: Any, number: int) -> list[list[Any]]:
    """Return polygons ``[x1, y1, x2, y2, ...]`` of lists of points ``[[x1, y1], [x2, y2], ...]``."""
    if not isinstance(value, list) or not value:
        raise Unusable(f"object {number} has no outline")
    if not all(
        isinstance(polygon, list) and all(isinstance(point, list) and len(point) == 2 for point in polygon)
        for polygon in value
    ):
        raise Unusable(f"the outline of object {number} is {shown(value)}, and should be lists of points [x, y]")
    return [[coordinate for point in polygon for coordinate in point] for polygon in value]
