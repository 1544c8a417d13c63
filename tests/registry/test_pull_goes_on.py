"""``toolkit weights pull`` goes on where a file cannot be fetched, and where a pipeline brings its own repository."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import weight_toys
from hub_server import Hub, hub_of_this_machine
from safetensors.torch import save

TOWER = save({"conv.weight": torch.arange(12.0).reshape(3, 4), "norm.bias": torch.ones(4)})
#: The toys' released parts, and a bridge that lies in another repository.
PIPELINE = (
    "version: 1\nbackbone: {name: tower}\nregion_encoder: toy-pool\nbridge: {name: words}\ndecoder: {name: words}\n"
)
HINTS = [
    "  check the name and the network; for a repository with conditions accept them and set HF_TOKEN",
    "  or download it by hand and name it with --weights file:DIR",
]


def checkpoint() -> bytes:
    buffer = io.BytesIO()
    torch.save({"head.weight": torch.ones(2, 4)}, buffer)
    return buffer.getvalue()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_of_this_machine(monkeypatch, tmp_path / "hub") as server:
        server.repositories["toys/tower"] = {"model.safetensors": TOWER, "merges.txt": b"a b\n"}
        server.repositories["toys/bridge"] = {"bridge.pt": checkpoint()}
        yield server


@pytest.fixture
def released(toy, hub, monkeypatch):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", "mine")
    project = weight_toys.install(toy)
    project({"pipeline.yaml": PIPELINE})
    return project


def by_hand(project) -> None:
    folder = project.folder / "mine" / "decoder"
    folder.mkdir(parents=True)
    (folder / "words-009.pt").write_bytes(checkpoint())


def lines(result) -> list[str]:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.stderr[result.stderr.index("error: ") :].rstrip("\n").splitlines()


def test_a_repository_that_is_not_there_keeps_no_other_back(released, hub):
    by_hand(released)
    del hub.repositories["toys/tower"]
    result = released.run("weights", "pull", "pipeline.yaml", "--yes")
    assert "fetched hub://toys/bridge/bridge.pt: " in result.stdout
    said = lines(result)
    assert said[0] == "error: 2 things could not be fetched"
    assert said[1].startswith("  hub://toys/tower cannot be fetched: RepositoryNotFoundError: ")
    assert said[2].startswith("  hub://toys/tower/merges.txt cannot be fetched: RepositoryNotFoundError: ")
    assert said[3:] == HINTS
    hub.repositories["toys/tower"] = {"model.safetensors": TOWER, "merges.txt": b"a b\n"}
    again = released.run("weights", "pull", "pipeline.yaml", "--yes")
    assert again.exit_code == 0, again.output
    assert again.stdout.count("fetched ") == 2  # the bridge was here already


def test_a_file_that_breaks_off_keeps_no_other_back(released, hub):
    by_hand(released)
    hub.lies["model.safetensors"] = bytes(len(TOWER))
    result = released.run("weights", "pull", "pipeline.yaml", "--yes")
    fetched = [line.split(": ")[0] for line in result.stdout.splitlines() if line.startswith("fetched")]
    assert fetched == ["fetched hub://toys/tower/merges.txt", "fetched hub://toys/bridge/bridge.pt"]
    said = lines(result)
    assert said[0].startswith("error: hub://toys/tower/model.safetensors: the file ")
    assert said[0].endswith("has another hash than was asked for")


def test_what_is_to_be_had_by_hand_is_told_beside_what_failed(released, hub):
    hub.repositories.clear()
    said = lines(released.run("weights", "pull", "pipeline.yaml", "--yes"))
    assert said[0] == "error: 3 things could not be fetched, and 1 thing is missing"
    assert [line.split()[0] for line in said[1:4]] == [
        "hub://toys/tower",
        "hub://toys/tower/merges.txt",
        "hub://toys/bridge/bridge.pt",
    ]
    assert said[4:6] == HINTS
    assert said[6].startswith("  decoder words, model: download words-*.pt from https://toys.example/words and put it")


def test_nobody_is_asked_and_what_failed_is_told(released, hub):
    del hub.repositories["toys/bridge"]
    said = lines(released.run("weights", "pull", "pipeline.yaml"))
    assert said[0] == "error: nothing was fetched: 3 files, 0.0 MB, are to be, and nobody can be asked"
    assert said[1] == "  add --yes"
    assert said[2].startswith("  hub://toys/bridge/bridge.pt cannot be fetched: ")


def test_json_tells_for_each_file_why_it_could_not_be_fetched(released, hub):
    by_hand(released)
    del hub.repositories["toys/bridge"]
    result = released.run("weights", "pull", "pipeline.yaml", "--yes", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["missing"] == 1
    told = {(row["part"], row["role"]): (row["status"], row["error"]) for row in report["files"]}
    assert told["backbone tower", "vision"] == ("fetched", "")
    assert told["backbone tower", "merges"] == ("fetched", "")
    status, error = told["bridge words", "model"]
    assert status == "to fetch"
    assert error.startswith("hub://toys/bridge/bridge.pt cannot be fetched: RepositoryNotFoundError: ")


# ---------------------------------------------------------------- a pipeline with a repository of its own


def whole(project, hub: Hub) -> None:
    """Publish the backbone's files in the pipeline's own repository; of the rest one is on the hub, one by hand."""
    hub.repositories["mine/all"] = {"backbone/tower.safetensors": TOWER, "merges.txt": b"a b\n"}
    hub.repositories["toys/bridge"] = {"bridge.pt": checkpoint()}
    by_hand(project)
    project({"pipeline.yaml": f"weights: hub://mine/all@main\n{PIPELINE}"})


@pytest.mark.parametrize("out", [pytest.param((), id="cache"), pytest.param(("--out", "mine"), id="folder")])
def test_what_the_repository_of_a_pipeline_brings_is_not_asked_of_the_releases(released, hub, out):
    whole(released, hub)
    del hub.repositories["toys/tower"]
    result = released.run("weights", "pull", "pipeline.yaml", "--yes", *out)
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["pipeline", "weights"] in [row[2:4] for row in rows if row[:2] == ["to", "fetch"]]
    assert ["here", "backbone", "tower", "vision"] in [row[:4] for row in rows]
    assert ["here", "backbone", "tower", "merges"] in [row[:4] for row in rows]
    assert "fetched hub://toys/bridge/bridge.pt: " in result.stdout
    assert not [request for request in hub.requests if "toys/tower" in request]


def test_a_repository_of_a_pipeline_that_cannot_be_fetched_is_the_one_thing_that_is_told(released, hub):
    whole(released, hub)
    del hub.repositories["mine/all"]
    said = lines(released.run("weights", "pull", "pipeline.yaml", "--yes"))
    assert said[0].startswith("error: hub://mine/all@main cannot be fetched: RepositoryNotFoundError: ")
    assert said[1:] == HINTS


def test_one_json_object_tells_of_the_repository_and_of_the_rest(released, hub):
    whole(released, hub)
    result = released.run("weights", "pull", "pipeline.yaml", "--yes", "--json")
    assert result.exit_code == 0, result.output
    rows = {(row["part"], row["role"]): row["status"] for row in json.loads(result.stdout)["files"]}
    assert rows == {
        ("pipeline", "weights"): "fetched",
        ("backbone tower", "vision"): "here",
        ("backbone tower", "merges"): "here",
        ("bridge words", "model"): "fetched",
        ("decoder words", "model"): "here",
        ("decoder words", "config"): "optional",
    }


def test_what_is_made_here_is_told_behind_the_repository_of_a_pipeline(released, hub):
    whole(released, hub)
    named = PIPELINE.replace("decoder: {name: words}", "decoder: {name: words, weights: of-nobody}")
    released({"pipeline.yaml": f"weights: hub://mine/all@main\n{named}"})
    result = released.run("weights", "pull", "pipeline.yaml", "--yes")
    assert lines(result) == [
        "error: 1 thing is missing",
        "  decoder words, weights 'of-nobody': not released, made with toolkit train FILE",
        "  which recipe that is: toolkit run pipeline.yaml --dry-run",
    ]
    assert "fetched hub://mine/all@main: " in result.stdout
    assert "decoder words" not in result.stdout


def test_offline_lists_the_repository_and_all_that_would_be_needed(released, hub):
    whole(released, hub)
    said = lines(released.run("weights", "pull", "pipeline.yaml", "--yes", "--offline"))
    assert said[0] == "error: 4 things are missing, and --offline fetches nothing"
    assert said[1] == "  pipeline, weights: hub://mine/all@main"
    assert hub.requests == []
