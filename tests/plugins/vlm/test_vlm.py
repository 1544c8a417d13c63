"""The decoder of pictures: what its prompt, its adapters and its options do."""

from __future__ import annotations

import pytest
import torch

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, RegionkitError, WeightsError
from regionkit.core.features import GenerateOptions, RegionTokens, RegionViews
from regionkit.core.language.adapters import is_adapter
from regionkit.core.testing import Sentences, picture
from regionkit.plugins.vlm.config import VlmConfig
from regionkit.plugins.vlm.decoder import Vlm
from regionkit.plugins.vlm.families import in_vision_tower
from regionkit.plugins.vlm.family import Shown

TINY = {
    "weights": "none",
    "hidden": 32,
    "layers": 2,
    "heads": 4,
    "intermediate": 48,
    "positions": 96,
    "picture": 16,
    "patch": 4,
    "merge": 2,
    "vision_hidden": 16,
    "vision_layers": 1,
    "vision_heads": 2,
    "vision_intermediate": 24,
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(seed: int = 0, **options) -> Vlm:
    return Vlm.build(VlmConfig(**{**TINY, **options}), BuildContext(parts={"corpus": Sentences()}, seed=seed))


def views(count: int = 3) -> RegionViews:
    return RegionViews(tuple(picture((30 + 9 * seed, 24), seed) for seed in range(count)))


def test_the_picture_stands_where_the_prompt_says_and_in_front_of_one_that_does_not():
    decoder = build()
    with torch.no_grad():
        tokens = decoder._tokens(views())
        around, _ = decoder.spliced(tokens, "a red <image> dog")
        front, _ = decoder.spliced(tokens, "dog")
        same, _ = decoder.spliced(tokens, "<image>dog")
        words = decoder._embed([*decoder.tokenizer.start, *decoder.tokenizer.encode("a red")])
    assert tokens.tokens.shape[1] == 4 + 3  # tokens of one tile, and its marks
    torch.testing.assert_close(around[0, : len(words)], words)
    torch.testing.assert_close(around[:, len(words) : -1], tokens.tokens)
    torch.testing.assert_close(front, same)
    with pytest.raises(RegionkitError, match="several places for it"):
        decoder.score(views(1), ["a"], "<image> and <image>")


def test_tiles_make_a_picture_longer_and_padding_changes_nothing():
    decoder = build(tiles=3, positions=256)
    shown = RegionViews((picture((48, 48)), picture((16, 5)), picture((48, 16))))
    with torch.no_grad():
        tokens = decoder._tokens(shown)
        together = decoder.score(shown, ["a red dog"] * 3)
        alone = [decoder.score(RegionViews((one,)), ["a red dog"]) for one in shown.pictures]
        features = decoder.visual_features(shown)
    assert tokens.mask.sum(1).tolist() == [9 * 6 + 7, 3 * 6 + 7, 3 * 6 + 7]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)
    tiles, _ = decoder.pictures.cut(shown.pictures[0])
    each = [Shown(decoder.pictures.pixels([tile]), (0, 0)) for tile in tiles]
    by_hand = torch.stack([decoder.family.features(decoder.model, [one])[0] for one in each]).mean(0)
    torch.testing.assert_close(features[0], by_hand)


def test_adapters_live_in_the_language_model_alone():
    decoder = build(lora=2)
    trained = [name for name, weight in decoder.named_parameters() if weight.requires_grad]
    assert len(trained) == 2 * 7 * 2  # two layers, seven linear ones each, A and B
    assert all(is_adapter(name) and not in_vision_tower(name) for name in trained)
    with pytest.raises(RegionkitError, match=r"put adapters on .*vision_model.*q_proj, which sees pictures"):
        build(lora=2, lora_targets=r".*q_proj")
    with pytest.raises(RegionkitError, match="no linear layer has a name that fits lora_targets 'nothing'"):
        build(lora=2, lora_targets="nothing")


def test_a_fresh_adapter_changes_nothing_bit_for_bit():
    plain, adapted = build(), build(lora=4)
    shown, texts = views(), ["a red dog", "", "two boats"]
    with torch.no_grad():
        assert torch.equal(plain.score(shown, texts), adapted.score(shown, texts))
        assert plain.generate(shown) == adapted.generate(shown)


def test_without_adapters_every_weight_is_trained_and_the_loss_reaches_the_tower():
    decoder = build().train()
    torch.autograd.backward(decoder.loss(views(), ["a dog", "a red boat", ""]))
    seen = decoder.model.model.vision_model.encoder.layers[0].mlp.fc1.weight
    assert seen.grad is not None
    assert seen.grad.abs().sum() > 0


def test_samples_depend_on_the_seed_and_not_on_batch_mates():
    decoder, shown = build(), views(4)
    options = [
        GenerateOptions(max_tokens=6, temperature=1.0, seed=seed, batch_size=size)
        for seed, size in ((1, 4), (1, 3), (2, 4))
    ]
    first, again, other = (decoder.generate(shown, options=one) for one in options)
    assert [one.text for one in first] == [one.text for one in again]
    assert [one.text for one in first] != [one.text for one in other]


def test_no_picture_at_all_is_read_as_the_text_alone():
    decoder = build()
    none = RegionTokens(torch.zeros(2, 0, 1), torch.zeros(2, 0, dtype=torch.bool), "none[1]")
    with torch.no_grad():
        states = decoder.hidden_states(none, ["a dog", "a"], positions="pred")
        ids = torch.tensor([[*decoder.tokenizer.start, *decoder.tokenizer.encode("a dog")]])
        expected = decoder.model.model.text_model(input_ids=ids).last_hidden_state[0]
    torch.testing.assert_close(states.tokens[0], expected)
    assert states.mask.tolist() == [[True, True, True], [True, True, False]]


@pytest.mark.parametrize("text", ["", "🦊 œuf", "unknownword", "a " * 12])
def test_odd_texts_have_scores(text):
    with torch.no_grad():
        assert torch.isfinite(build().score(views(1), [text])).all()


def test_what_it_cannot_read_is_refused():
    decoder = build()
    with pytest.raises(FeatureError, match=r"reads pictures and got vectors in grid/text\[16\]"):
        decoder.generate(RegionTokens.single(torch.zeros(2, 16), "grid/text[16]"))
    with pytest.raises(RegionkitError, match=r"tokens together, decoder 'vlm' has 96 positions"):
        decoder.score(views(1), ["a dog " * 60])
    with pytest.raises(WeightsError, match="decoder 'vlm' has no weights, and no corpus to take its words from"):
        Vlm.build(VlmConfig(**TINY), BuildContext())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param({"picture": 18}, "picture: 18 must be a multiple of patch x merge, 8", id="picture"),
        pytest.param({"heads": 3}, "heads: 3 does not divide hidden 32", id="heads"),
        pytest.param({"vision_heads": 3}, "vision_heads: 3 does not divide vision_hidden 16", id="vision heads"),
        pytest.param({"kv_heads": 3}, r"kv_heads: 3 must be 0 \(as many as heads\) or divide heads 4", id="kv"),
        pytest.param({"tiles": 0}, "tiles: 0 must be 1 or more", id="tiles"),
        pytest.param({"lora_targets": "("}, "is no regular expression", id="targets"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        VlmConfig(**{**TINY, **options})
