"""A part that breaks its contract, or raises what nobody foresaw, costs what it touched and nothing else."""

from __future__ import annotations

import ablation_fakes
import pytest
import torch
from ablation_fakes import BASE, write
from test_ablation_run import Silent, call

from regionkit.core.errors import FeatureError, RunFailed
from regionkit.core.features import Caption, RegionTokens
from regionkit.core.results import DATABASE, ResultStore
from regionkit.plugins.ablation import commands, run_command
from regionkit.plugins.ablation.planning import plan_ablation
from regionkit.plugins.ablation.run_options import RunOptions
from regionkit.plugins.ablation.runner import Runner

#: One trial; then two each, one with the part that a test breaks and one without it.
ONE = "data: [box@t-colours]\nmetrics: [noun-f1]\nlimit: 2\n"
DECODERS = ONE + "grid: {decoder: [t-nearest, {name: t-nearest, slow: 0.000001}]}\n"
BRIDGES = ONE + "grid: {bridge: [t-shift, {name: t-shift, amount: 0.1}]}\n"
ENCODERS = ONE + "grid: {region_encoder: [t-pool, t-global]}\n"
LENGTHS = "data: [box@t-colours]\nmetrics: [noun-f1, t-lengths]\n"
OWNER = "of plugin ablation_fakes (tests 0)"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Stages of other tests are no outputs of the broken parts of these."""
    monkeypatch.setenv("REGIONKIT_CACHE", str(tmp_path / "cache"))


def ablate(tmp_path, text, *more):
    """Run an ablation and return what its trials came to, by the name of the first axis."""
    out = tmp_path / "out"
    result = call(commands.ablate, write(tmp_path, text), "--out", out, "--no-cache", *more)
    with ResultStore(out / DATABASE, read_only=True) as store:
        return result, [store.recorded(row.id) for row in store.trials()]


def break_one(monkeypatch, kind, method, change, marked):
    """Change what a method of a part gives where its options are marked; the other trial has the part as it is."""
    plain = getattr(kind, method)

    def changed(self, *args, **more):
        found = plain(self, *args, **more)
        return change(found) if marked(self.config) else found

    monkeypatch.setattr(kind, method, changed)


CAPTIONS = [
    pytest.param(lambda found: [one.text for one in found], "generate() gave a str where a Caption", id="strings"),
    pytest.param(lambda found: found[1:], "generate() gave 7 captions for 8 regions", id="few"),
    pytest.param(lambda found: None, "generate() gave None, and the contract wants a list of Caption", id="none"),
    pytest.param(lambda found: [Caption(None, float("nan"))] * 8, "gave a Caption whose text is None", id="no-text"),
    pytest.param(lambda found: [Caption("a", float("nan"))] * 8, "gave a Caption whose score is nan", id="nan"),
]


@pytest.mark.parametrize(("change", "message"), CAPTIONS)
def test_a_decoder_that_gives_no_captions_fails_its_own_trial_and_no_other(tmp_path, monkeypatch, change, message):
    break_one(monkeypatch, ablation_fakes.Nearest, "generate", change, lambda config: config.slow)
    for again in (False, True):
        result, trials = ablate(tmp_path, DECODERS)
        assert result.exit_code == 1
        assert sorted(trial.status for trial in trials) == ["done", "failed"]
        (failed,) = (trial for trial in trials if trial.status == "failed")
        assert f"decoder 't-nearest' {OWNER}: " in failed.reason
        assert message in failed.reason
        assert ("1 trial ran, 1 were done before" in result.output) == again


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda found: found.tokens, "bridge() gave a Tensor, and the contract wants Regio", id="tensor"),
        pytest.param(lambda found: None, "bridge() gave None, and the contract wants RegionTokens", id="none"),
        pytest.param(
            lambda found: RegionTokens(found.tokens, found.mask, "else[16]"),
            "bridge() labelled its tokens else[16], and its spec says that it writes grid/text[16]",
            id="label",
        ),
        pytest.param(
            lambda found: RegionTokens(found.tokens[..., :8], found.mask, found.space),
            "bridge() gave vectors of width 8 and says that they are grid/text[16]",
            id="width",
        ),
    ],
)
def test_a_bridge_that_gives_no_tokens_is_named(tmp_path, monkeypatch, change, message):
    break_one(monkeypatch, ablation_fakes.Shift, "bridge", change, lambda config: config.amount)
    _, trials = ablate(tmp_path, BRIDGES)
    (failed,) = (trial for trial in trials if trial.status == "failed")
    assert failed.reason.startswith(f"bridge 't-shift' {OWNER}: {message}")
    assert len(trials) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda found: found.tokens[:, 0], "encode() gave a Tensor, and the contract", id="tensor"),
        pytest.param(
            lambda found: RegionTokens(found.tokens, found.mask, "else[16]"),
            "encode() labelled its tokens else[16], and its spec says that it writes grid/image[16]",
            id="label",
        ),
    ],
)
def test_a_region_encoder_is_named_and_not_the_bridge_behind_it(tmp_path, monkeypatch, change, message):
    break_one(monkeypatch, ablation_fakes.Pool, "encode", change, lambda config: True)
    _, trials = ablate(tmp_path, ENCODERS)
    (failed,) = (trial for trial in trials if trial.status == "failed")
    assert failed.reason.startswith(f"region encoder 't-pool' {OWNER}: {message}")
    assert len(trials) == 2


def test_a_metric_that_gives_no_score_is_named_and_the_others_stand(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation_fakes.Lengths, "compute", lambda self: 0.5)
    _, (trial,) = ablate(tmp_path, LENGTHS)
    assert trial.status == "failed"
    assert trial.reason.startswith(
        f"metric 't-lengths' {OWNER}: compute() gave a float, and the contract wants a Score"
    )


def test_a_metric_that_raises_is_named(tmp_path, monkeypatch):
    def crash(self, samples, captions):
        raise ZeroDivisionError("no length")

    monkeypatch.setattr(ablation_fakes.Lengths, "update_from", crash)
    _, (trial,) = ablate(tmp_path, LENGTHS)
    assert trial.reason.startswith(
        f"metric 't-lengths' {OWNER}: ZeroDivisionError: no length (test_parts_at_fault.py, "
    )


def test_a_metric_that_cannot_be_prepared_costs_no_trial(tmp_path, monkeypatch):
    def crash(self):
        raise ZeroDivisionError("nothing to prepare")

    monkeypatch.setattr(ablation_fakes.Lengths, "prepare", crash)
    result, (trial,) = ablate(tmp_path, "data: [box@t-colours]\nmetrics: [t-lengths]\n")
    assert trial.status == "done"
    assert "metric 't-lengths' could not be prepared: metric 't-lengths' of plugin" in " ".join(result.output.split())


def test_rows_that_cannot_be_made_fail_their_trial_and_end_no_run(tmp_path, monkeypatch):
    monkeypatch.setattr("regionkit.plugins.ablation.trial_runner.area_of", lambda region: 1 / 0)
    result, trials = ablate(tmp_path, DECODERS)
    assert [trial.status for trial in trials] == ["failed", "failed"]
    assert "ZeroDivisionError: division by zero" in trials[0].reason
    assert "2 trials ran" in result.output


def crash_at(monkeypatch, kind, method, which, error=ZeroDivisionError):
    """Let a part raise for regions of which ``which`` says so; inputs come behind ``self``."""
    plain = getattr(kind, method)

    def crashing(self, *args, **more):
        if which(*args):
            raise error("a fault")
        return plain(self, *args, **more)

    monkeypatch.setattr(kind, method, crashing)


FAULTS = [
    pytest.param("Pool", "encode", lambda scene, regions: _left_top(regions), "region encoder 't-pool'", id="encoder"),
    pytest.param("Shift", "bridge", lambda tokens: _dark(tokens), "bridge 't-shift'", id="bridge"),
    pytest.param("Nearest", "generate", lambda tokens, *_: _dark(tokens), "decoder 't-nearest'", id="decoder"),
]


def _left_top(regions):
    return any(region.x1 < 20 and region.y1 < 20 for region in regions.items)


def _dark(tokens):
    """Whether the tokens are of the black corner among others."""
    return bool((tokens.tokens[:, 0, :3].sum(-1) < -1.2).any())


@pytest.mark.parametrize(("kind", "method", "which", "part"), FAULTS)
def test_what_nobody_foresaw_costs_the_sample_at_which_it_was_raised(tmp_path, monkeypatch, kind, method, which, part):
    crash_at(monkeypatch, getattr(ablation_fakes, kind), method, which)
    result, (trial,) = ablate(tmp_path, ONE)
    assert trial.status == "done"
    assert result.exit_code == 1
    with ResultStore(tmp_path / "out" / DATABASE, read_only=True) as store:
        rows = store.captions(trial.id)
    lost = [row for row in rows if row.caption is None]
    assert 0 < len(lost) < len(rows) == 8
    for row in lost:
        assert row.error.startswith(f"{part} {OWNER}: ZeroDivisionError: a fault (test_parts_at_fault.py, line ")
        assert row.error.endswith("; a fault of the code: see it whole with --on-error stop")


def test_a_picture_that_a_data_set_cannot_load_costs_its_own_samples(tmp_path, monkeypatch):
    crash_at(monkeypatch, ablation_fakes.Colours, "image", lambda image: image.endswith("/1"), OSError)
    _, (trial,) = ablate(tmp_path, ONE)
    with ResultStore(tmp_path / "out" / DATABASE, read_only=True) as store:
        rows = store.captions(trial.id)
    assert [row.caption is None for row in rows] == [False] * 4 + [True] * 4
    assert rows[4].error.startswith(f"dataset 't-colours' {OWNER}: OSError: a fault (test_parts_at_fault.py, line ")


def test_a_picture_that_is_none_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation_fakes.Colours, "image", lambda self, image: None)
    _, (trial,) = ablate(tmp_path, ONE)
    assert trial.reason.startswith(
        f"no sample could be captioned; the first: dataset 't-colours' {OWNER}: image('test/0/0') gave None"
    )


def test_a_trial_whose_samples_all_fail_has_failed_with_the_reason(tmp_path, monkeypatch):
    crash_at(monkeypatch, ablation_fakes.Pool, "encode", lambda *_: True, KeyError)
    _, (trial,) = ablate(tmp_path, ONE)
    assert trial.status == "failed"
    told = f"no sample could be captioned; the first: region encoder 't-pool' {OWNER}: KeyError: 'a fault' (test_parts"
    assert trial.reason.startswith(told)


def test_what_fails_together_and_never_alone_is_noted(tmp_path, monkeypatch):
    for kind, method in (("Pool", "encode"), ("Shift", "bridge")):
        with monkeypatch.context() as patch:
            crash_at(patch, getattr(ablation_fakes, kind), method, lambda *given: len(given[-1]) > 1, ValueError)
            (tmp_path / kind).mkdir()
            _, (trial,) = ablate(tmp_path / kind, ONE)
        assert trial.status == "done"
        with ResultStore(tmp_path / kind / "out" / DATABASE, read_only=True) as store:
            (note,) = store.notes(trial.id)
        assert note.startswith("8 regions failed together and none of them alone, they ran one by one: ")
        assert "ValueError: a fault (test_parts_at_fault.py, line " in note


@pytest.mark.parametrize(
    "error", [torch.AcceleratorError("CUDA error: device-side assert triggered"), FeatureError("no")]
    if hasattr(torch, "AcceleratorError") else [RuntimeError("CUDA error: device-side assert triggered")],
)  # fmt: skip
def test_a_gpu_that_answers_no_more_fails_the_trial_and_no_single_samples(tmp_path, monkeypatch, error):
    calls = []

    def lost(self, tokens):
        calls.append(len(tokens))
        raise error

    monkeypatch.setattr(ablation_fakes.Shift, "bridge", lost)
    _, (trial,) = ablate(tmp_path, ONE)
    assert trial.status == "failed"
    assert (calls == [8]) == ("CUDA" in str(error))


def test_an_interrupt_is_no_fault_of_a_sample(tmp_path, monkeypatch):
    crash_at(monkeypatch, ablation_fakes.Pool, "encode", lambda *_: True, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        Runner(plan_ablation(write(tmp_path, ONE)), ResultStore(None), Silent(), RunOptions(device="cpu")).run()


def pipeline_file(tmp_path):
    path = tmp_path / "pipe.yaml"
    path.write_text(BASE.replace("base:\n", "").replace("  ", ""))
    return path


def test_run_records_or_stops_as_it_is_asked_to(tmp_path, monkeypatch, capfd):
    crash_at(monkeypatch, ablation_fakes.Pool, "encode", lambda scene, regions: _left_top(regions))
    words = [pipeline_file(tmp_path), "--data", "box@t-colours", "--metrics", "noun-f1", "--limit", 2, "--no-cache"]
    kept = call(run_command.run, *words)
    assert kept.exit_code == 1
    assert "2 samples failed; the first, test/0/0/box/0: region encoder 't-pool'" in kept.output
    assert call(run_command.run, *words, "--on-error", "record").output.split("(")[0] == kept.output.split("(")[0]
    assert "Traceback" not in capfd.readouterr().err
    error = call(run_command.run, *words, "--on-error", "stop", fails=RunFailed)
    assert f"failed and on_error is stop: region encoder 't-pool' {OWNER}: ZeroDivisionError: a fault" in str(error)
    shown = capfd.readouterr().err
    assert "Traceback (most recent call last)" in shown
    assert f"raised by region encoder 't-pool' {OWNER}" in shown
    wrong = call(run_command.run, *words, "--on-error", "ignore")
    assert (wrong.exit_code, "'ignore' is not one of 'record', 'stop'" in wrong.output) == (2, True)


def test_ablate_takes_the_same_word_and_it_goes_before_that_of_the_file(tmp_path, monkeypatch):
    crash_at(monkeypatch, ablation_fakes.Pool, "encode", lambda scene, regions: _left_top(regions))
    file = write(tmp_path, ONE + "on_error: record\n")
    arguments = file, "--out", tmp_path / "out", "--no-cache"
    assert "on_error is stop" in str(call(commands.ablate, *arguments, "--on-error", "stop", fails=RunFailed))
    assert call(commands.ablate, *arguments).exit_code == 1


def test_a_part_that_cannot_be_built_is_tried_once_and_named(tmp_path, monkeypatch):
    tried = []

    def build(self, config):
        tried.append(config)
        raise TypeError("no such word")

    monkeypatch.setattr(ablation_fakes.Pool, "__init__", build)
    _, trials = ablate(tmp_path, ENCODERS)
    (failed,) = (trial for trial in trials if trial.status == "failed")
    assert failed.reason.startswith("region encoder 't-pool' cannot be built: TypeError: no such word (test_parts_at_")
    assert (len(tried), len(trials)) == (1, 2)
