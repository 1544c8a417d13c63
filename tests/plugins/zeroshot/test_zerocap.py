"""ZeroCap: one update of the cache, fusion and rules against independent ones, beams, batches, scores, refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from guided_toys import DIM, SPACE, Tower, build, cosine, exact, one, regions, trained, unit

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, RegionkitError
from regionkit.core.features import GenerateOptions, RegionTokens
from regionkit.plugins.zeroshot.guidance import pairs_of
from regionkit.plugins.zeroshot.zerocap import ZeroCap
from regionkit.plugins.zeroshot.zerocap_beams import Beams
from regionkit.plugins.zeroshot.zerocap_config import ZeroCapConfig
from regionkit.plugins.zeroshot.zerocap_formulas import damped, raised

param = pytest.param
SMALL = {"prompt": "image of a", "end": "", "length": 5, "beams": 2, "iterations": 2, "candidates": 6, "step": 1.0}


@pytest.fixture(scope="module")
def decoder() -> ZeroCap:
    return trained(build(ZeroCap, ZeroCapConfig, **SMALL))


def with_options(decoder: ZeroCap, **options) -> ZeroCap:
    """The same decoder under other options."""
    other = ZeroCap(dataclasses.replace(decoder.config, **options), SPACE, decoder.model, decoder.tokenizer).eval()
    other._encode = decoder._encode
    return other


def beams_of(decoder: ZeroCap, count: int) -> Beams:
    return Beams(count, decoder.before(None), 2, decoder._end, 1.0, torch.device("cpu"))


def slow_shift(decoder: ZeroCap, ids: list[int], vector: torch.Tensor) -> list[torch.Tensor]:
    """One row's keys and values after all steps, in float64, written down from the released formulas."""
    from transformers import DynamicCache

    config, model = decoder.config, exact(decoder)
    with torch.no_grad():
        cache = [one for pair in pairs_of(model(torch.tensor([ids[:-1]])).past_key_values) for one in pair]
        old = model(torch.tensor([ids])).logits[0, -1].softmax(-1)
    shift = [torch.zeros_like(tensor) for tensor in cache]
    for _ in range(config.iterations):
        leaves = [tensor.clone().requires_grad_() for tensor in shift]
        moved = [tensor + leaf for tensor, leaf in zip(cache, leaves, strict=True)]
        past = DynamicCache(ddp_cache_data=list(zip(moved[::2], moved[1::2], strict=True)))
        new = model(torch.tensor([ids[-1:]]), past_key_values=past).logits[0, -1].softmax(-1)
        tokens = new.detach().argsort(descending=True)[: config.candidates].tolist()
        guide = torch.stack([cosine(vector, decoder.tokenizer.decode([*ids, token])) for token in tokens])
        target = torch.exp((guide - guide.max()) / config.temperature)
        target = target / target.sum()
        loss = sum(-share * new[token].log() for share, token in zip(target, tokens, strict=True))
        loss = config.clip_scale * loss + config.ce_scale * (new * (new / old).log()).sum()
        gradients = torch.autograd.grad(loss, leaves)
        shift = [
            tensor - config.step * gradient / (gradient.pow(2).sum().sqrt() + 1e-15) ** config.norm_power
            for tensor, gradient in zip(shift, gradients, strict=True)
        ]
    return [tensor + leaf for tensor, leaf in zip(cache, shift, strict=True)]


@pytest.mark.parametrize("iterations", [1, 3])
def test_gradients_shift_the_cache_as_the_formulas_say(iterations, decoder):
    other = with_options(decoder, iterations=iterations, temperature=0.1)
    beams, vectors = beams_of(other, 3), unit(regions(3).vectors())
    with torch.no_grad():
        cache = other._read(beams.ids[:, :-1])
        old = other._known(other.model(beams.ids).logits).log_softmax(-1)
        found = [tensor for pair in other._shifted(beams, cache, vectors, old) for tensor in pair]
    for row in range(3):
        wanted = slow_shift(other, beams.ids[row].tolist(), vectors[row])
        for ours, theirs in zip(found, wanted, strict=True):
            assert torch.allclose(ours[row].double(), theirs[0], atol=2e-4)
    assert all(weight.grad is None for weight in other.parameters())


