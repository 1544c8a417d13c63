"""The text-only recipe: batches are functions of seed and step, and a decoder learns to write sentences back."""

from __future__ import annotations

import dataclasses
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.core.contracts import BuildContext, Corpus, GapBridge
from regionkit.core.errors import DataError, RegionkitError
from regionkit.core.features import Caption, RegionTokens
from regionkit.core.testing import GridBackbone
from regionkit.plugins.patchioner.decap import Decap
from regionkit.plugins.patchioner.decap_config import DecapConfig, TextOnlyConfig
from regionkit.plugins.patchioner.text_only import TextOnly
from regionkit.registry.document import read_document

COLOURS = ("red", "green", "blue", "yellow", "black", "white")
TINY = DecapConfig(hidden=24, layers=1, heads=2, positions=8, dropout=0.0, weights="none")


class Pairs(Corpus):
    def texts(self) -> list[str]:
        return [f"{first} and {second}" for first, second in product(COLOURS, repeat=2)]


class Shaken(GapBridge):
    """Noise of a fixed size, so that the generator of the step can be seen."""

    def corrupt(self, embeddings: Tensor, generator: torch.Generator) -> Tensor:
        return normalize(embeddings, dim=-1) + 0.01 * torch.randn(embeddings.shape, generator=generator)

    def bridge(self, tokens: RegionTokens) -> RegionTokens:
        return tokens


def recipe(config: TextOnlyConfig | None = None, seed: int = 0) -> TextOnly:
    backbone, corpus = GridBackbone(), Pairs()
    decoder = Decap.build(TINY, BuildContext(reads=backbone.text_space, parts={"corpus": corpus}, seed=seed))
    parts = {"backbone": backbone, "bridge": Shaken(), "decoder": decoder, "corpus": corpus}
    config = config or TextOnlyConfig(steps=60, batch_size=8, learning_rate=1e-2, warmup=5)
    return TextOnly.build(config, BuildContext(parts=parts, seed=seed))


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    first, second = recipe(), recipe()
    for step in (0, 3, 9):
        first.batch(step)
    for step in (9, 4, 0, 100):  # any order, any epoch
        (tokens, texts), (others, other_texts) = first.batch(step), second.batch(step)
        assert texts == other_texts
        assert torch.equal(tokens.tokens, others.tokens)
    assert recipe(seed=1).batch(0)[1] != first.batch(0)[1]


def test_every_epoch_sees_each_sentence_at_most_once_and_shuffles_again() -> None:
    trained = recipe()
    epochs = [[text for step in range(4 * e, 4 * e + 4) for text in trained.batch(step)[1]] for e in range(2)]
    assert trained.steps_an_epoch == 4  # 36 sentences, the last incomplete batch is dropped
    assert len(set(epochs[0])) == 32
    assert epochs[0] != epochs[1]


def test_corruption_differs_by_step_and_pairs_stay_together() -> None:
    trained = recipe()
    tokens, texts = trained.batch(0)
    clean = normalize(GridBackbone().encode_text(texts), dim=-1)
    assert (tokens.vectors() - clean).abs().max() < 0.06
    again = next(step for step in range(4, 8) if set(trained.batch(step)[1]) & set(texts))
    later, later_texts = trained.batch(again)
    shared = next(text for text in texts if text in later_texts)
    assert not torch.equal(tokens.vectors()[texts.index(shared)], later.vectors()[later_texts.index(shared)])


def test_settings_follow_epochs_or_steps() -> None:
    by_epochs = recipe(TextOnlyConfig(epochs=3, batch_size=8))
    assert (by_epochs.settings.steps, by_epochs.settings.learning_rate, by_epochs.settings.warmup) == (12, 1e-5, 1000)
    assert by_epochs.settings.schedule == "linear"
    assert recipe(TextOnlyConfig(steps=5, batch_size=8)).settings.steps == 5
    assert len(recipe(TextOnlyConfig(steps=5, batch_size=8, limit=10)).texts) == 10


def test_a_decoder_learns_and_is_exported_for_its_space() -> None:
    trained = recipe(TextOnlyConfig(steps=250, batch_size=32, learning_rate=1e-2))
    optimizer = torch.optim.AdamW(trained.module.parameters(), 1e-2)
    trained.module.train()
    for step in range(250):
        loss, _ = trained.loss(trained.batch(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # The order of two colours is not in the mean of their vectors: half of the sentences cannot come back.
    ((name, share),) = trained.evaluate()
    assert name == "written back"
    assert share > 0.4
    header = trained.export()[0].header
    assert (header.kind, header.name, header.space) == ("decoder", "decap", "grid/text[16]")
    assert header.extra["tokenizer"]["words"] == sorted([*COLOURS, "and"])
    assert header.config == {"hidden": 24, "layers": 1, "heads": 2, "positions": 8, "vocabulary": 0}


def test_too_few_captions_are_refused() -> None:
    with pytest.raises(DataError, match="36 captions are fewer than a batch of 64"):
        recipe(TextOnlyConfig())


def test_a_decoder_that_cannot_export_is_refused() -> None:
    parts = {"backbone": GridBackbone(), "bridge": Shaken(), "decoder": torch.nn.Linear(2, 2), "corpus": Pairs()}
    with pytest.raises(RegionkitError, match="cannot train decoder 'Linear': it cannot export its weights"):
        TextOnly.build(TextOnlyConfig(), BuildContext(parts=parts))


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match=r"learning_rate: 0\.0 must be more than 0"):
        dataclasses.replace(TextOnlyConfig(), learning_rate=0.0)


class Repeater(torch.nn.Module):
    """Says given sentences as a tokenizer of words and signs would write them."""

    def generate(self, inputs: RegionTokens) -> list[Caption]:
        said = ["a dog , red and small ."] * (len(inputs) - 1) + ["a cat"]
        return [Caption(text, -1.0) for text in said]


def test_signs_that_a_tokenizer_sets_apart_are_no_mistake() -> None:
    texts = ["A dog, red and small."] * 4
    trained = TextOnly(
        TextOnlyConfig(steps=1, batch_size=4), Repeater(), Shaken(), torch.ones(4, 16), texts, space="grid/text[16]"
    )
    assert list(trained.evaluate()) == [("written back", 0.75)]


RECIPES = Path(__file__).resolve().parents[3] / "examples" / "recipes"


def test_the_runs_on_relaion_are_those_of_table_5() -> None:
    """One pass; everything else is as for COCO. Source: the paper's supplementary, the released training script."""
    coco, relaion = (
        read_document(RECIPES / f"{name}.yaml").data for name in ("decap-talk2dino", "decap-talk2dino-relaion")
    )
    for part in ("backbone", "bridge", "decoder", "seed", "half"):
        assert relaion[part] == coco[part]
    assert relaion["recipe"] == {**coco["recipe"], "epochs": 1, "embeddings": "stream"}
    assert relaion["variants"] == {
        "decap-talk2dino-relaion-5.6m": {"recipe.limit": 5_600_000},
        "decap-talk2dino-relaion-28.3m": {"recipe.limit": 28_300_000},
    }
    # As many steps as ten passes over the 566,747 captions of COCO, within two in a hundred.
    assert abs((5_600_000 // 64) / (10 * (566_747 // 64)) - 1) < 0.02
