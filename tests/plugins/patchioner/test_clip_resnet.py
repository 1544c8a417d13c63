"""CLIP with a ResNet: both towers against formulas in float64, its layouts, what is refused, and CapDec's preset."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest
import timm
import torch
from click.testing import CliRunner
from clip_formulas import text_vectors
from clip_resnet_release import clip_resnet_state, write_clip_resnet
from official_layouts import (
    CONTEXT,
    DIM,
    TEXT_LAYERS,
    TEXT_WIDTH,
    VOCABULARY,
    clip_model,
    context_of,
    openai_state,
    without,
)
from PIL import Image
from resnet_layouts import CHANNELS, LAST, PLACES, affine, doubled, pool_by_formula, trunk_by_formula
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from torch import Tensor
from torch.nn.functional import multi_head_attention_forward

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.testing import check_backbone
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.patchioner.backbones.clip_config import ClipConfig
from regionkit.plugins.patchioner.backbones.clip_layout import read_clip
from regionkit.plugins.patchioner.backbones.clip_resnet import ClipResNet
from regionkit.plugins.patchioner.backbones.clip_resnet_config import CLIP_RESNET_SIDES, CLIP_RESNETS, ClipResNetConfig
from regionkit.plugins.patchioner.backbones.clip_resnet_layout import read_clip_resnet
from regionkit.plugins.patchioner.backbones.square_config import ports_of
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer
from regionkit.registry import load
from regionkit.registry.cli import root
from regionkit.registry.weights import index as weight_index

param = pytest.param
CONFIG = ClipResNetConfig(resolution=32 * PLACES)
TEXTS = ["the dog", "A cat, the dog at the cat", "x", "the dog at the cat " * 10]
IMAGES = [picture((64, 48), 1), picture((40, 56), 2)]
POOL = "visual.attnpool"
_GONE = ("visual.bn2.running_var", "visual.layer2.1.conv2.weight", "ln_final.bias")


def built(folder: Path, config: ClipResNetConfig = CONFIG, layout: str = "openai") -> ClipResNet:
    files = write_clip_resnet(folder, layout)
    if layout == "open_clip":
        files["model"] /= "open_clip_model.safetensors"
    return ClipResNet.build(config, context_of(read_clip_resnet(files, config), files))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> ClipResNet:
    return built(tmp_path_factory.mktemp("clip-resnet"))


# ---------------------------------------------------------------- what it computes


def embedded(pixels: Tensor, state: dict[str, Tensor]) -> Tensor:
    """CLIP's embedding (1, dim) of one picture: PyTorch's own attention, asked by the mean of the places alone."""
    state = doubled(state)
    x = trunk_by_formula(pixels, state, "visual").flatten(2).permute(2, 0, 1)
    x = torch.cat([x.mean(0, keepdim=True), x]) + state[f"{POOL}.positional_embedding"][:, None]
    out, _ = multi_head_attention_forward(
        query=x[:1],
        key=x,
        value=x,
        embed_dim_to_check=LAST,
        num_heads=LAST // 64,
        in_proj_weight=None,
        in_proj_bias=torch.cat([state[f"{POOL}.{letter}_proj.bias"] for letter in "qkv"]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=state[f"{POOL}.c_proj.weight"],
        out_proj_bias=state[f"{POOL}.c_proj.bias"],
        training=False,
        need_weights=False,
        use_separate_proj_weight=True,
        q_proj_weight=state[f"{POOL}.q_proj.weight"],
        k_proj_weight=state[f"{POOL}.k_proj.weight"],
        v_proj_weight=state[f"{POOL}.v_proj.weight"],
    )
    return out[0]


def test_class_tokens_are_clips_embeddings_of_the_pictures(backbone):
    state = clip_resnet_state()
    pixels, _ = backbone.preprocess(IMAGES)
    found = backbone.encode(IMAGES)
    wanted = torch.cat([embedded(one[None], state) for one in pixels])
    torch.testing.assert_close(found.cls.double(), wanted, rtol=0, atol=1e-5)
    again = torch.stack([pool_by_formula(one, state, "visual")[0] for one in trunk_by_formula(pixels, state, "visual")])
    torch.testing.assert_close(wanted, again, rtol=0, atol=1e-10)
    assert found.attention is None


def test_patches_are_the_projected_values_of_the_places(backbone):
    """Source: Zhou et al., MaskCLIP, arXiv 2112.01071: no attention, no positions."""
    state = doubled(clip_resnet_state())
    places = trunk_by_formula(backbone.preprocess(IMAGES)[0], state, "visual").permute(0, 2, 3, 1)
    wanted = affine(affine(places, state, f"{POOL}.v_proj"), state, f"{POOL}.c_proj")
    found = backbone.encode(IMAGES).patches
    assert found.shape == (2, PLACES, PLACES, DIM)
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-5)


def test_sentences_are_those_of_clips_text_tower(backbone):
    rows = [backbone.tokenizer.encode(text) for text in TEXTS]
    rows = [ids if len(ids) <= CONTEXT else [*ids[: CONTEXT - 1], ids[-1]] for ids in rows]
    wanted = text_vectors(openai_state(clip_model()), rows)
    torch.testing.assert_close(backbone.encode_text(TEXTS).double(), wanted, rtol=0, atol=1e-5)


def test_another_resolution_resamples_positions(backbone, tmp_path):
    state, other = clip_resnet_state(), built(tmp_path, ClipResNetConfig(resolution=160))
    positions = state[f"{POOL}.positional_embedding"][None]
    state[f"{POOL}.positional_embedding"] = resample_abs_pos_embed(positions, [5, 5], num_prefix_tokens=1)[0]
    found = other.encode(IMAGES[:1])
    assert found.patches.shape == (1, 5, 5, DIM)
    wanted = embedded(other.preprocess(IMAGES[:1])[0], state)
    torch.testing.assert_close(found.cls.double(), wanted, rtol=0, atol=1e-5)


def test_crop_takes_the_centre_as_openai_does(tmp_path):
    """Resize the shorter side, bicubic, then the centre: what OpenAI's own code does to a picture."""
    image, side = picture((200, 120), 1), 32 * PLACES
    scaled = image.resize((int(side * 200 / 120), side), Image.Resampling.BICUBIC)
    left = round((scaled.width - side) / 2)
    config = ClipResNetConfig(resolution=side, fit="crop")
    pixels, (frame,) = built(tmp_path, config).preprocess([image])
    wanted, _ = built(tmp_path).preprocess([scaled.crop((left, 0, left + side, side))])
    assert torch.equal(pixels, wanted)
    assert frame.grid == (PLACES, PLACES)


