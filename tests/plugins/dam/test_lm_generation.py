"""Generation with ``lm-tokens``: batches, beams, samples, scores, lengths, stops."""

import dataclasses
import random

import pytest
import torch

from regionkit.core.contracts import BuildContext, Corpus
from regionkit.core.errors import FeatureError, RegionkitError
from regionkit.core.features import GenerateOptions, RegionTokens
from regionkit.plugins.dam.lm_config import LmTokensConfig
from regionkit.plugins.dam.lm_decoder import LmTokens

SPACE = "tiny/tokens[24]"
WORDS = [f"word{number}" for number in range(10)]
FAMILIES = [pytest.param(name, id=name) for name in ("llama", "gpt2", "qwen2", "opt")]


class Words(Corpus):
    def texts(self):
        return (" ".join(WORDS), "what is this ?")


def build(model="llama", seed=0, **options) -> LmTokens:
    sizes = {"hidden": 24, "layers": 1, "heads": 2, "intermediate": 32, "positions": 48} | options
    return LmTokens.build(
        LmTokensConfig(model=model, **sizes), BuildContext(reads=SPACE, parts={"corpus": Words()}, seed=seed)
    )


def regions(count: int, tokens: int = 3, seed: int = 0, padded: bool = True) -> RegionTokens:
    values = torch.randn(count, tokens, 24, generator=torch.Generator().manual_seed(seed))
    mask = torch.ones(count, tokens, dtype=torch.bool)
    if padded:
        mask[1::2, -1] = False
        mask[2::3, 0] = False
    return RegionTokens(values, mask, SPACE)


def row(inputs: RegionTokens, index: int) -> RegionTokens:
    return RegionTokens(inputs.tokens[index : index + 1], inputs.mask[index : index + 1], inputs.space)


