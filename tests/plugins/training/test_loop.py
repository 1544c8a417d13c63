"""The training loop: killed and resumed runs, damaged and foreign checkpoints, full disks, runs that go astray."""

from __future__ import annotations

import errno
import random
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import SafetensorError
from toy_training import SETUP, STEPS, Toy, run

import regionkit.plugins.training.checkpoint as checkpoint_module
from regionkit.core.contracts import TrainSettings
from regionkit.core.errors import MissingExtra, RegionkitError, RunFailed, WeightsError
from regionkit.plugins.training.checkpoint import Checkpoint, differences
from regionkit.plugins.training.engine import AccelerateEngine
from regionkit.plugins.training.loop import Interrupted, LoopOptions, train
from regionkit.plugins.training.progress import Bar, Lines
from regionkit.plugins.training.schedule import learning_rate


def state(recipe: Toy) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in recipe.module.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "times", [pytest.param(1, id="once"), pytest.param(3, id="three-times", marks=pytest.mark.slow)]
)
def test_killed_at_random_steps_ends_with_the_same_bits(tmp_path: Path, times: int) -> None:
    whole = Toy()
    run(tmp_path / "whole.checkpoint", whole)
    path = tmp_path / "killed.checkpoint"
    kills = sorted(random.Random(7).sample(range(5, STEPS), times))
    for step in kills:
        program = Path(__file__).with_name("toy_training.py")
        done = subprocess.run([sys.executable, str(program), str(path), str(step)], check=False, timeout=120)
        assert done.returncode == -signal.SIGKILL
    resumed = Toy()
    outcome = run(path, resumed)
    assert outcome.resumed == kills[-1] // 4 * 4  # the last checkpoint before the last kill
    assert resumed.asked == list(range(outcome.resumed, STEPS))
    assert same(state(resumed), state(whole))


def test_resuming_at_every_step_changes_nothing(tmp_path: Path) -> None:
    whole = Toy()
    run(tmp_path / "whole.checkpoint", whole)
    for stop in range(1, STEPS, 6):
        path = tmp_path / f"{stop}.checkpoint"
        with pytest.raises(RunFailed):
            run(path, Toy(bad_at=stop), every=1)
        resumed = Toy()
        assert run(path, resumed).resumed == stop
        assert same(state(resumed), state(whole)), stop


def test_when_checkpoints_are_written_does_not_matter(tmp_path: Path) -> None:
    first, second = Toy(), Toy()
    run(tmp_path / "a.checkpoint", first, every=1)
    run(tmp_path / "b.checkpoint", second, every=0)
    assert not (tmp_path / "b.checkpoint").exists()  # a minute did not pass
    assert same(state(first), state(second))


