"""``prefix-lm``: what it writes against transformers' own models, in batches of captions of different lengths."""

import dataclasses
import random

import pytest
import torch
from causal_folders import FAMILIES, write_folder
from guided_toys import one
from torch.nn.functional import cross_entropy, normalize
from transformers import AutoModelForCausalLM

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, RegionkitError
from regionkit.core.features import GenerateOptions, RegionTokens
from regionkit.core.language.models import stored_tensors
from regionkit.core.testing import Sentences, example_tokens
from regionkit.plugins.zeroshot.prefix_lm import PrefixLm
from regionkit.plugins.zeroshot.prefix_lm_config import PrefixLmConfig

param = pytest.param
SPACE = "tiny/text[24]"
COUNT, LIMIT = 16, 12
TEXTS = [random.Random(row).choice("abcdefgh") * (row % 9) for row in range(COUNT)]


def regions(count: int = COUNT) -> RegionTokens:
    return example_tokens(SPACE, count, seed=1)


#: Learned positions; rotated ones, with norms of queries and shared heads of keys, as the other two have them.
FEW = ("gpt2", "gemma3_text")


@pytest.fixture(
    scope="module", params=[param(name, marks=() if name in FEW else pytest.mark.slow) for name in FAMILIES]
)
def trained(request, tmp_path_factory):
    """A decoder that writes captions of many lengths, and its language model as transformers itself loads it."""
    folder = write_folder(tmp_path_factory.mktemp("lm") / request.param, request.param)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = PrefixLmConfig(start=f"file:{folder}", prefix=2, label_smoothing=0.0)
        decoder = PrefixLm.build(config, BuildContext(reads=SPACE, parts={"corpus": Sentences()}))
        optimizer = torch.optim.Adam(decoder.parameters(), 5e-3)
        for _ in range(45):
            optimizer.zero_grad()
            decoder.loss(regions(), TEXTS).backward()
            optimizer.step()
    own = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    own.load_state_dict(stored_tensors(decoder.model), strict=False)
    own.tie_weights()
    return decoder.eval(), own.eval()


def test_a_batch_of_sixteen_is_sixteen_single_calls(trained):
    decoder, _ = trained
    options = GenerateOptions(max_tokens=LIMIT)
    together = decoder.generate(regions(), options=options)
    split = decoder.generate(regions(), options=dataclasses.replace(options, batch_size=5))
    alone = [decoder.generate(one(regions(), index), options=options)[0] for index in range(COUNT)]
    for captions in (split, alone):
        assert [one.tokens for one in captions] == [one.tokens for one in together]
        assert [one.finished for one in captions] == [one.finished for one in together]
        assert [one.score for one in captions] == pytest.approx([one.score for one in together], abs=1e-4)
    # The comparison says something only where captions differ, in length too.
    assert len({len(one.tokens) for one in together}) >= 4
    assert len({one.tokens for one in together}) >= 6


def test_greedy_captions_with_a_cache_are_those_of_the_whole_sequence_again(trained):
    decoder, own = trained
    captions = decoder.generate(regions(), options=GenerateOptions(max_tokens=LIMIT))
    words = own.get_input_embeddings()
    for index, caption in enumerate(captions):
        with torch.inference_mode():
            sequence = decoder.mapper(normalize(regions().vectors()[index : index + 1], dim=-1))
            ids, score = [], 0.0
            while len(ids) < LIMIT:
                likely = own(inputs_embeds=sequence, use_cache=False).logits[0, -1].log_softmax(-1)
                token = int(likely[: decoder.tokenizer.size].argmax())
                score += likely[token].item()
                if token == decoder.tokenizer.end:
                    break
                ids.append(token)
                sequence = torch.cat([sequence, words(torch.tensor([[token]]))], dim=1)
        assert caption.tokens == tuple(ids)
        assert caption.finished == (len(ids) < LIMIT)
        assert caption.score == pytest.approx(score, abs=1e-4)  # up to the end token, that included