@pytest.fixture(scope="module")
def trained():
    """A decoder that writes different captions of many lengths."""
    decoder = build(layers=2).train()
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(0, 7))) for _ in range(24)]
    optimizer = torch.optim.Adam(decoder.parameters(), 1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        decoder.loss(regions(24), texts).backward()
        optimizer.step()
    return decoder.eval()


OPTIONS = [
    pytest.param(GenerateOptions(max_tokens=9), id="greedy"),
    pytest.param(GenerateOptions(max_tokens=9, min_tokens=4), id="at-least-four"),
    pytest.param(GenerateOptions(max_tokens=9, beams=3, length_penalty=0.5), id="beams"),
    pytest.param(GenerateOptions(max_tokens=9, beams=3, min_tokens=3, length_penalty=-1.0), id="beams-at-least-three"),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_batch_is_a_loop_of_singles(options, trained):
    inputs = regions(24)
    together = trained.generate(inputs, options=options)
    sliced = trained.generate(inputs, options=dataclasses.replace(options, batch_size=5))
    alone = [trained.generate(row(inputs, index), options=options)[0] for index in range(24)]
    for captions in (sliced, alone):
        assert [one.tokens for one in captions] == [one.tokens for one in together]
        assert [one.score for one in captions] == pytest.approx([one.score for one in together], abs=1e-5)
    # The comparison says something only where captions differ, in length too.
    assert len({one.tokens for one in together}) >= 8
    assert len({len(one.tokens) for one in together}) >= 4
    assert all(len(one.tokens) >= options.min_tokens for one in together)


@pytest.mark.parametrize("model", FAMILIES)
def test_batch_is_a_loop_in_every_family(model):
    decoder, inputs = build(model), regions(6)
    options = GenerateOptions(max_tokens=5)
    together = decoder.generate(inputs, "what is <image> ?", options)
    alone = [decoder.generate(row(inputs, index), "what is <image> ?", options)[0] for index in range(6)]
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    assert [one.score for one in together] == pytest.approx([one.score for one in alone], abs=1e-5)
    texts = ["word1 word2", "", "word3 ?", "word4", "word5 word6 word7", "what"]
    scores = decoder.score(inputs, texts, "what is <image> ?")
    singles = [decoder.score(row(inputs, index), [texts[index]], "what is <image> ?") for index in range(6)]
    assert torch.allclose(scores, torch.cat(singles), atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS)
def test_caption_score_is_the_score_of_its_text(options, trained):
    inputs = regions(24)
    captions = trained.generate(inputs, options=options)
    whole = [index for index, one in enumerate(captions) if one.finished]
    assert len(whole) >= 12
    scores = trained.score(inputs, [one.text for one in captions])
    for index in whole:
        assert captions[index].score == pytest.approx(scores[index].item(), abs=1e-4)


def test_score_of_a_caption_that_was_cut_off_counts_its_tokens_alone(trained):
    inputs = regions(24)
    cut = trained.generate(inputs, options=GenerateOptions(max_tokens=2))
    index = next(index for index, one in enumerate(cut) if not one.finished)
    assert len(cut[index].tokens) == 2
    with torch.inference_mode():
        embeddings, valid = trained.spliced(row(inputs, index))
        embeddings = embeddings[valid].unsqueeze(0)
        words = trained.model.get_input_embeddings()(torch.tensor([cut[index].tokens]))
        logits = trained.model(inputs_embeds=torch.cat([embeddings, words], 1)).logits.log_softmax(-1)
    start = embeddings.shape[1] - 1
    wanted = sum(logits[0, start + step, token].item() for step, token in enumerate(cut[index].tokens))
    assert cut[index].score == pytest.approx(wanted, abs=1e-5)


def test_beams_find_what_is_likelier_than_greedy(trained):
    inputs = regions(24)
    greedy = trained.generate(inputs, options=GenerateOptions(max_tokens=9))
    beams = trained.generate(inputs, options=GenerateOptions(max_tokens=9, beams=4, length_penalty=0.0))
    both = [(one.score, other.score) for one, other in zip(greedy, beams, strict=True) if one.finished]
    assert both
    assert all(found >= plain - 1e-4 for plain, found in both)


# ---------------------------------------------------------------- samples


def sample(decoder, inputs, **options):
    asked = GenerateOptions(**{"max_tokens": 6, "temperature": 1.0} | options)
    return [one.tokens for one in decoder.generate(inputs, options=asked)]


def test_samples_follow_seed_and_row_and_no_batch_mate():
    decoder, inputs = build(), regions(12)
    first = sample(decoder, inputs, seed=3)
    assert sample(decoder, inputs, seed=3) == first
    assert sample(decoder, inputs, seed=3, batch_size=5) == first
    assert sample(decoder, row(inputs, 0), seed=3) == first[:1]
    shorter = RegionTokens(inputs.tokens[:7], inputs.mask[:7], SPACE)
    assert sample(decoder, shorter, seed=3) == first[:7]
    assert sample(decoder, inputs, seed=4) != first
    state = torch.get_rng_state()
    sample(decoder, inputs, seed=5)
    assert torch.equal(torch.get_rng_state(), state)


def test_equal_regions_get_different_samples():
    inputs = row(regions(1), 0)
    many = RegionTokens(inputs.tokens.repeat(16, 1, 1), inputs.mask.repeat(16, 1), SPACE)
    assert len(set(sample(build(), many))) >= 12


@pytest.mark.parametrize(
    ("temperature", "mass"),
    [pytest.param(1.0, 1.0, id="plain"), pytest.param(0.5, 1.0, id="sharp"), pytest.param(1.0, 0.6, id="nucleus")],
)
def test_first_tokens_have_the_distribution_that_is_asked_for(temperature, mass, trained):
    inputs = row(regions(3), 2)
    many = RegionTokens(inputs.tokens.repeat(3000, 1, 1), inputs.mask.repeat(3000, 1), SPACE)
    options = GenerateOptions(max_tokens=1, temperature=temperature, top_p=mass, batch_size=3000)
    captions = trained.generate(many, options=options)
    with torch.inference_mode():
        embeddings, valid = trained.spliced(inputs)
        logits = trained.model(inputs_embeds=embeddings[valid].unsqueeze(0)).logits[0, -1]
    shares = (logits / temperature).softmax(-1)
    ordered, places = shares.sort(descending=True)
    kept = int((ordered.cumsum(0) < mass - 1e-6).sum()) + 1
    wanted = torch.zeros_like(shares)
    wanted[places[:kept]] = ordered[:kept] / ordered[:kept].sum()
    drawn = [one.tokens[0] if one.tokens else trained.tokenizer.end for one in captions]
    found = torch.bincount(torch.tensor(drawn), minlength=len(shares)) / 3000
    assert (found - wanted).abs().max() < 0.03
    assert bool((found[wanted == 0] == 0).all())
    # Whatever was drawn, a score is that of the model's own distribution.
    chosen = logits.log_softmax(-1)[torch.tensor(drawn)]
    assert torch.allclose(torch.tensor([one.score for one in captions]), chosen, atol=1e-5)


# ---------------------------------------------------------------- lengths and stops


@pytest.mark.parametrize("model", [pytest.param("llama", id="llama"), pytest.param("gpt2", id="gpt2")])
def test_positions_end_captions_and_no_row_for_its_batch_mates(model):
    decoder = build(model, positions=9)
    inputs = regions(6)
    options = GenerateOptions(max_tokens=30, min_tokens=20)
    together = decoder.generate(inputs, options=options)
    alone = [decoder.generate(row(inputs, index), options=options)[0] for index in range(6)]
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    assert [one.score for one in together] == pytest.approx([one.score for one in alone], abs=1e-5)
    # BOS and one to three region tokens stand before it; the end token may not come before the last place.
    room = [9 - 1 - int(count) for count in inputs.mask.sum(1)]
    assert [len(one.tokens) + one.finished for one in together] == room
    samples = dataclasses.replace(options, temperature=1.0, min_tokens=0)
    drawn = decoder.generate(inputs, options=samples)
    assert [one.tokens for one in drawn[:1]] == [
        one.tokens for one in decoder.generate(row(inputs, 0), options=samples)
    ]
    assert decoder.generate(inputs, options=dataclasses.replace(options, beams=2))[0].score <= 0


def test_prompt_that_leaves_no_room_is_an_error():
    with pytest.raises(RegionkitError) as caught:
        build(positions=9).generate(regions(2), "what is this word0 word1 ?")
    assert str(caught.value) == (
        "the prompt, its region and a first token are 11 tokens together, decoder 'lm-tokens' has 9 positions\n"
        "  shorten the text or the prompt, take a region encoder or bridge of fewer tokens, or train a decoder with "
        "more: --set decoder.positions=N"
    )


def test_text_that_does_not_fit_is_an_error_in_score_and_cut_in_training():
    decoder = build(positions=16, max_length=4)
    long = " ".join(WORDS * 2)
    with pytest.raises(RegionkitError, match="are 24 tokens together, decoder 'lm-tokens' has 16 positions"):
        decoder.score(regions(1), [long])
    cut = decoder.loss(regions(1), [long])
    four = " ".join(WORDS[:4])
    assert cut.item() == pytest.approx(
        -(decoder.score(regions(1), [four])[0] - end_of(decoder, four)).item() / 4, abs=1e-5
    )


def end_of(decoder, text):
    """Return the log-probability of the end token after a text."""
    inputs = regions(1)
    with torch.inference_mode():
        ids = [*decoder.tokenizer.encode(text)]
        embeddings, _ = decoder.spliced(inputs)
        words = decoder.model.get_input_embeddings()(torch.tensor([ids]))
        logits = decoder.model(inputs_embeds=torch.cat([embeddings, words], 1)).logits
    return logits.log_softmax(-1)[0, -1, decoder.tokenizer.end]


def test_stop_of_a_template_that_is_one_token_ends_texts(trained):
    decoder = LmTokens(
        dataclasses.replace(trained.config, template="v1"), trained.space, trained.model, trained.tokenizer
    )
    assert decoder._end == trained.tokenizer.end
    assert decoder._stop == ""


def test_stop_of_several_tokens_ends_captions_and_is_no_part_of_them(trained, monkeypatch):
    inputs = regions(24)
    plain = trained.generate(inputs)
    longest = max(plain, key=lambda one: len(one.tokens))
    words = longest.text.split()
    assert len(words) >= 4
    stop = " ".join(words[1:3])
    monkeypatch.setattr(LmTokens, "_stop", property(lambda self: stop))
    stopped = trained.generate(inputs)
    index = plain.index(longest)
    assert stopped[index].text == words[0]
    assert stopped[index].tokens == longest.tokens[:3]
    assert stopped[index].finished
    others = [number for number, one in enumerate(plain) if stop not in one.text]
    assert others
    assert [stopped[number].tokens for number in others] == [plain[number].tokens for number in others]


STOPPED = [
    pytest.param(GenerateOptions(max_tokens=9), id="greedy"),
    pytest.param(GenerateOptions(max_tokens=60), id="greedy-up-to-the-positions"),
    pytest.param(GenerateOptions(max_tokens=9, beams=3), id="beams"),
    pytest.param(GenerateOptions(max_tokens=60, beams=3), id="beams-up-to-the-positions"),
]


@pytest.mark.parametrize("padding", [pytest.param(False, id="pad"), pytest.param(True, id="padded-with-the-end")])
@pytest.mark.parametrize("options", STOPPED)
def test_score_of_a_stopped_caption_counts_what_was_written_and_no_batch_mate(options, padding, trained, monkeypatch):
    inputs = regions(24)
    longest = max(trained.generate(inputs), key=lambda one: len(one.tokens))
    stop = " ".join(longest.text.split()[1:3])
    monkeypatch.setattr(LmTokens, "_stop", property(lambda self: stop))
    if padding:
        monkeypatch.setattr(trained, "tokenizer", dataclasses.replace(trained.tokenizer, pad=trained.tokenizer.end))
    together = trained.generate(inputs, options=options)
    alone = [trained.generate(row(inputs, index), options=options)[0] for index in range(24)]
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    assert [one.score for one in together] == pytest.approx([one.score for one in alone], abs=1e-5)
    # With the stop string behind it, a text is scored as what was written; the other captions wrote an end token.
    stopped = [stop in trained.tokenizer.decode(one.tokens) for one in together]
    assert any(stopped)
    assert not all(stopped)
    ended = [one.finished for one in together]
    assert all(one for one, by_stop in zip(ended, stopped, strict=True) if by_stop)
    index = stopped.index(True)
    words = trained._padded([list(together[index].tokens)])
    assert together[index].score == pytest.approx(trained._sum(row(inputs, index), *words, None).item(), abs=1e-4)
    texts = [
        f"{one.text} {stop}".strip() if by_stop else one.text for one, by_stop in zip(together, stopped, strict=True)
    ]
    scores = trained.score(inputs, texts).tolist()
    found = [(one.score, score) for one, score in zip(together, scores, strict=True) if one.finished]
    assert [one for one, _ in found] == pytest.approx([score for _, score in found], abs=1e-4)


def test_text_that_ends_in_the_stop_string_is_trained_on_without_an_end_token(trained, monkeypatch):
    inputs = regions(2)
    assert trained._targets(["word1 word2 word3"], None)[1].tolist() == [4]
    monkeypatch.setattr(LmTokens, "_stop", property(lambda self: "word2 word3"))
    texts = ["word1 word2 word3", "word2 word1"]
    assert trained._targets(texts, None)[1].tolist() == [3, 3]
    assert trained.loss(inputs, texts).item() == pytest.approx(-trained.score(inputs, texts).sum().item() / 6, abs=1e-5)


def test_ids_that_the_tokenizer_lacks_are_never_written_and_no_other_is_held_back():
    decoder = build()
    wide = build(architecture={"vocab_size": 64})
    known = decoder.tokenizer.size
    many = RegionTokens(regions(1).tokens.repeat(400, 1, 1), regions(1).mask.repeat(400, 1), SPACE)
    drawn = {token for ids in sample(wide, many, max_tokens=3, temperature=2.0) for token in ids}
    assert max(drawn) < known < 64
    written = {token for ids in sample(decoder, many, max_tokens=3, temperature=2.0) for token in ids}
    assert written == set(range(known)) - {decoder.tokenizer.end}


def test_model_that_computes_nan_says_so():
    decoder = build()
    with torch.no_grad():
        decoder.model.lm_head.weight[5] = torch.nan
    for options in (GenerateOptions(), GenerateOptions(beams=2), GenerateOptions(temperature=1.0)):
        with pytest.raises(FeatureError, match="decoder 'lm-tokens' computed NaN for 3 of 3 regions"):
            decoder.generate(regions(3), options=options)
