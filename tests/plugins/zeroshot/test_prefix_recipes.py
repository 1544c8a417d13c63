"""Recipes of the prefix decoders: the papers' settings, and one run from a folder of the hub to a caption."""

import json
from pathlib import Path

import pytest
from causal_folders import write_folder
from click.testing import CliRunner

from regionkit.core.contracts import BuildContext
from regionkit.core.testing import Sentences
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import read_header, write_weights
from regionkit.plugins.zeroshot.prefix_lm import PrefixLm
from regionkit.plugins.zeroshot.prefix_lm_config import PrefixLmConfig
from regionkit.registry import load
from regionkit.registry.assembly import build, build_part
from regionkit.registry.cli import root
from regionkit.registry.document import read_document
from regionkit.registry.schema import fill
from regionkit.registry.weights import index as weight_index

param = pytest.param
RECIPES = Path(__file__).resolve().parents[3] / "examples" / "recipes"


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch, tmp_path):
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    weight_index.get_index.cache_clear()
    yield
    weight_index.get_index.cache_clear()


@pytest.mark.parametrize(
    ("name", "family", "out"),
    [
        param("prefix-lm-gpt2", "gpt2", "prefix-gpt2-talk2dino", id="gpt2"),
        param("prefix-lm-gemma3", "gemma3_text", "prefix-gemma3-270m-talk2dino", id="gemma3"),
        param("prefix-lm-qwen3-0.6b", "qwen3", "prefix-qwen3-0.6b-talk2dino", id="qwen3-small"),
        param("prefix-lm-qwen3-1.7b", "qwen3", "prefix-qwen3-1.7b-talk2dino", id="qwen3-large"),
        param("prefix-lm-llama3.2-1b", "llama", "prefix-llama3.2-1b-talk2dino", id="llama"),
    ],
)
def test_recipes_of_table_4_have_the_settings_of_the_paper(name, family, out):
    """Source: Patch-ioner, supplementary, sections 6 and 9; behind a memory, which corrupts nothing."""
    data = read_document(RECIPES / f"{name}.yaml").data
    recipe, decoder, corpus = (fill(kind, data[kind]).config for kind in ("recipe", "decoder", "corpus"))
    assert (recipe.learning_rate, recipe.weight_decay, recipe.warmup, recipe.schedule) == (1e-5, 0.01, 1000, "linear")
    assert (recipe.batch_size, recipe.epochs, recipe.steps, recipe.limit, recipe.clip) == (64, 10, 0, 0, 0)
    assert (decoder.model, decoder.mapper, decoder.prefix) == (family, "linear", 1)
    assert (decoder.max_length, decoder.label_smoothing, decoder.frozen) == (20, 0.1, False)
    assert decoder.start.startswith("file:")
    assert corpus.split == "train+restval"
    assert (data["bridge"], data["backbone"]) == ({"name": "none"}, {"name": "dinov2-talk2dino"})
    assert (data["out"], data["half"]) == (f"{out}.safetensors", True)


def test_the_recipe_of_capdec_has_the_settings_of_its_paper():
    data = read_document(RECIPES / "capdec-coco.yaml").data
    recipe, decoder, bridge = (fill(kind, data[kind]).config for kind in ("recipe", "decoder", "bridge"))
    assert (recipe.learning_rate, recipe.warmup, recipe.schedule) == (2e-5, 5000, "linear")
    assert (recipe.batch_size, recipe.epochs, recipe.steps) == (34, 10, 0)
    assert bridge.corruption == "noise(std=0.1265)"  # variance 0.016
    assert (decoder.mapper, decoder.prefix, decoder.clip_length, decoder.mapper_layers) == ("transformer", 40, 40, 8)
    assert (decoder.label_smoothing, decoder.stop) == (0.0, ".")


def test_from_a_folder_of_the_hub_to_a_caption(tmp_path):
    folder = write_folder(tmp_path / "qwen3", "qwen3")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "version: 1\n"
        "recipe: {name: text-only, steps: 2, batch_size: 8, limit: 32, warmup: 0}\n"
        "backbone: {name: mini-dense}\n"
        "bridge: {name: none}\n"
        f"decoder: {{name: prefix-lm, start: 'file:{folder}'}}\n"
        "corpus: {name: mini-captions}\n"
        "out: trained.safetensors\n"
        "half: true\n"
    )
    result = CliRunner().invoke(root, ["train", str(recipe), "--out", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    header = read_header(tmp_path / "trained.safetensors")
    assert header is not None
    assert (header.name, header.corpus, header.corruption) == ("prefix-lm", "mini-captions", "none")
    assert (header.config["model"], header.config["hidden"], header.config["kv_heads"]) == ("qwen3", 32, 2)
    picture((64, 48), 1).save(tmp_path / "picture.png")
    words = ["caption", str(tmp_path / "picture.png"), "--box", "5,5,40,40", "--preset", "mini", "--force", "--json"]
    chosen = f"decoder={{name: prefix-lm, weights: 'file:{tmp_path / 'trained.safetensors'}'}}"
    result = CliRunner().invoke(root, [*words, "--set", chosen], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)


def test_weights_bring_the_habits_that_they_were_trained_with(tmp_path):
    """Whether vectors are normed, and the words before a caption, follow the weights; what is written wins."""
    config = PrefixLmConfig(
        weights="none", hidden=32, layers=1, heads=2, intermediate=32, positions=64, normalise=False, prompt="a dog"
    )
    context = BuildContext(reads="mini-dense/text[128]", parts={"corpus": Sentences()})
    made = PrefixLm.build(config, context).artifact()
    write_weights(tmp_path / "own.safetensors", made.tensors, made.header)
    named = f"decoder={{name: prefix-lm, weights: 'file:{tmp_path}/own.safetensors'}}"
    habits = load("mini", overrides=(named, "bridge=none"), device="cpu").decoder.config
    assert (habits.normalise, habits.prompt, habits.hidden) == (False, "a dog", 32)
    written = load("mini", overrides=(named, "bridge=none", "decoder.normalise=true"), device="cpu").decoder.config
    assert (written.normalise, written.prompt) == (True, "a dog")


@pytest.mark.parametrize(
    ("decoder", "bridge", "floor"),
    [
        param("prefix-lm", "memory", 0.75, id="prefix-lm"),
        param("capdec", "{name: noise, std: 0.08}", 0.65, id="capdec"),
    ],
)
def test_the_small_decoders_name_what_is_in_a_box(decoder, bridge, floor):
    """The weights in the package are found by space and corruption alone."""
    dataset = build("dataset", "mini")
    pipeline = load("mini", overrides=(f"decoder={{name: {decoder}}}", f"bridge={bridge}"))
    metric = build_part(fill("metric", "noun-f1"), BuildContext(parts={"dataset": dataset}))
    samples = dataset.samples("box", "test", 0, 60)
    captions = pipeline.caption([dataset.image(one.image_id) for one in samples], [[one.region] for one in samples])
    metric.update(samples, [caption.text for (caption,) in captions])
    assert metric.compute().value >= floor
    assert all(caption.finished for (caption,) in captions)