def test_beams_are_those_of_transformers(trained):
    decoder, own = trained
    captions = decoder.generate(regions(), options=GenerateOptions(max_tokens=LIMIT, beams=3, length_penalty=0.7))
    assert len({one.tokens for one in captions}) >= 6
    end, rows = decoder.tokenizer.end, own.get_input_embeddings().weight.shape[0]
    for index, caption in enumerate(captions):
        with torch.inference_mode():
            written = own.generate(
                inputs_embeds=decoder.mapper(normalize(regions().vectors()[index : index + 1], dim=-1)),
                attention_mask=torch.ones(1, 2, dtype=torch.long),
                max_new_tokens=LIMIT,
                num_beams=3,
                length_penalty=0.7,
                do_sample=False,
                eos_token_id=end,
                pad_token_id=decoder.tokenizer.pad,
                suppress_tokens=list(range(decoder.tokenizer.size, rows)) or None,
            )[0].tolist()
        assert caption.tokens == tuple(written[: written.index(end)] if end in written else written)


def test_scores_of_captions_are_scores_of_their_texts(trained):
    decoder, _ = trained
    for options in (GenerateOptions(max_tokens=LIMIT), GenerateOptions(max_tokens=LIMIT, beams=3)):
        captions = decoder.generate(regions(), options=options)
        scores = decoder.score(regions(), [one.text for one in captions])
        same = [
            index
            for index, one in enumerate(captions)
            if one.finished and tuple(decoder.tokenizer.encode_literally(one.text)) == one.tokens
        ]
        assert len(same) >= COUNT // 2
        for index in same:
            assert captions[index].score == pytest.approx(scores[index].item(), abs=1e-4)


def test_a_batch_stops_when_all_of_its_captions_have_ended(trained, monkeypatch):
    decoder, _ = trained
    whole = decoder.generate(regions(), options=GenerateOptions(max_tokens=40))
    finished = [index for index, one in enumerate(whole) if one.finished]
    assert len(finished) >= COUNT // 2
    inputs = regions()
    some = RegionTokens(inputs.tokens[finished], inputs.mask[finished], SPACE)
    steps = []
    inner = decoder.model.forward
    monkeypatch.setattr(decoder.model, "forward", lambda *args, **kw: steps.append(1) or inner(*args, **kw))
    again = decoder.generate(some, options=GenerateOptions(max_tokens=40))
    assert len(steps) == 1 + max(len(one.tokens) for one in again)
    assert [one.tokens for one in again] == [whole[index].tokens for index in finished]


def test_the_loss_is_that_of_transformers(trained):
    decoder, own = trained
    texts = ["a dog", "a cat on grass", "", "bbb"]
    with torch.inference_mode():
        found = decoder.loss(regions(4), texts)
        soft = decoder.mapper(normalize(regions(4).vectors(), dim=-1))
        parts, targets = [], []
        for index, text in enumerate(texts):
            ids = torch.tensor([*decoder.tokenizer.encode(text), decoder.tokenizer.end])
            embeddings = torch.cat([soft[index], own.get_input_embeddings()(ids)])[None]
            parts.append(
                own(inputs_embeds=embeddings).logits[0, 1:-1]
            )  # two soft tokens; the second predicts the first id
            targets.append(ids)
        wanted = cross_entropy(torch.cat(parts), torch.cat(targets))
    assert found.item() == pytest.approx(wanted.item(), abs=1e-5)
    assert decoder.loss_terms(texts) == sum(map(len, targets))


def fresh(**options) -> PrefixLm:
    sizes = {"hidden": 32, "layers": 1, "heads": 4, "intermediate": 48, "positions": 64}
    return PrefixLm.build(PrefixLmConfig(**(sizes | options)), BuildContext(reads=SPACE, parts={"corpus": Sentences()}))


