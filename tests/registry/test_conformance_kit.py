"""The registry's side of the kit: what it builds from a spec, and the faults of specs and imports that it catches."""

import textwrap

import pytest

from regionkit.core.errors import RunFailed, UnknownName
from regionkit.core.testing import GridBackbone, Skip
from regionkit.registry import get_registry
from regionkit.registry.conformance import CannotBuild, conformance_of, subject_of
from regionkit.registry.conformance.imports import light_import_faults

INIT = """
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, Port

@hookimpl
def regionkit_components():
    return [ComponentSpec(kind="region_encoder", name="{name}-middle", target="{name}_code:Middle",
                          config="{name}_config:Config", summary="The patch in the middle", writes=Port("image"),
                          accepts=("box", "image"), {spec})]
"""

CONFIG = '''
from dataclasses import dataclass

@dataclass(frozen={frozen})
class Config:
    """Options.

    Attributes:
        {documented}: How much.
    """

    scale: float{default}

    {more}
'''

CODE = '''
import torch
from regionkit.core.contracts import RegionEncoder
from regionkit.core.features import RegionTokens
from regionkit.core.geometry import patch_weights
{top}

class Middle(RegionEncoder):
    """The mean of a region's patches, scaled."""

    accepts = {accepts}

    def __init__(self, config):
        self.config = config

    def encode(self, scene, regions):
        regions.require(self.accepts, "middle")
        if not len(regions):
            return RegionTokens.none(scene.backbone.space)
        rows = []
        for region, image in zip(regions.items, regions.image, strict=True):
            weights = torch.from_numpy(patch_weights(region, scene.features.frames[image])).to(scene.features.patches)
            rows.append(torch.einsum("hw,hwd->d", weights / weights.sum(), scene.features.patches[image]))
        return RegionTokens.single(torch.stack(rows) * self.config.scale, {space})
'''


@pytest.fixture
def plugin(project):
    """Return a function that installs a plugin with one region encoder and some fault, and gives its name."""

    def install(name, **given):
        words = {
            "name": name, "spec": "", "frozen": True, "documented": "scale", "default": " = 1.0", "more": "", "top": "",
            "accepts": ("box", "image"), "space": "scene.backbone.space", "init": "",
        } | given  # fmt: skip
        project.plugin(name, INIT.format(**words) + textwrap.dedent(words["init"]))
        project(
            {
                f"{name}_config.py": CONFIG.format(**words),
                f"{name}_code.py": CODE.format(**words),
            }
        )
        return name

    return install


def sentences(name, check, **more):
    """Return what the cases of one check fail with."""
    found = []
    for case in conformance_of(name, **more):
        if case.check.name == check:
            try:
                case.run()
            except AssertionError as error:
                found.append(str(error))
            except Skip:
                continue
    return found


def test_an_honest_plugin_passes_every_check(plugin):
    name = plugin("honest")
    failed = []
    for case in conformance_of(name):
        try:
            case.run()
        except Skip:
            continue
        except AssertionError as error:
            failed.append((case.id, str(error)))
    assert failed == []
    assert len(conformance_of(name)) > 25


def test_cases_are_pairs_of_a_spec_and_a_check_with_readable_names(plugin):
    cases = conformance_of(plugin("named"))
    plugins, components = [c for c in cases if c.spec is None], [c for c in cases if c.spec is not None]
    assert plugins[0].id == "plugin-named-imports-lightly"
    assert "region_encoder-named-middle-batch-equals-loop" in [case.id for case in components]
    spec, check, *_ = components[0]
    assert spec.name == "named-middle"
    assert check.demands == "The spec has a summary of one short line, a licence, and a paper that can be cited"
    assert len({case.id for case in cases}) == len(cases)


