"""Families that look at any size say exactly what transformers lets them say, or what their formulas do."""

from __future__ import annotations

import json

import pytest
import torch
from native_folder import FRAMES, PATCH, SPARE, config_of, official, preprocessor, tokenizer, write_folder
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.features import GenerateOptions, RegionTokens, RegionViews
from regionkit.core.language.prefix import Prefix
from regionkit.core.testing import Sentences, picture
from regionkit.core.weights import WeightFile
from regionkit.plugins.vlm.config import VlmConfig
from regionkit.plugins.vlm.decoder import Vlm
from regionkit.plugins.vlm.families import FAMILIES, in_vision_tower
from regionkit.plugins.vlm.native import spread_positions
from regionkit.plugins.vlm.patching import Patching
from regionkit.plugins.vlm.release import read_vlm

NATIVE = ("qwen2_5_vl", "qwen3_vl", "llavaonevision1_5")
THEIRS = ("qwen2_5_vl", "qwen3_vl")
SIZES = [(80, 60), (37, 200), (28, 28), (9, 240), (1, 1), (400, 300)]
_NAMES = {
    "model": "model.safetensors",
    "config": "config.json",
    "tokenizer": "tokenizer.json",
    "preprocessor": "preprocessor_config.json",
}
#: Ids that the models have and the tokenizer has not, which ours never writes.
UNKNOWN = list(range(len(tokenizer()), len(tokenizer()) + SPARE))
families = pytest.mark.parametrize("family", [pytest.param(name, id=name) for name in NATIVE])


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def read(folder) -> Vlm:
    artifact = read_vlm({role: folder / name for role, name in _NAMES.items()}, VlmConfig())
    config = VlmConfig(**artifact.header.config)
    return Vlm.build(config, BuildContext(weights=WeightFile(folder, artifact.header, read=lambda: artifact.tensors)))


def shown(family: str, sizes=SIZES[:3]) -> RegionViews:
    return RegionViews(tuple(picture(size, seed) for seed, size in enumerate(sizes)))


def their_processor(family: str):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    made = preprocessor(family)
    made.pop("image_processor_type")
    return Qwen2VLImageProcessorPil(**made)


def their_inputs(family: str, one, prompt: str, written: str = ""):
    """Return ids with place holders, pixels and grid, as transformers' own processor of the family makes them."""
    seen = their_processor(family)(images=[one], return_tensors="pt")
    count = int(seen["image_grid_thw"].prod()) // 4
    message = f"<|vision_start|>{'<|image_pad|>' * count}<|vision_end|>{prompt}"
    text = FAMILIES[family].template.replace("{}", message) + written
    ids = torch.tensor([tokenizer()(text, add_special_tokens=False).input_ids])
    kinds = (ids == tokenizer().convert_tokens_to_ids("<|image_pad|>")).int()
    return {"input_ids": ids, "mm_token_type_ids": kinds, "attention_mask": torch.ones_like(ids), **seen}


# ---------------------------------------------------------------- pictures


@families
def test_pictures_become_the_patches_that_transformers_makes(family):
    found = preprocessor(family)
    patching = Patching(PATCH[family], 2, FRAMES[family], *found["size"].values(), (0.5, 0.4, 0.6), (0.5, 0.3, 0.4))
    processor = their_processor(family)
    for size in SIZES:
        one = picture(size, 3)
        if max(size) > 200 * min(size):
            continue
        theirs = processor(images=[one], return_tensors="pt")
        ours = patching.shown(one)
        assert [1, *ours.grid] == theirs["image_grid_thw"][0].tolist()
        torch.testing.assert_close(ours.pixels, theirs["pixel_values"], atol=2e-5, rtol=0)


def test_a_sliver_of_a_picture_is_shown_too():
    """transformers refuses a picture that is over 200 times as long as wide; a region may be one."""
    patching = Patching(14, 2, 1, 56 * 56, 10**6)
    assert patching.shown(picture((1, 900))).grid[1] == 2
    assert patching.size(100_000, 1)[1] == 28


# ---------------------------------------------------------------- beside transformers