def test_the_callers_random_numbers_and_threads_are_left_alone(tmp_path: Path) -> None:
    recipe = Toy()
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    train(recipe, LoopOptions(Checkpoint(tmp_path / "a", SETUP), threads=2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_checkpoint_of_another_set_up_is_refused_with_every_difference(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    with pytest.raises(RunFailed):
        run(path, Toy(bad_at=9))
    changed = {"recipe": {"name": "toy", "learning_rate": 0.02}, "seed": 4, "half": True}
    options = LoopOptions(Checkpoint(path, changed))
    with pytest.raises(RegionkitError, match="this checkpoint was made by another set-up") as caught:
        train(Toy(), options)
    assert caught.value.hints == (
        "half: not set then, True now",
        "recipe.learning_rate: 0.01 then, 0.02 now",
        "seed: 3 then, 4 now",
        "go back to that set-up to resume it, start over with --restart, or train elsewhere with --out DIR",
    )
    with pytest.raises(RegionkitError, match="another set-up"):
        options.checkpoint.check()


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    with pytest.raises(RunFailed):
        run(path, Toy(bad_at=9))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        WeightsError, match=r"a\.checkpoint: the checkpoint is damaged: .*\n  start over with --restart"
    ):
        run(path, Toy())


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    with pytest.raises(RunFailed):
        run(path, Toy(bad_at=9))
    other = Toy()
    other._module = torch.nn.Linear(8, 8)  # type: ignore[assignment]
    with pytest.raises(WeightsError, match="the checkpoint is of another model"):
        run(path, other)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), id="system"),
        pytest.param(SafetensorError("Error while serializing: I/O error: (os error 28)"), id="safetensors"),
    ],
)
def test_a_full_disk_keeps_the_old_checkpoint(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.checkpoint"
    whole = Toy()
    run(tmp_path / "whole.checkpoint", whole)
    real, saved = checkpoint_module.save_file, []

    def full(tensors: dict[str, torch.Tensor], target: Path, metadata: dict[str, str]) -> None:
        saved.append(target)
        if len(saved) == 3:
            target.write_bytes(b"half a file")
            raise error
        real(tensors, target, metadata=metadata)

    monkeypatch.setattr(checkpoint_module, "save_file", full)
    with pytest.raises(RunFailed, match="the checkpoint of step 12 could not be written: the disk is full") as caught:
        run(path, Toy())
    assert caught.value.exit_code == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.checkpoint", "whole.checkpoint"]
    resumed = Toy()
    assert run(path, resumed).resumed == 8
    assert same(state(resumed), state(whole))


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_the_step(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    with pytest.raises(RunFailed, match="training went astray at step 9: the loss is nan") as caught:
        run(path, Toy(bad_at=9))
    assert "the checkpoint of step 8 is kept; try a lower recipe.learning_rate" in caught.value.hints[0]
    with pytest.raises(RunFailed, match="there is no checkpoint yet"):
        run(tmp_path / "b.checkpoint", Toy(bad_at=2))


def test_a_gradient_that_is_not_a_number_stops_the_run(tmp_path: Path) -> None:
    class Steep(Toy):
        def loss(self, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
            loss, _ = super().loss(batch)
            return (loss - loss.detach()).sqrt().sum() if len(self.asked) == 6 else loss, {}  # type: ignore[return-value]

    with pytest.raises(RunFailed, match=r"astray at step 5: the norm of the gradient is (nan|inf)"):
        run(tmp_path / "a.checkpoint", Steep())


def test_ctrl_c_says_what_is_kept(tmp_path: Path) -> None:
    class Stopped(Toy):
        def batch(self, step: int) -> torch.Tensor:
            if step == 10:
                raise KeyboardInterrupt
            return super().batch(step)

    with pytest.raises(
        Interrupted, match=r"interrupted\n  the state after step 8 is kept: run the same command"
    ) as caught:
        run(tmp_path / "a.checkpoint", Stopped())
    assert caught.value.exit_code == 130


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        pytest.param("linear", [0.2, 0.4, 0.6, 0.8, 1.0, 0.75, 0.5, 0.25], id="linear"),
        pytest.param("cosine", [0.2, 0.4, 0.6, 0.8, 1.0, 0.853553, 0.5, 0.146447], id="cosine"),
        pytest.param("constant", [0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0], id="constant"),
    ],
)
def test_schedules(schedule: str, expected: list[float]) -> None:
    settings = TrainSettings(8, 1.0, warmup=4, schedule=schedule)
    assert [learning_rate(settings, step) for step in range(8)] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param(TrainSettings(0, 0.1), "recipe.steps: 0 steps train nothing", id="steps"),
        pytest.param(TrainSettings(5, 0.0), "recipe.learning_rate: 0.0 is not a positive number", id="rate"),
        pytest.param(TrainSettings(5, 0.1, schedule="step"), "no schedule named 'step'", id="schedule"),
        pytest.param(TrainSettings(5, 0.1, warmup=-1), "are 0 or more", id="warmup"),
    ],
)
def test_settings_are_checked(settings: TrainSettings, message: str, tmp_path: Path) -> None:
    with pytest.raises(RegionkitError, match=message):
        run(tmp_path / "a.checkpoint", Toy(settings=settings))


def test_differences_name_every_leaf() -> None:
    assert list(differences({"a": {"b": 1, "c": [1]}}, {"a": {"b": 1, "c": [2]}, "d": None})) == [
        "a.c: [1] then, [2] now"
    ]


def test_lines_tell_rate_and_time_left() -> None:
    now = iter([0.0, 4.0, 20.0, 21.0])
    lines: list[str] = []
    progress = Lines(total=400, start=100, write=lines.append, clock=lambda: next(now))
    progress.update(110, 2.0, {})  # too soon after the start
    progress.update(200, 1.5, {"accuracy": 0.25})
    progress.update(400, 1.0, {})  # the last one is always written
    assert lines == [
        "step 200/400  loss 1.5000  accuracy 0.25  5.0 steps/s  0:40 left",
        "step 400/400  loss 1.0000  14.3 steps/s  0:00 left",
    ]


