"""``toolkit check-plugin``: projects, files and installed plugins; faults of every kind as lines of a table."""

import json
import textwrap

import pytest
from click.testing import CliRunner

from regionkit.core.errors import RegionkitError, RunFailed
from regionkit.registry import checking
from regionkit.registry.checking import Outcome
from regionkit.registry.cli import root
from regionkit.registry.discovery.plugin_source import find_source

INIT = """
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec

@hookimpl
def regionkit_components():
    return [ComponentSpec(kind="corpus", name=name, target=f"{__name__}.code:{target}", summary="A few sentences")
            for name, target in TARGETS.items()]
"""

CODE = '''
import os
import time
from regionkit.core.contracts import Corpus


class Good(Corpus):
    """Two sentences."""

    def __init__(self, config):
        pass

    def texts(self):
        return ["a dog", "a cat"]


class Hanging(Good):
    """Never comes back."""

    def texts(self):
        time.sleep(600)


class Crashing(Good):
    """Divides by zero."""

    def texts(self):
        print("a word on the way", flush=True)
        return [1 / 0]


class Dying(Good):
    """Takes the process with it."""

    def texts(self):
        os._exit(7)
'''

PROJECT = """
[project]
name = "my-texts"
version = "0.2"

[project.entry-points.regionkit]
my-texts = "my_texts"
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Return a function that runs the command, and gives its exit code and output."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(root, ["check-plugin", *map(str, arguments)])

    return run


@pytest.fixture
def write(tmp_path):
    """Return a function that writes files below the current folder and gives that folder."""

    def files(**named):
        for name, text in named.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return tmp_path

    return files


def write_project(folder, targets, *, root="src", init=INIT, project=PROJECT):
    package = folder / root / "my_texts"
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(project)
    (package / "__init__.py").write_text(f"TARGETS = {targets!r}\n{init}")
    (package / "code.py").write_text(CODE)
    return folder


def statuses(output):
    return {(row["component"], row["check"]): (row["status"], row["message"]) for row in json.loads(output)}


@pytest.mark.slow
def test_a_project_is_checked_without_being_installed(check, tmp_path):
    result = check(write_project(tmp_path / "project", {"good-texts": "Good"}))
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].split() == ["COMPONENT", "CHECK", "RESULT"]
    assert "plugin my-texts" in lines[1]
    assert any(line.split() == ["corpus", "good-texts", "sentences", "ok"] for line in lines)
    assert lines[-1].endswith("skipped")
    assert " 0 failed" in lines[-1]


@pytest.mark.slow
def test_hangs_crashes_and_deaths_are_lines_and_the_others_go_on(check, tmp_path, monkeypatch):
    starts = []
    start = checking._start
    monkeypatch.setattr(checking, "_start", lambda *given: (starts.append(given), start(*given))[1])
    targets = {"a-hang": "Hanging", "b-crash": "Crashing", "c-good": "Good", "d-death": "Dying"}
    folder = write_project(tmp_path / "project", targets, root=".")
    result = check(folder, "--json", "--limit", 2, *(word for name in targets for word in ("--component", name)))
    assert result.exit_code == 1, result.output
    found = statuses(result.output)
    assert found["corpus a-hang", "sentences"] == ("failed", "it does not end within 2 s")
    assert found["corpus b-crash", "sentences"] == (
        "failed", "it crashed with ZeroDivisionError: division by zero (code.py:29)"
    )  # fmt: skip
    assert found["corpus d-death", "sentences"] == ("failed", "it ends the process with status 7")
    given_up = ("skipped", "not made after what happened in the check 'sentences'")
    assert found["corpus a-hang", "pickles"] == found["corpus d-death", "deterministic"] == given_up
    assert found["corpus c-good", "sentences"] == ("ok", "")
    assert found["corpus c-good", "deterministic"] == ("ok", "")
    checks = [check for component, check in found if component == "corpus c-good"]
    assert all([check for component, check in found if component == f"corpus {name}"] == checks for name in targets)
    assert "Traceback" not in result.output
    assert len(starts) == 2  # one more after the hang; after the death of the last component nothing is left to do


def test_rows_are_printed_as_they_come_and_counted_when_the_user_has_enough(check, monkeypatch):
    told = []

    def checked(*_):
        yield Outcome("metric a", "shapes", "ok")
        told.append("second")
        yield Outcome("metric a", "order", "failed", "a and b differ", "The order does not matter")
        raise KeyboardInterrupt

    monkeypatch.setattr(checking, "check_source", checked)
    monkeypatch.setattr("click.echo", lambda text, **_: told.append(text))
    result = check("baselines")
    assert result.exit_code == 130
    header, first, second, row, summary, interrupted = told
    assert (header.split(), first.split()) == (["COMPONENT", "CHECK", "RESULT"], ["metric", "a", "shapes", "ok"])
    assert second == "second", "the first row was printed before the second check was made"
    assert row.split() == ["metric", "a", "order", "FAILED:", "a", "and", "b", "differ"]
    assert summary.splitlines() == [
        "", "FAILED metric a, order", "  a and b differ", "  demanded: The order does not matter", "",
        "1 ok, 1 failed, 0 skipped",
    ]  # fmt: skip
    assert interrupted == "interrupted"
    told.clear()
    assert check("baselines", "--json").exit_code == 130
    assert told == ["second", "interrupted"], "half a list is no JSON"


@pytest.mark.parametrize(
    ("init", "words"),
    [
        pytest.param(
            "import not_there", "ModuleNotFoundError: No module named 'not_there' (__init__.py:2)", id="import"
        ),
        pytest.param("def broken(:", "SyntaxError: invalid syntax", id="syntax"),
        pytest.param("import sys; sys.exit('bye')", "SystemExit: bye", id="exit"),
        pytest.param("import os; os._exit(3)", "it ends the process with status 3", id="death"),
        pytest.param("x = 1", "it implements no hook of regionkit", id="no-hook"),
        pytest.param(INIT.replace("summary=", "sumary="), "got an unexpected keyword argument 'sumary'", id="bad-spec"),
        pytest.param(INIT.replace('kind="corpus"', 'kind="corpse"'), "is of the unknown kind 'corpse'", id="kind"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_one_failed_line(check, tmp_path, init, words):
    result = check(write_project(tmp_path / "project", {"good-texts": "Good"}, init=init), "--json")
    assert result.exit_code == 1, result.output
    ((component, name), (status, message)) = next(iter(statuses(result.output).items()))
    assert (component, name, status) == ("plugin my-texts", "loads", "failed")
    assert words in message
    assert len(json.loads(result.output)) == 1


def test_a_name_that_is_taken_is_told_with_its_owner(check, tmp_path):
    result = check(write_project(tmp_path / "project", {"mini-captions": "Good"}))
    assert result.exit_code == 1
    assert "FAILED: two plugins both register corpus 'mini-captions'" in result.output


FILE = """
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec

