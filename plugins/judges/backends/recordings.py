"""Files of replies in the forms in which people keep them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regionkit.core.errors import DataError
from regionkit.core.json_files import Loaded, load
from regionkit.core.judging import Place, Question
from regionkit.core.replies import is_kept, read_replies

_FORMS = (
    'a file of replies is one that the toolkit kept, {"PROMPT": "REPLY"}, a list of {"prompt": ..., "reply": ...}, '
    'or {"ID": {"prompt": [...], "response": [...]}}'
)


@dataclass(frozen=True, slots=True)
class Recording:
    """One reply on record.

    Attributes:
        prompt: What the user said.
        reply: What the judge said.
        stated: What else the file says of the question, in the words of :meth:`Question.to_dict`.
        complete: Whether the file says all of the question, so that what it leaves out was not there.
        attempt: Number of the attempt; None where the file does not say.
        model: Whose reply it is; empty where the file does not say.
        place: Which question about which sample it replies to; None where the file does not say.
    """

    prompt: str
    reply: str
    stated: Mapping[str, Any] = field(default_factory=dict)
    complete: bool = False
    attempt: int | None = None
    model: str = ""
    place: Place | None = None

    def agrees(self, question: Question) -> bool:
        """Say whether this is a reply to that question, whose prompt is the same."""
        return not self.differences(question)

    def differences(self, question: Question) -> list[str]:
        """Return in what the question was asked in another way."""
        asked = question.to_dict()
        del asked["prompt"]
        names = sorted({*self.stated, *asked}) if self.complete else sorted(self.stated)
        return [name for name in names if self.stated.get(name) != asked.get(name)]


def collapsed(text: str) -> str:
    """Return a text with every run of white space as one space, and none at its ends."""
    return " ".join(text.split())


#: Keys of which a record of a prompt and its reply has at least one.
_PAIR = frozenset(("prompt", "reply", "response"))


def read_recordings(path: Path) -> list[Recording]:
    """Read a file of replies.

    Raises:
        DataError: It cannot be read, or is of another form; the record is named.
    """
    if _is_own(path):
        found = [_own(record) for record in read_replies(path)]
    else:
        loaded = load(path)
        found = list(_recordings(loaded))
    if not found:
        raise DataError(f"{path}: holds no reply", _FORMS)
    return found


def _is_own(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            first = stream.readline(1 << 16)
    except (OSError, ValueError):
        return False  # said better by whoever reads it
    return bool(first.strip()) and is_kept(first)


def _own(record: Mapping[str, Any]) -> Recording:
    stated = dict(record["question"])
    prompt = stated.pop("prompt", "")
    text = prompt if isinstance(prompt, str) else ""
    return Recording(text, record["reply"], stated, True, record["attempt"], record["model"])


def _recordings(loaded: Loaded) -> Iterator[Recording]:
    value = loaded.value
    if isinstance(value, Mapping) and any(isinstance(one, Mapping) for one in value.values()):
        for name, record in value.items():  # figures, texts and counts beside the records say nothing of replies
            if isinstance(record, Mapping) and _PAIR & set(record):
                yield from _evaluated(record, f"{loaded.name}: '{name[:60]}'", name)
    elif isinstance(value, Mapping) and set(value) & {"reply", "response"} and "prompt" in value:
        yield from _evaluated(value, loaded.name)
    elif isinstance(value, Mapping):
        for prompt, reply in value.items():
            yield _heard(prompt, reply, f"{loaded.name}: '{prompt[:60]}'")
    elif isinstance(value, list):
        for index, record in enumerate(value):
            if not isinstance(record, Mapping):
                raise DataError(f"{loaded.place(index)}: this is no record of a reply", _FORMS)
            yield from _evaluated(record, loaded.place(index))
    else:
        raise DataError(f"{loaded.name}: this is no file of replies", _FORMS)


def _evaluated(record: Mapping[str, Any], where: str, sample: str | None = None) -> Iterator[Recording]:
    """Yield the replies of a record: one prompt and its reply, or lists of both, which may be those of a sample.

    Raises:
        DataError: It has no prompts, or not as many replies.
    """
    prompt, reply = record.get("prompt"), record.get("reply", record.get("response"))
    if prompt is None or reply is None:
        raise DataError(f"{where}: has no {'prompt' if prompt is None else 'reply'}", _FORMS)
    if isinstance(reply, str):
        yield _heard(prompt, reply, where)
        return
    if not isinstance(prompt, list) or not isinstance(reply, list) or len(prompt) != len(reply):
        raise DataError(f"{where}: prompts and replies must be two texts, or two lists of one length", _FORMS)
    for number, (one, other) in enumerate(zip(prompt, reply, strict=True), 1):
        if other is not None:  # nothing was said, and nothing is repeated
            place = None if sample is None else Place(sample, number - 1, len(reply))
            yield replace(_heard(one, other, f"{where}, prompt {number}"), place=place)


def _heard(prompt: Any, reply: Any, where: str) -> Recording:
    if not isinstance(reply, str):
        raise DataError(f"{where}: the reply is {type(reply).__name__}, and must be text", _FORMS)
    if isinstance(prompt, str):
        return Recording(prompt, reply)
    stated: dict[str, Any] = {}
    text = None
    for message in prompt if isinstance(prompt, Sequence) else ():
        role = message.get("role") if isinstance(message, Mapping) else None
        content = _content(message.get("content")) if isinstance(message, Mapping) else None
        if content is None or role not in ("system", "user", "assistant"):
            raise DataError(f"{where}: a message of the prompt has no role, or no text", _FORMS)
        if role == "user":
            text = content
        else:
            stated["system" if role == "system" else "prefill"] = content
    if text is None:
        raise DataError(f"{where}: the prompt is neither text nor messages with one of the user's", _FORMS)
    return Recording(text, reply, stated)


def _content(content: Any) -> str | None:
    """Return the words of a message, which may come in parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
    words = [text for text in texts if isinstance(text, str)]
    return "".join(words) if words and len(words) == len(texts) else None
