"""``--plan``: which stages there are, which are done, cached or run, and what they may cost."""

from __future__ import annotations

import json

import pytest
from ablation_fakes import write
from click.testing import CliRunner

from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.run_options import RunOptions
from regionkit.plugins.ablation.runner import running_order
from regionkit.plugins.ablation.trial_runner import TrialRunner
from regionkit.registry.cli import root

GRID = """
data: [box@t-colours, image@t-colours]
metrics: [noun-f1]
grid:
  backbone: [{name: t-grid, grid: 4}, {name: t-grid, grid: 8}]
  bridge: [t-shift, {name: t-shift, amount: 0.01}]
  decoder: [t-nearest, {name: t-nearest, slow: 0.0001}]
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "kept"))


def planned(path, *words: str) -> str:
    result = CliRunner().invoke(root, ["ablate", str(path), "--plan", "--out", str(path.parent / "out"), *words])
    assert result.exit_code == 0, result.output
    return result.output


def states(found: dict, stage: str) -> list[str]:
    def walk(node: dict):
        if node["stage"] == stage:
            yield from (run["state"] for run in node["runs"])
        for below in node["below"]:
            yield from walk(below)

    return [state for root in found["stages"]["tree"] for state in walk(root)]


def test_shared_stages_count_once(tmp_path):
    found = json.loads(planned(write(tmp_path, GRID), "--json"))
    assert len(found["trials"]) == 16
    # 2 backbones on the pictures of both tasks; 2 encoders, 4 bridges and 8 decoders on each of 2 tasks.
    assert found["stages"]["stages"] == 2 + 2 * (2 + 4 + 8)
    assert found["stages"]["stages_unshared"] == 4 * 16
    assert found["stages"]["to_run"] == found["stages"]["stages"]
    assert found["stages"]["seconds"] > 0
    assert not found["stages"]["measured"]
    (run, *_) = found["stages"]["tree"][0]["runs"]
    assert (run["units"], run["data"]) == (6, "")
    (run, *_) = found["stages"]["tree"][0]["below"][0]["runs"]
    assert (run["units"], run["data"], len(run["trials"])) == (24, "box@t-colours", 4)


def test_the_text_shows_the_tree_and_what_it_comes_to(tmp_path):
    text = planned(write(tmp_path, GRID))
    lines = [line.rstrip() for line in text.splitlines()]
    at = lines.index("Stages, each under the one that it reads from:")
    assert lines[at + 1].split("  ")[0] == "backbone t-grid(grid=4)"
    assert lines[at + 2].startswith("  region_encoder t-pool")
    assert lines[at + 4].startswith("      decoder t-nearest")
    assert "30 stages instead of 64 without sharing: 30 to run" in text
    assert "guessed from the size of weights: none of these parts has run here yet" in text


def test_what_is_cached_and_what_nothing_asks_for_is_told(tmp_path):
    first = plan_ablation(write(tmp_path, GRID))
    runner = TrialRunner(first, RunOptions(device="cpu", cache=tmp_path / "kept" / "stages"))
    for trial in running_order(first.trials):
        runner.run(trial)
    runner.close()
    more = GRID.replace("slow: 0.0001}]", "slow: 0.0001}, {name: t-nearest, slow: 0.0002}]")
    found = json.loads(planned(write(tmp_path, more), "--json"))
    assert set(states(found, "backbone")) == {"not needed"}
    assert set(states(found, "region_encoder")) == {"cached"}
    assert set(states(found, "bridge")) == {"cached"}
    assert set(states(found, "decoder")) == {"runs"}
    assert found["stages"]["measured"] is True
    assert "measured here before" in planned(write(tmp_path, GRID))
    assert "~" not in planned(write(tmp_path, GRID)).partition("Stages,")[2]


def test_a_run_without_a_cache_plans_to_write_nothing(tmp_path):
    path = write(tmp_path, GRID)
    assert "cache: at most about" in planned(path)
    assert "cache: off" in planned(path, "--no-cache")


def test_what_rounding_changed_is_printed(tmp_path):
    words = ["ablate", str(write(tmp_path, GRID)), "--out", str(tmp_path / "out"), "--set", "cache_precision=float16"]
    result = CliRunner().invoke(root, words)
    assert result.exit_code == 0, result.output
    said = "16 trials: cache in float16: 0 of 24 captions of the first 6 pictures differ from those of float32"
    assert said in result.output


def test_finished_trials_are_done_in_the_tree(tmp_path):
    path = write(tmp_path, GRID)
    result = CliRunner().invoke(root, ["ablate", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    found = json.loads(planned(path, "--json"))
    assert {state for kind in ("backbone", "bridge", "decoder") for state in states(found, kind)} == {"done"}
    assert found["stages"]["to_run"] == 0


def test_a_large_tree_is_told_in_numbers(tmp_path):
    slow = ", ".join(f"{{name: t-nearest, slow: {number / 1e6}}}" for number in range(1, 41))
    text = planned(write(tmp_path, GRID.replace("decoder: [", f"decoder: [{slow}, ")))
    assert "2 backbones" in text
    assert "168 decoders" in text


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[1, 2]", id="no mapping"),
        pytest.param(b'{"costs": {"a": [1]}}', id="odd"),
    ],
)
def test_a_damaged_file_of_costs_only_makes_guesses(tmp_path, content):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "stage-costs.json").write_bytes(content)
    assert "guessed from the size of weights" in planned(write(tmp_path, GRID))