def test_batch_norm_keeps_its_statistics_even_in_training(tmp_path):
    backbone = built(tmp_path)
    alone = backbone.encode(IMAGES[:1])
    backbone.train()
    together = backbone.encode([*IMAGES, picture((32, 32), 3)])
    torch.testing.assert_close(together.patches[:1], alone.patches, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(together.cls[:1], alone.cls, rtol=1e-5, atol=1e-6)
    assert torch.equal(backbone.eval().encode(IMAGES[:1]).patches, alone.patches)


def test_no_picture_and_no_text(backbone):
    assert backbone.encode([]).patches.shape == (0, PLACES, PLACES, DIM)
    assert backbone.encode([]).cls.shape == (0, DIM)
    assert backbone.encode_text([]).shape == (0, DIM)


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("model", "name", "side", "millions"),
    [
        param("rn50", "resnet50_clip", 224, 102.01, id="rn50"),
        param("rn101", "resnet101_clip", 224, 119.69, id="rn101"),
        param("rn50x4", "resnet50x4_clip", 288, 178.30, id="rn50x4"),
        param("rn50x16", "resnet50x16_clip", 384, 290.98, id="rn50x16"),
        param("rn50x64", "resnet50x64_clip", 448, 623.26, id="rn50x64"),
    ],
)
def test_models_have_the_sizes_of_the_release(model, name, side, millions):
    """Against timm's vision towers, and the parameters of both towers that open_clip's table of models tells."""
    config = ClipResNetConfig(model=model)
    tower = ClipResNet.skeleton(config, ClipTokenizer())
    with torch.device("meta"):
        wanted = timm.create_model(name, pretrained=False, num_classes=config.size("dim"))
    shapes = {key: tuple(tensor.shape) for key, tensor in wanted.state_dict().items() if tensor.ndim}
    assert {key: tuple(tensor.shape) for key, tensor in tower.vision.state_dict().items()} == shapes
    assert tower.vision.head.num_heads == wanted.head.num_heads
    assert config.side == CLIP_RESNET_SIDES[model] == wanted.pretrained_cfg["input_size"][1] == side
    weights = {key: tensor for key, tensor in tower.state_dict().items() if ".running_" not in key}
    assert round(sum(tensor.numel() for tensor in weights.values()) / 1e6, 2) == millions
    assert tower.text.config.num_attention_heads == config.size("text_width") // 64
    assert tower.space == f"clip-{model}/image[{config.size('dim')}]"
    assert tower.text_space == f"clip-{model}/text[{config.size('dim')}]"


