"""Captions from the official files of AlphaCLIP and DenseCLIP, named by a folder, from the command line."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from clip_family_layouts import write_alphaclip, write_denseclip
from official_layouts import DIM, decap_state

from regionkit.core.testing.fakes import picture
from regionkit.registry.cli import root
from regionkit.registry.weights import index as weight_index


@pytest.mark.parametrize(
    ("backbone", "encoder", "write"),
    [
        pytest.param("alphaclip", "alpha-mask", write_alphaclip, id="alphaclip"),
        pytest.param("alphaclip", "patch-pool", write_alphaclip, id="alphaclip-pooled"),
        pytest.param("denseclip", "patch-pool", write_denseclip, id="denseclip"),
    ],
)
def test_a_folder_of_official_files_is_all_that_a_user_names(backbone, encoder, write, tmp_path, monkeypatch):
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    weight_index.get_index.cache_clear()
    write(tmp_path)
    torch.save(decap_state(dim=DIM), tmp_path / "coco_karpathy-009.pt")
    with h5py.File(tmp_path / "coco_captions_text_embeddings-ViT-B.16-4.h5", "w") as file:
        file["coco_captions-embeddings"] = np.random.default_rng(0).normal(size=(4, DIM)).astype(np.float32)
        file.create_dataset("coco_captions-text", data=["a", "b", "c", "d"], dtype=h5py.string_dtype())
    pipeline = {
        "weights": f"file:{tmp_path}",
        "backbone": {"name": backbone, "resolution": 64},
        "region_encoder": {"name": encoder},
        "bridge": {"name": "memory"},
        "decoder": {"name": "decap"},
    }
    (tmp_path / "pipeline.yaml").write_text(json.dumps(pipeline))
    picture((64, 48), 1).save(tmp_path / "picture.png")
    words = ["caption", str(tmp_path / "picture.png"), "--box", "5,5,40,40", "--trace", "1,1 30,30", "--whole"]
    words += ["--preset", str(tmp_path / "pipeline.yaml"), "--offline", "--json"]
    result = CliRunner().invoke(root, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    captions = json.loads(result.stdout)["captions"]
    assert [sorted(one["region"]) for one in captions] == [["box"], ["trace"], ["whole"]]
