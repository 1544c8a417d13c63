from __future__ import annotations

import importlib.util
import inspect
import shutil
import sys
from pathlib import Path

import pytest

import regionkit.core.plugin as hooks
import regionkit.plugins
from regionkit.core.errors import RegionkitError, UnknownName
from regionkit.registry import get_registry
from regionkit.registry.discovery.owners import Owner
from regionkit.registry.weights.index import get_index

SPEC = """
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import Checkpoint, CommandSpec, ComponentSpec, PaperSpec, Port

@hookimpl
def regionkit_components():
    return [ComponentSpec({})]
"""
COMMAND = """
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import CommandSpec

@hookimpl
def regionkit_commands():
    return [CommandSpec('my', 'a:b', 'x', {})]
"""
GOOD = "kind='metric', name='one', target='a:B'"


def quarantined():
    return {plugin.plugin: plugin.reason for plugin in get_registry().quarantined}


def test_hook_signatures_are_pinned():
    found = {name: str(inspect.signature(hook)) for name, hook in vars(hooks).items() if name.startswith("regionkit_")}
    assert found == {
        "regionkit_components": "() -> 'list[ComponentSpec]'",
        "regionkit_papers": "() -> 'list[PaperSpec]'",
        "regionkit_presets": "() -> 'list[str]'",
        "regionkit_published": "() -> 'list[str]'",
        "regionkit_weights": "() -> 'list[str]'",
        "regionkit_commands": "() -> 'list[CommandSpec]'",
        "regionkit_stage_finished": "(stage: 'str', seconds: 'float', info: 'Mapping[str, Any]') -> 'None'",
    }


