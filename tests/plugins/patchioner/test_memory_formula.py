"""Memory projection against the plain formula in float64: peaked and diffuse, duplicates, blocks, half precision."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_memory import tokens_of
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.explaining import Neighbour
from regionkit.core.texts import bank_tensors
from regionkit.core.weights import WeightFile, WeightHeader, read_header, write_weights
from regionkit.plugins.patchioner import memory as module
from regionkit.plugins.patchioner import projection
from regionkit.plugins.patchioner.configs import MemoryConfig, precision_notes
from regionkit.plugins.patchioner.memory import Memory

param = pytest.param
HALF = ["bfloat16", "float16"]


def plain(queries: Tensor, bank: Tensor, config: MemoryConfig) -> Tensor:
    """The formula on a bank as it was given, written down once more: nothing of it is the component's."""
    bank = bank.double()
    bank = bank[bank.norm(dim=1) > 0]
    norms = bank.norm(dim=1, keepdim=True)
    return summed(queries, bank / norms, norms, config)


def summed(queries: Tensor, unit: Tensor, norms: Tensor, config: MemoryConfig) -> Tensor:
    """The formula on rows as they are kept."""
    queries, unit = queries.double(), unit.double()
    logits = queries / queries.norm(dim=1, keepdim=True) @ unit.T / config.temperature
    shares = torch.exp(logits - logits.max(dim=1, keepdim=True).values)
    shares = shares / shares.sum(dim=1, keepdim=True)
    found = shares @ (unit if config.normalise_bank else unit * norms.double().view(-1, 1))
    return found / found.norm(dim=1, keepdim=True) if config.normalise_output else found


def fitted(bank: Tensor, **options: object) -> Memory:
    bridge = Memory(MemoryConfig(**options), f"m[{bank.shape[1]}]")
    bridge.fit(bank, [])
    return bridge


def projected(bridge: Memory, queries: Tensor) -> Tensor:
    return bridge.bridge(tokens_of(queries, "v")).vectors().double()


def drawn(rows: int, width: int, seed: int, *, peaked: bool, queries: int = 5) -> tuple[Tensor, Tensor]:
    """Return a bank in a cone, some rows twice and some empty, and queries near its rows or anywhere."""
    draw = torch.Generator().manual_seed(seed)
    bank = torch.randn(rows, width, generator=draw) + torch.randn(1, width, generator=draw)
    bank[rows // 2 :: 7] = bank[: len(bank[rows // 2 :: 7])].clone()
    bank[rows // 3 :: 11] = 0
    bank[0] = 1.0
    noise = torch.randn(queries, width, generator=draw)
    near = bank[torch.randint(rows, (queries,), generator=draw)]
    return bank, near + 0.05 * noise if peaked else noise


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 90),
    width=st.sampled_from([4, 33]),
    seed=st.integers(0, 10_000),
    peaked=st.booleans(),
    block=st.integers(1, 40),
    temperature=st.sampled_from([0.01, 0.07, 1.0]),
    normalised=st.tuples(st.booleans(), st.booleans()),
    doubles=st.booleans(),
)
def test_any_bank_in_any_blocks_is_the_plain_formula(
    rows: int,
    width: int,
    seed: int,
    peaked: bool,
    block: int,
    temperature: float,
    normalised: tuple[bool, bool],
    doubles: bool,
) -> None:
    bank, queries = drawn(rows, width, seed, peaked=peaked)
    options = {"temperature": temperature, "normalise_bank": normalised[0], "normalise_output": normalised[1]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projection, "BLOCK", block)
        patch.setattr(module, "_ROWS", block)
        if not doubles:  # as a bank of millions of values is projected
            patch.setattr(projection, "SMALL", 0)
        found = projected(fitted(bank, **options), queries)
    scale = 1.0 if normalised[1] or normalised[0] else float(bank.norm(dim=1).max())
    exact = 5e-6 if doubles else 5e-6 + 4e-7 / temperature  # float32 rounds a cosine by 1e-7, and 1/T magnifies it
    torch.testing.assert_close(found, plain(queries, bank, MemoryConfig(**options)), rtol=0, atol=exact * scale)


