"""``toolkit train`` and ``toolkit bank build`` on the mini-world, with untrained backbones."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from regionkit.core.contracts import BuildContext
from regionkit.core.features import RegionTokens
from regionkit.core.texts import bank_texts
from regionkit.core.weights import WeightFile, read_header
from regionkit.plugins.patchioner.decap import Decap
from regionkit.plugins.patchioner.decap_config import DecapConfig
from regionkit.plugins.training import loop, runs
from regionkit.registry.cli import root
from regionkit.registry.weights.index import get_index

RECIPE = """\
version: 1
recipe: {name: text-only, steps: 12, batch_size: 8, learning_rate: 1.0e-3, warmup: 2}
backbone: {name: mini-dense, weights: none}
bridge: {name: noise, std: 0.08}
decoder: {name: decap, hidden: 16, layers: 1, heads: 2, positions: 24}
corpus: {name: mini-captions, size: 60}
seed: 1
out: tiny.safetensors
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    (tmp_path / "tiny.yaml").write_text(RECIPE, encoding="utf-8")
    yield tmp_path
    get_index.cache_clear()


def toolkit(*args: str) -> Result:
    return CliRunner().invoke(root, list(args))


def train(*args: str) -> Result:
    return toolkit("train", "tiny.yaml", "--device", "cpu", *args)


def test_weights_say_what_they_are_for_and_a_finished_run_is_left_alone(here: Path) -> None:
    first = train()
    assert first.exit_code == 0, first.output
    assert "wrote weights/tiny.safetensors: 12 steps in" in first.output
    assert f"for pipelines to find it: export REGIONKIT_WEIGHTS={here / 'weights'}" in first.output
    path = here / "weights" / "tiny.safetensors"
    header = read_header(path)
    assert header is not None
    assert (header.kind, header.name, header.space) == ("decoder", "decap", "mini-dense/text[128]")
    assert (header.corruption, header.corpus) == ("noise(std=0.08)", "mini-captions")
    assert header.recipe == "toolkit train tiny.yaml"
    assert header.extra["training"]["setup"]["threads"] == 1
    assert [file.name for file in path.parent.iterdir()] == ["tiny.safetensors"]  # the checkpoint is gone

    before = path.read_bytes()
    again = train()
    assert again.exit_code == 0
    assert (
        "weights/tiny.safetensors is finished: this set-up made it before; to make it again add --restart"
        in again.output
    )
    assert path.read_bytes() == before
    assert train("--restart").exit_code == 0
    assert path.read_bytes() == before  # made again, to the last bit

    other = train("--seed", "2", "--steps", "11")
    assert other.exit_code == 2
    assert "weights/tiny.safetensors: there are weights already, made by another set-up" in other.output
    assert "recipe.steps: 12 then, 11 now" in other.output
    assert "seed: 1 then, 2 now" in other.output
    assert "to replace them add --restart" in other.output


def test_trained_weights_load_and_write(here: Path) -> None:
    result = train("--out", "made", "--json", "--set", "half=true")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["weights"], report["status"], report["steps"]) == (["made/tiny.safetensors"], "trained", 12)
    path = here / "made" / "tiny.safetensors"
    header = read_header(path)
    assert header is not None
    decoder = Decap.build(DecapConfig(), BuildContext(weights=WeightFile(path, header)))
    tokens = load_file(path)["clip_project.model.0.weight"]
    assert (str(tokens.dtype), tuple(tokens.shape)) == ("torch.float16", (16, 128))
    (caption,) = decoder.generate(RegionTokens.single(tokens[:1].float(), header.space))
    assert isinstance(caption.text, str)


