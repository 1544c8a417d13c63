"""Plugins that a YAML file brings: refused unless allowed, then a plugin like any other, and named in results."""

from __future__ import annotations

import json
import sys

import pytest

from regionkit.core.errors import ConfigError, UnknownName
from regionkit.registry import get_registry, load, validate
from regionkit.registry.document import read_pipeline
from regionkit.registry.plan import plan_pipeline
from regionkit.registry.provenance import provenance

LOCAL = """
from pathlib import Path
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, Port
Path(__file__).with_name("ran").write_text("ran")

@hookimpl
def regionkit_components():
    return [ComponentSpec(kind="bridge", name="mine", target=f"{__name__}:Mine", reads=Port("image"),
                          writes=Port("text"))]

def __getattr__(name):
    if name != "Mine":
        raise AttributeError(name)
    from toy_plugin.parts import ToyBridge
    return type("Mine", (ToyBridge,), {})
"""
PIPELINE = "plugins: [./my.py]\nbase: toy\nbridge: {name: mine}\n"


@pytest.fixture
def local(toy):
    """Return the project with a local plugin and a pipeline in a folder of their own."""
    return toy({"lab/my.py": LOCAL, "lab/x.yaml": PIPELINE})


def test_file_that_brings_code_is_refused_and_nothing_runs(local):
    result = local.run("validate", "lab/x.yaml")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: lab/x.yaml:1: plugins: this file brings plugins of its own, and reading it would run their code",
        "  if you trust them, add --allow-local-plugins to the command; in Python: load(..., allow_local_plugins=True)",
        "  without their parts, remove the key 'plugins'",
    ]
    with pytest.raises(ConfigError, match="reading it would run their code"):
        load("lab/x.yaml")
    assert not (local.folder / "lab/ran").exists()


@pytest.mark.parametrize("args", [("--allow-local-plugins", "validate"), ("validate", "--allow-local-plugins")])
def test_flag_may_stand_anywhere(local, args):
    result = local.run(*args, "lab/x.yaml")
    assert (result.exit_code, result.stdout) == (
        0,
        "lab/x.yaml: a good pipeline: toy-a > toy-pool > mine > toy-fixed\n",
    )
    # It holds for that command alone.
    assert local.run("validate", "lab/x.yaml").exit_code == 2


def test_in_python_it_is_an_argument(local):
    from PIL import Image

    from regionkit.core.regions import Box

    assert validate("lab/x.yaml", allow_local_plugins=True) == []
    pipeline = load("lab/x.yaml", allow_local_plugins=True)
    assert type(pipeline.bridge).__name__ == "Mine"
    captions = pipeline.caption([Image.new("RGB", (8, 8))], [[Box(0, 0, 8, 8)]])
    assert captions[0][0].text == "4"
    with pytest.raises(ConfigError, match="reading it would run their code"):
        load("lab/x.yaml")


def test_it_is_named_as_the_owner_and_in_provenance(local):
    from regionkit.registry.discovery.local_plugins import allow_local_plugins

    with allow_local_plugins():
        document = read_pipeline("lab/x.yaml")
    plan = plan_pipeline(document.data, document.line)
    place = local.folder / "lab/my.py"
    assert str(get_registry().owner(plan.parts["bridge"].spec)) == f"local file {place}"
    record = provenance(plan)["bridge"]
    assert (record["name"], record["plugin"], record["distribution"]) == ("mine", f"local file {place}", "")
    assert record["version"].startswith("sha256:")
    assert provenance(plan)["backbone"] == {
        "name": "toy-a", "plugin": "toy", "distribution": "toys", "version": "1.2", "weights": None,
    }  # fmt: skip
    # Its code counts for trial ids and caches like that of any other plugin.
    spec = plan.parts["bridge"].spec
    before = get_registry().code_version([spec])
    place.write_text(LOCAL + "\n# changed\n")
    from regionkit.registry.code_digest import _module_digest

    _module_digest.cache_clear()
    assert get_registry().code_version([spec]) != before