@pytest.mark.parametrize(
    ("given", "check", "words"),
    [
        pytest.param(
            {"spec": 'paper="unheard"'}, "spec-complete", "no plugin describes its paper 'unheard'", id="paper"
        ),
        pytest.param({"spec": 'license=""'}, "spec-complete", "it names no licence", id="licence"),
        pytest.param({"frozen": False}, "config", "Config is not frozen: @dataclass(frozen=True)", id="not-frozen"),
        pytest.param(
            {"more": "unit = 1.0"},
            "config",
            "Config sets unit without a type, so a dataclass takes it for no option: write unit: float = 1.0",
            id="no-type",
        ),
        pytest.param({"documented": "else"}, "config", "without a line under 'Attributes:'", id="undocumented"),
        pytest.param(
            {"more": "def __post_init__(self): object.__setattr__(self, 'scale', self.scale + 1)"},
            "config",
            "do not survive being written and read again",
            id="round-trip",
        ),
        pytest.param(
            {"accepts": ("box",)}, "declared-kinds", "the spec accepts box, image; the class accepts box", id="accepts"
        ),
        pytest.param(
            {"space": "'grid/text[16]'"}, "ports", "labelled grid/text[16], the port says grid/image[16]", id="label"
        ),
        pytest.param({"top": "import not_there"}, "implements-its-contract", "No module named 'not_there'", id="code"),
        pytest.param({"top": "torch.manual_seed(3)"}, "imports-quietly", "moves the global random state", id="seed"),
        pytest.param({"top": "print('hello')"}, "imports-quietly", "prints: 'hello'", id="code-prints"),
        pytest.param(
            {"top": "torch.set_default_dtype(torch.float64)"},
            "imports-quietly",
            "a global setting of torch",
            id="dtype",
        ),
        pytest.param({"top": "open('note.txt', 'w').close()"}, "imports-quietly", "note.txt", id="code-writes"),
        pytest.param({"init": "import torch"}, "imports-lightly", "imports torch, numpy", id="imports-torch"),
        pytest.param({"init": "print('hi')"}, "imports-lightly", "prints: 'hi'", id="prints"),
        pytest.param(
            {"init": "import os; os.environ['MARK'] = '1'"},
            "imports-lightly",
            "changes the environment: MARK",
            id="env",
        ),
        pytest.param(
            {"init": "open('here.txt', 'w').close()"},
            "imports-lightly",
            "writes here.txt into the current",
            id="writes",
        ),
        pytest.param({"default": ""}, "builds", "declare options under which it is built", id="no-default"),
        pytest.param({"spec": 'tiny="{scael: 2}"'}, "builds", "cannot build region_encoder", id="wrong-tiny"),
    ],
)
def test_faults_of_a_spec_are_caught(plugin, request, given, check, words):
    name = "faulty_" + request.node.callspec.id.replace("-", "_")
    found = sentences(plugin(name, **given), check)
    assert found, f"{check} passes"
    assert words in found[0]


BRIDGE = """
from dataclasses import dataclass
from regionkit.core.plugin import hookimpl
from regionkit.core.spec import ComponentSpec, Port

@hookimpl
def regionkit_components():
    return [ComponentSpec(kind="KIND", name="NAME-part", target="NAME_code:Fitted", config="NAME:Config",
                          summary="Learns from texts", needs=("corpus",), accepts=ACCEPTS,
                          writes=None if "KIND" == "decoder" else Port("image"), MORE)]

@dataclass(frozen=True)
class Config:
    '''Options.

    Attributes:
        weights: A file.
        bank: A corpus.
    '''

    OPTIONS
"""


def fitted(project, name, kind="bridge", more="", options="weights: str = 'auto'; bank: str = 'auto'"):
    """Install a plugin with a part that asks for a corpus; returns why it was skipped, if it was."""
    accepts = "('box',)" if kind == "region_encoder" else "()"
    more = f"reads=Port('image'), {more}"
    source = BRIDGE
    for word, text in {"ACCEPTS": accepts, "NAME": name, "KIND": kind, "MORE": more, "OPTIONS": options}.items():
        source = source.replace(word, text)
    project.plugin(name, source)
    return [one.reason for one in get_registry().quarantined if one.plugin == name]


