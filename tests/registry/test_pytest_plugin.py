"""The pytest plugin as a plugin's author uses it: one test of three lines, and the fixtures beside it."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

MODULE = "regionkit.registry.pytest_plugin"
#: In an environment that was installed before the entry point was there, it is named by hand.
LOADED = any(point.value == MODULE for point in entry_points(group="pytest11"))

INIT = """
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec

@hookimpl
def regionkit_components():
    return [ComponentSpec(kind="corpus", name="NAME-texts", target="NAME_code:Texts", config="NAME_config:Config",
                          summary="A few sentences")]
"""

CONFIG = '''
from dataclasses import dataclass

@dataclass(frozen=True)
class Config:
    """Options.

    Attributes:
        size: How many.
    """

    size: int = 3
'''

CODE = '''
from regionkit.core.contracts import Corpus


class Texts(Corpus):
    """As many sentences as are asked for."""

    def __init__(self, config):
        self.size = config.size

    def texts(self):
        return [f"a dog number {number}" for number in range(self.size)]
'''


@pytest.fixture
def run(project, pytester):
    """Return a function that runs a test file in this process, with a corpus plugin of a given name installed."""

    def start(name, test, *arguments, plugin=True):
        if plugin:
            project.plugin(name, INIT.replace("NAME", name))
            project({f"{name}_config.py": CONFIG, f"{name}_code.py": CODE})
        pytester.makepyfile(test)
        loading = [] if LOADED else ["-p", MODULE]
        return pytester.runpytest_inprocess(*loading, "-p", "no:cacheprovider", "--strict-markers", *arguments)

    return start


THREE_LINES = """
import pytest

@pytest.mark.conformance("{name}"{more})
def test_conforms(conformance):
    conformance()
"""


def test_three_lines_are_a_whole_conformance_test(run):
    result = run("kitted", THREE_LINES.format(name="kitted", more=""), "-v")
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] >= 10
    assert "failed" not in outcomes
    result.stdout.fnmatch_lines(
        ["*test_conforms[[]plugin-kitted-imports-lightly] PASSED*", "*[[]corpus-kitted-texts-sentences] PASSED*"]
    )


def test_options_of_the_marker_reach_the_component(run):
    result = run("opted", THREE_LINES.format(name="opted", more=', options={"opted-texts": {"size": 0}}'), "-rf")
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["*corpus opted-texts: it holds no sentence*", "*demanded: Sentences are texts*"])
    assert "Traceback" not in result.stdout.str()


def test_components_of_the_marker_are_checked_alone(run):
    result = run("alone", THREE_LINES.format(name="baselines", more=', components=["none"]'), "--collect-only", "-q")
    lines = [line for line in result.outlines if "::" in line]
    assert lines
    assert all("[bridge-none-" in line for line in lines)


def test_the_gpu_check_carries_the_marker(run):
    marked = run("marked", THREE_LINES.format(name="baselines", more=""), "--collect-only", "-q", "-m", "gpu")
    lines = [line for line in marked.outlines if "::" in line]
    assert len(lines) == 6  # one for the backbone, each region encoder, and the bridge
    assert all("-gpu]" in line for line in lines)


@pytest.mark.parametrize(
    ("test", "words"),
    [
        pytest.param(
            THREE_LINES.format(name="nobody-s", more=""), "*no plugin or distribution named 'nobody-s'*", id="unknown"
        ),
        pytest.param(
            THREE_LINES.format(name="baselines", more=", option=1"),
            "*the marker conformance takes options and components, not option*",
            id="wrong-keyword",
        ),
        pytest.param(
            "def test_conforms(conformance):\n    conformance()",
            "*write @pytest.mark.conformance(*",
            id="no-marker",
        ),
    ],
)
def test_a_wrong_marker_is_a_sentence_and_no_traceback(run, test, words):
    result = run("wrong", test, plugin=False)
    assert result.parseoutcomes() == {"errors": 1} or result.parseoutcomes() == {"error": 1}
    result.stdout.fnmatch_lines([words])
    assert "Traceback" not in result.stdout.str()


def test_fixtures_are_worth_having(run):
    result = run(
        "fixed",
        """
        import os

        def test_toolkit_runs_the_command_line(toolkit):
            result = toolkit("--offline", "list-components", "--json")
            assert result.exit_code == 0
            assert "fixed-texts" in result.output
            assert toolkit("show", "no-such-thing").exit_code == 2

        def test_flags_leave_no_trace():
            assert not os.environ.get("HF_HUB_OFFLINE")

        def test_backbone_and_picture(grid_backbone, picture):
            features = grid_backbone.encode([picture])
            assert tuple(features.patches.shape) == (1, 4, 4, 16)
            assert picture.size == (64, 48)
        """,
    )
    result.assert_outcomes(passed=3)


def test_it_costs_other_peoples_runs_nothing():
    """Loaded in every pytest run of an environment, it may import neither torch nor the toolkit's own machinery."""
    code = f"""
import sys
import pytest
before = set(sys.modules)
import {MODULE}
print(sorted({{name.split(".")[0] for name in set(sys.modules) - before}}))
print(sorted(name for name in sys.modules if name.startswith("regionkit.")))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages, modules = run.stdout.splitlines()
    assert packages == "['regionkit']"
    assert modules == f"['regionkit.registry', '{MODULE}']"
