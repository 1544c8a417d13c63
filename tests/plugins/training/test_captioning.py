"""The ``captioning`` recipe, and runs that train several parts at once, on the mini-world with untrained backbones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from regionkit.core.contracts import Decoder
from regionkit.core.features import Caption, RegionTokens
from regionkit.core.pipeline import Pipeline
from regionkit.core.testing import GridBackbone, Pooled, Relabel, SampleData, WordDecoder
from regionkit.core.weights import read_header
from regionkit.plugins.training.captioning import Captioning
from regionkit.plugins.training.captioning_config import CaptioningConfig
from regionkit.plugins.training.recipe_file import plan_variants
from regionkit.plugins.training.runs import build_recipe
from regionkit.registry.assembly import build
from regionkit.registry.cli import root
from regionkit.registry.weights.index import get_index

RECIPE = """\
version: 1
recipe: {name: captioning, tasks: [mask, image], steps: 6, batch_size: 4, images: 5, warmup: 1, evaluated: 4}
backbone: {name: mini-dense, weights: none}
region_encoder: {name: patch-pool}
bridge: {name: language-projection}
decoder: {name: lm-tokens, hidden: 16, layers: 1, heads: 2, intermediate: 16, positions: 64}
corpus: {name: mini-captions, size: 60}
dataset: {name: mini}
seed: 1
out: run.safetensors
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    (tmp_path / "tiny.yaml").write_text(RECIPE, encoding="utf-8")
    yield tmp_path
    get_index.cache_clear()


def train(*args: str) -> Result:
    return CliRunner().invoke(root, ["train", "tiny.yaml", "--device", "cpu", *args])


def recipe(decoder: Decoder, **options) -> Captioning:
    config = CaptioningConfig(**{"splits": ("test",), "evaluated_splits": ("test",), "batch_size": 3, **options})
    backbone = GridBackbone()
    return Captioning(config, Pipeline(backbone, Pooled(), Relabel("words[16]"), decoder), SampleData())


def words() -> WordDecoder:
    return WordDecoder("words[16]", ["a", "one", "dog"])


def test_every_part_that_is_trained_gets_a_file_that_says_what_it_reads_and_writes(here):
    outcome = train()
    assert outcome.exit_code == 0, outcome.output
    assert "wrote weights/run-bridge.safetensors, weights/run-decoder.safetensors: 6 steps" in outcome.output
    bridge, decoder = (read_header(here / "weights" / f"run-{part}.safetensors") for part in ("bridge", "decoder"))
    assert (bridge.space, bridge.writes) == ("mini-dense/image[128]", "lm-tokens/run[16]")
    assert decoder.space == "lm-tokens/run[16]"
    assert (bridge.corpus, decoder.corpus) == ("mini", "mini")
    assert sorted(path.name for path in (here / "weights").iterdir()) == [
        "run-bridge.safetensors",
        "run-decoder.safetensors",
    ]


def test_the_trained_parts_make_a_pipeline_by_themselves(here, monkeypatch):
    train()
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(here / "weights"))
    (here / "pipeline.yaml").write_text(
        "version: 1\nbackbone: {name: mini-dense, weights: none}\nregion_encoder: patch-pool\n"
        "bridge: language-projection\ndecoder: lm-tokens\n",
        encoding="utf-8",
    )
    said = CliRunner().invoke(root, ["validate", "pipeline.yaml"])
    assert said.exit_code == 0, said.output