def test_every_mistake_of_a_file_is_told_at_once() -> None:
    Path("tiny.yaml").write_text(
        RECIPE.replace("steps: 12", "step: 12").replace("name: noise", "name: noize").replace("seed: 1", "seed: -1")
        + "bridges: none\n",
        encoding="utf-8",
    )
    result = train()
    assert result.exit_code == 2
    for expected in (
        "tiny.yaml:2: recipe.step: unknown option\n  did you mean: steps",
        "tiny.yaml:4: bridge.name: no bridge named 'noize'\n  did you mean: noise",
        "tiny.yaml:7: seed: expected a whole number of 0 or more, got -1",
    ):
        assert expected in result.output


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            "corpus: {name: mini-captions, size: 60}\n",
            "",
            "tiny.yaml:2: corpus: recipe 'text-only' needs a corpus\n  write corpus: {name: NAME}\n  corpora are: ",
            id="missing",
        ),
        pytest.param("seed: 1", "sead: 1", "tiny.yaml:7: sead: unknown key\n  did you mean: seed", id="key"),
        pytest.param(
            "seed: 1", "seeds: 1", "tiny.yaml:7: seeds: unknown key\n  did you mean: seed", id="key-of-others"
        ),
        pytest.param("seed: 1", "dataset: mini", "tiny.yaml:7: dataset: unknown key", id="part-without-use"),
        pytest.param("seed: 1", "half: 3", "tiny.yaml:7: half: expected true or false, got 3", id="half"),
        pytest.param(
            "name: text-only", "name: text-onli", "tiny.yaml:2: recipe.name: no recipe named 'text-onli'", id="recipe"
        ),
        pytest.param("name: decap", "name: decpa", "tiny.yaml:5: decoder.name: no decoder named 'decpa'", id="part"),
        pytest.param("weights: none", "weights: no-such", "tiny.yaml:3: backbone: ", id="weights"),
        pytest.param(
            "out: tiny.safetensors", "out: /tmp/x.pt", "expected a file name that ends in .safetensors", id="out"
        ),
        pytest.param("size: 60", "size: 5", "5 captions are fewer than a batch of 8", id="few"),
        pytest.param(
            "heads: 2", "heads: 3", "heads: 3 does not divide hidden 16; these do: 1, 2, 4, 8, 16", id="heads"
        ),
    ],
)
def test_mistakes_of_a_recipe_file(old: str, new: str, message: str) -> None:
    Path("tiny.yaml").write_text(RECIPE.replace(old, new), encoding="utf-8")
    result = train()
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert not Path("weights").exists()
    if "few" not in message:
        checked = toolkit("validate", "tiny.yaml")
        assert (checked.exit_code, checked.stderr) == (2, result.stderr)


def test_validate_says_what_a_good_recipe_trains() -> None:
    result = toolkit("validate", "tiny.yaml")
    assert result.exit_code == 0, result.output
    assert result.output == (
        "tiny.yaml: a good recipe: text-only trains decoder decap with corpus mini-captions, backbone mini-dense, "
        "bridge noise, into tiny.safetensors in the folder that --out names\n"
    )
    assert not Path("weights").exists()


def test_a_bank_from_a_text_file_is_found_by_its_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("animals.txt").write_text("a  small dog\n\na cat\na small dog\n", encoding="utf-8")
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(here / "mine"))
    args = ["--backbone", "mini-dense", "--set", "backbone.weights=none", "--texts", "animals.txt"]
    result = toolkit("bank", "build", *args, "--out", "mine/animals.safetensors")
    assert result.exit_code == 0, result.output
    assert "wrote mine/animals.safetensors: 3 sentences in mini-dense/text[128]" in result.output
    header = read_header("mine/animals.safetensors")
    assert header is not None
    assert (header.kind, header.name, header.corpus, header.space) == (
        "bridge",
        "memory",
        "animals",
        "mini-dense/text[128]",
    )
    tensors = load_file("mine/animals.safetensors")
    assert bank_texts(tensors) == ["a small dog", "a cat", "a small dog"]
    assert tensors["embeddings"].shape == (3, 128)
    assert tensors["embeddings"][0].tolist() == tensors["embeddings"][2].tolist()


def test_a_bank_of_a_corpus_may_be_a_sample() -> None:
    args = ["--backbone", "mini-dense", "--set", "backbone.weights=none", "--corpus", "mini-captions"]
    result = toolkit("bank", "build", *args, "--size", "5", "--name", "few", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "weights": "weights/bank-few-mini-dense.safetensors",
        "bank": "few",
        "space": "mini-dense/text[128]",
        "texts": 5,
    }


