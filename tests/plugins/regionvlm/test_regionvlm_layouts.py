"""Released checkpoints: LAVIS' names, transformers' names, and what BLIP-2 lacks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from released_qformers import (
    HIDDEN,
    LANGUAGE,
    QUERIES,
    ROWS,
    WIDTH,
    WORDS,
    bert_state,
    hf_state,
    instruct_blip,
    lavis_state,
    without_text,
)
from safetensors.torch import save_file

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.features import Features, Scene
from regionkit.core.frames import Frame
from regionkit.core.regions import Box, Point, Regions, WholeImage
from regionkit.core.testing import GridBackbone, picture
from regionkit.core.weights import WeightFile
from regionkit.plugins.regionvlm.configs import LanguageProjectionConfig, PointQFormerConfig
from regionkit.plugins.regionvlm.layouts import read_language_projection, read_point_qformer
from regionkit.plugins.regionvlm.projection import LanguageProjection
from regionkit.plugins.regionvlm.qformer import PointQFormer
from regionkit.registry.plan import plan_pipeline

param = pytest.param
REGIONS = Regions((Box(5, 5, 40, 30), Point.at(60, 10), WholeImage()), (0, 1, 1))


def vocabulary(folder: Path) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(WORDS))
    return path


def write_lavis(folder: Path) -> dict[str, Path]:
    """Write what its trainer saves: weights one level down, optimiser and epoch beside them."""
    path = folder / "checkpoint_best.pth"
    torch.save({"model": lavis_state(), "optimizer": {"state": {}, "param_groups": []}, "epoch": 9}, path)
    return {"model": path, "tokenizer": vocabulary(folder)}


def write_hf(folder: Path) -> dict[str, Path]:
    """Write a folder of the hub in two files with an index, its description and its tokenizers."""
    state = {name: tensor.contiguous() for name, tensor in hf_state().items()}
    model = folder / "instructblip-tiny"
    (model / "qformer_tokenizer").mkdir(parents=True)
    vocabulary(model / "qformer_tokenizer")
    names = sorted(state)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for part, held in parts.items():
        save_file({name: state[name].clone() for name in held}, model / part)
    weight_map = {name: part for part, held in parts.items() for name in held}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (model / "config.json").write_text(json.dumps(instruct_blip().config.to_dict(), default=str))
    return {"model": model, "tokenizer": model / "qformer_tokenizer"}


def write_blip2(folder: Path, **bert) -> dict[str, Path]:
    """Write a BLIP-2, which reads no text, and a plain BERT."""
    path = folder / "blip2-tiny.safetensors"
    save_file({name: tensor.clone() for name, tensor in without_text(hf_state()).items()}, path)
    source = folder / "bert-base-uncased"
    source.mkdir()
    torch.save(bert_state(**bert), source / "pytorch_model.bin")
    return {"model": path, "bert": source, "tokenizer": vocabulary(source)}


def built(files: dict[str, Path], **options) -> tuple[PointQFormer, LanguageProjection]:
    given = PointQFormerConfig(**{"heads": 2, **options})
    artifact = read_point_qformer(files, given)
    file = WeightFile(files["model"], artifact.header, files, lambda: artifact.tensors)
    config = dataclasses.replace(given, **artifact.header.config)
    encoder = PointQFormer.build(config, BuildContext(f"vit/image[{WIDTH}]", artifact.header.writes, file))
    projection = read_language_projection(files, LanguageProjectionConfig())
    file = WeightFile(files["model"], projection.header, files, lambda: projection.tensors)
    context = BuildContext(encoder.space, f"t5/tokens[{LANGUAGE}]", file)
    return encoder, LanguageProjection.build(LanguageProjectionConfig(), context)


def scene_with(patches: torch.Tensor, cls: torch.Tensor) -> Scene:
    images = [picture((64, 48), 1), picture((80, 60), 2)]
    frames = tuple(Frame.squash(image.size, (28, 28), (2, 2)) for image in images)
    return Scene(images, GridBackbone((2, 2)), Features(patches, frames, cls))


@torch.no_grad()
def expected(encoder: PointQFormer, seen: torch.Tensor, texts: list[str]) -> torch.Tensor:
    """Return what transformers' own model makes of features (r, n, d) and texts: norm, Q-Former, projection."""
    model = instruct_blip()
    rows = [encoder.tokenizer.encode(text, encoder.config.most_tokens) for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * (QUERIES + len(row)) + [0] * (longest - len(row)) for row in rows])
    norm = model.vision_model.post_layernorm
    seen = torch.nn.functional.layer_norm(seen, norm.normalized_shape, norm.weight, norm.bias, encoder.ln_vision.eps)
    out = model.qformer(
        input_ids=ids,
        attention_mask=mask,
        query_embeds=model.query_tokens.expand(len(rows), -1, -1),
        encoder_hidden_states=seen,
        encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long),
    )
    return model.language_projection(out.last_hidden_state[:, :QUERIES])


