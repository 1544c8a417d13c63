from __future__ import annotations

import sys

import pytest

from regionkit.core.errors import RunFailed
from regionkit.registry import get_registry, validate
from regionkit.registry.document import read_document
from regionkit.registry.validation import check_file


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        pytest.param("base: toy\n", "pipeline: toy-a > toy-pool > toy-none > toy-fixed", id="pipeline"),
        pytest.param(
            "summary: of a test\nextends: toy\nbridge: none\n",
            "pipeline: toy-a > toy-pool > none > toy-fixed, unbridged",
            id="unbridged",
        ),
        pytest.param("left: toy\nright: {base: toy, bridge: toy-any}\n", "mix: toy-none + toy-any", id="of-a-command"),
    ],
)
def test_good_files_say_what_they_hold(toy, problems_of, text, summary):
    assert problems_of(text) == ""
    assert check_file("x.yaml").summary == summary


def test_a_file_is_checked_by_the_command_that_reads_it(toy, problems_of):
    assert problems_of("base: toy\n") == ""
    assert "toy_plugin.commands" not in sys.modules  # imported for its own files alone
    # Every mistake once, in the order of the lines.
    assert problems_of("left: toy\nmiddle: 1\nend: 2\n").splitlines() == [
        "x.yaml:2: middle: not in a mix",
        "x.yaml:3: end: not in a mix",
    ]


def test_what_a_check_refuses_without_a_line_is_a_mistake_of_the_file(toy, problems_of):
    assert problems_of("left: toy\nbug: 1\n") == "x.yaml:1: the files of this mix are gone\n  make them again"


def test_a_check_that_cannot_be_imported_is_no_mistake_of_the_file(toy):
    toy({"x.yaml": "broken: 1\n"})
    with pytest.raises(RunFailed, match="command 'toy-broken' cannot be loaded: ModuleNotFoundError") as caught:
        validate("x.yaml")
    assert "it comes with plugin toy (toys 1.2)" in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "command"),
    [
        pytest.param([], None, id="none"),
        pytest.param(["backbone", "bridge", "sead"], None, id="pipeline"),
        pytest.param(["summary", "left"], "toy-mix", id="one"),
        pytest.param(["broken", "left", "right"], "toy-mix", id="most"),
        pytest.param(["broken", "left"], "toy-broken", id="first"),
        pytest.param(["base", "grid"], "ablate", id="ablation"),
        pytest.param(["recipe", "seeds", "corpus"], "train", id="recipe"),
    ],
)
def test_keys_tell_whose_file_it_is(toy, keys, command):
    reader = get_registry().reader(keys)
    assert (reader.name if reader else None) == command


def test_pipelines_inside_a_file_are_composed_where_they_stand(toy):
    toy({"x.yaml": "base: toy\nleft: toy\nright: {base: toy, bridge: toy-any}\n"})
    document = read_document("x.yaml", ["left.bridge=toy-bank"])
    # `base` is none of this command's pipelines, so it lies below the file as everywhere else.
    assert document.data["backbone"] == {"name": "toy-a"}
    assert document.data["left"]["bridge"] == "toy-bank"
    assert (document.data["right"]["bridge"], document.data["right"]["decoder"]) == ("toy-any", "toy-fixed")
    assert document.line("right.bridge") == "x.yaml:3"
    assert document.line("right.decoder").endswith("presets/toy.yaml:6")


def test_without_the_plugin_its_files_are_no_longer_known(toy, problems_of, monkeypatch):
    monkeypatch.setenv("REGIONKIT_DISABLE", "ablation")
    assert "x.yaml:2: data: unknown key" in problems_of("base: toy\ndata: [box@toy-data]\n")


def test_validate_from_python(toy):
    toy({"x.yaml": "base: toy\nbridge: x\n"})
    (problem,) = validate("x.yaml")
    assert (problem.where, problem.path) == ("x.yaml:2", "bridge")
    assert validate("x.yaml", overrides=["bridge=none"]) == []
    assert "there is no such file" in str(validate("y.yaml")[0])
