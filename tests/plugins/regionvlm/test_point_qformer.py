"""The region encoder: what reaches the Q-Former, and what its attention says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, RegionError, WeightsError
from regionkit.core.features import Scene
from regionkit.core.regions import Box, Mask, Point, Regions, Trace, WholeImage
from regionkit.core.testing import GridBackbone, check_region_encoder, picture
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.regionvlm.configs import PointQFormerConfig, qformer_ports
from regionkit.plugins.regionvlm.positions import patch_waves, waves
from regionkit.plugins.regionvlm.qformer import PointQFormer

param = pytest.param
TINY = {"queries": 4, "hidden": 32, "layers": 3, "heads": 2, "intermediate": 48, "positions": 64, "points": 4}
SPACE = "point-qformer/test[32]"
BOX, CLICK = Box(5, 5, 30, 30), Point.at(40, 20)


def encoder_of(backbone: GridBackbone | None = None, seed: int = 0, **options) -> PointQFormer:
    config = PointQFormerConfig(**{**TINY, **options})
    return PointQFormer.build(config, BuildContext((backbone or GridBackbone()).space, SPACE, seed=seed))


def scene_of(count: int = 1, backbone: GridBackbone | None = None) -> Scene:
    return Scene([picture((64, 48), seed) for seed in range(count)], backbone or GridBackbone())


def regions_of(*regions) -> Regions:
    return Regions(regions, (0,) * len(regions))


@pytest.mark.parametrize(
    "options",
    [
        param({}, id="plain"),
        param({"prompt": "crop", "cls": "none"}, id="crop"),
        param({"prompt": "circle", "empty_text": "none"}, id="circle"),
        param({"patch_positions": "sincos", "batch_size": 3, "order": "random"}, id="small-batches"),
        param({"compat": "reference", "points": 10, "attention_layers": "last"}, id="reference"),
    ],
)
def test_every_way_to_prompt_conforms(options):
    check_region_encoder(encoder_of(**options), GridBackbone())


def test_tokens_are_the_query_outputs_in_the_space_of_its_own():
    scene = scene_of()
    tokens = encoder_of().encode(scene, regions_of(BOX, WholeImage()))
    assert tokens.tokens.shape == (2, 4, 32)
    assert tokens.mask.all()
    assert tokens.space == SPACE
    ports = qformer_ports(PointQFormerConfig(**TINY))
    assert (str(ports.reads), str(ports.writes)) == ("image", "own[32] tokens")


def test_points_change_what_is_seen_and_the_picture_is_encoded_once():
    backbone = GridBackbone()
    scene = scene_of(2, backbone)
    regions = Regions.of([[CLICK, WholeImage()], [CLICK, BOX, WholeImage()]])
    tokens = encoder_of(backbone).encode(scene, regions).tokens
    assert backbone.forwards == 1
    assert (tokens[0] - tokens[1]).abs().max() > 1e-3  # another text
    assert (tokens[0] - tokens[2]).abs().max() > 1e-3  # another picture


@pytest.mark.parametrize("prompt", [param("crop", id="crop"), param("circle", id="circle")])
def test_drawn_prompts_reach_the_backbone_and_leave_the_text_empty(prompt):
    backbone = GridBackbone()
    scene = scene_of(1, backbone)
    encoder = encoder_of(backbone, prompt=prompt)
    assert encoder.texts(scene, regions_of(BOX, CLICK)) == ["", ""]
    tokens = encoder.encode(scene, regions_of(BOX, CLICK)).tokens
    assert backbone.encoded == 2
    assert (tokens[0] - tokens[1]).abs().max() > 1e-4


def test_without_any_prompt_all_regions_of_a_picture_are_alike():
    scene, encoder = scene_of(), encoder_of(prompt="none")
    tokens = encoder.encode(scene, regions_of(BOX, CLICK, WholeImage())).tokens
    assert torch.equal(tokens[0], tokens[1])
    assert torch.allclose(tokens[0], encoder_of().encode(scene, regions_of(WholeImage())).tokens[0], atol=1e-6)
    with pytest.raises(RegionError, match="lies outside its image"):
        encoder.encode(scene, regions_of(Box(90, 90, 95, 95)))


def test_empty_text_is_start_and_end_or_nothing_at_all():
    scene = scene_of()
    some, nothing = encoder_of(), encoder_of(empty_text="none")
    whole, box = regions_of(WholeImage()), regions_of(BOX)
    assert not torch.allclose(some.encode(scene, whole).tokens, nothing.encode(scene, whole).tokens, atol=1e-4)
    assert torch.equal(some.encode(scene, box).tokens, nothing.encode(scene, box).tokens)
    mixed = nothing.encode(scene, regions_of(WholeImage(), BOX)).tokens
    assert torch.allclose(mixed[0], nothing.encode(scene, whole).tokens[0], atol=1e-6)


def test_the_class_token_counts_where_it_is_wanted():
    scene, whole = scene_of(), regions_of(WholeImage())
    with_token, without = encoder_of(), encoder_of(cls="none")
    assert not torch.allclose(with_token.encode(scene, whole).tokens, without.encode(scene, whole).tokens, atol=1e-5)
    assert with_token.attention_maps(scene, whole).shape[-1] == 17
    assert without.attention_maps(scene, whole).shape[-1] == 16


def test_patches_without_positions_are_a_set_and_with_them_are_not():
    image = picture((64, 64), 3)
    turned = image.transpose(Image.Transpose.ROTATE_180)
    for mode, alike in (("none", True), ("sincos", False)):
        encoder = encoder_of(patch_positions=mode, cls="none")
        one, other = (
            encoder.encode(Scene([shown], GridBackbone()), regions_of(WholeImage())).tokens for shown in (image, turned)
        )
        assert torch.allclose(one, other, atol=2e-4) is alike


def test_10000_points_are_read_as_k():
    scene, encoder = scene_of(), encoder_of()
    many = tuple((step % 64 + 0.5, step % 48 + 0.5) for step in range(10_000))
    for region in (Point(many), Trace(many)):
        assert encoder.texts(scene, regions_of(region))[0].count("[") == 4
        assert encoder.encode(scene, regions_of(region)).tokens.shape == (1, 4, 32)


def test_dilation_reaches_the_text():
    bitmap = np.zeros((48, 64), dtype=np.bool_)
    bitmap[24, 32] = True
    texts = [encoder_of(dilate=side).texts(scene_of(), regions_of(Mask(bitmap)))[0] for side in (0, 3, 7)]
    assert texts[0] == "[50 50]"
    assert texts[1].count("[") == texts[2].count("[") == 4


# ---------------------------------------------------------------- attention


def test_attention_is_a_map_of_the_patches_that_sums_to_1():
    scene, encoder = scene_of(2), encoder_of()
    regions = Regions.of([[BOX], [CLICK, WholeImage()]])
    weights = encoder.attention(scene, regions)
    assert weights.shape == (3, 4, 4)
    assert torch.allclose(weights.sum((1, 2)), torch.ones(3))
    maps = encoder.attention_maps(scene, regions)
    assert maps.shape == (3, 2, 2, 4, 17)  # layers 0 and 2, two heads, four queries, class token and 16 patches
    assert torch.allclose(maps.sum(-1), torch.ones(maps.shape[:-1]))
    mean = maps.mean((1, 2, 3))[:, 1:]
    assert torch.allclose(weights.flatten(1), mean / mean.sum(1, keepdim=True))
    last = encoder_of(attention_layers="last").attention(scene, regions).flatten(1)
    mean = maps[:, -1].mean((1, 2))[:, 1:]
    assert torch.allclose(last, mean / mean.sum(1, keepdim=True))


def test_attention_is_what_transformers_computes():
    scene, encoder = scene_of(), encoder_of()
    regions = regions_of(BOX, CLICK)
    maps = encoder.attention_maps(scene, regions)
    encoder.qformer.set_attn_implementation("eager")
    pictures, rows = encoder._seen(scene, regions)
    ids, mask = encoder._ids(encoder.texts(scene, regions))
    found = encoder.qformer(
        ids,
        torch.cat([torch.ones(2, 4, dtype=torch.long), mask], dim=1),
        query_embeds=encoder.query_tokens.expand(2, -1, -1),
        encoder_hidden_states=pictures[rows],
        output_attentions=True,
    )
    assert torch.allclose(torch.stack(found.cross_attentions, dim=1), maps, atol=1e-6)


def test_attention_leaves_training_as_it_was_and_draws_nothing():
    scene, encoder = scene_of(), encoder_of()
    calm = encoder.attention(scene, regions_of(BOX))
    encoder.train()
    state = torch.get_rng_state()
    assert torch.equal(encoder.attention(scene, regions_of(BOX)), calm)
    assert torch.equal(torch.get_rng_state(), state)
    assert encoder.training


def test_no_regions_have_no_attention_and_crops_have_no_map():
    scene = scene_of()
    assert encoder_of().attention(scene, Regions((), ())).shape == (0, 4, 4)
    assert encoder_of().attention_maps(scene, Regions((), ())).shape == (0, 2, 2, 4, 0)
    with pytest.raises(FeatureError, match="prompt 'crop' looks at cut-outs and has no attention map"):
        encoder_of(prompt="crop").attention(scene, regions_of(BOX))


# ---------------------------------------------------------------- training


def test_training_draws_points_anew_from_torchs_random_numbers():
    scene, encoder = scene_of(), encoder_of().train()
    torch.manual_seed(1)
    first, second = encoder.texts(scene, regions_of(BOX)), encoder.texts(scene, regions_of(BOX))
    torch.manual_seed(1)
    assert encoder.texts(scene, regions_of(BOX)) == first
    assert first != second
    assert encoder.eval().texts(scene, regions_of(BOX)) == encoder.eval().texts(scene, regions_of(BOX))


def test_gradients_reach_every_weight_and_no_feature():
    backbone = GridBackbone()
    scene = scene_of(1, backbone)
    features = backbone.encode(scene.images)
    features.patches.requires_grad_()
    encoder = encoder_of(backbone).train()
    encoder.encode(Scene(scene.images, backbone, features), regions_of(BOX, CLICK)).tokens.square().mean().backward()
    assert features.patches.grad is None
    lost = [name for name, tensor in encoder.named_parameters() if tensor.grad is None]
    assert lost == []
    assert encoder.ln_vision.weight.grad.abs().sum() > 0
    assert encoder.qformer.embeddings.word_embeddings.weight.grad.abs().sum() > 0


def test_features_of_inference_mode_can_be_trained_on():
    backbone = GridBackbone()
    with torch.inference_mode():
        scene = scene_of(1, backbone)
        features = scene.features
    tokens = encoder_of(backbone).train().encode(Scene(scene.images, backbone, features), regions_of(BOX)).tokens
    tokens.sum().backward()


# ---------------------------------------------------------------- building


def test_numerals_start_in_order_and_patches_by_the_same_waves():
    words = encoder_of().qformer.embeddings.word_embeddings.weight
    numerals = words[-101:]
    near, far = (numerals[30] @ numerals[31]), (numerals[30] @ numerals[80])
    assert near > far
    assert torch.equal(numerals, waves(torch.arange(101), 32))
    assert patch_waves((2, 3), 7).shape == (6, 7)
    square = patch_waves((50, 50), 32)  # patch 3 of a row of 50 has its centre at 7 hundredths
    assert torch.allclose(square[3, :16], waves(torch.tensor([7.0]), 16)[0], atol=1e-5)
    assert torch.allclose(square[3 * 50, 16:], waves(torch.tensor([7.0]), 16)[0], atol=1e-5)


def test_the_seed_decides_and_the_callers_random_numbers_stay(tmp_path):
    state = torch.get_rng_state()
    one, same, other = encoder_of(seed=1), encoder_of(seed=1), encoder_of(seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.query_tokens, same.query_tokens)
    assert not torch.equal(one.query_tokens, other.query_tokens)


def saved(encoder: PointQFormer, folder: Path) -> WeightFile:
    artifact = encoder.artifact()
    path = folder / "a.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    header = read_header(path)
    assert header is not None
    return WeightFile(path, header)


def test_weights_bring_shape_tokenizer_and_the_way_they_were_trained(tmp_path):
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[", "]", *map(str, range(101)))))
    encoder = encoder_of(seed=4, tokenizer=f"file:{vocabulary}", compat="reference")
    file = saved(encoder, tmp_path)
    assert file.header.space == GridBackbone().space
    assert file.header.writes == SPACE
    assert file.header.config["heads"] == 2
    assert file.header.config["vocabulary"] == 107
    assert file.header.config["compat"] == "reference"
    vocabulary.unlink()
    config = dataclasses.replace(PointQFormerConfig(), **file.header.config)
    again = PointQFormer.build(config, BuildContext(GridBackbone().space, SPACE, file))
    scene = scene_of()
    assert torch.equal(again.encode(scene, regions_of(BOX)).tokens, encoder.encode(scene, regions_of(BOX)).tokens)


def test_options_that_contradict_weights_are_named(tmp_path):
    file = saved(encoder_of(), tmp_path)
    config = dataclasses.replace(PointQFormerConfig(), **file.header.config)
    context = BuildContext(GridBackbone().space, SPACE, file)
    with pytest.raises(WeightsError, match=r"region_encoder.queries: 8 was asked for, the weights .* have 4"):
        PointQFormer.build(dataclasses.replace(config, queries=8), context)
    with pytest.raises(WeightsError, match=r"patch_positions: sincos was asked for, the weights .* have none"):
        PointQFormer.build(dataclasses.replace(config, patch_positions="sincos"), context)
    with pytest.raises(WeightsError, match=r"features of width 16, and the backbone writes other/image\[24\]"):
        PointQFormer.build(config, dataclasses.replace(context, reads="other/image[24]"))
    other_points = PointQFormer.build(dataclasses.replace(config, points=2), context)
    assert other_points.texts(scene_of(), regions_of(BOX))[0].count("[") == 2


def test_features_of_another_width_are_refused():
    backbone = GridBackbone(dim=24)
    with pytest.raises(FeatureError, match=r"reads grid/image\[16\] and got features of width 24"):
        encoder_of().encode(scene_of(1, backbone), regions_of(BOX))


def test_a_vocabulary_smaller_than_the_tokenizers_is_refused():
    with pytest.raises(WeightsError, match=r"vocabulary: 50 rows are fewer than the 107 ids"):
        encoder_of(vocabulary=50)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        param({"points": 0}, "points: 0 must be 1 or more", id="points"),
        param({"hidden": 30, "heads": 4}, "heads: 4 does not divide hidden 30", id="heads"),
        param({"max_point_tokens": 1}, "max_point_tokens: 1 must be 0", id="no-room"),
        param({"max_point_tokens": 600}, "at most positions, 512", id="too-many-tokens"),
        param({"dilate": -1}, "dilate: -1 must be 0 or more", id="dilate"),
        param({"dropout": 1.0}, "dropout: 1.0 must be at least 0", id="dropout"),
        param({"positions": 1}, "positions: 1 has no room", id="positions"),
        param({"norm_eps": -1.0}, "norm_eps: -1.0 must be 0", id="norm"),
        param({"tokenizer": "bert"}, "tokenizer: 'bert' is neither 'points' nor file:PATH", id="tokenizer"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        PointQFormerConfig(**options)