@pytest.mark.parametrize("family", [pytest.param(name, id=name) for name in THEIRS])
def test_scores_states_captions_and_features_are_those_of_transformers(tmp_path, family):
    theirs, ours = write_folder(tmp_path, family), read(tmp_path)
    views, prompt, text = shown(family), "Say it: ", "a red dog"
    ids = [*tokenizer()(text, add_special_tokens=False).input_ids, tokenizer().eos_token_id]
    with torch.no_grad():
        scores = ours.score(views, [text] * 3, prompt)
        states = ours.hidden_states(views, [text] * 3, prompt, "tok")
        captions = ours.generate(views, prompt, GenerateOptions(max_tokens=8))
        beams = ours.generate(views, prompt, GenerateOptions(max_tokens=5, beams=3))
        features = ours.visual_features(views)
    assert len({caption.tokens for caption in captions}) == 3
    for row, one in enumerate(views.pictures):
        whole, inputs = their_inputs(family, one, prompt, text + "<|im_end|>"), their_inputs(family, one, prompt)
        start = inputs["input_ids"].shape[1]
        with torch.no_grad():
            found = theirs(**whole, output_hidden_states=True)
            logs = found.logits.log_softmax(-1)[0, start - 1 : -1]
            torch.testing.assert_close(scores[row], logs[torch.arange(len(ids)), ids].sum(), atol=1e-3, rtol=1e-5)
            torch.testing.assert_close(states.tokens[row], found.hidden_states[-1][0, start:], atol=1e-4, rtol=1e-4)
            asked = {"do_sample": False, "eos_token_id": ids[-1], "pad_token_id": ids[-1], "suppress_tokens": UNKNOWN}
            written = theirs.generate(**inputs, max_new_tokens=8, **asked)[0, start:].tolist()
            best = theirs.generate(**inputs, max_new_tokens=5, num_beams=3, **asked)[0, start:].tolist()
            tower = theirs.model.visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"])
            said = torch.tensor([written[: written.index(ids[-1]) + 1] if ids[-1] in written else written])
            inputs["input_ids"] = torch.cat([inputs["input_ids"], said], 1)
            for name, value in (("mm_token_type_ids", 0), ("attention_mask", 1)):
                inputs[name] = torch.cat([inputs[name], torch.full_like(said, value)], 1)
            logs = theirs(**inputs).logits.log_softmax(-1)[0, start - 1 : -1]
            assert captions[row].score == pytest.approx(float(logs.gather(1, said.T).sum()), abs=1e-3)
        assert list(captions[row].tokens) == (written[: written.index(ids[-1])] if ids[-1] in written else written)
        assert list(beams[row].tokens) == (best[: best.index(ids[-1])] if ids[-1] in best else best)
        torch.testing.assert_close(features[row], tower.last_hidden_state.mean(0), atol=1e-5, rtol=1e-4)


