"""Recipe files with variants: what the command line changes in them, and where their mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from regionkit.plugins.training.recipe_file import plan_variants
from regionkit.registry.cli import root

RECIPE = """\
version: 1
recipe: {name: captioning, tasks: [mask], steps: 6, batch_size: 4, images: 5}
backbone: {name: mini-dense, weights: none}
region_encoder: {name: patch-pool}
bridge: {name: language-projection}
decoder: {name: lm-tokens, hidden: 16, layers: 1, heads: 2, intermediate: 16, positions: 64}
corpus: {name: mini-captions, size: 60}
dataset: {name: mini}
variants:
  narrow: {decoder.hidden: 8}
  wide:
    decoder.hidden: 24
    recipe: {steps: 3}
"""


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    path = Path("tiny.yaml")
    path.write_text(RECIPE, encoding="utf-8")
    return path


def toolkit(*args: str) -> Result:
    return CliRunner().invoke(root, list(args))


def test_a_variant_changes_what_it_names_and_nothing_else(file):
    narrow, wide = plan_variants(file)
    assert (narrow.parts["decoder"].config.hidden, narrow.recipe.config.steps) == (8, 6)
    assert (wide.parts["decoder"].config.hidden, wide.recipe.config.steps) == (24, 3)
    assert {plan.parts["decoder"].config.heads for plan in (narrow, wide)} == {2}
    assert [plan.out.name for plan in (narrow, wide)] == ["narrow.safetensors", "wide.safetensors"]


@pytest.mark.parametrize(
    ("overrides", "hidden", "layers"),
    [
        pytest.param(["decoder.layers=2"], [8, 24], [2, 2], id="another-option"),
        pytest.param(["decoder.hidden=32"], [32, 32], [1, 1], id="the-variants-own-option"),
        pytest.param(["decoder.hidden=32", "decoder.hidden=40"], [40, 40], [1, 1], id="the-last-wins"),
        pytest.param(["decoder={layers: 2, hidden: 48}"], [48, 48], [2, 2], id="a-whole-part"),
        pytest.param(["variants.narrow={decoder.hidden: 12}"], [12, 24], [1, 1], id="a-variant"),
    ],
)
def test_the_command_line_is_laid_over_every_variant(file, overrides, hidden, layers):
    decoders = [plan.parts["decoder"].config for plan in plan_variants(file, overrides)]
    assert [config.hidden for config in decoders] == hidden
    assert [config.layers for config in decoders] == layers


def test_an_override_that_a_later_one_made_void_stays_so(file):
    plans = plan_variants(file, ["region_encoder.bogus=3", "region_encoder.name=whole"])
    assert [plan.parts["region_encoder"].name for plan in plans] == ["whole", "whole"]


def test_validate_checks_what_the_command_line_says_of_variants(file):
    said = toolkit("validate", "tiny.yaml", "--set", "decoder.hiden=3")
    assert said.exit_code == 2
    assert "--set decoder.hiden: decoder.hiden: unknown option" in said.output
    assert toolkit("validate", "tiny.yaml", "--set", "seed=3").exit_code == 0


@pytest.mark.parametrize("command", ["train", "validate"])
def test_mistakes_of_all_variants_are_told_together_at_their_lines(file, command):
    text = RECIPE.replace("decoder.hidden: 8", "decoder.hiden: 8").replace("{steps: 3}", "{step: 3}")
    file.write_text(text.replace("{name: mini}", "{name: mini, sead: 1}"), encoding="utf-8")
    said = toolkit(command, "tiny.yaml")
    assert said.exit_code == 2, said.output
    for told in (
        "tiny.yaml:8: dataset.sead: unknown option",
        "tiny.yaml:10: decoder.hiden: unknown option\n  did you mean: hidden",
        "tiny.yaml:13: recipe.step: unknown option\n  did you mean: steps",
    ):
        assert said.output.count(told) == 1, said.output


@pytest.mark.parametrize(
    ("variant", "told"),
    [
        pytest.param("seed.inner: 3", "variants.odd.seed.inner: seed is '1', which has nothing below it", id="number"),
        pytest.param("a b: 3", "variants.odd.a b: is no variant\n  write NAME: {part.option: value}", id="no-option"),
    ],
)
def test_what_cannot_be_laid_over_the_file_is_told_at_the_variant(file, variant, told):
    file.write_text(f"{RECIPE.partition('variants:')[0]}variants: {{odd: {{{variant}}}}}\nseed: 1\n", encoding="utf-8")
    said = toolkit("train", "tiny.yaml")
    assert said.exit_code == 2
    assert f"tiny.yaml:9: {told}" in said.output


@pytest.mark.parametrize("command", ["train", "validate"])
def test_one_name_for_the_weights_of_several_variants_is_refused(file, command):
    said = toolkit(command, "tiny.yaml", "--set", "out=mine.safetensors")
    assert said.exit_code == 2
    assert "--set out: out: the weights of 2 variants cannot have one name: each is called after" in said.output
    assert "for another folder write --out DIR" in said.output
    assert not Path("weights").exists()


def test_the_weights_of_one_variant_may_be_called_otherwise(file):
    (plan,) = plan_variants(file, ["out=mine.safetensors"], only=["wide"])
    assert plan.out.name == "mine.safetensors"