def test_a_frozen_part_is_left_as_it_is(here):
    train()
    before = load_file(here / "weights" / "run-decoder.safetensors")
    again = train(
        "--set", "recipe.freeze=[backbone,decoder]", "--set", "decoder.weights=file:weights/run-decoder.safetensors",
        "--set", "out=second.safetensors",
    )  # fmt: skip
    assert again.exit_code == 0, again.output
    assert "wrote weights/second.safetensors" in again.output
    assert read_header(here / "weights" / "second.safetensors").writes == "lm-tokens/run[16]"
    after = load_file(here / "weights" / "run-decoder.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("option", "words_of_it"),
    [
        pytest.param("recipe.freeze=[dekoder]", "recipe 'captioning' does not train 'dekoder'", id="unknown"),
        pytest.param(
            "recipe.freeze=[backbone,bridge,decoder]",
            "recipe 'captioning' has nothing left to train: its parts have no weights, or are frozen",
            id="nothing-left",
        ),
        pytest.param("recipe.shares=[1]", "1 shares for 2 tasks; give one a task", id="shares"),
        pytest.param("recipe.splits=[nowhere]", "the data set has no split 'nowhere'", id="split"),
        pytest.param(
            "region_encoder.name=focal-prompt", "works between the transformer blocks", id="parts-that-do-not-fit"
        ),
    ],
)
def test_mistakes_are_told_in_a_sentence(option, words_of_it):
    outcome = train("--set", option)
    assert outcome.exit_code == 2
    assert words_of_it in outcome.output
    assert "Traceback" not in outcome.output


def test_a_run_with_some_of_its_files_there_is_not_finished(here):
    train()
    wanted = (here / "weights" / "run-decoder.safetensors").read_bytes()
    (here / "weights" / "run-decoder.safetensors").unlink()
    again = train()
    assert "6 steps" in again.output
    assert (here / "weights" / "run-decoder.safetensors").read_bytes() == wanted
    assert "are finished: this set-up made them before" in train().output


