"""CLIP as a backbone: official layouts, parity with transformers, resolutions, preprocessing, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from official_layouts import (
    CONTEXT,
    DIM,
    SIDE,
    VOCABULARY,
    WIDTH,
    clip_model,
    context_of,
    openai_state,
    timm_state,
    without,
    write_clip,
    write_merges,
)
from PIL import Image
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.testing import check_backbone
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.patchioner.backbones.clip import Clip
from regionkit.plugins.patchioner.backbones.clip_config import ClipConfig
from regionkit.plugins.patchioner.backbones.clip_layout import read_clip
from regionkit.plugins.patchioner.backbones.preprocessing import CLIP_PIXELS
from regionkit.plugins.patchioner.backbones.square_config import ports_of
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer

param = pytest.param
CONFIG = ClipConfig(resolution=SIDE * 16)
TEXTS = ["the dog", "A cat, the dog at the cat", "x"]
TINY = ClipConfig(
    weights="none",
    resolution=64,
    width=64,
    layers=2,
    dim=32,
    text_width=64,
    text_layers=2,
    vocabulary=514,
)


def built(folder: Path, layout: str = "openai", config: ClipConfig = CONFIG) -> Clip:
    files = write_clip(folder, layout, clip_model())
    return Clip.build(config, context_of(read_clip(files, config), files))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return built(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def reference():
    return clip_model()


# ---------------------------------------------------------------- layouts


@pytest.mark.parametrize("layout", ["openai", "hf", "timm"])
def test_every_layout_gives_the_same_features(layout, clip, tmp_path):
    other = built(tmp_path, layout)
    images = [picture((64, 48), 1), picture((30, 90), 2)]
    mine, theirs = clip.encode(images), other.encode(images)
    assert torch.equal(mine.patches, theirs.patches)
    assert torch.equal(mine.cls, theirs.cls)
    assert torch.equal(clip.encode_text(TEXTS), other.encode_text(TEXTS))


def test_half_precision_and_several_devices_leave_their_marks_in_a_file_that_loads(clip, tmp_path):
    files = {"merges": write_merges(tmp_path), "model": tmp_path / "ViT-B-16.pt"}
    half = {f"module.{name}": tensor.half() for name, tensor in openai_state(clip_model()).items()}
    torch.save({"state_dict": half, "epoch": 3}, files["model"])
    other = Clip.build(CONFIG, context_of(read_clip(files, CONFIG), files))
    image = [picture()]
    torch.testing.assert_close(other.encode(image).patches, clip.encode(image).patches, rtol=0, atol=0.05)
    assert other.encode(image).patches.dtype == torch.float32


def test_header_says_space_and_architecture(tmp_path):
    files = write_clip(tmp_path, "hf", clip_model(patch=32))
    config = ClipConfig(model="vit-b32")
    header = read_clip(files, config).header
    assert (header.kind, header.name, header.space) == ("backbone", "clip", f"clip-vit-b32/image[{DIM}]")
    assert header.config == {
        "model": "vit-b32",
        "width": WIDTH,
        "layers": 2,
        "dim": DIM,
        "text_width": 64,
        "text_layers": 3,
        "context": CONTEXT,
        "vocabulary": VOCABULARY,
    }
    backbone = Clip.build(config, context_of(read_clip(files, config), files))
    assert backbone.encode([picture()]).patches.shape == (1, 7, 7, DIM)
    assert ports_of(backbone.config).writes.space == backbone.space
    assert ports_of(backbone.config).text == backbone.text_space == f"clip-vit-b32/text[{DIM}]"


@pytest.mark.parametrize("layout", ["openai", "hf"])
def test_large_models_are_read_too(layout, tmp_path):
    config = ClipConfig(model="vit-l14", resolution=4 * 14)
    files = write_clip(tmp_path, layout, clip_model(patch=14))
    backbone = Clip.build(config, context_of(read_clip(files, config), files))
    assert (backbone.space, backbone.text_space) == (f"clip-vit-l14/image[{DIM}]", f"clip-vit-l14/text[{DIM}]")
    picture_of = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    found = backbone.read(picture_of, (backbone.frame((56, 56)),))
    with torch.inference_mode():
        whole = clip_model(patch=14)
        vision = whole.vision_model(picture_of).last_hidden_state
        wanted = whole.visual_projection(whole.vision_model.post_layernorm(vision))
    torch.testing.assert_close(found.patches.flatten(1, 2), wanted[:, 1:], rtol=0, atol=1e-5)
    with pytest.raises(WeightsError, match=r"patches of 14 pixels, vit-b16 has 16\n  write backbone.model: vit-l14"):
        read_clip(files, CONFIG)


def test_sizes_follow_the_name():
    large = ClipConfig(model="vit-l14")
    assert [large.size(name) for name in ("width", "layers", "dim", "text_width", "text_layers")] == [
        1024,
        24,
        768,
        768,
        12,
    ]
    assert (large.patch, large.block_space) == (14, "clip-vit-l14/blocks[1024]")
    assert ports_of(large).writes.space == "clip-vit-l14/image[768]"
    assert ports_of(large).text == "clip-vit-l14/text[768]"
    assert ClipConfig(model="vit-l14", width=128, dim=32).spaces()[0] == "clip-vit-l14/image[32]"
    with torch.device("meta"):
        towers = Clip.vision_tower(large), Clip.sentence_tower(large, ClipTokenizer())
    assert sum(weight.numel() for tower in towers for weight in tower.parameters()) == 427_616_512
    assert (towers[0].blocks[0].attn.num_heads, towers[1].config.num_attention_heads) == (16, 12)
    assert ClipConfig(model="vit-b32").size("width") == 768


@pytest.mark.parametrize(
    ("layout", "change", "message"),
    [
        param(
            "openai",
            {"visual.extra": torch.ones(1), "a.b": torch.ones(1), "c": torch.ones(1), "d": torch.ones(1)},
            "unknown: a.b, c, d and 1 more",
            id="unknown",
        ),
        param(
            "openai",
            ["visual.ln_post.weight", "visual.ln_post.bias", "ln_final.weight", "ln_final.bias"],
            "missing: visual.ln_post.weight, visual.ln_post.bias, ln_final.weight and 1 more",
            id="missing",
        ),
        param(
            "hf",
            ["vision_model.encoder.layers.0.self_attn.k_proj.weight"],
            "missing: vision.blocks.0.attn.qkv.weight",
            id="missing-key-projection",
        ),
        param(
            "openai",
            {"visual.transformer.resblocks.999999999.ln_1.weight": torch.ones(WIDTH)},
            "missing: visual.transformer.resblocks.2.ln_1.weight, visual.transformer.resblocks.2.ln_1.bias, "
            "visual.transformer.resblocks.2.attn.in_proj_weight and 9 more",
            id="a-billion-blocks",
        ),
        param("openai", {"visual.proj": torch.ones(2, 2, 2)}, "visual.proj is (2, 2, 2)", id="odd-projection"),
        param(
            "openai",
            {"transformer.resblocks.0.attn.in_proj_bias": torch.ones(7)},
            "transformer.resblocks.0.attn.in_proj_bias is (7,), which is not query, key and value",
            id="odd-attention",
        ),
        param(
            "hf",
            {"vision_model.encoder.layers.0.self_attn.k_proj.weight": torch.ones(2, 3)},
            "missing: vision.blocks.0.attn.qkv.weight",
            id="odd-key-projection",
        ),
        param("openai", ["token_embedding.weight"], "the checkpoint has no token_embedding.weight", id="no-words"),
        param(
            "openai",
            ["visual.positional_embedding"],
            "the checkpoint has no visual.positional_embedding",
            id="no-positions",
        ),
        param(
            "openai",
            {"visual.ln_pre.weight": torch.ones(3)},
            f"shape: visual.ln_pre.weight is (3,), the model has ({WIDTH},)",
            id="shape",
        ),
        param(
            "openai",
            {"visual.positional_embedding": torch.ones(12, WIDTH)},
            "changed.safetensors: the learned positions belong to 11 patches, which form no square",
            id="no-square",
        ),
        param("timm", {"head.bias": torch.ones(DIM)}, "head.bias is not zero", id="classifier"),
        param("timm", {"blocks.0.ls1.gamma": torch.ones(4)}, "unknown: blocks.0.ls1.gamma", id="timm-unknown"),
    ],
)
def test_a_checkpoint_that_is_not_accounted_for_is_refused(layout, change, message, tmp_path):
    files = write_clip(tmp_path, "openai", clip_model())
    make = {"openai": openai_state, "hf": lambda model: dict(model.state_dict()), "timm": timm_state}[layout]
    state = make(clip_model())
    state = {**state, **change} if isinstance(change, dict) else without(state, *change)
    path = tmp_path / "changed.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    files["vision" if layout == "timm" else "model"] = path
    with pytest.raises(WeightsError) as caught:
        read_clip(files, CONFIG)
    assert message in str(caught.value)


def test_another_model_another_vocabulary_and_missing_files_are_refused(tmp_path):
    files = write_clip(tmp_path, "openai", clip_model())
    with pytest.raises(WeightsError) as caught:
        read_clip(files, ClipConfig(model="vit-b32"))
    assert str(caught.value) == (
        f"{files['model']}: this model has patches of 16 pixels, vit-b32 has 32\n"
        "  write backbone.model: vit-b16, or name the other file: backbone.weights: file:PATH\n"
        "  to convert it: --set model=vit-b16"
    )
    (tmp_path / "few.txt").write_text("#version\nt h\n")
    with pytest.raises(WeightsError, match="these merges make 515 tokens, the text tower knows 520"):
        read_clip({**files, "merges": tmp_path / "few.txt"}, CONFIG)
    with pytest.raises(WeightsError, match="needs the merges file of CLIP's tokenizer"):
        read_clip({"model": files["model"]}, CONFIG)
    with pytest.raises(WeightsError, match="needs the file of a CLIP model"):
        read_clip({"merges": files["merges"]}, CONFIG)
    save_file({"weight": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="this is no CLIP checkpoint of OpenAI's or transformers' layout"):
        read_clip({**files, "model": tmp_path / "other.safetensors"}, CONFIG)


def test_a_converted_file_is_the_official_one(clip, tmp_path):
    files = write_clip(tmp_path, "openai", clip_model())
    artifact = read_clip(files, CONFIG)
    path = tmp_path / "clip.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    again = Clip.build(CONFIG, BuildContext(weights=WeightFile(path, read_header(path))))
    images = [picture()]
    assert torch.equal(clip.encode(images).patches, again.encode(images).patches)
    assert torch.equal(clip.encode_text(TEXTS), again.encode_text(TEXTS))
    assert again.tokenizer.merges == clip.tokenizer.merges


def test_its_own_artifact_comes_back_bit_for_bit(clip, tmp_path):
    artifact, path = clip.artifact(), tmp_path / "own.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    again = Clip.build(CONFIG, BuildContext(weights=WeightFile(path, read_header(path))))
    assert torch.equal(clip.encode([picture()]).patches, again.encode([picture()]).patches)


def test_a_size_that_the_weights_do_not_have_is_refused(tmp_path):
    files = write_clip(tmp_path, "openai", clip_model())
    context = context_of(read_clip(files, CONFIG), files)
    with pytest.raises(WeightsError, match=r"backbone\.layers: 5 was asked for, the weights .* have 2"):
        Clip.build(ClipConfig(resolution=64, layers=5), context)


# ---------------------------------------------------------------- parity


def test_vision_tower_is_that_of_transformers(clip, reference):
    images = [picture((64, 48), 1), picture((40, 56), 2)]
    pixels, _ = clip.preprocess(images)
    features = clip.encode(images)
    with torch.no_grad():
        hidden = reference.vision_model(pixel_values=pixels).last_hidden_state
        tokens = reference.visual_projection(reference.vision_model.post_layernorm(hidden))
    torch.testing.assert_close(features.cls, tokens[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(features.patches.flatten(1, 2), tokens[:, 1:], rtol=0, atol=1e-5)


def test_text_tower_is_that_of_transformers(clip, reference):
    for text in TEXTS:
        ids = clip.tokenizer.encode(text)
        with torch.no_grad():
            output = reference.text_model(input_ids=torch.tensor([ids + [0] * (CONTEXT - len(ids))]))
            wanted = reference.text_projection(output.pooler_output)
        torch.testing.assert_close(clip.encode_text([text]), wanted, rtol=0, atol=1e-5)


def test_a_text_beyond_the_context_keeps_its_end_token(clip, reference):
    text = "the dog at the cat " * 10
    ids = clip.tokenizer.encode(text)
    assert len(ids) > CONTEXT
    with torch.no_grad():
        output = reference.text_model(input_ids=torch.tensor([[*ids[: CONTEXT - 1], clip.tokenizer.end]]))
        wanted = reference.text_projection(output.pooler_output)
    torch.testing.assert_close(clip.encode_text([text]), wanted, rtol=0, atol=1e-5)


def test_blocks_and_embed_make_the_same_pass(clip):
    images = [picture((64, 48), 1), picture((40, 56), 2)]
    pixels, frames = clip.preprocess(images)
    with torch.no_grad():
        tokens = clip.embed(pixels)
        assert tokens.shape == (2, 1 + SIDE * SIDE, WIDTH)
        for block in clip.blocks:
            tokens = block(tokens)
        tokens = clip.vision.head(clip.vision.norm(tokens))
    features = clip.encode(images)
    assert torch.equal(tokens[:, 1:].reshape(features.patches.shape), features.patches)
    assert frames == features.frames


@pytest.mark.parametrize("resolution", [param(64, id="own"), param(592, id="592")])
def test_other_resolutions_resample_positions_as_timm_does(resolution, clip, tmp_path):
    config = ClipConfig(resolution=resolution)
    backbone = built(tmp_path, config=config)
    grid = resolution // 16
    state = timm_state(clip_model())
    with torch.random.fork_rng(devices=[]):
        plain = VisionTransformer(
            img_size=resolution,
            patch_size=16,
            embed_dim=WIDTH,
            depth=2,
            num_heads=2,
            num_classes=DIM,
            pre_norm=True,
            norm_layer=lambda width, **more: torch.nn.LayerNorm(width, eps=1e-5, **more),
            act_layer="quick_gelu",
        ).eval()
    state["pos_embed"] = resample_abs_pos_embed(state["pos_embed"], [grid, grid])
    plain.load_state_dict(state)
    image = picture((640, 480), 3)
    features = backbone.encode([image])
    assert features.patches.shape == (1, grid, grid, DIM)
    assert features.frames[0].patch_size == (16, 16)
    with torch.no_grad():
        tokens = plain.head(plain.forward_features(backbone.preprocess([image])[0]))
    torch.testing.assert_close(features.patches.flatten(1, 2), tokens[:, 1:], rtol=0, atol=1e-5)


# ---------------------------------------------------------------- contract


@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_conforms(fit, tmp_path):
    check_backbone(built(tmp_path, config=ClipConfig(resolution=64, fit=fit)))


def test_untrained_conforms_and_starts_from_the_seed():
    state = torch.random.get_rng_state()
    one, same, other = (Clip.build(TINY, BuildContext(seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    check_backbone(one)
    images = [picture()]
    assert torch.equal(one.encode(images).patches, same.encode(images).patches)
    assert not torch.equal(one.encode(images).patches, other.encode(images).patches)
    assert one.tokenizer.size == 514
    assert not one.tokenizer.merges


def test_chunks_change_nothing_and_no_picture_gives_no_features(clip, tmp_path):
    small = built(tmp_path, config=ClipConfig(resolution=64, batch=2))
    images = [picture((60 + index, 50), index) for index in range(5)]
    torch.testing.assert_close(small.encode(images).patches, clip.encode(images).patches, rtol=0, atol=1e-5)
    assert clip.encode([]).patches.shape == (0, SIDE, SIDE, DIM)
    assert clip.encode_text([]).shape == (0, DIM)


def test_half_precision_stays_half_and_near(clip, tmp_path):
    half = built(tmp_path).to(torch.bfloat16)
    images = [picture()]
    features = half.encode(images)
    assert features.patches.dtype == torch.bfloat16
    cosine = torch.cosine_similarity(features.patches.float(), clip.encode(images).patches, dim=-1)
    assert cosine.min() > 0.99
    texts = torch.cosine_similarity(half.encode_text(TEXTS).float(), clip.encode_text(TEXTS), dim=-1)
    assert texts.min() > 0.99


def test_it_can_be_pickled(clip):
    again = pickle.loads(pickle.dumps(clip))
    assert torch.equal(again.encode_text(TEXTS), clip.encode_text(TEXTS))


# ---------------------------------------------------------------- preprocessing


def pixels_by_hand(image: Image.Image, size: tuple[int, int], corner: tuple[int, int], side: int) -> torch.Tensor:
    left, top = corner
    scaled = image.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + side, top + side))
    values = np.asarray(scaled, dtype=np.float64) / 255
    return torch.from_numpy((values - np.array(CLIP_PIXELS[0])) / np.array(CLIP_PIXELS[1])).permute(2, 0, 1).float()


def test_squash_is_a_bicubic_resize_of_both_sides(clip):
    image = picture((100, 50), 1)
    pixels, frames = clip.preprocess([image])
    torch.testing.assert_close(pixels[0], pixels_by_hand(image, (64, 64), (0, 0), 64), rtol=0, atol=1e-5)
    assert frames[0].to_frame(50, 25) == (32, 32)


@pytest.mark.parametrize("compat", ["paper", "reference"])
def test_crop_takes_the_centre_of_the_resized_picture(compat, tmp_path):
    backbone = built(tmp_path, config=ClipConfig(resolution=64, fit="crop", compat=compat))
    image = picture((101, 50), 1)
    pixels, frames = backbone.preprocess([image])
    torch.testing.assert_close(pixels[0], pixels_by_hand(image, (129, 64), (32, 0), 64), rtol=0, atol=1e-5)
    assert frames[0].offset == (32.0, 0.0)
    assert frames[0].scale == ((129 / 101, 64 / 50) if compat == "paper" else (64 / 50, 64 / 50))


def test_a_very_long_picture_is_cropped_without_being_made_whole(tmp_path):
    backbone = built(tmp_path, config=ClipConfig(resolution=64, fit="crop"))
    image = picture((40000, 2), 1, cells=2)
    pixels, _ = backbone.preprocess([image])
    middle = image.crop((19999, 0, 20001, 2)).resize((64, 64), Image.Resampling.BICUBIC)
    wanted = pixels_by_hand(middle, (64, 64), (0, 0), 64)
    assert pixels.shape == (1, 3, 64, 64)
    # The two differ where the filter reaches beyond the crop.
    assert (pixels[0] - wanted).abs().mean() < 0.3


def test_pictures_of_other_modes_are_read_as_rgb(clip):
    grey = picture((50, 50), 1).convert("L")
    assert torch.equal(clip.preprocess([grey])[0], clip.preprocess([grey.convert("RGB")])[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"resolution": 230}, "resolution: 230 is no multiple of the patch, 16 pixels; 224 and 240 are", id="res"),
        param({"resolution": 8}, "resolution: 8 is no multiple of the patch, 16 pixels; 16 and 32 are", id="small"),
        param({"resolution": 16 * 1000}, "resolution: 16000 is more than 8192", id="pixels"),
        param({"layers": 10**9}, "layers: 1000000000 is more than 1000", id="many-layers"),
        param({"batch": 0}, "batch: 0 must be 1 or more", id="batch"),
        param({"layers": -1}, r"layers: -1 must be 0 \(as the named model says\) or more", id="layers"),
        param({"width": 100}, "width: 100 is no multiple of 64, the width of a head", id="width"),
        param({"context": 1}, "context: 1 has no room for the start and the end token", id="context"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        ClipConfig(**options)
