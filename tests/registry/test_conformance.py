"""Everything that is registered in this repository keeps what its spec promises."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys

import pytest

from regionkit.core.spec import KINDS, Space
from regionkit.registry import get_registry
from regionkit.registry.assembly import component_class
from regionkit.registry.cli import root
from regionkit.registry.document import read_pipeline
from regionkit.registry.packages import missing_package
from regionkit.registry.ports import ends
from regionkit.registry.schema import config_class, fill_options, nowhere, options, takes

REGISTRY = get_registry()
OURS = [spec for spec in REGISTRY.specs() if REGISTRY.owner(spec).distribution == "regionkit"]


def each_spec():
    return pytest.mark.parametrize("spec", [pytest.param(spec, id=f"{spec.kind}-{spec.name}") for spec in OURS])


def test_nothing_of_ours_is_quarantined():
    reasons = [f"{plugin.plugin}: {plugin.reason}" for plugin in REGISTRY.quarantined if not plugin.disabled]
    assert not reasons
    assert {"mini", "patchioner", "baselines", "training", "ablation", "caption_metrics"} <= set(REGISTRY.plugins)


def test_every_kind_is_there():
    assert {spec.kind for spec in OURS} == set(KINDS)


@each_spec()
def test_spec_is_complete(spec):
    assert spec.summary
    assert not spec.summary.endswith(".")
    assert len(spec.summary) <= 100
    assert spec.license
    assert not spec.paper or spec.paper in REGISTRY.papers
    assert takes(spec)


@each_spec()
def test_config_is_a_frozen_documented_dataclass(spec):
    cls = config_class(spec)
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    assert [option.name for option in options(spec) if not option.doc] == []
    problems = []
    part = fill_options(spec, {}, nowhere, spec.kind, problems)
    if part is None:  # the only reason not to be filled by defaults is an option without one
        assert all("it has no default" in problem.message for problem in problems)
        return
    again = fill_options(spec, {k: v for k, v in part.to_dict().items() if k != "name"}, nowhere, spec.kind, [])
    assert again is not None
    assert again.config == part.config
    assert json.loads(json.dumps(part.to_dict())) == part.to_dict()


@each_spec()
def test_target_implements_its_contract(spec):
    if missing_package(spec):
        pytest.skip(f"needs {missing_package(spec)}")
    cls = component_class(spec)
    assert not inspect.isabstract(cls), sorted(cls.__abstractmethods__)
    assert cls.__doc__


@pytest.mark.parametrize(
    "spec", [pytest.param(spec, id=spec.name) for spec in OURS if spec.kind in ("backbone", "region_encoder", "bridge")]
)
def test_ports_are_there(spec):
    part = fill_options(spec, {}, nowhere, spec.kind, [])
    assert part is not None
    assert ends(part).writes is not None
    if spec.kind == "backbone":
        assert Space.parse(ends(part).writes.space)


@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in OURS if spec.kind == "region_encoder"])
def test_region_encoder_accepts_what_its_spec_says(spec):
    if missing_package(spec):
        pytest.skip(f"needs {missing_package(spec)}")
    assert spec.accepts == component_class(spec).accepts


def test_config_and_port_modules_import_neither_torch_nor_numpy():
    modules = {text.partition(":")[0] for spec in OURS for text in (spec.config, spec.ports) if text}
    code = (
        "import sys, importlib\n"
        f"for name in {sorted(modules)!r}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'numpy', 'transformers', 'timm', 'PIL'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", sorted(REGISTRY.presets))
def test_preset_is_a_good_pipeline(name):
    from regionkit.registry.plan import plan_pipeline

    document = read_pipeline(name)
    assert plan_pipeline(document.data, document.line)
    assert document.data.get("summary")


@pytest.mark.parametrize("name", sorted(REGISTRY.commands))
def test_command_is_importable_and_explains_itself(name):
    import click

    command = root.get_command(click.Context(root), name)
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.help
    with click.Context(command, info_name=name) as context:
        assert "Usage:" in command.get_help(context)


@pytest.mark.parametrize("command", [pytest.param(c, id=c.name) for c in REGISTRY.commands.values() if c.check])
def test_check_of_a_commands_files_is_importable(command):
    check = REGISTRY.import_for(command, command.check)
    assert list(inspect.signature(check).parameters) == ["document"]
    assert "document: Document" in str(inspect.signature(check)).replace("'", "")


@pytest.mark.parametrize("key", sorted(REGISTRY.papers))
def test_bibtex_is_closed(key):
    text = REGISTRY.papers[key].bibtex.strip()
    assert text.count("{") == text.count("}")
    assert text.endswith("}")
    assert all(field in text for field in ("title", "year"))