def test_lines_tell_tokens_a_second() -> None:
    now = iter([0.0, 4.0, 20.0])
    lines: list[str] = []
    progress = Lines(total=10, start=0, write=lines.append, clock=lambda: next(now))
    progress.update(1, 2.0, {"tokens": 30_000.0})
    progress.update(2, 1.5, {"accuracy": 0.25, "tokens": 10_000.0})
    assert lines == ["step 2/10  loss 1.5000  accuracy 0.25  0.1 steps/s  2,000 tokens/s  1:20 left"]


def test_tokens_of_a_run_are_added_up(tmp_path: Path) -> None:
    class Counting(Toy):
        def loss(self, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
            return super().loss(batch)[0], {"tokens": 7.0}

    assert run(tmp_path / "a.checkpoint", Counting()).tokens == 7 * STEPS
    assert run(tmp_path / "b.checkpoint", Toy()).tokens == 0


def test_leftovers_of_a_killed_write_go_with_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "a.checkpoint", SETUP)
    leftover, other = tmp_path / ".a.checkpoint.x1y2.part", tmp_path / ".b.checkpoint.x1y2.part"
    for file in (checkpoint.path, leftover, other):
        file.write_bytes(b"")
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == [other]


def test_the_bar_shows_loss_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(10, 2, "tiny") as bar:
        for done in range(3, 11):
            bar.update(done, 1.25, {"accuracy": 0.5})
    shown = capsys.readouterr().err
    assert "tiny" in shown
    assert "10/10" in shown
    assert "loss 1.2500  accuracy 0.5" in shown
    assert "0:00 left" in shown


class FakeAccelerator:
    """Stands in for accelerate's class of that name."""

    device = torch.device("cpu")
    num_processes = 1
    mixed_precision = "bf16"

    def autocast(self) -> AbstractContextManager[None]:
        return torch.autocast("cpu", dtype=torch.bfloat16)

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()


def test_accelerate_brings_its_precision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", SimpleNamespace(Accelerator=FakeAccelerator))
    kinds: list[torch.dtype] = []

    class Watched(Toy):
        def loss(self, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
            kinds.append(self._module[0](batch).dtype)
            return super().loss(batch)  # type: ignore[return-value]

    options = LoopOptions(Checkpoint(tmp_path / "a", SETUP))
    train(Watched(settings=TrainSettings(3, 0.01)), options, engine=AccelerateEngine())
    assert kinds == [torch.bfloat16] * 3


def in_float16(monkeypatch: pytest.MonkeyPatch) -> AccelerateEngine:
    """Return an engine with the float16 of the CPU: what is scaled is what a GPU scales."""

    class Half(FakeAccelerator):
        mixed_precision = "fp16"

        def autocast(self) -> AbstractContextManager[None]:
            return torch.autocast("cpu", dtype=torch.float16)

    monkeypatch.setitem(sys.modules, "accelerate", SimpleNamespace(Accelerator=Half))
    return AccelerateEngine()


def test_the_scale_of_a_float16_loss_is_part_of_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Loud(Toy):
        """Its loss is large enough for gradients to overflow in float16 at the first scales."""

        def loss(self, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
            loss, _ = super().loss(batch)
            return 20 * loss, {}

    def trained(path: Path, **faults: int) -> tuple[Toy, AccelerateEngine]:
        recipe, engine = Loud(**faults), in_float16(monkeypatch)
        options = LoopOptions(Checkpoint(path, SETUP), seed=3, checkpoint_steps=4)
        train(recipe, options, engine=engine)
        return recipe, engine

    whole, engine = trained(tmp_path / "whole")
    scale = engine.state()["scaler"]["scale"]
    assert 1 < scale < 65536  # it was lowered where gradients were not finite, and the run went on
    with pytest.raises(RunFailed):
        trained(tmp_path / "a", bad_at=18)
    resumed, again = trained(tmp_path / "a")
    assert resumed.asked[0] == 16
    assert again.state() == engine.state()
    assert same(state(resumed), state(whole))


def test_a_float16_loss_without_any_scale_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Steep(Toy):
        def loss(self, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
            loss, _ = super().loss(batch)
            return (loss - loss.detach()).sqrt().sum(), {}

    engine = in_float16(monkeypatch)
    with pytest.raises(RunFailed, match="the gradients are not finite at any scale of the loss in float16"):
        train(Steep(), LoopOptions(Checkpoint(tmp_path / "a", SETUP)), engine=engine)


def test_accelerate_is_asked_for_by_name_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtra, match=r"pip install 'regionkit\[accelerate\]'"):
        AccelerateEngine()
