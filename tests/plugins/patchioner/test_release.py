"""Official decoders, banks and presets of the release; CLIP's merges inside weights."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from official_layouts import MERGES, WIDTH, clip_model, context_of, decap_state, openai_state, write_merges
from safetensors.torch import save_file
from torch.nn.functional import normalize

from regionkit.core.contracts import BuildContext
from regionkit.core.errors import FeatureError, MissingExtra, WeightsError
from regionkit.core.features import RegionTokens
from regionkit.core.testing import check_bridge, check_decoder
from regionkit.core.weights import WeightFile, WeightHeader, read_header, write_weights
from regionkit.plugins.patchioner import regionkit_components, regionkit_presets
from regionkit.plugins.patchioner.backbones.clip_config import ClipConfig
from regionkit.plugins.patchioner.backbones.clip_layout import read_clip
from regionkit.plugins.patchioner.configs import MemoryConfig, NoiseConfig, PatchPoolConfig
from regionkit.plugins.patchioner.decap import Decap
from regionkit.plugins.patchioner.decap_config import DecapConfig
from regionkit.plugins.patchioner.greedy import greedy
from regionkit.plugins.patchioner.memory import Memory
from regionkit.plugins.patchioner.release import read_decap, read_memory
from regionkit.plugins.patchioner.vocabulary import ClipTokenizer, tokenizer_from
from regionkit.registry.cli import root
from regionkit.registry.document import read_pipeline
from regionkit.registry.registry import get_registry

param = pytest.param
SPACE = f"talk2dino-vit-b14/text[{WIDTH}]"


def write_decap(folder: Path, **state) -> dict[str, Path]:
    files = {"model": folder / "coco_prefix-009.pt", "merges": write_merges(folder)}
    torch.save(decap_state(**state), files["model"])
    return files


def unit_tokens(count: int = 4) -> RegionTokens:
    drawn = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(0))
    return RegionTokens.single(normalize(drawn, dim=-1), SPACE)


def decoder_of(files: dict[str, Path], **options) -> Decap:
    config = DecapConfig(**options)
    return Decap.build(config, context_of(read_decap(files, config), files, reads=SPACE))


# ---------------------------------------------------------------- decoders


@pytest.mark.parametrize(
    "state",
    [param({}, id="today"), param({"masks": True}, id="causal-masks"), param({"prefix": "module."}, id="module")],
)
def test_official_decoders_load_and_write_captions(state, tmp_path):
    files = write_decap(tmp_path, **state)
    artifact = read_decap(files, DecapConfig())
    assert artifact.header.config == {"hidden": 32, "layers": 2, "heads": 4, "positions": 160, "vocabulary": 600}
    assert artifact.header.space == f"?[{WIDTH}]"
    assert artifact.header.extra == {"tokenizer": {"type": "clip", "merges": "merges"}}
    decoder = decoder_of(files)
    assert decoder.space == SPACE
    assert decoder.tokenizer.size == 520
    weight = decoder.decoder.transformer.h[1].mlp.c_fc.weight
    assert torch.equal(weight, decap_state()["decoder.transformer.h.1.mlp.c_fc.weight"])
    check_decoder(decoder, unit_tokens(), SPACE)


def test_the_json_of_its_config_says_the_heads(tmp_path):
    files = write_decap(tmp_path)
    files["config"] = tmp_path / "decoder_config.json"
    fields = {"n_head": 8, "n_embd": 32, "n_layer": 2, "n_positions": 160, "vocab_size": 600, "n_inner": None}
    files["config"].write_text(json.dumps({**fields, "activation_function": "gelu_new", "bos_token_id": 50256}))
    assert read_decap(files, DecapConfig()).header.config["heads"] == 8
    assert decoder_of(files).decoder.config.n_head == 8


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        param({"n_embd": 64}, "its config says n_embd 64, its tensors say 32", id="another-decoder"),
        param({"activation_function": "relu"}, "activation_function is 'relu', which decoder 'decap'", id="activation"),
        param({"n_head": "four"}, "n_head is 'four', not a number of heads", id="words"),
        param({"n_head": 5}, "5 heads do not divide its width 32", id="heads"),
        param([1], "the decoder's config cannot be read: it holds no mapping", id="list"),
        param({"n_head": True}, "n_head is True, not a number of heads", id="truth"),
        param({"layer_norm_epsilon": 0.5}, "layer_norm_epsilon is 0.5, which decoder 'decap'", id="epsilon"),
    ],
)
def test_configs_that_do_not_fit_are_refused(fields, message, tmp_path):
    files = {**write_decap(tmp_path), "config": tmp_path / "decoder_config.json"}
    files["config"].write_text(json.dumps(fields))
    with pytest.raises(WeightsError) as caught:
        read_decap(files, DecapConfig())
    assert message in str(caught.value)


def test_a_config_nested_without_end_is_refused_in_one_sentence(tmp_path):
    files = {**write_decap(tmp_path), "config": tmp_path / "decoder_config.json"}
    files["config"].write_text("[" * 100_000)
    with pytest.raises(WeightsError, match="the decoder's config cannot be read: it is nested too deep"):
        read_decap(files, DecapConfig())


def test_a_config_with_the_epsilon_of_the_release_is_read(tmp_path):
    files = {**write_decap(tmp_path), "config": tmp_path / "decoder_config.json"}
    files["config"].write_text('{"n_head": 4, "layer_norm_epsilon": 1e-05}')
    assert read_decap(files, DecapConfig()).header.config["heads"] == 4


def test_a_tensor_of_another_shape_is_named_with_its_file(tmp_path):
    files, state = write_decap(tmp_path), decap_state()
    name = "decoder.transformer.h.0.attn.c_attn.weight"
    torch.save({**state, name: state[name].T.contiguous()}, files["model"])
    with pytest.raises(WeightsError) as caught:
        read_decap(files, DecapConfig())
    assert str(caught.value) == (
        f"{files['model']}: {name} is (96, 32), and should be (32, 96)\n  fetch it again, or name another file"
    )


def test_a_quantised_decoder_is_refused_by_name(tmp_path):
    files = write_decap(tmp_path)
    torch.save({name: tensor.to(torch.int8) for name, tensor in decap_state().items()}, files["model"])
    with pytest.raises(WeightsError, match=r"\.weight holds int8 numbers, quantised weights are not read"):
        read_decap(files, DecapConfig())


@pytest.mark.parametrize("all_rows", [False, True])
def test_a_decoder_that_computes_nan_says_so_and_writes_no_caption(all_rows, tmp_path):
    decoder = decoder_of(write_decap(tmp_path))
    transformer = decoder.decoder.transformer
    prefix = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    assert greedy(transformer, prefix, 4, known=520, end=519, all_rows=all_rows).ids.shape == (3, 4)
    prefix[1] = float("nan")
    with pytest.raises(FeatureError, match="decoder 'decap' computed NaN for 1 of 3 regions, so it wrote no caption"):
        greedy(transformer, prefix, 4, known=520, end=519, all_rows=all_rows)
    with torch.no_grad():
        transformer.ln_f.weight.fill_(float("inf"))
    with pytest.raises(FeatureError, match="computed NaN for 4 of 4 regions"):
        decoder.generate(unit_tokens())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        param({"optimizer": torch.ones(1), "gpt.x": torch.ones(1)}, "unknown: optimizer, gpt.x", id="unknown"),
        param(["decoder.transformer.h.1.ln_2.bias"], "missing: decoder.transformer.h.1.ln_2.bias", id="missing"),
        param(["clip_project.model.0.weight"], "missing: clip_project.model.0.weight", id="no-prefix"),
        param(
            {"decoder.lm_head.weight": torch.ones(600, 32)},
            "its output layer is not its word embedding, as decoder 'decap' has it\n  fetch it again, or name another",
            id="untied",
        ),
        param(["decoder.transformer.wte.weight"], "has no decoder.transformer.wte.weight", id="no-words"),
    ],
)
def test_a_decoder_that_is_not_accounted_for_is_refused(change, message, tmp_path):
    files = write_decap(tmp_path)
    state = decap_state()
    state = {**state, **change} if isinstance(change, dict) else {k: v for k, v in state.items() if k not in change}
    torch.save(state, files["model"])
    with pytest.raises(WeightsError) as caught:
        read_decap(files, DecapConfig())
    assert message in str(caught.value)


def test_a_decoder_of_another_width_is_refused_in_one_sentence(tmp_path):
    files = write_decap(tmp_path, dim=48)
    with pytest.raises(
        WeightsError, match=rf"reads vectors of width 48, and {SPACE.replace('[', r'.')[:-1]}.* is needed"
    ):
        decoder_of(files)


def test_missing_files_and_too_many_merges_are_named(tmp_path):
    files = write_decap(tmp_path)
    for role, message in (("model", "needs its checkpoint"), ("merges", "needs the merges file")):
        with pytest.raises(WeightsError, match=message):
            read_decap({name: path for name, path in files.items() if name != role}, DecapConfig())
    pairs = "\n".join(f"{chr(97 + n % 26)} {chr(97 + n // 26)}" for n in range(100))
    files["merges"].write_text(f"#version\n{pairs}\n")
    with pytest.raises(WeightsError, match="these merges make 614 tokens, the decoder writes 600"):
        read_decap(files, DecapConfig())


def test_a_converted_decoder_writes_the_same_captions(tmp_path):
    files = write_decap(tmp_path)
    artifact, path = read_decap(files, DecapConfig()), tmp_path / "decap.safetensors"
    write_weights(path, artifact.tensors, artifact.header)
    weights = WeightFile(path, read_header(path))
    converted = Decap.build(DecapConfig(), BuildContext(reads=SPACE, weights=weights))
    assert converted.generate(unit_tokens()) == decoder_of(files).generate(unit_tokens())


# ---------------------------------------------------------------- CLIP


@pytest.mark.parametrize(
    ("change", "message"),
    [
        param(
            lambda state: {name: tensor.to(torch.int8) for name, tensor in state.items()},
            "holds int8 numbers, quantised weights are not read",
            id="quantised",
        ),
        param(
            lambda state: {**state, "text_projection": state["text_projection"] * float("nan")},
            "text_projection holds NaN",
            id="nan-in-the-text-tower-alone",
        ),
        param(
            lambda state: {**state, "positional_embedding": state["positional_embedding"][:1]},
            "the checkpoint has impossible sizes: context: 1 has no room for the start and the end token",
            id="one-position",
        ),
        param(lambda state: state, "  to convert it: --set model=vit-b16", id="another-patch"),
    ],
)
def test_a_clip_that_cannot_be_used_is_refused_with_its_file_and_a_next_step(change, message, tmp_path):
    files = {"model": tmp_path / "ViT-B-32.pt", "merges": write_merges(tmp_path)}
    torch.save(change(openai_state(clip_model())), files["model"])
    with pytest.raises(WeightsError) as caught:
        read_clip(files, ClipConfig(model="vit-b32" if "convert" in message else "vit-b16"))
    assert caught.value.message.startswith(f"{files['model']}: ")
    assert message in str(caught.value)
    assert caught.value.hints


# ---------------------------------------------------------------- merges inside weights


def test_decoders_trained_with_clips_tokenizer_carry_their_merges(tmp_path):
    config = DecapConfig(
        hidden=16, layers=1, heads=2, positions=32, tokenizer="clip", merges=str(write_merges(tmp_path))
    )
    decoder = Decap.build(config, BuildContext(reads=SPACE))
    artifact, path = decoder.artifact(), tmp_path / "elsewhere" / "decap.safetensors"
    path.parent.mkdir()
    write_weights(path, artifact.tensors, artifact.header)
    again = Decap.build(DecapConfig(), BuildContext(reads=SPACE, weights=WeightFile(path, read_header(path))))
    assert again.tokenizer.merges == decoder.tokenizer.merges
    assert again.tokenizer.encode("the dog") == [518, 513, 515, 519]


def test_headers_of_before_that_name_a_file_beside_the_weights_still_load(tmp_path):
    write_merges(tmp_path)
    extra = {"tokenizer": {"type": "clip", "merges": "merges.txt"}}
    tokenizer = tokenizer_from(extra, tmp_path / "old.safetensors", {"other": torch.ones(1)})
    assert tokenizer.encode("the dog") == [518, 513, 515, 519]
    with pytest.raises(WeightsError, match=r"the merges file '\.\./merges\.txt' does not lie beside the weights"):
        tokenizer_from({"tokenizer": {"type": "clip", "merges": "../merges.txt"}}, tmp_path / "old.safetensors")


def test_without_merges_every_byte_is_a_token_and_comes_back():
    tokenizer = ClipTokenizer()
    assert tokenizer.size == 514
    ids = tokenizer.encode("The dog, café")
    assert tokenizer.decode(ids[:-1]) == "the dog , café"
    assert max(ids) == tokenizer.end == 513
    again = tokenizer_from({"tokenizer": tokenizer.to_extra()}, "a.safetensors", tokenizer.to_tensors())
    assert again.encode("dog") == tokenizer.encode("dog")


def test_merges_tensor_is_the_text_of_a_merges_file(tmp_path):
    stored = ClipTokenizer(write_merges(tmp_path)).to_tensors()["merges"]
    assert bytes(stored.numpy()).decode() == MERGES


def test_merges_that_name_a_pair_twice_are_refused_where_they_count(tmp_path, monkeypatch):
    path = tmp_path / "merges.txt"
    path.write_text("#v\na b\nc d\ne f\na b\n")
    with pytest.raises(WeightsError, match=r"merges\.txt: this is no merges file: it holds 'a b' twice"):
        ClipTokenizer(path)
    monkeypatch.setattr(ClipTokenizer, "COUNT", 3)
    assert ClipTokenizer(path).merges == [("a", "b"), ("c", "d"), ("e", "f")]


def test_a_damaged_merges_tensor_is_refused():
    extra = {"tokenizer": {"type": "clip", "merges": "merges"}}
    for content, message in (
        (b"#v\none\n", "each line after the first holds two pieces"),
        (b"#v\n\xff a\n", "cannot be"),
    ):
        tensors = {"merges": torch.tensor(list(content), dtype=torch.uint8)}
        with pytest.raises(WeightsError, match=message) as caught:
            tokenizer_from(extra, "a.safetensors", tensors)
        assert str(caught.value).startswith("a.safetensors: tensor merges: ")


def test_training_takes_the_merges_of_the_backbones_text_tower():
    class Backbone:
        tokenizer = ClipTokenizer([("t", "h")])

    config = DecapConfig(hidden=16, layers=1, heads=2, positions=32, tokenizer="clip", weights="none")
    decoder = Decap.build(config, BuildContext(reads=SPACE, backbone=Backbone()))  # type: ignore[arg-type]
    assert decoder.tokenizer.merges == [("t", "h")]
    with pytest.raises(WeightsError, match="is to be trained with tokenizer clip and has no merges"):
        Decap.build(config, BuildContext(reads=SPACE))


# ---------------------------------------------------------------- banks


def write_h5(path: Path, rows: np.ndarray, texts: list[str]) -> dict[str, Path]:
    with h5py.File(path, "w") as file:
        file["coco_captions-embeddings"] = rows
        file.create_dataset("coco_captions-text", data=texts, dtype=h5py.string_dtype())
    return {"bank": path}


def test_banks_of_the_release_load_without_their_empty_rows(tmp_path):
    rows = np.random.default_rng(0).normal(size=(6, WIDTH)).astype(np.float32)
    rows[4:] = 0
    texts = ["a dog", "größer", "two\nlines", "d", "", ""]
    files = write_h5(tmp_path / "coco_captions_text_embeddings-B16-ViT-B.16-6.h5", rows, texts)
    config = MemoryConfig()
    artifact = read_memory(files, config)
    assert (artifact.header.space, artifact.header.corpus) == (f"?[{WIDTH}]", "coco_captions")
    bridge = Memory.build(config, context_of(artifact, files, writes=SPACE))
    assert bridge.texts == ("a dog", "größer", "two lines", "d")
    torch.testing.assert_close(bridge.unit * bridge.norms[:, None], torch.from_numpy(rows[:4]))
    check_bridge(bridge, space=f"x/image[{WIDTH}]", writes=SPACE)


def test_banks_that_cannot_be_used_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "bank.h5"
    path.write_bytes(b"not a bank")
    with pytest.raises(WeightsError, match="this is no HDF5 file, or a damaged one"):
        read_memory({"bank": path}, MemoryConfig())
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["coco-embeddings"] = np.ones(WIDTH, dtype=np.float32)
        file.create_dataset("coco-text", data=["a"], dtype=h5py.string_dtype())
    with pytest.raises(WeightsError) as caught:
        read_memory({"bank": tmp_path / "flat.h5"}, MemoryConfig())
    assert str(tmp_path / "flat.h5") in caught.value.message
    assert caught.value.hints
    with pytest.raises(WeightsError, match="bridge 'memory' needs a bank"):
        read_memory({}, MemoryConfig())
    files = write_h5(path, np.ones((2, 24), dtype=np.float32), ["a", "b"])
    artifact = read_memory(files, MemoryConfig())
    with pytest.raises(WeightsError, match="this bank holds vectors of width 24, and"):
        Memory.build(MemoryConfig(), context_of(artifact, files, writes=SPACE))
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingExtra, match=r"pip install 'regionkit\[h5\]'"):
        read_memory(files, MemoryConfig())


# ---------------------------------------------------------------- specs and presets


#: What the paper describes and its authors did not publish: whoever wants it trains it.
NEVER_RELEASED = {"learned-pool"}


def test_every_part_with_weights_says_its_files_reader_and_a_tiny_version():
    for spec in regionkit_components():
        if not spec.weights or spec.name in NEVER_RELEASED:
            continue
        assert spec.checkpoints, spec.name
        assert spec.reader
        assert all(entry.license and entry.source for entry in spec.checkpoints)
        assert isinstance(yaml.safe_load(spec.tiny), dict)


def test_names_of_the_release_are_recognised():
    from fnmatch import fnmatch

    files: dict[tuple[str, str], list[str]] = {}
    for spec in regionkit_components():
        for entry in spec.checkpoints:
            files.setdefault((spec.name, entry.role), []).extend(entry.files)
    for name, role, file in (
        ("clip", "model", "ViT-B-16.pt"),
        ("clip", "model", "ViT-B-32.pt"),
        ("clip", "vision", "vit_base_patch16_clip_224.openai.safetensors"),
        ("clip-resnet", "model", "RN50x4.pt"),
        ("clip-resnet", "model", "open_clip_model.safetensors"),
        ("dinov2-talk2dino", "vision", "dinov2_vitb14_reg4_pretrain.pth"),
        ("dinov2-talk2dino", "projection", "vitb_mlp_infonce.pth"),
        ("dinov2-talk2dino", "merges", "bpe_simple_vocab_16e6.txt.gz"),
        ("decap", "model", "coco_prefix-009.pt"),
        ("memory", "bank", "coco_captions_text_embeddings-B16-ViT-B.16-591753.h5"),
        ("memory", "bank", "clip-coco_captions_text_embeddings-ViT-B.16-500000.h5"),
    ):
        assert any(fnmatch(file, pattern) for pattern in files[name, role]), file


#: Of each pipeline its backbone, resolution, bridge and options of it that tell rows apart.
_MEMORY = {"normalise_bank": True, "normalise_output": False}
_T2D = {"normalise_bank": False, "normalise_output": True}
_ENTITIES = {"variance": 0.016, "normalise": True}
MAIN = ("dinov2-talk2dino", 518, "memory", _T2D)
KNOWN = ("dinov2-talk2dino", 518, "noise", _ENTITIES)
DIFFUSED = ("dinov2-talk2dino", 518, "diffusion", {})
EXPECTED = {
    "patchioner-talk2dino": MAIN,
    **{f"patchioner-talk2dino-{word}": MAIN for word in ("gaussian", "attention", "central", "cls")},
    **{
        f"patchioner-talk2dino-gt-memory-{word}": (*MAIN[:3], {**_T2D, "bank": "coco-with-test-captions"})
        for word in ("cls", "attention")
    },
    **{f"patchioner-talk2dino-{name}": MAIN for name in ("gemma3-270m", "qwen3-0.6b", "qwen3-1.7b", "llama3.2-1b")},
    **{
        f"patchioner-talk2dino-relaion-{size}{end}": (*MAIN[:3], {**_T2D, "bank": bank})
        for size in ("5.6m", "28.3m")
        for end, bank in (("", "coco-captions"), ("-memory", "relaion-500k"))
    },
    "patchioner-talk2dino-none": ("dinov2-talk2dino", 518, "none", {}),
    "patchioner-talk2dino-noise": ("dinov2-talk2dino", 518, "noise", {"std": 0.08, "compat": "reference"}),
    "patchioner-talk2dino-learned": ("dinov2-talk2dino", 518, "noise", {"std": 0.08, "compat": "paper"}),
    **{f"patchioner-talk2dino-{name}": KNOWN for name in ("viecap", "meacap")},
    **{f"patchioner-talk2dino-{name}-attention": KNOWN for name in ("viecap", "meacap")},
    "patchioner-talk2dino-diffusion": DIFFUSED,
    "patchioner-talk2dino-diffusion-attention": DIFFUSED,
    **{
        f"patchioner-{name}-{size}{end}": ("clip", 592 if "592" in size else 224, bridge, options)
        for name, bridge, options in (
            ("decap", "memory", _MEMORY),
            ("viecap", "noise", _ENTITIES),
            ("meacap", "noise", _ENTITIES),
        )
        for size in ("b32", "b16", "b16-592")
        for end in ("", "-crop")
    },
    **{f"patchioner-ifcap{end}": ("clip", 224, "noise", _ENTITIES) for end in ("", "-crop")},
    **{f"patchioner-diffusion-bridge{end}": ("clip", 224, "diffusion", {}) for end in ("", "-crop")},
    **{f"patchioner-{name}": ("clip", 224, "none", {}) for name in ("zerocap", "magic")},
    **{f"patchioner-{name}": ("clip", 224, "noise", _ENTITIES) for name in ("mercap", "entrocap")},
    "patchioner-capdec": ("clip-resnet", 288, "noise", {"variance": 0.016}),
    "patchioner-close": ("clip", 224, "noise", {"std": 0.12}),
    "patchioner-clip-b16": ("clip", 224, "memory", _MEMORY),
    "patchioner-clip-b32": ("clip", 224, "memory", _MEMORY),
    "patchioner-clip-b16-592": ("clip", 592, "memory", _MEMORY),
    "patchioner-invite": ("invite", 224, "memory", _MEMORY),
    "patchioner-denseclip": ("denseclip", 640, "memory", _MEMORY),
    "patchioner-alphaclip": ("alphaclip", 224, "memory", _MEMORY),
    "patchioner-regionclip": ("regionclip", 512, "memory", _MEMORY),
    "patchioner-regionclip-whole": ("regionclip", 512, "memory", _MEMORY),
    "patchioner-proxyclip-dino": ("proxyclip", 296, "memory", {"normalise_bank": False, "normalise_output": False}),
    "patchioner-proxyclip-dinov2": ("proxyclip", 518, "memory", {"normalise_bank": False, "normalise_output": False}),
    "patchioner-dinotxt": ("dinotxt", 518, "memory", _T2D),
    "patchioner-siglip2": ("siglip2", 512, "memory", {"normalise_bank": True, "normalise_output": True}),
}
#: Parts that have no other reading, and those of presets that no release has.
_WITHOUT_COMPAT = ("crop", "whole", "learned-pool", "prefix-lm", "close")


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_presets_pin_what_the_release_does(name):
    preset = read_pipeline(name).data
    backbone, resolution, bridge, options = EXPECTED[name]
    assert yaml.safe_load((Path(regionkit_presets()[0]) / f"{name}.yaml").read_text())["version"] == 1
    assert "row '" in preset["summary"]
    assert (preset["backbone"]["name"], preset["backbone"]["resolution"]) == (backbone, resolution)
    assert preset["bridge"]["name"] == bridge
    assert options.items() <= preset["bridge"].items()
    encoder = preset["region_encoder"]["name"]
    for kind in ("backbone", "region_encoder", "decoder"):
        assert preset[kind].get("compat") == "reference" or preset[kind]["name"] in _WITHOUT_COMPAT, kind
    if backbone == "clip":
        small = ("b32", "ifcap", "diffusion-bridge", "zerocap", "magic", "mercap", "entrocap")
        model = (
            "vit-l14" if name.endswith("-close") else "vit-b32" if any(word in name for word in small) else "vit-b16"
        )
        assert preset["backbone"]["model"] == model
    if backbone == "clip-resnet":
        assert (preset["backbone"]["model"], preset["backbone"]["fit"]) == ("rn50x4", "crop")
    own = {"alphaclip": "alpha-mask", "regionclip": "whole" if name.endswith("whole") else "crop"}
    ours = "crop" if name.endswith("-crop") else "learned-pool" if name.endswith("-learned") else "patch-pool"
    assert encoder == own.get(backbone, ours)
    if encoder == "patch-pool":
        PatchPoolConfig(**{key: value for key, value in preset["region_encoder"].items() if key != "name"})
    config = {"memory": MemoryConfig, "noise": NoiseConfig}.get(bridge)
    if config is not None:
        config(**{key: value for key, value in preset["bridge"].items() if key != "name"})


#: Multimodal models of table 3, by what their presets are called.
MULTIMODAL = {
    "qwen2.5-vl": ("qwen2_5_vl", "Qwen/Qwen2.5-VL-3B-Instruct"),
    "qwen3-vl": ("qwen3_vl", "Qwen/Qwen3-VL-4B-Instruct"),
    "llava-onevision1.5": ("llavaonevision1_5", "lmms-lab/LLaVA-OneVision-1.5-4B-Instruct"),
}


@pytest.mark.parametrize("style", ["crop", "marked"])
@pytest.mark.parametrize("name", list(MULTIMODAL))
def test_multimodal_models_are_shown_crops_or_marks(name, style):
    preset = read_pipeline(f"patchioner-{name}-{style}").data
    model, place = MULTIMODAL[name]
    assert (preset["backbone"]["name"], preset["bridge"]["name"]) == ("colours", "none")
    assert preset["region_encoder"] == {"name": "picture", "style": style}
    assert (preset["decoder"]["name"], preset["decoder"]["model"]) == ("vlm", model)
    assert ("marked in red" in preset["decoder"]["prompt"]) == (style == "marked")
    spec = get_registry().find("decoder", "vlm")
    sources = {entry.role: entry.source for entry in spec.checkpoints if entry.when == f"model={model}"}
    assert sources.pop("model") == f"hub://{place}"
    files = ("config.json", "tokenizer.json", "preprocessor_config.json")
    assert set(sources.values()) == {f"hub://{place}/{file}" for file in files}


def test_there_is_no_preset_beyond_those():
    multimodal = {f"patchioner-{name}-{style}" for name in MULTIMODAL for style in ("crop", "marked")}
    assert {path.stem for path in Path(regionkit_presets()[0]).glob("*.yaml")} == set(EXPECTED) | multimodal


def test_a_bank_of_ours_and_a_file_of_others_are_told_apart(tmp_path):
    path = tmp_path / "bank.safetensors"
    save_file({"embeddings": torch.ones(1, 4)}, path)
    with pytest.raises(WeightsError, match="this bank holds vectors of width 4, and"):
        Memory.build(
            MemoryConfig(), BuildContext(writes=SPACE, weights=WeightFile(path, WeightHeader("bridge", "memory")))
        )


@pytest.mark.parametrize(
    ("model", "said", "unsaid"),
    [
        pytest.param("vit-t16", "weights: not released, made with toolkit train FILE", "model: ", id="nobody's"),
        pytest.param("vit-b16", "model: ViT-B-16* or ", "weights: not released", id="released"),
    ],
)
def test_weights_of_a_backbone_are_fetched_where_they_were_released_and_trained_otherwise(model, said, unsaid):
    arguments = ["caption", "x.png", "--whole", "--preset", "patchioner-clip-b16", "--set", f"backbone.model={model}"]
    text = CliRunner().invoke(root, arguments).stderr
    assert f"  backbone clip, {said}" in text
    assert f"  backbone clip, {unsaid}" not in text