@pytest.mark.parametrize("peaked", [param(True, id="peaked"), param(False, id="diffuse")])
def test_a_bank_of_millions_of_values_is_within_five_millionths(peaked: bool) -> None:
    bank, queries = drawn(12_000, 256, 3, peaked=peaked, queries=40)
    bridge = fitted(bank)
    assert projection.precision(bridge.unit) == torch.float32
    error = (projected(bridge, queries) - plain(queries, bank, MemoryConfig())).abs().max()
    assert float(error) <= 5e-6


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("peaked", [param(True, id="peaked"), param(False, id="diffuse")])
@pytest.mark.parametrize("rows", [param(300, id="small"), param(6000, id="large")])
def test_half_precision_is_as_near_as_it_says(precision: str, peaked: bool, rows: int) -> None:
    bank, queries = drawn(rows, 256, 5, peaked=peaked, queries=30)
    bridge = fitted(bank, precision=precision)
    assert bridge.unit.dtype == getattr(torch, precision)
    found, wanted = projected(bridge, queries), plain(queries, bank, MemoryConfig())
    narrow = 256 / 768  # figures are stated for a width of 768; coordinates of narrower unit vectors are larger
    most = {"bfloat16": 5e-4, "float16": 7e-5}[precision] / narrow
    assert 0 < float((found - wanted).abs().max()) <= most
    assert float(cosine_similarity(found, wanted).min()) >= {"bfloat16": 0.9999, "float16": 0.99999}[precision]
    # Rounding the bank is all that happens: sums are as exact as ever.
    exact = summed(queries, bridge.unit, bridge.norms, MemoryConfig())
    torch.testing.assert_close(found, exact, rtol=0, atol=2e-5)


@pytest.mark.parametrize("normalise", [param(True, id="unit"), param(False, id="raw")])
@pytest.mark.parametrize("widened", [1, 7, 1024])
def test_half_precision_in_blocks_and_without_rows(
    monkeypatch: pytest.MonkeyPatch, widened: int, normalise: bool
) -> None:
    monkeypatch.setattr(projection, "WIDENED", widened)
    monkeypatch.setattr(projection, "SMALL", 0)
    bank, queries = drawn(40, 16, 1, peaked=False)
    options = {"precision": "float16", "normalise_bank": normalise, "normalise_output": normalise, "temperature": 0.1}
    bridge = fitted(bank, **options)
    unit, norms, config = bridge.unit, bridge.norms, MemoryConfig(**options)
    torch.testing.assert_close(projected(bridge, queries), summed(queries, unit, norms, config), rtol=0, atol=2e-5)
    rows = tuple(range(3, 12))
    less = bridge.without(tokens_of(queries, "v"), [Neighbour("", 0.5, rows)] * len(queries)).vectors().double()
    kept = [row for row in range(len(unit)) if row not in rows]
    torch.testing.assert_close(less, summed(queries, unit[kept], norms[kept], config), rtol=0, atol=2e-5)


def test_what_half_precision_changes_is_told() -> None:
    assert MemoryConfig().notes == ()
    assert MemoryConfig(precision="bfloat16").notes == precision_notes("bfloat16")
    assert precision_notes("bfloat16") == (
        "the bank is kept in bfloat16: coordinates of its unit vectors change by up to 2e-3 from width 512 on, "
        "2e-2 at width 64, cosine at least 0.999 (made banks; docs/patchioner.md, Memory)",
    )


