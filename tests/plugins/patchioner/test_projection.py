"""The loops over banks, words and boxes, held against their plain formulas in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from regionkit.core import compute
from regionkit.core.compute import Probe
from regionkit.core.features import Features, Scene
from regionkit.core.frames import Frame
from regionkit.core.regions import Box, Regions
from regionkit.core.testing import GridBackbone, picture
from regionkit.plugins.patchioner import greedy, projection
from regionkit.plugins.patchioner.configs import PatchPoolConfig
from regionkit.plugins.patchioner.greedy import likeliest
from regionkit.plugins.patchioner.patch_pool import PatchPool
from regionkit.plugins.patchioner.projection import project


def bank_of(rows: int, width: int = 32, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def plainly(queries, unit, norms, temperature, *, output: bool) -> torch.Tensor:
    shares = (queries.double() @ unit.double().T / temperature).softmax(1)
    summed = shares @ (unit.double() * norms.double().unsqueeze(1))
    return normalize(summed, dim=1) if output else summed


@pytest.mark.parametrize("block", [pytest.param(size, id=f"blocks of {size}") for size in (1, 7, 64, 4096)])
@pytest.mark.parametrize("output", [pytest.param(True, id="unit"), pytest.param(False, id="mean")])
@pytest.mark.parametrize("temperature", [pytest.param(0.01, id="cold"), pytest.param(1.0, id="warm")])
def test_blocks_give_what_the_formula_gives(monkeypatch, block, output, temperature):
    monkeypatch.setattr(projection, "BLOCK", block)
    monkeypatch.setattr(projection, "SMALL", 0)  # in float32, as a large bank is
    unit, norms = bank_of(300), torch.rand(300, generator=torch.Generator().manual_seed(1)) + 0.5
    queries = torch.cat([bank_of(5, seed=2), normalize(unit[[7, 299]] + 0.01, dim=1)])
    options = {"temperature": temperature, "normalise_output": output}
    found = project(queries, unit, norms, normalise_bank=False, **options)
    assert (found - plainly(queries, unit, norms, temperature, output=output)).abs().max() < 5e-6
    found = project(queries, unit, norms, normalise_bank=True, **options)
    assert (found - plainly(queries, unit, torch.ones(300), temperature, output=output)).abs().max() < 5e-6


def test_a_last_row_that_is_far_nearer_than_all_before_it_overflows_nothing(monkeypatch):
    """Its share, counted from the first block's offset, is e^190: more than float32 holds."""
    monkeypatch.setattr(projection, "BLOCK", 16)
    monkeypatch.setattr(projection, "SMALL", 0)
    unit = torch.zeros(64, 8)
    unit[:, 0] = -1.0
    unit[63] = normalize(torch.ones(8), dim=0)
    query = normalize(torch.tensor([[0.9, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]]), dim=1)
    found = project(query, unit, torch.ones(64), temperature=0.01, normalise_bank=True, normalise_output=False)
    assert torch.allclose(found[0], unit[63], atol=1e-6)


@pytest.mark.parametrize("output", [pytest.param(True, id="unit"), pytest.param(False, id="mean")])
@pytest.mark.parametrize("length", [pytest.param(1.0, id="unit-rows"), pytest.param(1e3, id="long-rows")])
@pytest.mark.parametrize("gap", [20, 34, 36, 44, 46, 60, 80, 87, 88, 90, 150])
def test_a_nearer_row_behind_the_first_block_leaves_a_vector_at_every_distance(monkeypatch, gap, length, output):
    """A share of e^45 is far below the largest float32, and its square is not: lengths of sums were infinite once."""
    monkeypatch.setattr(projection, "BLOCK", 16)
    monkeypatch.setattr(projection, "SMALL", 0)
    unit = torch.zeros(512, 8)  # many blocks, all of which lie as near as the second one
    unit[:16, 0], unit[:16, 1] = 1 - gap / 100, (1 - (1 - gap / 100) ** 2) ** 0.5
    unit[16:, 0] = 1.0
    query, norms = torch.eye(8)[:1], torch.full((512,), length)
    options = {"temperature": 0.01, "normalise_output": output}
    found = project(query, unit, norms, normalise_bank=False, **options)
    wanted = plainly(query, unit, norms, 0.01, output=output)
    assert (found - wanted).abs().max() < 5e-6 * (1 if output else length)


