"""Tokenizers of language models, kept as one JSON text that stands in the header of a weight file."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from regionkit.core.errors import MissingExtra, WeightsError
from regionkit.core.files import is_file, is_folder

PAD, START, END, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"
#: Words with what belongs to them (``dog's``, ``blue-green``), and any other sign that is no space.
_WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
#: Files of a Hugging Face folder from which a tokenizer can be made.
_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json")
#: Those that have to be converted first.
_SENTENCEPIECE = ("tokenizer.model", "spiece.model")


@dataclass(frozen=True)
class LanguageTokenizer:
    """Text to ids and back.

    Attributes:
        text: The tokenizer of the library ``tokenizers``, as its JSON.
        end: Id that ends a text.
        pad: Id of padding; that of the end where there is none.
        start: Ids that the tokenizer puts before every text, such as BOS; often none.
    """

    text: str = field(repr=False)
    end: int
    pad: int
    start: tuple[int, ...] = ()

    @classmethod
    def of_words(cls, texts: Iterable[str]) -> LanguageTokenizer:
        """Make a tokenizer of whole words in lower case, and signs, from a corpus.

        The same texts in any order give the same ids. Words that the corpus lacks become ``<unk>``.
        """
        from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

        words = sorted({word for text in texts for word in _WORD.findall(text.lower())})
        special = (PAD, START, END, UNKNOWN)
        model = models.WordLevel({word: index for index, word in enumerate((*special, *words))}, unk_token=UNKNOWN)
        tokenizer = Tokenizer(model)
        tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD.pattern), "removed", invert=True)
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
        return cls(tokenizer.to_str(), end=2, pad=0, start=(1,))

    @classmethod
    def of_bytes(cls) -> LanguageTokenizer:
        """Make a tokenizer that knows any text: every byte is a token, after padding, end and start."""
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

        special = (PAD, END, START)
        letters = (*special, *sorted(pre_tokenizers.ByteLevel.alphabet()))
        tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(letters)}, []))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
        return cls(tokenizer.to_str(), end=1, pad=0)

    @classmethod
    def of_folder(cls, folder: str | Path) -> LanguageTokenizer:
        """Read the tokenizer of a folder as the Hugging Face hub has it; no code of it is run, nothing is fetched.

        Raises:
            WeightsError: The folder is not there, has none, or one that cannot be read.
            MissingExtra: It has only a SentencePiece model, and what converts that is not installed.
        """
        folder = Path(folder)
        if not is_folder(folder):
            raise WeightsError(f"{folder}: there is no such folder, and a tokenizer was to be read from it")
        if not any(is_file(folder / name) for name in _FILES):
            raise WeightsError(
                f"{folder}: this folder has no tokenizer",
                f"looked for {', '.join(_FILES)}; put that of the model beside its weights",
            )
        if not is_file(folder / "tokenizer.json") and any(is_file(folder / name) for name in _SENTENCEPIECE):
            for package, module in (("sentencepiece", "sentencepiece"), ("protobuf", "google.protobuf")):
                if not _installed(module):
                    raise MissingExtra(
                        f"the tokenizer of {folder}, which has no tokenizer.json,", package, "sentencepiece"
                    )
        try:
            whole = is_file(folder / "tokenizer.json")
            tokenizer, said = _as_it_is(folder) if whole else _converted(folder)
            end, pad, start = (said[name] for name in ("eos_token", "pad_token", "bos_token"))
            if end is not None:
                before = _before(tokenizer) if said["add_bos_token"] is None else [start] * bool(said["add_bos_token"])
                return cls(
                    tokenizer.to_str(),
                    end,
                    end if pad is None else pad,
                    tuple(one for one in before if one is not None),
                )
        except WeightsError:
            raise
        except Exception as error:  # the libraries raise whatever their readers and converters do
            reason = " ".join(str(error).split())[:200]
            raise WeightsError(
                f"{folder}: its tokenizer cannot be read: {type(error).__name__}: {reason}",
                "fetch it again; the surest form is tokenizer.json with tokenizer_config.json",
            ) from None
        raise WeightsError(f"{folder}: its tokenizer has no end token", "add eos_token to its tokenizer_config.json")

    @classmethod
    def of_extra(cls, stored: object, source: str | Path) -> LanguageTokenizer:
        """Read what :meth:`to_extra` wrote.

        Raises:
            WeightsError: It is damaged.
        """
        try:
            assert isinstance(stored, Mapping)
            start = tuple(int(token) for token in stored["start"])
            found = cls(json.dumps(stored["tokenizer"]), int(stored["end"]), int(stored["pad"]), start)
            assert 0 <= found.end < found.size
        except Exception as error:  # the library raises plain Exceptions
            raise WeightsError(
                f"{source}: the tokenizer in its header cannot be read: {type(error).__name__}",
                "the file is damaged: fetch it again, or make it again with its recipe",
            ) from None
        return found

    def to_extra(self) -> dict[str, Any]:
        """Return what the header of a weight file keeps."""
        return {"tokenizer": json.loads(self.text), "end": self.end, "pad": self.pad, "start": list(self.start)}

    @cached_property
    def size(self) -> int:
        """Number of ids, special ones included."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def within(self, rows: int) -> LanguageTokenizer:
        """Return the same without special tokens that a model of so many word embeddings has none for.

        Tokenizers that a whole family of models shares may list some that only its larger ones know, such as that of a
        picture.
        """
        if self.size <= rows:
            return self
        table = json.loads(self.text)
        added = table.get("added_tokens") or []
        kept = [one for one in added if one["id"] < rows or not one["special"]]
        if len(kept) == len(added):
            return self
        return replace(self, text=json.dumps({**table, "added_tokens": kept}))

    def id_of(self, token: str) -> int | None:
        """Return the id of a token, or None where the text is not one token."""
        found: int | None = self._tokenizer.token_to_id(token) if token else None
        return found

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without start and end; special tokens written in it are read as such."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def encode_literally(self, text: str) -> list[int]:
        """Return the ids of a text in which special tokens are words like any others, as in a caption."""
        ids: list[int] = self._literal.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids without special ones, and without spaces around it."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text.strip()

    def decode_all(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special ones included."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    def ids_with(self, text: str) -> tuple[int, ...]:
        """Return the ids whose own text holds another one, special ones included."""
        found = self._holders.get(text)
        if found is None:
            texts = self._tokenizer.decode_batch([[number] for number in range(self.size)], skip_special_tokens=False)
            found = self._holders[text] = tuple(number for number, one in enumerate(texts) if text in one)
        return found

    @cached_property
    def _holders(self) -> dict[str, tuple[int, ...]]:
        return {}

    @cached_property
    def _tokenizer(self) -> Any:
        return self._loaded()

    @cached_property
    def _literal(self) -> Any:
        tokenizer = self._loaded()
        tokenizer.encode_special_tokens = True
        return tokenizer

    def _loaded(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self.text)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def __getstate__(self) -> dict[str, Any]:
        # What is made from the text is made again on the other side.
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not there either
        return False


def _as_it_is(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Read tokenizer.json, and what the files beside it say of special tokens, as ids.

    Not through transformers: its classes for known families put their own rules in the place of the file's.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    said: dict[str, Any] = dict.fromkeys(("eos_token", "pad_token", "bos_token", "add_bos_token"))
    for name in ("special_tokens_map.json", "tokenizer_config.json"):  # the latter has the last word
        if is_file(folder / name):
            found = json.loads((folder / name).read_text(encoding="utf-8"))
            said |= {key: found[key] for key in said if found.get(key) is not None}
    for key in ("eos_token", "pad_token", "bos_token"):
        token = said[key]["content"] if isinstance(said[key], Mapping) else said[key]
        said[key] = None if token is None else tokenizer.token_to_id(token)
    if said["eos_token"] is None and is_file(folder / "config.json"):
        ids = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("eos_token_id")
        said["eos_token"] = ids[0] if isinstance(ids, list) else ids
    return tokenizer, said


def _converted(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Let transformers convert an older form; no code of the folder is run, nothing is fetched."""
    from transformers import AutoTokenizer

    found: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    said = {"eos_token": found.eos_token_id, "pad_token": found.pad_token_id, "bos_token": found.bos_token_id}
    return found.backend_tokenizer, {**said, "add_bos_token": None}


def _before(tokenizer: Any) -> list[int]:
    """Return the ids that a tokenizer puts before a text."""
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    whole: list[int] = tokenizer.encode("a", add_special_tokens=True).ids
    places = range(len(whole) - len(plain) + 1)
    return next((whole[:place] for place in places if whole[place : place + len(plain)] == plain), [])
