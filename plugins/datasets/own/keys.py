"""Keys of the user's own records: what they mean, what they may have been meant as, what tasks need of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from regionkit.core.data.records import Unusable

#: Keys of references; a record has one of them.
REFERENCES = ("references", "captions", "caption")
REFERENCE_KEYS = frozenset(REFERENCES)
#: Keys under which a record may hold its region by itself.
REGIONS = ("point", "points", "box", "bbox", "boxes", "mask", "trace", "patch", "whole", "region", "regions")
REGION_KEYS = frozenset(REGIONS)
#: Keys of a record that are no knowledge for metrics and tasks.
ABOUT = frozenset(("id", "image", "task", "split", "candidates", "mentioned", *REFERENCES, *REGIONS))
#: What other programs call those keys.
_CALLED = {
    "region": {
        "bounding_box": "box", "xyxy": "box", "xywh": "bbox", "bboxes": "boxes", "rect": "box", "polygon": "mask",
        "segmentation": "mask", "segm": "mask", "rle": "mask", "mask_path": "mask", "traces": "trace",
        "click": "point", "clicks": "points",
    },
    "references": {
        "reference": "references", "refs": "references", "ref": "references", "caption_text": "caption",
        "text": "caption", "texts": "captions", "sentence": "caption", "sentences": "captions",
        "description": "caption", "descriptions": "captions", "phrase": "caption", "expression": "caption",
    },
    "image": {
        "file_name": "image", "filename": "image", "file": "image", "img": "image", "image_path": "image",
        "image_file": "image", "path": "image", "picture": "image", "image_id": "image",
    },
}  # fmt: skip
_KEYS = {"region": REGIONS, "references": REFERENCES, "image": ("image",)}
#: Keys that metrics and tasks ask for, which are no misspelt ones.
_KNOWN = frozenset(
    ("question", "questions", "question_text", "question_type", "answer", "answers", "answer_type", "choices", "label",
     "stage", "nouns", "attributes", "ground_truth", "overlaps", "class_name", "score")
)  # fmt: skip


def unread(record: Mapping[str, Any], what: str) -> str:
    """Say which key of a record may have been meant as its region, its references or its image; empty for none."""
    for key in record:
        if key in ABOUT or key in _KNOWN:
            continue
        meant = _CALLED[what].get(key.lower()) or next(iter(get_close_matches(key.lower(), _KEYS[what], 1, 0.75)), "")
        if meant:
            return f"'{key}' is not read: did you mean '{meant}'?"
    return ""


def missing(record: Mapping[str, Any], key: str, what: str) -> str:
    """Say that a record has no such key, and which other one may have been meant."""
    meant = unread(record, key)
    return f"it has no '{key}', the file of its {what}{', and ' + meant if meant else ''}"


def check_judged(task: str, info: Mapping[str, Any], candidates: int) -> None:
    """Check what tasks that ask questions need.

    Raises:
        Unusable: It is not there, or of another form.
    """
    if not info and task not in ("ris", "vqa", "vcr"):
        return
    if "overlaps" in info:
        _check_overlaps(info["overlaps"], candidates)
    if task == "ris" and not candidates:
        raise Unusable("task 'ris' needs 'candidates', the regions among which the reference picks one")
    if task in ("vqa", "vcr") and not _is_text(info.get("question")):
        raise Unusable(f"task '{task}' needs 'question', a text")
    if task == "vqa" and not _are_texts(info.get("answers")):
        raise Unusable("task 'vqa' needs 'answers', a list of texts" + _instead(info, "answer"))
    if task == "vcr" and not (_are_texts(info.get("choices")) and len(info["choices"]) >= 2):
        raise Unusable("task 'vcr' needs 'choices', a list of texts")
    if "choices" in info and not isinstance(info["choices"], list):
        raise Unusable("'choices' is no list")


def _check_overlaps(overlaps: Any, candidates: int) -> None:
    numbers = isinstance(overlaps, list) and all(_is_share(value) for value in overlaps)
    if not numbers:
        raise Unusable("'overlaps' is no list of numbers from 0 to 1")
    if len(overlaps) != candidates:
        raise Unusable(f"'overlaps' has {len(overlaps)} numbers for {candidates} candidates")


def _instead(info: Mapping[str, Any], key: str) -> str:
    return f"; it has '{key}'" if key in info else ""


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_texts(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and bool(value) and all(map(_is_text, value))