@pytest.mark.parametrize("known", [pytest.param(50, id="all known"), pytest.param(31, id="some unknown")])
@pytest.mark.parametrize("together", [pytest.param(size, id=f"blocks of {size}") for size in (1, 8, 4096)])
def test_the_likeliest_word_over_blocks_is_that_over_all(monkeypatch, known, together):
    monkeypatch.setattr("regionkit.plugins.patchioner.greedy._LEAST_WORDS", together)
    monkeypatch.setattr("regionkit.plugins.patchioner.greedy._LOGITS_TOGETHER", 1)
    draw = torch.Generator().manual_seed(0)
    hidden, outputs = torch.randn(9, 16, generator=draw), torch.randn(50, 16, generator=draw)
    token, gain = likeliest(hidden, outputs, known)
    logits = hidden.double() @ outputs.double().T
    best, wanted = logits[:, :known].max(1)
    assert token.tolist() == wanted.tolist()
    assert torch.allclose(gain.double(), best - logits.logsumexp(1), atol=1e-5)


def test_of_equal_words_the_first_is_written(monkeypatch):
    monkeypatch.setattr("regionkit.plugins.patchioner.greedy._LEAST_WORDS", 2)
    monkeypatch.setattr("regionkit.plugins.patchioner.greedy._LOGITS_TOGETHER", 1)
    outputs = torch.tensor([[0.0], [1.0], [0.5], [1.0], [1.0]])
    assert likeliest(torch.ones(1, 1), outputs, 5)[0].tolist() == [1]


def test_nan_reaches_the_log_probability():
    outputs = torch.tensor([[0.0], [float("nan")], [1.0]])
    assert likeliest(torch.ones(1, 1), outputs, 3)[1].isnan().all()


SETTING = getattr(torch.backends.mkldnn, "matmul", None)


@pytest.mark.skipif(not hasattr(SETTING, "fp32_precision"), reason="this torch has no such setting")
@pytest.mark.parametrize("kept", [pytest.param(name, id=name) for name in ("float32", "bfloat16", "float16")])
def test_a_bank_is_projected_by_the_faster_route(monkeypatch, kept):
    monkeypatch.delenv(compute.VARIABLE, raising=False)
    monkeypatch.setattr(compute, "probe", lambda: Probe(2.0, 9e-7))
    seen, inner = [], projection._column_sums
    monkeypatch.setattr(projection, "_column_sums", lambda shares: seen.append(SETTING.fp32_precision) or inner(shares))
    options = {"temperature": 0.01, "normalise_bank": True, "normalise_output": True}
    project(bank_of(3), bank_of(40).to(getattr(torch, kept)), torch.ones(40), **options)
    assert seen == ["bf16"]
    assert SETTING.fp32_precision != "bf16"


@pytest.mark.parametrize("kept", [pytest.param(name, id=name) for name in ("float32", "bfloat16", "float16")])
@pytest.mark.parametrize("small", [pytest.param(True, id="doubles"), pytest.param(False, id="floats")])
def test_a_bank_of_any_precision_is_summed_exactly_and_stays_as_it_is(monkeypatch, kept, small):
    """Over several blocks, the last of them shorter, and with a row left out that is the nearest of all."""
    for name in ("BLOCK", "WIDENED"):
        monkeypatch.setattr(projection, name, 33)
    if not small:
        monkeypatch.setattr(projection, "SMALL", 0)
    unit = bank_of(100).to(getattr(torch, kept))
    norms = torch.rand(100, generator=torch.Generator().manual_seed(1)) + 0.5
    before, queries = unit.clone(), torch.cat([bank_of(5, seed=2), bank_of(100)[:1]])
    options = {"temperature": 0.05, "normalise_bank": False, "normalise_output": False}
    found = project(queries, unit, norms, left_out=torch.tensor([0, 99]), **options)
    wanted = plainly(queries, unit[1:99], norms[1:99], 0.05, output=False)
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=5e-6)
    assert torch.equal(unit, before)