def rotated(values: Tensor, angles: Tensor) -> Tensor:
    """Turn pairs (i, i + half) of (n, heads, d) by angles (n, d / 2)."""
    first, second = values.chunk(2, -1)
    cos, sin = angles.cos().unsqueeze(1), angles.sin().unsqueeze(1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def rice_by_hand(
    weights: dict[str, Tensor], pixels: Tensor, grid: tuple[int, int], heads: int
) -> tuple[Tensor, Tensor]:
    """RICE-ViT in float64 from its description: patches of a token side by side, class token first."""
    given = {
        name.removeprefix("visual."): value.double() for name, value in weights.items() if name.startswith("visual.")
    }
    project = given["patch_embed.proj.weight"]
    states = torch.cat([given["class_embedding"][None], pixels.double() @ project.flatten(1).T])
    states = layer_norm(states, states.shape[1:], given["pre_layernorm.weight"], given["pre_layernorm.bias"], 1e-5)
    width = states.shape[1]
    quarter = width // heads // 4
    speeds = [10_000.0 ** (-index / quarter) for index in range(quarter)]
    angles = [given["class_pos_emb"][0].tolist()]
    for row in range(0, grid[0], 2):
        for column in range(0, grid[1], 2):
            for y, x in ((row, column), (row, column + 1), (row + 1, column), (row + 1, column + 1)):
                angles.append([y * speed for speed in speeds] + [x * speed for speed in speeds])
    turns = torch.tensor(angles, dtype=torch.float64)
    for index in range(4):
        own = {name.removeprefix(f"blocks.{index}."): value for name, value in given.items()}
        normed = layer_norm(states, (width,), own["norm1.weight"], own["norm1.bias"], 1e-5)
        joint = linear(normed, own["attn.qkv.weight"], own["attn.qkv.bias"]).view(len(states), 3, heads, -1)
        query, key, value = rotated(joint[:, 0], turns), rotated(joint[:, 1], turns), joint[:, 2]
        weight = torch.einsum("nhd,mhd->hnm", query, key).div(query.shape[-1] ** 0.5).softmax(-1)
        mixed = torch.einsum("hnm,mhd->nhd", weight, value).flatten(1)
        states = states + linear(mixed, own["attn.proj.weight"], own["attn.proj.bias"])
        normed = layer_norm(states, (width,), own["norm2.weight"], own["norm2.bias"], 1e-5)
        hidden = gelu(linear(normed, own["mlp.fc1.weight"], own["mlp.fc1.bias"]))
        states = states + linear(hidden, own["mlp.fc2.weight"], own["mlp.fc2.bias"])
    seen = states[1:]
    normed = layer_norm(seen, (width,), given["merger.ln_q.weight"], given["merger.ln_q.bias"], 1e-5).view(
        -1, 4 * width
    )
    hidden = gelu(linear(normed, given["merger.mlp.0.weight"], given["merger.mlp.0.bias"]))
    return seen, linear(hidden, given["merger.mlp.2.weight"], given["merger.mlp.2.bias"])


def test_onevision_is_rice_by_hand_before_a_qwen3(tmp_path):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    family = "llavaonevision1_5"
    theirs, ours = write_folder(tmp_path, family), read(tmp_path)
    tensors = official(family, dict(theirs.state_dict()))
    text = {name: value for name, value in config_of(family)["text_config"].items() if name != "model_type"}
    words = Qwen3ForCausalLM(Qwen3Config(**text)).eval()
    words.load_state_dict({name: value for name, value in tensors.items() if not name.startswith("visual.")})
    views, prompt, said = shown(family), "Say it: ", "a red dog"
    with torch.no_grad():
        scores, features = ours.score(views, [said] * 3, prompt), ours.visual_features(views)
        captions = ours.generate(views, prompt, GenerateOptions(max_tokens=6))
    for row, one in enumerate(views.pictures):
        inputs = their_inputs(family, one, prompt, said + "<|im_end|>")
        grid = tuple(inputs["image_grid_thw"][0, 1:].tolist())
        seen, tokens = rice_by_hand(tensors, inputs["pixel_values"], grid, heads=2)
        torch.testing.assert_close(features[row].double(), seen.mean(0), atol=1e-4, rtol=1e-4)
        embeddings = words.get_input_embeddings()(inputs["input_ids"]).detach()
        embeddings[inputs["mm_token_type_ids"].bool()] = tokens.float()
        length = len(tokenizer()(said, add_special_tokens=False).input_ids) + 1
        ids = inputs["input_ids"][0, -length:]
        with torch.no_grad():
            logs = words(inputs_embeds=embeddings).logits.log_softmax(-1)[0, -length - 1 : -1]
            before = embeddings[:, :-length]
            written = words.generate(
                inputs_embeds=before,
                attention_mask=torch.ones(before.shape[:2]),
                max_new_tokens=6,
                do_sample=False,
                suppress_tokens=UNKNOWN,
            )[0].tolist()
        torch.testing.assert_close(scores[row], logs[torch.arange(length), ids].sum(), atol=1e-3, rtol=1e-5)
        end = tokenizer().eos_token_id
        assert list(captions[row].tokens) == (written[: written.index(end)] if end in written else written)


# ---------------------------------------------------------------- one region and many


@families
def test_no_region_depends_on_its_batch_mates(tmp_path, family):
    write_folder(tmp_path, family)
    ours, views = read(tmp_path), shown(family, SIZES)
    options = GenerateOptions(max_tokens=6)
    together = ours.generate(views, "What is it?", options)
    alone = [ours.generate(RegionViews((one,)), "What is it?", options)[0] for one in views.pictures]
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    for caption, other in zip(together, alone, strict=True):
        assert caption.score == pytest.approx(other.score, abs=1e-4)
    with torch.no_grad():
        features = ours.visual_features(views)
        apart = torch.cat([ours.visual_features(RegionViews((one,))) for one in views.pictures])
    assert torch.equal(features, apart)


@families
def test_texts_without_a_picture_remember_no_earlier_call(family):
    """transformers keeps the positions of the last pictures in the model."""
    fresh, used = build(family), build(family)
    used.generate(shown(family), options=GenerateOptions(max_tokens=3))
    none = RegionTokens(torch.zeros(2, 0, 32), torch.zeros(2, 0, dtype=torch.bool), "nothing[32]")
    with torch.no_grad():
        assert torch.equal(used.score(none, ["a dog", "a red boat"]), fresh.score(none, ["a dog", "a red boat"]))
        one = fresh.generate(none, options=GenerateOptions(max_tokens=4))
    assert [caption.tokens for caption in used.generate(none, options=GenerateOptions(max_tokens=4))] == [
        caption.tokens for caption in one
    ]


def test_a_picture_counts_rows_and_columns_and_words_go_on_behind_its_longer_side():
    """Two words, a picture of 2 x 3 tokens, a word; then the same with padding on the left."""
    cells = torch.tensor([(1, row, column) for row in range(2) for column in range(3)])
    places = torch.zeros(2, 11, 3, dtype=torch.long)
    places[0, 2:8], places[1, 4:10] = cells, cells
    valid = torch.ones(2, 11, dtype=torch.bool)
    valid[0, 9:], valid[1, :2] = False, False
    found = spread_positions(Prefix(torch.zeros(2, 11, 1), valid, {"places": places}))
    seen = [[2, 2 + row, 2 + column] for row in range(2) for column in range(3)]
    wanted = torch.tensor([[0, 0, 0], [1, 1, 1], *seen, [5, 5, 5]])
    for row in range(2):
        assert torch.equal(found[1:, row, valid[row]].T, wanted)
        assert found[0, row, valid[row]].tolist() == list(range(9))


# ---------------------------------------------------------------- files


@families
def test_every_number_of_a_release_arrives_and_is_written_again(tmp_path, family):
    theirs, ours = write_folder(tmp_path, family), read(tmp_path)
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], tensor), name
    artifact = ours.artifact()
    file = WeightFile(tmp_path / "one", artifact.header, read=lambda: artifact.tensors)
    again = Vlm.build(VlmConfig(**artifact.header.config), BuildContext(weights=file))
    views = shown(family)
    with torch.no_grad():
        assert torch.equal(ours.score(views, ["a", "b", ""]), again.score(views, ["a", "b", ""]))


