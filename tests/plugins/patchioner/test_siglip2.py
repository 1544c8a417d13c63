"""SigLIP 2 as a backbone: golden vectors, parity with transformers, its sentences, the contract, its options."""

from __future__ import annotations

import dataclasses
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import golden_file
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from siglip2_release import CONFIG, IMAGES, SIDE, TEXTS, WORDS, random_model, read, state_of, write_release
from timm.layers import resample_abs_pos_embed
from transformers import PreTrainedTokenizerFast, SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.testing import check_backbone
from regionkit.core.testing.fakes import picture
from regionkit.plugins.patchioner.backbones.siglip2 import Siglip2, each_alone, pooled
from regionkit.plugins.patchioner.backbones.siglip2_config import Siglip2Config
from regionkit.plugins.patchioner.backbones.siglip2_text import padded
from regionkit.plugins.patchioner.backbones.square_config import ports_of

param = pytest.param
TINY = Siglip2Config(
    weights="none",
    resolution=64,
    width=32,
    layers=2,
    heads=2,
    intermediate=48,
    text_width=24,
    text_layers=2,
    text_heads=2,
    text_intermediate=40,
    vocabulary=259,
)


@pytest.fixture(scope="module")
def reference():
    return random_model()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("siglip2"))


@pytest.fixture(scope="module")
def siglip2(release: Path) -> Siglip2:
    return read(release)


def head_of(weights: dict[str, torch.Tensor], heads: int) -> SiglipMultiheadAttentionPoolingHead:
    width = weights["probe"].shape[-1]
    hidden = len(weights["mlp.fc1.bias"])
    config = SiglipVisionConfig(hidden_size=width, intermediate_size=hidden, num_attention_heads=heads)
    head = SiglipMultiheadAttentionPoolingHead(config)
    head.load_state_dict(weights)
    return head.eval()


# ---------------------------------------------------------------- the head, patch by patch


@torch.no_grad()
def test_golden_vectors_of_the_head():
    vectors = load_file(golden_file("siglip_map.safetensors"))
    weights = {name.removeprefix("w."): tensor for name, tensor in vectors.items() if name.startswith("w.")}
    states, width = vectors["x"], weights["probe"].shape[-1]
    assert (each_alone(head_of(weights, 1), states) - vectors["per_patch"]).abs().max() < 1e-5
    # How many heads the file was made with no tensor says: one number gives the pooled vectors.
    errors = [
        (pooled(head_of(weights, heads), states)[0] - vectors["pooled"]).abs().max()
        for heads in range(1, width + 1)
        if width % heads == 0
    ]
    assert min(errors) < 1e-5


@torch.no_grad()
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([1, 2, 4]))
def test_a_patch_is_what_the_head_makes_of_it_alone_whatever_the_probe_and_the_others(seed, patches, heads):
    generator = torch.Generator().manual_seed(seed)
    config = SiglipVisionConfig(hidden_size=16, intermediate_size=24, num_attention_heads=heads)
    head = SiglipMultiheadAttentionPoolingHead(config).eval()
    for parameter in head.parameters():
        parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    states = torch.randn(2, patches, 16, generator=generator)
    alone = head(states.reshape(-1, 1, 16)).reshape(states.shape)
    closed = each_alone(head, states)
    torch.testing.assert_close(closed, alone, rtol=0, atol=1e-5)
    head.probe.copy_(torch.randn(head.probe.shape, generator=generator))
    assert torch.equal(each_alone(head, states), closed)
    states[:, 1:] = torch.randn(2, patches - 1, 16, generator=generator)
    torch.testing.assert_close(each_alone(head, states)[:, 0], closed[:, 0], rtol=0, atol=1e-6)


