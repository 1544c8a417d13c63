"""A judge behind a chat-completions endpoint: OpenAI's own, vLLM, llama.cpp, Ollama, any server of that form."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from regionkit.core.errors import RegionkitError
from regionkit.core.judging import Judge, Question, Reply
from regionkit.core.replies import ReplyFile
from regionkit.plugins.judges.backends.configs import HttpConfig
from regionkit.plugins.judges.backends.exchange import Fault, Server
from regionkit.plugins.judges.backends.messages import request_body


@dataclass
class _Round:
    """What the threads of one round of questions share.

    Attributes:
        server: Who is asked.
        stop: Set when nobody waits for answers any more.
        answered: How many answers the server has given, good or bad ones.
        gone: Why no further question is sent; empty as long as some are.
    """

    server: Server
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    answered: int = 0
    gone: str = ""


class HttpJudge(Judge):
    """A model behind an address, asked by several threads at a time.

    Passing faults are made up for by sending a question again. What remains is a reply with an error: a request that
    was refused, and a question whose retries were used up. Where nobody listens at the address, or the key is refused,
    and not one answer has come while a question was sent again and again, no further question is sent.

    Args:
        config: Options.
    """

    def __init__(self, config: HttpConfig) -> None:
        self.config = config
        self.sees = config.sees
        further = f" {json.dumps(config.body, sort_keys=True)}" if config.body else ""
        self.identity = config.model + further

    def replies(self) -> ReplyFile | None:
        """Return the file that the options name, else that of the model in the toolkit's cache."""
        return ReplyFile(Path(self.config.replies).expanduser()) if self.config.replies else super().replies()

    def ask(self, questions: Sequence[Question], attempt: int = 0) -> Iterator[tuple[int, Reply]]:
        """Ask questions, several at a time, and yield each reply as it comes.

        Raises:
            RegionkitError: The variable that should hold the key is not set.
        """
        if self.config.offline:
            error = "no reply is kept for this question, and the judge is offline"
            yield from ((at, Reply(None, error, final=True)) for at in range(len(questions)))
            return
        if not questions:
            return
        turn = _Round(Server(self.config, self._key()))
        todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[int, Reply | BaseException]] = queue.SimpleQueue()
        for at in range(len(questions)):
            todo.put(at)

        def work() -> None:
            while not turn.stop.is_set():
                try:
                    at = todo.get_nowait()
                except queue.Empty:
                    return
                try:
                    done.put((at, self._answer(questions[at], turn)))
                except BaseException as error:  # a mistake of ours: told where the answers are waited for
                    done.put((at, error))

        threads = min(self.config.workers, len(questions))
        with ThreadPoolExecutor(threads, thread_name_prefix="judge") as pool:
            try:
                for _ in range(threads):
                    pool.submit(work)
                for _ in range(len(questions)):
                    at, found = done.get()
                    if isinstance(found, BaseException):
                        raise found
                    yield at, found
            finally:
                turn.stop.set()

    def _key(self) -> str:
        """Return the key, empty for none.

        Raises:
            RegionkitError: The variable is not set, or its value can be no key.
        """
        name = self.config.key_variable
        if not name:
            return ""
        key = os.environ.get(name, "").strip()
        if not key:
            raise RegionkitError(f"judge 'http' takes its key from {name}, which is not set", f"export {name}=...")
        if not all("!" <= sign <= "~" for sign in key):
            raise RegionkitError(f"the value of {name} can be no key: it holds spaces or signs that no key has")
        return key

    def _answer(self, question: Question, turn: _Round) -> Reply:
        """Send a question until it is answered, refused, or was sent often enough."""
        body = request_body(self.config, question)
        before, wait = turn.answered, self.config.backoff
        fault = Fault("it was not sent")
        for sent in range(self.config.retries + 1):
            if turn.gone:
                return Reply(None, turn.gone, final=True)
            try:
                text = turn.server.send(body, question.prefill)
                with turn.lock:
                    turn.answered += 1
                return Reply(text)
            except Fault as error:
                fault = error
            if fault.reached and not fault.for_all:
                with turn.lock:
                    turn.answered += 1
            if not fault.passing:
                break
            if sent < self.config.retries:
                asked = fault.retry_after if fault.retry_after is not None else wait
                turn.stop.wait(min(asked, self.config.longest_wait))
                wait *= 2
                if turn.stop.is_set():
                    return Reply(None, "nobody waits for the answer", final=True)
        if fault.for_all and turn.answered == before:
            turn.gone = str(fault)
        often = f" (sent {sent + 1} times)" if sent and not fault.for_all else ""
        return Reply(None, f"{fault}{often}", final=True)