@pytest.mark.parametrize("compat", [param("paper", id="paper"), param("reference", id="reference")])
@pytest.mark.parametrize(
    "write",
    [
        param(write_lavis, id="lavis"),
        param(write_hf, id="transformers"),
        param(write_blip2, id="blip2-and-bert"),
        param(lambda folder: write_blip2(folder, old=True, prefix=""), id="blip2-and-an-old-bert"),
    ],
)
@torch.no_grad()
def test_released_layouts_give_what_transformers_gives(write, compat, tmp_path):
    files = write(tmp_path)
    encoder, projection = built(files, compat=compat)
    generator = torch.Generator().manual_seed(3)
    patches, cls = torch.randn(2, 2, 2, WIDTH, generator=generator), torch.randn(2, WIDTH, generator=generator)
    scene = scene_with(patches, cls)
    tokens = projection.bridge(encoder.encode(scene, REGIONS))
    seen = torch.cat([cls.unsqueeze(1), patches.flatten(1, 2)], dim=1)[list(REGIONS.image)]
    wanted = expected(encoder, seen, encoder.texts(scene, REGIONS))
    assert tokens.tokens.shape == (3, QUERIES, LANGUAGE)
    lavis = files["model"].suffix == ".pth"  # whose ln_vision has torch's eps, where transformers' has its config's
    assert encoder.ln_vision.eps == (1e-5 if lavis and compat == "reference" else 1e-6)
    assert (tokens.tokens - wanted).abs().max() < 1e-5
    assert wanted.abs().max() > 0.5


def test_headers_say_sizes_widths_and_the_normalisation_of_their_layout(tmp_path):
    sizes = {
        "queries": QUERIES,
        "hidden": HIDDEN,
        "layers": 3,
        "heads": 2,
        "intermediate": 40,
        "cross_every": 2,
        "positions": 70,
        "vocabulary": ROWS,
        "cls": "auto",
        "patch_positions": "none",
    }
    lavis = read_point_qformer(write_lavis(tmp_path), PointQFormerConfig(heads=2)).header
    assert lavis.config == {**sizes, "norm_eps": 0.0}
    assert (lavis.space, lavis.writes) == (f"?[{WIDTH}]", f"point-qformer/checkpoint_best[{HIDDEN}]")
    hf = read_point_qformer(write_hf(tmp_path), PointQFormerConfig()).header  # config.json says the heads
    assert hf.config == {**sizes, "norm_eps": 1e-6}
    assert hf.writes == f"point-qformer/instructblip-tiny[{HIDDEN}]"
    projection = read_language_projection(write_hf(tmp_path / "again"), LanguageProjectionConfig()).header
    assert (projection.space, projection.writes) == (f"?[{HIDDEN}]", "")


def test_a_tokenizer_with_dec_gives_berts_embeddings_one_row_more(tmp_path):
    files = write_blip2(tmp_path)
    assert read_point_qformer(files, PointQFormerConfig(heads=2)).header.config["vocabulary"] == ROWS - 1
    files["tokenizer"].write_text("\n".join((*WORDS, "[DEC]")))
    artifact = read_point_qformer(files, PointQFormerConfig(heads=2))
    words = artifact.tensors["qformer.embeddings.word_embeddings.weight"]
    assert len(words) == ROWS
    assert torch.allclose(words[-1], words[:-1].mean(0))


def _without(files: dict[str, Path], role: str) -> dict[str, Path]:
    return {name: path for name, path in files.items() if name != role}


def _lavis_with(folder: Path, **tensors) -> dict[str, Path]:
    state = {**lavis_state(), **{name.replace("__", "."): value for name, value in tensors.items()}}
    path = folder / "regionvlm.pth"
    torch.save({name: value for name, value in state.items() if value is not None}, path)
    return {"model": path, "tokenizer": vocabulary(folder)}