def test_features_are_those_of_transformers(siglip2, reference):
    pixels, _ = siglip2.preprocess(IMAGES)
    features = siglip2.encode(IMAGES)
    with torch.no_grad():
        output = reference.vision_model(pixel_values=pixels)
        head, states = reference.vision_model.head, output.last_hidden_state
        alone = head(states.reshape(-1, 1, states.shape[-1]))
        _, weights = head.attention(head.probe.repeat(2, 1, 1), states, states)
    torch.testing.assert_close(features.cls, output.pooler_output, rtol=0, atol=1e-5)
    torch.testing.assert_close(features.patches.reshape(alone.shape), alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(features.attention.reshape(2, -1), weights[:, 0], rtol=0, atol=1e-6)


# ---------------------------------------------------------------- sentences


def test_sentences_are_those_of_transformers_and_its_tokenizer(siglip2, reference, release):
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(release / "tokenizer.json"), pad_token="<pad>")
    texts = [*TEXTS, "the dog and the cat and the dog and the cat", ""]
    lower = [text.lower() for text in texts]
    ids = tokenizer(lower, padding="max_length", truncation=True, max_length=12, return_tensors="pt").input_ids
    assert ids.tolist() == [padded(siglip2.tokenizer, text, 12) for text in texts]
    with torch.no_grad():
        wanted = reference.text_model(input_ids=ids).pooler_output
    torch.testing.assert_close(siglip2.encode_text(texts), wanted, rtol=0, atol=1e-5)


def float64_text(state: dict[str, torch.Tensor], ids: torch.Tensor, heads: int) -> torch.Tensor:
    """The text tower from its formulas in float64: pre-norm blocks, no mask, the last position through the head."""
    weights = {name.removeprefix("text_model."): t.double() for name, t in state.items() if name.startswith("text_")}

    def linear(name: str, values: torch.Tensor) -> torch.Tensor:
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, values: torch.Tensor) -> torch.Tensor:
        centred = values - values.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def gelu(values: torch.Tensor) -> torch.Tensor:
        inner = math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)
        return 0.5 * values * (1 + inner.tanh())

    states = weights["embeddings.token_embedding.weight"][ids] + weights["embeddings.position_embedding.weight"]
    for layer in range(3):
        name = f"encoder.layers.{layer}"
        before = norm(f"{name}.layer_norm1", states)
        query, key, value = (
            linear(f"{name}.self_attn.{letter}_proj", before).unflatten(-1, (heads, -1)).transpose(1, 2)
            for letter in "qkv"
        )
        weight = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1)
        states = states + linear(f"{name}.self_attn.out_proj", (weight @ value).transpose(1, 2).flatten(2))
        hidden = gelu(linear(f"{name}.mlp.fc1", norm(f"{name}.layer_norm2", states)))
        states = states + linear(f"{name}.mlp.fc2", hidden)
    return linear("head", norm("final_layer_norm", states)[:, -1])


def test_sentences_are_those_of_the_formulas_in_float64(siglip2, reference):
    ids = torch.tensor([padded(siglip2.tokenizer, text, 12) for text in TEXTS])
    wanted = float64_text(state_of(reference), ids, heads=2)
    assert (siglip2.encode_text(TEXTS).double() - wanted).abs().max() < 1e-5


def test_ids_are_lower_case_ended_and_padded_to_the_context(siglip2):
    ids = {word: place for place, word in enumerate(WORDS)}
    assert padded(siglip2.tokenizer, "Dog", 5) == [ids["dog"], ids["<eos>"], 0, 0, 0]
    assert padded(siglip2.tokenizer, "cat dog", 3) == [ids["cat"], ids["▁"], ids["<eos>"]]
    # What is written like a special token is none.
    assert ids["<eos>"] not in padded(siglip2.tokenizer, "<eos>dog", 12)[:4]


