"""A question as the body of a chat-completions request, and the answer in the body that comes back."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

from PIL import Image

from regionkit.core.judging import Question
from regionkit.plugins.judges.backends.configs import HttpConfig


def request_body(config: HttpConfig, question: Question) -> bytes:
    """Return the JSON of a request for one question."""
    messages: list[dict[str, Any]] = []
    if question.system:
        messages.append({"role": "system", "content": question.system})
    content: Any = question.prompt
    if question.images:
        shown = [{"type": "image_url", "image_url": {"url": data_url(one)}} for one in question.images]
        content = [*shown, {"type": "text", "text": question.prompt}]
    messages.append({"role": "user", "content": content})
    if question.prefill:
        messages.append({"role": "assistant", "content": question.prefill})
    fields = {
        "model": config.model,
        "messages": messages,
        "temperature": question.temperature,
        "top_p": question.top_p,
        "max_tokens": question.max_tokens,
        **config.body,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def data_url(image: Image.Image) -> str:
    """Return a picture as a data URL: PNG, of which no pixel changes."""
    stream = io.BytesIO()
    (image if image.mode in ("RGB", "L") else image.convert("RGB")).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


class NoAnswer(ValueError):
    """A body holds no answer; the message says what it lacks."""


def answer_in(content: bytes, prefill: str = "") -> str:
    """Return the words of an answer without the prefill, which some servers repeat.

    Raises:
        NoAnswer: There are none.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise NoAnswer("the body of the answer is no JSON") from None
    choices = body.get("choices") if isinstance(body, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(message, dict):
        raise NoAnswer(f"the answer has no choices{_complaint(body)}")
    said = message.get("content")
    if isinstance(said, list):  # parts, as some servers give them
        texts = [part.get("text") for part in said if isinstance(part, dict)]
        said = "".join(text for text in texts if isinstance(text, str))
    if said is not None and not isinstance(said, str):
        raise NoAnswer("the answer's content is no text")
    text = (said or "").strip()
    text = text.removeprefix(prefill).strip() if prefill else text
    if not text:
        raise NoAnswer("the answer is empty")
    return text


def _complaint(body: Any) -> str:
    """Return what a body says is wrong, for servers that answer 200 with an error."""
    error = body.get("error") if isinstance(body, dict) else None
    said = error.get("message") if isinstance(error, dict) else error
    return f": {' '.join(said.split())[:200]}" if isinstance(said, str) and said.strip() else ""
