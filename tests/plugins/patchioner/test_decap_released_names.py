"""DeCap's checkpoints, name by name as old and new versions of transformers wrote them, from one device and several."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from official_layouts import context_of, write_merges
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from regionkit.core.errors import WeightsError
from regionkit.plugins.patchioner.decap import Decap
from regionkit.plugins.patchioner.decap_config import DecapConfig
from regionkit.plugins.patchioner.release import read_decap

WIDTH, LAYERS, HEADS, POSITIONS, ROWS, DIM = 24, 4, 4, 64, 530, 20
OPTIONS = DecapConfig(heads=HEADS)
SPACE = f"clip/text[{DIM}]"
param = pytest.param


def released(*, masks: bool = False, head: bool = True) -> dict[str, Tensor]:
    """A decoder as the training script saves it, every name written down."""
    draw = torch.Generator().manual_seed(0)

    def made(*shape: int, centre: float = 0.0) -> Tensor:
        return centre + 0.2 * torch.randn(shape, generator=draw)

    gpt = "decoder.transformer"
    state = {f"{gpt}.wte.weight": made(ROWS, WIDTH), f"{gpt}.wpe.weight": made(POSITIONS, WIDTH)}
    for layer in range(LAYERS):
        here = f"{gpt}.h.{layer}"
        for part, wide, narrow in (
            ("attn.c_attn", WIDTH, 3 * WIDTH),
            ("attn.c_proj", WIDTH, WIDTH),
            ("mlp.c_fc", WIDTH, 4 * WIDTH),
            ("mlp.c_proj", 4 * WIDTH, WIDTH),
        ):
            state |= {f"{here}.{part}.weight": made(wide, narrow), f"{here}.{part}.bias": made(narrow)}
        for norm in ("ln_1", "ln_2"):
            state |= {f"{here}.{norm}.weight": made(WIDTH, centre=1.0), f"{here}.{norm}.bias": made(WIDTH)}
        if masks:
            state[f"{here}.attn.bias"] = torch.ones(1, 1, POSITIONS, POSITIONS, dtype=torch.uint8).tril()
            state[f"{here}.attn.masked_bias"] = torch.tensor(-1e4)
    state |= {f"{gpt}.ln_f.weight": made(WIDTH, centre=1.0), f"{gpt}.ln_f.bias": made(WIDTH)}
    if head:
        state["decoder.lm_head.weight"] = state[f"{gpt}.wte.weight"]
    return state | {"clip_project.model.0.weight": made(WIDTH, DIM), "clip_project.model.0.bias": made(WIDTH)}


def write(folder: Path, state: dict[str, Tensor]) -> dict[str, Path]:
    files = {"model": folder / "coco_model-009.pt", "merges": write_merges(folder)}
    torch.save(state, files["model"])
    return files


@pytest.mark.parametrize("prefix", [param("", id="one-device"), param("module.", id="several-devices")])
@pytest.mark.parametrize("masks", [param(False, id="today"), param(True, id="with-old-masks")])
@pytest.mark.parametrize("head", [param(True, id="head"), param(False, id="no-head")])
def test_every_name_is_read_and_computes_what_gpt2_computes(prefix, masks, head, tmp_path):
    official = released(masks=masks, head=head)
    files = write(tmp_path, {prefix + name: tensor for name, tensor in official.items()})
    artifact = read_decap(files, OPTIONS)
    sizes = {"hidden": WIDTH, "layers": LAYERS, "heads": HEADS, "positions": POSITIONS, "vocabulary": ROWS}
    assert artifact.header.config == sizes
    assert artifact.header.space == f"?[{DIM}]"
    kept = {name for name in released() if name != "decoder.lm_head.weight"}
    # The tokenizer's merges lie beside them.
    assert {name for name in artifact.tensors if name.startswith(("decoder.", "clip_project."))} == kept
    decoder = Decap.build(OPTIONS, context_of(artifact, files, reads=SPACE))

    config = GPT2Config(vocab_size=ROWS, n_positions=POSITIONS, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS)
    config.bos_token_id = config.eos_token_id = 0
    model = GPT2LMHeadModel(config).eval()
    plain = released()
    model.load_state_dict({name.removeprefix("decoder."): plain[name] for name in plain if name.startswith("decoder.")})
    vectors = torch.randn(3, DIM, generator=torch.Generator().manual_seed(1))
    soft = vectors @ plain["clip_project.model.0.weight"].T + plain["clip_project.model.0.bias"]
    ids = torch.arange(15).view(3, 5)
    embeddings = torch.cat([soft.unsqueeze(1), model.transformer.wte(ids[:, :-1])], dim=1)
    wanted = model(inputs_embeds=embeddings).logits[..., : decoder.tokenizer.size]
    assert torch.allclose(decoder._logits(vectors, ids), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        param(
            {"module.decoder.lm_head.weight": torch.zeros(1), "ema.a": torch.zeros(1), "optimizer.b": torch.zeros(1)},
            r"accounted for\n  unknown: module\.decoder\.lm_head\.weight, ema\.a, optimizer\.b",
            id="prefix-of-some-names",
        ),
        param({"clip_project.model.2.weight": torch.zeros(1)}, r"unknown: clip_project\.model\.2\.weight", id="deeper"),
        param({"decoder.transformer.h.3.ln_2.bias": None}, r"missing: decoder\.transformer\.h\.3\.ln_2", id="missing"),
        param({"decoder.lm_head.weight": torch.zeros(ROWS, WIDTH)}, "its output layer is not its word", id="own-head"),
    ],
)
def test_another_checkpoint_is_refused(change, message, tmp_path):
    changed = {name: tensor for name, tensor in {**released(), **change}.items() if tensor is not None}
    with pytest.raises(WeightsError, match=message):
        read_decap(write(tmp_path, changed), OPTIONS)