def test_padding_is_read_and_batch_mates_are_not(siglip2):
    together = siglip2.encode_text(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        torch.testing.assert_close(siglip2.encode_text([text])[0], vector, rtol=0, atol=1e-5)
    short = [padded(siglip2.tokenizer, TEXTS[0], 12)[:8]]
    with torch.no_grad():
        without = siglip2.text(input_ids=torch.tensor(short)).pooler_output
    assert (without - together[:1]).abs().max() > 1e-3
    assert siglip2.encode_text([]).shape == (0, 48)


# ---------------------------------------------------------------- contract


@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_conforms(fit, release):
    check_backbone(read(release, dataclasses.replace(CONFIG, fit=fit)))


def test_untrained_conforms_and_starts_from_the_seed():
    state = torch.random.get_rng_state()
    one, same, other = (Siglip2.build(TINY, BuildContext(seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    check_backbone(one)
    assert torch.equal(one.encode(IMAGES).patches, same.encode(IMAGES).patches)
    assert not torch.equal(one.encode(IMAGES).patches, other.encode(IMAGES).patches)
    with pytest.raises(WeightsError) as caught:
        Siglip2.build(dataclasses.replace(TINY, vocabulary=100), BuildContext())
    assert str(caught.value) == (
        "backbone.vocabulary: 100 rows are too few for an untrained 'siglip2'\n"
        "  it reads bytes and three special tokens: 259 or more, or 0 as the named model says"
    )


def test_blocks_and_embed_make_the_same_pass(siglip2):
    pixels, frames = siglip2.preprocess(IMAGES)
    with torch.no_grad():
        tokens = siglip2.embed(pixels)
        assert tokens.shape == (2, SIDE * SIDE, 48)
        for block in siglip2.blocks:
            tokens = block(tokens)
        patches = each_alone(siglip2.vision.head, siglip2.vision.post_layernorm(tokens))
    features = siglip2.encode(IMAGES)
    assert torch.equal(patches.reshape(features.patches.shape), features.patches)
    assert frames == features.frames
    assert siglip2.prefix_tokens == 0


def test_other_resolutions_resample_positions(release, reference):
    wide = read(release, Siglip2Config(resolution=112))
    features = wide.encode(IMAGES)
    assert features.patches.shape == (2, 7, 7, 48)
    assert features.frames[0].patch_size == (16, 16)
    positions = reference.vision_model.embeddings.position_embedding.weight.detach()
    wanted = resample_abs_pos_embed(positions[None], [7, 7], num_prefix_tokens=0)[0]
    assert torch.equal(wide.vision.embeddings.position_embedding.weight, wanted)


def test_chunks_change_nothing_and_no_picture_gives_no_features(release, siglip2):
    images = [picture((60 + index, 50), index) for index in range(5)]
    small = read(release, dataclasses.replace(CONFIG, batch=2))
    torch.testing.assert_close(small.encode(images).patches, siglip2.encode(images).patches, rtol=0, atol=1e-5)
    none = siglip2.encode([])
    assert (none.patches.shape, none.cls.shape, none.attention.shape) == ((0, 4, 4, 48), (0, 48), (0, 4, 4))


def test_half_precision_stays_half_and_near(release, siglip2):
    half = read(release).to(torch.bfloat16)
    features, full = half.encode(IMAGES), siglip2.encode(IMAGES)
    assert features.patches.dtype == torch.bfloat16
    assert torch.cosine_similarity(features.patches.float(), full.patches, dim=-1).min() > 0.99
    assert torch.cosine_similarity(half.encode_text(TEXTS).float(), siglip2.encode_text(TEXTS)).min() > 0.99


def test_it_can_be_pickled(siglip2):
    again = pickle.loads(pickle.dumps(siglip2))
    assert torch.equal(again.encode_text(TEXTS), siglip2.encode_text(TEXTS))


@pytest.mark.parametrize("name", ["bicubic", "bilinear"])
def test_pixels_are_squashed_by_the_filter_and_lie_in_minus_one_to_one(name, release):
    backbone = read(release, dataclasses.replace(CONFIG, filter=name))
    square = IMAGES[0].convert("RGB").resize((64, 64), Image.Resampling[name.upper()])
    wanted = torch.from_numpy(np.asarray(square, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)
    pixels, frames = backbone.preprocess(IMAGES[:1])
    torch.testing.assert_close(pixels[0], wanted, rtol=0, atol=1e-6)
    assert frames[0].to_frame(32, 24) == (32, 32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param(
            {"resolution": 500}, "resolution: 500 is no multiple of the patch, 16 pixels; 496 and 512 are", id="side"
        ),
        param({"batch": 0}, "batch: 0 must be 1 or more", id="batch"),
        param({"layers": 10**9}, "layers: 1000000000 must be 0 .* and at most 1000", id="layers"),
        param({"width": -1}, r"width: -1 must be 0 \(as the named model says\) or more", id="width"),
        param({"heads": 7}, "heads: 7 do not share a width of 768 evenly", id="heads"),
        param({"text_heads": 5}, "text_heads: 5 do not share a width of 768 evenly", id="text-heads"),
        param({"context": 1}, "context: 1 has no room for a word and the end token", id="context"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Siglip2Config(**options)


def test_named_models_have_their_published_sizes():
    large = Siglip2Config(model="so400m-patch16")
    assert [large.size(name) for name in ("width", "layers", "heads", "intermediate")] == [1152, 27, 16, 4304]
    assert ports_of(large).writes.space == "siglip2-so400m-patch16/image[1152]"
    assert ports_of(Siglip2Config()).text == "siglip2-base-patch16/text[768]"
    assert Siglip2Config().resolution // 16 == 32
