"""AlphaCLIP as a backbone: its files, formulas in float64, what becomes of masks, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from clip_family_layouts import alphaclip_state, write_alphaclip
from clip_formulas import block, entering, image_tokens, text_vectors
from official_layouts import (
    CONTEXT,
    DIM,
    SIDE,
    VOCABULARY,
    WIDTH,
    clip_model,
    context_of,
    openai_state,
    without,
)
from PIL import Image

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.testing import check_backbone, example_masks
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.patchioner.backbones.alphaclip import AlphaClip
from regionkit.plugins.patchioner.backbones.alphaclip_config import AlphaClipConfig
from regionkit.plugins.patchioner.backbones.alphaclip_layout import read_alphaclip
from regionkit.plugins.patchioner.backbones.square_config import ports_of

param = pytest.param
RESOLUTION = SIDE * 16
CONFIG = AlphaClipConfig(resolution=RESOLUTION)
TEXTS = ["the dog", "A cat, the dog at the cat", "x"]
IMAGES = [picture((64, 48), 1), picture((40, 56), 2)]
MASKS = example_masks(IMAGES)


def built(folder: Path, config: AlphaClipConfig = CONFIG) -> AlphaClip:
    files = write_alphaclip(folder)
    return AlphaClip.build(config, context_of(read_alphaclip(files, config), files))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> AlphaClip:
    return built(tmp_path_factory.mktemp("alphaclip"))


@pytest.fixture(scope="module")
def state():
    return alphaclip_state(clip_model(seed=3))


def alpha_of(masks, mean: float, deviation: float) -> torch.Tensor:
    """Masks at the size of the preprocessed picture, by Pillow's bilinear filter, normalised."""
    side = (RESOLUTION, RESOLUTION)
    resized = [Image.fromarray(mask.astype(np.float32)).resize(side, Image.Resampling.BILINEAR) for mask in masks]
    values = torch.from_numpy(np.stack([np.asarray(one) for one in resized])).double().unsqueeze(1)
    return (values - mean) / deviation


# ---------------------------------------------------------------- formulas in float64


