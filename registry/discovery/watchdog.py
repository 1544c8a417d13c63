"""A time limit for code of strangers: what hangs is interrupted, and what the user interrupts is told apart from that.

The limit works by a real SIGINT to the main thread, which ends sleeps, waits for locks and loops alike. SIGALRM is left
to others, such as test runners. C code that never looks at signals cannot be interrupted.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from regionkit.core.errors import RegionkitError

_T = TypeVar("_T")

#: Seconds that the import or a hook of a plugin may take; 0 is no limit.
VARIABLE = "REGIONKIT_PLUGIN_TIMEOUT"
DEFAULT_SECONDS = 30.0
#: Seconds until what caught the interruption is interrupted again.
_AGAIN = 1.0


class TimedOut(Exception):
    """The code did not end within its time."""


class _Interruption(BaseException):
    """Ends the code from inside; no Exception, so that ``except Exception`` in it does not hold it up."""


def limit_seconds() -> float:
    """Return the limit that the environment asks for.

    Raises:
        RegionkitError: What it asks for is no number.
    """
    text = os.environ.get(VARIABLE, "").strip()
    try:
        seconds = float(text) if text else DEFAULT_SECONDS
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < threading.TIMEOUT_MAX:
        raise RegionkitError(f"{VARIABLE}='{text}' is no number of seconds", f"write {VARIABLE}=30; 0 is no limit")
    return seconds


def run_limited(call: Callable[[], _T], seconds: float) -> _T:
    """Call a function, and interrupt it when it takes longer than some seconds.

    Without a limit (0), outside the main thread, or where the system has no ``pthread_kill``, it is just called.

    Raises:
        TimedOut: It was interrupted.
    """
    previous = signal.getsignal(signal.SIGINT)
    if (
        not seconds
        or threading.current_thread() is not threading.main_thread()
        or previous is None  # installed by code that is not Python's, and could not be put back
        or not hasattr(signal, "pthread_kill")
    ):
        return call()
    try:
        return _watched(call, _Watch(seconds, previous))
    except _Interruption:  # it came in the moment in which the call ended by itself
        raise TimedOut(f"did not end within {seconds:g} s") from None


def _watched(call: Callable[[], _T], watch: _Watch) -> _T:
    try:
        watch.start()  # inside: a very short limit bites before it is over, and SIGINT must be given back then too
        result = call()
        watch.over = True
        return result
    except KeyboardInterrupt:  # the user's own
        watch.over = True
        raise
    except BaseException as error:
        watch.over = True
        # What the code made of its interruption, be it an error of its own, is not the news.
        if watch.bites:
            raise TimedOut(f"did not end within {watch.seconds:g} s") from error
        raise
    finally:
        watch.stop()


class _Watch:
    """Sends SIGINT to the main thread when the time is up, and handles it there."""

    def __init__(self, seconds: float, previous: Any) -> None:
        self.seconds = seconds
        self.bites = 0
        self._previous = previous
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._pending = False
        #: From here on nothing is interrupted any more.
        self.over = False

    def start(self) -> None:
        """Take over SIGINT and start to wait."""
        signal.signal(signal.SIGINT, self._handle)
        threading.Thread(target=self._wait, name="regionkit-plugin-timeout", daemon=True).start()

    def stop(self) -> None:
        """Put the old handler back, after a signal that is still on its way has arrived and been swallowed."""
        with self._lock:
            self.over = True
        self._ended.set()
        patience = 1000
        while self._pending and patience:  # the code may have put a handler of its own in the place of ours
            patience -= 1
            time.sleep(0.001)
        signal.signal(signal.SIGINT, self._previous)

    def _wait(self) -> None:
        main, wait = threading.main_thread().ident, self.seconds
        assert main is not None
        while not self._ended.wait(wait):
            with self._lock:
                if self.over:
                    return
                self.bites += 1
                self._pending = True
                signal.pthread_kill(main, signal.SIGINT)
            wait = _AGAIN

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._pending:
            self._pending = False
            if not self.over:
                raise _Interruption
        elif callable(self._previous):
            self._previous(number, frame)
        elif self._previous is signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