def test_defaults_are_those_of_table_4():
    """One linear map to one soft token; targets of 20 tokens and smoothing of section 6."""
    config = PrefixLmConfig()
    assert (config.mapper, config.prefix, config.max_length, config.label_smoothing) == ("linear", 1, 20, 0.1)
    assert (config.model, config.hidden, config.layers, config.heads) == ("gpt2", 768, 12, 12)
    decoder = fresh()
    assert decoder.mapper.model[0].weight.shape == (32, 24)
    assert len(decoder.mapper.model) == 1


def test_the_loss_is_smoothed_and_cut():
    inputs = regions(2)
    sharp, smooth = fresh(label_smoothing=0.0), fresh(label_smoothing=0.1)
    texts = ["a small red dog"] * 2
    assert sharp.loss(inputs, texts) != smooth.loss(inputs, texts)
    cut = fresh(max_length=2)
    assert cut.loss_terms(texts) == 4
    ids, lengths, counted = cut.learned(texts)
    assert ids.shape == (2, 2)  # the end token is lost
    assert cut.tokenizer.end not in ids[0].tolist()
    assert lengths.tolist() == [2, 2]
    assert bool(counted.all())


def test_vectors_are_normalised_unless_it_is_switched_off():
    inputs = regions(3)
    longer = RegionTokens(inputs.tokens * 5, inputs.mask, SPACE)
    decoder = fresh()
    assert torch.allclose(decoder.soft(inputs.vectors()), decoder.soft(longer.vectors()), atol=1e-6)
    plain = fresh(normalise=False)
    assert not torch.allclose(plain.soft(inputs.vectors()), plain.soft(longer.vectors()), atol=1e-3)


@pytest.mark.parametrize(
    ("mapper", "shapes"),
    [
        param("linear", {"model.0.weight": (128, 24)}, id="linear"),
        param("mlp", {"model.0.weight": (64, 24), "model.2.weight": (128, 64)}, id="mlp"),
        param("transformer", {"linear.weight": (64, 24), "prefix_const": (4, 32)}, id="transformer"),
    ],
)
def test_mappers_have_the_sizes_of_clipcap(mapper, shapes):
    decoder = fresh(mapper=mapper, prefix=4, clip_length=2, mapper_layers=1, mapper_heads=4)
    held = decoder.mapper.state_dict()
    for name, shape in shapes.items():
        assert held[name].shape == shape
    assert decoder.soft(regions(3).vectors()).shape == (3, 4, 32)


def test_a_prompt_stands_between_soft_tokens_and_caption():
    decoder = fresh()
    words = decoder.tokenizer.encode("a dog")
    embeddings, valid = decoder.spliced(regions(2), "a dog")
    assert torch.equal(embeddings[0, 1:], decoder.model.get_input_embeddings()(torch.tensor(words)))
    assert valid.shape == (2, 1 + len(words))
    assert decoder.generate(regions(2), "a dog") != decoder.generate(regions(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"prefix": 0}, "prefix: 0 must be 1 or more", id="prefix"),
        param({"clip_length": -1}, r"clip_length: -1 must be 0 \(as many as prefix\) or more", id="clip-length"),
        param({"label_smoothing": 1.0}, "label_smoothing: 1.0 must be at least 0 and less than 1", id="smoothing"),
        param(
            {"mapper": "transformer", "mapper_heads": 7},
            "mapper_heads: 7 does not divide hidden 768; these do: 1, 2, 3, 4, 6, 8",
            id="heads",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PrefixLmConfig(**options)


def test_what_does_not_fit_is_refused_in_one_sentence():
    decoder = fresh(positions=8)
    with pytest.raises(RegionkitError, match=r"the prompt, its region and a first token are 9 tokens together"):
        decoder.generate(regions(2), "a dog a dog a dog a")
    several = RegionTokens(torch.randn(2, 3, 24), torch.ones(2, 3, dtype=torch.bool), SPACE)
    with pytest.raises(FeatureError):
        decoder.generate(several)
    wide = example_tokens("other/text[16]", 2)
    with pytest.raises(FeatureError, match=r"reads tiny/text\[24\] and got vectors of width 16 in other/text\[16\]"):
        decoder.generate(wide)
