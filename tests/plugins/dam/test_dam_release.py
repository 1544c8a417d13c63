"""A release in its folders: read part by part, used as a pipeline, converted; every name of it is accounted for."""

import json

import pytest
import torch
from dam_golden import (
    SMALL,
    focal_prompt,
    outputs,
    regions,
    release_in,
    scene,
    shared,
    vision_tower,
    weights,
)
from safetensors.torch import load_file

from regionkit.core.errors import WeightsError
from regionkit.core.weights import write_weights
from regionkit.plugins.dam.configs import FocalPromptConfig
from regionkit.plugins.dam.focal_layout import read_focal_prompt
from regionkit.registry.assembly import build, build_pipeline
from regionkit.registry.plan import plan_pipeline

param = pytest.param
PARTS = {
    "backbone": "siglip",
    "region_encoder": "focal-prompt",
    "bridge": "mlp-downsample",
    "decoder": "lm-tokens",
}


def read(folder, **options):
    files = {"vision": folder / "vision_tower", "context": folder / "context_provider"}
    return read_focal_prompt(files, FocalPromptConfig(**options))


@torch.no_grad()
def test_the_folders_of_a_release_make_a_pipeline_in_one_line(tmp_path):
    folder = release_in(tmp_path / "dam")
    plan = plan_pipeline({**PARTS, "weights": f"file:{folder}"})
    assert plan.parts["region_encoder"].config.compat == "reference"
    pipeline = build_pipeline(plan, device="cpu")
    tokens = pipeline.inputs(scene(pipeline.backbone), regions())
    assert torch.allclose(tokens.tokens, outputs()["llm_image_features"], atol=1e-5)


@torch.no_grad()
def test_weights_that_were_read_are_the_same_after_they_were_written_as_a_file_of_ours(tmp_path):
    backbone = vision_tower()
    encoder = focal_prompt(backbone)
    artifact = read(release_in(tmp_path / "dam"))
    write_weights(tmp_path / "focal.safetensors", artifact.tensors, artifact.header)
    again = build(
        "region_encoder",
        {"name": "focal-prompt", "weights": f"file:{tmp_path / 'focal.safetensors'}"},
        reads=backbone.block_space,
        writes=artifact.header.writes,
        backbone=backbone,
    )
    assert again.config.form == "scalar"
    one, other = (part.encode(scene(backbone), regions()) for part in (encoder, again))
    assert torch.equal(one.tokens, other.tokens)
    assert one.space == other.space


def test_a_release_of_the_whole_model_has_dead_weight_that_is_left_out(tmp_path):
    everything = load_file(shared("vision/weights.safetensors"))
    assert len(everything) == 147
    whole, small = read(release_in(tmp_path / "whole", everything)), read(release_in(tmp_path / "small"))
    assert set(whole.tensors) == set(small.tensors)
    assert {int(name.split(".")[1]) for name in whole.tensors if name.startswith("adapters")} == {0, 1}
    assert whole.header == small.header


@pytest.mark.parametrize(
    ("said", "option", "value"),
    [
        param({}, "identical_views", "global", id="default"),
        param({"treat_image_as_cimage": True}, "identical_views", "regional", id="treat-image-as-crop"),
        param({"masked_cross_attn": True}, "masked_attention", True, id="masked"),
        param({"num_attention_heads": 8}, "heads", 8, id="heads"),
        param({}, "intermediate", 96, id="intermediate"),
        param({}, "context", "cross-attention", id="context"),
    ],
)
def test_what_the_config_of_a_release_decides(tmp_path, said, option, value):
    header = read(release_in(tmp_path / "dam", **said)).header
    assert header.config[option] == value
    assert header.space == "?[64]"
    assert header.writes.startswith("focal-prompt/")


def test_two_releases_write_two_spaces(tmp_path):
    gate = "context_provider.context_provider_module.layers.0.attn_factor"
    other = {**weights(), gate: weights()[gate] + 1}
    one, two = read(release_in(tmp_path / "one")), read(release_in(tmp_path / "two", other))
    assert one.header.writes != two.header.writes


def test_gates_that_are_constant_in_a_release_are_open(tmp_path):
    fixed = {name: tensor for name, tensor in weights().items() if not name.endswith("_factor")}
    artifact = read(release_in(tmp_path / "dam", fixed, zero_init_output=False))
    assert [float(artifact.tensors[f"adapters.{number}.attn_factor"]) for number in (0, 1)] == [1, 1]


def test_without_cross_attention_no_adapters_are_asked_for(tmp_path):
    folder = release_in(tmp_path / "dam")
    artifact = read_focal_prompt({"vision": folder / "vision_tower"}, FocalPromptConfig(context="none"))
    assert set(artifact.tensors) == {"mask_embedding.weight", "mask_embedding.bias"}
    with pytest.raises(WeightsError, match="needs the adapters of the release"):
        read_focal_prompt({"vision": folder / "vision_tower"}, FocalPromptConfig())


PREFIX = "context_provider.context_provider_module.layers."


@pytest.mark.parametrize(
    ("change", "said", "words"),
    [
        param({f"{PREFIX}0.odd": torch.ones(1)}, {}, "unknown: context_provider_module.layers.0.odd", id="unknown"),
        param({f"{PREFIX}1.mlp.fc1.bias": None}, {}, "missing: adapters.1.mlp.fc1.bias", id="missing"),
        param(
            {f"{PREFIX}0.mlp_factor": torch.ones(2)},
            {},
            "shape: context_provider_module.layers.0.mlp_factor is (2,)",
            id="shape",
        ),
        param({f"{PREFIX}7.mlp_factor": torch.ones(1)}, {}, "do not belong to a tower of 3", id="too-many"),
        param({}, {"context_provider_type": "other"}, "context_provider_type 'other'", id="type"),
        param({}, {"context_image_as_queries": True}, "context_image_as_queries True", id="queries"),
        param({}, {"num_attention_heads": 7}, "7 heads do not share a width of 64", id="heads"),
        param(
            {"vision_tower.vision_tower.vision_model.embeddings.mask_patch_embedding.bias": None},
            {},
            "missing: mask_embedding.bias",
            id="half-a-mask-embedding",
        ),
    ],
)
def test_what_a_release_may_not_be(tmp_path, change, said, words):
    tensors = {name: tensor for name, tensor in {**weights(), **change}.items() if tensor is not None}
    with pytest.raises(WeightsError) as caught:
        read(release_in(tmp_path / "dam", tensors, **said))
    assert words in str(caught.value)


def test_a_plain_siglip_is_no_release(tmp_path):
    plain = {name: tensor for name, tensor in weights().items() if "mask_patch" not in name}
    with pytest.raises(WeightsError, match="this tower has no embedding of masks: it is a plain SigLIP"):
        read(release_in(tmp_path / "dam", plain))


def test_a_config_that_is_no_json(tmp_path):
    folder = release_in(tmp_path / "dam")
    (folder / "context_provider/config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"config.json: it is no JSON"):
        read(folder)
    assert json.loads((SMALL / "config.json").read_text())["mm_vision_select_layer"] == -2
