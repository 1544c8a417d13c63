"""Families that look at any size say exactly what transformers lets them say, or what their formulas do."""

from __future__ import annotations

import json

import pytest
import torch
from native_folder import FRAMES, PATCH, SPARE, config_of, official, preprocessor, tokenizer, write_folder
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from regionkit.core.compute import in_precision
from regionkit.core.contracts import BuildContext
from regionkit.core.errors import RegionkitError, WeightsError
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
    mean, std = tuple(found["image_mean"]), tuple(found["image_std"])
    patching = Patching(PATCH[family], 2, FRAMES[family], *found["size"].values(), mean=mean, std=std)
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
    for wrong, said in (
        ({"patch_size": None}, "does not say how pictures are prepared: .*\n.*fetch preprocessor_config.json again"),
        ({"patch_size": 0}, "patch_size: 0 must be 1 or more"),
        ({"min_pixels": 0}, "the fewest pixels: 0 must be 1 or more"),
        (
            {"size": {"shortest_edge": 10**15, "longest_edge": 10**18}},
            "the fewest pixels: 10+ must be 1 or more, at",
        ),
        ({"image_std": [0.5, 0, 0.5]}, r"image_std: \[0.5, 0.0, 0.5\] must be numbers that a colour can be divided by"),
        ({"image_mean": [0.5]}, r"image_mean: \[0.5\] must be three numbers"),
    ):
        whole = {name: one for name, one in preprocessor(family).items() if name not in wrong}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps({**whole, **wrong}))
        with pytest.raises(WeightsError, match=said):
            read(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessor(family)))
    stored = json.loads((tmp_path / "config.json").read_text())
    changed("config.json", text_config={**stored["text_config"], "num_hidden_layers": 3})
    with pytest.raises(WeightsError, match=r"do not fit (Qwen|OneVision)\w+\n.*layers\.3\."):
        read(tmp_path)
    changed("config.json", text_config={**stored["text_config"], "num_hidden_layers": 10**6})
    with pytest.raises(WeightsError, match=r"it says 1000000 layers, and .* holds"):
        read(tmp_path)
    changed("config.json", **stored)
    changed("config.json", image_token_id=3)
    with pytest.raises(WeightsError, match=r"a picture's token is 3 there, and <\|image_pad\|> is \d+ in tokenizer"):
        read(tmp_path)
    if family != "llavaonevision1_5":
        rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [1, 1, 1]}
        changed("config.json", **{**stored, "text_config": {**stored["text_config"], "rope_parameters": rope}})
        with pytest.raises(WeightsError, match=r"mrope_section is \[1, 1, 1\], and should be three numbers"):
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
def test_an_older_transformers_is_told_in_a_sentence(family, monkeypatch):
    monkeypatch.setattr("transformers.__version__", "4.57.1")
    said = f"models of family '{family}' need transformers 5 or later, and 4.57.1 is installed\n.*pip install -U"
    with pytest.raises(RegionkitError, match=said):
        build(family)


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
def test_captions_that_the_positions_end_are_those_of_each_alone(family):
    """Rows of one length go together then, with what is told of their positions."""
    sizes = [(60, 24), (16, 16), (60, 24), (40, 40)]
    longest = max(len(row) for row in _lengths(build(family, prompt="what"), shown(family, sizes)))
    decoder = build(family, positions=longest + 3, prompt="what")
    views = shown(family, sizes)
    together = decoder.generate(views, options=GenerateOptions(max_tokens=9))
    alone = [decoder.generate(RegionViews((one,)), options=GenerateOptions(max_tokens=9))[0] for one in views.pictures]
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    assert len({len(one.tokens) for one in together}) > 1


def _lengths(decoder: Vlm, views: RegionViews) -> list[list[bool]]:
    with torch.no_grad():
        prefix = decoder.prefix(decoder._tokens(views))
    return [row[row].tolist() for row in prefix.valid]


