"""One fresh Python process for the whole session, which does for the parent what only another process can.

It is started on first use, since importing torch costs seconds, and ends with the session. It is no child of
``multiprocessing``: a script without a ``__main__`` guard would be run again by that. Requests and answers are
pickles, length first; the worker's own standard output goes to standard error, so that nothing a plugin prints can be
taken for an answer.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import threading
from typing import IO, Any

#: Seconds after which a request is given up and the worker ended; importing torch on a busy machine is part of it.
PATIENCE = 120.0

_ANSWERED, _CRASHED, _SKIPPED = "answered", "crashed", "skipped"
_worker: subprocess.Popen[bytes] | None = None
_lock = threading.Lock()


def ask(task: str, argument: Any) -> Any:
    """Have the worker do one of its tasks: ``answer`` a subject, or ``import`` a module.

    Raises:
        AssertionError: The task crashed there, or took too long; one sentence says how.
        Skip: There is nothing to do there.
    """
    import torch

    from regionkit.core.testing.demands import Skip

    # Paths in options may be relative: the worker looks for them from where we do.
    request = pickle.dumps(([os.path.abspath(path) for path in sys.path], torch.get_num_threads(), os.getcwd()))
    with _lock:
        kind, found = _exchange(request, pickle.dumps((task, argument)))
    if kind == _SKIPPED:
        raise Skip(found)
    if kind == _CRASHED:
        raise AssertionError(f"in another process, {found}")
    return found


def _exchange(setting: bytes, request: bytes) -> tuple[str, Any]:
    global _worker
    if _worker is not None and _worker.poll() is not None:
        stop()
    if _worker is None:
        _worker = _start()
    worker = _worker
    timer = threading.Timer(PATIENCE, worker.kill)
    timer.start()
    try:
        assert worker.stdin is not None
        assert worker.stdout is not None
        for message in (setting, request):
            _send(worker.stdin, message)
        reply = _receive(worker.stdout)
    except BrokenPipeError:
        reply = None
    finally:
        hung = not timer.is_alive()
        timer.cancel()
    if reply is None:
        stop()
        how = f"it did not end within {PATIENCE:g} s" if hung else f"the process ended with status {worker.returncode}"
        return _CRASHED, how
    found: tuple[str, Any] = pickle.loads(reply)  # what our own child made
    return found


def _start() -> subprocess.Popen[bytes]:
    atexit.register(stop)
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def stop() -> None:
    """End the worker, if there is one."""
    global _worker
    worker, _worker = _worker, None
    if worker is not None:
        worker.kill()
        for stream in (worker.stdin, worker.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # unsent bytes of a request that broke off
                    stream.close()
        worker.wait()


def _send(stream: IO[bytes], message: bytes) -> None:
    stream.write(struct.pack("<Q", len(message)))
    stream.write(message)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes | None:
    head = stream.read(8)
    if len(head) < 8:
        return None
    length = struct.unpack("<Q", head)[0]
    message = stream.read(length)
    return message if len(message) == length else None


def serve() -> None:
    """Answer requests until the parent is gone; the body of the worker process."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    import torch

    while (setting := _receive(requests)) is not None and (request := _receive(requests)) is not None:
        path, threads, folder = pickle.loads(setting)
        sys.path[:] = path
        os.chdir(folder)
        importlib.invalidate_caches()
        torch.set_num_threads(threads)
        try:
            task, argument = pickle.loads(request)  # imports the component's code
            reply = _ANSWERED, _TASKS[task](argument)
            packed = pickle.dumps(reply)
        except BaseException as error:  # whatever a plugin raises is an answer
            from regionkit.core.testing.checks import crash
            from regionkit.core.testing.demands import Skip

            said = str(error) if isinstance(error, (AssertionError, Skip)) else crash(error)
            packed = pickle.dumps((_SKIPPED if isinstance(error, Skip) else _CRASHED, said))
        _send(replies, packed)


def _answer(subject: Any) -> dict[str, Any]:
    from regionkit.core.testing.subject import answer

    return answer(subject)


def _import(module: str) -> list[str]:
    """Import a module and return what it changed in this process, one sentence a fault; a second time, nothing."""
    import torch

    from regionkit.core.testing.of_all import random_state

    before = random_state()
    settings = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    printed, here = io.StringIO(), os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(printed):
                importlib.import_module(module)
            written = sorted(os.listdir())
        finally:
            os.chdir(here)
    faults = []
    if random_state() != before:
        faults.append("moves the global random state of torch, numpy or Python")
    if (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()) != settings:
        faults.append("changes a global setting of torch: default type, threads or gradients")
        torch.set_default_dtype(settings[0])  # or whoever is asked next would answer differently
        torch.set_grad_enabled(settings[2])
    if written:
        faults.append(f"writes into the current folder: {', '.join(written)}")
    if printed.getvalue():
        faults.append(f"prints: {printed.getvalue().splitlines()[0]!r}")
    return faults


_TASKS = {"answer": _answer, "import": _import}
