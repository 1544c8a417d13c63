"""RefCOCO, RefCOCO+ and RefCOCOg in the layout of REFER: a pickle of expressions, and COCO's instances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from regionkit.core.data.masks import mask_record, overlaps
from regionkit.core.data.records import Entry, StoredSample, Unusable
from regionkit.core.errors import DataError, RegionkitError, WeightsError
from regionkit.core.json_files import load
from regionkit.core.unpickling import read_pickle
from regionkit.plugins.datasets.regions.boxes import from_xywh, picture_name, text, whole
from regionkit.plugins.datasets.regions.proposals import proposals
from regionkit.plugins.datasets.regions.region_files import RegionFiles


@dataclass(slots=True)
class _Instances:
    """The pictures and objects of ``instances.json``, by number."""

    pictures: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    objects: dict[int, list[Mapping[str, Any]]] = field(default_factory=dict)
    categories: dict[int, str] = field(default_factory=dict)


class Refer(RegionFiles):
    """Objects of COCO's pictures with the expressions that people referred to them by.

    ``ris`` has a sample for every expression: its region is the object's mask, and its candidates are the masks among
    which the expression picks one, with ``info["overlaps"]``, the IoU of each with the object. ``mask`` and ``box``
    have a sample for every object, whose expressions are its references.
    """

    tasks: ClassVar[tuple[str, ...]] = ("ris", "mask", "box")
    folder: ClassVar[str] = "refer"
    places: ClassVar[tuple[str, ...]] = (
        "images/mscoco/images/train2014/{name}",  # where REFER looks
        "../coco/train2014/{name}",
        "../coco/images/train2014/{name}",
        "train2014/{name}",
        "images/train2014/{name}",
        "images/{name}",
        "../coco/train2017/{coco}.jpg",
        "../coco/val2017/{coco}.jpg",
    )
    #: Folder of the data set in REFER's, and the splits of everybody who split it.
    own: ClassVar[str]
    splits_by: ClassVar[Mapping[str, tuple[str, ...]]]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.split_by: str = getattr(config, "split_by", "unc")
        self.splits = self.splits_by[self.split_by]
        self._instances = _Instances()
        self._masks: tuple[int, list[tuple[int, dict[str, Any]]]] = (-1, [])
        self._proposed: tuple[int, list[dict[str, Any]]] = (-1, [])

    def sources(self, task: str, split: str) -> Sequence[Path]:
        """Return the expressions, the instances, and the folders of proposals, which change as files come and go."""
        refs, instances = f"refs({self.split_by}).p", "instances.json"
        files = (self.file(f"{self.own}/{refs}"), self.file(f"{self.own}/{instances}"))
        if task != "ris" or not self.config.proposals:
            return files
        folder = self._folder
        return (*files, folder, *sorted(path for path in folder.iterdir() if path.is_dir()))

    def forget(self) -> None:
        """Drop the instances."""
        self._instances = _Instances()
        self._masks, self._proposed = (-1, []), (-1, [])

    def entries(self, task: str, split: str) -> Iterator[Entry]:
        """Yield expression by expression for ``ris``, object by object otherwise; nothing in the pickle is run."""
        path, instances, *_ = self.sources(task, split)
        refs = _refs(path, self.name)
        self._instances = _read_instances(instances)
        for number, ref in enumerate(refs):
            place = f"{path}: record {number + 1}"
            sentences = ref.get("sentences") if isinstance(ref, Mapping) else None
            if task != "ris" or not isinstance(sentences, list):
                yield Entry(place, (ref, None))
                continue
            for at, sentence in enumerate(sentences):
                yield Entry(f"{place}: sentence {at + 1}", (ref, sentence))

    def read(self, task: str, split: str, entry: Entry) -> Iterator[StoredSample]:
        """Make a sample of an expression or of an object."""
        ref, sentence = entry.value
        if ref["split"] != split:
            return
        image, target = whole(ref, "image_id"), whole(ref, "ann_id")
        found = next((one for one in self._instances.objects.get(image, ()) if one.get("id") == target), None)
        if found is None:
            raise Unusable(f"its object {target} of picture {image} is not in instances.json")
        image_id, size = self._picture(image)
        info = {
            "ref_id": whole(ref, "ref_id"),
            "category": self._instances.categories.get(whole(found, "category_id"), ""),
        }
        if task == "ris":
            yield self._expression(sentence, image, target, (image_id, size), info)
            return
        texts = tuple(text(one, self.config.text) for one in ref["sentences"])
        if not texts:
            raise Unusable("it has no expression")
        region = from_xywh(found["bbox"], size) if task == "box" else _mask_of(found, size)
        yield StoredSample(str(info["ref_id"]), image_id, region, texts, info)

    def _expression(
        self,
        sentence: Mapping[str, Any],
        image: int,
        target: int,
        picture: tuple[str, tuple[int, int]],
        info: Mapping[str, Any],
    ) -> StoredSample:
        image_id, size = picture
        if self.config.proposals:
            found = next(one for one in self._instances.objects[image] if one.get("id") == target)
            mask, others = _mask_of(found, size), self._candidates(image, image_id, size)
        else:
            objects = self._objects(image, size)
            mask, others = dict(objects)[target], [one for _, one in objects]
        return StoredSample(
            str(whole(sentence, "sent_id")),
            image_id,
            mask,
            (text(sentence, self.config.text),),
            {**info, "overlaps": overlaps(mask, others)},
            tuple(others),
        )

    def _picture(self, image: int) -> tuple[str, tuple[int, int]]:
        picture = self._instances.pictures.get(image)
        if picture is None:
            raise Unusable(f"its picture {image} is not in instances.json")
        # The expressions' own file names have the object's number at their end, and are names of no file.
        image_id = picture_name(picture["file_name"])
        return image_id, self.sized(image_id, picture["height"], picture["width"])

    def _objects(self, image: int, size: tuple[int, int]) -> list[tuple[int, dict[str, Any]]]:
        """Return number and mask of every annotated object of a picture; expressions of a picture often follow."""
        if self._masks[0] != image:
            made = []
            for one in self._instances.objects[image]:
                try:
                    made.append((whole(one, "id"), _mask_of(one, size)))
                except RegionkitError as error:
                    raise Unusable(f"the candidate {one.get('id')!r:.30} of its picture: {error.message}") from None
            self._masks = (image, made)
        return self._masks[1]

    def _candidates(self, image: int, image_id: str, size: tuple[int, int]) -> list[dict[str, Any]]:
        """Return the proposals of a picture."""
        if self._proposed[0] != image:
            number = str(self.names(image_id)["coco"])
            self._proposed = (image, proposals(self._folder, image_id, number, size))
        return self._proposed[1]

    @property
    def _folder(self) -> Path:
        """The folder of proposals.

        Raises:
            DataError: It is not there.
        """
        folder: Path = self.root / self.config.proposals
        if not folder.is_dir():
            raise DataError(
                f"{folder}: no folder of proposals",
                "give the folder with a folder of PNG masks a picture, as in: proposals: DIR",
                "without proposals the annotated objects of the picture are the candidates",
            )
        return folder


class Refcoco(Refer):
    """RefCOCO (Yu et al., ECCV 2016): expressions of a game, that may speak of places in the picture."""

    name: ClassVar[str] = "refcoco"
    own: ClassVar[str] = "refcoco"
    splits_by: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "unc": ("val", "testA", "testB", "train"),
        "google": ("test", "val", "train"),
    }
    splits = ("val", "testA", "testB", "test", "train")


class RefcocoPlus(Refer):
    """RefCOCO+ (Yu et al., ECCV 2016): expressions that may not speak of places."""

    name: ClassVar[str] = "refcoco-plus"
    own: ClassVar[str] = "refcoco+"
    splits_by: ClassVar[Mapping[str, tuple[str, ...]]] = {"unc": ("val", "testA", "testB", "train")}
    splits = ("val", "testA", "testB", "train")


class Refcocog(Refer):
    """RefCOCOg (Mao et al., CVPR 2016; UMD's splits: Nagaraja et al., ECCV 2016): longer expressions."""

    name: ClassVar[str] = "refcocog"
    own: ClassVar[str] = "refcocog"
    splits_by: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "umd": ("val", "test", "train"),
        "google": ("val", "train"),
    }
    splits = ("val", "test", "train")


