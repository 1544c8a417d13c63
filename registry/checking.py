"""Checking a plugin in processes of its own, so that whatever it does, hang or die included, ends as one line.

The parent (:func:`check_source`) starts this module as a child, which loads the plugin and makes the checks one by one,
saying on a pipe of its own which it is at. A check that takes too long, or takes the process down, is recorded, and a
fresh child goes on with the next component.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from regionkit.core.errors import RegionkitError
from regionkit.registry.discovery.plugin_source import PluginSource, brought_by

#: Seconds that a check may take, and that starting Python with torch and all installed plugins may.
LIMIT = 60.0
_STARTING = 180.0
#: The check that stands for importing the plugin and taking in what it brings.
LOADS = "loads"


@dataclass(frozen=True)
class Outcome:
    """What became of one check.

    Attributes:
        component: ``kind name``, or ``plugin name``.
        check: Name of the check.
        status: ``ok``, ``failed`` or ``skipped``.
        message: What is broken, or why it was skipped.
        demands: What the check demands.
    """

    component: str
    check: str
    status: str
    message: str = ""
    demands: str = ""


class Refused(RegionkitError):
    """The child would not start checking; message, hints and exit status are those of its own error."""

    def __init__(self, message: str, hints: list[str], exit_code: int) -> None:
        super().__init__(message, *hints)
        self.exit_code = exit_code


def check_source(source: PluginSource, components: Collection[str] = (), limit: float = LIMIT) -> Iterator[Outcome]:
    """Check a plugin and yield what became of each check, as it is known.

    Args:
        source: What is checked.
        components: Names of its components; all by default.
        limit: Seconds that a check may take.

    Raises:
        Refused: There is no such plugin or component, or the installation is at odds with itself.
    """
    done: list[str] = []
    cases: list[dict[str, Any]] = []
    while True:
        request = {
            **asdict(source),
            "components": list(components),
            "done": done,
            "shadowed": source.shadowed,
        }
        broken = yield from _run_child(request, done, cases, limit)
        if broken is None or broken["check"] == LOADS:  # without the plugin there is nothing more to check
            return
        yield from _give_up(broken, cases, done)
        if all(case["id"] in done for case in cases):  # a child more would find nothing to do, and take seconds for it
            return


def _give_up(broken: Mapping[str, Any], cases: list[dict[str, Any]], done: list[str]) -> Iterator[Outcome]:
    """Skip what is left of a component that hung or died; checks of the plugin itself are made nevertheless."""
    reason = f"not made after what happened in the check '{broken['check']}'"
    for case in cases:
        if case["component"] == broken["component"] and not case["of_plugin"] and case["id"] not in done:
            done.append(case["id"])
            yield Outcome(case["component"], case["check"], "skipped", reason, case["demands"])


def _run_child(
    request: Mapping[str, Any], done: list[str], cases: list[dict[str, Any]], limit: float
) -> Generator[Outcome, None, dict[str, Any] | None]:
    """Run one child to its end; returns the check that ended it before its time, if one did."""
    with tempfile.TemporaryFile() as noise, tempfile.TemporaryDirectory() as folder:
        child = _start(request, folder, noise)
        try:
            return (yield from _follow(child, noise, done, cases, limit))
        finally:
            with contextlib.suppress(ProcessLookupError):  # its own helpers too
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            assert child.stdout is not None
            child.stdout.close()


def _start(request: Mapping[str, Any], folder: str, noise: IO[bytes]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "REGIONKIT_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
    names = [name for name in (environment.get("REGIONKIT_DISABLE", ""), *request["shadowed"]) if name]
    environment["REGIONKIT_DISABLE"] = ",".join(names)
    # The folder that the command was given from stays importable, but nothing a plugin writes lands in it.
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-m", __name__, json.dumps(request)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=noise,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )


def _follow(
    child: subprocess.Popen[bytes], noise: IO[bytes], done: list[str], cases: list[dict[str, Any]], limit: float
) -> Generator[Outcome, None, dict[str, Any] | None]:
    lines = _lines(child)
    current: dict[str, Any] = {}
    heard = 0
    while True:
        try:
            line = lines.get(timeout=limit if current else _STARTING)
        except queue.Empty:
            line = None
            reason = f"it does not end within {limit if current else _STARTING:g} s"
        else:
            reason = "" if line else _last_words(child, noise, heard)
        if line is None or not line:
            if not current:
                raise Refused(f"checking could not start: {reason}", [], 1)
            yield Outcome(current["component"], current["check"], "failed", reason, current["demands"])
            done.append(current["id"])
            return current
        event = json.loads(line)
        if event["event"] == "refused":
            raise Refused(event["message"], event["hints"], event["exit_code"])
        if event["event"] == "over":
            return None
        if event["event"] == "cases":
            cases[:] = event["cases"]
        elif event["event"] == "start":
            current, heard = event, os.fstat(noise.fileno()).st_size
        else:
            outcome = Outcome(
                current["component"], current["check"], event["status"], event["message"], current["demands"]
            )
            done.append(current["id"])
            current = {}
            yield outcome


def _lines(child: subprocess.Popen[bytes]) -> queue.Queue[bytes]:
    """Return a queue of what the child says, an empty line at its end; a pipe cannot be read with a time limit."""
    lines: queue.Queue[bytes] = queue.Queue()

    def read() -> None:
        assert child.stdout is not None
        with contextlib.suppress(ValueError):  # closed by the parent, which has heard enough
            for line in child.stdout:
                lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, daemon=True).start()
    return lines


def _last_words(child: subprocess.Popen[bytes], noise: IO[bytes], heard: int) -> str:
    """Say how a child ended, with the last line that it printed after the byte ``heard``."""
    status = child.wait()
    # Not by seeking: the child writes at the place where we would read.
    words = os.pread(noise.fileno(), 100_000, heard)[-2000:].decode(errors="replace").strip().splitlines()
    how = f"it ends the process with status {status}" if status >= 0 else f"the process dies of signal {-status}"
    return f"{how}: {words[-1]}" if words else how


def _serve(request: Mapping[str, Any]) -> None:
    """Make the checks of a request, telling each on the standard output; the body of the child."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a plugin prints must not be taken for what we say

    def say(event: str, **more: Any) -> None:
        out.write(json.dumps({"event": event, **more}) + "\n")
        out.flush()

    from regionkit.registry.registry import get_registry

    try:
        get_registry()
        if not _load_all(request, say):
            say("over")
            return
        names = [name for name, _ in request["points"]] or [request["name"]]
        for name in names:  # a wrong name is told before torch is imported
            brought_by(name, request["components"])
        _check_all(names, request, say)
    except RegionkitError as error:
        say("refused", message=error.message, hints=list(error.hints), exit_code=error.exit_code)
        return
    say("over")


