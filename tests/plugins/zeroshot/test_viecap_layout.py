"""Released checkpoints of ViECap and MeaCap: every tensor accounted for, wrong ones refused, the pipeline's door."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from causal_folders import write_folder
from click.testing import CliRunner, Result
from clipcap_release import block_shapes
from torch import Tensor

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import WeightsError
from regionkit.core.features import RegionTokens
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import WeightFile
from regionkit.plugins.zeroshot.meacap import Meacap
from regionkit.plugins.zeroshot.meacap_config import MeacapConfig
from regionkit.plugins.zeroshot.viecap import Viecap
from regionkit.plugins.zeroshot.viecap_config import ViecapConfig
from regionkit.plugins.zeroshot.viecap_layout import read_meacap, read_viecap
from regionkit.plugins.zeroshot.vocabularies import COCO
from regionkit.registry.cli import root
from regionkit.registry.schema import fill
from regionkit.registry.weights import index as weight_index
from regionkit.registry.weights.official import find_installed

param = pytest.param
DIM, HIDDEN, LAYERS, ROWS, POSITIONS, PREFIX, LENGTH, BLOCKS = 24, 32, 3, 300, 64, 5, 4, 2
HEADS = {"heads": 4, "mapper_heads": 8}


def state(dim: int = DIM, *, masks: bool = False, seed: int = 0) -> dict[str, Tensor]:
    """A state as the training script saves it, names and shapes written down from the release."""
    shapes: dict[str, tuple[int, ...]] = {
        "gpt.transformer.wte.weight": (ROWS, HIDDEN),
        "gpt.transformer.wpe.weight": (POSITIONS, HIDDEN),
        "gpt.transformer.ln_f.weight": (HIDDEN,),
        "gpt.transformer.ln_f.bias": (HIDDEN,),
        "mapping_network.prefix_const": (PREFIX, HIDDEN),
        "mapping_network.linear.weight": (LENGTH * HIDDEN, dim),
        "mapping_network.linear.bias": (LENGTH * HIDDEN,),
    }
    for block in range(LAYERS):
        here = f"gpt.transformer.h.{block}"
        for name, shape in {
            "ln_1": (HIDDEN,),
            "attn.c_attn": (HIDDEN, 3 * HIDDEN),
            "attn.c_proj": (HIDDEN, HIDDEN),
            "ln_2": (HIDDEN,),
            "mlp.c_fc": (HIDDEN, 4 * HIDDEN),
            "mlp.c_proj": (4 * HIDDEN, HIDDEN),
        }.items():
            shapes |= {f"{here}.{name}.weight": shape, f"{here}.{name}.bias": shape[-1:]}
    for block in range(BLOCKS):
        shapes |= block_shapes(f"mapping_network.transformer.layers.{block}", HIDDEN)
    generator = torch.Generator().manual_seed(seed)
    found = {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    found["gpt.lm_head.weight"] = found["gpt.transformer.wte.weight"]
    if masks:
        for block in range(LAYERS):
            found[f"gpt.transformer.h.{block}.attn.bias"] = torch.ones(1, 1, POSITIONS, POSITIONS).tril().bool()
            found[f"gpt.transformer.h.{block}.attn.masked_bias"] = torch.tensor(-1e4)
    return found


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The files of a release: checkpoint, GPT-2's tokenizer, vectors of COCO's words, a memory."""
    tokenizer = write_folder(tmp_path / "gpt2", "gpt2") / "tokenizer.json"
    tokenizer = tokenizer.rename(tmp_path / "tokenizer.json")
    torch.save(state(masks=True), tmp_path / "coco_prefix-0014.pt")
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(80, DIM, generator=generator).half()
    vocabulary = tmp_path / "coco_embeddings_ViT-B16_t2d__with_ensemble.pickle"
    vocabulary.write_bytes(pickle.dumps(vectors))
    torch.save(torch.randn(6, DIM, generator=generator), tmp_path / "memory_clip_embeddings.pt")
    captions = ["a red car", "a dog on a bed", "two dogs", "a dog\nhere", "a dog", "a cat"]
    (tmp_path / "memory_captions.json").write_text(json.dumps(captions))
    return {
        "model": tmp_path / "coco_prefix-0014.pt",
        "tokenizer": tokenizer,
        "vocabulary": vocabulary,
        "memory_embeddings": tmp_path / "memory_clip_embeddings.pt",
        "memory_captions": tmp_path / "memory_captions.json",
    }


