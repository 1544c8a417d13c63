"""DLC-Bench: masks whose detailed descriptions are judged by questions, without references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.data.masks import mask_record
from regionkit.core.data.records import Entry, Fault, StoredSample, Unusable
from regionkit.core.errors import DataError
from regionkit.core.json_files import load
from regionkit.plugins.datasets.regions.boxes import picture_name, text, whole
from regionkit.plugins.datasets.regions.region_files import RegionFiles

#: Questions ask for what a description should say, or for what it should not.
_TYPES = ("positive", "negative")


class DlcBench(RegionFiles):
    """Objects of Objects365 with questions on their descriptions (Lian et al., Describe Anything, ICCV 2025).

    A sample is an annotation, and its id the annotation's. ``info["questions"]`` is its list of ``qa.json``, unchanged,
    and ``info["class_name"]`` its name of ``class_names.json``. It has no reference: a judge compares its description
    with the choices of the questions.
    """

    name: ClassVar[str] = "dlc-bench"
    tasks: ClassVar[tuple[str, ...]] = ("detail",)
    folder: ClassVar[str] = "DLC-Bench"
    splits = ("test",)
    places: ClassVar[tuple[str, ...]] = ("images/{id}", "{id}", "images/{name}")

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.forget()

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return annotations, questions and names."""
        return tuple(self.file(name) for name in ("annotations.json", "qa.json", "class_names.json"))

    def forget(self) -> None:
        """Drop questions and names."""
        self._pictures: dict[int, Mapping[str, Any]] = {}
        self._questions: Mapping[str, Any] = {}
        self._names: Mapping[str, Any] = {}

    def entries(self, task: str, split: str) -> Iterator[Entry | Fault]:
        """Yield annotation by annotation, then the questions and names that belong to none."""
        path, *others = self.sources(task, split)
        value = load(path).value
        images, annotations = (value.get(key) if isinstance(value, Mapping) else None for key in _LISTS)
        if not isinstance(images, list) or not isinstance(annotations, list):
            raise DataError(f"{path}: no lists 'images' and 'annotations' in it")
        self._pictures = {one["id"]: one for one in images if isinstance(one, Mapping) and type(one.get("id")) is int}
        self._questions, self._names = (_by_annotation(other) for other in others)
        for number, annotation in enumerate(annotations):
            yield Entry(f"{path}: annotations[{number}]", annotation)
        known = {str(one.get("id")) for one in annotations if isinstance(one, Mapping)}
        for other, held in zip(others, (self._questions, self._names), strict=True):
            for key in held:
                if key not in known:
                    yield Fault(f"{other}: '{key:.40}'", "there is no annotation of this id")

    def read(self, task: str, split: str, entry: Entry) -> Iterator[StoredSample]:
        """Make a sample of an annotation, which has questions and a name."""
        annotation = entry.value
        if not isinstance(annotation, Mapping):
            raise Unusable("an annotation is an object with 'id', 'image_id' and 'segmentation'")
        own = str(whole(annotation, "id"))
        picture = self._pictures.get(whole(annotation, "image_id"))
        if picture is None:
            raise Unusable(f"its picture {annotation['image_id']} is not in 'images'")
        if own not in self._questions:
            raise Unusable(f"qa.json has no questions of annotation {own}")
        if own not in self._names:
            raise Unusable(f"class_names.json has no name of annotation {own}")
        image_id = picture_name(picture["file_name"])
        width, height = self.sized(image_id, picture["height"], picture["width"])
        info = {
            "questions": _checked(self._questions[own], own),
            "class_name": text({f"class_names.json of {own}": self._names[own]}, f"class_names.json of {own}"),
        }
        yield StoredSample(own, image_id, mask_record(annotation["segmentation"], height, width), (), info)


_LISTS = ("images", "annotations")


def _by_annotation(path: Path) -> Mapping[str, Any]:
    """Return a file's object, one record an annotation.

    Raises:
        DataError: It holds something else.
    """
    value = load(path).value
    if not isinstance(value, Mapping):
        raise DataError(f"{path}: a JSON object is expected, with the id of an annotation as each key")
    return value


def _checked(questions: Any, own: str) -> list[Mapping[str, Any]]:
    """Return the questions of an annotation as they are; a judge would stumble over others.

    Raises:
        Unusable: One has no text, no choices with points, or is neither positive nor negative.
    """
    if not isinstance(questions, list) or not questions:
        raise Unusable(f"qa.json has no list of questions of annotation {own}")
    for number, question in enumerate(questions):
        where = f"question {number + 1} of annotation {own} in qa.json"
        if not isinstance(question, Mapping) or not isinstance(question.get("question"), str):
            raise Unusable(f"{where} has no text")
        if question.get("type") not in _TYPES:
            raise Unusable(f"{where} is neither {' nor '.join(_TYPES)}")
        choices = question.get("choices")
        if not isinstance(choices, list) or not choices or not all(map(_is_choice, choices)):
            raise Unusable(f"{where} has no choices, each a text and its points")
    return questions


def _is_choice(choice: Any) -> bool:
    if not isinstance(choice, list) or len(choice) != 2:
        return False
    words, points = choice
    return isinstance(words, str) and isinstance(points, (int, float)) and -1e6 <= points <= 1e6