def _load_all(request: Mapping[str, Any], say: Callable[..., None]) -> bool:
    """Load the plugins of a path, before torch is there: what cannot be loaded is told in a moment."""
    first = LOADS not in request["done"]
    for name, module in request["points"]:
        if first:
            say("start", id=LOADS, component=f"plugin {name}", check=LOADS, demands=_LOADS)
        fault = _load(name, module, request)
        if fault or first:
            say("end", status="failed" if fault else "ok", message=fault)
        if fault:
            return False
    return True


def _check_all(names: list[str], request: Mapping[str, Any], say: Callable[..., None]) -> None:
    import torch

    from regionkit.core.testing import Skip
    from regionkit.core.testing.worker import ask
    from regionkit.registry.conformance import Case, conformance_of

    def told(case: Case) -> dict[str, Any]:
        words = {"id": case.id, "component": case.component, "check": case.check.name, "demands": case.check.demands}
        return {**words, "of_plugin": case.spec is None}

    torch.set_num_threads(1)
    ask("import", "json")  # starts the second process, whose start is no check's fault
    cases = [case for name in names for case in conformance_of(name, components=request["components"])]
    say("cases", cases=[told(case) for case in cases])
    for case in cases:
        if case.id in request["done"]:
            continue
        say("start", **told(case))
        status, message = "ok", ""
        try:
            case.run()
        except Skip as skip:
            status, message = "skipped", str(skip)
        except AssertionError as error:
            status, message = "failed", str(error)
        say("end", status=status, message=message)


_LOADS = "The plugin can be imported, and everything that it brings is sound"


def _load(name: str, module: str, request: Mapping[str, Any]) -> str:
    """Import and register a plugin that is not installed; returns what is wrong with it."""
    from regionkit.registry.discovery.discover import describe_import
    from regionkit.registry.discovery.owners import Owner
    from regionkit.registry.registry import PluginFault, get_registry

    registry = get_registry()
    sys.path[:0] = [root for root in request["roots"] if root not in sys.path]
    try:
        plugin = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        own = [place for place in frames if any(place[0].resolve().is_relative_to(root) for root in request["roots"])]
        return describe_import(error) + (f" ({own[-1][0].name}:{own[-1][1]})" if own else "")
    file = getattr(plugin, "__file__", None) or ""
    if not any(Path(file).resolve().is_relative_to(root) for root in request["roots"]):
        return f"there is another module '{module}': {file or 'a part of Python'}; rename yours"
    try:
        registry.admit(plugin, Owner(name, request["name"], request["version"]))
    except PluginFault as fault:
        return str(fault)
    except RegionkitError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