def test_fusion_and_rules_are_the_released_ones(decoder):
    other = with_options(decoder, iterations=1, end_factor=1.5, start_penalty=1.6, fusion=0.7, repetition=1.2)
    other.forbidden = [5]
    beams, vectors = beams_of(other, 2), unit(regions(2).vectors())
    for step in (0, 1):
        with torch.no_grad():
            found, _ = other._next(step, beams, other._read(beams.ids[:, :-1]), vectors)
        for row in range(2):
            ids = beams.ids[row].tolist()
            keys = slow_shift(other, ids, vectors[row])
            from transformers import DynamicCache

            model = exact(other)
            with torch.no_grad():
                past = DynamicCache(ddp_cache_data=list(zip(keys[::2], keys[1::2], strict=True)))
                logits = model(torch.tensor([ids[-1:]]), past_key_values=past).logits[0, -1]
                old = model(torch.tensor([ids])).logits[0, -1].softmax(-1)
            for token in set(ids[-4:]):
                logits[token] /= 1.2 if logits[token] > 0 else 1 / 1.2
            end = other.tokenizer.end
            if step >= 1:
                logits[end] *= 1.5 if logits[end] > 0 else 1 / 1.5
            else:
                logits[end] /= 1.6 if logits[end] > 0 else 1 / 1.6
            logits[5] /= 20 if logits[5] > 0 else 1 / 20
            wanted = logits.softmax(-1) ** 0.7 * old**0.3
            ours = found[row].double().softmax(-1)
            assert torch.allclose(ours, wanted / wanted.sum(), atol=1e-4)


def test_factors_raise_and_damp_on_both_sides_of_zero():
    logits = torch.tensor([4.0, -4.0])
    assert raised(logits, 2.0).tolist() == [8.0, -2.0]
    assert damped(logits, 2.0).tolist() == [2.0, -8.0]


def test_beams_are_ordered_by_their_mean_and_the_ended_keep_theirs():
    beams = Beams(1, [9], 2, end=2, penalty=1.0, device=torch.device("cpu"))
    assert beams.take(torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log(), one_sum=False).tolist() == [0, 0]
    assert beams.texts(0) == [([3], False), ([], True)]  # the end token is the second
    # From 3: token 1 has 0.9, mean (log 0.4 + log 0.9) / 2; the ended one keeps log 0.3, whatever is said of it.
    likely = torch.tensor([[0.04, 0.9, 0.03, 0.03], [0.97, 0.01, 0.01, 0.01]]).log()
    assert beams.take(likely, one_sum=False).tolist() == [0, 1]
    assert beams.texts(0) == [([3, 1], False), ([], True)]
    assert beams.ended() == []
    # Now the going one gets unlikely: its mean falls below the other's.
    beams.take(torch.tensor([[0.004, 0.001, 0.99, 0.005], [0.97, 0.01, 0.01, 0.01]]).log(), one_sum=False)
    assert beams.texts(0)[0] == ([3, 1], True)
    assert beams.ended() == [0]
    assert beams.drop_ended().tolist() == []
    assert beams.regions == []


def test_reference_divides_all_beams_by_one_sum():
    found = {}
    for one_sum in (False, True):
        beams = Beams(1, [9], 2, end=2, penalty=1.0, device=torch.device("cpu"))
        beams.take(torch.tensor([[0.1, 0.3, 0.2, 0.4]]).log(), one_sum)
        beams.take(torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.6, 0.2, 0.1, 0.1]]).log(), one_sum)
        found[one_sum] = beams._sums[0].tolist()
    assert found[False] == pytest.approx([np.log(0.4 * 0.7), np.log(0.3 * 0.6)], abs=1e-6)
    assert found[True] == pytest.approx([np.log(0.4 * 0.35), np.log(0.3 * 0.3)], abs=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        param(GenerateOptions(), id="plain"),
        param(GenerateOptions(max_tokens=4, min_tokens=2, beams=3), id="three-beams-at-least-two"),
    ],
)
def test_a_batch_is_a_loop_of_singles(options, decoder):
    inputs = regions(16, seed=3)
    together = decoder.generate(inputs, options=options)
    rows = range(16) if options.beams == 1 else range(0, 16, 4)
    alone = {row: decoder.generate(one(inputs, row), options=options)[0] for row in rows}
    for row, caption in alone.items():
        assert caption.tokens == together[row].tokens
        assert caption.score == pytest.approx(together[row].score, abs=1e-3)
    assert all(options.min_tokens <= len(caption.tokens) <= options.max_tokens for caption in together)
    assert len({caption.tokens for caption in together}) >= 4
    assert len({len(caption.tokens) for caption in together}) >= 2
    assert decoder.generate(inputs, options=options) == together