@families
def test_files_that_do_not_belong_together_are_refused(tmp_path, family):
    write_folder(tmp_path, family)

    def changed(name: str, **fields) -> None:
        stored = json.loads((tmp_path / name).read_text())
        (tmp_path / name).write_text(json.dumps({**stored, **fields}))

    changed("preprocessor_config.json", patch_size=8)
    with pytest.raises(WeightsError, match=r"it cuts patches of 8 pixels, 2 x 2 a token"):
        read(tmp_path)
    changed("preprocessor_config.json", patch_size=None)
    with pytest.raises(WeightsError, match="does not say how pictures are prepared"):
        read(tmp_path)
    changed("preprocessor_config.json", **preprocessor(family))
    stored = json.loads((tmp_path / "config.json").read_text())
    changed("config.json", text_config={**stored["text_config"], "num_hidden_layers": 3})
    with pytest.raises(WeightsError, match=r"layers\.3\."):
        read(tmp_path)
    changed("config.json", **{**stored, "model_type": "qwen9_vl"})
    with pytest.raises(WeightsError, match="a model of family 'qwen9_vl'"):
        read(tmp_path)
    changed("config.json", **stored)
    words = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(words.replace("<|vision_end|>", "<|other_end|>"))
    with pytest.raises(WeightsError, match=r"this tokenizer has no <\|vision_end\|>"):
        read(tmp_path)


# ---------------------------------------------------------------- untrained


def build(family: str, **options) -> Vlm:
    given = {
        "weights": "none", "model": family, "hidden": 32, "layers": 3, "heads": 2, "intermediate": 48,
        "positions": 256, "picture": 64, "patch": 4, "merge": 2, "vision_hidden": 32, "vision_layers": 4,
        "vision_heads": 2, "vision_intermediate": 24, **options,
    }  # fmt: skip
    return Vlm.build(VlmConfig(**given), BuildContext(parts={"corpus": Sentences()}, seed=1))


@families
def test_an_untrained_model_learns_and_its_tower_with_it(family):
    decoder = build(family).train()
    torch.autograd.backward(decoder.loss(shown(family), ["a dog", "a red boat", ""]))
    for part in ("visual", "language_model"):
        grads = [weight.grad for weight in getattr(decoder.model.model, part).parameters() if weight.grad is not None]
        assert sum(float(grad.abs().sum()) for grad in grads) > 0


@families
def test_adapters_stay_out_of_the_tower_and_change_nothing_at_first(family):
    plain, adapted = build(family), build(family, lora=2)
    trained = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert trained
    assert not any(in_vision_tower(name) for name in trained)
    with torch.no_grad():
        views = shown(family)
        assert torch.equal(plain.score(views, ["a", "b", "c"]), adapted.score(views, ["a", "b", "c"]))


@families
def test_a_prompt_stands_in_its_template(family):
    decoder = build(family)
    own, none = decoder.family.template, build(family, template="{}")
    views = shown(family)
    with torch.no_grad():
        asked = decoder.score(views, ["a"] * 3, "what")
        by_hand = none.score(views, ["a"] * 3, own.replace("{}", "<image>what"))
        bare = none.score(views, ["a"] * 3, "what")
    torch.testing.assert_close(asked, by_hand)
    assert not torch.allclose(asked, bare)
    with pytest.raises(ValueError, match="template: 'no place' must be auto, or have one"):
        VlmConfig(template="no place")
    with pytest.raises(ValueError, match=f"tiles: 3 must be 1, since '{family}' looks at any size"):
        VlmConfig(model=family, tiles=3)
