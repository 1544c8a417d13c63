"""What importing a plugin does beside importing it, told by a process that does nothing else."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from regionkit.registry.discovery.discover import HEAVY

#: Seconds that such an import may take.
PATIENCE = 60.0

_CODE = """
import importlib, json, os, sys
sys.path[:] = json.loads(sys.argv[1])
# Recorded as they are set: our own process may have imported the plugin, and handed its change on to this one.
changed, told, put, unset = set(), [], os.putenv, os.unsetenv
os.putenv = lambda key, value: (changed.add(os.fsdecode(key)), put(key, value))
os.unsetenv = lambda key: (changed.add(os.fsdecode(key)), unset(key))
for name in json.loads(sys.argv[2]):
    importlib.import_module(name)
    told.append([name, [package for package in json.loads(sys.argv[3]) if package in sys.modules]])
with open(json.loads(sys.argv[4]), "w") as stream:
    json.dump([told, sorted(changed)], stream)
"""


def light_import_faults(modules: Sequence[str]) -> list[str]:
    """Import modules in a fresh process and return what they do that they must not, one sentence a fault.

    They must import none of :data:`~regionkit.registry.discovery.discover.HEAVY`, print nothing, write no file into the
    current folder, and leave the environment as it is.
    """
    return list(_faults(tuple(dict.fromkeys(modules)), tuple(sys.path)))


@functools.cache
def _faults(modules: tuple[str, ...], path: tuple[str, ...]) -> tuple[str, ...]:
    names = " and ".join(modules)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as aside:
        report = os.path.join(aside, "report.json")
        arguments = [json.dumps(one) for one in (path, modules, HEAVY, report)]
        # Without writing byte code: a module in the current folder would leave a __pycache__ that it has not written.
        command = [sys.executable, "-B", "-c", _CODE, *arguments]
        try:
            run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            return (f"importing {names} does not end within {PATIENCE:g} s",)
        written = sorted(os.listdir(folder))
        if not os.path.exists(report):
            lines = run.stderr.strip().splitlines()
            how = lines[-1] if lines else f"the process ended with status {run.returncode}"
            return (f"importing {names} fails: {how}",)
        with open(report) as stream:
            told, changed = json.load(stream)
    faults = [f"importing {name} imports {', '.join(heavy)}" for name, heavy in told if heavy][:1]
    if run.stdout or run.stderr:
        faults.append(f"importing {names} prints: {(run.stdout + run.stderr).splitlines()[0]!r}")
    if written:
        faults.append(f"importing {names} writes {', '.join(written)} into the current folder")
    if changed:
        faults.append(f"importing {names} changes the environment: {', '.join(changed)}")
    return tuple(faults)