def test_the_default_is_the_model_of_capdec():
    config = ClipResNetConfig()
    assert (config.model, config.side, config.stages) == ("rn50x4", 288, (4, 6, 10, 6))
    assert (config.size("channels"), config.size("dim"), config.size("text_width")) == (80, 640, 640)
    assert ports_of(config).writes.space == "clip-rn50x4/image[640]"


# ---------------------------------------------------------------- layouts


@pytest.mark.filterwarnings("ignore::FutureWarning:torch.*")  # torch deprecates making such programs, not reading them
@pytest.mark.parametrize("layout", ["torchscript", "open_clip"])
def test_every_layout_gives_the_same_features(layout, backbone, tmp_path):
    other = built(tmp_path, layout=layout)
    mine, theirs = backbone.encode(IMAGES), other.encode(IMAGES)
    assert torch.equal(mine.patches, theirs.patches)
    assert torch.equal(mine.cls, theirs.cls)
    assert torch.equal(backbone.encode_text(TEXTS), other.encode_text(TEXTS))


def test_counts_of_training_steps_change_nothing(backbone, tmp_path):
    files = write_clip_resnet(tmp_path)
    torch.save({k: t for k, t in clip_resnet_state().items() if "num_batches" not in k}, files["model"])
    other = ClipResNet.build(CONFIG, context_of(read_clip_resnet(files, CONFIG), files))
    assert torch.equal(other.encode(IMAGES).cls, backbone.encode(IMAGES).cls)
    assert not any("num_batches" in name for name in other.state_dict())


def test_header_says_space_and_architecture(tmp_path):
    header = read_clip_resnet(write_clip_resnet(tmp_path), CONFIG).header
    assert (header.kind, header.name, header.space) == ("backbone", "clip-resnet", f"clip-rn50x4/image[{DIM}]")
    assert header.license == "MIT"
    assert header.config == {
        "model": "rn50x4",
        "channels": CHANNELS,
        "stage1": 1,
        "stage2": 2,
        "stage3": 1,
        "stage4": 1,
        "dim": DIM,
        "text_width": TEXT_WIDTH,
        "text_layers": TEXT_LAYERS,
        "context": CONTEXT,
        "vocabulary": VOCABULARY,
    }


