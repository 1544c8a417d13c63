"""A small random SigLIP 2 as it is released, written by hand and not with the reader's rules."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import SiglipConfig, SiglipModel

from regionkit.core.contracts import BuildContext
from regionkit.core.testing.fakes import picture
from regionkit.core.weights import WeightFile
from regionkit.plugins.patchioner.backbones.siglip2 import Siglip2
from regionkit.plugins.patchioner.backbones.siglip2_config import Siglip2Config
from regionkit.plugins.patchioner.backbones.siglip2_layout import read_siglip2

SIDE = 4
CONFIG = Siglip2Config(resolution=SIDE * 16)
IMAGES = [picture((64, 48), 1), picture((30, 90), 2)]
TEXTS = ["the dog", "A Cat and a DOG", "x"]
ENDS = ("weight", "bias")
#: A vocabulary in the manner of Gemma's: four special tokens, the blank, letters, four merges.
WORDS = ("<pad>", "<eos>", "<bos>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz", "do", "dog", "ca", "cat")
MERGES = [("d", "o"), ("do", "g"), ("c", "a"), ("ca", "t")]
SIZES = {
    "vision_config": {
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": SIDE * 16,
        "patch_size": 16,
    },
    "text_config": {
        "vocab_size": len(WORDS),
        "hidden_size": 32,
        "intermediate_size": 56,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "max_position_embeddings": 12,
        "projection_size": 48,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 1,
    },
}


def random_model(seed: int = 0, **vision: int) -> SiglipModel:
    """transformers' SigLIP at a small size; every parameter is random, norms and biases too."""
    sizes = {**SIZES, "vision_config": {**SIZES["vision_config"], **vision}}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SiglipModel(SiglipConfig(**sizes))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                parameter.copy_(centre + 0.1 * torch.randn_like(parameter))
    return model.eval()


def state_of(model: SiglipModel) -> dict[str, Tensor]:
    """The tensors of the release by name, in the order of its parts; none else is there."""
    own = {name.replace("_model._model", "_model"): tensor for name, tensor in model.state_dict().items()}
    layer = [f"{part}.{end}" for part in ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2") for end in ENDS]
    layer += [f"self_attn.{letter}_proj.{end}" for letter in ("q", "k", "v", "out") for end in ENDS]
    vision = [f"embeddings.patch_embedding.{end}" for end in ENDS] + ["embeddings.position_embedding.weight"]
    vision += [f"encoder.layers.{number}.{part}" for number in range(2) for part in layer]
    vision += [f"post_layernorm.{end}" for end in ENDS]
    vision += ["head.probe", "head.attention.in_proj_weight", "head.attention.in_proj_bias"]
    vision += [
        f"head.{part}.{end}" for part in ("attention.out_proj", "layernorm", "mlp.fc1", "mlp.fc2") for end in ENDS
    ]
    text = [f"embeddings.{part}_embedding.weight" for part in ("token", "position")]
    text += [f"encoder.layers.{number}.{part}" for number in range(3) for part in layer]
    text += [f"{part}.{end}" for part in ("final_layer_norm", "head") for end in ENDS]
    names = [f"vision_model.{name}" for name in vision] + [f"text_model.{name}" for name in text]
    return {name: own[name].contiguous() for name in (*names, "logit_scale", "logit_bias")}


def write_tokenizer(folder: Path) -> None:
    """Write tokenizer.json as Gemma's is made, and what says which tokens are special."""
    ids = {word: place for place, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.BPE(ids, MERGES, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in WORDS[:4]])
    tokenizer.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": "GemmaTokenizer", "add_bos_token": False, "add_eos_token": True}
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**said, **special}))


def write_release(folder: Path, state: dict[str, Tensor] | None = None, name: str = "siglip2-base-patch16-512") -> Path:
    """Write the folder of a release: tensors, config.json and tokenizer."""
    place = folder / name
    place.mkdir(parents=True)
    save_file(state_of(random_model()) if state is None else state, place / "model.safetensors")
    (place / "config.json").write_text(json.dumps({"model_type": "siglip", **SIZES}))
    write_tokenizer(place)
    return place


def read(path: Path, config: Siglip2Config = CONFIG) -> Siglip2:
    """Read a release and build the backbone of it."""
    artifact = read_siglip2({"model": path}, config)
    weights = WeightFile(path, artifact.header, {"model": path}, lambda: artifact.tensors)
    return Siglip2.build(config, BuildContext(weights=weights))
