"""Memory projection: the released vectors, blocks against the whole matrix, and what is refused."""

import numpy as np
import pytest
import torch
from golden import golden_file
from torch.utils._python_dispatch import TorchDispatchMode

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, WeightsError
from regionkit.core.features import RegionTokens
from regionkit.core.testing import GridBackbone, check_bridge
from regionkit.core.texts import bank_tensors
from regionkit.core.weights import WeightFile, WeightHeader, read_header, write_weights
from regionkit.plugins.patchioner import projection
from regionkit.plugins.patchioner.configs import MemoryConfig
from regionkit.plugins.patchioner.memory import Memory

GOLDEN = np.load(golden_file("memory_projection.npz"))
ROWS, WIDTH = GOLDEN["bank"].shape
#: The released families: whether rows, and whether sums, are unit vectors.
FAMILIES = {
    "talk2dino-and-dinotxt": (0, 1), "clip-invite-denseclip": (1, 0), "proxyclip": (0, 0), "decap": (1, 1),
}  # fmt: skip
SPACE = "grid/text[16]"
TEXTS = ["a red square", "a blue circle", "green", "a dog", "one cat on a mat", "black and white"]
param = pytest.param


def fitted(texts=TEXTS, **options):
    bridge = Memory(MemoryConfig(**options), SPACE)
    bridge.fit(GridBackbone().encode_text(texts), texts)
    return bridge


def tokens_of(values, space="grid/image[16]"):
    return RegionTokens.single(torch.as_tensor(values, dtype=torch.float32), space)


@pytest.mark.parametrize("mode", ["project", "argmax", "top-n"])
@pytest.mark.parametrize("normalise", [True, False])
def test_conforms(mode, normalise):
    check_bridge(fitted(mode=mode, normalise_bank=normalise, normalise_output=normalise), writes=SPACE)


@pytest.mark.parametrize("block", [4096, 7], ids=["one-block", "many-blocks"])
@pytest.mark.parametrize("temperature", [0.01, 0.07, 1.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_released_projection(monkeypatch, family, temperature, block):
    monkeypatch.setattr(projection, "BLOCK", block)
    bank, output = FAMILIES[family]
    bridge = Memory(
        MemoryConfig(temperature=temperature, normalise_bank=bool(bank), normalise_output=bool(output)), f"m[{WIDTH}]"
    )
    bridge.fit(torch.from_numpy(GOLDEN["bank"]), [])
    assert len(bridge.unit) == ROWS - int(GOLDEN["n_zero_rows"])
    projected = bridge.bridge(tokens_of(GOLDEN["query"], f"v[{WIDTH}]"))
    expected = torch.from_numpy(GOLDEN[f"proj_normbank{bank}_normout{output}_tau{temperature}"])
    torch.testing.assert_close(projected.vectors(), expected, rtol=0, atol=1e-5)
    assert projected.space == f"m[{WIDTH}]"


@pytest.mark.parametrize("block", [4096, 3], ids=["one-block", "many-blocks"])
def test_released_retrieval(monkeypatch, block):
    monkeypatch.setattr(projection, "BLOCK", block)
    bridge = Memory(MemoryConfig(mode="argmax"), f"m[{WIDTH}]")
    bridge.fit(torch.from_numpy(GOLDEN["bank"]), [str(row) for row in range(ROWS)])
    query = tokens_of(GOLDEN["query"], f"v[{WIDTH}]")
    similarity, rows = bridge.nearest(query, GOLDEN["top5_sims"].shape[1])
    assert [bridge.texts[row] for row in rows[:, 0].tolist()] == [str(row) for row in GOLDEN["argmax_index"]]
    np.testing.assert_allclose(similarity.numpy(), GOLDEN["top5_sims"], atol=1e-6)
    best = torch.nn.functional.normalize(torch.from_numpy(GOLDEN["bank"])[GOLDEN["argmax_index"]], dim=-1)
    torch.testing.assert_close(bridge.bridge(query).vectors(), best, rtol=0, atol=1e-6)


def test_argmax_is_the_limit_of_a_cold_softmax():
    query = tokens_of(torch.randn(20, 16, generator=torch.Generator().manual_seed(1)))
    cold = fitted(temperature=1e-30).bridge(query).vectors()
    torch.testing.assert_close(cold, fitted(mode="argmax").bridge(query).vectors(), rtol=0, atol=1e-6)


def test_a_low_similarity_does_not_underflow():
    """All cosines far below 1: exp((cos - 1) / 0.01) would be zero in float32 without the running maximum."""
    bridge = Memory(MemoryConfig(), "m[8]")
    bank = torch.eye(8)[:2] + 0.01
    bridge.fit(bank, ["a", "b"])
    away = torch.zeros(1, 8)
    away[0, 5] = -1.0
    assert torch.isfinite(bridge.bridge(tokens_of(away, "v[8]")).tokens).all()


class Largest(TorchDispatchMode):
    """Sees every tensor that is made, and remembers the size of the largest."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(one, torch.Tensor):
                self.size = max(self.size, one.numel())
        return made


@pytest.mark.parametrize("options", [{}, {"mode": "argmax"}, {"mode": "top-n", "rows": 5}, {"precision": "float16"}])
@pytest.mark.parametrize("small", [True, False], ids=["doubles", "floats"])
def test_no_matrix_of_regions_by_bank_is_made(monkeypatch, options, small):
    """The largest intermediate is one block wide, whatever the bank's size."""
    monkeypatch.setattr(projection, "BLOCK", 100)
    monkeypatch.setattr(projection, "WIDENED", 100)
    if not small:
        monkeypatch.setattr(projection, "SMALL", 0)
    bridge = Memory(MemoryConfig(**options), "m[4]")
    bridge.fit(torch.randn(4000, 4, generator=torch.Generator().manual_seed(0)), [])
    query = tokens_of(torch.randn(60, 4, generator=torch.Generator().manual_seed(1)), "v[4]")
    with Largest() as seen:
        bridge.bridge(query)
    assert 0 < seen.size <= 4000 * 4  # the bank itself, of which views are made


def test_padding_is_left_out():
    values = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))
    values[1, 2] = torch.nan
    mask = torch.tensor([[True, True, True], [True, True, False]])
    out = fitted().bridge(RegionTokens(values, mask, "grid/image[16]"))
    assert torch.equal(out.mask, mask)
    assert torch.equal(out.tokens[1, 2], torch.zeros(16))
    torch.testing.assert_close(out.tokens[mask].norm(dim=-1), torch.ones(5))


