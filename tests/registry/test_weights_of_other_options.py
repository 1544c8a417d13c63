"""Weights that were trained with other options than those that are written: refused where the toolkit chooses."""

from __future__ import annotations

import pytest
import torch
import weight_toys
from safetensors.torch import save_file

from regionkit.core.errors import ConfigError
from regionkit.registry.document import read_pipeline
from regionkit.registry.plan import PipelinePlan, plan_pipeline

OURS = {"backbone": "toy-a", "region_encoder": "toy-pool", "bridge": "toy-none", "decoder": "toy-words"}
RELEASED = {**OURS, "backbone": "tower", "decoder": {"name": "words", "weights": "none"}}
WORDS = {"kind": "decoder", "name": "toy-words", "space": "toy-a/text[4]"}


def plan(data, **parts) -> PipelinePlan:
    document = read_pipeline({**data, **parts})
    return plan_pipeline(document.data, document.line)


def refusal(data, **parts) -> str:
    with pytest.raises(ConfigError) as caught:
        plan(data, **parts)
    return str(caught.value)


@pytest.fixture
def released(toy):
    """Return a project with a backbone of released layout, and a folder ``w`` with its files."""
    weight_toys.install(toy)
    folder = toy.folder / "w"
    folder.mkdir()
    save_file({"conv.weight": torch.ones(4), "norm.bias": torch.ones(4)}, folder / "tower.safetensors")
    (folder / "merges.txt").write_text("a b")
    return toy


def test_a_folder_that_a_part_names_outright_is_not_held_to_options(toy):
    toy.weights("w/one.safetensors", **WORDS, config={"hidden": 99})
    found = plan(OURS, decoder={"name": "toy-words", "weights": "file:w", "hidden": 3})
    assert found.weights["decoder"].path.name == "one.safetensors"
    assert found.parts["decoder"].config.hidden == 3


def test_of_several_files_in_such_a_folder_those_of_the_options_go_first(toy):
    for hidden in (99, 3):
        toy.weights(f"w/of-{hidden}.safetensors", **WORDS, config={"hidden": hidden})
    found = plan(OURS, decoder={"name": "toy-words", "weights": "file:w", "hidden": 3})
    assert found.weights["decoder"].path.name == "of-3.safetensors"


def test_in_the_folder_of_a_whole_pipeline_the_toolkit_chooses(toy):
    toy.weights("w/one.safetensors", **WORDS, config={"hidden": 99})
    text = refusal(OURS, weights="file:w", decoder={"name": "toy-words", "hidden": 3})
    assert "the weights of decoder 'toy-words' in w were trained with other options than those written" in text
    assert (
        "'one' was trained with hidden: 99; to run it so all the same write decoder.weights: file:w/one.safetensors"
        in text
    )
    assert "is needed here" not in text


def test_weights_for_another_space_in_that_folder_are_still_called_so(toy):
    toy.weights("w/one.safetensors", **{**WORDS, "space": "other/text[4]"}, config={"hidden": 99})
    text = refusal(OURS, weights="file:w", decoder={"name": "toy-words", "hidden": 3})
    assert "in w are for other/text[4], corruption none, and toy-a/text[4], corruption none is needed here" in text


def test_released_weights_that_are_installed_are_held_to_options(released, monkeypatch):
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(released.folder / "w"))
    assert plan(RELEASED).parts["backbone"].config.depth == 2
    assert plan(RELEASED, backbone={"name": "tower", "depth": 2}).weights["backbone"] is not None
    text = refusal(RELEASED, backbone={"name": "tower", "depth": 7})
    assert "no weights of backbone 'tower' for tower/image[4]" in text
    place = released.folder / "w" / "tower.safetensors"
    assert "was trained with depth: 2; to run it so all the same write backbone.weights: file:" in text
    named = plan(RELEASED, backbone={"name": "tower", "depth": 7, "weights": f"file:{place}"})
    assert named.parts["backbone"].config.depth == 7


def test_released_weights_in_the_folder_of_a_pipeline_are_held_to_options_and_in_a_parts_own_are_not(released):
    text = refusal(RELEASED, weights="file:w", backbone={"name": "tower", "depth": 7})
    assert "the weights of backbone 'tower' in w were trained with other options than those written" in text
    assert "depth: 2; to run it so all the same write backbone.weights: file:w" in text
    named = plan(RELEASED, backbone={"name": "tower", "depth": 7, "weights": "file:w"})
    assert named.weights["backbone"].files["vision"].name == "tower.safetensors"