def test_a_missing_file_is_named(here: Path) -> None:
    result = toolkit("bank", "build", "--backbone", "mini-dense", "--texts", "gone.txt")
    assert result.exit_code == 2
    assert f"gone.txt: no such file\n  looked for: {here / 'gone.txt'}\n" in result.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param([], "one source of sentences, it got none", id="none"),
        pytest.param(["--corpus", "a", "--texts", "b"], "it got --corpus and --texts", id="two"),
        pytest.param(["--corpus", "mini-caption"], "did you mean: mini-captions", id="corpus"),
        pytest.param(
            ["--corpus", "mini-captions", "--set", "x=1"], "--set x=1: only options of the backbone", id="set"
        ),
        pytest.param(["--corpus", "mini-captions", "--size", "30000"], "--size asks for 30000", id="size"),
    ],
)
def test_bank_mistakes(args: list[str], message: str) -> None:
    result = toolkit("bank", "build", "--backbone", "mini-dense", *args)
    assert result.exit_code == 2, result.output
    assert message in result.output


class Killed(BaseException):
    """Stands for kill -9."""


def test_a_stopped_run_with_restart_goes_on_although_there_are_older_weights(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train().exit_code == 0
    path = here / "weights" / "tiny.safetensors"
    wanted = path.read_bytes()
    step = loop._step

    def killed(*args: Any) -> None:
        if args[-1] == 8:
            raise Killed
        step(*args)

    arguments = ["train", "tiny.yaml", "--device", "cpu", "--restart", "--checkpoint-steps", "5"]
    monkeypatch.setattr(loop, "_step", killed)
    with pytest.raises(Killed):
        CliRunner().invoke(root, arguments, catch_exceptions=False)
    monkeypatch.setattr(loop, "_step", step)
    report = json.loads(train("--json").stdout)
    assert (report["status"], report["resumed_from"]) == ("trained", 5)
    assert path.read_bytes() == wanted
    assert "is finished" in train().output


def test_a_checkpoint_that_was_left_beside_finished_weights_is_removed(here: Path) -> None:
    assert train().exit_code == 0
    path = here / "weights" / "tiny.safetensors"
    leftover = path.with_name(path.name + ".checkpoint")
    leftover.write_bytes(b"older than the weights")
    os.utime(leftover, (1, 1))
    assert "is finished" in train().output
    assert not leftover.exists()


@pytest.mark.parametrize("name", ["tiny.safetensors", "tiny.safetensors.checkpoint"])
@pytest.mark.parametrize("flags", [(), ("--restart",)], ids=["first", "restart"])
def test_a_folder_in_the_way_is_told_before_training(here: Path, name: str, flags: tuple[str, ...]) -> None:
    (here / "weights" / name).mkdir(parents=True)
    result = train(*flags)
    assert result.exit_code == 1, result.output
    assert f"weights/tiny.safetensors: no weights can be written there: {name} is a folder" in result.output
    assert "choose another folder with --out" in result.output


@pytest.mark.parametrize("entry", ["[]", "5", '{"step": 1, "setup": 5}', '{"setup": {}}'])
def test_a_checkpoint_with_other_contents_is_damaged(here: Path, entry: str) -> None:
    (here / "weights").mkdir()
    path = here / "weights" / "tiny.safetensors.checkpoint"
    save_file({"a": torch.zeros(1)}, path, metadata={"regionkit-checkpoint": entry})
    result = train()
    assert result.exit_code == 2, result.output
    assert "the checkpoint is damaged" in result.output
    assert "start over with --restart" in result.output


def test_a_disk_that_is_full_at_the_end_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **more: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(runs, "write_weights", full)
    result = train()
    assert result.exit_code == 1, result.output
    assert "the trained weights could not be written: I/O error: No space left on device" in result.output
    assert "without --restart: it goes on from the last checkpoint" in result.output


def test_a_seed_beyond_64_bits_is_told() -> None:
    result = train("--seed", str(2**63))
    assert result.exit_code == 2, result.output
    assert "seed: 9223372036854775808 is too large\n  seeds go up to 9223372036854775807" in result.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(["--name", "../x"], "--name ../x: the name of a bank holds no /", id="name"),
        pytest.param(["--out", "bank.txt"], "bank.txt: a bank's file ends in .safetensors", id="suffix"),
        pytest.param(["--out", "taken.safetensors"], "taken.safetensors: there is a folder of that name", id="folder"),
    ],
)
def test_where_a_bank_cannot_go_is_told_before_encoding(here: Path, args: list[str], message: str) -> None:
    (here / "taken.safetensors").mkdir()
    result = toolkit("bank", "build", "--backbone", "mini-dense", "--corpus", "mini-captions", "--size", "3", *args)
    assert result.exit_code == 2, result.output
    assert message in result.output


