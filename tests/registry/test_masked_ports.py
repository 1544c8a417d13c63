"""Port symbol ``masked``: what a backbone makes of pictures that come with masks."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from regionkit.core.errors import ConfigError
from regionkit.registry.cli import root
from regionkit.registry.plan import plan_pipeline

TINY = {"name": "alphaclip", "weights": "none", "dim": 32}
REST = {"bridge": {"name": "memory", "weights": "none"}, "decoder": {"name": "decap", "weights": "none"}}


def test_what_reads_masked_pictures_reads_the_space_that_the_backbone_names():
    plan = plan_pipeline({"backbone": TINY, "region_encoder": "alpha-mask", **REST})
    space = "alphaclip-vit-b16/image[32]"
    assert plan.ports["region_encoder"] == (space, space)
    assert plan.ports["bridge"] == (space, "clip-vit-b16/text[32]")


def test_a_backbone_without_masks_is_refused_with_those_that_fit():
    with pytest.raises(ConfigError) as caught:
        plan_pipeline({"backbone": "mini-dense", "region_encoder": "alpha-mask", **REST})
    text = str(caught.value)
    assert "region_encoder 'alpha-mask' hands a backbone pictures with masks, and this one takes no masks" in text
    assert "choose a backbone that does: toolkit compat shows which parts fit" in text


def test_compat_pairs_it_with_backbones_that_take_masks_alone():
    result = CliRunner().invoke(root, ["compat", "alpha-mask", "--untrained", "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    fitting = {row["backbone"] for row in json.loads(result.stdout) if row["fits"]}
    assert fitting == {"alphaclip"}


def test_compat_pairs_what_needs_a_bank_and_says_how_it_is_named():
    rows = json.loads(CliRunner().invoke(root, ["compat", "nearest-text", "--untrained", "--json"]).output)
    pairs = {(row["backbone"], row["bridge"]) for row in rows if row["fits"] and row["region_encoder"] == "patch-pool"}
    assert {("siglip2", "memory"), ("siglip2", "none"), ("clip", "diffusion")} <= pairs
    assert ("siglip", "none") not in pairs  # it has no text tower
    shown = CliRunner().invoke(root, ["compat", "nearest-text"]).output
    assert "nearest-text: name its bank, decoder: {name: nearest-text, bank: NAME}; one is made with" in shown


def test_missing_weights_of_another_model_are_not_fetched_under_the_bare_name(tmp_path):
    pipeline = "version: 1\nbackbone: {name: invite%s}\nregion_encoder: patch-pool\nbridge: none\ndecoder: decap\n"
    for options, pulled in ((", model: vit-b32", "FILE, a pipeline with model: vit-b32;"), ("", "invite;")):
        (tmp_path / "p.yaml").write_text(pipeline % options)
        output = CliRunner().invoke(root, ["validate", str(tmp_path / "p.yaml")]).output
        assert f"fetch the released ones: toolkit weights pull {pulled}" in output