def test_outsider_enters_with_distribution_and_version(project):
    project.plugin("my-pkg", SPEC.format(GOOD), module="my_pkg")
    spec = get_registry().find("metric", "one")
    assert str(get_registry().owner(spec)) == "my-pkg (my-pkg 0.3)"
    assert get_registry().owner(get_registry().find("bridge", "none")).distribution == "regionkit"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        pytest.param("import not_a_module", "ModuleNotFoundError: No module named 'not_a_module'", id="import"),
        pytest.param("raise SystemExit('bye')", "SystemExit: bye", id="exit"),
        pytest.param("1 +", "SyntaxError: invalid syntax (broken.py, line 1)", id="syntax"),
        pytest.param("x = 1", "it implements no hook of regionkit", id="no-hook"),
        pytest.param(
            "from regionkit.core.plugin import hookimpl\n@hookimpl\ndef regionkit_component():\n    return []",
            "it implements the unknown hook 'regionkit_component'; did you mean: regionkit_components",
            id="unknown-hook",
        ),
        pytest.param(
            "from regionkit.core.plugin import hookimpl\n@hookimpl\ndef regionkit_components(registry):\n    return []",
            "hookimpl definition: regionkit_components(registry)",
            id="hook-argument",
        ),
        pytest.param(
            "from regionkit.core.plugin import hookimpl\n@hookimpl\ndef regionkit_components():\n    return 3",
            "regionkit_components must return a list, it returned int",
            id="no-list",
        ),
        pytest.param(
            "from regionkit.core.plugin import hookimpl\n@hookimpl\ndef regionkit_components():\n    return ['memory']",
            "regionkit_components must return ComponentSpec objects, it returned 'memory'",
            id="no-spec",
        ),
        pytest.param(
            "from regionkit.core.plugin import hookimpl\n@hookimpl\ndef regionkit_components():\n    1 / 0",
            "ZeroDivisionError: division by zero",
            id="hook-raises",
        ),
        pytest.param(
            SPEC.format("kind='metrc', name='one', target='a:B'"),
            "component 'one' is of the unknown kind 'metrc'; kinds are: backbone,",
            id="kind",
        ),
        pytest.param(
            SPEC.format("kind='metric', name='One', target='a:B'"), "metric 'One': a name is made of a-z", id="name"
        ),
        pytest.param(
            SPEC.format("kind='metric', name='one', target='a.B'"),
            "metric 'one': target 'a.B' is not of the form package.module:Name",
            id="target",
        ),
        pytest.param(
            SPEC.format("kind='decoder', name='one', target='a:B'"),
            "decoder 'one': it must say what it reads with reads=Port(...)",
            id="port-missing",
        ),
        pytest.param(
            SPEC.format("kind='backbone', name='one', target='a:B', writes=Port('image')"),
            "backbone 'one': writes: 'image' is not a space: write it as name[dim]",
            id="port-space",
        ),
        pytest.param(
            SPEC.format("kind='region_encoder', name='one', target='a:B', writes=Port('image'), accepts=('bx',)"),
            "region_encoder 'one': it accepts the unknown region kind 'bx'",
            id="accepts",
        ),
        pytest.param(
            SPEC.format("kind='region_encoder', name='one', target='a:B', writes=Port('image')"),
            "region_encoder 'one': it must say which kinds of regions it takes with accepts=(...); kinds are: point, ",
            id="accepts-nothing",
        ),
        pytest.param(
            SPEC.format("kind='metric', name='one', target='a:B', weights='http://x'"),
            "metric 'one': weights 'http://x' is neither 'index' nor a file:, pkg: or hub: reference",
            id="weights",
        ),
        pytest.param(
            SPEC.format("kind='recipe', name='one', target='a:B', trains=('decoders',)"),
            "recipe 'one': it trains the unknown kind 'decoders'",
            id="trains",
        ),
        pytest.param(
            SPEC.format(
                "kind='recipe', name='one', target='a:B', needs=('bridge', 'other:bridge'), trains=('bridge', 'other')"
            ),
            "recipe 'one': it trains 'bridge' and 'other'; the parts that it trains must be of different kinds",
            id="trains-two-of-a-kind",
        ),
        pytest.param(
            SPEC.format("kind='recipe', name='one', target='a:B', trains=('decoder', 'decoder')"),
            "recipe 'one': it trains 'decoder' twice; the parts that it trains must be of different kinds",
            id="trains-one-twice",
        ),
        pytest.param(
            SPEC.format("kind='recipe', name='one', target='a:B'"),
            "recipe 'one': it must say which parts it trains with trains=(KIND, ...)",
            id="trains-nothing",
        ),
        pytest.param(
            SPEC.format("kind='decoder', name='one', target='a:B', reads=Port('any'), relabels=True"),
            "decoder 'one': only a bridge relabels vectors",
            id="relabels",
        ),
        pytest.param(
            SPEC.format(f"{GOOD}, summary=None"), "component 'one': summary must be a string, it is None", id="text"
        ),
        pytest.param(SPEC.format(f"{GOOD}, paper=['x']"), "paper must be a string, it is ['x']", id="text-list"),
        pytest.param(SPEC.format(f"{GOOD}, accepts='box'"), "accepts must be a tuple, it is 'box'", id="tuple"),
        pytest.param(SPEC.format(f"{GOOD}, requires=(3,)"), "requires must hold strings, it is (3,)", id="tuple-of"),
        pytest.param(SPEC.format(f"{GOOD}, relabels='no'"), "relabels must be True or False, it is 'no'", id="flag"),
        pytest.param(SPEC.format("kind=['metric'], name='one', target='a:B'"), "kind must be a string", id="kind-list"),
        pytest.param(
            COMMAND.format("files=['mine']"), "command 'my': files must be a tuple, it is ['mine']", id="files"
        ),
        pytest.param(
            "class Odd(Exception):\n    def __str__(self):\n        raise ValueError\nraise Odd",
            "Odd",
            id="unprintable",
        ),
        pytest.param("raise BaseException('all of it')", "BaseException: all of it", id="base-exception"),
        pytest.param(
            SPEC.format(f"{GOOD}, reader='a.b', checkpoints=(Checkpoint('all', ('x.pt',)),)"),
            "metric 'one': reader 'a.b' is not of the form package.module:Name",
            id="reader",
        ),
        pytest.param(
            SPEC.format(f"{GOOD}, checkpoints=(Checkpoint('all', ('x.pt',)),)"),
            "metric 'one': name both its official files in checkpoints and a function in reader",
            id="no-reader",
        ),
        pytest.param(
            SPEC.format(f"{GOOD}, reader='a:b', checkpoints=('x.pt',)"),
            "metric 'one': checkpoints must hold Checkpoint objects, it holds 'x.pt'",
            id="no-checkpoint",
        ),
        pytest.param(
            SPEC.format(f"{GOOD}, reader='a:b', checkpoints=(Checkpoint('all', ('x',)), Checkpoint('all', ('y',)))"),
            "metric 'one': two checkpoints have the role 'all'",
            id="roles",
        ),
        pytest.param(
            SPEC.format(f"{GOOD}, reader='a:b', checkpoints=(Checkpoint('all', ()),)"),
            "metric 'one': checkpoint 'all' must name its files with files=('NAME', ...)",
            id="no-files-of-a-role",
        ),
        pytest.param(
            SPEC.format(f"{GOOD}, reader='a:b', checkpoints=(Checkpoint('all', ('x',), sha256='abc'),)"),
            "metric 'one': checkpoint 'all': sha256 is not 64 hexadecimal digits",
            id="sha256",
        ),
        pytest.param(
            SPEC.format(f"{GOOD}, option_files=('x.pt',)"),
            "metric 'one': option_files must hold Checkpoint objects, it holds 'x.pt'",
            id="no-option-file",
        ),
        pytest.param(
            SPEC.format(f"{GOOD}, option_files=(Checkpoint('parser', ('x',)),)"),
            "metric 'one': 'parser' of its option_files must be an option, and have no when",
            id="option-file-of-no-option",
        ),
        pytest.param(
            SPEC.format(f"{GOOD}, tiny='depth: 2'"),
            "metric 'one': tiny 'depth: 2' is no mapping in braces, such as {depth: 2}",
            id="tiny",
        ),
        pytest.param(
            COMMAND.format("files=('mine',)"),
            "command 'my': name both the keys of its files in files and a function in check",
            id="files-unchecked",
        ),
        pytest.param(
            COMMAND.format("check='a:b'"), "command 'my': name both the keys of its files in files", id="no-files"
        ),
        pytest.param(
            COMMAND.format("pipelines=('mine',)"), "command 'my': name both the keys of its files", id="pipelines"
        ),
        pytest.param(
            COMMAND.format("files=('mine',), check='a.b'"),
            "command 'my': check 'a.b' is not of the form package.module:Name",
            id="check",
        ),
        pytest.param(
            COMMAND.format("files=('mine', 'base'), check='a:b'"),
            "command 'my': 'base' is a key of other files too and tells none apart",
            id="common-key",
        ),
        pytest.param(
            COMMAND.format(
                "files=('mine',), check='a:b'), CommandSpec('you', 'a:b', 'x', files=('mine',), check='a:b'"
            ),
            "it registers files with the key 'mine' twice",
            id="key-twice-itself",
        ),
        pytest.param(
            COMMAND.format("), CommandSpec('my', 'a:b', 'x'"), "it registers command 'my' twice", id="command-twice"
        ),
        pytest.param(
            SPEC.format(f"{GOOD}), ComponentSpec({GOOD}"), "it registers metric 'one' twice", id="twice-itself"
        ),
    ],
)
def test_broken_plugin_is_quarantined_with_its_reason(project, source, reason):
    project.plugin("broken", source)
    assert reason in quarantined()["broken"]
    # It costs nobody else anything, and is named where something is not found.
    assert "none" in get_registry().names("bridge")
    with pytest.raises(UnknownName, match=r"plugin 'broken'(, which)? was skipped"):
        get_registry().find("metric", "one")