@pytest.mark.parametrize("normalised", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("small", [param(True, id="doubles"), param(False, id="floats")])
def test_the_nearest_rows_alone_are_summed_where_they_hold_enough(
    monkeypatch: pytest.MonkeyPatch, normalised: tuple[bool, bool], small: bool
) -> None:
    if not small:
        monkeypatch.setattr(projection, "SMALL", 0)
    monkeypatch.setattr(projection, "BLOCK", 13)
    monkeypatch.setattr(module, "_GATHERED", 100)
    bank, near = drawn(80, 24, 2, peaked=True)
    far = drawn(80, 24, 4, peaked=False)[1]
    options = {"temperature": 0.02, "normalise_bank": normalised[0], "normalise_output": normalised[1]}
    bridge = fitted(bank, mode="top-n", rows=6, mass=0.99, **options)
    queries = torch.cat([near, far])
    wanted = plain(queries, bank, MemoryConfig(**options))
    filled = bank[bank.norm(dim=1) > 0].double()
    logits = normalize(queries.double(), dim=1) @ normalize(filled, dim=1).T / 0.02
    best = logits.softmax(1).topk(6)
    enough = best.values.sum(1) >= 0.99
    assert enough.any()
    assert not enough.all()
    kept = normalize(filled, dim=1) if normalised[0] else filled
    sums = torch.einsum("qn,qnd->qd", best.values / best.values.sum(1, keepdim=True), kept[best.indices])
    wanted[enough] = (normalize(sums, dim=1) if normalised[1] else sums)[enough]
    torch.testing.assert_close(projected(bridge, queries), wanted, rtol=0, atol=1e-4)
    for found, shares, whole in zip(bridge.neighbours(tokens_of(queries, "v"), 99), best.values, enough, strict=True):
        assert (len(found) == 6) == bool(whole)
        assert found[0].weight == pytest.approx(float(shares[0] / (shares.sum() if whole else 1)), rel=1e-3)


def written(tmp_path, tensors) -> WeightFile:
    path = tmp_path / "bank.safetensors"
    write_weights(path, tensors, WeightHeader("bridge", "memory", "m[8]"))
    return WeightFile(path, read_header(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        param({"embeddings": torch.ones(3)}, "its embeddings are float32 (3,), not a table of floats (n, d)", id="1-d"),
        param({"embeddings": torch.ones(3, 8, dtype=torch.int32)}, "its embeddings are int32 (3, 8), not", id="whole"),
        param({"embeddings": torch.zeros(3, 8)}, "a memory bank holds no embedding that is not zero", id="zeros"),
        param({"embeddings": torch.ones(0, 8)}, "a memory bank has 0 embeddings and 3 texts", id="none"),
        param({"embeddings": torch.full((3, 8), torch.nan)}, "embedding 0 of a memory bank is NaN", id="nan"),
        param({"embeddings": torch.full((3, 8), 1e30)}, "embedding 0 of a memory bank is NaN", id="huge"),
        param({"embeddings": torch.ones(3, 4)}, "this bank holds vectors of width 4, and m[8] is needed", id="width"),
        param({"embeddings": torch.ones(2, 8)}, "a memory bank has 2 embeddings and 3 texts", id="count"),
        param({"texts": torch.full((4,), 255, dtype=torch.uint8)}, "the texts of this bank are damaged", id="texts"),
    ],
)
def test_files_that_hold_no_bank(tmp_path, change: dict[str, Tensor], message: str) -> None:
    tensors = {**bank_tensors(torch.rand(3, 8), ["a", "b", "c"]), **change}
    with pytest.raises(WeightsError) as caught:
        Memory.build(MemoryConfig(), BuildContext(writes="m[8]", weights=written(tmp_path, tensors)))
    assert str(caught.value).startswith(f"{tmp_path}/bank.safetensors: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("block", [2, 4096])
@pytest.mark.parametrize("precision", ["float32", *HALF])
def test_a_file_is_taken_as_a_fitted_bank_is(
    tmp_path, monkeypatch: pytest.MonkeyPatch, precision: str, block: int
) -> None:
    """Also where rows move forward over empty ones in the memory that the file was read into."""
    monkeypatch.setattr(module, "_ROWS", block)
    embeddings = torch.randn(9, 8, generator=torch.Generator().manual_seed(0))
    embeddings[[0, 3, 4, 8]] = 0
    texts = list("abcdefghi")
    loaded = Memory.build(
        MemoryConfig(precision=precision),
        BuildContext(writes="m[8]", weights=written(tmp_path, bank_tensors(embeddings, texts))),
    )
    bridge = Memory(MemoryConfig(precision=precision), "m[8]")
    bridge.fit(embeddings, texts)
    assert loaded.texts == bridge.texts == ("b", "c", "f", "g", "h")
    assert torch.equal(loaded.unit, bridge.unit)
    assert torch.equal(loaded.norms, bridge.norms)
    assert bridge.unit.dtype == getattr(torch, precision)


def test_the_file_itself_stays_as_it_is(tmp_path) -> None:
    weights = written(tmp_path, bank_tensors(torch.rand(3, 8) * 5, ["a", "b", "c"]))
    before = weights.path.read_bytes()
    Memory.build(MemoryConfig(), BuildContext(writes="m[8]", weights=weights))
    assert weights.path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"mode": "top-n", "rows": 0}, "rows: 0 must be 1 or more", id="rows"),
        param({"mass": 0.0}, "mass: 0.0 must be more than 0 and at most 1", id="no-mass"),
        param({"mass": 1.5}, "mass: 1.5 must be more than 0", id="much-mass"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MemoryConfig(**options)