def without(files: dict[str, Path], *roles: str) -> dict[str, Path]:
    return {role: path for role, path in files.items() if role not in roles}


def built(files: dict[str, Path], **options: object) -> Viecap:
    config = ViecapConfig(**{**HEADS, **options})  # type: ignore[arg-type]
    made = read_viecap(files, config)
    file = WeightFile(files["model"], made.header, files, lambda: made.tensors)
    return Viecap.build(config, BuildContext(reads=f"a/text[{DIM}]", weights=file))


def official_name(name: str) -> str:
    """The name that the release has for one of our tensors."""
    part, _, rest = name.partition(".")
    return {"mapper": "mapping_network", "model": "gpt"}[part] + "." + rest


def test_a_released_decoder_is_read_whole(files: dict[str, Path]) -> None:
    made = read_viecap(without(files, "vocabulary"), ViecapConfig(**HEADS))  # type: ignore[arg-type]
    assert made.header.space == f"?[{DIM}]"
    sizes = made.header.config
    assert (sizes["hidden"], sizes["layers"], sizes["positions"], sizes["intermediate"]) == (32, LAYERS, POSITIONS, 128)
    assert (sizes["prefix"], sizes["clip_length"], sizes["mapper_layers"]) == (PREFIX, LENGTH, BLOCKS)
    official = state()
    ours = {official_name(str(name)): tensor for name, tensor in made.tensors.items()}
    assert set(ours) | {"gpt.lm_head.weight"} == set(official)
    assert all(torch.equal(tensor, official[name]) for name, tensor in ours.items())


def test_released_vectors_are_those_that_regions_are_compared_with(files: dict[str, Path]) -> None:
    decoder = built(files)
    words, vectors = decoder.entries()
    assert words == COCO
    assert torch.equal(vectors, pickle.loads(files["vocabulary"].read_bytes()).float())
    tokens = RegionTokens.single(3 * vectors[[7, 12]], decoder.space)
    assert [one[0] for one in decoder.entities(tokens)] == [COCO[7], COCO[12]]
    assert decoder.generate(tokens)
    again = {name for name in decoder.artifact().tensors if name.startswith("entries.")}
    assert again == {"entries.embeddings", "entries.texts"}
    assert built(files, vocabulary="coco").entries()[0] == COCO