def _mask_of(found: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    width, height = size
    return mask_record(found["segmentation"], height, width)


def _refs(path: Path, name: str) -> list[Any]:
    """Return the records of a pickle of expressions, without running what else may be in it.

    Raises:
        DataError: It holds anything else than plain values, or no list.
    """
    try:
        refs = read_pickle(path)
    except WeightsError as error:
        raise DataError(error.message, f"where to get the file again: toolkit data list {name}") from None
    if not isinstance(refs, list):
        raise DataError(f"{path}: the pickle holds a {type(refs).__name__}, and a list of expressions is expected")
    return refs


def _read_instances(path: Path) -> _Instances:
    """Return pictures and objects of a file of COCO's form.

    Raises:
        DataError: It cannot be read, or has no lists of images and annotations.
    """
    value = load(path).value
    lists = [value.get(key) if isinstance(value, Mapping) else None for key in ("images", "annotations")]
    if not all(isinstance(rows, list) for rows in lists):
        raise DataError(f"{path}: no lists 'images' and 'annotations' in it")
    found = _Instances()
    # Records without a number are found by nobody, and the expressions that look for them say so.
    for picture in lists[0] or ():
        if isinstance(picture, Mapping) and type(picture.get("id")) is int:
            found.pictures[picture["id"]] = picture
    for one in lists[1] or ():
        if isinstance(one, Mapping) and type(one.get("image_id")) is int:
            found.objects.setdefault(one["image_id"], []).append(one)
    categories = value.get("categories")
    for category in categories if isinstance(categories, list) else ():
        if isinstance(category, Mapping) and type(category.get("id")) is int:
            found.categories[category["id"]] = str(category.get("name", ""))
    return found