@hookimpl
def regionkit_components():
    return [ComponentSpec(kind="corpus", name="lone-texts", target="lone_code:Good", summary="A few sentences")]
"""


@pytest.mark.slow
def test_options_that_are_no_dataclass_do_not_end_the_table_early(check, write):
    spec = FILE.replace("target=", 'config="lone_config:Config", target=')
    folder = write(**{"lone_texts.py": spec, "lone_code.py": CODE, "lone_config.py": "class Config:\n    size = 3\n"})
    result = check(folder / "lone_texts.py")
    assert result.exit_code == 1, result.output
    assert "FAILED corpus lone-texts, config" in result.output
    assert "write @dataclass(frozen=True) above class Config" in result.output
    assert result.output.splitlines()[-1].endswith("skipped")


@pytest.mark.slow
def test_a_single_file_is_a_plugin_too(check, write):
    folder = write(**{"lone_texts.py": FILE, "lone_code.py": CODE})
    result = check(folder / "lone_texts.py", "--json")
    assert result.exit_code == 0, result.output
    assert statuses(result.output)["corpus lone-texts", "sentences"] == ("ok", "")


@pytest.mark.slow  # as continuous integration does
def test_an_installed_plugin_is_checked_by_name_and_component_by_component(check):
    result = check("caption_metrics", "--component", "noun-f1", "--json")
    assert result.exit_code == 0, result.output
    assert {component for component, _ in statuses(result.output)} == {"metric noun-f1"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["minni"], "error: no plugin or distribution named 'minni'\n  did you mean: mini", id="name"),
        pytest.param(["./not_there"], "error: there is no file or folder ./not_there", id="path"),
        pytest.param(
            ["baselines", "--component", "crop-"],
            "error: plugin 'baselines' has no component named 'crop-'\n  did you mean: crop",
            id="component",
        ),
        pytest.param(["baselines", "--limit", "0"], "error: --limit: 0 must be more than 0 seconds", id="limit"),
    ],
)
def test_what_is_not_there_is_wrong_use(check, arguments, words):
    result = check(*arguments)
    assert result.exit_code == 2
    assert result.output.startswith(words)


def test_what_is_no_plugin_is_told(write):
    folder = write(
        **{
            "empty/note.txt": "",
            "broken/pyproject.toml": "[project",
            "plain/pyproject.toml": "[project]\nname = 'plain'\n",
            "2nd.py": "",
            "data.csv": "",
        }
    )
    for name, words in (
        ("empty", "is no plugin: it has neither a pyproject.toml nor an __init__.py"),
        ("broken", "cannot be read: "),
        ("plain", r"names no plugin of regionkit\n  write \[project.entry-points.regionkit\]"),
        ("2nd.py", "2nd.py: '2nd' is no name of a module"),
        ("data.csv", "is no plugin\n  name a folder with a pyproject.toml, or a .py file"),
    ):
        with pytest.raises(RegionkitError, match=words):
            find_source(str(folder / name))


@pytest.mark.parametrize(
    ("root", "more"),
    [
        pytest.param("src", "", id="src"),
        pytest.param(".", "", id="flat"),
        pytest.param("lib", "[tool.setuptools.packages.find]\nwhere = ['lib']\n", id="setuptools-find"),
        pytest.param("code", "[tool.setuptools.package-dir]\n'' = 'code'\n", id="setuptools-package-dir"),
        pytest.param("deep", "[tool.hatch.build.targets.wheel]\npackages = ['deep/my_texts']\n", id="hatch"),
    ],
)
def test_the_source_of_a_project_is_found_where_its_build_looks(tmp_path, root, more):
    folder = write_project(tmp_path / "project", {}, root=root, project=PROJECT + more)
    source = find_source(str(folder))
    assert source.points == (("my-texts", "my_texts"),)
    assert source.roots == (str((folder / root).resolve()),)
    assert (source.name, source.version) == ("my-texts", "0.2")


def test_a_project_without_its_module_says_where_it_looked(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    with pytest.raises(RunFailed, match="plugin 'my-texts' is the module 'my_texts', and there is none\n  looked in: "):
        find_source(str(folder))
