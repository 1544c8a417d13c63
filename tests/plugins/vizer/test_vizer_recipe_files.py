"""Both stages from YAML files on the command line, on the mini-world and a tiny model that looks at pictures."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from click.testing import CliRunner
from vizer_fakes import vlm

from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.vizer.mapper import NOTES
from regionkit.registry.cli import root

PIPELINE = """
backbone: {{name: mini-dense}}
region_encoder: {{name: picture, style: whole}}
bridge: {{name: none}}
decoder: {{name: vlm, weights: "file:{folder}/base.safetensors"{decoder}}}
"""
STAGE_1 = """
recipe: {{name: mapper-alignment, variant: G, steps: 2, batch_size: 3, images: 6, max_tokens: 5}}
dataset: {{name: mini}}
mapper: {{name: mapper, width: 8}}
"""
STAGE_2 = """
recipe: {{name: zero-label, steps: 2, batch_size: 3, images: 6, max_tokens: 5, learning_rate: 0.01}}
dataset: {{name: mini}}
mapper: {{name: mapper, weights: {weights}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with an untrained decoder, without adapters, and a mapper that stage 1 trained for it."""
    made = tmp_path_factory.mktemp("vizer")
    artifact = vlm(lora=0).artifact()
    write_weights(made / "base.safetensors", artifact.tensors, artifact.header)
    write(made, "mapper", STAGE_1)
    shown = toolkit("train", made / "mapper.yaml", "--out", made)
    assert shown.exit_code == 0, shown.output
    assert "R@1" in shown.output
    return made


def write(folder, name, text, decoder="", **words):
    (folder / f"{name}.yaml").write_text((PIPELINE + text).format(folder=folder, decoder=decoder, **words))


def toolkit(*words):
    with torch.random.fork_rng(devices=[]):
        return CliRunner().invoke(root, [str(word) for word in words])


def test_stage_1_writes_a_mapper_that_says_what_it_is_for(folder):
    header = read_header(folder / "mapper.safetensors")
    assert (header.kind, header.name, header.space, header.writes) == (
        "bridge",
        "mapper",
        "vlm/hidden[32]",
        "vlm/vision[16]",
    )
    assert header.config == {"width": 8, "depth": 2, "pool": "mean", "center": True}
    assert header.extra[NOTES]["variant"] == "G"


def test_stage_2_trains_the_adapter_from_that_mapper_and_keeps_the_base(folder):
    write(folder, "stage2", STAGE_2, ", lora: 4", weights=f'"file:{folder}/mapper.safetensors", width: 8')
    shown = toolkit("train", folder / "stage2.yaml", "--out", folder, "--set", "recipe.allow_collapsed=true")
    assert shown.exit_code == 0, shown.output
    assert "base distinct" in shown.output
    path = folder / "stage2.safetensors"
    trained = WeightFile(path, read_header(path))
    base = WeightFile(folder / "base.safetensors", read_header(folder / "base.safetensors")).tensors()
    tensors = trained.tensors()
    assert all(torch.equal(tensors[name], base[name]) for name in base)
    added = set(tensors) - set(base)
    assert added
    assert all(".lora_" in name for name in added)
    assert any(tensors[name].abs().sum() > 0 for name in added if ".lora_B." in name)
    assert trained.header.extra[NOTES]["estimator"] == "teacher-force"


def test_a_collapsed_mapper_and_a_forgotten_one_are_refused_before_training(folder):
    path = folder / "mapper.safetensors"
    file = WeightFile(path, read_header(path))
    notes = {**file.header.extra[NOTES], "collapsed": True, "R@1": 0.16, "chance": 0.16}
    header = dataclasses.replace(file.header, extra={**file.header.extra, NOTES: notes})
    write_weights(folder / "collapsed.safetensors", file.tensors(), header)
    write(folder, "refused", STAGE_2, ", lora: 4", weights=f'"file:{folder}/collapsed.safetensors"')
    shown = toolkit("train", folder / "refused.yaml", "--out", folder)
    assert shown.exit_code != 0
    assert "error: the mapper is collapsed: it finds the right picture for 16.0% of captions" in shown.output
    write(folder, "forgotten", STAGE_2, ", lora: 4", weights="auto")
    shown = toolkit("train", folder / "forgotten.yaml", "--out", folder)
    assert "follows a mapper, and this one is not trained" in shown.output
    assert "Traceback" not in shown.output
    write(folder, "bare", STAGE_2, weights="none")
    shown = toolkit("train", folder / "bare.yaml", "--out", folder)
    assert "write: decoder.lora: 32" in shown.output