def test_a_converted_file_is_the_official_one(backbone, tmp_path, monkeypatch):
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    write_clip_resnet(tmp_path)
    out = tmp_path / "out.safetensors"
    words = ["weights", "convert", "backbone/clip-resnet", str(tmp_path), "--out", str(out)]
    result = CliRunner().invoke(root, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    again = ClipResNet.build(CONFIG, BuildContext(weights=WeightFile(out, read_header(out))))
    assert torch.equal(backbone.encode(IMAGES).patches, again.encode(IMAGES).patches)
    assert torch.equal(backbone.encode_text(TEXTS), again.encode_text(TEXTS))
    own, second = again.artifact(), tmp_path / "second.safetensors"
    write_weights(second, own.tensors, own.header)
    assert own.header.config == read_header(out).config
    assert not again.blocks


# ---------------------------------------------------------------- what is refused


def changed(**changes: Tensor) -> dict[str, Tensor]:
    return {**clip_resnet_state(), **{name.replace("__", "."): tensor for name, tensor in changes.items()}}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        param(
            lambda: changed(a=torch.ones(1), visual__fpn=torch.ones(1), b=torch.ones(1), c=torch.ones(1)),
            "unknown: a, visual.fpn, b and 1 more",
            id="unknown",
        ),
        param(
            lambda: without(
                clip_resnet_state(), "visual.bn2.running_var", "visual.layer2.1.conv2.weight", "ln_final.bias"
            ),
            "missing: visual.bn2.running_var, visual.layer2.1.conv2.weight, ln_final.bias",
            id="missing",
        ),
        param(
            lambda: without(clip_resnet_state(), "visual.layer2.0.downsample.0.weight"),
            "missing: visual.layer2.0.downsample.0.weight",
            id="no-shortcut",
        ),
        param(
            lambda: changed(visual__layer3__0__conv2__weight=torch.ones(4, 4, 3, 3)),
            "shape: visual.layer3.0.conv2.weight is (4, 4, 3, 3), the model has (32, 32, 3, 3)",
            id="shape",
        ),
        param(
            lambda: changed(visual__attnpool__positional_embedding=torch.ones(9, LAST)),
            "the learned positions belong to 8 patches, which form no square",
            id="no-square",
        ),
        param(
            lambda: {k: v for k, v in clip_resnet_state().items() if k.startswith("visual.")},
            "the checkpoint has no token_embedding.weight",
            id="vision-alone",
        ),
        param(
            lambda: openai_state(clip_model()),
            "this is no CLIP with a ResNet in OpenAI's layout: it has no attention pool (visual.attnpool.*); it holds "
            "visual.class_embedding, visual.positional_embedding, visual.conv1.weight",
            id="vit",
        ),
        param(
            lambda: changed(text_projection=torch.ones(TEXT_WIDTH, 48)),
            "the two towers are projected to spaces of different width",
            id="widths",
        ),
        param(
            lambda: changed(visual__conv3__weight=torch.ones(12, 6, 3, 3)),
            "the checkpoint has impossible sizes: channels: 12 is no multiple of 8",
            id="channels",
        ),
        param(
            lambda: changed(visual__bn1__weight=torch.full((CHANNELS // 2,), torch.nan)),
            "visual.bn1.weight holds NaN",
            id="nan",
        ),
    ],
)
def test_a_checkpoint_that_is_not_accounted_for_is_refused(state, message, tmp_path):
    files = write_clip_resnet(tmp_path)
    torch.save(state(), files["model"])
    with pytest.raises(WeightsError) as caught:
        read_clip_resnet(files, CONFIG)
    assert message in str(caught.value)
    assert str(files["model"]) in str(caught.value)


def test_what_reads_another_kind_of_clip_is_told(tmp_path):
    files = write_clip_resnet(tmp_path)
    with pytest.raises(WeightsError) as caught:
        read_clip(files, ClipConfig())
    assert "this is a CLIP with a ResNet, not with a vision transformer; it holds visual.conv1.weight" in str(
        caught.value
    )
    assert caught.value.hints == ("backbone 'clip-resnet' reads it: write backbone: {name: clip-resnet}",)
    torch.save(openai_state(clip_model()), files["model"])
    with pytest.raises(WeightsError) as caught:
        read_clip_resnet(files, CONFIG)
    assert "CLIPs with a vision transformer are read by backbone 'clip'" in str(caught.value)


def test_a_file_of_timm_is_refused_with_the_one_to_take(tmp_path):
    files = write_clip_resnet(tmp_path, "open_clip")
    files["model"] = files["model"] / "model.safetensors"
    with pytest.raises(WeightsError, match=r"it holds stem\.conv1\.conv\.weight") as caught:
        read_clip_resnet(files, CONFIG)
    assert "take RN50x4.pt of OpenAI or open_clip_model.safetensors of open_clip" in str(caught.value)


def test_a_released_model_under_another_ones_name_is_refused(tmp_path, monkeypatch):
    own = {"channels": CHANNELS, "stage1": 1, "stage2": 2, "stage3": 1, "stage4": 1}
    monkeypatch.setitem(CLIP_RESNETS, "rn50", {**CLIP_RESNETS["rn50"], **own})
    files = write_clip_resnet(tmp_path)
    with pytest.raises(WeightsError) as caught:
        read_clip_resnet(files, CONFIG)
    assert str(caught.value) == (
        f"{files['model']}: this is CLIP RN50, and rn50x4 is asked for\n"
        "  write backbone.model: rn50, or name the other file: backbone.weights: file:PATH\n"
        "  to convert it: --set model=rn50"
    )
    config = ClipResNetConfig(model="rn50", resolution=96)
    assert read_clip_resnet(files, config).header.space == f"clip-rn50/image[{DIM}]"


@pytest.mark.parametrize(
    ("role", "message"),
    [
        param("model", "backbone 'clip-resnet' needs the file of a CLIP model with a ResNet", id="model"),
        param("merges", "backbone 'clip-resnet' needs the merges file of CLIP's tokenizer", id="merges"),
    ],
)
def test_a_missing_file_is_named(role, message, tmp_path):
    with pytest.raises(WeightsError, match=message):
        read_clip_resnet(without(write_clip_resnet(tmp_path), role), CONFIG)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"resolution": 300}, "resolution: 300 is no multiple of the patch, 32 pixels; 288 and 320 are", id="res"),
        param({"channels": 20}, "channels: 20 is no multiple of 8", id="channels"),
        param({"stage3": 10**6}, "stage3: 1000000 is more than 1000", id="many-blocks"),
        param({"stage1": -1}, r"stage1: -1 must be 0 \(as the named model says\) or more", id="negative"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        ClipResNetConfig(**options)


# ---------------------------------------------------------------- contract


def test_conforms(tmp_path):
    check_backbone(built(tmp_path))


def test_half_precision_stays_near(backbone, tmp_path):
    half = built(tmp_path).to(torch.bfloat16)
    one, two = half.encode(IMAGES), backbone.encode(IMAGES)
    assert torch.cosine_similarity(one.patches.float(), two.patches, dim=-1).min() > 0.99
    assert torch.cosine_similarity(one.cls.float(), two.cls, dim=-1).min() > 0.99
    assert torch.cosine_similarity(half.encode_text(TEXTS).float(), backbone.encode_text(TEXTS), dim=-1).min() > 0.99


# ---------------------------------------------------------------- CapDec's preset


@pytest.fixture
def nothing_here(monkeypatch, tmp_path):
    """No weights and no cache of the hub."""
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    weight_index.get_index.cache_clear()
    yield
    weight_index.get_index.cache_clear()


def write_capdec(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a small decoder of CapDec's release, its transformer too, by the writers of its own tests."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "zeroshot"))
    release = importlib.import_module("capdec_release")
    monkeypatch.setattr(release, "DIM", DIM)
    torch.save(release.capdec_state("transformer"), folder / "coco_prefix-009.pt")
    release.write_tokenizer(folder)


@pytest.mark.parametrize("layout", ["openai", "open_clip"])
def test_the_preset_of_capdec_captions_from_released_files(layout, nothing_here, tmp_path, monkeypatch):
    write_clip_resnet(tmp_path, layout)
    write_capdec(tmp_path, monkeypatch)
    picture((64, 48), 1).save(tmp_path / "picture.png")
    words = ["caption", str(tmp_path / "picture.png"), "--whole", "--preset", "patchioner-capdec", "--offline"]
    words += ["--json", "--weights", f"file:{tmp_path}", "--set", "backbone.resolution=96"]
    result = CliRunner().invoke(root, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["captions"]) == 1


@pytest.mark.parametrize("model", ["", ", model: rn50x4"], ids=["by-default", "written"])
def test_folders_side_by_side_hold_files_of_one_name(model, nothing_here, tmp_path, monkeypatch):
    """That of another network comes first in the order of their names."""
    mine = tmp_path / "mine"
    write_clip_resnet(mine / "rn50x4", "open_clip")
    (mine / "rn50").mkdir()
    save_file({"visual.conv1.weight": torch.ones(16, 3, 3, 3)}, mine / "rn50" / "open_clip_model.safetensors")
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(mine))
    weight_index.get_index.cache_clear()
    path = tmp_path / "pipeline.yaml"
    path.write_text(
        f"backbone: {{name: clip-resnet, resolution: 96{model}}}\nregion_encoder: patch-pool\nbridge: none\n"
        "decoder: {name: decap, weights: none, tokenizer: bytes, hidden: 16, layers: 1, heads: 2, positions: 64}\n"
    )
    assert load(str(path), device="cpu").backbone.config.model == "rn50x4"


def test_a_decoder_of_another_space_is_refused(nothing_here, tmp_path, monkeypatch):
    write_clip_resnet(tmp_path)
    write_capdec(tmp_path, monkeypatch)
    state = torch.load(tmp_path / "coco_prefix-009.pt")
    state["clip_project.linear.weight"] = torch.ones(len(state["clip_project.linear.weight"]), 48)
    torch.save(state, tmp_path / "coco_prefix-009.pt")
    picture((64, 48), 1).save(tmp_path / "picture.png")
    words = ["caption", str(tmp_path / "picture.png"), "--whole", "--preset", "patchioner-capdec", "--offline"]
    words += ["--weights", f"file:{tmp_path}", "--set", "backbone.resolution=96"]
    result = CliRunner().invoke(root, words, catch_exceptions=False)
    assert result.exit_code == 2
    assert f"clip-rn50x4/text[{DIM}] is needed here" in result.output


def test_a_decoder_of_capdec_is_trained_in_this_space(nothing_here, tmp_path, monkeypatch):
    write_clip_resnet(tmp_path / "release")
    (tmp_path / "texts.txt").write_text("the dog\nthe cat\na dog at the cat\n")
    (tmp_path / "recipe.yaml").write_text(
        "version: 1\nrecipe: {name: text-only, steps: 2, batch_size: 2, warmup: 0}\n"
        "backbone: {name: clip-resnet, weights: 'file:release', resolution: 96}\n"
        "bridge: {name: noise, variance: 0.016}\n"
        "decoder: {name: capdec, hidden: 16, layers: 1, heads: 2, intermediate: 32, positions: 64, prefix: 2, "
        "clip_length: 2, mapper_layers: 1, mapper_heads: 2}\n"
        "corpus: {name: text-lines, file: texts.txt}\n"
    )
    monkeypatch.chdir(tmp_path)
    words = ["train", "recipe.yaml", "--out", "made", "--device", "cpu"]
    result = CliRunner().invoke(root, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert read_header(Path("made/recipe.safetensors")).space == f"clip-rn50x4/text[{DIM}]"


@pytest.mark.parametrize("more", [param(["--dry-run"], id="dry-run"), param(["--data", "image@mini"], id="run")])
def test_what_capdec_waits_for_is_told_with_source_licence_and_size(more, nothing_here):
    result = CliRunner().invoke(root, ["run", "patchioner-capdec", *more])
    said = result.output
    assert "patchioner-capdec cannot run: 4 files of its weights are not here" in said
    for words in (
        "backbone clip-resnet, model: RN50x4.* or open_clip_model.safetensors or open_clip_pytorch_model.bin, from "
        "hub://timm/resnet50x4_clip.openai/open_clip_model.safetensors; licence MIT, 714 MB for 178.3 million weights",
        "decoder capdec, model: coco_prefix*.pt or ",
        "from https://github.com/DavidHuji/CapDec, its pre-trained models; ",
        "licence see its repository, about 730 MB for 182 million weights in float32",
        "decoder capdec, tokenizer: tokenizer.json",
        "get them with: toolkit weights pull patchioner-capdec",
    ):
        assert words in said
    if more == ["--dry-run"]:
        assert re.search(r"published: patchioner, table 2, row 'CapDec \[43\]'\n +image@coco/test: cider-d 91\.8", said)
