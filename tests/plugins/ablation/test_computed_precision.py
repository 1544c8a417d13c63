"""A precision in which models compute: part of what a trial is, and compared with float32 on a few pictures."""

from __future__ import annotations

import json

import ablation_fakes
import pytest
from test_stage_tree import ONE, captions, run, write

from regionkit.core.errors import ConfigError
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.rerun import _settings
from regionkit.plugins.ablation.stage_keys import Place, StageKeys

LOWER = ONE + "precision: bfloat16\n"


def only(results):
    (found,) = results.values()
    return found


def test_it_is_another_trial_with_other_keys_of_all_stages(tmp_path):
    exact, lower = (plan_ablation(write(tmp_path, text)).trials[0] for text in (ONE, LOWER))
    assert exact.id != lower.id
    assert lower.config["precision"] == "bfloat16"
    assert "precision" not in exact.config
    places = [Place("cpu"), Place("cpu", computed="bfloat16"), Place("cpu", products="onednn")]
    keys = [set(list(StageKeys(place).of_trial(exact).values())[:4]) for place in places]
    assert not keys[0] & keys[1]
    assert not keys[0] & keys[2]
    assert Place.of("cuda", "float32", "float32", onednn=True) == Place("cuda")


def test_a_trial_says_what_bfloat16_changes(tmp_path):
    found = only(run(tmp_path, LOWER)[1])
    assert found.notes[-2:] == (
        "bfloat16: 0 of 24 captions of the first 6 pictures differ from those of float32",
        "bfloat16 against float32, on these 24 samples: noun-f1 +0.0000",
    )
    assert "computed" not in json.dumps(only(run(tmp_path, ONE)[1]).notes)


def test_captions_that_differ_are_counted_and_metrics_move(tmp_path, monkeypatch):
    inner = ablation_fakes.Nearest.generate

    def generate(self, inputs, *args, **kwargs):
        found = inner(self, inputs, *args, **kwargs)
        return [type(one)("nothing at all", one.score) for one in found] if self.lower else found

    monkeypatch.setattr(ablation_fakes.Nearest, "generate", generate)
    monkeypatch.setattr(ablation_fakes.Nearest, "lower", False, raising=False)

    def mark(component, precision):
        if precision != "float32" and isinstance(component, ablation_fakes.Nearest):
            component.lower = True

    monkeypatch.setattr("regionkit.plugins.ablation.models.in_precision", mark)
    found = only(run(tmp_path, LOWER)[1])
    count = len(found.samples)
    assert (
        found.notes[-2] == f"bfloat16: {count} of {count} captions of the first 6 pictures differ from those of float32"
    )
    assert found.notes[-1].startswith(f"bfloat16 against float32, on these {count} samples: noun-f1 -")


def test_recorded_trials_run_again_in_their_precision(tmp_path):
    assert _settings(only(run(tmp_path, LOWER)[1])).computed == "bfloat16"
    assert _settings(only(run(tmp_path, ONE)[1])).computed == "float32"


def test_captions_of_fakes_are_those_of_float32(tmp_path):
    assert sorted(captions(run(tmp_path, LOWER)[1]).values()) == sorted(captions(run(tmp_path, ONE)[1]).values())


def test_float16_is_told_apart_from_what_a_cache_keeps(tmp_path):
    with pytest.raises(ConfigError) as caught:
        plan_ablation(write(tmp_path, ONE + "precision: float16\n"))
    assert "precision: 'float16' is unknown" in str(caught.value)
    assert "float16 is what a cache may keep (cache_precision), and nothing computes in it" in str(caught.value)
