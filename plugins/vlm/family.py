"""What the decoder has to know of a family of vision-language models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from regionkit.core.errors import WeightsError
from regionkit.core.language.tokenizers import LanguageTokenizer


@dataclass(frozen=True)
class Shown:
    """A picture as a vision tower takes it.

    Attributes:
        pixels: (n, 3, side, side) tiles, or (n, values) patches.
        grid: (rows, columns) of them; (0, 0) for a picture that is one tile.
    """

    pixels: Tensor
    grid: tuple[int, int]


@dataclass(frozen=True)
class Looked:
    """What a language model reads of a picture.

    Attributes:
        tokens: (n, d), in the order of the place holders in the text that stands for the picture.
        places: (n, 2) row and column of each in the picture; None where the model is not told.
        deep: (k, n, d) added to the tokens' states behind each of the first k layers; None where nothing is.
    """

    tokens: Tensor
    places: Tensor | None
    deep: Tensor | None = None


@dataclass(frozen=True)
class Pictures(ABC):
    """How pictures are prepared.

    Attributes:
        mean: Taken off each colour, in 0..1.
        std: Divides it then.
    """

    mean: tuple[float, ...] = field(default=(0.5, 0.5, 0.5), kw_only=True)
    std: tuple[float, ...] = field(default=(0.5, 0.5, 0.5), kw_only=True)

    @abstractmethod
    def shown(self, picture: Image.Image) -> Shown:
        """Prepare one."""

    @abstractmethod
    def check(self) -> None:
        """Check that the numbers make sense.

        Raises:
            ValueError: They do not.
        """

    @classmethod
    def of_extra(cls, stored: object, source: str | Path) -> Self:
        """Read what :meth:`to_extra` wrote.

        Raises:
            WeightsError: It is damaged.
        """
        try:
            given: dict[str, Any] = dict(stored)  # type: ignore[call-overload]
            found = cls(**{**given, "mean": tuple(given["mean"]), "std": tuple(given["std"])})
            found.check()
        except (ValueError, TypeError, KeyError) as error:
            raise WeightsError(f"{source}: its header does not say how pictures are prepared: {error}") from None
        return found

    def to_extra(self) -> Mapping[str, Any]:
        """Return what the header of a weight file keeps."""
        return asdict(self)

    def _normal(self, array: NDArray[Any]) -> NDArray[np.float32]:
        """Return colours (..., 3) of 0..255 as the vision tower reads them."""
        scaled: NDArray[np.float32] = array.astype(np.float32) / np.float32(255)
        mean, std = (np.array(one, np.float32) for one in (self.mean, self.std))
        normal: NDArray[np.float32] = (scaled - mean) / std
        return normal


class Family(ABC):
    """Vision-language models of one ``model_type``.

    Attributes:
        name: That type.
        marks: Special tokens that its tokenizers have; the first is the place holder of a picture's token.
        template: What stands around a prompt, ``{}`` for the prompt itself.
        tower: Names in a module's path that say it sees pictures, or connects what is seen.
        spreads: Whether a token has numbers in time, rows and columns, and not one alone.
        transformers: First version of transformers whose models take and give what is written here.
    """

    name: str
    marks: tuple[str, ...]
    template: str = "{}"
    tower: tuple[str, ...]
    spreads: bool = False
    transformers: int = 4

    @abstractmethod
    def fields(self, config: Any, tokenizer: LanguageTokenizer) -> dict[str, Any]:
        """Return the fields of the config of a new model, from the options of ``vlm``."""

    @abstractmethod
    def sizes(self, made_of: Any, pictures: Any) -> dict[str, Any]:
        """Return the options of the vision side that a config stands for."""

    def check(self, made_of: Any, source: str | Path) -> None:
        """Refuse a config that only a forward pass would stumble over.

        Raises:
            WeightsError: Its numbers do not go together.
        """
        return

    @abstractmethod
    def pictures_of_options(self, config: Any) -> Pictures:
        """Return how a new model's pictures are prepared."""

    @abstractmethod
    def pictures_of_folder(self, path: Path, made_of: Any) -> Pictures:
        """Read a ``preprocessor_config.json`` and hold it against the model's config.

        Raises:
            WeightsError: It is damaged, or of another model.
        """

    @abstractmethod
    def pictures_of_extra(self, stored: object, source: str | Path) -> Pictures:
        """Read what the header of a weight file keeps.

        Raises:
            WeightsError: It is damaged.
        """

    @abstractmethod
    def text(self, made_of: Any, grid: tuple[int, int]) -> str:
        """Return the text that stands for a picture of that grid: place holders, and the marks around them."""

    @abstractmethod
    def look(self, model: Any, shown: Sequence[Shown]) -> list[Looked]:
        """Return what the language model reads of each picture."""

    @abstractmethod
    def features(self, model: Any, shown: Sequence[Shown]) -> Tensor:
        """Return (r, d_v): the mean over each picture of what the vision tower sees, before the connector."""

    @abstractmethod
    def bounded(self, pictures: Any, pixels: int) -> Pictures:
        """Return pictures of at most so many pixels.

        Raises:
            RegionkitError: The family shows pictures in one size, or one token of it is larger.
        """

    def new_marks(self, config: Any) -> tuple[str, ...]:
        """Return the special tokens that the tokenizer of a new model gets."""
        return self.marks

    def own_model(self) -> tuple[Any, Any] | None:
        """Return config and model class of a family that transformers does not have; None for one that it has."""
        return None

    def renamed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a release's tensors by the names of the model."""
        return dict(tensors)

    def layers(self, model: Any) -> Sequence[Any]:
        """Return the layers of the language model, for a family whose pictures reach several of them."""
        return ()