def test_files_of_another_set_up_are_not_written_over(here):
    train()
    other = train("--seed", "2")
    assert other.exit_code == 2
    assert "weights/run-bridge.safetensors: there are weights already, made by another set-up" in other.output


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(here):
    command = [sys.executable, "-m", "regionkit.registry.cli", "train", "tiny.yaml", "--device", "cpu"]
    slow = [*command, "--set", "recipe.steps=40", "--checkpoint-steps", "2", "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole = CliRunner().invoke(
        root, ["train", "tiny.yaml", "--device", "cpu", "--set", "recipe.steps=40", "--out", "whole"]
    )
    assert whole.exit_code == 0, whole.output
    process = subprocess.Popen([*slow, "killed"], env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    checkpoint = here / "killed" / "run.safetensors.checkpoint"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = CliRunner().invoke(root, [*slow[3:], "killed"])
    assert resumed.exit_code == 0, resumed.output
    for part in ("bridge", "decoder"):
        one, other = (load_file(here / folder / f"run-{part}.safetensors") for folder in ("whole", "killed"))
        assert all(torch.equal(one[name], other[name]) for name in one)


VARIANTS = """variants:
  narrow: {decoder.hidden: 8}
  wide: {decoder.hidden: 24, recipe.steps: 3}
"""


def test_variants_are_trained_one_after_the_other_under_their_names(here):
    (here / "tiny.yaml").write_text(RECIPE + VARIANTS, encoding="utf-8")
    outcome = train("--set", "recipe.evaluated=0")
    assert outcome.exit_code == 0, outcome.output
    headers = {path.stem: read_header(path) for path in (here / "weights").iterdir()}
    assert sorted(headers) == ["narrow-bridge", "narrow-decoder", "wide-bridge", "wide-decoder"]
    assert headers["wide-bridge"].writes == "lm-tokens/wide[24]"
    assert headers["wide-bridge"].recipe == "toolkit train tiny.yaml --only wide --set recipe.evaluated=0"


def test_one_variant_can_be_chosen(here):
    (here / "tiny.yaml").write_text(RECIPE + VARIANTS, encoding="utf-8")
    assert "3 steps" in train("--only", "wide").output
    assert not (here / "weights" / "narrow-bridge.safetensors").exists()
    unknown = train("--only", "wider")
    assert unknown.exit_code == 2
    assert "no variant named 'wider'" in unknown.output
    assert "variants are: narrow, wide" in unknown.output


@pytest.mark.parametrize(
    "variants",
    [
        pytest.param("variants: [narrow]", id="a-list"),
        pytest.param("variants: {narrow: 3}", id="a-number"),
        pytest.param("variants: {../up: {}}", id="a-path"),
    ],
)
def test_what_is_no_variant_is_refused(here, variants):
    (here / "tiny.yaml").write_text(RECIPE + variants + "\n", encoding="utf-8")
    outcome = train()
    assert outcome.exit_code == 2
    assert "is no variant" in outcome.output


def test_validate_checks_every_variant(here):
    (here / "tiny.yaml").write_text(RECIPE + VARIANTS, encoding="utf-8")
    said = CliRunner().invoke(root, ["validate", "tiny.yaml"]).output
    assert "captioning trains bridge language-projection, decoder lm-tokens in 2 variants: narrow, wide" in said
    (here / "tiny.yaml").write_text(RECIPE + "variants: {odd: {decoder.hiden: 3}}\n", encoding="utf-8")
    assert "hiden" in CliRunner().invoke(root, ["validate", "tiny.yaml"]).output


def test_tasks_are_drawn_by_their_shares():
    parts = {name: build(kind, name) for kind, name in (("dataset", "mini"),)}
    config = CaptioningConfig(tasks=("mask", "image"), shares=(1, 3), images=20, batch_size=64)
    made = Captioning(config, Pipeline(GridBackbone(), Pooled(), Relabel("words[16]"), words()), parts["mini"])
    kinds = [region.kind for step in range(4) for region in made.batch(step).regions.items]
    assert 0.65 < kinds.count("image") / len(kinds) < 0.85


def test_regions_of_one_picture_share_it():
    config = CaptioningConfig(tasks=("mask", "box"), images=20, batch_size=16, images_a_step=4)
    pipeline = Pipeline(GridBackbone(), Pooled(), Relabel("words[16]"), words())
    batch = Captioning(config, pipeline, build("dataset", "mini")).batch(0)
    assert len(batch.images) <= 4
    assert len(batch.texts) == 16


def test_nothing_to_train_is_an_error():
    with pytest.raises(Exception, match="recipe 'captioning' has nothing to train"):
        recipe(words().requires_grad_(False))


class Parrot(WordDecoder):
    """Says the reference of the region whose picture it was trained to know; here, always the same."""

    def generate(self, inputs, prompt=None, options=None):
        return [Caption("a red dog on the grass", 0.0) for _ in range(len(inputs))]

    def loss(self, inputs, texts, prompt=None):
        assert isinstance(inputs, RegionTokens)
        return super().loss(inputs, ["dog"] * len(inputs), prompt)


def test_the_share_of_right_captions_is_counted():
    made = recipe(Parrot("words[16]", ["dog"]), evaluated=6)
    figures = dict(made.evaluate())
    right = sum("a red dog on the grass" in sample.references for sample in SampleData().samples("mask", "test"))
    assert right == 1
    assert figures == {"mask/test: said as a reference": pytest.approx(1 / 6)}


def test_shares_of_a_batch_together_are_the_batch(here):
    (plan,) = plan_variants(here / "tiny.yaml")
    made = build_recipe(plan, torch.device("cpu"))
    made.module.eval()
    batch = made.batch(2)
    shares = [made.share(2, rank, 3) for rank in range(3)]
    assert sorted(text for share in shares for text in share.texts) == sorted(batch.texts)
    for share in shares:  # each has the pictures that its regions lie in, and no others
        assert sorted(set(share.regions.image)) == list(range(len(share.images)))
    whole, _ = made.loss(batch)
    weights = [made.weight(share) for share in shares]
    assert sum(weights) == made.weight(batch)
    joined = sum(weight * made.loss(share)[0] for weight, share in zip(weights, shares, strict=True)) / sum(weights)
    torch.testing.assert_close(joined, whole, atol=1e-5, rtol=0)