def test_a_released_memory_is_taken(files: dict[str, Path]) -> None:
    config = MeacapConfig(**HEADS)  # type: ignore[arg-type]
    made = read_meacap(files, config)
    assert (made.header.kind, made.header.name) == ("decoder", "viecap")
    file = WeightFile(files["model"], made.header, files, lambda: made.tensors)
    decoder = Meacap.build(config, BuildContext(reads=f"a/text[{DIM}]", weights=file))
    assert decoder.memory.texts[3] == "a dog here"
    assert decoder.retrieved(RegionTokens.single(decoder.memory.embeddings[[0, 5]], decoder.space))[0][0] == "a red car"
    assert not [name for name in decoder.artifact().tensors if "memory" in name]


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        param(
            {"clip.a": 1, "clip.b": 1, "clip.c": 1, "clip.d": 1},
            "not every tensor of this checkpoint is accounted for",
            "unknown: clip.a, clip.b, clip.c and 1 more",
            id="unknown",
        ),
        param(
            {"mapping_network.prefix_const": 0},
            "the checkpoint of the decoder is not complete",
            "missing: mapping_network.prefix_const",
            id="missing",
        ),
        param(
            {"gpt.transformer.h.1.ln_1.bias": 0},
            "the weights do not fit",
            "transformer.h.1.ln_1.bias",
            id="missing-in-gpt",
        ),
        param(
            {"mapping_network.transformer.layers.0.mlp.fc1.bias": 0},
            "the weights do not fit",
            "transformer.layers.0.mlp.fc1.bias",
            id="missing-in-mapper",
        ),
    ],
)
def test_other_checkpoints_are_refused_with_names(
    change: dict[str, int], message: str, hint: str, files: dict[str, Path]
) -> None:
    found = {name: one for name, one in state().items() if change.get(name, 1)}
    found |= {name: torch.zeros(1) for name, kept in change.items() if kept}
    torch.save(found, files["model"])
    with pytest.raises(WeightsError) as caught:
        read_viecap(files, ViecapConfig(**HEADS))  # type: ignore[arg-type]
    assert message in caught.value.message
    assert caught.value.hints[0].endswith(hint)


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        param(("model",), "decoder 'viecap' needs its checkpoint", id="model"),
        param(("tokenizer",), "decoder 'viecap' needs GPT-2's tokenizer, which its release does not hold", id="words"),
    ],
)
def test_missing_files_are_named(roles: tuple[str, ...], message: str, files: dict[str, Path]) -> None:
    with pytest.raises(WeightsError) as caught:
        read_viecap(without(files, *roles), ViecapConfig(**HEADS))  # type: ignore[arg-type]
    assert caught.value.message == message


def test_half_a_memory_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(WeightsError) as caught:
        read_meacap(without(files, "memory_captions"), MeacapConfig(**HEADS))  # type: ignore[arg-type]
    assert caught.value.message.endswith("a memory is two files, and one of them is not here")


def test_vectors_of_other_words_are_refused(files: dict[str, Path]) -> None:
    with pytest.raises(WeightsError) as caught:
        read_viecap(files, ViecapConfig(vocabulary="mini", **HEADS))  # type: ignore[arg-type]
    assert "it holds vectors (80, 24), and the 64 words of its vocabulary take (64, 24)" in caught.value.message


def caption(folder: Path, *more: str) -> Result:
    path = folder / "picture.png"
    picture((64, 48), 1).save(path)
    weight_index.get_index.cache_clear()
    words = ["caption", str(path), "--box", "5,5,40,40", "--preset", "mini", "--set", "backbone.force=true"]
    words += ["--set", "bridge={name: noise, std: 0.08}"]
    return CliRunner().invoke(root, [*words, "--offline", "--json", *more], catch_exceptions=False)


@pytest.mark.parametrize(
    "decoder",
    [
        param("{name: viecap, heads: 4, compat: reference}", id="viecap"),
        param("{name: meacap, heads: 4}", id="meacap"),
        param("{name: meacap, heads: 4, bank: none}", id="meacap-without-a-bank"),
    ],
)
def test_released_files_caption_through_the_door_of_a_pipeline(
    decoder: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REGIONKIT_WEIGHTS", raising=False)
    torch.save(state(dim=128), files["model"])
    torch.save(torch.randn(6, 128), files["memory_embeddings"])
    files["vocabulary"].write_bytes(pickle.dumps(torch.randn(80, 128)))
    result = caption(
        files["model"].parent, "--set", f"decoder={decoder[:-1]}, weights: 'file:{files['model'].parent}'}}"
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)


@pytest.mark.parametrize("name", [param("viecap", id="viecap"), param("meacap", id="meacap")])
def test_released_files_are_found_where_weights_lie(
    name: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGIONKIT_WEIGHTS", str(files["model"].parent))
    part = fill("decoder", {"name": name, "heads": 4})
    assert part is not None
    found = find_installed(part)
    assert found is not None
    wanted = {"viecap": {"vocabulary"}, "meacap": {"memory_embeddings", "memory_captions"}}[name]
    assert set(found.files) == {"model", "tokenizer"} | wanted
    assert bool(found.header.extra.get("memory")) == (name == "meacap")
