"""A worker process: does the items that it is sent, and ends when whoever started it does."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from regionkit.core.errors import RegionkitError

#: Seconds between two looks at the parent, where the kernel does not tell of its end.
_LOOK = 1.0
_PR_SET_PDEATHSIG = 1


def serve(connection: Connection, parent: int) -> None:
    """Make a worker of the plan that comes first, then run items until there is no sender.

    Messages to the parent: ``("ready",)``, ``("tell", text)``, ``("done", result)``, ``("refused", text, hints)``.
    """
    _end_with(parent)
    send = threading.Lock()

    def say(*message: Any) -> None:
        with send:
            connection.send(message)

    try:
        path, target, options = connection.recv()
        sys.path[:] = path  # modules that the parent can import, its children can
        module, _, name = target.partition(":")
        try:
            # What WorkerPlan.make does, whose module would import torch before anybody knows that the worker needs it.
            make = getattr(importlib.import_module(module), name)
            worker = make(**options, tell=lambda text: say("tell", text))
        except RegionkitError as error:
            say("refused", error.message, error.hints)
            return
        say("ready")
        while (asked := connection.recv()) is not None:
            item, parts = asked
            say("done", worker.run(item) if parts is None else worker.run(item, parts))
        worker.close()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone, and nobody wants what is left


def _end_with(parent: int) -> None:
    """End at once when the parent does: it alone can store a result."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os._exit(1)

    threading.Thread(target=look, name="regionkit-parent", daemon=True).start()


def main() -> None:
    """Entry point: the number of an open socket, and that of the parent."""
    try:
        serve(Connection(int(sys.argv[1])), int(sys.argv[2]))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of libraries must not hold up the end


if __name__ == "__main__":
    main()
