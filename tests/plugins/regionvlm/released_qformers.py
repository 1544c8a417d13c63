"""Tiny models as they are released: transformers' InstructBLIP, and LAVIS' and BLIP-2's names of its tensors."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration

WIDTH, HIDDEN, LANGUAGE, QUERIES, LAYERS, HEADS = 16, 32, 24, 4, 3, 2
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[", "]", *map(str, range(101)))
#: One row more than the tokenizer has: [DEC].
ROWS = len(WORDS) + 1

_TO_LAVIS = {
    r"vision_model\.post_layernorm\.": "ln_vision.",
    r"vision_model\.": "visual_encoder.",
    r"qformer\.embeddings\.layernorm\.": "Qformer.bert.embeddings.LayerNorm.",
    r"qformer\.": "Qformer.bert.",
    r"language_projection\.": "t5_proj.",
    r"language_model\.": "t5_model.",
}


@functools.cache
def instruct_blip() -> InstructBlipForConditionalGeneration:
    """Return a tiny InstructBLIP with a T5, every weight drawn, in evaluation mode."""
    config = InstructBlipConfig(
        vision_config={
            "hidden_size": WIDTH,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        qformer_config={
            "vocab_size": ROWS,
            "hidden_size": HIDDEN,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "intermediate_size": 40,
            "encoder_hidden_size": WIDTH,
            "max_position_embeddings": 70,
        },
        text_config={
            "model_type": "t5",
            "vocab_size": 50,
            "d_model": LANGUAGE,
            "d_kv": 8,
            "d_ff": 16,
            "num_layers": 1,
            "num_decoder_layers": 1,
            "num_heads": 2,
        },
        num_query_tokens=QUERIES,
        image_token_index=49,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = InstructBlipForConditionalGeneration(config)
        with torch.no_grad():
            for name, tensor in model.named_parameters():
                centre = 1.0 if re.search(r"norm.*weight", name, re.IGNORECASE) else 0.0
                tensor.copy_(centre + 0.2 * torch.randn_like(tensor))
    return model.eval()


def hf_state() -> dict[str, Tensor]:
    """Return the tensors under transformers' names for InstructBLIP."""
    return {name: tensor.clone() for name, tensor in instruct_blip().state_dict().items()}


def lavis_state() -> dict[str, Tensor]:
    """Return the tensors under LAVIS' names, with what its files carry beside them."""
    renamed = {}
    for name, tensor in hf_state().items():
        for old, new in _TO_LAVIS.items():
            if re.match(old, name):
                name = re.sub(f"^{old}", new, name)
                break
        name = name.replace("attention.attention.", "attention.self.")
        renamed[name] = tensor
    return {**renamed, "Qformer.bert.embeddings.position_ids": torch.arange(70).unsqueeze(0)}


def without_text(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state as BLIP-2 has it: no embeddings, no feed-forward layers of text."""
    path = r"(Qformer\.bert|qformer)\.(embeddings\.(word|position)_.*|encoder\.layer\.\d+\.(intermediate|output)\..*)"
    kept = {name: tensor for name, tensor in state.items() if not re.fullmatch(path, name)}
    return {name.replace("qformer.embeddings.layernorm.", "qformer.layernorm."): kept[name] for name in kept}


def bert_state(*, old: bool = False, prefix: str = "bert.") -> dict[str, Tensor]:
    """Return a plain BERT that holds the text path of :func:`hf_state`, and more layers than the Q-Former has."""
    state = hf_state()
    found = {
        f"{prefix}{name.removeprefix('qformer.')}": tensor
        for name, tensor in state.items()
        if re.fullmatch(
            r"qformer\.(embeddings\.(word|position)_.*|encoder\.layer\.\d+\.(intermediate|output)\..*)", name
        )
    }
    words = f"{prefix}embeddings.word_embeddings.weight"
    found[words] = found[words][:-1]  # BERT has no [DEC]
    found[f"{prefix}encoder.layer.{LAYERS}.intermediate.dense.bias"] = torch.zeros(40)
    found[f"{prefix}encoder.layer.0.attention.self.query.weight"] = torch.zeros(HIDDEN, HIDDEN)
    found[f"{prefix}embeddings.token_type_embeddings.weight"] = torch.zeros(2, HIDDEN)
    found["cls.predictions.bias"] = torch.zeros(5)
    if old:
        found = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for name, tensor in found.items()
        }
    return found
