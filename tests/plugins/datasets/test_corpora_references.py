"""Corpora of other components: references of data sets, and several corpora together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from regionkit.core.contracts import Corpus
from regionkit.core.errors import ConfigError, DataError
from regionkit.registry.assembly import build
from regionkit.registry.plan import part_notes
from regionkit.registry.schema import fill

param = pytest.param
RECORDS = [
    {"image": "a.png", "box": [0, 0, 9, 9], "references": ["a  dog", "the dog"]},
    {"image": "a.png", "box": [0, 0, 9, 9], "references": ["a cat"], "split": "train"},
    {"image": "b.png", "whole": True, "references": ["a field"]},
    {"image": "b.png", "box": [1, 1, 9, 9]},
    {"image": "b.png", "box": [2, 1, 9, 9], "references": ["a dog"]},
    {"image": "b.png", "point": [2, 10]},
]
DATA = {"name": "jsonl", "file": "own.jsonl"}
NOTE = (
    "ground-truth memory: the bank holds the references of jsonl, task box, split test; scores on them are an upper "
    "bound"
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGIONKIT_DATA", raising=False)
    Path("own.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
    Path("more.txt").write_text("a bus\na dog\n")
    return tmp_path


def corpus(value: dict[str, Any]) -> Corpus:
    made = build("corpus", value)
    assert isinstance(made, Corpus)
    return made


def test_all_references_of_a_task_and_split() -> None:
    chosen = {"name": "references", "dataset": DATA, "task": "box"}
    assert list(corpus(chosen).texts()) == ["a dog", "the dog", "a dog"]
    assert list(corpus({**chosen, "split": "train"}).texts()) == ["a cat"]
    assert list(corpus({**chosen, "task": "image"}).stream()) == ["a field"]
    part = fill("corpus", chosen)
    assert part is not None
    assert part.config.corpus == "jsonl-box-test"
    assert part_notes(part) == [NOTE]
    assert part_notes(fill("corpus", {**chosen, "split": "train"})) == []


def test_several_corpora_follow_each_other() -> None:
    chosen = {
        "name": "joined",
        "first": {"name": "text-lines", "file": "more.txt"},
        "second": {"name": "references", "dataset": DATA, "task": "box"},
    }
    wanted = ["a bus", "a dog", "a dog", "the dog", "a dog"]
    assert list(corpus(chosen).texts()) == list(corpus(chosen).stream()) == wanted
    inner = {"name": "joined", "first": chosen, "second": chosen["first"], "third": chosen["second"]}
    assert list(corpus(inner).texts()) == [*wanted, "a bus", "a dog", "a dog", "the dog", "a dog"]
    assert part_notes(fill("corpus", chosen)) == [NOTE]
    assert part_notes(fill("corpus", inner)) == [NOTE]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        param(
            {"name": "references", "dataset": DATA, "task": "box", "split": "val"},
            DataError,
            "corpus 'references': there is no split 'val' of data set 'jsonl'\n  splits are: test, train",
            id="split",
        ),
        param(
            {"name": "references", "dataset": DATA, "task": "point"},
            DataError,
            "corpus 'references': task 'point', split 'test' of data set 'jsonl' has no references",
            id="task",
        ),
        param({"name": "references", "dataset": "nosuch", "task": "box"}, ConfigError, "no dataset named", id="data"),
        param({"name": "references", "dataset": "", "task": "box"}, ConfigError, "it names no data set", id="none"),
        param({"name": "joined", "first": "mini-captions"}, ConfigError, "'second' is missing", id="one"),
        param({"name": "joined", "first": "mini-captions", "second": ""}, ConfigError, "it names no corpus", id="no"),
    ],
)
def test_what_cannot_be_had(value: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        corpus(value).texts()
    assert message in str(caught.value)
