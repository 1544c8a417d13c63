"""ViZer's first stage: what is read, what moves, and whether the alarm goes off."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
import torch
from vizer_fakes import Pictures, Shown, follow, lm, mapper, parts, vlm

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import DataError, FeatureError, RegionkitError, WeightsError
from regionkit.core.features import GenerateOptions, RegionTokens, Scene
from regionkit.core.geometry import patch_weights
from regionkit.core.testing import GridBackbone, NearestTextDecoder, Recast
from regionkit.plugins.vizer.alignment import MapperAlignment
from regionkit.plugins.vizer.configs import AlignmentConfig
from regionkit.plugins.vizer.mapper import NOTES


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stage(decoder=None, *, blind: bool = False, seed: int = 0, others=None, **options) -> MapperAlignment:
    given = {"batch_size": 4, "steps": 3, "max_tokens": 5, **options}
    around = parts(decoder or lm(), blind=blind, **(others or {}))
    return MapperAlignment.build(AlignmentConfig(**given), BuildContext(parts=around, seed=seed))


def test_the_mapper_gets_the_widths_of_hidden_states_and_features():
    recipe = stage()
    assert (recipe.mapper.reads, recipe.mapper.writes) == ("lm-tokens/hidden[16]", "grid/image[16]")
    recipe = stage(vlm())
    assert (recipe.mapper.reads, recipe.mapper.writes) == ("vlm/hidden[32]", "vlm/vision[16]")


@pytest.mark.parametrize("decoder", [pytest.param(lm, id="tokens"), pytest.param(vlm, id="pictures")])
@pytest.mark.parametrize("variant", ["GT", "G"])
def test_training_moves_the_mapper_alone_and_lowers_its_loss(decoder, variant):
    recipe = stage(decoder(), variant=variant)
    frozen = {name: tensor.clone() for name, tensor in recipe.decoder.state_dict().items()}
    before = [weight.clone() for weight in recipe.mapper.parameters()]
    losses = follow(recipe, 15, 2e-2)
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    assert all(torch.equal(tensor, frozen[name]) for name, tensor in recipe.decoder.state_dict().items())
    assert all(not torch.equal(one, other) for one, other in zip(before, recipe.mapper.parameters(), strict=True))
    assert all(weight.grad is None for weight in recipe.decoder.parameters())


def test_variant_g_reads_no_caption_of_the_data_and_gt_does():
    recipe = stage(blind=True, variant="G")
    loss, _ = recipe.loss(recipe.batch(0))
    assert loss.requires_grad
    dict(recipe.evaluate())
    recipe = stage(blind=True)
    with pytest.raises(AssertionError, match="a caption of the data was read"):
        recipe.loss(recipe.batch(0))


def test_variant_g_reads_what_the_decoder_writes():
    recipe = stage(variant="G")
    batch = recipe.batch(1)
    inputs, _, _ = recipe.eyes.look(batch)
    texts = [one.text for one in recipe.decoder.generate(inputs, options=GenerateOptions(max_tokens=5))]
    states, _ = recipe._read(batch)
    with torch.no_grad():
        torch.testing.assert_close(states.tokens, recipe.decoder.hidden_states(inputs, texts).tokens)


@pytest.mark.parametrize("decoder", [pytest.param(lm, id="tokens"), pytest.param(vlm, id="pictures")])
def test_context_text_shows_the_decoder_no_region(decoder):
    made = decoder()
    recipe = stage(made, context="text")
    other = stage(made, context="text", others={"dataset": Repainted()})
    states, _ = recipe._read(recipe.batch(0))
    changed, _ = other._read(other.batch(0))
    torch.testing.assert_close(states.tokens, changed.tokens, rtol=0, atol=0)
    seen = stage(made)._read(recipe.batch(0))[0]
    assert not torch.allclose(seen.tokens, states.tokens)


def test_context_text_needs_a_token_before_the_caption():
    made = lm()
    made.tokenizer = dataclasses.replace(made.tokenizer, start=())
    recipe = stage(made, context="text")
    with pytest.raises(FeatureError, match="has no token, and the prompt is empty: nothing stands before the text"):
        recipe.loss(recipe.batch(0))


class Repainted(Pictures):
    """The same captions under other pictures."""

    def image(self, image_id):
        return super().image(str(int(image_id) + 100))


def test_pred_starts_a_token_earlier_than_tok():
    recipe, made = stage(), stage(positions="tok")
    made.decoder = recipe.decoder
    pred, tok = recipe._read(recipe.batch(0))[0], made._read(recipe.batch(0))[0]
    torch.testing.assert_close(pred.tokens[:, 1], tok.tokens[:, 0])
    assert not torch.allclose(pred.tokens[:, 0], tok.tokens[:, 0])


def test_targets_are_the_mean_of_the_picture_or_of_the_region():
    batch = stage().batch(0)
    features = Scene(batch.images, GridBackbone()).features
    _, seen, space = stage().eyes.look(batch)
    assert space == "grid/image[16]"
    torch.testing.assert_close(seen, features.patches.mean((1, 2))[list(batch.regions.image)])
    _, seen, _ = stage(target="region").eyes.look(batch)
    for row, (region, index) in enumerate(zip(batch.regions.items, batch.regions.image, strict=True)):
        weights = torch.from_numpy(patch_weights(region, features.frames[index])).float()
        expected = (features.patches[index] * weights[..., None]).sum((0, 1)) / weights.sum()
        torch.testing.assert_close(seen[row], expected)


def test_a_decoder_of_pictures_gives_its_own_features_for_targets():
    recipe = stage(vlm())
    batch = recipe.batch(0)
    inputs, seen, _ = recipe.eyes.look(batch)
    torch.testing.assert_close(seen, recipe.decoder.visual_features(inputs))


def test_a_batch_follows_from_seed_and_step_and_an_epoch_has_every_picture_once():
    recipe, again = stage(), stage()
    again.batch(5)
    assert [one.id for one in recipe.batch(1).samples] == [one.id for one in again.batch(1).samples]
    epoch = [one.id for step in range(3) for one in recipe.batch(step).samples]
    assert len(set(epoch)) == len(epoch) == 12
    assert epoch != [one.id for step in range(3, 6) for one in recipe.batch(step).samples]
    assert epoch != [one.id for step in range(3) for one in stage(seed=1).batch(step).samples]
    assert stage(steps=0, epochs=2).settings.steps == 6


def test_figures_and_the_header_tell_a_mapper_that_works():
    recipe = stage()
    follow(recipe, 60, 2e-2)
    figures = dict(recipe.evaluate())
    assert figures["R@1"] >= 0.75
    assert figures["chance R@1"] == pytest.approx(1 / 12)
    assert "collapsed" not in figures
    (artifact,) = recipe.export()
    assert (artifact.header.kind, artifact.header.name) == ("bridge", "mapper")
    assert (artifact.header.space, artifact.header.writes) == ("lm-tokens/hidden[16]", "grid/image[16]")
    notes = artifact.header.extra[NOTES]
    assert notes["collapsed"] is False
    assert [notes[name] for name in ("variant", "context", "positions", "target")] == ["GT", "image", "pred", "image"]


def test_exchanged_captions_show_whether_a_mapper_reads_captions_at_all():
    recipe = stage(context="text")
    follow(recipe, 60, 2e-2)
    figures = dict(recipe.evaluate())
    assert figures["cosine with captions exchanged"] < figures["cosine"] - 0.3
    plain = recipe.decoder.hidden_states
    recipe = stage(lm())
    recipe.decoder.hidden_states = lambda inputs, texts, *more: plain(inputs, ["red dog"] * len(texts), *more)
    figures = dict(recipe.evaluate())
    assert figures["cosine with captions exchanged"] == pytest.approx(figures["cosine"], abs=1e-6)


def test_a_mapper_that_says_the_same_of_all_sets_the_alarm_off_although_its_loss_is_small():
    # Features with a large part in common, region tokens that are all alike: a constant answer is close to each.
    shifted = Recast(GridBackbone(), lambda values: values + 1)
    recipe = stage(lm(), others={"mapper": mapper(center=False), "backbone": shifted}, variant="G")
    recipe.eyes.region_encoder = Alike()
    losses = follow(recipe, 25, 2e-2)
    assert losses[-1] < 0.1
    _, figures = recipe.loss(recipe.batch(0))
    assert figures["collapsed"] == 1.0
    assert dict(recipe.evaluate())["collapsed"] == 1.0
    (artifact,) = recipe.export()
    assert artifact.header.extra[NOTES]["collapsed"] is True


class Alike(Shown):
    """Gives every region the same token."""

    def encode(self, scene, regions):
        return RegionTokens.single(torch.ones(len(regions), 16), "grid/image[16]")


def test_a_part_that_is_no_mapper_or_too_few_regions_are_refused():
    with pytest.raises(RegionkitError, match="recipe 'mapper-alignment' got object for its mapper"):
        stage(others={"mapper": object()})
    with pytest.raises(DataError, match="12 regions are fewer than a batch of 13"):
        stage(batch_size=13)


def test_a_decoder_without_hidden_states_is_refused():
    with pytest.raises(FeatureError, match="does not show its hidden states"):
        stage(NearestTextDecoder(["a"], torch.ones(1, 16)))


def test_a_sample_without_captions_is_refused_by_gt():
    recipe = stage()
    samples = [type(one)(one.id, one.image_id, one.region) for one in recipe.pictures.samples]
    recipe.pictures.samples = samples
    with pytest.raises(DataError, match="has no caption, and variant GT reads captions"):
        recipe.loss(recipe.batch(0))


def test_a_trained_mapper_of_another_decoder_is_refused():
    made = mapper(0, "other/hidden[9]", "grid/image[16]")
    made.trained = True
    with pytest.raises(WeightsError, match=r"lead from other/hidden\[9\]"):
        stage(others={"mapper": made})


def test_training_again_gives_the_same_weights():
    recipes = [stage(variant="G"), stage(variant="G")]
    losses = [follow(recipe, 5, 1e-2) for recipe in recipes]
    assert losses[0] == losses[1]
    assert all(first != second for first, second in pairwise(losses[0]))
