"""MAGIC: its ranking against an independent one, plain contrastive search, batches, scores, lengths, refusals."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from guided_toys import DIM, SPACE, Tower, build, cosine, exact, one, regions, trained

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, RegionkitError
from regionkit.core.features import GenerateOptions, RegionTokens
from regionkit.core.testing import GridBackbone, picture
from regionkit.plugins.zeroshot.magic import Magic, magic_scores
from regionkit.plugins.zeroshot.magic_config import MagicConfig

param = pytest.param
K = 5


@pytest.fixture(scope="module")
def decoder() -> Magic:
    return trained(build(Magic, MagicConfig, k=K))


def with_options(decoder: Magic, **options) -> Magic:
    """The same decoder under other options."""
    other = Magic(dataclasses.replace(decoder.config, **options), SPACE, decoder.model, decoder.tokenizer).eval()
    other._encode = decoder._encode
    return other


def slow(decoder: Magic, vector: torch.Tensor, length: int = 16) -> list[int]:
    """Search as the paper says, one candidate after the other, in float64 and without a cache."""
    config, tokenizer, model = decoder.config, decoder.tokenizer, exact(decoder)
    ids = [1]
    with torch.no_grad():
        while len(ids) < length:
            chances = model(torch.tensor([ids])).logits[0, -1].softmax(-1)
            tokens = chances.argsort(descending=True)[: config.k].tolist()
            scores = []
            guide = torch.stack([cosine(vector, tokenizer.decode([*ids[1:], token])) for token in tokens])
            guide = torch.exp(config.scale * guide - (config.scale * guide).max())
            guide = guide / guide.sum()
            for token, share in zip(tokens, guide.tolist(), strict=True):
                states = model(torch.tensor([[*ids, token]]), output_hidden_states=True).hidden_states[-1][0]
                states = states / states.norm(dim=1, keepdim=True)
                penalty = float((states[:-1] @ states[-1]).max())
                confidence = float(chances[token])
                scores.append((1 - config.alpha) * confidence - config.alpha * penalty + config.beta * share)
            ids.append(tokens[scores.index(max(scores))])
            if ids[-1] == tokenizer.end:
                break
    return ids[1:]


@pytest.mark.parametrize(
    "options",
    [
        param({}, id="as-released"),
        param({"beta": 0.0, "alpha": 0.6}, id="contrastive-search"),
        param({"beta": 0.05, "scale": 3.0}, id="soft-guide"),
        param({"k": 2, "alpha": 0.9}, id="two-candidates"),
        param({"alpha": 0.0, "beta": 0.0}, id="greedy"),
    ],
)
def test_the_search_is_the_papers(options, decoder):
    other, inputs = with_options(decoder, **options), regions(3)
    wanted = [slow(other, inputs.tokens[row, 0]) for row in range(3)]
    found = other.generate(inputs)
    assert [[*caption.tokens, *([2] if caption.finished else [])] for caption in found] == wanted


def test_one_ranking_by_hand():
    confidence = torch.tensor([[0.5, 0.3]], dtype=torch.float64)
    context = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]], dtype=torch.float64)
    hidden = torch.tensor([[[3.0, 4.0], [1.0, -1.0]]], dtype=torch.float64)
    cosines = torch.tensor([[0.2, 0.21]], dtype=torch.float64)
    found = magic_scores(confidence, hidden, context, cosines, 0.1, 2.0, 100.0)
    share = 1 / (1 + torch.e)
    assert found[0, 0].item() == pytest.approx(0.45 - 0.1 * 0.8 + 2 * share, abs=1e-6)
    assert found[0, 1].item() == pytest.approx(0.27 - 0.1 * 2**-0.5 + 2 * (1 - share), abs=1e-6)


def test_without_a_guide_every_region_gets_the_same_caption_and_the_tower_is_not_asked(decoder):
    other, tower = with_options(decoder, beta=0.0), Tower()
    other._encode = tower.encode_text
    captions = other.generate(regions(4))
    assert len({caption.tokens for caption in captions}) == 1
    assert tower.asked == []


def test_the_guide_tells_regions_apart(decoder):
    captions = decoder.generate(regions(16))
    assert len({caption.tokens for caption in captions}) >= 8
    inputs = regions(16)
    own = [float(cosine(inputs.tokens[row, 0], caption.text)) for row, caption in enumerate(captions)]
    plain = with_options(decoder, beta=0.0).generate(inputs)
    unguided = [float(cosine(inputs.tokens[row, 0], caption.text)) for row, caption in enumerate(plain)]
    assert sum(own) / 16 > sum(unguided) / 16 + 0.1


@pytest.mark.parametrize(
    "options",
    [
        param(GenerateOptions(), id="plain"),
        param(GenerateOptions(max_tokens=6), id="short"),
        param(GenerateOptions(max_tokens=9, min_tokens=5), id="at-least-five"),
    ],
)
def test_a_batch_is_a_loop_of_singles(options, decoder):
    inputs = regions(17, seed=3)  # more than are searched together
    together = decoder.generate(inputs, options=options)
    rows = range(17) if options == GenerateOptions() else range(0, 17, 4)
    alone = {row: decoder.generate(one(inputs, row), options=options)[0] for row in rows}
    sliced = decoder.generate(inputs, options=dataclasses.replace(options, batch_size=7))
    for row, caption in alone.items():
        assert caption.tokens == together[row].tokens
        assert caption.score == pytest.approx(together[row].score, abs=1e-4)
    assert [caption.tokens for caption in sliced] == [caption.tokens for caption in together]
    assert all(options.min_tokens <= len(caption.tokens) <= options.max_tokens for caption in together)
    assert len({caption.tokens for caption in together}) >= 8
    assert decoder.generate(inputs, options=options) == together


def test_a_finished_caption_has_the_score_of_its_text(decoder):
    inputs = regions(16)
    captions = decoder.generate(inputs)
    spelled = [tuple(decoder.tokenizer.encode(caption.text)) for caption in captions]  # <pad> may be written, too
    pairs = enumerate(zip(captions, spelled, strict=True))
    finished = [row for row, (caption, ids) in pairs if caption.finished and ids == caption.tokens]
    assert len(finished) >= 3
    for row in finished:
        score = decoder.score(one(inputs, row), [captions[row].text])
        assert captions[row].score == pytest.approx(float(score), abs=1e-4)
    texts = ["word1 word2"] * 2
    assert decoder.score(regions(2), texts).unique().numel() == 1  # the region has no part in it


def test_length_counts_the_start_token_and_the_prompt(decoder):
    captions = with_options(decoder, length=5).generate(regions(6))
    assert max(len(caption.tokens) + int(caption.finished) for caption in captions) == 4
    captions = with_options(decoder, length=5, prompt="image of").generate(regions(6))
    assert max(len(caption.tokens) + int(caption.finished) for caption in captions) == 2
    with pytest.raises(RegionkitError, match="start token and prompt are 5 tokens, and length 5 counts them") as raised:
        with_options(decoder, length=5).generate(regions(1), prompt="word1 word2 word3 word4")
    assert "write decoder.length: 20" in raised.value.hints[0]


def test_the_guide_reads_the_last_tokens_of_a_caption(decoder):
    other, tower = with_options(decoder, guide_tokens=2), Tower()
    other._encode = tower.encode_text
    other.generate(regions(2), options=GenerateOptions(max_tokens=6, min_tokens=5))
    assert max(len(text.split()) for asked in tower.asked for text in asked) == 2


def test_reference_shows_the_guide_how_special_tokens_are_spelled(decoder):
    asked = {}
    for compat in ("paper", "reference"):
        other, tower = with_options(decoder, compat=compat, k=50), Tower()
        other._encode = tower.encode_text
        other.generate(regions(1), options=GenerateOptions(max_tokens=1))
        asked[compat] = {text for texts in tower.asked for text in texts}
    assert {"</s>", "<pad>"} <= asked["reference"]
    assert not any("<" in text for text in asked["paper"])
    assert "" in asked["paper"]


def test_a_caller_in_inference_mode_changes_nothing(decoder):
    inputs = regions(3)
    outside = decoder.generate(inputs)
    with torch.inference_mode():
        assert decoder.generate(RegionTokens.single(inputs.vectors() * 1.0, SPACE)) == outside


@torch.no_grad()
def test_the_loss_is_the_language_models_own(decoder):
    texts = ["word1 word2", "word3"]
    model, total, count = exact(decoder), 0.0, 0
    for text in texts:
        ids = [1, *decoder.tokenizer.encode(text), 2]
        likely = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        total -= float(likely.gather(1, torch.tensor(ids[1:]).unsqueeze(1)).sum())
        count += len(ids) - 1
    assert float(decoder.loss(regions(2), texts)) == pytest.approx(total / count, rel=1e-5)
    assert decoder.loss_terms(texts) == count
    scores = decoder.score(regions(2), texts)
    assert float(scores.sum()) == pytest.approx(-total, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        param({"beams": 2}, "it has no beams and no samples", id="beams"),
        param({"temperature": 1.0}, "it has no beams and no samples", id="samples"),
    ],
)
def test_searches_of_another_kind_are_refused(options, words, decoder):
    with pytest.raises(RegionkitError, match=words):
        decoder.generate(regions(1), options=GenerateOptions(**options))


def test_vectors_that_are_none_are_refused(decoder):
    inputs = regions(3)
    inputs.tokens[1, 0, 0] = torch.nan
    with pytest.raises(FeatureError, match=r"what decoder 'magic' reads.* NaN or infinite values for region 1"):
        decoder.generate(inputs)
    several = RegionTokens(torch.randn(2, 3, DIM), torch.ones(2, 3, dtype=torch.bool), SPACE)
    with pytest.raises(FeatureError, match="reads one token a region and got 3"):
        decoder.generate(several)


def test_a_region_of_zeros_is_captioned_by_the_language_model(decoder):
    nothing = RegionTokens.single(torch.zeros(1, DIM), SPACE)
    assert decoder.generate(nothing)[0].tokens == with_options(decoder, beta=0.0).generate(nothing)[0].tokens


def test_a_prompt_longer_than_the_positions_is_refused(decoder):
    with pytest.raises(RegionkitError, match="the prompt and a first token are 62 tokens together"):
        with_options(decoder, length=100).generate(regions(1), prompt="word1 " * 60)


def test_a_text_tower_that_gives_nan_is_named(decoder):
    other = with_options(decoder)
    other._encode = lambda texts: torch.full((len(texts), DIM), torch.nan)
    with pytest.raises(FeatureError, match="the text tower that guides decoder 'magic' gives NaN"):
        other.generate(regions(1))


def test_weights_that_compute_nan_are_named(decoder):
    other = build(Magic, MagicConfig, k=K)
    other.model.transformer.wpe.weight.data[0] = torch.nan
    with pytest.raises(FeatureError, match="decoder 'magic' computed NaN for 2 of 2 texts"):
        other.generate(regions(2))


@pytest.mark.parametrize(
    "backbone", [param(None, id="none"), param(GridBackbone(text=False), id="without-a-text-tower")]
)
def test_a_backbone_without_a_text_tower_is_refused_at_build(backbone):
    with pytest.raises(FeatureError, match="the backbone has no text tower") as raised:
        Magic.build(MagicConfig(weights="none"), BuildContext(reads=SPACE, backbone=backbone))
    assert raised.value.hints == ("choose a backbone with one: toolkit compat shows which parts fit",)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        param({"k": 0}, "k: 0 must be 1 or more", id="k"),
        param({"alpha": 1.5}, "alpha: 1.5 must be at least 0 and at most 1", id="alpha"),
        param({"beta": float("nan")}, "beta: nan must be 0 or more", id="beta"),
        param({"scale": -1.0}, "scale: -1.0 must be 0 or more", id="scale"),
        param({"start": "gpt2"}, "start: 'gpt2' must be file:FOLDER", id="start"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        MagicConfig(**options)


def test_pictures_are_refused(decoder):
    from regionkit.core.features import RegionViews

    with pytest.raises(FeatureError, match="decoder 'magic' reads vectors and got pictures"):
        decoder.generate(RegionViews((picture((8, 8), 0),)))