@pytest.mark.parametrize("kind", ["bridge", "decoder"])
@pytest.mark.parametrize("weights", ["", "weights='pkg:x'"], ids=["none", "fixed"])
def test_a_part_that_would_never_be_fitted_to_its_corpus_is_refused(project, kind, weights):
    (reason,) = fitted(project, "unfitted", kind, weights)
    assert f"{kind} 'unfitted-part': it needs a corpus and would never be fitted to it" in reason
    assert 'write weights="index" beside needs=("corpus",)' in reason
    assert 'the option bank: str = "auto"' in reason


def test_only_bridges_and_decoders_are_fitted_to_a_corpus(project):
    (reason,) = fitted(project, "misfitted", "region_encoder", "weights='index'")
    assert "only a bridge or a decoder is fitted to one: leave needs out" in reason


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(
            "weights: str = 'auto'", "its bank is chosen by what the pipeline needs, and nobody can say", id="bank"
        ),
        pytest.param(
            "weights: str = 'none'; bank: str = 'auto'", "with weights none it is never fitted", id="never-by-default"
        ),
        pytest.param("bank: str = 'auto'", 'write weights: str = "auto" in Config', id="weights"),
    ],
)
def test_what_is_chosen_can_be_named(project, options, words):
    assert fitted(project, "chooser", more="weights='index'", options=options) == []
    (found,) = sentences("chooser", "config")
    assert words in found


def test_options_that_are_no_dataclass_fail_where_they_are_read_and_the_rest_is_skipped(project):
    name = "no_dataclass"
    project.plugin(name, INIT.format(name=name, spec=""))
    project({f"{name}_config.py": "class Config:\n    scale = 1.0\n"})
    project({f"{name}_code.py": CODE.format(top="", accepts=("box", "image"), space="scene.backbone.space")})
    outcomes = {}
    for case in conformance_of(name):
        try:
            case.run()
        except (AssertionError, Skip) as outcome:
            outcomes[case.check.name] = str(outcome)
    for check in ("config", "builds"):
        assert (
            f"{name}_config:Config, the options of region_encoder '{name}-middle', is no dataclass" in outcomes[check]
        )
        assert "write @dataclass(frozen=True) above class Config, and a type at each option" in outcomes[check]
    assert outcomes["shapes"] == "it could not be built; see the check 'builds'"


PRESETS = """
from pathlib import Path

@hookimpl
def regionkit_presets():
    return [str(Path(__file__).parent / "NAME_presets")]
"""

PARTS = "region_encoder: crop\nbridge: none\n"


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        pytest.param(
            f"backbone: mini-clip\n{PARTS}decoder: decap\n", "preset 'faulty' has no summary", id="no-summary"
        ),
        pytest.param(
            f"summary: Bad\nbackbone: mini-clop\n{PARTS}decoder: decap\n",
            "preset 'faulty': no backbone named 'mini-clop'",
            id="unknown-part",
        ),
    ],
)
def test_faulty_presets_are_caught(plugin, project, request, preset, words):
    name = "presets_" + request.node.callspec.id.replace("-", "_")
    plugin(name, init=PRESETS.replace("NAME", name))
    project({f"{name}_presets/faulty.yaml": f"version: 1\n{preset}"})
    assert sentences(name, "presets-plan") == [words]


COMMANDS = """
from regionkit.core.spec import CommandSpec

@hookimpl
def regionkit_commands():
    return [CommandSpec("NAME", "NAME_command:command", "Say hello")]
"""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param("command = 3", "is no click command but of type int", id="no-command"),
        pytest.param("import not_there", "cannot be loaded: ModuleNotFoundError", id="import"),
        pytest.param("import click\n@click.command()\ndef command():\n    pass\n", "calls itself 'command'", id="name"),
    ],
)
def test_faulty_commands_are_caught(plugin, project, request, code, words):
    name = "commanding_" + request.node.callspec.id.replace("-", "_")
    plugin(name, init=COMMANDS.replace("NAME", name))
    project({f"{name}_command.py": code})
    (found,) = sentences(name, "commands-explain-themselves")
    assert words in found


