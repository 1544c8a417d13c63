"""ViZer's second stage: pictures alone, the adapter alone, and exactly the old model with the adapter off."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from vizer_fakes import Pictures, follow, lm, mapper, parts, vlm

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import RegionkitError
from regionkit.core.features import GenerateOptions
from regionkit.core.language.adapters import is_adapter
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.vizer.alignment import MapperAlignment
from regionkit.plugins.vizer.collapse import MapperCollapsed
from regionkit.plugins.vizer.configs import AlignmentConfig, MapperConfig, ZeroLabelConfig
from regionkit.plugins.vizer.mapper import NOTES
from regionkit.plugins.vizer.zero_label import ZeroLabel, word_f1

DECODERS = [pytest.param(lm, id="lm-tokens"), pytest.param(vlm, id="vlm")]
SHORT = GenerateOptions(max_tokens=6)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stage(decoder=None, *, blind: bool = True, seed: int = 0, others=None, **options) -> ZeroLabel:
    given = {"batch_size": 4, "steps": 3, "max_tokens": 6, **options}
    around = parts(decoder or lm(), blind=blind, **(others or {}))
    return ZeroLabel.build(ZeroLabelConfig(**given), BuildContext(parts=around, seed=seed))


def tensors(decoder) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in decoder.state_dict().items()}


def look(recipe: ZeroLabel):
    return recipe.eyes.look(recipe.batch(0))[0]


@pytest.mark.parametrize("make", DECODERS)
def test_only_the_adapter_moves_no_caption_is_read_and_without_it_the_model_is_the_old_one_bit_for_bit(make):
    decoder = make(lora_dropout=0.0)
    recipe = stage(decoder)
    inputs, texts = look(recipe), ["a red dog", "blue cat", "a white cup", "tree"]
    with torch.no_grad():
        captions, states = decoder.generate(inputs, options=SHORT), decoder.hidden_states(inputs, texts).tokens
        scores = decoder.score(inputs, texts)
    before = tensors(decoder)
    follow(recipe, 12, 5e-2)
    moved = {name for name, tensor in decoder.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {name for name in before if is_adapter(name)}
    with torch.no_grad():
        assert not torch.equal(decoder.hidden_states(inputs, texts).tokens, states)
        with decoder.without_adapter():
            assert torch.equal(decoder.hidden_states(inputs, texts).tokens, states)
            assert torch.equal(decoder.score(inputs, texts), scores)
            assert decoder.generate(inputs, options=SHORT) == captions


@pytest.mark.parametrize("make", DECODERS)
def test_a_file_of_the_trained_decoder_with_adapter_off_is_the_base_and_with_it_on_the_trained_one(make, tmp_path):
    base, decoder = make(lora_dropout=0.0), make(lora_dropout=0.0)
    recipe = stage(decoder)
    follow(recipe, 8, 5e-2)
    (artifact,) = recipe.export()
    path = tmp_path / "stage2.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    file = WeightFile(path, read_header(path))
    inputs, texts = look(recipe), ["a red dog", "blue cat", "a white cup", "tree"]
    config = decoder.config
    off = type(decoder).build(dataclasses.replace(config, adapter=False), BuildContext(weights=file))
    on = type(decoder).build(config, BuildContext(weights=file))
    with torch.no_grad():
        assert off.generate(inputs, options=SHORT) == base.generate(inputs, options=SHORT)
        assert torch.equal(off.hidden_states(inputs, texts).tokens, base.hidden_states(inputs, texts).tokens)
        assert torch.equal(on.score(inputs, texts), decoder.score(inputs, texts))
        assert not torch.equal(on.score(inputs, texts), off.score(inputs, texts))
    assert file.header.extra[NOTES]["mapper"] == "untrained"


@pytest.mark.parametrize("make", DECODERS)
def test_the_loss_falls_which_is_no_evidence_of_better_captions(make):
    recipe = stage(make(lora_dropout=0.0))
    losses = follow(recipe, 30, 3e-3)
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])  # 0.31 and 0.46 of it; larger steps go up on some processors


def test_the_loss_is_that_of_the_mapper_on_the_captions_own_states():
    recipe = stage()
    recipe.decoder.eval()
    batch = recipe.batch(2)
    inputs, targets, _ = recipe.eyes.look(batch)
    texts = [one.text for one in recipe.decoder.generate(inputs, options=SHORT)]
    expected = recipe.mapper.alignment_loss(recipe.decoder.hidden_states(inputs, texts), targets)
    loss, figures = recipe.loss(batch)
    torch.testing.assert_close(loss, expected)
    assert figures["distinct"] == len(set(texts)) / 4
    assert figures["generic"] == max(map(texts.count, texts)) / 4
    assert figures["words"] == sum(len(text.split()) for text in texts) / 4


def test_the_mapper_stays_as_it_is_its_running_mean_too():
    recipe = stage()
    before = tensors(recipe.mapper)
    follow(recipe, 5, 5e-2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in recipe.mapper.state_dict().items())


def test_positions_and_target_are_as_in_the_mappers_training_unless_said_otherwise():
    made = mapper(0, "lm-tokens/hidden[16]", "grid/image[16]")
    made.trained, made.notes = True, {"positions": "tok", "target": "region", "collapsed": False}
    recipe = stage(others={"mapper": made})
    assert (recipe.config.positions, recipe.config.target, recipe.eyes.target) == ("tok", "region", "region")
    recipe = stage(others={"mapper": made}, positions="pred", target="image")
    assert (recipe.config.positions, recipe.config.target) == ("pred", "image")
    assert (stage().config.positions, stage().config.target) == ("pred", "image")


def test_shuffled_targets_belong_to_other_pictures_of_the_batch():
    recipe, plain = stage(control="shuffled"), stage()
    targets = torch.arange(4.0).unsqueeze(1).expand(4, 16)
    for step in range(6):
        shuffled = recipe._controlled(targets, step)[:, 0]
        assert sorted(shuffled.tolist()) == [0.0, 1.0, 2.0, 3.0]
        assert not (shuffled == targets[:, 0]).any()
        assert torch.equal(shuffled, recipe._controlled(targets, step)[:, 0])
    assert torch.equal(plain._controlled(targets, 0), targets)


def test_the_divergence_is_zero_at_first_and_pulls_back_later():
    decoder = lm(lora_dropout=0.0)
    recipe = stage(decoder, kl=0.5)
    recipe.decoder.eval()
    _, figures = recipe.loss(recipe.batch(0))
    assert figures["kl"] == pytest.approx(0.0, abs=1e-6)
    follow(recipe, 15, 5e-2)
    inputs = look(recipe)
    divergence = recipe._divergence(inputs, ["a red dog"] * 4)
    assert divergence.item() > 1e-4
    with torch.no_grad():
        adapted = decoder.logits(decoder.hidden_states(inputs, ["a red dog"] * 4).tokens).log_softmax(-1)
        with decoder.without_adapter():
            base = decoder.logits(decoder.hidden_states(inputs, ["a red dog"] * 4).tokens).log_softmax(-1)
    by_hand = torch.nn.functional.kl_div(base, adapted, log_target=True, reduction="none").sum(-1).mean()
    torch.testing.assert_close(divergence, by_hand)
    torch.autograd.backward(divergence)
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in decoder.parameters())


@pytest.mark.parametrize("make", DECODERS)
def test_reinforce_weighs_sampled_captions_by_how_much_better_they_are_than_the_greedy_one(make):
    recipe = stage(make(lora_dropout=0.0), estimator="reinforce")
    recipe.decoder.eval()
    batch = recipe.batch(1)
    loss, figures = recipe.loss(batch)
    again, _ = recipe.loss(batch)
    assert torch.equal(loss, again)  # samples follow from seed and step
    assert loss.requires_grad
    assert -1 <= figures["reward"] <= 1
    torch.autograd.backward(loss)
    grads = [weight.grad for name, weight in recipe.decoder.named_parameters() if is_adapter(name)]
    assert any(grad is not None and grad.abs().sum() > 0 for grad in grads)


def test_the_reinforce_loss_is_self_critical_and_its_reference_reward_is_no_zero_label_training():
    recipe = stage(estimator="reinforce", reward="references")
    with pytest.raises(AssertionError, match="a caption of the data was read"):
        recipe.loss(recipe.batch(0))
    recipe = stage(lm(lora_dropout=0.0), blind=False, estimator="reinforce", reward="references", batch_size=12)
    recipe.decoder.eval()
    batch = recipe.batch(0)
    inputs, decoder = recipe.eyes.look(batch)[0], recipe.decoder
    seen: list[GenerateOptions] = []
    plain = decoder.generate
    decoder.generate = lambda *given: seen.append(given[2]) or plain(*given)
    loss, figures = recipe.loss(batch)
    greedy, sampled = ([one.text for one in plain(inputs, None, options)] for options in seen)
    assert seen[0].greedy
    assert seen[1].temperature == 1.0
    rewards = [
        [word_f1(text, sample.references[0]) for text, sample in zip(texts, batch.samples, strict=True)]
        for texts in (sampled, greedy)
    ]
    advantage = torch.tensor(rewards[0]) - torch.tensor(rewards[1])
    assert advantage.any()
    torch.testing.assert_close(loss, -(advantage * decoder.log_likelihood(inputs, sampled)).mean())
    assert figures["reward"] == pytest.approx(sum(rewards[1]) / 12)
    assert figures["advantage"] == pytest.approx(advantage.mean().item())


@pytest.mark.parametrize(
    ("text", "reference", "value"),
    [
        pytest.param("a red dog", "a red dog", 1.0, id="same"),
        pytest.param("Dog red a", "a red dog", 1.0, id="order and case"),
        pytest.param("a red cat", "a red dog", 2 / 3, id="two of three"),
        pytest.param("dog dog", "a dog", 0.5, id="counted as often as it stands there"),
        pytest.param("", "a dog", 0.0, id="empty"),
    ],
)
def test_word_f1(text, reference, value):
    assert word_f1(text, reference) == pytest.approx(value)


def test_figures_at_the_end_describe_both_models():
    recipe = stage(lm(lora_dropout=0.0))
    figures = dict(recipe.evaluate())
    assert figures["changed"] == 0.0
    assert figures["cosine"] == figures["base cosine"]
    follow(recipe, 20, 5e-2)
    figures = dict(recipe.evaluate())
    assert figures["cosine"] > figures["base cosine"]
    assert {"distinct", "generic", "words", "base distinct", "base generic", "base words"} <= set(figures)


def collapsed():
    made = mapper(0, "lm-tokens/hidden[16]", "grid/image[16]")
    made.trained, made.notes = True, {"collapsed": True, "R@1": 0.004, "chance": 0.0039}
    return made


def test_a_collapsed_mapper_is_refused_unless_allowed():
    with pytest.raises(MapperCollapsed, match=r"the right picture for 0.4% of captions, and") as found:
        stage(others={"mapper": collapsed()})
    assert "recipe.allow_collapsed: true" in found.value.hints[-1]
    stage(others={"mapper": collapsed()}, allow_collapsed=True)


def test_both_stages_in_a_row_carry_the_notes_over(tmp_path):
    decoder = lm()
    around = parts(decoder)
    first = MapperAlignment.build(
        AlignmentConfig(batch_size=4, steps=3, positions="tok"), BuildContext(parts=around, seed=0)
    )
    follow(first, 40, 2e-2)
    (artifact,) = first.export()
    path = tmp_path / "mapper.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    header = read_header(path)
    trained = type(first.mapper).build(MapperConfig(**header.config), BuildContext(weights=WeightFile(path, header)))
    recipe = stage(decoder, others={"mapper": trained})
    assert recipe.config.positions == "tok"
    (artifact,) = recipe.export()
    assert artifact.header.kind == "decoder"
    assert artifact.header.extra[NOTES]["mapper"]["variant"] == "GT"


@pytest.mark.parametrize(
    ("decoder", "others", "sentence"),
    [
        pytest.param({"lora": 0}, {}, "the adapter of a decoder, and LmTokens has none", id="none"),
        pytest.param({"adapter": False}, {}, "LmTokens has none, or it is off", id="off"),
        pytest.param({}, {"mapper": object()}, "got object for its mapper", id="no mapper"),
    ],
)
def test_parts_that_cannot_do_this_are_refused(decoder, others, sentence):
    with pytest.raises(RegionkitError, match=sentence):
        stage(lm(**decoder), others=others)


def test_a_mapper_that_is_untrained_by_oversight_is_refused():
    made = mapper()
    made.config = dataclasses.replace(made.config, weights="auto")
    with pytest.raises(RegionkitError, match="follows a mapper, and this one is not trained") as found:
        stage(others={"mapper": made})
    assert "weights: none" in found.value.hints[-1]


def test_options_that_a_decoder_cannot_serve_are_refused(monkeypatch):
    decoder = lm()
    monkeypatch.delattr("regionkit.core.language.decoder.LanguageDecoder.log_likelihood")
    with pytest.raises(RegionkitError, match=r"LmTokens has no method log_likelihood, which recipe.estimator needs"):
        stage(decoder, estimator="reinforce")


def test_training_twice_gives_the_same_adapter():
    made = [lm(), lm()]
    losses = [follow(stage(decoder), 4, 1e-2) for decoder in made]
    assert losses[0] == losses[1]
    first, second = (tensors(decoder) for decoder in made)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_blind_data_really_raise():
    with pytest.raises(AssertionError, match="a caption of the data was read"):
        _ = Pictures(blind=True).samples("image", "train")[0].references
