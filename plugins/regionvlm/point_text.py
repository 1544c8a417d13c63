"""Points as text, and the tokenizers that read it.

Lee et al., Toward Interactive Regional Understanding in Vision-Large Language Models, section 3.3: ``[[0.324, 0.643],
[0.369, 0.622]]`` becomes ``[32 64] [37 62]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from regionkit.core.errors import RegionError, WeightsError
from regionkit.core.files import is_file, is_folder
from regionkit.plugins.regionvlm.configs import Compat

#: Words of text that the released text processor keeps; a point is two.
_WORDS = 50
_SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")
#: Files of a tokenizer in a folder, the surest first.
_FILES = ("tokenizer.json", "vocab.txt")
#: The text of which every tokenizer must know every token.
_PROBE = " ".join(f"[{number} {100 - number}]" for number in range(101))


def point_string(points: NDArray[np.float64], compat: Compat = "paper") -> str:
    """Write points as the Q-Former reads them.

    Args:
        points: (k, 2) x and y in 0..1 of the picture; what is beyond is clipped.
        compat: ``paper`` rounds hundredths. ``reference`` truncates them, as int(100 * value) does, and keeps the first
            25 points.

    Raises:
        RegionError: A coordinate is not a finite number.
    """
    points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise RegionError("a point has a coordinate that is not a finite number")
    kept = points.clip(0, 1).tolist()
    if compat == "reference":
        return " ".join(f"[{int(x * 100)} {int(y * 100)}]" for x, y in kept[: _WORDS // 2])
    return " ".join(f"[{round(x * 100)} {round(y * 100)}]" for x, y in kept)


class PointTokenizer(Protocol):
    """What turns point text into ids.

    Attributes:
        size: Number of ids.
        pad: Id of padding.
    """

    size: int
    pad: int

    def encode(self, text: str, most: int) -> list[int]:
        """Return the ids of a text between those of start and end, cut before the end to ``most`` in all."""

    def to_extra(self) -> dict[str, Any]:
        """Return what a weight header holds of it."""


class NumeralTokenizer:
    """The words of point text and no others: brackets and the numerals 0 to 100, for models trained from nothing.

    Attributes:
        numerals: Ids of 0 to 100.
    """

    words = (*_SPECIAL, "[", "]", *map(str, range(101)))
    size = len(words)
    pad = 0
    numerals = slice(len(words) - 101, len(words))
    _ids = {word: place for place, word in enumerate(words)}  # noqa: RUF012

    def encode(self, text: str, most: int) -> list[int]:
        """Return the ids of a text; a word that is no numeral is unknown."""
        words = text.replace("[", " [ ").replace("]", " ] ").split()
        ids = [self._ids.get(word, self._ids["[UNK]"]) for word in words]
        return [self._ids["[CLS]"], *ids[: most - 2], self._ids["[SEP]"]]

    def to_extra(self) -> dict[str, Any]:
        """Return its name: the rest is known."""
        return {"type": "points"}


class WordPieceTokenizer:
    """A tokenizer of BERT's kind.

    Args:
        inner: The tokenizer.
        source: Where it comes from, for messages.

    Raises:
        WeightsError: It lacks a special token, or a bracket or numeral.
    """

    def __init__(self, inner: Tokenizer, source: str | Path) -> None:
        inner.no_truncation()
        inner.no_padding()
        known: dict[str, int] = inner.get_vocab()
        missing = [word for word in _SPECIAL if word not in known]
        if missing:
            raise WeightsError(f"{source}: this is no tokenizer of BERT's kind: it lacks {', '.join(missing)}")
        self.inner = inner
        self.pad, self._start, self._end, unknown = (known[word] for word in _SPECIAL)
        self.size = max(known.values()) + 1
        if unknown in inner.encode(_PROBE, add_special_tokens=False).ids:
            raise WeightsError(f"{source}: this tokenizer cannot read points: it lacks brackets or digits")

    def encode(self, text: str, most: int) -> list[int]:
        """Return the ids of a text."""
        ids = self.inner.encode(text, add_special_tokens=False).ids
        return [self._start, *ids[: most - 2], self._end]

    def to_extra(self) -> dict[str, Any]:
        """Return it whole."""
        return {"type": "json", "json": self.inner.to_str()}


def read_tokenizer(path: Path) -> WordPieceTokenizer:
    """Read a ``vocab.txt`` or ``tokenizer.json`` of BERT's kind, or a folder that holds one.

    Raises:
        WeightsError: It is not there, unreadable, or no such tokenizer.
    """
    if is_folder(path):
        found = next((path / name for name in _FILES if is_file(path / name)), None)
        if found is None:
            raise WeightsError(f"{path}: no tokenizer in this folder", f"looked for {', '.join(_FILES)}")
        path = found
    if not is_file(path):
        raise WeightsError(f"there is no tokenizer {path}", f"name a {' or '.join(_FILES)}, or a folder with one")
    try:
        text = path.read_text(encoding="utf-8")
        inner = Tokenizer.from_str(text) if path.suffix == ".json" else _of_vocabulary(text)
    except Exception as error:  # tokenizers raises plain Exception
        raise WeightsError(f"{path}: the tokenizer is unreadable: {error}", "fetch it again") from None
    return WordPieceTokenizer(inner, path)


def tokenizer_of(option: str) -> PointTokenizer:
    """Return the tokenizer that an option names: ``points`` or ``file:PATH``."""
    return NumeralTokenizer() if option == "points" else read_tokenizer(Path(option.removeprefix("file:")).expanduser())


def tokenizer_from(extra: Mapping[str, Any], source: str | Path) -> PointTokenizer:
    """Return the tokenizer that a weight header holds.

    Raises:
        WeightsError: It holds none, or a damaged one.
    """
    stored = extra.get("tokenizer")
    kind = stored.get("type") if isinstance(stored, Mapping) else None
    if kind == "points":
        return NumeralTokenizer()
    if isinstance(stored, Mapping) and kind == "json":
        try:
            inner = Tokenizer.from_str(str(stored["json"]))
        except Exception as error:  # tokenizers raises plain Exception
            raise WeightsError(f"{source}: the tokenizer in its header is unreadable: {error}") from None
        return WordPieceTokenizer(inner, source)
    raise WeightsError(f"{source}: these weights do not say by which tokenizer they read points")


def _of_vocabulary(text: str) -> Tokenizer:
    """Make BERT's uncased tokenizer from the lines of its vocabulary."""
    vocabulary = {word: place for place, word in enumerate(text.splitlines())}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer
