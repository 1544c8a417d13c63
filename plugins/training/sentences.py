"""Reading sentences from files, with every mistake placed at its line."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from regionkit.core.errors import DataError


def read_lines(path: Path) -> list[str]:
    """Read one sentence a line; empty lines are skipped and inner runs of blanks become one.

    Raises:
        DataError: The file cannot be read, a line is no UTF-8, or there is no sentence.
    """
    texts = []
    for number, line in enumerate(_read(path).split(b"\n"), start=1):
        try:
            text = " ".join(line.decode("utf-8-sig" if number == 1 else "utf-8").split())
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}:{number}: byte {error.start + 1} of this line is not UTF-8",
                f"convert the file: iconv -f latin1 -t utf-8 {path}",
            ) from None
        if text:
            texts.append(text)
    if not texts:
        raise DataError(f"{path}: there is no sentence in this file", "write one a line")
    return texts


def read_coco(path: Path) -> list[str]:
    """Read ``annotations[].caption`` of a COCO caption file.

    Raises:
        DataError: The file cannot be read, is no JSON, or an annotation has no caption; its place is named.
    """
    form = 'a COCO caption file is {"annotations": [{"caption": "..."}, ...]}'
    try:
        data = json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: this is no JSON: {error.msg}", form) from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: this is no JSON: {error}", form) from None
    entries = data.get("annotations") if isinstance(data, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path}: there are no annotations in this file", form)
    texts = []
    for number, entry in enumerate(entries):
        caption = entry.get("caption") if isinstance(entry, dict) else None
        if not isinstance(caption, str) or not caption.split():
            raise DataError(f"{path}: annotations[{number}] has no caption", form)
        texts.append(" ".join(caption.split()))
    return texts


def sample(texts: Sequence[str], size: int | None, seed: int, source: str) -> list[str]:
    """Draw ``size`` sentences without replacement, in their order; all of them without a size.

    Raises:
        DataError: There are fewer.
    """
    if size is None:
        return list(texts)
    if size > len(texts):
        raise DataError(
            f"{source} has {len(texts)} sentences, --size asks for {size}", "leave --size out to take them all"
        )
    return [texts[index] for index in sorted(random.Random(seed).sample(range(len(texts)), size))]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