def streamed(here: Path, captions: str, **options: str) -> Result:
    """Train on the lines of a file, which are spooled beside the run."""
    (here / "captions.txt").write_text(captions)
    text = RECIPE.replace("warmup: 2", "warmup: 2, embeddings: stream").replace("positions: 24", "positions: 24")
    text = text.replace("{name: mini-captions, size: 60}", "{name: text-lines, file: captions.txt}")
    (here / "tiny.yaml").write_text(text)
    return train("--checkpoint-steps", "5", *(word for item in options.items() for word in item))


def test_a_streamed_run_that_was_stopped_goes_on_with_its_sentences(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = "\n".join(f"a dog and a cat on {place} {number}" for number in range(9) for place in ("grass", "sand"))
    whole = streamed(here, captions)
    assert whole.exit_code == 0, whole.output
    assert "tokens/s" in whole.output
    weights = here / "weights"
    expected = load_file(weights / "tiny.safetensors")
    assert [file.name for file in weights.iterdir()] == ["tiny.safetensors"]  # nothing is left of the sentences
    (weights / "tiny.safetensors").unlink()

    real = loop._step

    def stopped(*given: Any) -> None:
        if given[-1] == 8:
            raise KeyboardInterrupt
        real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_step", stopped)
        assert streamed(here, captions).exit_code == 130
    spool = weights / ".tiny.safetensors.training" / "sentences.txt"
    assert len(spool.read_text().splitlines()) == 18
    assert "going on from step 5" in streamed(here, captions).output
    found = load_file(weights / "tiny.safetensors")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert [file.name for file in weights.iterdir()] == ["tiny.safetensors"]


def test_a_run_does_not_go_on_with_another_bank(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [
        "--backbone",
        "mini-dense",
        "--set",
        "backbone.weights=none",
        "--corpus",
        "mini-captions",
        "--set",
        "corpus.size=60",
    ]
    text = RECIPE.replace("warmup: 2", "warmup: 2, embeddings: 'file:bank.safetensors'")
    (here / "tiny.yaml").write_text(text)
    assert toolkit("bank", "build", *made, "--size", "50", "--out", "bank.safetensors").exit_code == 0
    real = loop._step

    def stopped(*given: Any) -> None:
        if given[-1] == 8:
            raise KeyboardInterrupt
        real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_step", stopped)
        assert train("--checkpoint-steps", "5").exit_code == 130
    (here / "bank.safetensors").rename(here / "first.safetensors")
    assert toolkit("bank", "build", *made, "--size", "49", "--out", "bank.safetensors").exit_code == 0
    result = train()
    assert result.exit_code == 2
    assert "this checkpoint was made by another set-up\n  data: " in result.output
    (here / "first.safetensors").rename(here / "bank.safetensors")
    assert train().exit_code == 0
    header = read_header(here / "weights" / "tiny.safetensors")
    assert header is not None
    assert header.corpus == "mini-captions"
    assert header.extra["training"]["setup"]["data"]
    assert "is finished: this set-up made it before" in train().output


def test_several_processes_have_to_be_told_to_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    result = train()
    assert result.exit_code == 2
    assert "4 processes were started, and each would train the same on its own\n  add --accelerate" in result.output
