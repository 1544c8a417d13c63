"""DenseCLIP as a backbone: its checkpoint, formulas in float64, both forms of the class token, what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from clip_family_layouts import denseclip_state, mmseg_file, write_denseclip
from clip_formulas import image_tokens, text_vectors
from official_layouts import (
    CONTEXT,
    DIM,
    SIDE,
    VOCABULARY,
    WIDTH,
    clip_model,
    context_of,
    without,
)

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.testing import check_backbone
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.patchioner.backbones.denseclip import DenseClip
from regionkit.plugins.patchioner.backbones.denseclip_config import DenseClipConfig
from regionkit.plugins.patchioner.backbones.denseclip_layout import ASIDE, read_denseclip
from regionkit.plugins.patchioner.backbones.square_config import ports_of
from regionkit.registry.cli import root

param = pytest.param
CONFIG = DenseClipConfig(resolution=SIDE * 16)
TEXTS = ["the dog", "A cat, the dog at the cat", "x"]
IMAGES = [picture((64, 48), 1), picture((40, 56), 2)]


def built(folder: Path, config: DenseClipConfig = CONFIG, context: int = CONTEXT) -> DenseClip:
    files = write_denseclip(folder, context)
    return DenseClip.build(config, context_of(read_denseclip(files, config), files))


def part(prefix: str, context: int = CONTEXT) -> dict[str, torch.Tensor]:
    """The tensors of one tower under OpenAI's names."""
    state = denseclip_state(clip_model(), context)
    return {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> DenseClip:
    return built(tmp_path_factory.mktemp("denseclip"))


# ---------------------------------------------------------------- formulas in float64


@pytest.mark.parametrize(("form", "times"), [param("once", 1, id="once"), param("twice", 2, id="twice")])
def test_all_tokens_are_those_of_the_formulas(form, times, tmp_path):
    made = built(tmp_path, DenseClipConfig(resolution=SIDE * 16, class_embedding=form))
    wanted = image_tokens(part("backbone."), made.preprocess(IMAGES)[0], embeddings=times)
    features = made.encode(IMAGES)
    torch.testing.assert_close(features.cls.double(), wanted[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(features.patches.flatten(1, 2).double(), wanted[:, 1:], rtol=0, atol=1e-5)


def test_the_two_forms_of_the_class_token_differ_and_no_compat_chooses_between_them(tmp_path, backbone):
    twice = built(tmp_path, DenseClipConfig(resolution=SIDE * 16, class_embedding="twice"))
    assert (twice.encode(IMAGES).cls - backbone.encode(IMAGES).cls).abs().max() > 1e-3
    for compat in ("paper", "reference"):
        assert DenseClipConfig(compat=compat).class_embedding == "once"
    entering, entering_twice = (made.embed(made.preprocess(IMAGES)[0]) for made in (backbone, twice))
    assert torch.equal(entering[:, 1:], entering_twice[:, 1:])
    assert not torch.equal(entering[:, 0], entering_twice[:, 0])


@pytest.mark.parametrize("context", [param(13, id="of-the-release"), param(CONTEXT, id="long")])
def test_sentences_are_unit_vectors_of_its_own_text_tower(context, tmp_path):
    made = built(tmp_path, context=context)
    assert made.config.context == context
    texts = [*TEXTS, "the dog at the cat " * 10]
    rows = [made.tokenizer.encode(text) for text in texts]
    assert len(rows[-1]) > context
    rows[-1] = [*rows[-1][: context - 1], made.tokenizer.end]
    wanted = text_vectors(part("text_encoder.", context), rows)
    vectors = made.encode_text(texts)
    torch.testing.assert_close(vectors.double(), wanted / wanted.norm(dim=-1, keepdim=True), rtol=0, atol=1e-5)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(4), rtol=0, atol=1e-6)


def test_blocks_and_embed_make_the_same_pass_in_both_forms(tmp_path):
    made = built(tmp_path, DenseClipConfig(resolution=SIDE * 16, class_embedding="twice"))
    with torch.no_grad():
        tokens = made.embed(made.preprocess(IMAGES)[0])
        for one in made.blocks:
            tokens = one(tokens)
        tokens = made.vision.head(made.vision.norm(tokens))
    assert torch.equal(tokens[:, 0], made.encode(IMAGES).cls)


# ---------------------------------------------------------------- the checkpoint


def test_header_says_spaces_and_sizes_and_ports_agree(tmp_path):
    files = write_denseclip(tmp_path, context=13)
    header = read_denseclip(files, DenseClipConfig()).header
    assert (header.kind, header.name, header.space) == ("backbone", "denseclip", f"denseclip-vit-b16/image[{DIM}]")
    assert header.config == {
        "width": WIDTH,
        "layers": 2,
        "dim": DIM,
        "text_width": 64,
        "text_layers": 3,
        "context": 13,
        "vocabulary": VOCABULARY,
    }
    made = DenseClip.build(CONFIG, context_of(read_denseclip(files, CONFIG), files))
    ports = ports_of(made.config)
    assert (ports.writes.space, ports.text, ports.blocks) == (made.space, made.text_space, made.block_space)
    assert ports.text == f"denseclip-vit-b16/text[{DIM}]"
    assert not ports.masked
    released = ports_of(DenseClipConfig())
    assert (released.writes.space, released.blocks) == ("denseclip-vit-b16/image[512]", "denseclip-vit-b16/blocks[768]")
    assert DenseClipConfig().resolution == 640


def test_every_name_that_is_left_aside_is_known_by_name_and_has_its_reason(tmp_path):
    files = write_denseclip(tmp_path)
    state = denseclip_state(clip_model())
    left = [name for name in state if any(re.fullmatch(pattern, name) for pattern in ASIDE)]
    assert len(left) == 13
    assert not [name for name in left if name.startswith(("text_encoder.", "backbone.transformer"))]
    assert all(len(reason.split()) > 1 for reason in ASIDE.values())
    read = read_denseclip(files, CONFIG).tensors
    assert not [name for name in read if re.search("fpn|neck|head\\.conv|context_dec|gamma", name)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        param(
            {"backbone.a": torch.ones(1), "b": torch.ones(1), "text_encoder.c": torch.ones(1), "d": torch.ones(1)},
            "unknown: backbone.a, b, text_encoder.c and 1 more",
            id="unknown",
        ),
        param(
            ["backbone.ln_post.weight", "backbone.ln_post.bias", "backbone.proj"],
            "has no backbone.ln_post.weight, backbone.ln_post.bias, backbone.proj: its patches lead into no space",
            id="no-projection",
        ),
        param(["backbone.proj"], "has no backbone.proj: its patches lead into no space of sentences", id="no-matrix"),
        param(
            [f"text_encoder.{name}" for name in part("text_encoder.")],
            "has no text_encoder: CLIP's own is another one than DenseCLIP's",
            id="no-text",
        ),
        param(
            ["backbone.transformer.resblocks.1.ln_1.weight", "text_encoder.ln_final.bias"],
            "missing: backbone.transformer.resblocks.1.ln_1.weight, text_encoder.ln_final.bias",
            id="missing",
        ),
        param(
            {"backbone.proj": torch.ones(WIDTH, DIM + 1)}, "the two towers are projected to spaces of diff", id="width"
        ),
        param(
            {"backbone.conv1.weight": torch.ones(WIDTH, 3, 32, 32)},
            "this model has patches of 32 pixels, 'denseclip' has 16",
            id="patch",
        ),
        param(
            {"backbone.layer1.0.conv1.weight": torch.ones(4, 4, 1, 1)},
            "this is a DenseCLIP with a ResNet, and 'denseclip' reads the one with ViT-B/16",
            id="resnet",
        ),
    ],
)
def test_another_checkpoint_is_refused(change, message, tmp_path):
    files = write_denseclip(tmp_path)
    state = denseclip_state(clip_model())
    state = without(state, *change) if isinstance(change, list) else {**state, **change}
    torch.save(mmseg_file(state), files["model"])
    with pytest.raises(WeightsError) as error:
        read_denseclip(files, CONFIG)
    assert message in str(error.value)


def test_a_plain_clip_is_told_apart(tmp_path):
    files = write_denseclip(tmp_path)
    torch.save(part("text_encoder."), files["model"])
    with pytest.raises(WeightsError, match="this is no checkpoint of DenseCLIP; it holds ") as error:
        read_denseclip(files, CONFIG)
    assert "Patch-ioner's row is made with ViT-B-DenseCLIP_long_ctx.pth" in str(error.value)
    with pytest.raises(WeightsError, match="backbone 'denseclip' needs the checkpoint of a DenseCLIP with ViT-B/16"):
        read_denseclip({"merges": files["merges"]}, CONFIG)


def test_notes_that_are_more_than_plain_values_are_not_run_but_converted(tmp_path, backbone):
    """mmcv writes colours as an array of numpy where a data set draws them at random."""
    files = write_denseclip(tmp_path)
    torch.save(mmseg_file(denseclip_state(clip_model()), np.ones((2, 3))), files["model"])
    with pytest.raises(WeightsError, match=r"reading it would call numpy\S*; nothing was run") as error:
        read_denseclip(files, CONFIG)
    assert f"convert it once: toolkit weights convert {files['model']}" in str(error.value)
    files["model"].rename(tmp_path / "fetched.pth")
    files["model"] = files["model"].with_suffix(".safetensors")
    words = ["weights", "convert", str(tmp_path / "fetched.pth"), "--out", str(files["model"])]
    result = CliRunner().invoke(root, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    again = DenseClip.build(CONFIG, context_of(read_denseclip(files, CONFIG), files))
    assert torch.equal(again.encode(IMAGES).patches, backbone.encode(IMAGES).patches)


def test_another_resolution_resamples_and_written_weights_load_again(tmp_path, backbone):
    larger = built(tmp_path, DenseClipConfig(resolution=96))
    assert larger.encode(IMAGES).patches.shape == (2, 6, 6, DIM)
    artifact = backbone.artifact()
    path = tmp_path / "own.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    again = DenseClip.build(CONFIG, BuildContext(weights=WeightFile(path, read_header(path))))
    assert torch.equal(again.encode(IMAGES).cls, backbone.encode(IMAGES).cls)


@pytest.mark.parametrize("form", ["once", "twice"])
def test_conforms(form, tmp_path):
    check_backbone(built(tmp_path, DenseClipConfig(resolution=64, class_embedding=form)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"resolution": 650}, "resolution: 650 is no multiple of the patch, 16 pixels; 640 and 656 are", id="res"),
        param({"context": 1}, "context: 1 has no room for the start and the end token", id="context"),
        param({"width": 100}, "width: 100 is no multiple of 64", id="width"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        DenseClipConfig(**options)
