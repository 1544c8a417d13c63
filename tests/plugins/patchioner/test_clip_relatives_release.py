"""INViTE and ProxyCLIP as a user has them: a folder of official files, a pipeline file, a caption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from official_layouts import DIM, clip_model, decap_state, dinov2, facebook_state, write_clip

from regionkit.core.testing.fakes import picture
from regionkit.registry.cli import root
from regionkit.registry.weights import index as weight_index

param = pytest.param


@pytest.mark.parametrize(
    ("backbone", "vfm"),
    [
        param("{name: invite, resolution: 64}", "", id="invite"),
        param("{name: proxyclip, vfm: dinov2-b14, resolution: 70}", "dinov2_vitb14_reg4_pretrain.pth", id="proxyclip"),
    ],
)
def test_a_folder_of_official_files_captions_a_box(backbone, vfm, tmp_path: Path, monkeypatch):
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    folder = tmp_path / "release"
    write_clip(folder, "openai", clip_model())
    torch.save(decap_state(dim=DIM, masks=True), folder / "coco_prefix-009.pt")
    if vfm:
        torch.save(facebook_state(dinov2()), folder / vfm)
    image, pipeline = tmp_path / "picture.png", tmp_path / "pipeline.yaml"
    picture((64, 48), 1).save(image)
    pipeline.write_text(
        f"version: 1\nbackbone: {backbone}\nregion_encoder: {{name: patch-pool}}\nbridge: {{name: none}}\n"
        "decoder: {name: decap, compat: reference}\n"
    )
    weight_index.get_index.cache_clear()
    words = ["caption", str(image), "--box", "5,5,40,40", "--preset", str(pipeline), "--weights", f"file:{folder}"]
    result = CliRunner().invoke(root, [*words, "--offline", "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    (said,) = told["captions"]
    assert said["caption"]
    read = told["provenance"]["backbone"]["weights"]["files"]
    assert sorted(read) == sorted(["model", "merges", *(["vfm"] if vfm else [])])