def test_broken_plugin_leaves_nothing_behind(project):
    source = SPEC.format(f"{GOOD}), ComponentSpec(kind='metric', name='Two', target='a:B'")
    project.plugin("broken", source + "\n@hookimpl\ndef regionkit_stage_finished(stage):\n    raise AssertionError\n")
    assert "one" not in get_registry().names("metric")
    get_registry().finished("trial", 1.0, {})


def test_same_name_twice_names_both_owners(project):
    spec = "kind='bridge', name='none', target='my_pkg.dec:Mine', reads=Port('any'), writes=Port('same')"
    project.plugin("my_pkg", SPEC.format(spec))
    with pytest.raises(RegionkitError) as caught:
        get_registry()
    assert str(caught.value).splitlines() == [
        "two plugins both register bridge 'none'",
        "  first:  baselines (regionkit 0.1.0) -> regionkit.plugins.baselines.unbridged:Unbridged, "
        f"in {folder_of('baselines')}",
        f"  second: my_pkg (my_pkg 0.3) -> my_pkg.dec:Mine, in {project.folder / 'my_pkg.py'}",
        "  rename one of them, or turn one plugin off with REGIONKIT_DISABLE=my_pkg",
    ]
    result = project.run("list-components")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: two plugins both register bridge 'none'")


def folder_of(plugin: str) -> Path:
    return Path(next(iter(regionkit.plugins.__path__)), plugin).resolve()


@pytest.fixture
def copied(project, monkeypatch):
    """Return a function that copies a plugin of this repository into a folder that is scanned for such plugins."""

    def copy(name: str, old: str = "", new: str = "") -> Path:
        more = project.folder / "more"
        shutil.copytree(folder_of("baselines"), more / name)
        init = more / name / "__init__.py"
        init.write_text(init.read_text().replace(old, new))
        monkeypatch.setattr(regionkit.plugins, "__path__", [*regionkit.plugins.__path__, str(more)])
        return more / name

    yield copy
    for module in [module for module in sys.modules if module.startswith("regionkit.plugins.") and "copy" in module]:
        del sys.modules[module]


