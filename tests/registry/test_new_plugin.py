"""``toolkit new plugin``: what it writes works unchanged, and it never writes over anything."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from regionkit.registry import get_registry, validate
from regionkit.registry.scaffold import PATTERNS, write_plugin

MODULES = {
    "region_encoder": "encoder",
    "metric": "metric",
    "dataset": "reader",
    "bridge": "bridge",
    "decoder": "decoder",
    "backbone": "backbone",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a new plugin of every kind, by kind."""
    folder = tmp_path_factory.mktemp("new")
    return {
        kind: write_plugin(f"try-{kind.replace('_', '-')}", kind, folder / f"try-{kind.replace('_', '-')}").folder
        for kind in PATTERNS
    }


@pytest.fixture(scope="module", autouse=True)
def own_tests(written):
    """Start the tests that were written: most of their seconds are imports, which go on beside the other tests here."""
    folders = list(written.values())
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *map(str, folders)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folders[0].parent,
    )
    yield process
    process.kill()
    process.communicate()


def test_every_kind_has_the_files_of_a_complete_distribution(written):
    for kind, folder in written.items():
        package = folder.name.replace("-", "_")
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        wanted = {"pyproject.toml", "README.md", f"tests/test_{package}.py"}
        wanted |= {f"{package}/{name}.py" for name in ("__init__", "configs", MODULES[kind])}
        wanted |= {f"{package}/presets/{folder.name}.yaml"} if PATTERNS[kind].preset else set()
        wanted |= {"train.yaml"} if PATTERNS[kind].recipe else set()
        assert names == wanted
        assert not [path for path in folder.rglob("*") if path.is_file() and "$" in path.read_text()]


def test_what_it_writes_passes_the_linter(written):
    ruff = shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed")
    folders = list(map(str, written.values()))
    select = ["--line-length", "120", "--select", "E,F,W,I,UP,B,RUF,SIM"]
    for arguments in (["check", *select], ["format", "--check", "--line-length", "120"]):
        result = subprocess.run([ruff, *arguments, "--no-cache", *folders], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("kind", PATTERNS)
def test_installed_it_is_a_plugin_like_any_other(project, written, kind):
    name = project.install(written[kind])
    assert not get_registry().quarantined
    spec = get_registry().find(kind, name)
    assert str(get_registry().owner(spec)) == f"{name} ({name} 0.1.0)"
    if PATTERNS[kind].preset:
        problems = [str(problem) for problem in validate(get_registry().presets[name])]
        lacks = f"no weights of decoder '{name}'"  # until its recipe was run
        assert [problem for problem in problems if lacks not in problem] == []
        assert bool(problems) == PATTERNS[kind].recipe
    if PATTERNS[kind].recipe:
        assert validate(written[kind] / "train.yaml") == []
    if kind == "metric":
        assert project.run("show", name).exit_code == 0


def test_a_new_decoder_is_trained_and_used_as_its_readme_says(project, written):
    name = project.install(written["decoder"])
    folder = project.folder / name.replace("-", "_") / "weights"
    text = (written["decoder"] / "README.md").read_text()
    assert f"    toolkit train train.yaml --out {folder.parent.name}/weights\n" in text
    assert f"    toolkit caption IMAGE --preset {name} --box 8,8,60,60\n" in text
    recipe = str(written["decoder"] / "train.yaml")
    short = ("--steps", "30", "--set", "corpus.size=200", "--set", "recipe.warmup=5")
    trained = project.run("train", recipe, "--out", str(folder), *short)
    assert trained.exit_code == 0, trained.output
    assert project.run("data", "make", "mini", "--limit", "1", "--out", "mini").exit_code == 0
    picture = next(project.folder.glob("mini/**/*.png"))
    captioned = project.run("caption", str(picture), "--preset", name, "--box", "8,8,60,60", "--json")
    assert captioned.exit_code == 0, captioned.output
    provenance = json.loads(captioned.stdout)["provenance"]
    assert provenance["decoder"]["weights"]["file"] == f"mini-dense-{name}.safetensors"


# Each takes seconds; all of them are made in .ci/run too.
@pytest.mark.slow  # what continuous integration does with the real commands, in a step of its own
@pytest.mark.parametrize("kind", PATTERNS)
def test_it_passes_check_plugin_unchanged(project, written, kind):
    result = project.run("check-plugin", str(written[kind]))
    assert result.exit_code == 0, result.output
    assert " 0 failed" in result.output


def test_message_says_what_to_type_next(project):
    result = project.run("new", "plugin", "my-regions")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "wrote 7 files in my-regions:"
    assert lines[-6:] == [
        "type next:",
        "  cd my-regions",
        "  pip install -e '.[test]'",
        "  pytest",
        "  toolkit check-plugin my-regions",
        "  toolkit caption IMAGE --preset my-regions --box 8,8,60,60",
    ]


def test_json_and_a_folder_of_ones_own(project):
    result = project.run("new", "plugin", "my-metric", "--kind", "metric", "--out", "deep/er", "--json")
    record = json.loads(result.stdout)
    assert record["folder"] == "deep/er"
    assert sorted(record["files"]) == sorted(
        path.relative_to("deep/er").as_posix() for path in Path("deep/er").rglob("*") if path.is_file()
    )
    assert record["next"][0] == "cd deep/er"


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        pytest.param(
            ["My Plugin!"],
            [
                "'My Plugin!' is no name for a plugin: use a-z, 0-9 and single dashes, and start with a letter",
                "for example: toolkit new plugin my-plugin",
            ],
            id="letters",
        ),
        pytest.param(["../up"], ["'../up' is no name for a plugin", "for example: toolkit new plugin up"], id="path"),
        pytest.param(["9"], ["'9' is no name for a plugin", "toolkit new plugin my-regions"], id="digit"),
        pytest.param(["lambda"], ["'lambda' is a word of Python and cannot name a package"], id="keyword"),
        pytest.param(["numpy"], ["there is a package 'numpy' already"], id="package"),
        pytest.param(["json"], ["there is a package 'json' already"], id="standard-library"),
        pytest.param(["mini"], ["there is a plugin 'mini' already: mini (regionkit "], id="plugin"),
        pytest.param(["patch-pool"], ["there is a region_encoder 'patch-pool' already: patchioner"], id="component"),
        pytest.param(
            ["x", "--kind", "metrics"],
            ["there is no template for the kind 'metrics'", "did you mean: metric", "templates are: region_encoder,"],
            id="kind",
        ),
        pytest.param(["taken"], ["taken is there already, and nothing is overwritten", "--out DIR"], id="taken"),
        pytest.param(["x", "--out", "file/inside"], ["file/inside cannot be written: file is no f"], id="no-folder"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_there_afterwards(project, args, lines):
    project({"taken/precious.txt": "precious", "file": "a file"})
    before = sorted(Path().rglob("*"))
    result = project.run("new", "plugin", *args)
    assert result.exit_code == 2
    assert all(line in result.stderr for line in lines), result.stderr
    assert sorted(Path().rglob("*")) == before
    assert Path("taken/precious.txt").read_text() == "precious"


def test_empty_folder_is_filled(project):
    Path("empty").mkdir()
    assert project.run("new", "plugin", "my-regions", "--out", "empty").exit_code == 0
    assert Path("empty/pyproject.toml").is_file()


@pytest.mark.slow  # likewise
def test_its_own_tests_pass_unchanged(own_tests):
    """The last one here: its process was started with the first."""
    output, _ = own_tests.communicate(timeout=120)
    assert own_tests.returncode == 0, output
    assert " passed" in output
