"""The ``ifcap`` decoder: its formulas in float64, what is retrieved when, entities, batches, seeds."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from guided_toys import one
from torch import Tensor

from regionkit.core.compute import in_precision
from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.features import GenerateOptions, RegionTokens
from regionkit.core.testing import Sentences, example_tokens
from regionkit.core.texts import bank_tensors
from regionkit.core.weights import WeightFile, WeightHeader, read_header, write_weights
from regionkit.plugins.zeroshot.ifcap import Ifcap, RetrievalMapper, frequent_entities
from regionkit.plugins.zeroshot.ifcap_config import IfcapConfig

SPACE = "tiny/text[16]"
SIZES = {
    "hidden": 32, "layers": 1, "heads": 4, "intermediate": 48, "positions": 96, "mapper_layers": 2, "mapper_heads": 4,
    "prefix": 3, "clip_length": 2, "vocabulary": "mini", "retrieved": 2, "captions": 4, "frequency": 2,
}  # fmt: skip
NOUNS = ("dog", "cat", "boat", "car", "tree", "clock")


def captions(count: int = 24, seed: int = 0) -> list[str]:
    """Captions of one to three nouns, some of them equal."""
    draw = random.Random(seed)
    return [" and ".join(f"a {noun}" for noun in draw.choices(NOUNS, k=draw.randint(1, 3))) for _ in range(count)]


def embedded(texts: list[str], seed: int = 1) -> Tensor:
    """Vectors whose length is not 1; equal texts have equal ones."""
    generator = torch.Generator().manual_seed(seed)
    rows = {text: 3 * torch.randn(16, generator=generator) for text in sorted(set(texts))}
    return torch.stack([rows[text] for text in texts])


def build(seed: int = 0, *, fit: bool = True, weights: WeightFile | None = None, **options: object) -> Ifcap:
    context = BuildContext(reads=SPACE, parts={"corpus": Sentences()}, seed=seed, weights=weights)
    decoder = Ifcap.build(IfcapConfig(**{**SIZES, **options}), context)
    if fit:
        decoder.fit(embedded(captions()), captions())
    return decoder


def inputs(count: int = 5, seed: int = 0) -> RegionTokens:
    return example_tokens(SPACE, count, 1, seed=seed)


@pytest.fixture(scope="module")
def trained():
    """A decoder that writes different captions of many lengths."""
    decoder = build(dropout=0.0, full_stop=False).train()
    texts, vectors = captions(), embedded(captions())
    optimizer = torch.optim.Adam(decoder.parameters(), 3e-3)
    torch.manual_seed(0)
    for _ in range(150):
        optimizer.zero_grad()
        decoder.loss(RegionTokens.single(vectors, SPACE), texts).backward()
        optimizer.step()
    return decoder.eval()


# ---------------------------------------------------------------- formulas, made again in float64


def layer_norm(values: np.ndarray, weights: dict[str, np.ndarray], place: str) -> np.ndarray:
    mean, variance = values.mean(-1, keepdims=True), values.var(-1, keepdims=True)
    return (values - mean) / np.sqrt(variance + 1e-5) * weights[f"{place}.weight"] + weights[f"{place}.bias"]


def block(tokens: np.ndarray, others: np.ndarray | None, weights: dict[str, np.ndarray], place: str, heads: int):
    """A pre-norm block for one region; what is looked at from outside is not normed."""
    normed = layer_norm(tokens, weights, f"{place}.norm1")
    seen = normed if others is None else others
    queries = normed @ weights[f"{place}.attn.to_queries.weight"].T
    keys, values = np.split(seen @ weights[f"{place}.attn.to_keys_values.weight"].T, 2, axis=1)
    wide = queries.shape[1] // heads
    mixed = np.zeros_like(queries)
    for head in range(heads):
        part = slice(head * wide, (head + 1) * wide)
        logits = queries[:, part] @ keys[:, part].T * wide**-0.5
        shares = np.exp(logits - logits.max(1, keepdims=True))
        mixed[:, part] = shares / shares.sum(1, keepdims=True) @ values[:, part]
    tokens = tokens + mixed @ weights[f"{place}.attn.project.weight"].T + weights[f"{place}.attn.project.bias"]
    inner = layer_norm(tokens, weights, f"{place}.norm2") @ weights[f"{place}.mlp.fc1.weight"].T
    inner = np.maximum(inner + weights[f"{place}.mlp.fc1.bias"], 0)
    return tokens + inner @ weights[f"{place}.mlp.fc2.weight"].T + weights[f"{place}.mlp.fc2.bias"]


def test_mapping_network_is_its_formula():
    torch.manual_seed(3)
    mapper = RetrievalMapper(16, 32, prefix=3, clip_length=2, layers=2, heads=4)
    with torch.no_grad():
        for weight in mapper.parameters():
            weight.normal_(std=0.3)
    weights = {name: tensor.double().numpy() for name, tensor in mapper.state_dict().items()}
    vectors, features = torch.randn(4, 16), 5 * torch.randn(4, 6, 16)
    found = mapper(vectors, features)
    for at in range(4):
        tokens = (weights["linear.weight"] @ vectors[at].double().numpy() + weights["linear.bias"]).reshape(2, 32)
        others = features[at].double().numpy() @ weights["rt_linear.weight"].T + weights["rt_linear.bias"]
        tokens = block(tokens, others, weights, "crossatt.transformer.layers.0", 4)
        tokens = np.concatenate([tokens, weights["prefix_const"]])
        for layer in range(2):
            tokens = block(tokens, None, weights, f"transformer.layers.{layer}", 4)
        assert torch.allclose(found[at].double(), torch.from_numpy(tokens[2:]), atol=1e-4)


def test_soft_tokens_are_those_of_the_nearest_captions_features_as_they_are():
    decoder, given = build(), inputs()
    bank = embedded(captions()).double()
    vectors = given.tokens[:, 0]
    cosines = torch.nn.functional.normalize(vectors.double(), dim=1) @ torch.nn.functional.normalize(bank, dim=1).T
    # Equal captions have equal vectors: which of their rows is taken makes no difference.
    features = bank[cosines.topk(2).indices].float()
    unit = torch.nn.functional.normalize(vectors, dim=1)
    assert torch.allclose(decoder.soft(vectors), decoder.mapper(unit, features), atol=1e-5)


# ---------------------------------------------------------------- entities

SAID = ["dog"] * 7 + ["cat"] * 5 + ["bench"] * 5 + ["tree"] * 4 + ["cup"]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        pytest.param({"frequency": 5}, ["dog", "cat", "bench"], id="five-equal-numbers-by-word-descending"),
        pytest.param({"frequency": 3}, ["dog", "cat", "bench", "tree"], id="three"),
        pytest.param({"frequency": 8}, [], id="none"),
        pytest.param({"threshold": "normal"}, ["dog"], id="normal"),
        pytest.param({"threshold": "normal", "deviations": 0.0}, ["dog", "cat", "bench"], id="above-the-mean"),
        pytest.param({"threshold": "log-normal", "deviations": 0.25}, ["dog", "cat", "bench"], id="log-normal"),
    ],
)
def test_entities_are_the_nouns_that_are_said_often_enough(options, wanted):
    assert frequent_entities(SAID, IfcapConfig(**options)) == wanted


@pytest.mark.parametrize("kind", ["normal", "log-normal"])
def test_adaptive_thresholds_are_their_formula_in_numpy(kind):
    draw = random.Random(4)
    for _ in range(30):
        said = draw.choices(NOUNS, weights=[9, 5, 3, 2, 1, 1], k=20)
        numbers = {word: said.count(word) for word in set(said)}
        values = {word: np.log(count) if kind == "log-normal" else count for word, count in numbers.items()}
        least = np.mean(list(values.values())) + 0.8 * np.std(list(values.values()))
        wanted = sorted(((numbers[word], word) for word in said if values[word] > least + 1e-12), reverse=True)
        found = frequent_entities(said, IfcapConfig(threshold=kind, deviations=0.8))
        assert found == list(dict.fromkeys(word for _, word in wanted))
    assert frequent_entities([], IfcapConfig(threshold=kind)) == []


def test_words_of_a_region_are_counted_over_the_nearest_captions():
    decoder, given = build(), inputs(8)
    bank = torch.nn.functional.normalize(embedded(captions()), dim=1)
    texts = captions()
    for at, words in enumerate(decoder.words(given, None)):
        nearest = (bank @ given.tokens[at, 0]).topk(4).indices.tolist()
        said = [word for near in nearest for word in texts[near].split() if word in NOUNS]
        kept = sorted(((said.count(word), word) for word in set(said) if said.count(word) >= 2), reverse=True)
        named = ", ".join(word for _, word in kept) or "something"
        assert words == f"There are {named} in image."


# ---------------------------------------------------------------- training


def test_training_looks_at_neighbours_of_the_noisy_sentence_and_not_at_itself():
    decoder = build(query_noise=0.2).train()
    texts = captions()[:6]
    given = RegionTokens.single(torch.randn(6, 16), SPACE)  # the sentence's own vector is the query, not these
    torch.manual_seed(7)
    found = decoder.image_like(given, texts)
    torch.manual_seed(7)
    clean = torch.nn.functional.normalize(embedded(captions())[:6], dim=1)
    queries = torch.nn.functional.normalize(clean + 0.2 * torch.randn(6, 16), dim=1)
    bank = embedded(captions())
    cosines = queries @ torch.nn.functional.normalize(bank, dim=1).T
    for at, text in enumerate(texts):
        cosines[at, [place for place, other in enumerate(captions()) if other == text]] = -9
    assert torch.allclose(found, bank[cosines.topk(2).indices])
    assert not any(bool((found[at] == bank[at]).all(dim=1).any()) for at in range(6))


def test_the_release_leaves_one_of_several_equal_sentences_out():
    texts = [*captions(), captions()[0]]
    noisy = RegionTokens.single(embedded(texts)[:1], SPACE)
    found = {}
    for compat in ("paper", "reference"):
        decoder = build(compat=compat, query_noise=0.0, retrieved=1)
        decoder.fit(embedded(texts), texts)
        found[compat] = decoder.image_like(noisy, texts[:1])[0, 0]
    assert torch.equal(found["reference"], embedded(texts)[0])
    assert not torch.equal(found["paper"], embedded(texts)[0])


def test_a_sentence_that_the_bank_lacks_is_looked_for_with_its_vector():
    decoder = build()
    vector = embedded(captions())[5]
    found = decoder.image_like(RegionTokens.single(vector[None], SPACE), ["a sentence of its own"])
    assert torch.equal(found[0, 0], vector)


def test_loss_depends_on_the_seed_in_training_alone():
    decoder = build(dropout=0.0)
    texts, given = captions()[:6], inputs(6)

    def loss(seed: int) -> float:
        torch.manual_seed(seed)
        return decoder.loss(given, texts).item()

    assert loss(0) == loss(1)
    decoder.train()
    assert loss(0) == loss(0)
    assert len({loss(seed) for seed in range(4)}) > 1
    decoder.loss(given, texts).backward()
    assert decoder.mapper.rt_linear.weight.grad.abs().sum() > 0


# ---------------------------------------------------------------- captions


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(GenerateOptions(max_tokens=12), id="greedy"),
        pytest.param(GenerateOptions(max_tokens=12, beams=3), id="beams"),
    ],
)
def test_batch_of_sixteen_is_sixteen_singles_and_scores_are_those_of_the_texts(options, trained):
    given = RegionTokens.single(embedded(captions())[:16], SPACE)
    together = trained.generate(given, options=options)
    alone = [trained.generate(one(given, index), options=options)[0] for index in range(16)]
    assert [one.tokens for one in alone] == [one.tokens for one in together]
    assert [one.score for one in alone] == pytest.approx([one.score for one in together], abs=1e-4)
    assert len({one.text for one in together}) >= 4
    assert len({len(words) for words in trained.words(given, None)}) > 1
    whole = [at for at, one in enumerate(together) if one.finished]
    assert len(whole) >= 8
    scores = trained.score(given, [one.text for one in together]).tolist()
    assert [together[at].score for at in whole] == pytest.approx([scores[at] for at in whole], abs=1e-4)


def test_captions_depend_on_the_bank(trained):
    given = RegionTokens.single(embedded(captions())[:16], SPACE)
    before = [one.text for one in trained.generate(given)]
    assert [one.text for one in trained.generate(given)] == before
    trained.fit(embedded(captions()), ["a clock"] * 24)
    assert set(trained.words(given, None)) == {"There are clock in image."}
    assert [one.text for one in trained.generate(given)] != before
    trained.fit(embedded(captions()), captions())
    assert [one.text for one in trained.generate(given)] == before


def test_weights_come_back_without_the_bank(trained, tmp_path):
    made = trained.artifact()
    assert not any("memory" in name or "embeddings" in name for name in made.tensors)
    path = tmp_path / "ifcap.safetensors"
    write_weights(path, made.tensors, made.header)
    again = build(weights=WeightFile(path, read_header(path)), full_stop=False)
    assert again.generate(inputs()) == trained.generate(inputs())


def test_the_bank_of_the_context_is_taken(tmp_path):
    path = tmp_path / "bank.safetensors"
    write_weights(path, bank_tensors(embedded(captions()), captions()), WeightHeader("bridge", "memory", SPACE))
    context = BuildContext(reads=SPACE, parts={"corpus": Sentences()}, bank=WeightFile(path, read_header(path)))
    decoder = Ifcap.build(IfcapConfig(**SIZES), context)
    assert decoder.generate(inputs()) == build().generate(inputs())


def test_without_a_bank_it_says_what_to_do():
    decoder = build(fit=False)
    with pytest.raises(WeightsError, match="decoder 'ifcap' retrieves captions, and has no bank of them") as caught:
        decoder.generate(inputs())
    assert "toolkit bank build" in caught.value.hints[0]
    with pytest.raises(WeightsError, match="has no bank of them"):
        decoder.loss(inputs(), captions()[:5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"retrieved": 0}, "retrieved: 0 must be 1 or more", id="retrieved"),
        pytest.param({"frequency": 0}, "frequency: 0 must be 1 or more", id="frequency"),
        pytest.param({"mapper": "mlp"}, "mapper: 'mlp' cannot look at retrieved captions", id="mapper"),
        pytest.param({"query_noise": -1.0}, "query_noise: -1.0 must be 0 (none) or more", id="noise"),
        pytest.param({"deviations": float("nan")}, "deviations: nan must be a finite number", id="deviations"),
    ],
)
def test_bad_values_are_refused_by_the_options(options, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        IfcapConfig(**{**SIZES, **options})
    assert str(caught.value).startswith(message)


def test_it_computes_in_bfloat16_and_can_be_fitted_again_then():
    decoder, given = build(), inputs()
    said = decoder.entities(given)
    in_precision(decoder, "bfloat16")
    assert decoder.soft(given.vectors().bfloat16()).dtype == torch.bfloat16
    assert decoder.entities(given) == said  # vectors of another type than the last ones
    decoder.fit(embedded(captions()), captions())
    assert len(decoder.generate(given, options=GenerateOptions(max_tokens=3))) == len(given)
    decoder.train().loss(given, captions()[: len(given)]).backward()
    assert decoder.mapper.rt_linear.weight.grad.isfinite().all()


@pytest.mark.parametrize("threshold", ["normal", "log-normal"])
def test_of_two_nouns_none_lies_beyond_a_deviation_whatever_rounding_says(threshold: str) -> None:
    """Mean and deviation of two numbers are the larger one."""
    config = IfcapConfig(threshold=threshold, deviations=1.0)
    for more in range(2, 30):
        for less in range(1, more):
            assert frequent_entities(["dog"] * more + ["cat"] * less, config) == []
    for often in range(1, 30):
        assert frequent_entities(["dog", "cat", "boat", "car", "tree"] * often, config) == []
