"""Text-only training on corpora of any size: from a bank on disk, as it goes, and what a decoder's memory gets."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

import regionkit.plugins.patchioner.text_sources as sources
from regionkit.core.bank_files import BankWriter
from regionkit.core.contracts import BuildContext, Corpus, GapBridge
from regionkit.core.errors import DataError, RegionkitError, WeightsError
from regionkit.core.features import RegionTokens
from regionkit.core.testing import GridBackbone
from regionkit.core.texts import embed_texts
from regionkit.core.weights import WeightHeader, write_weights
from regionkit.plugins.patchioner.decap import Decap
from regionkit.plugins.patchioner.decap_config import DecapConfig, TextOnlyConfig
from regionkit.plugins.patchioner.noise import Noise
from regionkit.plugins.patchioner.text_only import TextOnly

TINY = DecapConfig(hidden=24, layers=1, heads=2, positions=60, dropout=0.0, tokenizer="bytes", weights="none")
SPACE = "grid/text[16]"


class Counted(Corpus):
    """Sentences that are all different; how often they were read from front to back is counted."""

    def __init__(self, count: int = 50) -> None:
        self.count, self.read = count, 0

    def texts(self) -> list[str]:
        return list(self.stream())

    def stream(self) -> Iterator[str]:
        self.read += 1
        return (f"red dog {number}" for number in range(self.count))


class Numbered(Counted):
    def rows(self) -> Sequence[str]:
        return [f"red dog {number}" for number in range(self.count)]


class Plain(GapBridge):
    def bridge(self, tokens: RegionTokens) -> RegionTokens:
        return tokens


class Remembering(Decap):
    """A decoder with a memory."""

    def fit(self, embeddings: Tensor, texts: Sequence[str]) -> None:
        self.fitted = (embeddings, list(texts))


def recipe(
    corpus: Corpus,
    scratch: Path | None = None,
    seed: int = 0,
    bridge: GapBridge | None = None,
    decoder: type[Decap] = Decap,
    **options: object,
) -> TextOnly:
    backbone = GridBackbone()
    made = decoder.build(TINY, BuildContext(reads=SPACE, parts={"corpus": corpus}, seed=seed))
    parts = {"backbone": backbone, "bridge": bridge or Plain(), "decoder": made, "corpus": corpus}
    config = TextOnlyConfig(**{"batch_size": 8, "learning_rate": 1e-2, "epochs": 2, **options})  # type: ignore[arg-type]
    return TextOnly.build(config, BuildContext(parts=parts, seed=seed, scratch=scratch))


def bank(path: Path, count: int = 50, space: str = SPACE, *, half: bool = False) -> Path:
    """Make a bank of the sentences of :class:`Counted`."""
    texts = [f"red dog {number}" for number in range(count)]
    writer = BankWriter(path, 16, {}, half=half)
    with writer.opened():
        writer.append(texts, embed_texts(GridBackbone(), texts))
        writer.finish(WeightHeader("bridge", "memory", space, corpus="counted"))
    return path


@pytest.mark.parametrize("way", ["bank", "numbered", "spooled"])
def test_a_pass_holds_every_sentence_once_with_its_own_embedding(way: str, tmp_path: Path) -> None:
    corpus = Numbered() if way == "numbered" else Counted()
    embeddings = f"file:{bank(tmp_path / 'bank.safetensors')}" if way == "bank" else "stream"
    trained = recipe(corpus, tmp_path / "run", embeddings=embeddings, batch_size=5)
    assert (trained.steps_an_epoch, trained.settings.steps) == (10, 20)
    passes = [[text for step in range(10 * e, 10 * e + 10) for text in trained.batch(step)[1]] for e in range(2)]
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(corpus.texts())
    assert passes[0] != passes[1]
    for step in (0, 13):
        tokens, texts = trained.batch(step)
        expected = normalize(GridBackbone().encode_text(texts), dim=-1)
        torch.testing.assert_close(tokens.vectors(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("way", ["bank", "stream"])
def test_batches_depend_on_seed_and_step_alone(way: str, tmp_path: Path) -> None:
    embeddings = f"file:{bank(tmp_path / 'bank.safetensors', half=True)}" if way == "bank" else "stream"
    first = recipe(Counted(), tmp_path / "a", bridge=Noise(), embeddings=embeddings)
    second = recipe(Counted(), tmp_path / "b", bridge=Noise(), embeddings=embeddings)
    for step in (0, 3, 11):
        first.batch(step)
    for step in (11, 2, 0, 40):
        (tokens, texts), (others, other_texts) = first.batch(step), second.batch(step)
        assert texts == other_texts
        assert torch.equal(tokens.tokens, others.tokens)
    assert recipe(Counted(), tmp_path / "c", seed=1, embeddings=embeddings).batch(0)[1] != first.batch(0)[1]


@settings(max_examples=15, deadline=None)
@given(count=st.integers(3, 90), size=st.integers(1, 9), limit=st.integers(0, 40), seed=st.integers(0, 99))
def test_every_caption_comes_at_most_once_a_pass(count: int, size: int, limit: int, seed: int) -> None:
    size = min(size, count, limit or count)
    trained = recipe(Numbered(count), seed=seed, embeddings="stream", batch_size=size, limit=limit)
    taken = min(limit or count, count)
    every = trained.steps_an_epoch
    assert every == taken // size
    seen = [{text for step in range(e * every, (e + 1) * every) for text in trained.batch(step)[1]} for e in range(2)]
    assert all(len(texts) == every * size for texts in seen)
    if limit and limit < count:  # both passes go over the same few captions
        assert len(seen[0] | seen[1]) <= limit


def test_a_corpus_is_read_once_and_a_run_goes_on_with_what_it_began_with(tmp_path: Path) -> None:
    corpus = Counted()
    first = recipe(corpus, tmp_path / "run", embeddings="stream")
    assert corpus.read == 1
    changed = Counted(70)
    again = recipe(changed, tmp_path / "run", embeddings="stream")
    assert (changed.read, again.fingerprint) == (0, first.fingerprint)
    assert again.batch(4)[1] == first.batch(4)[1]
    assert recipe(changed, tmp_path / "other", embeddings="stream").fingerprint != first.fingerprint


def test_what_is_kept_nowhere_is_removed() -> None:
    trained = recipe(Counted(), embeddings="stream")
    folder = trained._kept.folder
    assert (folder / "sentences.txt").is_file()
    del trained
    assert not folder.exists()


@pytest.mark.parametrize(("count", "held"), [pytest.param(60, True, id="few"), pytest.param(61, False, id="too-many")])
@pytest.mark.parametrize("corpus", [Counted, Numbered])
def test_auto_holds_what_is_not_too_much(
    corpus: type[Counted], count: int, held: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "HELD", 60)
    trained = recipe(corpus(count), tmp_path / "run")
    assert isinstance(trained.embeddings, sources.Held) is held
    assert sorted(trained.texts) == sorted(corpus(count).texts())
    assert (tmp_path / "run" / "sentences.txt").exists() is (not held and corpus is Counted)
    assert recipe(corpus(count), tmp_path / "run").batch(3)[1] == trained.batch(3)[1]


def test_memory_does_not_grow_with_the_corpus() -> None:
    def peak(count: int) -> int:
        class Endless(Corpus):
            def texts(self) -> list[str]:
                raise AssertionError("all of them were asked for")

            def rows(self) -> Sequence[str]:
                return range(count)  # type: ignore[return-value]

        class Words:
            def of(self, rows: Tensor, texts: Sequence[str]) -> Tensor:
                return torch.ones(len(rows), 16)

        tracemalloc.start()
        numbers = Endless().rows()
        trained = TextOnly(
            TextOnlyConfig(batch_size=64), torch.nn.Linear(1, 1), Plain(), Words(), numbers, space=SPACE, held=False
        )
        for step in range(0, 2000, 100):
            trained.batch(step)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    small = peak(10_000)
    assert peak(30_000_000) < 2 * small + 100_000


@pytest.mark.parametrize(
    ("header", "message", "hint"),
    [
        pytest.param(
            WeightHeader("bridge", "memory", "mini-clip/text[16]"),
            r"the embeddings of this bank lie in mini-clip/text\[16\], and this backbone's sentences in grid/text",
            "choose the backbone that made them, or make a bank with this one: toolkit bank build --backbone NAME "
            "--corpus NAME --out FILE.safetensors",
            id="space",
        ),
        pytest.param(
            WeightHeader("decoder", "decap", SPACE),
            "this is no bank of texts, but the weights of decoder 'decap'",
            "make one: toolkit bank build --backbone NAME --corpus NAME --out FILE.safetensors",
            id="decoder",
        ),
    ],
)
def test_other_files_are_refused(header: WeightHeader, message: str, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "bank.safetensors"
    tensors = {"embeddings": torch.ones(2, 16), "texts": torch.tensor(list(b"a\nb"), dtype=torch.uint8)}
    write_weights(path, tensors, header)
    with pytest.raises(WeightsError, match=message) as caught:
        recipe(Counted(), embeddings=f"file:{path}")
    assert caught.value.hints[0] == hint


def test_banks_are_looked_for_where_weights_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank(tmp_path / "bank.safetensors")
    monkeypatch.chdir("/")
    with pytest.raises(WeightsError, match=r"recipe\.embeddings: file:bank\.safetensors: there is no such file"):
        recipe(Counted(), embeddings="file:bank.safetensors")
    monkeypatch.setenv("REGIONKIT_WEIGHTS", f"/nowhere:{tmp_path}")
    trained = recipe(Counted(), embeddings="file:bank.safetensors")
    assert trained.export()[0].header.corpus == "counted"


@pytest.mark.parametrize(
    ("memory", "count"), [pytest.param(0, 50, id="all"), pytest.param(7, 7, id="some"), pytest.param(99, 50, id="more")]
)
@pytest.mark.parametrize("embeddings", ["memory", "stream"])
def test_a_decoder_with_a_memory_is_given_texts(embeddings: str, memory: int, count: int, tmp_path: Path) -> None:
    trained = recipe(Counted(), tmp_path, decoder=Remembering, embeddings=embeddings, memory=memory)
    vectors, texts = trained.decoder.fitted
    assert (tuple(vectors.shape), len(set(texts))) == ((count, 16), count)
    torch.testing.assert_close(vectors, GridBackbone().encode_text(texts))
    again = recipe(Counted(), tmp_path, decoder=Remembering, embeddings=embeddings, memory=memory)
    assert again.decoder.fitted[1] == texts


def test_tokens_are_counted(tmp_path: Path) -> None:
    trained = recipe(Counted(), tmp_path, embeddings="stream")
    batch = trained.batch(0)
    _, figures = trained.loss(batch)
    lengths = [min(len(trained.decoder.tokenizer.encode(text)), TINY.max_length) for text in batch[1]]
    assert figures == {"tokens": float(sum(lengths))}


def test_the_weighted_loss_of_shares_is_that_of_the_batch(tmp_path: Path) -> None:
    trained = recipe(Counted(), tmp_path, embeddings="stream")
    whole, _ = trained.loss(trained.batch(1))
    shares = [trained.share(1, rank, 3) for rank in range(3)]
    weights = [trained.weight(share) for share in shares]
    mean = sum(weight * trained.loss(share)[0] for weight, share in zip(weights, shares, strict=True)) / sum(weights)
    torch.testing.assert_close(mean, whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        pytest.param({"embeddings": "disk"}, ValueError, "'disk' is none of auto, memory, stream, and no fi", id="way"),
        pytest.param({"embeddings": "file:"}, ValueError, "'file:' is none of auto", id="no-path"),
        pytest.param({"embeddings": "stream", "draws": 1}, ValueError, "draws: 1 versions of every emb", id="draws"),
        pytest.param({"memory": -1}, ValueError, "memory: -1 must be 0 or more", id="memory"),
        pytest.param({"embeddings": "stream", "batch_size": 51}, DataError, "50 captions are fewer than a", id="few"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        recipe(Counted(), **options)  # type: ignore[arg-type]


def test_draws_of_a_corpus_that_is_not_held_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "HELD", 10)
    with pytest.raises(RegionkitError, match="draws: 1 versions of every embedding are held in memory, and this corp"):
        recipe(Numbered(), draws=1)


class OfPictures(Counted):
    """Captions of three pictures in turn; the last one is alone."""

    def pictures(self) -> list[int]:
        return [7 if row == self.count - 1 else row % 3 for row in range(self.count)]


@pytest.mark.parametrize("limit", [0, 20])
def test_a_caption_may_come_with_the_embedding_of_another_of_its_picture(limit: int) -> None:
    trained = recipe(OfPictures(31), mix=True, limit=limit, batch_size=5, seed=2)
    own = dict(zip(OfPictures(31).texts(), OfPictures(31).pictures(), strict=True))
    held = normalize(trained.embeddings.of(torch.arange(len(trained.texts)), []), dim=-1)
    seen: dict[str, set[str]] = {}
    for step in range(60):
        tokens, texts = trained.batch(step)
        for vector, text in zip(tokens.vectors(), texts, strict=True):
            sibling = trained.texts[int((held @ vector).argmax())]
            assert own[sibling] == own[text]
            seen.setdefault(text, set()).add(sibling)
        again = (
            recipe(OfPictures(31), mix=True, limit=limit, batch_size=5, seed=2).batch(step)[0] if step == 7 else tokens
        )
        assert torch.equal(again.tokens, tokens.tokens)
    assert max(len(siblings) for siblings in seen.values()) > 3
    assert any(text in siblings for text, siblings in seen.items())  # itself is among them
    assert seen.get("red dog 30", {"red dog 30"}) == {"red dog 30"}


def test_a_corpus_that_knows_no_pictures_cannot_be_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RegionkitError, match="mix: this corpus does not say which captions are about one picture\n"):
        recipe(Counted(), mix=True)
    with pytest.raises(ValueError, match="mix: captions of one picture are known in memory alone, not with stream"):
        recipe(OfPictures(), mix=True, embeddings="stream")
    monkeypatch.setattr(sources, "HELD", 10)
    with pytest.raises(RegionkitError, match="about one picture, since it is not held in memory"):
        recipe(OfPictures(), mix=True)
