"""Tokenizers of the ``decap`` decoder, as data: a word list or CLIP's byte pairs.

A weight file carries the tokenizer that it was trained with in ``extra["tokenizer"]`` of its header::

    {"type": "words", "words": ["a", "and", ...]}
    {"type": "clip", "merges": "merges"}                              # a tensor of the weights: the file's text, uint8
    {"type": "clip", "merges": "bpe_simple_vocab_16e6.txt.gz"}        # older weights: a file beside them
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from regionkit.core.errors import DataError, WeightsError, did_you_mean
from regionkit.core.files import is_file

if TYPE_CHECKING:
    from torch import Tensor

#: Name of the tensor that holds the text of CLIP's merges file.
MERGES = "merges"

_MERGES = "it is merges.txt of any CLIP checkpoint, or bpe_simple_vocab_16e6.txt.gz of CLIP's code"

#: Bytes of a merges file, unpacked: CLIP's has three million, and a small ``.gz`` may hold a thousand times its size.
_MAX_MERGES = 64 << 20

#: A word with inner apostrophes and hyphens, or a single sign.
_WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")


class Tokenizer(Protocol):
    """What a decoder needs to know of a tokenizer."""

    @property
    def size(self) -> int:
        """Number of ids, which are 0..size-1."""

    @property
    def end(self) -> int:
        """Id of the end token."""

    def encode(self, text: str) -> list[int]:
        """Return the ids that a decoder has to write for ``text``, the end token included."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids that hold no end token."""

    def to_extra(self) -> dict[str, Any]:
        """Return what :func:`tokenizer_from` reads in the header."""

    def to_tensors(self) -> dict[str, Tensor]:
        """Return what :func:`tokenizer_from` reads beside the weights themselves."""


class WordTokenizer:
    """Whole words in lower case and single signs; id 0 ends a caption, the words follow in the given order."""

    end = 0

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._ids = {word: position for position, word in enumerate(self.words, start=1)}

    @classmethod
    def of(cls, texts: Iterable[str]) -> WordTokenizer:
        """Collect the words of a corpus, sorted, so that the same texts in any order give the same ids."""
        return cls(sorted({word for text in texts for word in split_words(text)}))

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.words) + 1

    def encode(self, text: str) -> list[int]:
        """Return the ids of the words and the end token.

        Raises:
            DataError: A word is not in the list.
        """
        words = split_words(text)
        try:
            return [*(self._ids[word] for word in words), self.end]
        except KeyError as error:
            word = str(error.args[0])
            raise DataError(
                f"decoder 'decap' does not know the word '{word}' of \"{text}\"",
                did_you_mean(word, self.words),
                f"its {len(self.words)} words are those of the corpus that it was trained on; "
                "train on a corpus that has this word",
            ) from None

    def decode(self, ids: Sequence[int]) -> str:
        """Join the words with spaces."""
        return " ".join(self.words[position - 1] for position in ids)

    def to_extra(self) -> dict[str, Any]:
        """Return the word list."""
        return {"type": "words", "words": list(self.words)}

    def to_tensors(self) -> dict[str, Tensor]:
        """Return nothing: the words stand in the header."""
        return {}


