"""What docs/plugins.md says of decoders, trained weights, bridges from pairs and papers works as it stands there."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from regionkit.core.testing import Skip
from regionkit.registry import get_registry
from regionkit.registry.assembly import build
from regionkit.registry.conformance import conformance_of
from regionkit.registry.docstrings import attribute_docs
from regionkit.registry.weights.index import get_index

DOCS = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")


def blocks(heading, language="python"):
    section = DOCS.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def install(project, name, module, heading):
    """Install the plugin of a section: what it says of itself, and its code."""
    sources = blocks(heading)
    info = f"{name}-0.1.dist-info"
    return project(
        {
            f"{name}/__init__.py": sources[0],
            f"{name}/{module}.py": sources[1],
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n",
            f"{info}/entry_points.txt": f"[regionkit]\n{name} = {name}\n",
        }
    )


def faults(name):
    """Return what the kit finds in a plugin; that methods of a short example have no docstrings is none."""
    found = {}
    assert not [one for one in get_registry().quarantined if one.plugin == name]
    for case in conformance_of(name):
        try:
            case.run()
        except Skip:
            continue
        except AssertionError as error:
            found[case.id] = str(error)
    return found


@pytest.fixture
def picture(project):
    assert project.run("data", "make", "mini", "--limit", "1", "--out", "mini").exit_code == 0
    return str(next(iter(sorted((project.folder / "mini").rglob("*.png")))))


def caption(project, picture, *settings):
    flags = [word for setting in settings for word in ("--set", setting)]
    result = project.run("caption", picture, "--box", "8,8,60,60", "--device", "cpu", "--json", *flags)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_options_of_the_document():
    names: dict[str, object] = {}
    exec(blocks("Options")[0], names)
    config = names["MyRegionsConfig"]
    assert [field.name for field in dataclasses.fields(config)] == ["scale"]
    assert list(attribute_docs(config)) == ["scale"]
    with pytest.raises(ValueError, match=r"scale: 9.0 must be above 0 and at most 8.0"):
        config(scale=9.0)


def test_the_decoder_of_stored_sentences(project, picture):
    install(project, "my_recall", "decoder", "A decoder")
    assert faults("my_recall") == {}
    record = caption(project, picture, "decoder.name=recall", "decoder.bank=mini-captions")
    assert record["captions"][0]["caption"] in build("corpus", "mini-captions").texts()


def test_the_decoder_with_trained_weights(project, picture):
    install(project, "my_bag", "decoder", "A part with trained weights")
    assert faults("my_bag") == {}
    (recipe,) = blocks("A part with trained weights", "yaml")
    project({"bag.yaml": recipe})
    refused = project.run("caption", picture, "--set", "decoder.name=bag", "--set", "decoder.weights=none")
    assert refused.exit_code != 0
    assert "decoder 'bag' has no weights, and no corpus\n  train some: toolkit train bag.yaml" in refused.output
    trained = project.run("train", "bag.yaml", "--out", "my_bag/weights", "--steps", "150")
    assert trained.exit_code == 0, trained.output
    get_index.cache_clear()
    listed = json.loads(project.run("weights", "list", "--json").stdout)
    (file,) = [one for one in listed if one["name"] == "bag"]
    assert (file["space"], file["corruption"], file["corpus"]) == ("mini-dense/text[128]", "none", "mini-captions")
    words = caption(project, picture, "decoder.name=bag")["captions"][0]["caption"].split()
    assert words == sorted(words)
    assert faults("my_bag") == {}, "with its weights"


def test_the_bridge_from_pairs_and_its_paper(project, picture, monkeypatch):
    install(project, "my_linear", "bridge", "A bridge that learns from pairs")
    assert faults("my_linear") == {}
    cited = project.run("cite", "linear")
    assert cited.stdout.startswith("@inproceedings{doe2026linear,")
    project({"make_linear.py": blocks("A bridge that learns from pairs")[2]})
    exec(compile(Path("make_linear.py").read_text(), "make_linear.py", "exec"), {"__name__": "__main__"})
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(project.folder / "my_linear" / "weights"))
    get_index.cache_clear()
    record = caption(project, picture, "bridge.name=linear")
    assert record["provenance"]["bridge"]["weights"]
    assert record["captions"][0]["caption"]
