"""A tiny random SmolVLM in a folder as the Hugging Face hub has it, written by transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

SPECIAL = ("<|im_start|>", "<|im_end|>", "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
TILES = tuple(f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4))
SIDE = 16


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes, as that of SmolVLM without any merges."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in (*SPECIAL, *TILES)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<|im_start|>", eos_token="<end_of_utterance>", pad_token="<|im_end|>"
    )


def model(family: str = "smolvlm", seed: int = 0) -> Any:
    """Return a tiny random model of a family."""
    words = tokenizer()
    config = CONFIG_MAPPING[family](
        text_config={
            "model_type": "llama",
            "vocab_size": len(words) + 3,
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 512,
            "eos_token_id": words.eos_token_id,
            "bos_token_id": words.bos_token_id,
            "pad_token_id": words.pad_token_id,
        },
        vision_config={
            "image_size": SIDE,
            "patch_size": 4,
            "hidden_size": 12,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 20,
        },
        scale_factor=2,
        image_token_id=words.convert_tokens_to_ids("<image>"),
        pad_token_id=words.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForImageTextToText.from_config(config).eval()


def preprocessor(*, split: bool = True, longest: int = 3 * SIDE) -> dict[str, Any]:
    """Return what ``preprocessor_config.json`` says."""
    return {
        "image_processor_type": "Idefics3ImageProcessor",
        "do_image_splitting": split,
        "image_mean": [0.5, 0.4, 0.6],
        "image_std": [0.5, 0.3, 0.4],
        "max_image_size": {"longest_edge": SIDE},
        "resample": 1,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": longest},
    }


def write_folder(folder: Path, family: str = "smolvlm", **options: Any) -> Any:
    """Write model, tokenizer and preprocessor, and return the model."""
    made = model(family)
    made.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor(**options)))
    return made
