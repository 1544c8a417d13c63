"""Plugins of strangers that are broken in every way we know: the toolkit still answers, and says what is wrong."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from regionkit.core.errors import RegionkitError, UnknownName
from regionkit.registry import get_registry
from regionkit.registry.commands.plugins import KEYS
from regionkit.registry.discovery.watchdog import TimedOut, run_limited

HEAD = """
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, Port
"""
#: A plugin with one good metric.
GOOD = f"""{HEAD}
@hookimpl
def regionkit_components():
    return [ComponentSpec(kind="metric", name="one", target="a:B")]
"""

BROKEN = [
    pytest.param(f"import not_a_module\n{GOOD}", "ModuleNotFoundError: No module named 'not_a_module'", id="import"),
    pytest.param(f"raise SystemExit('bye')\n{GOOD}", "SystemExit: bye", id="exit"),
    pytest.param(
        GOOD.replace('"a:B"', '"a.B"'), "metric 'one': target 'a.B' is not of the form package.module:Name", id="spec"
    ),
    pytest.param(
        f"{GOOD}\n@hookimpl\ndef regionkit_presets():\n    1 / 0\n", "ZeroDivisionError: division by zero", id="hook"
    ),
    pytest.param(
        f"{GOOD}\n@hookimpl\ndef regionkit_presets():\n    raise SystemExit('bye')\n",
        "SystemExit: bye",
        id="hook-exits",
    ),
    pytest.param(f"import time\ntime.sleep(60)\n{GOOD}", "its import did not end within 2 s", id="sleeps"),
    pytest.param(
        f"while True:\n    try:\n        pass\n    except Exception:\n        pass\n{GOOD}",
        "its import did not end within 2 s",
        id="loops",
    ),
    pytest.param(
        f"import threading\nthreading.Lock().acquire() and threading.Event().wait()\n{GOOD}",
        "its import did not end within 2 s",
        id="waits",
    ),
    pytest.param(
        f"{GOOD}\n@hookimpl\ndef regionkit_presets():\n    while True: pass\n",
        "its hook regionkit_presets did not end within 2 s",
        id="hook-hangs",
    ),
]


def toolkit(project, *args, **environment):
    """Run the command line in a process of its own, with plugins as they are installed."""
    return subprocess.run(
        [sys.executable, "-c", "from regionkit.registry.cli import main; main()", *args],
        capture_output=True,
        text=True,
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": str(project.folder), **environment},
        check=False,
        timeout=120,
    )


def quarantined():
    return {plugin.plugin: plugin.reason for plugin in get_registry().quarantined}


#: Runs several command lines in one process, as a shell would one after the other; prints their status and outputs.
MANY = """
import json, sys
from click.testing import CliRunner
from regionkit.registry.cli import root
results = [CliRunner().invoke(root, arguments) for arguments in json.loads(sys.argv[1])]
json.dump([[result.exit_code, result.stdout, result.stderr] for result in results], sys.stdout)
"""


def test_broken_plugins_cost_nobody_else_anything(project):
    for parameter in BROKEN:
        source = parameter.values[0].replace('"one"', f'"of-{parameter.id}"')
        project.plugin(f"broken-{parameter.id}", source, module=f"broken_{parameter.id.replace('-', '_')}")
    project.plugin("good", GOOD.replace('"one"', '"two"'))
    reasons = {parameter.id: parameter.values[1].replace("'one'", f"'of-{parameter.id}'") for parameter in BROKEN}
    commands = [["list-components", "--json"], *(["show", f"of-{name}"] for name in reasons)]
    environment = {**os.environ, "PYTHONPATH": str(project.folder), "REGIONKIT_PLUGIN_TIMEOUT": "2"}
    done = subprocess.run(
        [sys.executable, "-c", MANY, json.dumps(commands)],
        capture_output=True, text=True, cwd=project.folder, env=environment, check=True, timeout=120,
    )  # fmt: skip
    (status, listing, _), *shown = json.loads(done.stdout)
    assert status == 0
    rows = {(row["kind"], row["name"]): row for row in json.loads(listing)}
    assert rows["metric", "two"]["plugin"] == "good"
    told = {name.removeprefix("broken-"): row["reason"] for (kind, name), row in rows.items() if kind == "plugin"}
    assert told == reasons
    assert not [name for _, name in rows if name.startswith("of-")]
    # What each would have brought is told, although none of its code could be used.
    for (name, reason), (status, _, errors) in zip(reasons.items(), shown, strict=True):
        assert status == 2
        assert errors.splitlines()[:2] == [
            f"error: no component or preset named 'of-{name}'",
            f"  metric 'of-{name}' comes with plugin 'broken-{name}', which was skipped: {reason}",
        ]


def test_plugins_says_everything_of_every_plugin(project, monkeypatch):
    monkeypatch.setenv("REGIONKIT_PLUGIN_TIMEOUT", "2")
    monkeypatch.setenv("REGIONKIT_DISABLE", "off, no-such-plugin, mni")
    project.plugin("broken", f"import not_a_module\n{GOOD}").plugin("hangs", "import time\ntime.sleep(60)\n")
    project.plugin("off", GOOD).plugin("good", GOOD.replace('"one"', '"two"'))
    result = project.run("plugins", "--json")
    assert result.exit_code == 0
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert all(tuple(row) == KEYS for row in rows.values())
    assert rows["good"] | {"seconds": 0} == {
        "name": "good", "distribution": "good", "version": "0.3", "where": str(project.folder / "good.py"),
        "status": "ok", "reason": "", "components": ["metric two"], "commands": [], "seconds": 0, "notes": [],
    }  # fmt: skip
    assert (rows["broken"]["status"], rows["broken"]["components"]) == ("skipped", ["metric one"])
    assert rows["broken"]["where"] == str(project.folder / "broken.py")
    assert (rows["off"]["status"], rows["off"]["components"]) == ("disabled", ["metric one"])
    assert rows["off"]["reason"] == "turned off by REGIONKIT_DISABLE"
    assert 2 <= rows["hangs"]["seconds"] < 20
    assert "ablate" in rows["ablation"]["commands"]
    assert "bridge none" in rows["baselines"]["components"]
    assert result.stderr.splitlines() == [
        "note: REGIONKIT_DISABLE names 'mni', and there is no such plugin; did you mean: mini",
        "note: REGIONKIT_DISABLE names 'no-such-plugin', and there is no such plugin",
    ]
    result = project.run("plugins", "--strict")
    assert result.exit_code == 1
    table, remarks = result.stdout.split("\n\n")
    assert table.splitlines()[0].split()[-1] == "PLACE"
    assert remarks.splitlines() == [
        "plugin 'broken' was skipped: ModuleNotFoundError: No module named 'not_a_module'",
        "plugin 'hangs' was skipped: its import did not end within 2 s",
        "plugin 'off': turned off by REGIONKIT_DISABLE",
    ]


def test_plugins_is_content_with_plugins_that_the_user_turned_off(project, monkeypatch):
    monkeypatch.setenv("REGIONKIT_DISABLE", "off")
    project.plugin("off", "import not_a_module")
    assert project.run("plugins", "--strict").exit_code == 0


def test_doctor_names_broken_plugins_and_names_that_turn_nothing_off(project, monkeypatch):
    monkeypatch.setenv("REGIONKIT_DISABLE", "basline")
    project.plugin("broken", GOOD.replace('"a:B"', '"a.B"'))
    result = project.run("doctor", "--json")
    assert result.exit_code == 1
    found = {(finding["topic"], finding["name"], finding["status"]): finding for finding in json.loads(result.stdout)}
    assert "target 'a.B' is not of the form" in found["plugin", "broken", "bad"]["detail"]
    detail = found["environment", "REGIONKIT_DISABLE", "note"]["detail"]
    assert detail == "REGIONKIT_DISABLE names 'basline', and there is no such plugin; did you mean: baselines"


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        pytest.param(
            "regionkit<3,>=2",
            "it was built for regionkit >=2,<3, this is 0.1.0; pip install -U 'regionkit>=2,<3'",
            id="newer",
        ),
        pytest.param(
            "regionkit (<0.1)", "it was built for regionkit <0.1, this is 0.1.0; pip install -U my-pkg", id="older"
        ),
        pytest.param(
            "RegionKit~=7.1", "it was built for regionkit ~=7.1, this is 0.1.0; pip install -U 'regionkit~=7.1'",
            id="compatible",
        ),
    ],
)  # fmt: skip
def test_plugin_for_another_major_version_is_not_even_imported(project, requirement, reason):
    source = f"raise AssertionError('imported')\n{GOOD}"
    project.plugin(
        "mine", source, distribution="my-pkg", meta=f"Requires-Dist: torch>=2\nRequires-Dist: {requirement}\n"
    )
    result = toolkit(project, "list-components", "--json")
    assert result.returncode == 0
    assert [row["reason"] for row in json.loads(result.stdout) if row["kind"] == "plugin"] == [reason]
    with pytest.raises(UnknownName) as caught:
        get_registry().find("metric", "one")
    assert caught.value.hints[0] == f"metric 'one' comes with plugin 'mine', which was skipped: {reason}"


@pytest.mark.parametrize(
    "requirement",
    [
        pytest.param("regionkit>=0.1,<1", id="plain"),
        pytest.param("regionkit", id="none"),
        pytest.param("regionkit==0.*", id="star"),
        pytest.param("regionkit>=2; extra == 'new'", id="extra"),
        pytest.param("regionkit>=2; python_version < '3'", id="marker"),
        pytest.param("regionkit-border>=9", id="another-distribution"),
        pytest.param("regionkit is nice", id="unreadable"),
    ],
)
def test_plugin_for_this_version_enters(project, requirement):
    project.plugin("mine", GOOD, meta=f"Requires-Dist: {requirement}\n")
    assert get_registry().find("metric", "one").target == "a:B"


def test_plain_requirement_is_checked_without_importing_packaging(project):
    project.plugin("mine", GOOD, meta="Requires-Dist: regionkit<1,>=0.1.0\n")
    code = "import sys; from regionkit.registry import get_registry as g\ng().find('metric', 'one')\n"
    code += "assert 'packaging' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(project.folder)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_what_a_plugin_prints_goes_to_stderr(project):
    source = f"print('hello from import')\n{GOOD}".replace("    return", "    print('hello from hook')\n    return")
    project.plugin("loud", source)
    result = toolkit(project, "list-components", "--json")
    assert result.returncode == 0
    assert "one" in {row["name"] for row in json.loads(result.stdout)}
    assert result.stderr.splitlines() == ["hello from import", "hello from hook"]


def test_plugin_that_imports_what_is_heavy_is_used_and_noted(project):
    project.plugin("heavy", f"import numpy\nimport PIL.Image\n{GOOD}")
    result = toolkit(project, "plugins", "--json")
    (row,) = [row for row in json.loads(result.stdout) if row["name"] == "heavy"]
    assert row["status"] == "ok"
    assert row["notes"] == [f"imports numpy, PIL: it must not, this took {row['seconds']:.1f} s"]


def test_two_plugins_with_one_component_end_every_command_with_both_owners(project):
    project.plugin("first", GOOD).plugin("second", GOOD, version="1.4")
    for command in ("list-components", "plugins"):
        result = toolkit(project, command)
        assert result.returncode == 2
        assert result.stderr.splitlines() == [
            "error: two plugins both register metric 'one'",
            f"  first:  first (first 0.3) -> a:B, in {project.folder / 'first.py'}",
            f"  second: second (second 1.4) -> a:B, in {project.folder / 'second.py'}",
            "  rename one of them, or turn one plugin off with REGIONKIT_DISABLE=second",
        ]
    assert toolkit(project, "list-components", REGIONKIT_DISABLE="second").returncode == 0


def test_of_two_plugins_with_one_name_the_second_is_skipped(project):
    project.plugin("twin", GOOD, module="twin_a", distribution="dist-a")
    project.plugin("twin", GOOD.replace('"one"', '"two"'), module="twin_b", distribution="dist-b")
    rows = json.loads(toolkit(project, "plugins", "--json").stdout)
    first, second = (row for row in rows if row["name"] == "twin")
    assert (first["distribution"], first["status"], first["components"]) == ("dist-a", "ok", ["metric one"])
    assert (second["distribution"], second["status"], second["components"]) == ("dist-b", "skipped", ["metric two"])
    assert second["reason"] == "another plugin is already named 'twin': twin (dist-a 0.3)"


def test_of_two_entry_points_with_one_name_the_record_of_the_skipped_one_is_kept(project):
    """The second is used: what loading it was like belongs to it, and not to its namesake that was skipped before."""
    project(
        {
            "twin_a.py": f"import not_a_module\n{GOOD}",
            "twin_b.py": GOOD.replace('"one"', '"two"'),
            "mine-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: mine\nVersion: 1\n",
            "mine-1.dist-info/entry_points.txt": "[regionkit]\ntwin = twin_a\ntwin = twin_b\n",
        }
    )
    (skipped,) = get_registry().quarantined
    assert skipped.loading.where == str(project.folder / "twin_a.py")
    assert skipped.offers == (("metric", "one"),)
    assert get_registry().loadings["twin"].where == str(project.folder / "twin_b.py")
    rows = [row for row in json.loads(project.run("plugins", "--json").stdout) if row["name"] == "twin"]
    assert [(row["status"], row["where"]) for row in rows] == [
        ("ok", str(project.folder / "twin_b.py")), ("skipped", str(project.folder / "twin_a.py")),
    ]  # fmt: skip


def test_close_matches_reach_into_plugins_that_were_skipped(project, monkeypatch):
    monkeypatch.setenv("REGIONKIT_DISABLE", "off")
    named = f'{HEAD}\nNAME = "noun-f2"\nspec = ComponentSpec("metric", NAME, target="a:B")\n'
    project.plugin("off", f"raise AssertionError('run')\n{named}")
    with pytest.raises(UnknownName) as caught:
        get_registry().find("metric", "noun-f3")
    assert caught.value.hints[0] == "did you mean: noun-f2 (of plugin 'off', which was skipped), noun-f1"
    # Of another kind it is no match.
    with pytest.raises(UnknownName) as caught:
        get_registry().find("decoder", "noun-f2")
    assert "noun-f2 (of" not in str(caught.value)
    assert "plugin 'off' was skipped: turned off by REGIONKIT_DISABLE" in caught.value.hints


def test_offers_of_a_package_are_read_beside_its_init(project, monkeypatch):
    monkeypatch.setenv("REGIONKIT_DISABLE", "off")
    spec = 'spec.ComponentSpec(name="two", kind="bridge", target="a:B", **more)'
    project(
        {
            "pkg/__init__.py": "raise AssertionError('run')\n",
            "pkg/inner/__init__.py": "raise AssertionError('run')\n",
            "pkg/inner/specs.py": f"{spec}\nComponentSpec(kind=unknown(), name='three')\n1 +\n".replace("1 +\n", ""),
            "pkg/inner/damaged.py": "1 +\n",
            "off-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: off\nVersion: 1\n",
            "off-1.dist-info/entry_points.txt": "[regionkit]\noff = pkg.inner\n",
        }
    )
    (plugin,) = get_registry().quarantined
    assert plugin.offers == (("bridge", "two"),)


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_limit_that_is_no_number_is_wrong_use(project, monkeypatch, text):
    monkeypatch.setenv("REGIONKIT_PLUGIN_TIMEOUT", text)
    result = project.run("list-components")
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: REGIONKIT_PLUGIN_TIMEOUT='{text}' is no number of seconds\n"
        "  write REGIONKIT_PLUGIN_TIMEOUT=30; 0 is no limit\n",
    )


def test_ctrl_c_during_an_import_ends_the_program(project):
    # A shell that runs the tests in its background has them ignore the signal.
    heeded = "import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    project.plugin("slow", f"{heeded}os.kill(os.getpid(), signal.SIGINT)\nimport time\ntime.sleep(20)\n")
    result = toolkit(project, "list-components")
    assert result.returncode == 130
    assert result.stderr.endswith("interrupted\n")
    assert "Traceback" not in result.stderr


def test_interruption_that_is_caught_comes_again():
    def stubborn():
        for _ in range(2):
            with contextlib.suppress(BaseException):
                time.sleep(30)
        return "ended"

    start = time.perf_counter()
    assert run_limited(stubborn, 0.05) == "ended"  # it ended by itself in the end
    assert time.perf_counter() - start < 10


def test_call_that_ends_at_its_limit_leaves_no_signal_behind():
    """Whether the call or the limit is first, nothing is interrupted afterwards."""
    ends = []
    for _ in range(60):
        try:
            run_limited(lambda: time.sleep(0.01), 0.01)
            ends.append("ended")
        except TimedOut:
            ends.append("timed out")
        time.sleep(0.001)
    assert set(ends) <= {"ended", "timed out"}
    time.sleep(0.05)


def test_limit_that_bites_at_once_gives_ctrl_c_back():
    """Limits of a billionth of a second bite while the watch is still being set up."""
    before = signal.getsignal(signal.SIGINT)
    for _ in range(400):
        with contextlib.suppress(TimedOut):
            run_limited(lambda: None, 1e-9)
        assert signal.getsignal(signal.SIGINT) is before


def test_errors_of_a_call_pass_and_handlers_come_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="own"):
        run_limited(lambda: int("own"), 5)
    with pytest.raises(TimedOut, match=r"did not end within 0\.05 s"):
        run_limited(lambda: time.sleep(30), 0.05)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_there_is_no_limit():
    found = []
    thread = threading.Thread(target=lambda: found.append(run_limited(lambda: time.sleep(0.1) or "ended", 0.01)))
    thread.start()
    thread.join()
    assert found == ["ended"]


def test_clash_is_told_in_python_too(project):
    project.plugin("first", GOOD).plugin("second", GOOD)
    with pytest.raises(RegionkitError, match="two plugins both register metric 'one'"):
        get_registry()