def test_the_guide_tells_regions_apart(decoder):
    inputs = regions(12)
    guided = decoder.generate(inputs)
    plain = with_options(decoder, iterations=0, choose="likeliest").generate(inputs)
    assert len({caption.tokens for caption in plain}) == 1
    near = [
        sum(float(cosine(inputs.tokens[row, 0], caption.text)) for row, caption in enumerate(captions)) / 12
        for captions in (guided, plain)
    ]
    assert near[0] > near[1] + 0.1


def test_more_than_are_searched_together_and_none(decoder):
    inputs = regions(18, seed=5)
    options = GenerateOptions(max_tokens=2)
    found = decoder.generate(inputs, options=options)
    assert len(found) == 18
    assert found[17].tokens == decoder.generate(one(inputs, 17), options=options)[0].tokens
    assert decoder.generate(RegionTokens.none(SPACE)) == []


def test_the_most_similar_beam_or_the_likeliest_is_chosen(decoder):
    inputs = regions(4)
    options = GenerateOptions(beams=4)
    near = {}
    for choose in ("similar", "likeliest"):
        captions = with_options(decoder, choose=choose).generate(inputs, options=options)
        near[choose] = [float(cosine(inputs.tokens[row, 0], caption.text)) for row, caption in enumerate(captions)]
    assert all(mine >= other - 1e-6 for mine, other in zip(near["similar"], near["likeliest"], strict=True))
    assert near["similar"] != near["likeliest"]


def test_a_caption_ends_at_a_full_stop_where_the_tokenizer_knows_it(decoder):
    other = with_options(decoder, end=".")
    assert other._end == other.tokenizer.id_of(".") != other.tokenizer.end
    scores = other.score(regions(2), ["word1 word2", "word1 word2 ."])
    assert float(scores[0]) == pytest.approx(float(scores[1]), abs=1e-5)  # one full stop ends either
    assert with_options(decoder, end="?")._end == other.tokenizer.end


def test_a_finished_caption_has_the_score_of_its_text(decoder):
    inputs = regions(16)
    captions = decoder.generate(inputs)
    spelled = [tuple(decoder.tokenizer.encode(caption.text)) for caption in captions]
    pairs = enumerate(zip(captions, spelled, strict=True))
    finished = [row for row, (caption, ids) in pairs if caption.finished and ids == caption.tokens]
    assert len(finished) >= 3
    for row in finished:
        assert captions[row].score == pytest.approx(
            float(decoder.score(one(inputs, row), [captions[row].text])), abs=1e-3
        )


def test_the_prompt_is_read_by_the_guide_and_left_out_of_the_caption(decoder):
    other, tower = with_options(decoder, choose="likeliest"), Tower()
    other._encode = tower.encode_text
    captions = other.generate(regions(2), options=GenerateOptions(max_tokens=2))
    assert all(text.startswith("image of a") for texts in tower.asked for text in texts)
    assert not any(caption.text.startswith("image") for caption in captions)
    counts = [len(set(texts)) for texts in tower.asked]
    assert counts == [len(texts) for texts in tower.asked]  # none is encoded twice for one token


def test_reference_spells_special_tokens_for_the_guide(decoder):
    asked = {}
    for compat in ("paper", "reference"):
        other, tower = with_options(decoder, compat=compat, candidates=50, choose="likeliest"), Tower()
        other._encode = tower.encode_text
        other.generate(regions(1), options=GenerateOptions(max_tokens=1))
        asked[compat] = {text for texts in tower.asked for text in texts}
    assert any(text.endswith("</s>") for text in asked["reference"])
    assert not any("<" in text for text in asked["paper"])


