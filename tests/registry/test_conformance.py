"""Everything that is registered in this repository keeps what its spec promises, by the kit that strangers use."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from regionkit.core.spec import KINDS
from regionkit.core.testing import Check, Skip
from regionkit.registry import get_registry
from regionkit.registry.cli import root
from regionkit.registry.conformance import conformance_of
from regionkit.registry.document import read_pipeline

REGISTRY = get_registry()
OURS = [spec for spec in REGISTRY.specs() if REGISTRY.owner(spec).distribution == "regionkit"]
PLUGINS = sorted(plugin for plugin, owner in REGISTRY.plugins.items() if owner.distribution == "regionkit")


def _marks(case):
    # A launcher that needs packages starts servers of its own, seconds for each check.
    runs = isinstance(case.check, Check) and case.spec is not None
    starts_servers = runs and case.spec.kind == "launcher" and case.spec.requires
    return [pytest.mark.gpu] * case.check.gpu + [pytest.mark.slow] * bool(starts_servers)


@pytest.fixture(scope="session")
def captions_file(tmp_path_factory):
    """Return a caption file of COCO's form and a text file: what corpora of files are checked with."""
    folder = tmp_path_factory.mktemp("captions")
    texts = ["a dog on the grass", "two cats", "a red car"]
    annotations = [{"id": index, "image_id": index, "caption": text} for index, text in enumerate(texts)]
    images = [{"id": index, "file_name": f"{index}.jpg"} for index in range(len(texts))]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    (folder / "captions.txt").write_text("\n".join(texts) + "\n")
    return folder


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.id, marks=_marks(case)) for plugin in PLUGINS for case in conformance_of(plugin)],
)
def test_every_component_conforms(case):
    try:
        case.run()
    except Skip as skip:
        pytest.skip(str(skip))


@pytest.mark.parametrize(
    ("name", "file"), [pytest.param("coco-captions", "captions.json"), pytest.param("text-lines", "captions.txt")]
)
def test_corpora_of_files_conform_once_they_have_one(name, file, captions_file):
    given = {name: {"file": str(captions_file / file)}}
    skipped = []
    for case in conformance_of("datasets", options=given, components=[name]):
        try:
            case.run()
        except Skip as skip:
            skipped.append((case.check.name, str(skip)))
    assert {check for check, _ in skipped} == {"ports-are-known", "released-files-are-options"}


#: Metrics of samples, or of programs, that the kit does not have: the tests that check them with their own.
CHECKED_ELSEWHERE = {
    "dense-map": "caption_metrics/test_dense_map.py",
    "vcr": "caption_metrics/test_vcr.py",
    "meteor": "caption_metrics/test_meteor.py",
    "spice": "caption_metrics/test_spice.py",
    "dlc-bench": "judges/test_judges_conform.py",
}
#: What reads a file of the user's that its options must name.
OF_FILES = {"text-lines", "jsonl", "webdataset", "recorded", "local"}


def test_every_component_is_built_by_the_kit():
    """A skipped check says nothing; only what reads files of the user's may be skipped as a whole."""
    left_out = []
    for spec in OURS:
        (case,) = [
            case
            for case in conformance_of(REGISTRY.owner(spec).plugin, components=[spec.name])
            if case.check.name == "builds" and case.spec == spec
        ]
        try:
            case.run()
        except Skip:
            left_out.append(spec.name)
    assert set(left_out) <= {*OF_FILES, *CHECKED_ELSEWHERE}
    for name in CHECKED_ELSEWHERE.values():
        own = Path(__file__).parents[1] / "plugins" / name
        assert "check_metric(" in own.read_text(), f"{own.name} must check what the kit leaves out"


def test_nothing_of_ours_is_quarantined():
    reasons = [f"{plugin.plugin}: {plugin.reason}" for plugin in REGISTRY.quarantined if not plugin.disabled]
    assert not reasons
    assert {"mini", "patchioner", "baselines", "training", "ablation", "caption_metrics"} <= set(REGISTRY.plugins)


def test_every_kind_is_there():
    assert {spec.kind for spec in OURS} == set(KINDS)


@pytest.mark.parametrize("name", sorted(REGISTRY.presets))
def test_preset_says_what_it_is(name):
    assert read_pipeline(name).data.get("summary")


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
