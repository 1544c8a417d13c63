"""A program that answers each line with a line: started once, shared by all metrics of this process, never left behind.

It is started without waiting for it and lives until this process ends: however that ends, the program's input ends with
it, and a program that reads lines ends there. Its answers are read by a thread of their own, so that no pipe can fill
up while the other side waits.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import IO

from regionkit.plugins.caption_metrics.java.runtime import environment

#: Lines that are written at a time, and lines of standard error that are kept.
_BATCH, _KEPT = 256, 200


class ServerDied(Exception):
    """The program ended, was silent for too long, or could not be started.

    Attributes:
        position: How many answers it had given: the line at this position is the one that it did not answer. 0 where it
            could not be started.
        reason: What happened, to follow the name of the program.
        said: The end of its standard error.
    """

    def __init__(self, position: int, reason: str, said: str) -> None:
        super().__init__(f"{reason} after {position} answers: {said}")
        self.position, self.reason, self.said = position, reason, said


class LineServer:
    """A program, and the process that runs it.

    Args:
        command: Executable and arguments.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = tuple(command)
        self._run: _Run | None = None
        self._asking, self._starting = threading.Lock(), threading.Lock()

    @property
    def pid(self) -> int | None:
        """Id of the process that runs now; None where none does."""
        run = self._run
        return run.process.pid if run is not None and run.process.poll() is None else None

    def start(self) -> None:
        """Start the program where it does not run yet, without waiting for it.

        Raises:
            ServerDied: It cannot be started at all.
        """
        with self._starting:
            if self.pid is None:
                self._drop()
                try:
                    self._run = _Run(self.command)
                except OSError as error:
                    raise ServerDied(0, f"could not be started: {error.strerror}", "") from None

    def ask(self, lines: Sequence[str], timeout: float, answers: int | None = None) -> list[str]:
        """Write lines and return the answers in order; threads wait for each other.

        A program that ends in the middle is started again once, and asked what it had not answered yet.

        Args:
            lines: n lines, without line ends.
            timeout: Seconds without an answer after which the program is stopped.
            answers: Lines that it answers with, where that is not one a line; it is then not asked a second time.

        Raises:
            ServerDied: It ended twice, or was silent for too long.
        """
        found: list[str] = []
        with self._asking:
            for last_try in (False, True):
                self.start()
                run = self._run
                if run is None:
                    raise ServerDied(len(found), "was stopped", "")
                try:
                    run.exchange(lines[len(found) :], timeout, found, len(lines) if answers is None else answers)
                    return found
                except ServerDied:
                    self.stop()
                    if last_try or answers is not None or run.silent:
                        raise
                except BaseException:
                    # Interrupted: answers are still to come, and must not be taken for those of the next question.
                    self.stop()
                    raise
        raise AssertionError("the second try returns or raises")

    def stop(self) -> None:
        """End the process where one runs; the next question starts another."""
        with self._starting:
            self._drop()

    def _drop(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.end()

    def abandon(self) -> None:
        """Let go of a process that belongs to the parent, after a fork: the copies of its pipes are closed, no more."""
        run, self._run = self._run, None
        self._asking, self._starting = threading.Lock(), threading.Lock()
        if run is not None:
            run.abandon()


class _Run:
    """One process from its start to its end."""

    def __init__(self, command: Sequence[str]) -> None:
        # A session of its own: an interrupt at the keyboard is for this process, which then decides about that one.
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=tempfile.gettempdir(),
            env=environment(),
            start_new_session=True,
        )
        self.silent = False
        self._answers: SimpleQueue[str | None] = SimpleQueue()
        self._errors: deque[str] = deque(maxlen=_KEPT)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=_read, args=(self.process.stdout, self._answers.put), daemon=True),
            threading.Thread(target=_read, args=(self.process.stderr, self._keep), daemon=True),
        ]
        for thread in self._readers:
            thread.start()

    def _keep(self, line: str | None) -> None:
        if line is not None:
            self._errors.append(line)

    def exchange(self, lines: Sequence[str], timeout: float, found: list[str], wanted: int) -> None:
        """Write lines and append answers to ``found`` until there are as many as wanted."""
        writer = threading.Thread(target=self._write, args=(lines,), daemon=True)
        writer.start()
        while len(found) < wanted:
            try:
                answer = self._answers.get(timeout=timeout)
            except Empty:
                self.silent = True
                raise ServerDied(len(found), f"gave no answer for {timeout:g} s", self.said(wait=False)) from None
            if answer is None:
                raise ServerDied(len(found), f"ended with status {self._status()}", self.said())
            found.append(answer)
        writer.join()

    def _write(self, lines: Sequence[str]) -> None:
        pipe = self.process.stdin
        assert pipe is not None
        try:
            for start in range(0, len(lines), _BATCH):
                rest = memoryview(
                    "".join(f"{line}\n" for line in lines[start : start + _BATCH]).encode(errors="replace")
                )
                while rest:
                    rest = rest[pipe.write(rest) or 0 :]
        except (OSError, ValueError):
            pass  # the process or the pipe is gone: whoever waits for answers learns it from their end

    def _status(self) -> int:
        try:
            return self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:  # it closed its output and lives on
            self.process.kill()
            return self.process.wait()

    def said(self, *, wait: bool = True) -> str:
        """Return the end of the standard error; waits a moment for the rest of it where the process has ended."""
        if wait:
            self._readers[1].join(timeout=2)
        return "\n".join(self._errors)

    def end(self) -> None:
        """Kill the process and close its pipes."""
        self.process.kill()
        self.process.wait()
        for thread in self._readers:
            thread.join(timeout=2)  # a grandchild may hold a pipe open: it is left to end with its input
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def abandon(self) -> None:
        """Close this process's copies of the pipes and forget the process."""
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        self.process.returncode = 0  # no child of this process: it must neither wait for it nor warn of it


def _read(pipe: IO[bytes], take: Callable[[str | None], None]) -> None:
    """Hand over line after line, and None at the end."""
    pending = b""
    try:
        while chunk := pipe.read(1 << 16):
            *whole, pending = (pending + chunk).split(b"\n")
            for line in whole:
                take(line.rstrip(b"\r").decode(errors="replace"))
    except (OSError, ValueError):
        pass  # closed under our hands
    if pending:
        take(pending.decode(errors="replace"))
    take(None)


_SERVERS: dict[tuple[str, ...], LineServer] = {}
_REGISTERING = threading.Lock()


def shared_server(command: Sequence[str]) -> LineServer:
    """Return the one server of this process for a command; it is not started."""
    with _REGISTERING:
        return _SERVERS.setdefault(tuple(command), LineServer(command))


def stop_servers() -> None:
    """End all programs that this process started; those that are asked again are started again."""
    for server in list(_SERVERS.values()):
        server.stop()


def _after_fork() -> None:
    """Give a forked child servers of its own: two processes must not write into one pipe, nor hold it open."""
    global _REGISTERING
    _REGISTERING = threading.Lock()
    for server in _SERVERS.values():
        server.abandon()


atexit.register(stop_servers)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