def test_file_that_changed_after_it_was_loaded_is_not_taken_for_the_old_one(local):
    assert validate("lab/x.yaml", allow_local_plugins=True) == []
    local.folder.joinpath("lab/my.py").write_text(LOCAL + "\n# changed\n")
    (problem,) = validate("lab/x.yaml", allow_local_plugins=True)
    assert str(problem).splitlines() == [
        "lab/x.yaml:1: plugins.0: ./my.py was changed after it was loaded",
        "  start Python again to use what it is now",
    ]


def test_package_folder_is_a_plugin_too(local):
    source = LOCAL.replace('f"{__name__}:Mine"', '"my_parts.inner:Mine"')
    inner = "from toy_plugin.parts import ToyBridge\n\n\nclass Mine(ToyBridge):\n    pass\n"
    local(
        {
            "lab/my_parts/__init__.py": source,
            "lab/my_parts/inner.py": inner,
            "lab/y.yaml": PIPELINE.replace("./my.py", "my_parts"),
        }
    )
    assert type(load("lab/y.yaml", allow_local_plugins=True).bridge).__module__ == "my_parts.inner"


def test_paths_are_relative_to_the_file_that_names_them(local):
    local({"z.yaml": "base: lab/x.yaml\nregion_encoder: {name: toy-pool, scale: 2.0}\n"})
    assert [str(problem).splitlines()[0] for problem in validate("z.yaml")] == [
        "lab/x.yaml:1: plugins: this file brings plugins of its own, and reading it would run their code"
    ]
    assert validate("z.yaml", allow_local_plugins=True) == []


def test_files_of_commands_may_bring_plugins(local):
    local(
        {
            "lab/mix.yaml": "plugins: [./my.py]\nleft: {base: toy, bridge: mine}\nright: {bridge: mine}\n",
            "lab/inner.yaml": "left: {plugins: [./my.py], base: toy, bridge: mine}\n",
        }
    )
    for name in ("lab/mix.yaml", "lab/inner.yaml"):
        (problem,) = validate(name)
        assert "reading it would run their code" in problem.message
    result = local.run("validate", "lab/mix.yaml", "lab/inner.yaml", "--allow-local-plugins")
    assert (result.exit_code, result.stdout) == (
        0,
        "lab/mix.yaml: a good mix: mine + mine\nlab/inner.yaml: a good mix: mine\n",
    )


