"""A folder of pictures, and the words of another data set, as the data set that metrics ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from regionkit.core.contracts import Dataset, Sample
from regionkit.core.errors import DataError
from regionkit.core.files import is_file, is_folder
from regionkit.core.images import PICTURE_SUFFIXES, open_image
from regionkit.plugins.scoring.words import listed


class PictureFolder(Dataset):
    """Pictures by id.

    Args:
        folder: Where they are; None for no pictures.
        words: The data set whose lexicons metrics use; None for none.
    """

    def __init__(self, folder: Path | None, words: Dataset | None = None) -> None:
        if folder is not None and not is_folder(folder):
            raise DataError(f"--images {folder}: there is no such folder")
        self._folder, self._words = folder, words
        self._paths: dict[str, Path] = {}

    @property
    def has_pictures(self) -> bool:
        """Whether there are pictures at all."""
        return self._folder is not None

    def find(self, ids: Iterable[str], named: Mapping[str, str]) -> None:
        """Look up a picture for every image id, by the file name that the references say or by ``ID.jpg`` and such.

        Raises:
            DataError: Some have none; they are named.
        """
        if self._folder is None:
            return
        missing = []
        for image_id in dict.fromkeys(ids):
            path = self._lookup(self._folder, image_id, named.get(image_id, ""))
            if path is None:
                missing.append(image_id)
            else:
                self._paths[image_id] = path
        if missing:
            raise DataError(
                f"--images {self._folder}: no picture for {len(missing):,} of the ids: {listed(missing)}",
                f"a picture is called ID with one of {', '.join(PICTURE_SUFFIXES)}, or as file_name of a COCO file or "
                "the key 'image' of a record of references say",
            )

    def _lookup(self, folder: Path, image_id: str, name: str) -> Path | None:
        wanted = [folder / name, folder / Path(name).name] if name else []
        wanted += [folder / image_id] if Path(image_id).suffix.lower() in PICTURE_SUFFIXES else []
        wanted += [folder / f"{image_id}{suffix}" for suffix in PICTURE_SUFFIXES]
        return next((path for path in wanted if is_file(path)), None)

    def lexicon(self, kind: str) -> Mapping[str, str]:
        """Return the lexicon of the other data set; raises as that does."""
        if self._words is None:
            raise DataError(f"no lexicon of {kind} was given", "name the data set that has one with --lexicon")
        return self._words.lexicon(kind)

    def image(self, image_id: str) -> Image.Image:
        """Load the picture of that id.

        Raises:
            DataError: No folder of pictures was given.
            ImageError: It is no picture.
        """
        if image_id not in self._paths:
            raise DataError(f"there is no picture for '{image_id}'", "name the folder of the pictures with --images")
        return open_image(self._paths[image_id])

    def samples(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> Sequence[Sample]:
        """Refuse: the samples of a file of references are made elsewhere."""
        raise NotImplementedError("a folder of pictures has no samples of its own")

    def fingerprint(self, task: str, split: str, seed: int = 0, limit: int | None = None) -> str:
        """Refuse, as :meth:`samples` does."""
        raise NotImplementedError("a folder of pictures has no samples of its own")


class DataPictures(PictureFolder):
    """The pictures, clips and words of the data set whose samples captions are judged against.

    Args:
        data: The data set.
        words: Another one whose lexicons metrics use; None for its own.
    """

    def __init__(self, data: Dataset, words: Dataset | None = None) -> None:
        super().__init__(None, words or data)
        self._data = data

    @property
    def has_pictures(self) -> bool:
        """Whether there are pictures at all; one that is missing is told when it is needed."""
        return True

    def image(self, image_id: str) -> Image.Image:
        """Load a picture; raises as the data set does."""
        return self._data.image(image_id)

    def clip(self, image_id: str) -> Sequence[Image.Image]:
        """Load a clip; raises as the data set does."""
        return self._data.clip(image_id)
