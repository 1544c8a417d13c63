"""Options of the judges, torch-free."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

#: Parameters of an address that are secrets.
_SECRET = re.compile(r"key|token|secret|password|^sig$|signature|credential", re.IGNORECASE)
#: Fields of a request that the questions themselves decide.
_OURS = ("model", "messages", "stream", "n")


@dataclass(frozen=True)
class HttpConfig:
    """Options of ``http``.

    Attributes:
        url: Address of the server up to its version, such as ``http://localhost:8000/v1``, or the whole address with
            ``/chat/completions``. It is written into results, and must hold no key.
        model: Name of the model as the server knows it. Replies are kept by it.
        key_variable: Name of the environment variable that holds the key, such as ``OPENAI_API_KEY``; never the key
            itself. Empty for a server that wants none.
        sees: Whether the model takes pictures; metrics show it some then.
        timeout: Seconds until a question is given up and asked again.
        retries: How often a question is sent again after a passing fault: a time-out, a connection that breaks, 429,
            a status from 500 on, a body that is no answer, an empty answer. Where a server gave no sign of life
            through all of that, no further question is sent.
        backoff: Seconds before the first of them, twice as many before each further one.
        longest_wait: Most seconds that are waited at a time, whatever the server asks for (``Retry-After``).
        workers: Questions that are out at the same time.
        body: Further fields of every request, such as ``{seed: 1}``; null takes one of ours away:
            ``{max_tokens: null, max_completion_tokens: 800}``. They are part of the model's name where replies are
            kept.
        replies: File in which replies are kept; empty for one of the model's in the toolkit's cache.
        offline: Answer from kept replies alone; questions without one are counted as not answered.
    """

    url: str
    model: str
    key_variable: str = ""
    sees: bool = False
    timeout: float = 120.0
    retries: int = 4
    backoff: float = 1.0
    longest_wait: float = 60.0
    workers: int = 4
    body: dict[str, Any] = field(default_factory=dict)
    replies: str = ""
    offline: bool = False

    def __post_init__(self) -> None:
        _check_address(self.url)
        if not self.model.strip():
            raise ValueError("model: name the model as the server knows it")
        if self.key_variable and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.key_variable):
            # Not repeated: it may be the key itself.
            raise ValueError(
                "key_variable: this is no name of an environment variable. Put the key into one, export "
                "OPENAI_API_KEY=..., and name it: key_variable: OPENAI_API_KEY"
            )
        for name, least in (("timeout", 1e-3), ("backoff", 0.0), ("longest_wait", 0.0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and least <= value <= 86_400):
                raise ValueError(f"{name}: {value} must be seconds, at most a day")
        if not 0 <= self.retries <= 100:
            raise ValueError(f"retries: {self.retries} must be between 0 and 100")
        if not 1 <= self.workers <= 256:
            raise ValueError(f"workers: {self.workers} must be between 1 and 256")
        taken = sorted(set(self.body) & set(_OURS))
        if taken:
            raise ValueError(f"body: {', '.join(taken)} cannot be changed there")


def _check_address(url: str) -> None:
    """Check that an address is one of the web, and holds nothing that must not be written into results.

    Raises:
        ValueError: It is not, or does.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"url: this is no address: {error}") from None
    if "@" in parts.netloc:
        raise ValueError("url: name and password cannot stand in the address; a key is named by key_variable")
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if _SECRET.search(name):
            raise ValueError(f"url: '{name}' in the address looks like a key, which is named by key_variable")
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError(f"url: '{url}' is no address of a server; for example http://localhost:8000/v1")


@dataclass(frozen=True)
class LocalConfig:
    """Options of ``local``.

    Attributes:
        model: Folder of a causal language model as transformers keeps it: ``config.json``, safetensors, a tokenizer.
            Nothing is fetched, no code in the folder is run, no pickle is read.
        device: ``auto`` takes the GPU where there is one.
        dtype: ``auto`` is bfloat16 on a GPU and float32 on a CPU.
        seed: Of answers that are drawn. A question's answer follows from this seed and the question alone.
        replies: File in which replies are kept; empty for one of the model's in the toolkit's cache.
    """

    model: str
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0
    replies: str = ""

    def __post_init__(self) -> None:
        if not self.model.strip() or "\0" in self.model:
            raise ValueError(f"model: {self.model!r} is no path; give the folder of the model")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed: {self.seed} must be between 0 and {2**63 - 1}")


@dataclass(frozen=True)
class RecordedConfig:
    """Options of ``recorded``.

    Attributes:
        file: The file, ``.json`` or ``.jsonl``, plain or packed as gzip: replies that the toolkit kept; ``{PROMPT:
            REPLY}``; a list of ``{"prompt", "reply"}`` or ``{"prompt", "response"}``; or the evaluation file of a
            release, ``{ID: {"prompt": [...], "response": [...]}}``.
        model: Whose replies they are, for signatures; empty for what the file says, else its name and hash. Where it
            holds those of several models, this chooses.
        match: How a reply is found. ``prompt``: by the words of its question. ``order``: by them where they are there,
            else by the sample's id and the number of the question, in a file ``{ID: {"prompt": [...], "response":
            [...]}}`` that has as many replies for the sample as are asked for. Then a reply counts whatever caption
            it was given to, as in the cache of DLC-Bench's own code.
    """

    file: str
    model: str = ""
    match: Literal["prompt", "order"] = "prompt"

    def __post_init__(self) -> None:
        if not self.file.strip() or "\0" in self.file:
            raise ValueError(f"file: {self.file!r} is no path; give the file of replies")