def test_options_of_the_caller_win_over_those_of_the_spec(plugin):
    name = plugin("chosen", spec='tiny="{scale: 2.0}"')
    spec = get_registry().find("region_encoder", "chosen-middle")
    assert subject_of(spec).component.config.scale == 2.0
    assert subject_of(spec, {"scale": 3.0}).component.config.scale == 3.0
    given = {
        case.options["scale"] for case in conformance_of(name, options={"chosen-middle": {"scale": 4.0}}) if case.spec
    }
    assert given == {4.0}


def test_a_component_that_cannot_be_built_says_what_to_declare(plugin):
    plugin("bare", default="")
    with pytest.raises(CannotBuild) as error:
        subject_of(get_registry().find("region_encoder", "bare-middle"))
    assert str(error.value) == (
        "the kit cannot build region_encoder 'bare-middle': the option 'scale' is missing: it has no default\n"
        "  declare options under which it is built in a moment, on a CPU and without its weights, in its spec: "
        'tiny="{OPTION: VALUE, ...}"'
    )
    skipped = []
    for case in conformance_of("bare"):
        if case.check.name == "shapes":
            with pytest.raises(Skip) as skip:
                case.run()
            skipped.append(str(skip.value))
    assert skipped == ["it could not be built; see the check 'builds'"]


def test_a_component_whose_package_is_missing_is_skipped(plugin):
    name = plugin("lacking", spec='requires=("not_there_at_all",)')
    for case in conformance_of(name):
        if case.check.name in ("builds", "shapes", "implements-its-contract"):
            with pytest.raises(Skip, match="it needs the package 'not_there_at_all', which is not installed"):
                case.run()


def test_parts_get_what_they_work_with():
    """Encoders a grid, bridges a corpus to fit to, recipes the parts that they train with."""
    registry = get_registry()
    encoder = subject_of(registry.find("region_encoder", "crop"))
    assert isinstance(encoder.backbone, GridBackbone)
    assert str(encoder.writes) == "grid/image[16]"
    bridges = [subject_of(spec) for spec in registry.specs("bridge") if "corpus" in spec.needs]
    assert bridges
    assert all(bridge.component.texts for bridge in bridges)
    backbone = subject_of(registry.find("backbone", "mini-clip"))
    assert backbone.writes.space == "mini-clip/image[128]"
    recipe = subject_of(registry.find("recipe", "mini-contrast"))
    assert type(recipe.component.backbone).__name__.startswith("Mini")


def test_weights_that_the_user_keeps_do_not_decide_a_check(monkeypatch, tmp_path):
    from regionkit.registry.conformance.subjects import _shipped
    from regionkit.registry.weights.index import get_index

    spec = get_registry().find("backbone", "mini-clip")
    shipped = _shipped(spec)
    (tmp_path / "own.safetensors").write_bytes(shipped.path.read_bytes())
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(tmp_path))
    get_index.cache_clear()
    try:
        assert len(get_index().find("backbone", "mini-clip")) == 2
        assert _shipped(spec).path == shipped.path
    finally:
        monkeypatch.undo()
        get_index.cache_clear()


def test_names_that_are_not_there_are_refused_with_what_is():
    with pytest.raises(UnknownName, match="no plugin or distribution named 'minni'\n  did you mean: mini"):
        conformance_of("minni")
    with pytest.raises(UnknownName, match="plugin 'mini' has no component named 'mini-clop'"):
        conformance_of("mini", components=["mini-clop"])


def test_a_quarantined_plugin_is_told_with_its_reason(project):
    project.plugin("shattered", "import not_there_at_all")
    with pytest.raises(RunFailed, match="plugin 'shattered' cannot be used: ModuleNotFoundError"):
        conformance_of("shattered")


def test_a_distribution_stands_for_all_its_plugins(plugin):
    plugin("together")
    assert {case.plugin for case in conformance_of("regionkit")} >= {"mini", "baselines", "patchioner"}
    assert {case.plugin for case in conformance_of("Together")} == {"together"}


def test_importing_what_is_not_there_is_one_sentence():
    (fault,) = light_import_faults(["regionkit.not_there"])
    assert fault == ("importing regionkit.not_there fails: ModuleNotFoundError: No module named 'regionkit.not_there'")