def test_without_a_context_the_first_token_is_the_language_models(decoder):
    other = with_options(decoder, prompt="", beams=1)
    firsts = {caption.tokens[:1] for caption in other.generate(regions(6))}
    assert len(firsts) == 1  # nothing stands before the start token whose cache could be shifted


def test_it_runs_in_inference_mode_and_leaves_no_gradients(decoder):
    inputs = regions(2)
    outside = decoder.generate(inputs)
    with torch.inference_mode():
        vectors = inputs.vectors() * 1.0
        assert vectors.is_inference()
        assert decoder.generate(RegionTokens.single(vectors, SPACE)) == outside
        made = build(ZeroCap, ZeroCapConfig, **SMALL)
    assert len(made.generate(inputs)) == 2
    assert all(weight.grad is None for weight in decoder.parameters())


def forbidden(path, ids, kind):
    if kind == "npy":
        np.save(path / "forbidden.npy", np.array(ids))
        return f"file:{path / 'forbidden.npy'}"
    (path / "forbidden.txt").write_text(" ".join(map(str, ids)))
    return f"file:{path / 'forbidden.txt'}"


@pytest.mark.parametrize("kind", ["npy", "txt"])
def test_forbidden_tokens_are_hardly_written(kind, decoder, tmp_path):
    inputs = regions(3)
    written = {token for caption in decoder.generate(inputs) for token in caption.tokens}
    banned = sorted(written)[:2]
    other = with_options(decoder, forbidden=forbidden(tmp_path, banned, kind), forbidden_factor=1e4)
    assert other.forbidden == banned
    again = {token for caption in other.generate(inputs) for token in caption.tokens}
    assert not again & set(banned)


def test_files_of_forbidden_tokens_that_cannot_be_meant_are_refused(decoder, tmp_path):
    hint = "name a text file of ids, or the release's forbidden_tokens.npy; or leave decoder.forbidden out"
    with pytest.raises(RegionkitError, match="no forbidden tokens can be read: FileNotFoundError") as raised_:
        with_options(decoder, forbidden=f"file:{tmp_path / 'none.txt'}")
    assert raised_.value.hints == (hint,)
    with pytest.raises(RegionkitError, match="forbidden token 50000 is none of the 20 ids of the tokenizer"):
        with_options(decoder, forbidden=forbidden(tmp_path, [3, 50000], "npy"))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(RegionkitError, match="no forbidden tokens can be read: ValueError"):
        with_options(decoder, forbidden=f"file:{tmp_path / 'objects.npy'}")


def test_hostile_input_is_refused(decoder):
    inputs = regions(3)
    inputs.tokens[2, 0, 0] = torch.inf
    with pytest.raises(FeatureError, match=r"what decoder 'zerocap' reads.* infinite values for region 2"):
        decoder.generate(inputs)
    with pytest.raises(FeatureError, match="and got vectors of width 20"):
        decoder.generate(RegionTokens.single(torch.randn(1, 2 * DIM), SPACE))
    with pytest.raises(RegionkitError, match="it has no samples"):
        decoder.generate(regions(1), options=GenerateOptions(temperature=0.5))
    with pytest.raises(RegionkitError, match="the prompt and a first token are 62 tokens together"):
        decoder.generate(regions(1), prompt="word1 " * 60)
    room = decoder.generate(regions(1), prompt="word1 " * 37)  # two positions are left
    assert len(room[0].tokens) <= 2
    with pytest.raises(FeatureError, match="decoder 'zerocap' compares texts with regions, and the backbone has no"):
        ZeroCap.build(ZeroCapConfig(weights="none"), BuildContext(reads=SPACE))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        param({"fusion": 1.2}, "fusion: 1.2 must be at least 0 and at most 1", id="fusion"),
        param({"temperature": 0.0}, "temperature: 0.0 must be more than 0", id="temperature"),
        param({"iterations": -1}, "iterations: -1 must be 0 or more", id="iterations"),
        param({"beams": 0}, "beams: 0 must be 1 or more", id="beams"),
        param({"forbidden": "ids.npy"}, "forbidden: 'ids.npy' must be released, or file:PATH", id="forbidden"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        ZeroCapConfig(**options)