@pytest.mark.parametrize("width", [pytest.param(1024, id="whole pages"), pytest.param(1000, id="no whole pages")])
def test_a_weight_whose_rows_are_whole_pages_apart_is_copied_for_many_rows(width):
    weight = torch.randn(8, width)
    assert greedy._spread(weight, greedy._PAYS - 1) is weight
    found = greedy._spread(weight, greedy._PAYS)
    assert torch.equal(found, weight)
    assert found.stride(0) * 4 % greedy._PAGE
    assert (found is weight) == (width == 1000)


def many_boxes(count: int) -> list[Box]:
    draw = np.random.default_rng(0)
    corners, sides = draw.uniform(0, 80, (count, 2)), draw.uniform(0.5, 40, (count, 2))
    spans = np.concatenate([corners, np.minimum(corners + sides, 95.5)], axis=1)
    return [Box(*map(float, span)) for span in spans]


WEIGHTINGS = [pytest.param(name, id=name) for name in ("uniform", "gaussian", "attention", "central")]


def scene_of(frames: tuple[Frame, ...]) -> Scene:
    draw = torch.Generator().manual_seed(3)
    shape = (len(frames), *frames[0].grid)
    attention = torch.rand(shape, generator=draw)
    attention[:, :5, :5] = 0  # in which it vanishes
    features = Features(torch.randn(*shape, 24, generator=draw), frames, attention=attention)
    return Scene([picture((96, 96))] * len(frames), GridBackbone(), features)


SQUASH = Frame.squash((96, 96), (126, 126), (9, 9))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("compat", [pytest.param("paper", id="paper"), pytest.param("reference", id="reference")])
def test_boxes_together_weigh_as_each_by_itself(weighting, compat):
    pool, scene = PatchPool(PatchPoolConfig(weighting=weighting, compat=compat)), scene_of((SQUASH, SQUASH))
    boxes = many_boxes(90)
    regions = Regions(tuple(boxes), tuple(number % 2 for number in range(90)))
    found = pool.weights(scene.features, regions)
    maps = scene.features.attention.double().numpy() if weighting == "attention" else (None, None)
    each = [pool.region_weights(box, SQUASH, maps[number % 2]) for number, box in enumerate(boxes)]
    assert np.abs(found - np.stack(each)).max() < 1e-12


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_vector_is_the_same_bit_for_bit_whatever_else_is_asked_for(weighting):
    pool, scene, boxes = PatchPool(PatchPoolConfig(weighting=weighting)), scene_of((SQUASH,)), many_boxes(150)
    whole = pool.encode(scene, Regions.of([boxes])).vectors()
    for chosen in ([0], [149], [70, 3, 149], list(range(149, 20, -1))):
        some = pool.encode(scene, Regions.of([[boxes[at] for at in chosen]])).vectors()
        assert torch.equal(some, whole[chosen])


def test_the_product_in_float32_is_near_that_in_double_precision():
    pool, scene, boxes = PatchPool(), scene_of((SQUASH,)), many_boxes(100)
    regions = Regions.of([boxes])
    weights = torch.from_numpy(pool.weights(scene.features, regions)).flatten(1)
    exact = weights @ scene.features.patches[0].flatten(0, 1).double()
    assert (pool.encode(scene, regions).vectors() - exact).abs().max() <= 5e-7