# One name comes before the original in the order of discovery, the other after it.
@pytest.mark.parametrize("name", ["a_copy", "z_copy"])
@pytest.mark.parametrize("command", ["list-components", "doctor"])
def test_copied_folder_is_named_with_what_to_change(project, copied, name, command):
    folder = copied(name)
    result = project.run(command)
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert lines[:2] == [
        "error: two plugins both register backbone 'colours'",
        "  so they do 5 more: region_encoder 'whole', region_encoder 'crop', region_encoder 'drawn', "
        "region_encoder 'picture', bridge 'none'",
    ]
    assert any(f"{name} (regionkit " in line and line.endswith(f", in {folder}") for line in lines[2:4])
    assert lines[4] == (
        f"  plugin '{name}' looks like a copy: change the names and targets in {folder}, "
        f"or turn one plugin off with REGIONKIT_DISABLE={name}"
    )


def test_copied_folder_with_code_of_its_own_is_named_too(project, copied, monkeypatch):
    folder = copied("z_copy", "regionkit.plugins.baselines", "regionkit.plugins.z_copy")
    lines = project.run("list-components").stderr.splitlines()
    assert lines[3].endswith(f"-> regionkit.plugins.z_copy.colours:Colours, in {folder}")
    assert lines[4] == "  rename one of them, or turn one plugin off with REGIONKIT_DISABLE=z_copy"
    monkeypatch.setenv("REGIONKIT_DISABLE", "z_copy")
    project({})
    assert project.run("list-components").exit_code == 0


def test_same_command_twice_is_an_error(project):
    source = "from regionkit.core.plugin import hookimpl\nfrom regionkit.core.spec import CommandSpec\n"
    source += "@hookimpl\ndef regionkit_commands():\n    return [CommandSpec('show', 'a:b', 'x')]\n"
    project.plugin("my_pkg", source)
    with pytest.raises(RegionkitError, match="two plugins both register command 'show'"):
        get_registry()


def test_files_that_two_commands_claim_name_both_owners(project):
    project.plugin("my_pkg", COMMAND.format("files=('mine', 'grid'), check='my_pkg.checks:check'"))
    with pytest.raises(RegionkitError) as caught:
        get_registry()
    assert str(caught.value).splitlines() == [
        "two plugins both register files with the key 'grid'",
        "  first:  ablation (regionkit 0.1.0) -> regionkit.plugins.ablation.commands:ablate, "
        f"in {folder_of('ablation')}",
        f"  second: my_pkg (my_pkg 0.3) -> a:b, in {project.folder / 'my_pkg.py'}",
        "  rename one of them, or turn one plugin off with REGIONKIT_DISABLE=my_pkg",
    ]


def test_disabled_plugin_is_out_and_shown(project, monkeypatch):
    spec = "kind='bridge', name='none', target='my_pkg.dec:Mine', reads=Port('any'), writes=Port('same')"
    project.plugin("my_pkg", SPEC.format(spec))
    monkeypatch.setenv("REGIONKIT_DISABLE", "other, my_pkg")
    assert quarantined()["my_pkg"] == "turned off by REGIONKIT_DISABLE"
    assert get_registry().owner(get_registry().find("bridge", "none")).plugin == "baselines"


def test_plugin_named_like_ours_is_quarantined(project):
    project.plugin("baselines", SPEC.format(GOOD), module="other_baselines")
    assert quarantined()["baselines"] == "another plugin is already named 'baselines': baselines (regionkit 0.1.0)"
    assert "none" in get_registry().names("bridge")


@pytest.mark.parametrize(
    ("kind", "name", "lines"),
    [
        pytest.param("bridge", "toy-nois", ["no bridge named 'toy-nois'", "did you mean: toy-noise"], id="typo"),
        pytest.param("bridge", "toy-words", ["there is a decoder of that name"], id="other-kind"),
        pytest.param("metrics", "x", ["no kind of component named 'metrics'", "did you mean: metric"], id="kind"),
        pytest.param("corpus", "zzz", ["corpora are: ", "toolkit list-components --kind corpus"], id="list"),
    ],
)
def test_unknown_name_says_what_exists(toy, kind, name, lines):
    with pytest.raises(UnknownName) as caught:
        get_registry().find(kind, name)
    assert all(line in str(caught.value) for line in lines), str(caught.value)


