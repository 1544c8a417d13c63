"""Tiny random models that look at any size, in folders as the Hugging Face hub has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from regionkit.plugins.vlm.onevision import OneVisionConfig, OneVisionModel

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
PATCH = {"qwen2_5_vl": 14, "qwen3_vl": 16, "llavaonevision1_5": 14}
#: Word embeddings beyond the tokenizer's ids, as releases have them.
SPARE = 5
FRAMES = {"qwen2_5_vl": 2, "qwen3_vl": 2, "llavaonevision1_5": 1}


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes with the special tokens of Qwen's."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in SPECIAL])
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def config_of(family: str) -> dict[str, Any]:
    """Return what ``config.json`` says of a tiny model."""
    words = tokenizer()
    ids = dict(zip(SPECIAL, words.convert_tokens_to_ids(list(SPECIAL)), strict=True))
    text = {
        "vocab_size": len(words) + SPARE,
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 40,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "bos_token_id": ids["<|endoftext|>"],
    }
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]}
    vision = {
        "depth": 4,
        "hidden_size": 32,
        "num_heads": 2,
        "intermediate_size": 48,
        "patch_size": PATCH[family],
        "spatial_merge_size": 2,
        "temporal_patch_size": FRAMES[family],
    }
    if family == "qwen2_5_vl":
        text |= {"rope_parameters": rope}
        vision |= {"fullatt_block_indexes": [1, 3], "window_size": 56, "out_hidden_size": 32}
    elif family == "qwen3_vl":
        text |= {"rope_parameters": {**rope, "mrope_interleaved": True}, "head_dim": 16}
        vision |= {"deepstack_visual_indexes": [0, 2], "out_hidden_size": 32, "num_position_embeddings": 64}
    else:
        text |= {"model_type": "llavaonevision1_5_text", "head_dim": 16, "rope_theta": 10_000.0}
        vision |= {"model_type": "rice_vit", "text_hidden_size": 32, "hidden_act": "gelu", "layer_norm_eps": 1e-5}
    names = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    names |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    tied = family != "llavaonevision1_5"
    found = {"model_type": family, "text_config": text, "vision_config": vision, "tie_word_embeddings": tied}
    return found | {name: ids[mark] for name, mark in names.items()}


def model(family: str, seed: int = 0) -> Any:
    """Return a tiny random model, its weights large enough for captions to differ."""
    given = {name: value for name, value in config_of(family).items() if name != "model_type"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if family == "llavaonevision1_5":
            made = OneVisionModel(OneVisionConfig(**given))
        else:
            made = AutoModelForImageTextToText.from_config(CONFIG_MAPPING[family](**given))
        with torch.no_grad():
            for weight in made.parameters():
                weight.add_(torch.randn_like(weight) * 0.3)
    return made.eval()


def preprocessor(family: str, *, old: bool = False) -> dict[str, Any]:
    """Return what ``preprocessor_config.json`` says; ``old`` files name the bounds otherwise."""
    factor = 2 * PATCH[family]
    least, most = 4 * factor**2, 30 * factor**2
    bounds = (
        {"min_pixels": least, "max_pixels": most} if old else {"size": {"shortest_edge": least, "longest_edge": most}}
    )
    return {
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "patch_size": PATCH[family],
        "merge_size": 2,
        "temporal_patch_size": FRAMES[family],
        "image_mean": [0.5, 0.4, 0.6],
        "image_std": [0.5, 0.3, 0.4],
        "resample": 3,
        **bounds,
    }


def official(family: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors under the names of the release."""
    if family == "qwen3_vl":
        return {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"}
    shorter = {
        name.replace("model.visual.", "visual.").replace("model.language_model.", "model."): tensor
        for name, tensor in tensors.items()
    }
    if family == "qwen2_5_vl":
        del shorter["lm_head.weight"]
    return shorter


def write_folder(folder: Path, family: str) -> Any:
    """Write model, config, tokenizer and preprocessor as released, and return the model."""
    made = model(family)
    tensors = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    save_file(official(family, tensors), folder / "model.safetensors")
    (folder / "config.json").write_text(
        json.dumps({**config_of(family), "architectures": ["Any"], "dtype": "bfloat16"})
    )
    tokenizer().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor(family, old=family == "qwen2_5_vl")))
    return made