class ClipTokenizer:
    """CLIP's byte-pair tokenizer, rebuilt from its merges.

    Ids: 256 bytes, 256 bytes at the end of a word, one a merge, start, end. Decoders trained with it write the start
    token first, as their training captions begin with it. Texts are lower-cased and their blanks joined, and no more:
    the mending of broken Unicode and HTML signs in CLIP's own code is left out, as transformers leaves it out.

    Args:
        merges: Path of ``merges.txt`` or ``bpe_simple_vocab_16e6.txt.gz``, or the pairs themselves. Without any pair
            every byte is a token.

    Raises:
        WeightsError: The file is missing or is no merges file.
    """

    #: Merges that CLIP uses of the longer list in its file.
    COUNT = 49152 - 256 - 2

    def __init__(self, merges: str | Path | Sequence[tuple[str, str]] = ()) -> None:
        pairs = _read_merges(Path(merges)) if isinstance(merges, str | Path) else list(merges)
        self.merges = pairs[: self.COUNT]
        letters = list(_byte_letters().values())
        names = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in self.merges)]
        self.names = (*names, "<|startoftext|>", "<|endoftext|>")

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.names)

    @property
    def start(self) -> int:
        """Id of the start token."""
        return self.size - 2

    @property
    def end(self) -> int:
        """Id of the end token."""
        return self.size - 1

    def encode(self, text: str) -> list[int]:
        """Return start token, byte pairs of the lower-cased text, end token."""
        return [self.start, *self._model.encode(text).ids, self.end]

    def decode(self, ids: Sequence[int]) -> str:
        """Join the pieces; bytes that are no UTF-8 become the replacement sign, as in CLIP's own code."""
        letters = "".join(self.names[position] for position in ids if position < self.start)
        back = self._bytes
        parts = [bytes(back[letter] for letter in part) for part in letters.split("</w>")]
        return b" ".join(parts).decode("utf-8", errors="replace").strip()

    def to_extra(self) -> dict[str, Any]:
        """Return the name of the tensor that holds the merges."""
        return {"type": "clip", "merges": MERGES}

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the text of a merges file as bytes, one pair a line after a line of version."""
        import torch

        lines = ["#version: 0.2", *(" ".join(pair) for pair in self.merges), ""]
        return {MERGES: torch.frombuffer(bytearray("\n".join(lines).encode()), dtype=torch.uint8)}

    @cached_property
    def _bytes(self) -> dict[str, int]:
        return {letter: byte for byte, letter in _byte_letters().items()}

    @cached_property
    def _model(self) -> Any:
        from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

        ids = {name: position for position, name in enumerate(self.names)}
        model = Tokenizer(
            models.BPE(ids, self.merges, continuing_subword_prefix="", end_of_word_suffix="</w>", fuse_unk=False)
        )
        model.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        pattern = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
        model.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(pattern, behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        return model


def tokenizer_from(
    extra: Mapping[str, Any], source: str | Path, tensors: Mapping[str, Tensor] | None = None
) -> Tokenizer:
    """Rebuild the tokenizer that a weight file names in its header.

    Args:
        extra: ``extra`` of the header.
        source: The weight file; files that the tokenizer names lie beside it.
        tensors: Its tensors, which may hold the merges.

    Raises:
        WeightsError: There is none, or of a kind that this version does not know.
    """
    found = extra.get("tokenizer")
    entry: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    kind = entry.get("type")
    if kind == "words":
        return WordTokenizer(entry["words"])
    if kind == "clip":
        name = str(entry.get("merges", MERGES))
        if tensors is not None and name in tensors:
            return ClipTokenizer(_parse_merges(bytes(tensors[name].numpy()), f"{source}: tensor {name}"))
        if Path(name).name != name:
            raise WeightsError(f"{source}: the merges file '{name}' does not lie beside the weights")
        return ClipTokenizer(Path(source).parent / name)
    raise WeightsError(
        f"{source}: the weights name " + (f"the unknown tokenizer '{kind}'" if kind else "no tokenizer"),
        "tokenizers of this plugin are: words, clip",
    )


def clip_tokenizer_from(extra: Mapping[str, Any], source: str | Path, tensors: Mapping[str, Tensor]) -> ClipTokenizer:
    """Rebuild CLIP's tokenizer from the weights of a backbone.

    Raises:
        WeightsError: The weights name none, or another.
    """
    tokenizer = tokenizer_from(extra, source, tensors)
    if not isinstance(tokenizer, ClipTokenizer):
        raise WeightsError(f"{source}: a text tower of CLIP reads byte pairs, these weights hold a list of words")
    return tokenizer


def split_words(text: str) -> list[str]:
    """Return words and signs in lower case."""
    return _WORD.findall(text.lower())


def _read_merges(path: Path) -> list[tuple[str, str]]:
    if not is_file(path):  # a pipe would be waited for
        raise WeightsError(f"{path}: the merges file of CLIP's tokenizer cannot be read: no such file", _MERGES)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            data = stream.read(_MAX_MERGES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise WeightsError(f"{path}: the merges file of CLIP's tokenizer cannot be read: {error}", _MERGES) from None
    if len(data) > _MAX_MERGES:
        raise WeightsError(f"{path}: this is no merges file: it has more than {_MAX_MERGES} bytes", _MERGES)
    pairs = _parse_merges(data, str(path))
    if not pairs:
        raise WeightsError(f"{path}: this is no merges file: it holds no pair", _MERGES)
    return pairs


def _parse_merges(data: bytes, source: str) -> list[tuple[str, str]]:
    try:
        lines = data.decode("utf-8").splitlines()[1:]  # the first line holds a version
    except UnicodeDecodeError as error:
        raise WeightsError(f"{source}: the merges file of CLIP's tokenizer cannot be read: {error}", _MERGES) from None
    pairs = [tuple(line.split()) for line in lines if line.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise WeightsError(f"{source}: this is no merges file: each line after the first holds two pieces", _MERGES)
    used = pairs[: ClipTokenizer.COUNT]
    if len(set(used)) < len(used):  # ids would shift against those that the weights were trained with
        first = next(pair for pair, times in Counter(used).items() if times > 1)
        raise WeightsError(f"{source}: this is no merges file: it holds '{' '.join(first)}' twice", _MERGES)
    return pairs  # type: ignore[return-value]


def _byte_letters() -> dict[int, str]:
    """Return the printable letter that stands for each byte, in CLIP's order of ids.

    Source: the byte alphabet of GPT-2's tokenizer: printable Latin-1 bytes stand for themselves, the others follow
    from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    letters = {byte: chr(byte) for byte in printable}
    return letters | {byte: chr(0x100 + position) for position, byte in enumerate(others)}