@families
def test_bfloat16_keeps_the_frequencies_of_positions_exact(family):
    decoder, views = build(family), shown(family)
    exact = {name: one.clone() for name, one in decoder.named_buffers() if name.endswith("inv_freq")}
    with torch.no_grad():
        wanted = decoder.score(views, ["a dog"] * 3)
        in_precision(decoder, "bfloat16")
        found = decoder.score(views, ["a dog"] * 3)
    assert exact
    assert all(torch.equal(dict(decoder.named_buffers())[name], one) for name, one in exact.items())
    assert next(decoder.parameters()).dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted, atol=0.5, rtol=0)
    assert len(decoder.generate(views, options=GenerateOptions(max_tokens=3))) == 3


@families
def test_logits_of_hidden_states_are_the_models_own(family):
    decoder, views = build(family), shown(family)
    with torch.no_grad():
        states = decoder.hidden_states(views, ["a dog"] * 3).tokens
        ids, lengths = decoder._targets(["a dog"] * 3, None)
        own = decoder._logits(decoder._tokens(views), ids, lengths, None)
        torch.testing.assert_close(decoder.logits(states), own, atol=1e-4, rtol=1e-4)


@families
def test_pixels_bound_what_is_seen_of_a_picture(tmp_path, family):
    write_folder(tmp_path, family)
    artifact = read_vlm({role: tmp_path / name for role, name in _NAMES.items()}, VlmConfig())
    file = WeightFile(tmp_path, artifact.header, read=lambda: artifact.tensors)
    factor = 2 * PATCH[family]

    def tokens(pixels: int) -> int:
        decoder = Vlm.build(VlmConfig(pixels=pixels), BuildContext(weights=file))
        with torch.no_grad():
            return decoder._tokens(RegionViews((picture((400, 300)),))).tokens.shape[1] - 2  # its two marks

    assert tokens(0) > 12 >= tokens(12 * factor**2) > 6 >= tokens(6 * factor**2)
    with pytest.raises(RegionkitError, match=f"pixels: 9 is less than one token of '{family}' shows, {factor} x"):
        tokens(9)


def test_pixels_are_no_matter_of_tiles():
    with pytest.raises(RegionkitError, match="pixels: 'smolvlm' sees tiles of 16 x 16 pixels"):
        build("smolvlm", picture=16, pixels=400)


@families
def test_what_is_asked_and_how_goes_with_the_weights(family):
    header = build(family, template="Q: {} A:", prompt="what", pixels=900).artifact().header
    assert {name: header.config[name] for name in ("template", "prompt", "pixels")} == {
        "template": "Q: {} A:", "prompt": "what", "pixels": 900,
    }  # fmt: skip


@families
def test_pictures_are_prepared_batch_by_batch(family, monkeypatch):
    """One large picture among many makes the others no longer, and not all are there at once."""
    decoder, at_once = build(family, positions=4096, picture=512), []
    own = decoder._tokens
    monkeypatch.setattr(decoder, "_tokens", lambda inputs: at_once.append(len(inputs)) or own(inputs))
    views = shown(family, [(12, 12)] * 9)
    decoder.generate(views, options=GenerateOptions(max_tokens=2, batch_size=4))
    assert at_once == [4, 4, 1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param({"vision_hidden": 36, "vision_heads": 6}, "36 over 6 vision_heads is 6 a head", id="tower"),
        pytest.param({"hidden": 30, "heads": 2}, "hidden: 30 over 2 heads is 15 a head", id="words"),
        pytest.param({"picture": 4}, "picture: 4 must be patch x merge or more, 8", id="picture"),
        pytest.param({"pixels": -1}, "pixels: -1 must be 0", id="pixels"),
    ],
)
@families
def test_sizes_that_no_position_can_be_laid_over_are_refused(family, given, said):
    with pytest.raises(ValueError, match=said):
        build(family, **given)


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
