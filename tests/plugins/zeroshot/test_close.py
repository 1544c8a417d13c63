"""The ``close`` decoder: what T5 reads, transformers' own numbers, batches, beams, scores, where it starts from."""

import dataclasses
import json
import random

import pytest
import torch
from guided_toys import one
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from transformers import T5ForConditionalGeneration

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, RegionkitError, WeightsError
from regionkit.core.features import GenerateOptions, RegionTokens
from regionkit.core.language.models import stored_tensors
from regionkit.core.testing import Sentences, example_tokens
from regionkit.core.testing.examples import SENTENCES
from regionkit.core.weights import WeightFile, read_header, write_weights
from regionkit.plugins.zeroshot.close import Close
from regionkit.plugins.zeroshot.close_config import CloseConfig

SPACE = "tiny/text[16]"
SIZES = {"hidden": 32, "layers": 2, "decoder_layers": 1, "heads": 4, "ff": 48, "positions": 32}
TEXTS = ["a small dog", "a white cup", "two yellow boats and a cat", "", "an old tree"]


def build(seed=0, weights=None, **options) -> Close:
    context = BuildContext(reads=SPACE, parts={"corpus": Sentences()}, seed=seed, weights=weights)
    return Close.build(CloseConfig(**{**SIZES, **options}), context)


def inputs(count=5, seed=0) -> RegionTokens:
    return example_tokens(SPACE, count, 1, seed=seed)


def write(decoder, path) -> WeightFile:
    made = decoder.artifact()
    write_weights(path, made.tensors, made.header)
    return WeightFile(path, read_header(path))


@pytest.fixture(scope="module")
def trained():
    """A decoder that writes different captions of many lengths."""
    decoder = build(layers=1, dropout=0.0).train()
    words = sorted({word for text in SENTENCES for word in text.split()})
    draw = random.Random(0)
    texts = [" ".join(draw.choices(words, k=draw.randint(0, 7))) for _ in range(20)]
    optimizer = torch.optim.Adam(decoder.parameters(), 1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        decoder.loss(inputs(20), texts).backward()
        optimizer.step()
    return decoder.eval()


# ---------------------------------------------------------------- what the encoder reads


@pytest.mark.parametrize(
    ("prompt", "words"),
    [pytest.param(None, "", id="none"), pytest.param("", "", id="empty"), pytest.param("a cat", "a cat", id="prompt")],
)
def test_four_tokens_of_the_unit_vector_and_then_the_prompt_with_its_end_token(prompt, words):
    decoder = build(constants=2)
    with torch.no_grad():
        decoder.mapper.constant_tokens.normal_(generator=torch.Generator().manual_seed(3))
    given = one(inputs(), 0)
    vector = given.tokens[0, 0].double()
    layer = decoder.mapper.lin
    mapped = layer.weight.double() @ (vector / vector.norm()) + layer.bias.double()
    wanted = torch.cat([decoder.mapper.constant_tokens.double(), mapped.reshape(4, 32)])
    if words:
        ids = torch.tensor([*decoder.tokenizer.encode(words), decoder.tokenizer.end])
        wanted = torch.cat([wanted, decoder.model.get_input_embeddings()(ids).double()])
    found = decoder.encoder_inputs(given, prompt)
    assert torch.allclose(found["inputs_embeds"][0].double(), wanted, atol=1e-6)
    assert found["attention_mask"].tolist() == [[1] * len(wanted)]


def test_logits_and_loss_are_those_of_transformers_own_t5():
    decoder = build()
    model = T5ForConditionalGeneration(decoder.model.config).eval()
    model.load_state_dict(decoder.model.state_dict())
    given = inputs()
    unit = given.tokens[:, 0] / given.tokens[:, 0].norm(dim=1, keepdim=True)
    embeddings = (unit @ decoder.mapper.lin.weight.T + decoder.mapper.lin.bias).view(5, 4, 32)
    ids, lengths = decoder._targets(TEXTS, None)
    labels = ids.masked_fill(torch.arange(ids.shape[1]) >= lengths.unsqueeze(1), -100)
    wanted = model(inputs_embeds=embeddings, labels=labels)
    assert torch.allclose(decoder._logits(given, ids, lengths, None), wanted.logits, atol=1e-5)
    assert decoder.loss(given, TEXTS).item() == pytest.approx(wanted.loss.item(), abs=1e-5)
    likely = -cross_entropy(wanted.logits.transpose(1, 2), labels, reduction="none").sum(1)
    assert torch.allclose(decoder.score(given, TEXTS), likely, atol=1e-5)


def test_length_of_a_vector_counts_only_where_it_is_not_normalised():
    given = inputs()
    longer = RegionTokens(given.tokens * 3, given.mask, SPACE)
    decoder, raw = build(), build(normalise=False)
    assert torch.allclose(decoder.score(longer, TEXTS), decoder.score(given, TEXTS), atol=1e-5)
    assert not torch.allclose(raw.score(longer, TEXTS), raw.score(given, TEXTS), atol=1e-5)


@pytest.mark.parametrize(
    ("lowercase", "same"), [pytest.param(True, True, id="lower"), pytest.param(False, False, id="as-written")]
)
def test_training_texts_are_written_in_lower_case(lowercase, same, byte_folder):
    decoder = build(tokenizer=f"file:{byte_folder}", lowercase=lowercase, positions=64)
    loud = ["A Small DOG", "A WHITE cup"]
    quiet = [text.lower() for text in loud]
    losses = [decoder.loss(inputs(2), texts).item() for texts in (loud, quiet)]
    assert (losses[0] == losses[1]) is same
    assert not torch.equal(decoder.score(inputs(2), loud), decoder.score(inputs(2), quiet))


@pytest.fixture
def byte_folder(tmp_path):
    """A tokenizer that knows capitals."""
    from regionkit.core.language.tokenizers import LanguageTokenizer

    (tmp_path / "tokenizer.json").write_text(LanguageTokenizer.of_bytes().text)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "</s>", "pad_token": "<pad>"}')
    return tmp_path