def _without_a_layer_of_text(folder: Path) -> dict[str, Path]:
    return _lavis_with(folder, Qformer__bert__encoder__layer__1__output__dense__weight=None)


@pytest.mark.parametrize(
    ("write", "options", "words"),
    [
        param(
            lambda folder: _without(write_blip2(folder), "bert"),
            {},
            r"has no text path \(BLIP-2 deletes it\), so it cannot read points\n  put bert-base-uncased beside it",
            id="no-text-path",
        ),
        param(
            lambda folder: _without(write_lavis(folder), "tokenizer"),
            {},
            "reads points through BERT's tokenizer, and it is not there\n  put vocab.txt of bert-base-uncased",
            id="no-tokenizer",
        ),
        param(write_lavis, {"heads": 0}, "a Q-Former of width 32 has no heads of 64", id="heads-unknown"),
        param(
            lambda folder: _lavis_with(folder, adapter__weight=torch.zeros(2)),
            {},
            "not every tensor of this checkpoint is accounted for\n  unknown: adapter.weight",
            id="strange-tensor",
        ),
        param(
            _without_a_layer_of_text, {}, "missing: Qformer.bert.encoder.layer.1.output.dense.weight", id="half-a-path"
        ),
        param(
            lambda folder: _lavis_with(folder, query_tokens=None),
            {},
            "the checkpoint has no query_tokens",
            id="no-queries",
        ),
        param(
            lambda folder: _lavis_with(folder, query_tokens=torch.zeros(4, 32)),
            {},
            r"query_tokens is \(4, 32\), and should have 3 dimensions",
            id="queries-of-another-shape",
        ),
    ],
)
def test_what_is_missing_or_strange_is_named(write, options, words, tmp_path):
    files = write(tmp_path)
    with pytest.raises(WeightsError, match=words):
        read_point_qformer(files, PointQFormerConfig(**{"heads": 2, **options}))


def test_a_checkpoint_without_a_qformer_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"visual.proj": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match=r"no checkpoint with a Q-Former; it holds visual\.proj"):
        read_point_qformer({"model": path, "tokenizer": vocabulary(tmp_path)}, PointQFormerConfig())


def test_a_damaged_description_is_named(tmp_path):
    files = write_hf(tmp_path)
    (files["model"] / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"config.json: the model's description is unreadable"):
        read_point_qformer(files, PointQFormerConfig())


def test_a_release_without_a_projection_has_none_to_read(tmp_path):
    files = _lavis_with(tmp_path, t5_proj__weight=None, t5_proj__bias=None)
    with pytest.raises(WeightsError, match=r"the checkpoint has no projection.weight"):
        read_language_projection(files, LanguageProjectionConfig())
    assert read_point_qformer(files, PointQFormerConfig(heads=2)).header.writes == "point-qformer/regionvlm[32]"


@pytest.mark.parametrize(
    "write",
    [param(write_lavis, id="lavis"), param(write_hf, id="transformers"), param(write_blip2, id="blip2-and-bert")],
)
def test_a_pipeline_is_planned_with_released_parts_by_name(write, tmp_path):
    place = f"file:{write(tmp_path)['model']}"
    clip = "resolution: 64, width: 64, layers: 2, dim: 16, text_width: 64, text_layers: 2, vocabulary: 514"
    sizes = dict(pair.split(": ") for pair in clip.split(", "))
    plan = plan_pipeline(
        {
            "backbone": {"name": "clip", "weights": "none", **{name: int(size) for name, size in sizes.items()}},
            "region_encoder": {"name": "point-qformer", "weights": place, "heads": 2, "compat": "reference"},
            "bridge": {"name": "language-projection", "weights": place},
            "decoder": {"name": "seq2seq-tokens", "weights": "none", "hidden": LANGUAGE, "heads": 4},
        }
    )
    assert plan.parts["region_encoder"].config.queries == QUERIES
    assert plan.parts["region_encoder"].config.compat == "reference"
    assert plan.ports["region_encoder"][1].endswith(f"[{HIDDEN}]")
    assert plan.ports["bridge"] == (plan.ports["region_encoder"][1], plan.ports["bridge"][1])
    assert plan.ports["bridge"][1].endswith(f"[{LANGUAGE}]")