@pytest.mark.parametrize(
    ("compat", "normalising"),
    [param("paper", (0.5, 0.26), id="paper-normalises"), param("reference", (0.0, 1.0), id="reference-does-not")],
)
def test_masked_tokens_are_those_of_the_formulas(compat, normalising, tmp_path, state):
    made = built(tmp_path, AlphaClipConfig(resolution=RESOLUTION, compat=compat))
    pixels, alpha = made.preprocess(IMAGES)[0].double(), alpha_of(MASKS, *normalising)
    double = {name: tensor.double() for name, tensor in state.items()}
    with torch.no_grad():
        first = made.embed_masked(pixels.float(), made.preprocessing.masks(MASKS))
        after = made.blocks[0](first)
    wanted = entering(double, pixels, alpha)
    torch.testing.assert_close(first.double(), wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(after.double(), block(wanted, double, "transformer.resblocks.0"), rtol=0, atol=1e-5)
    tokens = image_tokens(state, pixels, alpha=alpha)
    features = made.encode_masked(IMAGES, MASKS)
    torch.testing.assert_close(features.cls.double(), tokens[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(features.patches.flatten(1, 2).double(), tokens[:, 1:], rtol=0, atol=1e-5)


def test_a_mask_of_zeros_and_ones_becomes_plus_and_minus_1_923(backbone):
    mean, deviation = backbone.config.alpha
    assert (1 - mean) / deviation == pytest.approx(1.923, abs=1e-3)
    assert (0 - mean) / deviation == pytest.approx(-1.923, abs=1e-3)
    assert AlphaClipConfig(compat="reference").alpha == (0.0, 1.0)


@pytest.mark.parametrize("compat", ["paper", "reference"])
def test_a_picture_without_a_mask_is_asked_about_everywhere(compat, tmp_path, state):
    made = built(tmp_path, AlphaClipConfig(resolution=RESOLUTION, compat=compat))
    whole = [np.ones(image.size[::-1], dtype=np.bool_) for image in IMAGES]
    plain, masked = made.encode(IMAGES), made.encode_masked(IMAGES, whole)
    assert torch.equal(plain.cls, masked.cls)
    assert torch.equal(plain.patches, masked.patches)
    value = (1 - made.config.alpha[0]) / made.config.alpha[1]
    pixels = made.preprocess(IMAGES)[0]
    wanted = image_tokens(state, pixels, alpha=torch.full((2, 1, RESOLUTION, RESOLUTION), value).double())
    torch.testing.assert_close(plain.cls.double(), wanted[:, 0], rtol=0, atol=1e-5)


def test_without_weights_for_masks_it_is_clip(tmp_path, state):
    files = write_alphaclip(tmp_path)
    torch.save({**state, "conv1_alpha.weight": torch.zeros(WIDTH, 1, 16, 16)}, files["vision"])
    made = AlphaClip.build(CONFIG, context_of(read_alphaclip(files, CONFIG), files))
    wanted = image_tokens(without(state, "conv1_alpha.weight"), made.preprocess(IMAGES)[0])
    torch.testing.assert_close(made.encode_masked(IMAGES, MASKS).cls.double(), wanted[:, 0], rtol=0, atol=1e-5)


def test_sentences_are_those_of_the_other_file_and_not_normalised(backbone):
    rows = [backbone.tokenizer.encode(text) for text in TEXTS]
    wanted = text_vectors(without_vision(openai_state(clip_model())), rows)
    torch.testing.assert_close(backbone.encode_text(TEXTS).double(), wanted, rtol=0, atol=1e-5)


def without_vision(whole):
    return {name: tensor for name, tensor in whole.items() if not name.startswith("visual.")}


# ---------------------------------------------------------------- masks


def test_masks_go_where_their_pictures_go(tmp_path):
    """A white thing on black, and its mask: the crop shows both at the same place."""
    made = built(tmp_path, AlphaClipConfig(resolution=RESOLUTION, fit="crop"))
    mask = np.zeros((64, 160), dtype=np.bool_)
    mask[16:32, 56:88] = True
    seen = made.preprocessing.masks([mask])[0, 0]
    assert seen.shape == (RESOLUTION, RESOLUTION)
    wanted = torch.zeros(RESOLUTION, RESOLUTION)
    wanted[16:32, 8:40] = 1  # 160 x 64 pixels lose 48 at the left
    assert torch.equal(seen, wanted)


def test_a_very_long_mask_is_cropped_without_being_made_whole(tmp_path):
    made = built(tmp_path, AlphaClipConfig(resolution=RESOLUTION, fit="crop"))
    mask = np.zeros((2, 40000), dtype=np.bool_)
    mask[:, 20000:] = True
    seen = made.preprocessing.masks([mask])[0, 0]
    assert seen[0, 0] == 0
    assert seen[0, -1] == 1
    assert (seen[0].diff() >= 0).all()
    assert 0.4 < seen.mean() < 0.6  # two of the 40,000 pixels fill the crop, and the mask's edge is between them


def test_edges_between_pixels_are_soft_and_a_mask_of_the_frames_size_stays_as_it_is(backbone):
    small = np.zeros((2, 2), dtype=np.bool_)
    small[:, 1] = True
    seen = backbone.preprocessing.masks([small])[0, 0, 0]
    assert seen[0] == 0
    assert seen[-1] == 1
    assert 0.4 < seen[RESOLUTION // 2 - 1] < 0.6
    exact = np.random.default_rng(0).random((RESOLUTION, RESOLUTION)) > 0.5
    assert torch.equal(backbone.preprocessing.masks([exact])[0, 0], torch.from_numpy(exact).float())


def test_chunks_change_nothing(backbone, tmp_path):
    small = built(tmp_path, AlphaClipConfig(resolution=RESOLUTION, batch=2))
    images = [picture((60 + index, 50), index) for index in range(5)]
    one, other = (
        small.encode_masked(images, example_masks(images)),
        backbone.encode_masked(images, example_masks(images)),
    )
    torch.testing.assert_close(one.cls, other.cls, rtol=0, atol=1e-5)


def test_masks_that_do_not_fit_are_refused(backbone):
    with pytest.raises(FeatureError, match="a mask of 40 x 56 pixels does not fit its picture of 64 x 48"):
        backbone.encode_masked(IMAGES, MASKS[::-1])
    with pytest.raises(FeatureError, match="1 masks were given for 2 pictures"):
        backbone.encode_masked(IMAGES, MASKS[:1])


# ---------------------------------------------------------------- files


def test_header_says_spaces_and_sizes_and_ports_agree(tmp_path):
    files = write_alphaclip(tmp_path)
    header = read_alphaclip(files, CONFIG).header
    assert (header.kind, header.name, header.space) == ("backbone", "alphaclip", f"alphaclip-vit-b16/image[{DIM}]")
    assert header.config == {
        "width": WIDTH,
        "layers": 2,
        "dim": DIM,
        "text_width": 64,
        "text_layers": 3,
        "context": CONTEXT,
        "vocabulary": VOCABULARY,
    }
    made = built(tmp_path)
    ports = ports_of(made.config)
    assert (ports.writes.space, ports.text, ports.blocks) == (made.space, made.text_space, made.block_space)
    assert ports.masked == made.masked_space == made.space
    released = ports_of(AlphaClipConfig())
    assert (released.masked, released.text) == ("alphaclip-vit-b16/image[512]", "clip-vit-b16/text[512]")


@pytest.mark.parametrize("prefix", [param("module.", id="several-devices"), param("visual.", id="of-the-whole")])
def test_marks_of_training_before_every_name_change_nothing(prefix, tmp_path, backbone, state):
    files = write_alphaclip(tmp_path)
    torch.save({f"{prefix}{name}": tensor for name, tensor in state.items()}, files["vision"])
    made = AlphaClip.build(CONFIG, context_of(read_alphaclip(files, CONFIG), files))
    assert torch.equal(made.encode_masked(IMAGES, MASKS).cls, backbone.encode_masked(IMAGES, MASKS).cls)


BLOCK = "transformer.resblocks.0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        param({name: torch.ones(1) for name in ("a", "b", "c", "d")}, "unknown: a, b, c and 1 more", id="unknown"),
        param(["conv1_alpha.weight"], "this is no vision tower of AlphaCLIP; it holds class_embedding", id="no-alpha"),
        param(["ln_post.bias", "conv1.weight"], "the checkpoint has no conv1.weight", id="no-conv"),
        param(
            ["ln_post.bias", f"{BLOCK}.attn.in_proj.bias"],
            f"missing: {BLOCK}.attn.in_proj.bias, ln_post.bias",
            id="missing",
        ),
        param({"conv1_alpha.weight": torch.ones(WIDTH, 3, 16, 16)}, "shape: conv1_alpha.weight is", id="channels"),
        param({"proj": torch.ones(WIDTH, DIM + 1)}, "the files do not belong together", id="width"),
        param({"conv1.weight": torch.ones(WIDTH, 3, 14, 14)}, "patches of 14 pixels, 'alphaclip' has 16", id="patch"),
        param(
            {
                f"{BLOCK}.attn.in_proj.lora_A": torch.ones(32, WIDTH),
                f"{BLOCK}.attn.in_proj.lora_B": torch.ones(WIDTH, 16),
            },
            f"{BLOCK}.attn.in_proj.lora_A and 1 more are low-rank adapters beside the weights",
            id="lora",
        ),
        param({"layer1.0.conv1.weight": torch.ones(4, 4, 1, 1)}, "this is an AlphaCLIP with a ResNet", id="resnet"),
    ],
)
def test_another_vision_tower_is_refused(change, message, tmp_path, state):
    files = write_alphaclip(tmp_path)
    torch.save(without(state, *change) if isinstance(change, list) else {**state, **change}, files["vision"])
    with pytest.raises(WeightsError) as error:
        read_alphaclip(files, CONFIG)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("role", "message"),
    [
        param("vision", "backbone 'alphaclip' needs the vision tower of AlphaCLIP B/16", id="vision"),
        param("text", "backbone 'alphaclip' needs CLIP B/16, for its text tower", id="text"),
        param("merges", "backbone 'alphaclip' needs the merges file of CLIP's tokenizer", id="merges"),
    ],
)
def test_a_missing_file_is_named(role, message, tmp_path):
    files = write_alphaclip(tmp_path)
    del files[role]
    with pytest.raises(WeightsError, match=message):
        read_alphaclip(files, CONFIG)


def test_written_weights_load_again(tmp_path, backbone):
    artifact = backbone.artifact()
    path = tmp_path / "own.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    again = AlphaClip.build(CONFIG, BuildContext(weights=WeightFile(path, read_header(path))))
    assert torch.equal(again.encode_masked(IMAGES, MASKS).cls, backbone.encode_masked(IMAGES, MASKS).cls)


@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_conforms(fit, tmp_path):
    check_backbone(built(tmp_path, AlphaClipConfig(resolution=RESOLUTION, fit=fit)))


def test_options_are_checked():
    with pytest.raises(ValueError, match="resolution: 225 is no multiple of the patch, 16 pixels; 224 and 240 are"):
        AlphaClipConfig(resolution=225)
