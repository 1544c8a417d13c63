"""A judge behind a chat-completions endpoint: OpenAI's own, vLLM, llama.cpp, Ollama, any server of that form."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Iterator, Sequence
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
        patience: How many questions in a row a server that has answered before may leave without a sign of life.
        doubted: Whether nothing was heard of the server in the last round: no question is sent twice then.
        answered: How many answers the server has given, good or bad ones.
        silent: Questions that were sent in vain since the last of them.
        gone: Why no further question is sent; empty as long as some are.
        stopped: Whether nobody waits for answers any more.
        over: Set where it is of no use to wait: stopped, or gone.
    """

    server: Server
    patience: int
    doubted: bool = False
    answered: int = 0
    silent: int = 0
    gone: str = ""
    stopped: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def heard(self) -> None:
        """Take down that the server lives."""
        with self.lock:
            self.answered, self.silent, self.doubted = self.answered + 1, 0, False

    def lost(self, fault: Fault, told: str, before: int) -> None:
        """Take down that a question was sent in vain, and stop where that says something of all others.

        Args:
            fault: What went wrong at last.
            told: The same in words, for the questions that are not sent.
            before: How many answers there were when it was sent first.
        """
        with self.lock:
            if self.gone or (fault.reached and not fault.for_all):
                return
            self.silent += 1
            if self.answered == before if fault.for_all else self.silent >= (self.patience if self.answered else 1):
                self.gone = told
                self.over.set()


class HttpJudge(Judge):
    """A model behind an address, asked by several threads at a time.

    Passing faults are made up for by sending a question again. What remains is a reply with an error: a request that
    was refused, and a question whose retries were used up. Where nobody listens at the address, or the key is refused,
    and not one answer has come while a question was sent again and again, no further question is sent. Nor is one where
    nothing at all is heard: of the first question, or of as many in a row as there are workers (two at least). A server
    that is busy, or answers nonsense, lives.

    Args:
        config: Options.
    """

    def __init__(self, config: HttpConfig) -> None:
        self.config = config
        self.sees = config.sees
        further = f" {json.dumps(config.body, sort_keys=True)}" if config.body else ""
        self.identity = config.model + further
        self._doubted = False

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
        turn = _Round(Server(self.config, self._key()), max(2, self.config.workers), self._doubted)
        todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[int, Reply | BaseException]] = queue.SimpleQueue()
        for at in range(len(questions)):
            todo.put(at)

        def work() -> None:
            while not turn.stopped:
                try:
                    at = todo.get_nowait()
                except queue.Empty:
                    return
                try:
                    done.put((at, self._answer(questions[at], turn)))
                except BaseException as error:  # a mistake of ours: told where the answers are waited for
                    done.put((at, error))

        # No pool, whose end waits for its threads: one that hangs on a server would hold up Ctrl-C.
        for _ in range(min(self.config.workers, len(questions))):
            threading.Thread(target=work, name="judge", daemon=True).start()
        try:
            for _ in range(len(questions)):
                at, found = done.get()
                if isinstance(found, BaseException):
                    raise found
                yield at, found
        finally:
            turn.stopped = True
            turn.over.set()
            self._doubted = bool(turn.gone)

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
        before, wait, sent = turn.answered, self.config.backoff, 0
        while True:
            if turn.gone:
                return Reply(None, turn.gone, final=True)
            if turn.stopped:
                return Reply(None, "nobody waits for the answer", final=True)
            sent += 1
            try:
                text = turn.server.send(body, question.prefill)
                turn.heard()
                return Reply(text)
            except Fault as error:
                fault = error
            if fault.reached and not fault.for_all:
                turn.heard()
            if not fault.passing or sent > (0 if turn.doubted else self.config.retries):
                break
            asked = fault.retry_after if fault.retry_after is not None else wait
            turn.over.wait(min(asked, self.config.longest_wait))
            wait *= 2
        often = f" (sent {sent} times)" if sent > 1 and not fault.for_all else ""
        told = f"{fault}{often}"
        turn.lost(fault, told if fault.for_all else f"{told}; no further question was sent", before)
        return Reply(None, told, final=True)
