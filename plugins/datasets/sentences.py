"""Reading sentences from files, with every mistake placed at its line or entry."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from regionkit.core.errors import DataError

#: Bytes of one line; what is longer is no sentence, and a packed file of a few bytes could hold a line of any length.
_LONGEST_LINE = 1 << 20
#: A packed file that grows to more than this many bytes, and to this many times its size, is no text: English packs to
#: a third, the most repetitive captions to a twentieth.
_PACKED_BYTES, _PACKED_RATIO = 1 << 26, 200

_FORM = 'a COCO caption file is {"annotations": [{"caption": "..."}, ...]}, Karpathy\'s is {"images": [{"split": ' + (
    '"train", "sentences": [{"raw": "..."}, ...]}, ...]}'
)


def read_lines(path: Path) -> list[str]:
    """Return the sentences that :func:`stream_lines` yields; raises likewise."""
    return list(stream_lines(path))


def stream_lines(path: Path) -> Iterator[str]:
    """Yield one sentence a line; empty lines are skipped and inner runs of blanks become one.

    A file that ends in ``.gz`` is unpacked.

    Raises:
        DataError: The file cannot be read, a line is no UTF-8 or endless, or there is no sentence.
    """
    found = False
    for number, line in enumerate(_lines(path), start=1):
        if len(line) >= _LONGEST_LINE:
            raise DataError(
                f"{path}:{number}: this line is longer than {_LONGEST_LINE:,} bytes", "write one sentence a line"
            )
        try:
            text = " ".join(line.decode("utf-8-sig" if number == 1 else "utf-8").split())
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}:{number}: byte {error.start + 1} of this line is not UTF-8",
                f"convert the file: iconv -f latin1 -t utf-8 {path}",
            ) from None
        if text:
            found = True
            yield text
    if not found:
        raise DataError(f"{path}: there is no sentence in this file", "write one a line")


def read_coco(path: Path, split: str = "auto") -> list[str]:
    """Return the captions of :func:`read_coco_pairs`; raises likewise."""
    return [text for text, _ in read_coco_pairs(path, split)]


def read_coco_pairs(path: Path, split: str = "auto") -> list[tuple[str, Any]]:
    """Read the captions of a COCO caption file or of Karpathy's ``dataset_coco.json``, each with its picture's name.

    Where an entry of a caption file does not name its picture, that is None.

    Args:
        path: The file.
        split: Splits of Karpathy's file joined by ``+``, ``all``, or ``auto``; see ``CocoCaptionsConfig``.

    Raises:
        DataError: The file cannot be read, is no JSON of either form, has no such split, or an entry has no caption;
            its place is named.
    """
    data = _json(path)
    if isinstance(data, dict) and "annotations" not in data and "images" in data:
        return _captions(_karpathy(path, data["images"], split), path)
    entries = data.get("annotations") if isinstance(data, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path}: there are no annotations in this file", _FORM)
    if split not in ("auto", "all"):
        raise DataError(
            f"{path}: this file has no splits, '{split}' was asked for",
            "leave split away, or take the file of that split; dataset_coco.json has them all",
        )
    named = ((f"annotations[{number}]", entry, "caption", _picture(entry)) for number, entry in enumerate(entries))
    return _captions(named, path)


def _picture(entry: Any) -> Any:
    named = entry.get("image_id") if isinstance(entry, dict) else None
    return named if isinstance(named, int | str) else None


def _karpathy(path: Path, images: Any, split: str) -> Iterator[tuple[str, Any, str, int]]:
    """Yield place, sentence, key of the caption and number of the image for all sentences of the chosen splits."""
    if not isinstance(images, list) or not images:
        raise DataError(f"{path}: there are no images in this file", _FORM)
    for number, image in enumerate(images):
        if not isinstance(image, dict) or not isinstance(image.get("sentences"), list):
            raise DataError(f"{path}: images[{number}] has no sentences", _FORM)
    there = {str(image.get("split", "")) for image in images}
    wanted = {word.strip() for word in split.split("+")}
    if split == "auto":
        wanted = {"train", "restval"} & there
    if split != "all" and not (wanted and wanted <= there):
        missing = sorted(wanted - there) or ["train"]
        raise DataError(
            f"{path}: there is no split '{missing[0]}' in this file",
            f"splits are: {', '.join(sorted(there - {''})) or 'none'}; all of them: split: all",
        )
    for number, image in enumerate(images):
        if split == "all" or image.get("split") in wanted:
            for index, sentence in enumerate(image["sentences"]):
                yield f"images[{number}].sentences[{index}]", sentence, "raw", number


def _captions(entries: Iterable[tuple[str, Any, str, Any]], path: Path) -> list[tuple[str, Any]]:
    texts = []
    for place, entry, key, picture in entries:
        caption = entry.get(key) if isinstance(entry, dict) else None
        text = " ".join(caption.split()) if isinstance(caption, str) else ""
        if not text:
            raise DataError(f"{path}: {place} has no caption", _FORM)
        try:
            text.encode()
        except UnicodeEncodeError:  # JSON may spell half of a surrogate pair, which no file of ours can hold
            raise DataError(f"{path}: the caption of {place} holds half of a character: {text!a}") from None
        texts.append((text, picture))
    if not texts:
        raise DataError(f"{path}: there is no sentence in this file", _FORM)
    return texts


def _json(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: this is no JSON: {error.msg}", _FORM) from None
    except (ValueError, RecursionError) as error:  # no UTF-8, a number of thousands of digits, endless brackets
        raise DataError(f"{path}: this is no JSON: {error}", _FORM) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, unpacked where its name says so; a line beyond the longest comes in pieces."""
    packed = path.suffix.lower() == ".gz"
    done = 0
    try:
        most = max(_PACKED_BYTES, _PACKED_RATIO * path.stat().st_size)
        with gzip.open(path, "rb") if packed else path.open("rb") as stream:
            while line := stream.readline(_LONGEST_LINE):
                done += len(line)
                if packed and done > most:
                    raise DataError(
                        f"{path}: this file unpacks to more than {_PACKED_RATIO} times its size, as no text does",
                        "unpack it yourself if it is what you want: gunzip",
                    )
                yield line
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read: {reason}") from None