def test_the_width_of_the_input_is_kept_in_its_dtype():
    out = fitted().bridge(RegionTokens.single(torch.ones(2, 16, dtype=torch.bfloat16), "grid/image[16]"))
    assert out.tokens.dtype == torch.bfloat16


def test_a_bank_file_round_trip(tmp_path):
    texts = ["ein Hund, größer", "a dog", ""]
    embeddings = GridBackbone().encode_text(texts)
    path = tmp_path / "bank.safetensors"
    header = WeightHeader("bridge", "memory", space=SPACE, corpus="three")
    write_weights(path, bank_tensors(embeddings, texts), header, half=True)
    weights = WeightFile(path, read_header(path))
    bridge = Memory.build(MemoryConfig(), BuildContext(writes=SPACE, weights=weights))
    assert bridge.texts == tuple(texts)
    torch.testing.assert_close(bridge.unit * bridge.norms[:, None], embeddings, rtol=0, atol=1e-3)
    assert bridge.bridge(tokens_of(embeddings)).space == SPACE


def test_build_without_weights_starts_empty_and_is_fitted():
    bridge = Memory.build(MemoryConfig(), BuildContext(writes=SPACE))
    with pytest.raises(WeightsError) as caught:
        bridge.bridge(tokens_of(torch.ones(1, 16)))
    assert str(caught.value) == (
        "bridge 'memory' has no bank\n"
        "  build one: toolkit bank build; or fit it: bridge.fit(backbone.encode_text(texts), texts)"
    )
    bridge.fit(GridBackbone().encode_text(TEXTS), TEXTS)
    assert bridge.bridge(tokens_of(torch.ones(1, 16))).vectors().norm() == pytest.approx(1)


def test_fit_does_not_keep_its_callers_tensor():
    embeddings = GridBackbone().encode_text(TEXTS)
    bridge = Memory(space=SPACE)
    bridge.fit(embeddings, TEXTS)
    before = bridge.unit.clone()
    embeddings.zero_()
    assert torch.equal(bridge.unit, before)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        param([[1.0] * 16, [float("nan")] * 16], "a vector for region 1 that is NaN, infinite or zero", id="nan"),
        param([[float("inf")] + [1.0] * 15], "a vector for region 0 that is NaN, infinite or zero", id="infinite"),
        param([[1.0] * 16, [1.0] * 16, [0.0] * 16], "a vector for region 2 that is NaN, infinite or zero", id="zero"),
        param([[1.0] * 12], "got vectors of width 12 in grid/image[16], its bank has width 16", id="width"),
    ],
)
def test_vectors_that_cannot_be_projected(values, message):
    with pytest.raises(FeatureError) as caught:
        fitted().bridge(tokens_of(values))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("embeddings", "texts", "message"),
    [
        param(torch.zeros(3, 4), [], "a memory bank holds no embedding that is not zero", id="zeros"),
        param(torch.ones(3, 4), ["a"], "a memory bank has 3 embeddings and 1 texts", id="count"),
        param(torch.tensor([[1.0], [torch.nan]]), [], "embedding 1 of a memory bank is NaN or infinite", id="nan"),
    ],
)
def test_banks_that_cannot_be_used(embeddings, texts, message):
    with pytest.raises(FeatureError) as caught:
        Memory().fit(embeddings, texts)
    assert str(caught.value).startswith(message)


def test_a_file_that_is_no_bank(tmp_path):
    path = tmp_path / "other.safetensors"
    write_weights(path, {"weight": torch.ones(2)}, WeightHeader("bridge", "memory"))
    with pytest.raises(WeightsError, match="this is no memory bank, it holds: weight"):
        Memory.build(MemoryConfig(), BuildContext(weights=WeightFile(path, read_header(path))))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        param(["a", "b\nc"], "a text of a bank holds a line break", id="line-break"),
        param(["a"], "2 embeddings and 1 texts", id="count"),
    ],
)
def test_bank_tensors_refuses(texts, message):
    with pytest.raises(ValueError, match=message):
        bank_tensors(torch.ones(2, 4), texts)
    with pytest.raises(ValueError, match="a bank needs at least one text"):
        bank_tensors(torch.ones(0, 4), [])


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_config_refuses_temperatures(temperature):
    with pytest.raises(ValueError, match=r"must be more than 0; the paper takes 0\.01, mode=argmax is the limit 0"):
        MemoryConfig(temperature=temperature)


def test_training_sees_clean_unit_embeddings():
    seen = fitted().corrupt(torch.full((2, 16), 3.0), torch.Generator())
    assert torch.equal(seen, torch.full((2, 16), 0.25))
    assert MemoryConfig().corruption == "none"