# ---------------------------------------------------------------- captions and scores

OPTIONS = [
    pytest.param(GenerateOptions(max_tokens=9), id="greedy"),
    pytest.param(GenerateOptions(max_tokens=9, beams=5, length_penalty=0.0), id="beams-of-the-release"),
    pytest.param(GenerateOptions(max_tokens=9, temperature=0.5, top_p=0.9), id="samples"),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_batch_of_sixteen_is_sixteen_singles_and_scores_are_those_of_the_texts(options, trained):
    given = inputs(16)
    together = trained.generate(given, options=options)
    sliced = trained.generate(given, options=dataclasses.replace(options, batch_size=7))
    assert [one.tokens for one in sliced] == [one.tokens for one in together]
    if not options.temperature:  # samples belong to the number of the region in the call
        alone = [trained.generate(one(given, index), options=options)[0] for index in range(16)]
        assert [one.tokens for one in alone] == [one.tokens for one in together]
        assert [one.score for one in alone] == pytest.approx([one.score for one in together], abs=1e-5)
    assert len({len(one.tokens) for one in together}) >= 3
    scores = trained.score(given, [one.text for one in together]).tolist()
    whole = [place for place, one in enumerate(together) if one.finished]
    assert len(whole) >= 8
    assert [together[place].score for place in whole] == pytest.approx([scores[place] for place in whole], abs=1e-4)


def test_five_beams_without_length_penalty_find_nothing_less_likely_than_greedy(trained):
    given = inputs(16, seed=4)
    beams = trained.generate(given, options=GenerateOptions(max_tokens=9, beams=5, length_penalty=0.0))
    greedy = trained.generate(given, options=GenerateOptions(max_tokens=9))
    better = [one.score - other.score for one, other in zip(beams, greedy, strict=True)]
    assert sum(better) > 0
    assert sum(gain < -1e-4 for gain in better) <= 1  # a beam may lose what leads to the best


# ---------------------------------------------------------------- weights


def test_weights_come_back_without_clip_or_doubles(trained, tmp_path):
    file = write(trained, tmp_path / "close.safetensors")
    names = set(file.tensors())
    assert {"mapper.lin.weight", "mapper.lin.bias", "model.shared.weight"} <= names
    assert not any("embed_tokens" in name or "lm_head" in name for name in names)
    assert file.header.config["tokens"] == 4
    again = Close.build(CloseConfig(), BuildContext(reads=SPACE, weights=file))
    assert again.generate(inputs()) == trained.generate(inputs())
    with pytest.raises(WeightsError, match=r"decoder\.tokens: 3 was asked for, the weights .* have 4"):
        Close.build(CloseConfig(tokens=3), BuildContext(reads=SPACE, weights=file))


def t5_folder(folder, decoder, *, old=False):
    """A folder of the hub; an ``old`` one holds a tensor that no model reads, as the release of T5-base does."""
    tensors = {name: tensor.contiguous() for name, tensor in stored_tensors(decoder.model).items()}
    if old:
        tensors["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.zeros(32, 4)
    save_file(tensors, folder / "model.safetensors")
    config = json.loads(decoder.model.config.to_json_string()) | {"tie_word_embeddings": True}
    config.pop("scale_decoder_outputs", None)  # released configs do not have it
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(decoder.tokenizer.text)
    (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>", "pad_token": "<pad>"}')
    return folder


@pytest.mark.parametrize("old", [pytest.param(False, id="today"), pytest.param(True, id="with-the-spare-tensor")])
def test_training_starts_from_a_folder_of_the_hub(old, tmp_path):
    other = build(seed=5)
    folder = t5_folder(tmp_path, other, old=old)
    found = Close.build(CloseConfig(start=f"file:{folder}"), BuildContext(reads=SPACE, seed=1))
    assert (found.config.hidden, found.config.layers, found.config.decoder_layers) == (32, 2, 1)
    assert found.tokenizer.encode("a dog") == other.tokenizer.encode("a dog")
    for name, tensor in stored_tensors(other.model).items():
        assert torch.equal(found.model.state_dict()[name], tensor)
    assert found.mapper.lin.weight.shape == (4 * 32, 16)


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"decoder 'close': start: file:nowhere: there is no such folder"):
        Close.build(CloseConfig(start="file:nowhere"), BuildContext(reads=SPACE))
    with pytest.raises(WeightsError, match="has no weights, and no corpus"):
        Close.build(CloseConfig(), BuildContext(reads=SPACE))
    with pytest.raises(FeatureError, match="reads one token a region and got 3"):
        build().generate(example_tokens(SPACE, 2, 3))
    with pytest.raises(RegionkitError, match="a region and the prompt are 45 tokens together"):
        build().generate(inputs(1), " ".join(["dog"] * 40))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"tokens": 0}, "tokens: 0 must be 1 or more", id="tokens"),
        pytest.param({"constants": -1}, "constants: -1 must be 0 (none) or more", id="constants"),
        pytest.param({"start": "t5-base"}, "start: 't5-base' must be file:FOLDER", id="start"),
        pytest.param({"start": "file:t5", "dropout": 0.2}, "dropout: 0.2 was asked for", id="start-and-dropout"),
        pytest.param({"heads": 5}, "heads: 5 does not divide hidden 32", id="heads"),
    ],
)
def test_bad_values_are_refused_by_the_options(options, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        CloseConfig(**{**SIZES, **options})
    assert str(caught.value).startswith(message)