def test_observers_hear_of_stages(project):
    source = "from regionkit.core.plugin import hookimpl\nheard = []\n"
    source += "@hookimpl\ndef regionkit_stage_finished(stage, seconds):\n    heard.append((stage, seconds))\n"
    project.plugin("watcher", source)
    get_registry().finished("backbone", 0.5, {"images": 3})
    assert get_registry().manager.get_plugin("watcher").heard == [("backbone", 0.5)]


def test_observer_that_raises_is_told_of_and_asked_no_more(project, capsys):
    source = "from regionkit.core.plugin import hookimpl\nheard = []\n"
    source += "@hookimpl\ndef regionkit_stage_finished(stage):\n    print(stage)\n    heard.append(stage)\n"
    project.plugin("bad", source + "    raise OSError('disk full')\n", module="bad_watcher")
    project.plugin("good", source, module="good_watcher")
    for stage in ("backbone", "decoder"):
        get_registry().finished(stage, 0.5, {})
    assert get_registry().manager.get_plugin("bad").heard == ["backbone"]
    assert get_registry().manager.get_plugin("good").heard == ["backbone", "decoder"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "note: plugin 'bad' cannot watch this run any more: OSError: disk full\n" in err


def test_command_whose_module_raises_blames_its_plugin(project):
    project.plugin("my_pkg", COMMAND.format("").replace("'a:b'", "'my_command:run'"))({"my_command.py": "1 / 0\n"})
    result = project.run("my")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "error: command 'my' cannot be loaded: ZeroDivisionError: division by zero",
        "  it comes with plugin my_pkg (my_pkg 0.3); see: toolkit doctor",
    ]


def test_code_version_follows_the_plugins_source(toy):
    from regionkit.registry.code_digest import _module_digest

    spec = get_registry().find("bridge", "toy-none")
    other = get_registry().find("bridge", "none")
    before = get_registry().code_version([spec])
    assert before == get_registry().code_version([spec, spec])
    unrelated = get_registry().code_version([other])
    (toy.folder / "toy_plugin/parts.py").write_text("changed = 1\n")
    _module_digest.cache_clear()
    assert get_registry().code_version([spec]) != before
    assert get_registry().code_version([other]) == unrelated
    assert before != unrelated


def test_code_version_covers_further_packages(toy):
    from regionkit.registry.code_digest import _module_digest

    spec = get_registry().find("bridge", "none")
    before = get_registry().code_version([spec], ["toy_plugin"])
    assert before != get_registry().code_version([spec])
    (toy.folder / "toy_plugin/more.py").write_text("more = 1\n")
    _module_digest.cache_clear()
    assert get_registry().code_version([spec], ["toy_plugin"]) != before


def test_same_preset_twice_names_both_owners_and_files(toy):
    source = "from pathlib import Path\nfrom regionkit.core.plugin import hookimpl\n"
    source += "@hookimpl\ndef regionkit_presets():\n    return [Path(__file__).parent / 'more']\n"
    toy.plugin("more", source)({"more/toy.yaml": "backbone: x\n"})
    with pytest.raises(RegionkitError) as caught:
        _ = get_registry().presets
    assert str(caught.value).splitlines() == [
        "two plugins both bring a preset 'toy'",
        f"  first:  more (more 0.3), in {toy.folder / 'more/toy.yaml'}",
        f"  second: toy (toys 1.2), in {toy.folder / 'toy_plugin/presets/toy.yaml'}",
        "  rename one of them, or turn one plugin off with REGIONKIT_DISABLE=toy",
    ]


def test_a_plugin_that_comes_later_brings_its_presets_and_weights(project):
    """Both are looked up once: whoever admits a plugin need not know that."""
    project.weights("late/weights/decoder-late.safetensors", kind="decoder", name="late", space="x[2]")
    project({"late/presets/late-one.yaml": "backbone: mini\n"})
    project({"late/late.py": "from pathlib import Path\nfrom regionkit.core.plugin import hookimpl\n\n"
             "@hookimpl\ndef regionkit_presets():\n    return [Path(__file__).parent / 'presets']\n\n"
             "@hookimpl\ndef regionkit_weights():\n    return [Path(__file__).parent / 'weights']\n"})  # fmt: skip
    registry = get_registry()
    assert "late-one" not in registry.presets
    assert not get_index().find("decoder", "late")
    spec = importlib.util.spec_from_file_location("late", project.folder / "late/late.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    registry.admit(module, Owner("late"))
    assert registry.presets["late-one"] == project.folder / "late/presets/late-one.yaml"
    assert [file.path.stem for file in get_index().find("decoder", "late")] == ["decoder-late"]