@pytest.mark.parametrize(
    ("value", "files", "message"),
    [
        pytest.param("[./mine.py]", {}, "plugins.0: there is no file lab/mine.py\n  did you mean: my.py", id="missing"),
        pytest.param(
            "[./other.txt]", {"lab/other.txt": ""}, "plugins.0: ./other.txt is no plugin\n  name a", id="text"
        ),
        pytest.param("[./empty]", {"lab/empty/x.txt": ""}, "plugins.0: ./empty is no plugin", id="no-package"),
        pytest.param("3", {}, "plugins: expected paths of .py files or package folders, got 3", id="number"),
        pytest.param("[{a: b}]", {}, "plugins: expected paths of .py files or package folders, got [{", id="mapping"),
        pytest.param(
            "[./bad.py]",
            {"lab/bad.py": "\nimport not_a_module\n"},
            "plugins.0: ./bad.py cannot be imported: ModuleNotFoundError: No module named 'not_a_module', at ",
            id="broken",
        ),
        pytest.param(
            "[./bad.py]", {"lab/bad.py": "raise SystemExit"}, "./bad.py cannot be imported: SystemExit", id="exits"
        ),
        pytest.param(
            "[./bad.py]",
            {"lab/bad.py": "import time\ntime.sleep(60)\n"},
            "plugins.0: ./bad.py: its import did not end within 0.3 s",
            id="hangs",
        ),
        pytest.param(
            "[./bad.py]",
            {"lab/bad.py": "x = 1"},
            "plugins.0: ./bad.py is no plugin that can be used: it implements no hook of regionkit",
            id="no-hook",
        ),
        pytest.param(
            "[./bad.py]",
            {"lab/bad.py": LOCAL.replace('"mine"', '"none"')},
            "plugins.0: two plugins both register bridge 'none'",
            id="clash",
        ),
        pytest.param("[./my-own.py]", {"lab/my-own.py": LOCAL}, "'my-own' is no name of a module", id="name"),
        pytest.param(
            "[./json.py]", {"lab/json.py": LOCAL}, "./json.py: there is a module 'json' already: ", id="hides-ours"
        ),
        pytest.param(
            "[./this.py]", {"lab/this.py": LOCAL}, "./this.py: there is a module 'this' already: ", id="hides-pythons"
        ),
    ],
)
def test_what_is_wrong_with_a_local_plugin_is_told_with_file_and_line(local, monkeypatch, value, files, message):
    monkeypatch.setenv("REGIONKIT_PLUGIN_TIMEOUT", "0.3")
    local({**files, "lab/x.yaml": f"# a comment\nplugins: {value}\nbase: toy\n"})
    result = local.run("validate", "lab/x.yaml", "--allow-local-plugins")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: lab/x.yaml:2: plugins")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    # A plugin that could not be used leaves nothing behind.
    with pytest.raises(UnknownName):
        get_registry().find("bridge", "mine")
    assert not [name for name in get_registry().plugins if name.startswith("local file")]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param(
            {"lab/my.py": "import sys\ndel sys.modules[__name__]\nraise RuntimeError('gone')\n"},
            "./my.py cannot be imported: RuntimeError: gone",
            id="import",
        ),
        pytest.param(
            {"lab/my.py": "import sys\ndel sys.modules[__name__]\n"},
            "./my.py is no plugin that can be used: it implements no hook of regionkit",
            id="no-hook",
        ),
        pytest.param(
            {"lab/my.py": "import sys\ndel sys.modules[__name__]\n" + LOCAL.replace('"mine"', '"none"')},
            "two plugins both register bridge 'none'",
            id="clash",
        ),
    ],
)
def test_a_plugin_that_takes_itself_out_of_the_modules_is_refused_like_any_other(local, files, message):
    local(files)
    (problem,) = validate("lab/x.yaml", allow_local_plugins=True)
    assert message in problem.message


def test_of_a_package_that_failed_no_module_is_left(local):
    local({"lab/my_parts/__init__.py": "from my_parts.inner import VALUE\n", "lab/my_parts/inner.py": "VALUE = 1\n"})
    local({"lab/x.yaml": PIPELINE.replace("./my.py", "my_parts")})
    (problem,) = validate("lab/x.yaml", allow_local_plugins=True)
    assert "it implements no hook of regionkit" in problem.message
    assert not [name for name in sys.modules if name.split(".")[0] == "my_parts"]
    # Mended, it is what it is now, its inner modules too.
    source = LOCAL.replace('f"{__name__}:Mine"', '"my_parts.inner:Mine"')
    inner = "from toy_plugin.parts import ToyBridge\n\n\nclass Mine(ToyBridge):\n    pass\n"
    local({"lab/my_parts/__init__.py": f"import my_parts.inner\n{source}", "lab/my_parts/inner.py": inner})
    assert type(load("lab/x.yaml", allow_local_plugins=True).bridge).__module__ == "my_parts.inner"


def test_plugins_cannot_be_brought_by_an_override(local):
    result = local.run("validate", "lab/x.yaml", "--set", "plugins=[./my.py]", "--allow-local-plugins")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: --set plugins: plugins: plugins are not brought by --set",
        "  write the key into the file, and allow it with --allow-local-plugins",
    ]


def test_caption_names_a_local_plugin_in_its_result(local):
    from PIL import Image

    Image.new("RGB", (16, 16)).save(local.folder / "a.png")
    result = local.run("caption", "a.png", "--preset", "lab/x.yaml", "--json", "--allow-local-plugins")
    assert result.exit_code == 0, result.stderr
    made_by = json.loads(result.stdout)["provenance"]
    assert made_by["bridge"]["plugin"] == f"local file {local.folder / 'lab/my.py'}"
    assert made_by["decoder"]["plugin"] == "toy"
